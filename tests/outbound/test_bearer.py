"""A token for signing in elsewhere: renewed in time, by one at a time, and what happens where that fails.

Lives here: the Bearer against an issuer of the test, over HTTP, and the file that it keeps.
Does not live here: AUTH with the token (tests/protocol, tests/node/test_oauth_smarthost.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from glasspost.errors import NotFound, StoreError
from glasspost.net.token_endpoint import TokenDelayed, TokenRefused
from glasspost.outbound.bearer import AGAIN_SECONDS, Bearer
from glasspost.storage.kept_tokens import KeptTokens, read_tokens, token_file, write_tokens
from glasspost.testing import ManualClock
from issuers import FIRST, Issuer, an_issuer

START = ManualClock().now()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with an_issuer() as one:
        yield one


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = token_file(tmp_path, "mine")
    write_tokens(path, KeptTokens(FIRST, "", START, START, START))
    return path


@pytest.fixture
def bearer(issuer: Issuer, file: Path, clock: ManualClock) -> Bearer:
    return Bearer(issuer.client(), file, clock)


async def test_a_token_is_used_until_shortly_before_its_end(bearer: Bearer, issuer: Issuer, clock: ManualClock) -> None:
    assert await bearer.token() == "access-secret-1"
    clock.advance(3600 - 301)
    assert await bearer.token() == "access-secret-1"
    clock.advance(2)
    assert await bearer.token() == "access-secret-2"
    assert [form["refresh_token"] for form in issuer.asked] == [FIRST, "refresh-secret-1"]


async def test_many_at_once_renew_once(bearer: Bearer, issuer: Issuer) -> None:
    assert set(await asyncio.gather(*(bearer.token() for _ in range(20)))) == {"access-secret-1"}
    assert len(issuer.asked) == 1


def modes(folder: Path) -> dict[str, int]:
    """Who may do what with a folder and the files in it."""
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


async def test_the_new_refresh_token_is_on_disk_and_for_nobody_elses_eyes(
    bearer: Bearer, issuer: Issuer, file: Path, clock: ManualClock
) -> None:
    await bearer.token()
    assert modes(file.parent) == {"oauth": 0o700, "mine.json": 0o600}
    clock.advance(4000)
    after_a_restart = Bearer(issuer.client(), file, clock)
    assert await after_a_restart.token() == "access-secret-2"


async def test_whoever_loses_patience_does_not_lose_the_refresh_token(
    bearer: Bearer, issuer: Issuer, file: Path
) -> None:
    impatient = asyncio.create_task(bearer.token())
    await issuer.heard.wait()
    impatient.cancel()
    assert await bearer.token() == "access-secret-1"
    kept = read_tokens(file)
    assert kept is not None and kept.refresh_token == "refresh-secret-1"
    assert len(issuer.asked) == 1


async def test_a_refused_token_is_renewed_but_one_that_was_just_made_is_not(
    bearer: Bearer, issuer: Issuer, clock: ManualClock
) -> None:
    first = await bearer.token()
    assert await bearer.renewed(first) == first  # a server that refuses this one would refuse any
    clock.advance(61)
    assert await bearer.renewed(first) == "access-secret-2"
    assert await bearer.renewed(first) == "access-secret-2"  # somebody else with the same old one
    assert len(issuer.asked) == 2


async def test_an_issuer_that_is_down_is_left_alone_for_a_while(
    bearer: Bearer, issuer: Issuer, clock: ManualClock
) -> None:
    issuer.answers = [(503, {"error": "temporarily_unavailable"})]
    for _ in range(3):
        with pytest.raises(TokenDelayed, match="temporarily_unavailable"):
            await bearer.token()
    assert len(issuer.asked) == 1
    clock.advance(AGAIN_SECONDS)
    assert await bearer.token() == "access-secret-1"


async def test_a_token_with_time_left_is_used_while_the_issuer_is_down(
    bearer: Bearer, issuer: Issuer, clock: ManualClock
) -> None:
    await bearer.token()
    clock.advance(3500)
    issuer.answers = [(500, "an error page")]
    assert await bearer.token() == "access-secret-1"
    clock.advance(101)
    assert await bearer.token() == "access-secret-2"


async def test_a_final_no_is_remembered_until_somebody_signs_in(issuer: Issuer, file: Path, clock: ManualClock) -> None:
    issuer.refresh_token = "another"
    for _ in range(2):
        bearer = Bearer(issuer.client(), file, clock)  # it is in the file, too
        for _ in range(2):
            with pytest.raises(TokenRefused, match=r"invalid_grant.*glasspost oauth login mine") as raised:
                await bearer.token()
            assert FIRST not in str(raised.value)  # the issuer repeats it; we do not
    assert len(issuer.asked) == 1
    write_tokens(file, KeptTokens("another", "", START, START, START))
    assert await bearer.token() == "access-secret-1"


async def test_a_sign_in_during_a_renewal_wins(bearer: Bearer, issuer: Issuer, file: Path) -> None:
    waiting = asyncio.create_task(bearer.token())
    await issuer.heard.wait()
    write_tokens(file, KeptTokens("of a person", "new", START, START + 3600, START))
    assert await waiting == "new"
    kept = read_tokens(file)
    assert kept is not None and kept.refresh_token == "of a person"


async def test_without_a_file_it_says_what_to_do(issuer: Issuer, tmp_path: Path, clock: ManualClock) -> None:
    bearer = Bearer(issuer.client(), token_file(tmp_path, "mine"), clock)
    with pytest.raises(NotFound, match="glasspost oauth login mine"):
        await bearer.token()


SPOILS = {
    "mode": lambda file: file.chmod(0o640),
    "text": lambda file: file.write_text("{"),
    "shape": lambda file: file.write_text('{"refresh_token": 1}'),
}


@pytest.mark.parametrize("spoil", SPOILS)
async def test_a_file_that_cannot_be_trusted_is_not_used(
    bearer: Bearer, issuer: Issuer, file: Path, spoil: str
) -> None:
    SPOILS[spoil](file)
    with pytest.raises(StoreError, match=r"mine\.json"):
        await bearer.token()
    assert issuer.asked == []


@pytest.mark.parametrize(
    "body",
    [
        {"access_token": "a b\r\nc", "token_type": "Bearer"},
        {"access_token": 5, "token_type": "Bearer"},
        {"access_token": "a", "token_type": "mac"},
        {"access_token": "x" * 9000, "token_type": "Bearer"},
        ["no", "object"],
    ],
)
async def test_an_answer_that_is_no_token_is_none(bearer: Bearer, issuer: Issuer, body: object) -> None:
    issuer.answers = [(200, body)]
    with pytest.raises(TokenDelayed):
        await bearer.token()


async def test_seconds_that_are_none_are_taken_for_an_hour(bearer: Bearer, issuer: Issuer, file: Path) -> None:
    issuer.seconds = "soon"
    await bearer.token()
    kept = read_tokens(file)
    assert kept is not None and kept.expires - kept.obtained == 3600
