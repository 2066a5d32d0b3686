"""The directory: where addresses lead, who may sign in, and that a running node sees what the command line does."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import argon2
import pytest

from glasspost.errors import GlasspostError, NotFound
from glasspost.mail.address import Address, address_from_text
from glasspost.storage import passwords
from glasspost.storage.accounts import (
    AlreadyThere,
    Directory,
    Disabled,
    Local,
    NoSuchUser,
    NotLocal,
    Resolution,
    SignInBusy,
    StillInUse,
)
from glasspost.storage.passwords import WAITING_LIMIT
from glasspost.testing import ManualClock

PASSWORD = "correct horse"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    directory = Directory(tmp_path / "directory.db", clock=ManualClock(), look_again=0)
    directory.add_domain("example.org")
    yield directory
    directory.close()


def at(text: str) -> Address:
    return Address("*", text[2:]) if text.startswith("*@") else address_from_text(text)


def add(directory: Directory, *addresses: str) -> None:
    for address in addresses:
        directory.add_account(at(address), PASSWORD)


def alias(directory: Directory, address: str, *targets: str) -> None:
    directory.add_alias(at(address), [at(target) for target in targets])


def leads_to(found: Resolution) -> list[str]:
    assert isinstance(found, Local), found
    return [account.address for account in found.accounts] + [str(address) for address in found.forwards]


# --- resolving ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    ["alice@example.org", "ALICE@example.org", "alice@EXAMPLE.ORG", "Alice@example.org.", '"alice"@example.org'],
)
def test_an_address_leads_to_its_account_however_it_is_written(directory: Directory, typed: str) -> None:
    add(directory, "Alice@example.org")
    assert leads_to(directory.resolve(at(typed))) == ["Alice@example.org"]


def test_composed_and_decomposed_letters_are_one_name_and_domains_compare_as_a_labels(directory: Directory) -> None:
    directory.add_domain("bücher.example")
    add(directory, "zoë@bücher.example")
    decomposed = unicodedata.normalize("NFD", "ZOË")
    assert leads_to(directory.resolve(Address(decomposed, "xn--bcher-kva.example"))) == ["zoë@xn--bcher-kva.example"]


def test_what_is_not_there(directory: Directory) -> None:
    assert directory.resolve(at("nobody@example.org")) == NoSuchUser()
    assert directory.resolve(at("alice@elsewhere.test")) == NotLocal()
    assert directory.resolve(at("alice@[127.0.0.1]")) == NotLocal()
    assert directory.resolve(Address("alice", "")) == NotLocal()


def test_a_disabled_account_takes_no_mail(directory: Directory) -> None:
    add(directory, "alice@example.org")
    directory.set_enabled(at("alice@example.org"), False)
    assert directory.resolve(at("alice@example.org")) == Disabled()
    directory.set_enabled(at("alice@example.org"), True)
    assert leads_to(directory.resolve(at("alice@example.org"))) == ["alice@example.org"]


def test_a_detail_is_kept_and_an_exact_name_goes_before_it(directory: Directory) -> None:
    add(directory, "alice@example.org")
    found = directory.resolve(at("alice+News@example.org"))
    assert leads_to(found) == ["alice@example.org"]
    assert isinstance(found, Local) and found.detail == "News"
    add(directory, "alice+news@example.org")
    found = directory.resolve(at("alice+News@example.org"))
    assert leads_to(found) == ["alice+news@example.org"]
    assert isinstance(found, Local) and found.detail == ""
    assert directory.resolve(at("alice+x@example.org"), separator="") == NoSuchUser()
    assert leads_to(directory.resolve(at("alice-x@example.org"), separator="-")) == ["alice@example.org"]
    assert directory.resolve(at("+alice@example.org")) == NoSuchUser()
    add(directory, "+odd@example.org")
    assert leads_to(directory.resolve(at("+odd+x@example.org"))) == ["+odd@example.org"]


def test_an_alias_leads_to_many_here_and_elsewhere_each_once(directory: Directory) -> None:
    add(directory, "alice@example.org", "bob@example.org")
    alias(directory, "devs@example.org", "alice@example.org", "bob@example.org")
    alias(directory, "all@example.org", "devs@example.org", "alice@example.org", "eve@far.test")
    assert leads_to(directory.resolve(at("all@example.org"))) == [
        "alice@example.org",
        "bob@example.org",
        "eve@far.test",
    ]


def test_an_alias_that_names_itself_keeps_a_copy(directory: Directory) -> None:
    add(directory, "alice@example.org")
    alias(directory, "alice@example.org", "alice@far.test")
    assert leads_to(directory.resolve(at("alice@example.org"))) == ["alice@far.test"]
    alias(directory, "alice@example.org", "alice@example.org")
    assert leads_to(directory.resolve(at("alice+x@example.org"))) == ["alice@example.org", "alice@far.test"]


def test_the_catch_all_takes_what_nobody_else_does(directory: Directory) -> None:
    add(directory, "alice@example.org", "bob@example.org")
    alias(directory, "*@example.org", "alice@example.org")
    assert leads_to(directory.resolve(at("whoever@example.org"))) == ["alice@example.org"]
    assert leads_to(directory.resolve(at("bob+x@example.org"))) == ["bob@example.org"]


def test_circles_end(directory: Directory) -> None:
    add(directory, "alice@example.org")
    alias(directory, "a@example.org", "alice@example.org")
    alias(directory, "b@example.org", "a@example.org")
    alias(directory, "a@example.org", "b@example.org")
    assert leads_to(directory.resolve(at("b@example.org"))) == ["alice@example.org"]
    with pytest.raises(GlasspostError, match=r"cannot lead to x@example.org: its alias leads nowhere"):
        alias(directory, "x@example.org", "x@example.org")
    assert directory.resolve(at("x@example.org")) == NoSuchUser()


def test_targets_that_take_no_mail_are_named_as_skipped(directory: Directory) -> None:
    add(directory, "alice@example.org", "bob@example.org")
    alias(directory, "both@example.org", "alice@example.org", "bob@example.org")
    directory.set_enabled(at("bob@example.org"), False)
    found = directory.resolve(at("both@example.org"))
    assert leads_to(found) == ["alice@example.org"]
    assert isinstance(found, Local) and found.skipped == (at("bob@example.org"),)
    directory.set_enabled(at("alice@example.org"), False)
    assert directory.resolve(at("both@example.org")) == Disabled()


def test_an_alias_of_thousands_has_an_end(directory: Directory) -> None:
    directory.add_alias(at("many@example.org"), [at(f"u{number}@far.test") for number in range(4000)])
    assert len(leads_to(directory.resolve(at("many@example.org")))) == 4000
    directory.add_alias(at("many@example.org"), [at("onemore@far.test")])
    found = directory.resolve(at("many@example.org"))
    assert found == NoSuchUser("its alias leads to more than 4000 addresses")


# --- postmaster (RFC 5321 §4.5.1) -----------------------------------------------------------------------------


def test_postmaster_is_the_oldest_account_until_somebody_is_named(directory: Directory) -> None:
    assert isinstance(directory.resolve(at("postmaster@example.org")), NoSuchUser)
    directory.add_domain("second.test")
    add(directory, "first@second.test", "alice@example.org", "bob@example.org")
    assert leads_to(directory.resolve(Address("Postmaster", ""))) == ["first@second.test"]
    assert leads_to(directory.resolve(at("POSTMASTER@example.org"))) == ["alice@example.org"]
    alias(directory, "postmaster@example.org", "bob@example.org")
    assert leads_to(directory.resolve(at("postmaster@example.org"))) == ["bob@example.org"]
    assert leads_to(directory.resolve(Address("postmaster", ""))) == ["bob@example.org"]


@pytest.mark.parametrize("domain", ["", "[127.0.0.1]", "[IPv6:::1]", "mail.example.org"])
def test_postmaster_lives_at_the_house_itself(tmp_path: Path, domain: str) -> None:
    directory = Directory(tmp_path / "d.db", hosts=frozenset({"mail.example.org"}))
    directory.add_account(at("alice@example.org"), PASSWORD, create_domain=True)
    assert leads_to(directory.resolve(Address("postmaster", domain))) == ["alice@example.org"]
    assert directory.resolve(Address("alice", domain)) == NotLocal()
    directory.close()


def test_postmaster_elsewhere_is_not_ours(directory: Directory) -> None:
    add(directory, "alice@example.org")
    assert directory.resolve(at("postmaster@far.test")) == NotLocal()
    assert directory.resolve(at("postmaster@[192.0.2.1]")) == NotLocal()


def test_a_disabled_postmaster_is_stood_in_for(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "d.db", postmaster=at("bob@example.org"), look_again=0)
    directory.add_domain("example.org")
    add(directory, "alice@example.org", "bob@example.org", "postmaster@example.org")
    assert leads_to(directory.resolve(at("postmaster@example.org"))) == ["postmaster@example.org"]
    directory.set_enabled(at("postmaster@example.org"), False)
    assert leads_to(directory.resolve(at("postmaster@example.org"))) == ["bob@example.org"]
    directory.set_enabled(at("bob@example.org"), False)
    assert leads_to(directory.resolve(at("postmaster@example.org"))) == ["alice@example.org"]
    directory.close()


# --- two processes ------------------------------------------------------------------------------------------


def test_a_node_sees_at_once_what_the_command_line_changes(directory: Directory, tmp_path: Path) -> None:
    assert directory.resolve(at("new@example.org")) == NoSuchUser()
    assert directory.local_domains() == {"example.org"}
    command_line = Directory(tmp_path / "directory.db")
    command_line.add_account(at("new@example.org"), PASSWORD)
    command_line.add_domain("second.test")
    assert leads_to(directory.resolve(at("new@example.org"))) == ["new@example.org"]
    assert directory.local_domains() == {"example.org", "second.test"}
    command_line.remove_account(at("new@example.org"))
    command_line.close()
    assert directory.resolve(at("new@example.org")) == NoSuchUser()


# --- signing in ----------------------------------------------------------------------------------------------


async def test_the_right_password_opens_the_account_and_no_other_does(directory: Directory) -> None:
    add(directory, "alice@example.org")
    account = await directory.sign_in("ALICE@example.org", PASSWORD, "pop3")
    assert account is not None and account.address == "alice@example.org"
    for username, password in [
        ("alice@example.org", "Correct horse"),
        ("alice@example.org", ""),
        ("alice@example.org", PASSWORD + "x" * 5000),
        ("bob@example.org", PASSWORD),
        ("alice@far.test", PASSWORD),
        ("", PASSWORD),
        ("\udcff", PASSWORD),
        ("alice@example.org", "\udcff"),
    ]:
        assert await directory.sign_in(username, password, "pop3") is None


async def test_a_bare_name_will_do_while_there_is_one_domain(directory: Directory) -> None:
    add(directory, "alice@example.org")
    assert await directory.sign_in("alice", PASSWORD, "smtp") is not None
    directory.add_domain("second.test")
    assert await directory.sign_in("alice", PASSWORD, "smtp") is None


async def test_a_password_is_one_however_the_keyboard_composes_it(directory: Directory) -> None:
    directory.add_account(at("zoe@example.org"), "caf\u00e9")
    assert await directory.sign_in("zoe@example.org", "cafe\u0301", "pop3") is not None


async def test_polling_does_not_hash_each_time(directory: Directory) -> None:
    add(directory, "alice@example.org")
    for _ in range(5):
        assert await directory.sign_in("alice@example.org", PASSWORD, "pop3") is not None
    assert directory.hashes == 1
    assert isinstance(directory._clock, ManualClock)
    directory._clock.advance(121)
    assert await directory.sign_in("alice@example.org", PASSWORD, "pop3") is not None
    assert directory.hashes == 2


async def test_what_is_remembered_never_outlives_the_password(directory: Directory) -> None:
    add(directory, "alice@example.org")
    assert await directory.sign_in("alice@example.org", PASSWORD, "pop3") is not None
    directory.set_password(at("alice@example.org"), "something new")
    assert await directory.sign_in("alice@example.org", PASSWORD, "pop3") is None
    assert await directory.sign_in("alice@example.org", "something new", "pop3") is not None
    directory.set_enabled(at("alice@example.org"), False)
    assert await directory.sign_in("alice@example.org", "something new", "pop3") is None


async def test_an_unknown_user_costs_a_hash_like_any_other(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(directory, "alice@example.org")
    computed = []

    class Watched(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            computed.append(argon2.extract_parameters(str(hash)))
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_HASHER", Watched())
    await directory.sign_in("alice@example.org", "wrong", "pop3")
    await directory.sign_in("nobody@example.org", "wrong", "pop3")
    assert directory.hashes == 2
    assert computed[0] == computed[1], "the same work"


async def test_a_flood_of_sign_ins_is_turned_away_before_it_is_hashed(directory: Directory) -> None:
    flood = [
        asyncio.ensure_future(directory.sign_in(f"u{number}@example.org", "x", "smtp"))
        for number in range(WAITING_LIMIT + 1)
    ]
    await asyncio.sleep(0)
    with pytest.raises(SignInBusy):
        await flood[-1]
    for attempt in flood:
        attempt.cancel()
    await asyncio.gather(*flood, return_exceptions=True)


async def test_yesterdays_hash_is_replaced_at_sign_in(directory: Directory) -> None:
    add(directory, "alice@example.org")
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    directory._database.apply(lambda c: c.execute("UPDATE account SET password = ?", (old,)).fetchall())
    assert await directory.sign_in("alice@example.org", PASSWORD, "pop3") is not None
    row = directory._database.reader.execute("SELECT password FROM account").get
    assert "m=19456,t=2,p=1" in row
    assert await directory.sign_in("alice@example.org", PASSWORD, "pop3") is not None


# --- changing ------------------------------------------------------------------------------------------------


def test_names_that_are_missing_come_with_the_nearest(directory: Directory) -> None:
    add(directory, "alice@example.org")
    with pytest.raises(NotFound, match=r"no domain exampel.org here \(did you mean example.org\?\); add it: glass"):
        add(directory, "alice@exampel.org")
    with pytest.raises(NotFound, match=r"no account alcie@example.org \(did you mean alice@example.org\?\)"):
        directory.remove_account(at("alcie@example.org"))
    with pytest.raises(NotFound, match=r"no account or alias alcie@example.org \(did you mean alice@exa"):
        alias(directory, "a@example.org", "alcie@example.org")
    with pytest.raises(NotFound, match=r"no alias alcie@example.org"):
        directory.remove_alias(at("alcie@example.org"))
    assert directory.aliases() == []


def test_nothing_is_added_twice(directory: Directory) -> None:
    add(directory, "alice@example.org")
    with pytest.raises(AlreadyThere, match=r"example.org is there already"):
        directory.add_domain("Example.ORG.")
    with pytest.raises(AlreadyThere, match=r"ALICE@example.org is there already"):
        add(directory, "ALICE@example.org")
    alias(directory, "a@example.org", "alice@example.org")
    with pytest.raises(AlreadyThere, match=r"a@example.org leads to alice@example.org already"):
        alias(directory, "A@example.org", "x@far.test", "alice@Example.org")
    assert directory.aliases()[0].targets == ("alice@example.org",)


def test_nothing_is_removed_while_it_is_needed(directory: Directory) -> None:
    add(directory, "alice@example.org")
    alias(directory, "a@example.org", "alice@example.org")
    with pytest.raises(StillInUse, match=r"example.org still has 1 account and 1 alias; remove them first"):
        directory.remove_domain("example.org")
    with pytest.raises(StillInUse, match=r"the alias a@example.org leads to it"):
        directory.remove_account(at("alice@example.org"))
    assert directory.remove_alias(at("a@example.org")) == 1
    first = directory.remove_account(at("alice@example.org"))
    add(directory, "alice@example.org")
    assert directory.account_at(at("alice@example.org")).id > first, "an id is never used twice"
    directory.remove_account(at("alice@example.org"))
    directory.remove_domain("example.org")
    assert directory.domains() == []


@pytest.mark.parametrize("name", ["", "-", "a..b", "exa mple.org", "[127.0.0.1]", "a" * 64 + ".org", "x\n.org"])
def test_what_is_no_domain_is_not_added(directory: Directory, name: str) -> None:
    with pytest.raises(GlasspostError, match="is not a domain name"):
        directory.add_domain(name)


def test_single_targets_of_an_alias_can_go(directory: Directory) -> None:
    alias(directory, "a@example.org", "x@far.test", "y@far.test")
    directory.remove_alias(at("a@example.org"), [at("x@FAR.test")])
    assert directory.aliases("example.org")[0].targets == ("y@far.test",)
    with pytest.raises(NotFound, match="with that target"):
        directory.remove_alias(at("a@example.org"), [at("y@far.test"), at("z@far.test")])
    assert directory.aliases()[0].targets == ("y@far.test",)
