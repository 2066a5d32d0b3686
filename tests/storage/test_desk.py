"""The desk where people sign in: every mechanism, nobody told who exists, guesses counted (storage/sign_in.py)."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from scramp import ScramClient
from tests.protocol.test_sasl import b64, unb64

from glasspost.errors import GlasspostError, NotFound
from glasspost.mail.address import Address
from glasspost.net.tokens import TokenDesk, TokenSettings
from glasspost.protocol.sasl import Bearer, Challenge, Credentials, Digest, Proof, Question, Terms, WantsKeys
from glasspost.protocol.sasl_mechanisms import exchange
from glasspost.storage.accounts import AlreadyThere, Directory
from glasspost.storage.guesses import Guesses, GuessSettings
from glasspost.storage.sign_in import Desk, Fate, Verdict
from glasspost.testing import ManualClock

ALICE = Address("alice", "example.org")
HOME = "192.0.2.1"
SETTINGS = GuessSettings(per_address=4, per_network=50, per_account=100)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    directory = Directory(tmp_path / "directory.db", clock=ManualClock(), look_again=0)
    for name in ("alice", "carol"):
        directory.add_account(Address(name, "example.org"), "tulip", create_domain=name == "alice")
    directory.set_enabled(Address("carol", "example.org"), False)
    yield directory
    directory.close()


@pytest.fixture
def guesses(tmp_path: Path) -> Iterator[Guesses]:
    guesses = Guesses(tmp_path / "limits.db", SETTINGS, ManualClock())
    yield guesses
    guesses.close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def desk(directory: Directory, guesses: Guesses, waits: list[float]) -> Desk:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return Desk(directory, guesses, sleep=sleep)


async def scram(desk: Desk, username: str, password: str, door: str = "smtp") -> Verdict:
    client = ScramClient(["SCRAM-SHA-256"], username, password)
    server = exchange("SCRAM-SHA-256", Terms())
    question = server.begin(b64(client.get_client_first()))
    assert isinstance(question, WantsKeys)
    shown = (await desk.judge(question, HOME, door)).keys
    assert shown is not None
    said = server.keys(shown)
    assert isinstance(said, Challenge)
    client.set_server_first(unb64(said.text))
    step = server.go_on(b64(client.get_client_final()))
    if isinstance(step, Challenge):
        client.set_server_final(unb64(step.text))
        step = server.go_on("")
    assert isinstance(step, Proof)
    return await desk.judge(step, HOME, door, shown)


def plain(username: str, password: str) -> Question:
    return Credentials("PLAIN", username, password)


async def fate(desk: Desk, question: Question, door: str = "smtp") -> Fate:
    return (await desk.judge(question, HOME, door)).fate


# --- passwords -------------------------------------------------------------------------------------------------------


async def test_an_accounts_own_password_by_plain_and_by_scram(desk: Desk) -> None:
    found = [await desk.judge(plain("alice", "tulip"), HOME, "smtp"), await scram(desk, "alice@example.org", "tulip")]
    assert [(one.fate, one.note) for one in found] == [
        (Fate.YES, "signed in as alice@example.org by PLAIN"),
        (Fate.YES, "signed in as alice@example.org by SCRAM-SHA-256"),
    ]
    assert (await scram(desk, "alice", "rose")).fate is Fate.NO


async def test_an_app_password_opens_one_door_and_can_be_revoked(desk: Desk, directory: Directory) -> None:
    password = directory.lock.add_app_password(ALICE, "doorbell", "send")
    directory.lock.add_app_password(ALICE, "phone")
    note = 'signed in as alice@example.org by {} with the app password "doorbell"'
    assert (await desk.judge(plain("alice", password), HOME, "smtp")).note == note.format("PLAIN")
    assert (await scram(desk, "alice", password)).note == note.format("SCRAM-SHA-256")
    assert await fate(desk, plain("alice", password), "pop3") is Fate.NO
    assert (await scram(desk, "alice", password, "pop3")).fate is Fate.NO
    directory.lock.remove_app_password(ALICE, "doorbell")
    assert await fate(desk, plain("alice", password)) is Fate.NO
    assert [one.name for one in directory.lock.app_passwords(ALICE)] == ["phone"]


async def test_a_password_that_is_revoked_in_the_midst_of_an_exchange_is_good_no_more(
    desk: Desk, directory: Directory
) -> None:
    directory.lock.add_app_password(ALICE, "a")
    shown = (await desk.judge(WantsKeys("SCRAM-SHA-256", "alice"), HOME, "smtp")).keys
    directory.lock.remove_app_password(ALICE, "a")
    directory.lock.add_app_password(ALICE, "b")
    assert (await desk.judge(Proof("SCRAM-SHA-256", "alice", 1), HOME, "smtp", shown)).fate is Fate.NO
    assert (await desk.judge(Proof("SCRAM-SHA-256", "alice", 0), HOME, "smtp", shown)).fate is Fate.YES


async def test_cram_md5_takes_only_what_was_made_for_it(desk: Desk, directory: Directory) -> None:
    made = {name: directory.lock.add_app_password(ALICE, name, cram_md5=name == "old") for name in ("old", "new")}

    def digest(password: str) -> Digest:
        return Digest("CRAM-MD5", "alice", b"<1@h>", hmac.digest(password.encode(), b"<1@h>", "md5"))

    assert await fate(desk, digest(made["old"])) is Fate.YES
    assert [await fate(desk, digest(one)) for one in (made["new"], "tulip", "")] == [Fate.NO] * 3


def test_what_is_stored_is_not_the_password_unless_it_was_made_for_cram_md5(
    directory: Directory, tmp_path: Path
) -> None:
    hidden = directory.lock.add_app_password(ALICE, "new")
    shown = directory.lock.add_app_password(ALICE, "old", cram_md5=True)
    rows = list(apsw.Connection(str(tmp_path / "directory.db")).execute("SELECT * FROM app_password, account"))
    assert shown in str(rows) and hidden not in str(rows) and "tulip" not in str(rows)


def test_app_passwords_have_names_and_bounds(directory: Directory) -> None:
    for number in range(23):
        directory.lock.add_app_password(ALICE, f"n{number}")
    with pytest.raises(GlasspostError, match="there can be no more"):
        directory.lock.add_app_password(ALICE, "n23")
    with pytest.raises(AlreadyThere):
        directory.lock.add_app_password(ALICE, "n1")
    with pytest.raises(NotFound, match="did you mean n2"):
        directory.lock.remove_app_password(ALICE, "n2x")


async def test_an_account_of_before_scram_gets_its_keys_at_the_next_sign_in(desk: Desk, directory: Directory) -> None:
    directory._apply(lambda c: c.execute("UPDATE account SET stored_key = NULL, server_key = NULL").fetchall())
    assert (await scram(desk, "alice", "tulip")).fate is Fate.NO
    assert await fate(desk, plain("alice", "tulip")) is Fate.YES
    assert (await scram(desk, "alice", "tulip")).fate is Fate.YES


# --- nobody learns who exists -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["alice", "carol", "nobody", "nobody@elsewhere.example"])
async def test_a_wrong_password_is_the_same_work_and_the_same_answer_for_all(
    desk: Desk, directory: Directory, who: str
) -> None:
    for number in range(3):
        directory.lock.add_app_password(ALICE, f"n{number}")
    checker = directory.lock.checker
    for password in ("wrong", "\x00", "x" * 5000):
        before = checker.hashes, checker.derivations
        assert await fate(desk, plain(who, password)) is Fate.NO
        assert (checker.hashes - before[0], checker.derivations - before[1]) == (1, 1)
    with_the_right = "tulip" if who == "carol" else "wrong"
    assert (await scram(desk, who, with_the_right)).fate in (Fate.NO, Fate.AWAY)


async def test_a_disabled_account_is_not_told_that_its_password_is_right(desk: Desk, directory: Directory) -> None:
    """The server's own proof would tell it, before the refusal."""
    client = ScramClient(["SCRAM-SHA-256"], "carol", "tulip")
    server = exchange("SCRAM-SHA-256", Terms())
    server.begin(b64(client.get_client_first()))
    said = server.keys(directory.lock.scram_keys("carol", "smtp"))
    assert isinstance(said, Challenge)
    client.set_server_first(unb64(said.text))
    assert server.go_on(b64(client.get_client_final())) == Proof("SCRAM-SHA-256", "carol", None)


async def test_salts_tell_nothing_today_nor_later(desk: Desk, directory: Directory) -> None:
    async def salt(name: str) -> tuple[bytes, int, int]:
        keys = (await desk.judge(WantsKeys("SCRAM-SHA-256", name), HOME, "smtp")).keys
        assert keys is not None
        return keys.salt, keys.iterations, len(keys.pairs)

    before = {name: await salt(name) for name in ("alice", "carol", "dave")}
    assert len(set(before.values())) == 3
    directory.add_account(Address("dave", "example.org"), "x")
    directory.set_password(ALICE, "something new")
    assert before == {name: await salt(name) for name in before}
    assert await salt("ALICE@example.org") == before["alice"]


# --- guesses ----------------------------------------------------------------------------------------------------------


async def test_guessing_takes_longer_each_time_and_then_nothing_is_checked(
    desk: Desk, directory: Directory, waits: list[float]
) -> None:
    fates = [await fate(desk, plain("alice", f"guess {number}")) for number in range(4)]
    assert fates == [Fate.NO] * 4 and waits == [0.5, 1, 2]
    hashes = directory.hashes
    for question in (plain("alice", "tulip"), WantsKeys("SCRAM-SHA-256", "alice")):
        assert await fate(desk, question) is Fate.AWAY
    assert directory.hashes == hashes


async def test_a_thousand_connections_are_not_a_thousand_guesses(desk: Desk, directory: Directory) -> None:
    found = await asyncio.gather(*(fate(desk, plain(f"u{number}", "x")) for number in range(1000)))
    assert found.count(Fate.NO) == 4 and directory.hashes == 4


async def test_a_program_that_nobody_told_of_the_new_password_is_no_guesser(desk: Desk) -> None:
    assert [await fate(desk, plain("alice", "the old one")) for _ in range(20)] == [Fate.NO] * 20


async def test_the_owner_comes_in_while_strangers_guess(desk: Desk) -> None:
    assert await fate(desk, plain("alice", "tulip")) is Fate.YES
    for number in range(120):
        await desk.judge(plain("alice", f"guess {number}"), f"203.0.{number}.1", "smtp")
    assert (await desk.judge(plain("alice", "tulip"), "198.51.100.1", "smtp")).fate is Fate.AWAY
    assert await fate(desk, plain("alice", "tulip")) is Fate.YES


async def test_what_may_be_a_password_in_the_wrong_place_is_not_kept(desk: Desk, guesses: Guesses) -> None:
    verdict = await desk.judge(plain("hunter2", "alice"), HOME, "smtp")
    assert "hunter2" not in verdict.note + str(guesses.failures())


# --- tokens -----------------------------------------------------------------------------------------------------------

RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
CLAIMS = {"iss": "https://id.example", "aud": "mail", "email": "alice@example.org", "scope": "openid mail"}


def token(key: object = RSA, kid: str = "k1", algorithm: str = "RS256", **changes: object) -> str:
    claims = {**CLAIMS, "exp": time.time() + 600, **changes}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key, algorithm, {"kid": kid})  # type: ignore[arg-type]


@pytest.fixture
def tokens(tmp_path: Path) -> TokenDesk:
    keys = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key()))
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [{**keys, "kid": "k1", "use": "sig", "alg": "RS256"}]}))
    settings = TokenSettings("https://id.example", "mail", "mail", jwks_file=path)
    return TokenDesk(settings, ManualClock(time.time()))


async def test_a_token_signs_in_whom_it_names(directory: Directory, guesses: Guesses, tokens: TokenDesk) -> None:
    desk = Desk(directory, guesses, tokens)
    for name, expected in (("", Fate.YES), ("alice@example.org", Fate.YES), ("bob@example.org", Fate.NO)):
        assert await fate(desk, Bearer("OAUTHBEARER", name, token())) is expected
    assert await fate(desk, Bearer("XOAUTH2", "", token(email="nobody@example.org"))) is Fate.NO
    assert await fate(desk, Bearer("XOAUTH2", "", token(email="carol@example.org"))) is Fate.NO


@pytest.mark.parametrize(
    "bad",
    [
        {"iss": "https://evil.example"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"exp": 1}, {"exp": None},
        {"nbf": time.time() + 3600}, {"scope": "openid"}, {"scope": None}, {"email": None}, {"email": 5},
        {"email_verified": False}, {"key": OTHER}, {"kid": "k2"},
        {"key": "a secret of thirty-two octets, so", "algorithm": "HS256"}, {"key": None, "algorithm": "none"},
        {"key": ec.generate_private_key(ec.SECP256R1()), "algorithm": "ES256"},
    ],
)  # fmt: skip
async def test_tokens_that_are_not_good(tokens: TokenDesk, bad: dict[str, object]) -> None:
    assert await tokens.whose(token()) == "alice@example.org"
    assert await tokens.whose(token(**bad)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("nonsense", ["", "x", "a.b.c", "a" * 5000, "eyJhbGciOiJub25lIn0.e30."])
async def test_what_is_no_jwt(tokens: TokenDesk, nonsense: str) -> None:
    assert await tokens.whose(nonsense) is None
