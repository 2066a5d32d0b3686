"""A busy node puts what it heard aside, on the disk, and makes talks of it when there is time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from glasspost.storage import transcripts as transcripts_module
from glasspost.storage.masking import Pseudonyms
from glasspost.storage.recording import Recording
from glasspost.storage.talks import Talks
from glasspost.storage.transcripts import Transcripts
from glasspost.testing import ManualClock

HERE, THERE = "127.0.0.1:2525", "127.0.0.1:4711"
BUSY = 20_000  # octets that count as a load


@pytest.fixture
async def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Transcripts]]:
    monkeypatch.setattr(transcripts_module, "FLUSH_OCTETS", BUSY)
    houses: list[Transcripts] = []

    def opened(clock: ManualClock, **settings: Any) -> Transcripts:
        house = Transcripts(tmp_path / "transcripts.db", clock=clock, **settings)
        house.start(asyncio.get_running_loop())
        houses.append(house)
        return house

    yield opened
    for house in houses:
        await house.close()


def put_aside(folder: Path) -> int:
    connection = apsw.Connection(str(folder / "transcripts.db"))
    try:
        return int(connection.execute("SELECT count(*) FROM backlog").get)
    finally:
        connection.close()


def talk_of(folder: Path, recording: Recording) -> str:
    talks = Talks(folder / "transcripts.db")
    try:
        return talks.talk(recording.id)
    finally:
        talks.close()


async def load(house: Transcripts, lines: int = 1_000) -> Recording:
    """A conversation that is a load, until it is on the disk in one form or the other."""
    recording = house.open("smtp-in", HERE, THERE)
    for number in range(lines):
        recording.heard(b"NOOP %d" % number)
        recording.said(b"250 2.0.0 OK\r\n")
    recording.close()
    assert house._database is not None
    await house._database.written(lambda connection: None)
    return recording


async def test_under_load_it_is_put_aside_and_afterwards_it_is_all_there(opened, tmp_path: Path) -> None:
    clock = ManualClock(1_790_000_000.0)
    house = opened(clock)
    first, second = await load(house), await load(house)
    assert put_aside(tmp_path) > 1
    for _ in range(put_aside(tmp_path) + 2):
        clock.advance(1.0)
    assert house._database is not None
    await house._database.written(lambda connection: None)
    assert put_aside(tmp_path) == 0
    for recording in (first, second):
        talk = talk_of(tmp_path, recording)
        said = [line for line in talk.splitlines() if line.startswith("C: ")]
        assert said == [f"C: NOOP {number}" for number in range(1_000)], "in the order in which it was said"


async def test_who_wants_to_read_at_once_finds_it_all(opened, tmp_path: Path) -> None:
    house = opened(ManualClock(1_790_000_000.0))
    recording = await load(house)
    assert put_aside(tmp_path) > 0
    await house.flush()
    assert "C: NOOP 999\n" in talk_of(tmp_path, recording)
    later = house.open("smtp-in", HERE, THERE)
    later.heard(b"QUIT")
    later.close()
    await house.flush()
    assert "C: QUIT\n" in talk_of(tmp_path, later)


async def test_what_a_dead_node_put_aside_is_there_after_the_next_start(opened, tmp_path: Path) -> None:
    recording = await load(opened(ManualClock(1_790_000_000.0)))
    assert put_aside(tmp_path) > 0
    opened(ManualClock(1_790_000_100.0))  # the first one is not closed: as after kill -9
    assert put_aside(tmp_path) == 0
    assert "C: NOOP 999\n" in talk_of(tmp_path, recording)


@pytest.mark.parametrize("masked", [{"pseudonyms": Pseudonyms(b"k" * 32)}, {"subjects": False}])
async def test_what_must_be_masked_is_never_put_aside(opened, tmp_path: Path, masked: dict[str, Any]) -> None:
    await load(opened(ManualClock(1_790_000_000.0), **masked))
    assert put_aside(tmp_path) == 0


async def test_a_load_that_never_ends_is_written_out_all_the_same(
    opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts_module, "BACKLOG_LIMIT", 2)
    house = opened(ManualClock(1_790_000_000.0))
    for _ in range(5):
        await load(house)
    assert house._database is not None
    await house._database.written(lambda connection: None)
    assert put_aside(tmp_path) <= 4


async def test_a_load_that_lasts_is_read_about_half_a_minute_later(
    opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts_module, "FLUSH_OCTETS", 10**9)  # one lot for each look at the clock
    clock = ManualClock(1_790_000_000.0)
    house = opened(clock)
    tick = transcripts_module.BUSY_FLUSH_SECONDS
    first = await load(house)
    for _ in range(int(transcripts_module.BACKLOG_SECONDS / tick) - 8):
        clock.advance(tick)
        await load(house)
    assert put_aside(tmp_path) > 20
    for _ in range(20):
        clock.advance(tick)
        await load(house)
    assert "C: NOOP 999\n" in talk_of(tmp_path, first), "the load goes on"
