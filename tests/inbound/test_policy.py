"""Who may send what to whom. The directory is a real one: see tests/entrances.py for who lives in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrances import furnish
from glasspost.inbound.client import Client
from glasspost.inbound.policy import Destinations, Policy, PolicySettings
from glasspost.mail.address import Address, address_from_text
from glasspost.mail.envelope import Envelope, Notify, Recipient
from glasspost.mail.reply import Reply
from glasspost.storage.accounts import Directory

LIMIT = 100
STRANGER = Client("mx", "192.0.2.1")


class Mailboxes:
    """How full the maildrops are."""

    def __init__(self) -> None:
        self.used: dict[int, int] = {}

    def octets_used(self, account_id: int) -> int:
        return self.used.get(account_id, 0)


@pytest.fixture
def directory(furniture: Path, tmp_path: Path) -> Iterator[Directory]:
    path = tmp_path / "directory.db"
    path.write_bytes(furniture.read_bytes())
    directory = Directory(path, look_again=0)
    yield directory
    directory.close()


Rules = Callable[..., Policy]


@pytest.fixture
def rules(directory: Directory) -> Rules:
    return lambda **settings: Policy(PolicySettings(**settings), directory, Mailboxes())  # type: ignore[arg-type]


def judge(
    policy: Policy, address: str, client: Client = STRANGER, *, size: int = 0, into: Destinations | None = None
) -> Reply:
    recipient = Recipient(address_from_text(address))
    envelope = Envelope(Address("dave", "client.example"), declared_size=size)
    return policy.judge_recipient(client, envelope, recipient, Destinations() if into is None else into, LIMIT)


def code(reply: Reply) -> str:
    return f"{reply.code} {reply.enhanced}"


# --- whose mail is taken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("alice@example.test", "250 2.1.5"),
        ("ALICE@EXAMPLE.TEST", "250 2.1.5"),
        ("alice+lists@example.test", "250 2.1.5"),
        ("team@example.test", "250 2.1.5"),
        ("postmaster@example.test", "250 2.1.5"),
        ("Postmaster", "250 2.1.5"),
        ("nobody@example.test", "550 5.1.1"),
        ("alice.lists@example.test", "550 5.1.1"),
        ("carol@example.test", "550 5.2.1"),
        ("x@elsewhere.test", "550 5.7.1"),
        ("x@sub.example.test", "550 5.7.1"),
        ("x@example.test.elsewhere.test", "550 5.7.1"),
        ("x%elsewhere.test@example.test", "550 5.1.1"),
        ("elsewhere.test!x@example.test", "550 5.1.1"),
        ('"x@elsewhere.test"@example.test', "550 5.1.1"),
        ("x@[192.0.2.9]", "550 5.7.1"),
    ],
)
def test_a_stranger_reaches_local_users_only(rules: Rules, address: str, verdict: str) -> None:
    into = Destinations()
    assert code(judge(rules(), address, into=into)) == verdict
    assert bool(into.deposits or into.recipients) == (verdict[0] == "2")


@pytest.mark.parametrize(
    ("address", "verdict"),
    [("x@relay.test", "250 2.1.5"), ("x@Relay.TEST", "250 2.1.5"), ("x@sub.relay.test", "550 5.7.1")],
)
def test_a_relay_domain_is_itself_only(rules: Rules, address: str, verdict: str) -> None:
    assert code(judge(rules(relay_domains=frozenset({"relay.test"})), address)) == verdict


@pytest.mark.parametrize("client", ["trusted", "signed in"])
def test_who_may_relay_reaches_everybody_but_unknown_users(rules: Rules, directory: Directory, client: str) -> None:
    account = directory.account_at(Address("alice", "example.test"))
    who = Client("mx", "192.0.2.1", trusted=True) if client == "trusted" else Client("mx", "192.0.2.1", account=account)
    assert code(judge(rules(), "x@elsewhere.test", who)) == "250 2.1.5"
    assert code(judge(rules(), "nobody@example.test", who)) == "550 5.1.1"


@pytest.mark.parametrize(
    ("ip", "trusted"),
    [("192.0.2.77", True), ("192.0.3.1", False), ("2001:db8::77", True), ("2001:db9::1", False), ("", False)],
)
def test_relay_networks(rules: Rules, ip: str, trusted: bool) -> None:
    networks = tuple(ipaddress.ip_network(text) for text in ("192.0.2.0/24", "2001:db8::/32"))
    assert rules(relay_networks=networks).trusts(ip) is trusted
    assert rules().trusts(ip) is False


def test_on_a_submission_port_only_users_send(rules: Rules, directory: Directory) -> None:
    account = directory.account_at(Address("alice", "example.test"))
    envelope = Envelope(Address("alice", "example.test"))
    policy = rules()
    assert code(policy.judge_sender(Client("submission", "::1"), envelope)) == "530 5.7.0"
    assert code(policy.judge_sender(Client("submission", "::1", account=account), envelope)) == "250 2.1.0"
    assert code(policy.judge_sender(Client("submission", "::1", trusted=True), envelope)) == "250 2.1.0"
    assert code(policy.judge_sender(STRANGER, envelope)) == "250 2.1.0"


def test_the_directory_is_asked_anew(rules: Rules, directory: Directory) -> None:
    policy = rules()
    assert code(judge(policy, "carol@example.test")) == "550 5.2.1"
    directory.set_enabled(Address("carol", "example.test"), True)
    assert code(judge(policy, "carol@example.test")) == "250 2.1.5"


# --- where it goes ----------------------------------------------------------------------------------------------


def test_an_account_gets_one_copy_under_the_first_name_it_was_called_by(rules: Rules, directory: Directory) -> None:
    into, policy = Destinations(), rules()
    for address in ("alice+a@example.test", "alice@example.test", "team@example.test"):
        judge(policy, address, into=into)
    alice, bob = (directory.account_at(Address(name, "example.test")) for name in ("alice", "bob"))
    assert into.deposits == {alice.id: Address("alice+a", "example.test"), bob.id: Address("team", "example.test")}
    assert [str(one.address) for one in into.recipients] == ["eve@elsewhere.test"]


def test_a_recipient_named_twice_is_one(rules: Rules) -> None:
    into, policy = Destinations(), rules(relay_domains=frozenset({"relay.test"}))
    for _ in range(3):
        assert judge(policy, "x@relay.test", into=into).positive
    assert len(into.recipients) == 1


def test_a_forwarded_recipient_keeps_the_senders_wishes_and_the_first_address(rules: Rules) -> None:
    """RFC 3461 §5.2.7.2, §5.2.7.3."""
    into = Destinations()
    recipient = Recipient(Address("team", "example.test"), Notify.FAILURE)
    rules().judge_recipient(STRANGER, Envelope(None), recipient, into, LIMIT)
    assert into.recipients == [Recipient(Address("eve", "elsewhere.test"), Notify.FAILURE, "rfc822;team@example.test")]


def test_a_success_report_is_made_on_the_long_way(rules: Rules) -> None:
    into = Destinations()
    recipient = Recipient(Address("alice", "example.test"), Notify.SUCCESS)
    assert rules().judge_recipient(STRANGER, Envelope(None), recipient, into, LIMIT).positive
    assert not into.deposits
    assert into.recipients == [recipient]


# --- how many, how much -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "verdict"), [(3, "250 2.1.5"), (2, "452 4.5.3"), (0, "452 4.5.3")])
def test_what_an_alias_leads_to_counts_whole(rules: Rules, left: int, verdict: str) -> None:
    """A message has room for so many destinations in the store: accounts and outside addresses alike."""
    policy = rules(relay_domains=frozenset({"relay.test"}))
    into = Destinations()
    for number in range(LIMIT - left):
        assert judge(policy, f"x{number}@relay.test", into=into).positive
    assert code(judge(policy, "team@example.test", into=into)) == verdict
    assert len(into.recipients) + len(into.deposits) <= LIMIT


def test_relayed_recipients_are_counted_too(rules: Rules) -> None:
    policy, into = rules(relay_domains=frozenset({"relay.test"})), Destinations()
    verdicts = [code(judge(policy, f"x{number}@relay.test", into=into)) for number in range(LIMIT + 2)]
    assert verdicts == ["250 2.1.5"] * LIMIT + ["452 4.5.3"] * 2


@pytest.mark.parametrize(
    ("size", "verdict"), [(0, "250 2.1.5"), (300, "250 2.1.5"), (301, "452 4.2.2"), (10_000, "452 4.2.2")]
)
def test_a_declared_size_must_fit_into_the_quota(rules: Rules, directory: Directory, size: int, verdict: str) -> None:
    policy = rules(default_quota=1000)
    alice = directory.account_at(Address("alice", "example.test"))
    policy.mailboxes.used[alice.id] = 700  # type: ignore[attr-defined]
    assert code(judge(policy, "alice@example.test", size=size)) == verdict


def test_a_full_mailbox_takes_not_even_a_message_of_unknown_size(rules: Rules, directory: Directory) -> None:
    policy = rules(default_quota=1000)
    alice = directory.account_at(Address("alice", "example.test"))
    policy.mailboxes.used[alice.id] = 1000  # type: ignore[attr-defined]
    into = Destinations()
    assert code(judge(policy, "alice@example.test", into=into)) == "452 4.2.2"
    assert not into.deposits
    assert code(judge(policy, "bob@example.test", into=into)) == "250 2.1.5"


def test_an_accounts_own_quota_goes_before_the_default(rules: Rules, directory: Directory) -> None:
    directory.set_quota(Address("alice", "example.test"), 500)
    assert code(judge(rules(default_quota=100), "alice@example.test", size=400)) == "250 2.1.5"
    assert code(judge(rules(), "alice@example.test", size=501)) == "452 4.2.2"
    assert code(judge(rules(), "bob@example.test", size=10**9)) == "250 2.1.5"


def test_who_is_overfull_by_the_real_size(rules: Rules, directory: Directory) -> None:
    policy, into = rules(default_quota=1000), Destinations()
    directory.set_quota(Address("bob", "example.test"), 2000)
    for name in ("alice", "bob"):
        judge(policy, f"{name}@example.test", into=into)
    assert policy.overfull(into, 1000) is None
    found = policy.overfull(into, 1001)
    assert found is not None
    assert found.address == "alice@example.test"


# --- VRFY and EXPN ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["alice@example.test", "nobody@example.test", "<<<", "alice"])
def test_by_default_nobody_is_told_anything(rules: Rules, text: str) -> None:
    assert code(rules().verify(text)) == "252 2.1.5"
    assert code(rules().expand(text)) == "502 5.5.1"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("alice@example.test", "250 2.1.5"),
        ("<alice@example.test>", "250 2.1.5"),
        ("<alice@example.test> SMTPUTF8", "250 2.1.5"),
        ("nobody@example.test", "550 5.1.1"),
        ("carol@example.test", "550 5.1.1"),
        ("x@elsewhere.test", "252 2.1.5"),
        ("alice", "501 5.1.3"),
        ("grün@example.test", "252 2.1.5"),
        ("grün@example.test smtputf8", "550 5.1.1"),
    ],
)
def test_vrfy_tells(rules: Rules, text: str, verdict: str) -> None:
    assert code(rules(tell_vrfy=True).verify(text)) == verdict


def test_expn_tells(rules: Rules, directory: Directory) -> None:
    policy = rules(tell_expn=True)
    assert policy.expand("team@example.test").text == "<alice@example.test>\n<bob@example.test>\n<eve@elsewhere.test>"
    assert code(policy.expand("nobody@example.test")) == "550 5.1.1"
    assert code(policy.expand("@")) == "501 5.1.3"
    directory.add_alias(Address("team", "example.test"), [Address("grün", "elsewhere.test")])
    assert code(policy.expand("team@example.test")) == "252 2.1.5"
    assert "<grün@elsewhere.test>" in policy.expand("team@example.test SMTPUTF8").text


def test_refusals_keep_their_reasons_private(rules: Rules) -> None:
    refusal = judge(rules(), "x@elsewhere.test")
    assert "relay_domains" in refusal.reason
    assert b"relay_domains" not in refusal.encode()


def test_the_furniture_is_what_these_tests_think(tmp_path: Path) -> None:
    furnish(tmp_path / "new.db")
    directory = Directory(tmp_path / "new.db")
    assert [account.address for account in directory.accounts()] == [
        "alice@example.test", "bob@example.test", "carol@example.test",
    ]  # fmt: skip
    directory.close()
