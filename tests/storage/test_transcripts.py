"""The record: what was said is found again, in bounded room, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.errors import NotFound, StoreError
from glasspost.ids import write_id
from glasspost.protocol.talk import Line, parse_talk, print_talk
from glasspost.storage import recording as recording_module
from glasspost.storage import transcripts as transcripts_module
from glasspost.storage.excerpts import print_entries
from glasspost.storage.talks import Talks
from glasspost.storage.transcript_jobs import Archive
from glasspost.storage.transcripts import Recording, Transcripts
from glasspost.testing import ManualClock

Opener = Callable[..., Transcripts]
HERE, THERE = "127.0.0.1:2525", "127.0.0.1:4711"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_790_000_000.25)


@pytest.fixture
async def opened(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Opener]:
    """Opens the record in this test's folder, and closes it in the end."""
    houses: list[Transcripts] = []

    def opened(**settings: object) -> Transcripts:
        house = Transcripts(tmp_path / "transcripts.db", clock=clock, **settings)  # type: ignore[arg-type]
        house.start(asyncio.get_running_loop())
        houses.append(house)
        return house

    yield opened
    for house in houses:
        await house.close()


@contextmanager
def talks_in(folder: Path) -> Iterator[Talks]:
    talks = Talks(folder / "transcripts.db")
    try:
        yield talks
    finally:
        talks.close()


def greet(recording: Recording) -> None:
    recording.said(b"220 mail.example.org ESMTP\r\n")
    recording.heard(b"EHLO client.example")
    recording.said(b"250-mail.example.org\r\n250 PIPELINING\r\n")


def send(recording: Recording, number: int, verdict: bytes = b"250 2.0.0 safe") -> None:
    recording.mark()
    recording.heard(b"MAIL FROM:<m%d@client.example>" % number)
    recording.said(b"250 2.1.0 Sender OK\r\n")
    recording.said(verdict + b"\r\n")


# --- what is recorded ---------------------------------------------------------------------------------------


async def test_a_conversation_is_found_as_it_was_held(opened: Opener, tmp_path: Path, clock: ManualClock) -> None:
    house = opened()
    recording = house.open("smtp-in", HERE, THERE)
    greet(recording)
    clock.advance(1.5)
    recording.heard(b"NO\xffOP \\ \x00")
    recording.note("queued q0b62hq5a01c, 42 octets\nand more")
    recording.heard(b"")
    recording.close("0 messages")
    await house.flush()
    with talks_in(tmp_path) as talks:
        assert talks.talk(recording.id, times=True) == (
            f"# conversation {recording.id}, smtp-in, {THERE} -> {HERE}, 2026-09-21T14:13:20.250Z\n"
            "S 0.000: 220 mail.example.org ESMTP\n"
            "C 0.000: EHLO client.example\n"
            "S 0.000: 250-mail.example.org\n"
            "S 0.000: 250 PIPELINING\n"
            "C 1.500: NO\\xffOP \\\\ \\x00\n"
            "# 1.500: queued q0b62hq5a01c, 42 octets\n"
            "# 1.500: and more\n"
            "C 1.500:\n"
            "# 1.500: end: 0 messages\n"
        )
        assert "\nC: NO\\xffOP" in talks.talk(recording.id)
        [found] = talks.conversations()
        assert (found.id, found.kind, found.local, found.peer) == (recording.id, "smtp-in", HERE, THERE)
        assert (found.lines, found.verdict, found.ended - found.started) == (6, "0 messages", 1.5)


@pytest.mark.parametrize(
    ("kind", "heard", "ends"),
    [("smtp-in", "C", "there -> here"), ("smtp-out", "S", "here -> there"), ("pop3", "C", "there -> here")],
)
async def test_who_is_the_client(opened: Opener, tmp_path: Path, kind: str, heard: str, ends: str) -> None:
    house = opened()
    recording = house.open(kind, "here", "there")
    recording.heard(b"x")
    recording.said(b"y\r\n")
    await house.flush()
    with talks_in(tmp_path) as talks:
        talk = talks.talk(recording.id)
    assert f", {kind}, {ends}, " in talk
    assert [line.who for line in parse_talk(talk)] == ["#", heard, "C" if heard == "S" else "S"]


async def test_it_is_stored_about_once_a_second_without_being_asked(
    opened: Opener, tmp_path: Path, clock: ManualClock
) -> None:
    house = opened()
    recording = house.open("smtp-in", HERE, THERE)
    greet(recording)
    clock.advance(1.0)
    assert house._database is not None
    await house._database.written(lambda connection: None)
    with talks_in(tmp_path) as talks:
        assert "S: 250 PIPELINING\n" in talks.talk(recording.id)
        assert talks.conversation(recording.id).ended == 0


async def test_what_has_ended_is_there_at_once_where_there_is_little_to_do(
    opened: Opener, tmp_path: Path, clock: ManualClock
) -> None:
    house = opened()
    recording = house.open("smtp-in", HERE, THERE)
    greet(recording)
    recording.close()
    clock.advance(0.1)
    assert house._database is not None
    await house._database.written(lambda connection: None)
    with talks_in(tmp_path) as talks:
        assert "S: 220 mail.example.org ESMTP" in talks.talk(recording.id)


async def test_a_long_conversation_is_stored_in_segments_and_read_as_one(opened: Opener, tmp_path: Path) -> None:
    house = opened()
    recording = house.open("smtp-in", HERE, THERE)
    for number in range(1000):
        recording.heard(b"NOOP %d" % number)
        if number % 300 == 0:
            await house.flush()
    recording.note("a note after the end is kept, too")
    recording.close()
    recording.note("even here")
    await house.flush()
    with talks_in(tmp_path) as talks:
        lines = [line.text for line in parse_talk(talks.talk(recording.id))][1:]
        assert lines == [f"NOOP {number}" for number in range(1000)] + [
            "a note after the end is kept, too",
            "even here",
        ]
        assert talks.conversation(recording.id).lines == 1000
        assert talks.newest_piece() > 4


async def test_a_message_leads_to_its_conversations(opened: Opener, tmp_path: Path) -> None:
    house = opened()
    message, other = write_id("q", 77), write_id("q", 78)
    coming, going = house.open("smtp-in", HERE, THERE), house.open("smtp-out", HERE, THERE)
    coming.mention(message)
    coming.mention(message)
    coming.mention(other)
    going.mention(message)
    going.mention("nonsense")
    coming.close()
    going.close()
    await house.flush()
    with talks_in(tmp_path) as talks:
        assert [found.id for found in talks.conversations_of(message)] == [coming.id, going.id]
        assert [found.id for found in talks.find(other.upper())] == [coming.id]
        assert [found.id for found in talks.find("last")] == [going.id]
        with pytest.raises(NotFound, match="no conversation about"):
            talks.find(write_id("q", 99))
        with pytest.raises(NotFound, match="is not the id of a conversation"):
            talks.find("bogus")


async def test_the_list_is_filtered_and_paged(opened: Opener, tmp_path: Path) -> None:
    house = opened()
    peers = ["192.0.2.1:1", "192.0.2.10:1", "192.0.2.1:2", "[2001:db8::1]:3"]
    ids = []
    for peer in peers:
        recording = house.open("pop3" if peer.endswith("2") else "smtp-in", HERE, peer)
        recording.close("done")
        ids.append(recording.id)
    await house.flush()
    with talks_in(tmp_path) as talks:

        def found(**filters: object) -> list[int]:
            return [ids.index(one.id) for one in talks.conversations(**filters)]  # type: ignore[arg-type]

        assert found() == [3, 2, 1, 0]
        assert found(limit=2) == [3, 2]
        assert found(before=ids[2]) == [1, 0]
        assert found(peer="192.0.2.1") == [2, 0]
        assert found(peer="192.0.2.1:2") == [2]
        assert found(peer="2001:db8::1") == [3]
        assert found(kind="pop3") == [2]
        assert found(kind="smtp-out") == []


async def test_whoever_follows_gets_each_piece_once(opened: Opener, tmp_path: Path) -> None:
    house = opened()
    one, two = house.open("smtp-in", HERE, THERE), house.open("smtp-in", HERE, THERE)
    one.heard(b"before")
    await house.flush()
    with talks_in(tmp_path) as talks:
        at = talks.newest_piece()
        one.heard(b"first")
        two.heard(b"second")
        await house.flush()
        pieces = talks.since(at)
        assert [(piece.conversation.id, piece.talk) for piece in pieces] == [
            (one.id, "C: first\n"),
            (two.id, "C: second\n"),
        ]
        assert talks.since(pieces[-1].number) == []


@given(
    st.lists(
        st.tuples(
            st.integers(-10, 10_000),
            st.sampled_from(["C", "S", "#"]),
            st.binary(max_size=20) | st.sampled_from([b"250 OK", b"end ", b"a\\b", b"a\r\nb", b"", b"0.100: x"]),
        )
    )
)
def test_the_short_way_of_printing_gives_what_the_long_way_gives(said: list[tuple[int, str, bytes]]) -> None:
    entries = [(1000 + at / 1000, who, octets + b"\r\n") for at, who, octets in said]
    lines = [
        Line(who, line, max(0, at) / 1000)
        for at, who, octets in said
        for line in octets.split(b"\n" if who == "#" else b"\r\n")
    ]
    assert print_entries(entries, 1000.0) == print_talk(lines, times=True)


# --- what a bounce shows --------------------------------------------------------------------------------------


async def test_an_excerpt_is_the_opening_and_the_message_at_hand(opened: Opener) -> None:
    house = opened()
    recording = house.open("smtp-out", HERE, THERE)
    recording.heard(b"220 next")
    recording.said(b"EHLO us\r\n")
    recording.heard(b"250 next")
    for number in range(3):
        recording.mark()
        recording.said(b"MAIL FROM:<%d@x.test>\r\nDATA\r\n" % number)
        recording.heard(b"550 no %d" % number)
        if number != 1:
            await house.flush()
    assert recording.excerpt() == (
        "S: 220 next\nC: EHLO us\nS: 250 next\n"
        "# earlier messages of this connection are left out here\n"
        "C: MAIL FROM:<2@x.test>\nC: DATA\nS: 550 no 2\n"
    )
    recording.close("refused")
    assert recording.excerpt().endswith("S: 550 no 2\n# end: refused\n")


@pytest.mark.parametrize("enabled", [True, False])
async def test_an_excerpt_is_the_same_whether_it_is_recorded_and_stored_or_not(
    opened: Opener, enabled: bool, tmp_path: Path
) -> None:
    house = opened(enabled=enabled)
    recording = house.open("smtp-out", HERE, THERE)
    greet(recording)
    assert recording.excerpt().count("\n") == 4
    for number in range(200):
        send(recording, number)
    assert recording.excerpt().splitlines()[-3:] == [
        "S: MAIL FROM:<m199@client.example>",
        "C: 250 2.1.0 Sender OK",
        "C: 250 2.0.0 safe",
    ]
    assert recording.excerpt().startswith("C: 220 mail.example.org ESMTP\nS: EHLO client.example\n")
    assert (tmp_path / "transcripts.db").exists() == enabled


@pytest.mark.parametrize("marked", [True, False])
async def test_an_excerpt_is_bounded_and_keeps_its_end(opened: Opener, marked: bool) -> None:
    house = opened()
    recording = house.open("smtp-out", HERE, THERE)
    for number in range(3000):
        recording.said(b"opening %d\r\n" % number)
    if marked:
        recording.mark()
        for number in range(3000):
            recording.said(b"RCPT %d\r\n" % number)
    recording.heard(b"421 enough")
    excerpt = recording.excerpt()
    assert len(excerpt) < recording_module.OPENING_LIMIT + recording_module.EXCERPT_LIMIT
    assert excerpt.startswith("C: opening 0\n") and excerpt.endswith(" 2999\nS: 421 enough\n")
    assert "# some lines are left out here\n" in excerpt


async def test_what_no_bounce_tells_of_is_not_kept_for_one(opened: Opener) -> None:
    house = opened()
    recording = house.open("smtp-in", HERE, THERE)
    for number in range(recording_module.HANDOVER_LINES):
        recording.mark()
        recording.heard(b"NOOP %d" % number)
    recording.heard(b"fresh")
    assert recording._since == []
    assert recording.excerpt().endswith("C: fresh\n")


# --- bounds ---------------------------------------------------------------------------------------------------


async def test_a_flood_of_lines_is_handed_over_as_it_comes(opened: Opener) -> None:
    house = opened()
    recording = house.open("smtp-in", HERE, THERE)
    for _ in range(10_000):
        recording.heard(b"NOOP")
    assert len(recording.entries) < recording_module.HANDOVER_LINES
    going = house.open("smtp-out", HERE, THERE)
    for _ in range(10_000):
        going.heard(b"250 OK")
    assert len(going._since) < 3_000


async def test_a_conversation_is_kept_up_to_its_limit_and_says_so(opened: Opener, tmp_path: Path) -> None:
    house = opened(conversation_octets=100_000)
    recording = house.open("smtp-in", HERE, THERE)
    for number in range(5_000):
        recording.heard(b"NOOP %d" % number)
    recording.mention(write_id("q", 5))
    recording.close("flooded")
    await house.flush()
    with talks_in(tmp_path) as talks:
        lines = parse_talk(talks.talk(recording.id))
        assert 1_000 < len(lines) < 2_000
        assert lines[-1].text == "further lines not kept: this conversation is too long"
        [found] = talks.conversations_of(write_id("q", 5))
        assert found.verdict == f"accepted {write_id('q', 5)}; flooded"
    assert house.lost_lines > 3_000


async def test_a_line_is_kept_up_to_its_limit(opened: Opener, tmp_path: Path) -> None:
    house = opened()
    recording = house.open("smtp-in", HERE, THERE)
    recording.heard(b"x" * 5_000)
    await house.flush()
    with talks_in(tmp_path) as talks:
        assert talks.talk(recording.id).endswith("x [and 904 octets more]\n")


async def test_what_a_slow_disk_cannot_take_is_dropped_and_said(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts_module, "BEHIND_LIMIT", 10_000)
    house = opened()
    recording = house.open("smtp-in", HERE, THERE)
    for _ in range(1_024):
        recording.heard(b"NOOP")
    assert house._ready_octets <= 10_000
    await house.flush()
    recording.heard(b"and on")
    await house.flush()
    for _ in range(1_024):
        recording.heard(b"NOOP")
    await house.flush()
    with talks_in(tmp_path) as talks:
        talk = talks.talk(recording.id)
    gap = "# lines not kept here: the store is behind\n"
    assert talk.count(gap) == 2, "one note for each run of lost lines"
    assert gap + "C: and on\n" in talk


async def test_a_store_that_refuses_hurts_nobody_and_is_noted(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = opened()
    recording = house.open("smtp-in", HERE, THERE)
    recording.heard(b"lost")

    def full(*_: object) -> None:
        raise StoreError("no room left on the disk")

    with monkeypatch.context() as broken:
        broken.setattr(Archive, "store", full)
        await house.flush()
    recording.heard(b"kept")
    await house.flush()
    with talks_in(tmp_path) as talks:
        assert talks.talk(recording.id).splitlines()[1:] == [
            "# 1 lines before this one were not kept: no room left on the disk",
            "C: kept",
        ]


# --- retention -----------------------------------------------------------------------------------------------


async def retained(house: Transcripts) -> None:
    """Wait until retention has done all it has to do."""
    async with asyncio.timeout(10):
        assert house._database is not None
        while house._retaining:
            await house._database.written(lambda connection: None)


async def test_what_is_too_old_goes_with_all_that_belongs_to_it(
    opened: Opener, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts_module, "RETENTION_STEP", 3)
    house = opened(keep_seconds=100)
    await retained(house)
    still_open = house.open("smtp-in", HERE, THERE)
    still_open.heard(b"I stay")
    for number in range(10):
        recording = house.open("smtp-in", HERE, THERE)
        recording.heard(b"old")
        recording.mention(write_id("q", number + 1))
        recording.close("old")
    await house.flush()
    clock.advance(90)
    young = house.open("smtp-in", HERE, THERE)
    young.mention(write_id("q", 11))
    young.close("young")
    await house.flush()
    await retained(house)
    with talks_in(tmp_path) as talks:
        assert len(talks.conversations()) == 12, "nothing is too old yet"
    clock.advance(61)
    await retained(house)
    with talks_in(tmp_path) as talks:
        assert [found.id for found in talks.conversations()] == [young.id, still_open.id]
        assert len(talks.conversations_of(write_id("q", 11))) == 1
    assert house._database is not None
    assert house._database.reader.execute("SELECT count(*) FROM mention").get == 1
    assert house._database.reader.execute("SELECT count(*) FROM segment").get == 2


async def test_what_is_too_much_goes_the_oldest_first(
    opened: Opener, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts_module, "RETENTION_STEP", 10)
    house = opened(max_octets=200_000, keep_seconds=0)
    await retained(house)
    for number in range(100):
        recording = house.open("smtp-in", HERE, THERE)
        for turn in range(200):
            recording.heard(f"{hash((number, turn)):x}".encode() * 2)
        recording.close(str(number))
    await house.flush()
    clock.advance(61)
    await retained(house)
    with talks_in(tmp_path) as talks:
        left = [int(found.verdict) for found in talks.conversations(limit=200)]
    assert left and left == list(range(99, 99 - len(left), -1))
    assert 10 <= len(left) < 90


# --- starting, stopping -----------------------------------------------------------------------------------------


async def test_conversations_of_a_node_that_died_are_ended_and_ids_go_on(
    opened: Opener, tmp_path: Path, clock: ManualClock
) -> None:
    dead = Transcripts(tmp_path / "transcripts.db", clock=clock)
    dead.start(asyncio.get_running_loop())
    recording = dead.open("smtp-in", HERE, THERE)
    recording.heard(b"hello")
    await dead.flush()
    dead._open.clear()  # as if it had been killed: nobody closes the recording
    await dead.close()
    house = opened()
    again = house.open("smtp-in", HERE, THERE)
    assert again.number > recording.number
    with talks_in(tmp_path) as talks:
        assert talks.conversation(recording.id).verdict == "interrupted: the node stopped"
        assert talks.conversation(recording.id).ended > 0


async def test_closing_stores_what_was_heard_to_the_last_line(tmp_path: Path, clock: ManualClock) -> None:
    house = Transcripts(tmp_path / "transcripts.db", clock=clock)
    house.start(asyncio.get_running_loop())
    recording = house.open("smtp-in", HERE, THERE)
    recording.heard(b"last words")
    await house.close()
    recording.heard(b"too late")
    recording.close("late")
    with talks_in(tmp_path) as talks:
        assert talks.talk(recording.id).splitlines()[1:] == ["C: last words", "# end: interrupted: the node stopped"]


def test_where_nothing_was_recorded_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no conversations are recorded at"):
        Talks(tmp_path / "transcripts.db")
    assert not (tmp_path / "transcripts.db").exists()
    (tmp_path / "other.db").write_bytes(b"this is not a database, and long enough to be seen as none" * 20)
    with pytest.raises(StoreError, match="cannot be read"):
        Talks(tmp_path / "other.db")
