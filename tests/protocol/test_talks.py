"""Every talk in tests/talks, held three times with a real house: in one burst, byte by byte, and over a socket.

A talk is one behaviour, as an administrator would read it. Its first line says which. Beside `C:` and `S:` lines
(docs/talks.md), these notes mean something here; all others are for the reader:

    # setup: role submission         the listener's role; mx where nothing is said
    # setup: tls starttls            the listener offers STARTTLS
    # setup: xclient 127.0.0.0/8     clients from there are proxies that may say XCLIENT
    # setup: smtp.max_errors = 3     a line of the configuration
    # step by step                   this client must wait for replies: not to be sent in one burst
    # no line end                    the line of the client above has no CRLF (a chunk that ends within a line)
    # kept for bob@example.test      a message was accepted, for these; `# >` lines below are its octets
    # nothing is kept                the store is empty in the end
    # repaired: brackets             this leniency was used (docs/devices.md); all that were used stand there, in order

In an `S:` line `...` stands for anything. Each talk ends with the server's goodbye. See tests/entrances.py for who
lives in the house.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrances import House, Wire
from glasspost.mail.address import path_text
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, parse_talk

TALKS = sorted((Path(__file__).parent.parent / "talks").glob("*.talk"))
PATIENCE = 10.0  # seconds until a server that says nothing is given up


@dataclass
class Step:
    """What the client sends at once, and what it then waits for."""

    sent: bytes = b""
    expected: list[str] = field(default_factory=list)


@dataclass
class Kept:
    """A message that must have been accepted."""

    recipients: list[str]
    lines: list[bytes] = field(default_factory=list)


@dataclass
class Play:
    """A talk, ready to be held."""

    steps: list[Step]
    settings: list[str] = field(default_factory=list)
    role: str = "mx"
    tls: str = "none"
    xclient: str = ""
    at_once: bool = True
    kept: list[Kept] = field(default_factory=list)
    nothing_kept: bool = False
    repairs: list[str] = field(default_factory=list)

    @property
    def expected(self) -> list[str]:
        return [line for step in self.steps for line in step.expected]


def read_play(text: str) -> Play:
    lines = parse_talk(text)
    assert lines[0].who == NOTE, "the first line says what the talk is about"
    play = Play([Step()])
    for number, line in enumerate(lines):
        if line.who == NOTE:
            _take_note(play, line.octets)
        elif line.who == SERVER:
            play.steps[-1].expected.append(line.octets.decode())
        else:
            if play.steps[-1].expected:
                play.steps.append(Step())
            following = lines[number + 1] if number + 1 < len(lines) else line
            ended = not (following.who == NOTE and following.octets == b"no line end")
            play.steps[-1].sent += line.octets + (b"\r\n" if ended else b"")
    assert play.expected[-1][:3] in ("221", "421"), "a talk ends with the server's goodbye"
    return play


def _take_note(play: Play, octets: bytes) -> None:
    if octets[:1] == b">":
        play.kept[-1].lines.append(octets[2:])
        return
    note = octets.decode()
    if note.startswith("setup: "):
        key, _, value = note.removeprefix("setup: ").partition(" ")
        if key == "role":
            play.role = value
        elif key == "tls":
            play.tls = value
        elif key == "xclient":
            play.xclient = value
        else:
            play.settings.append(f"{key} {value}")
    elif note == "step by step":
        play.at_once = False
    elif note.startswith("repaired: "):
        play.repairs.append(note.removeprefix("repaired: "))
    elif note == "nothing is kept":
        play.nothing_kept = True
    elif note.startswith("kept for "):
        play.kept.append(Kept(sorted(note.removeprefix("kept for ").split(", "))))


def matches(expected: str, said: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, expected.split("..."))), said) is not None


def check_said(play: Play, said: bytes) -> None:
    """The server said exactly this; and every refusal ends with the conversation's id."""
    assert said.endswith(b"\r\n")
    lines = said.decode().split("\r\n")[:-1]
    for expected, line in zip(play.expected, lines, strict=False):
        assert matches(expected, line), f"expected: {expected}\nsaid:     {line}\nall of it:\n" + "\n".join(lines)
    assert len(lines) == len(play.expected), f"said more, or less:\n{said.decode()}"
    ids = {line[-15:] for line in lines if line[0] in "45"}
    assert all(re.fullmatch(r" \[c[0-9a-z]{11}", one[:-1]) and one[-1] == "]" for one in ids)
    assert len(ids) <= 1


def check_kept(play: Play, house: House) -> None:
    """What was accepted is what the talk says, octet by octet."""
    if play.nothing_kept:
        assert house.is_empty
    if not play.kept:
        return
    assert len(house.accepted) == len(play.kept)
    for kept, intake in zip(play.kept, house.accepted, strict=True):
        who = {path_text(one.address) for one in intake.recipients}
        who |= {house.directory.account(number).address for number, _ in intake.deposits}  # type: ignore[union-attr]
        assert sorted(who) == kept.recipients
        if kept.lines:
            content = b"\r\n".join(kept.lines)
            assert house.content(intake) in (content + b"\r\n", content)


class Reader:
    """Waits until a wire has said so many lines."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.news = asyncio.Event()
        wire.heard = self.news.set

    async def until(self, lines: int) -> None:
        """Or until the end."""
        async with asyncio.timeout(PATIENCE):
            while self.wire.said.count(b"\r\n") < lines and not self.wire.closed:
                self.news.clear()
                await self.news.wait()


async def hold_whole(play: Play, house: House) -> bytes:
    """Everything at once, where that is allowed; else as much at once as is."""
    wire = Wire(house.session())
    reader = Reader(wire)
    if play.at_once:
        wire.feed(b"".join(step.sent for step in play.steps))
        await reader.until(len(play.expected))
    else:
        count = 0
        for step in play.steps:
            wire.feed(step.sent)
            count += len(step.expected)
            await reader.until(count)
    assert wire.closed, wire.said.decode()
    return wire.said


async def hold_byte_by_byte(play: Play, house: House) -> bytes:
    wire = Wire(house.session())
    reader = Reader(wire)
    count = 0
    for step in play.steps:
        for number in range(len(step.sent)):
            wire.feed(step.sent[number : number + 1])
        count += len(step.expected)
        await reader.until(count)
    assert wire.closed, wire.said.decode()
    return wire.said


async def hold_over_socket(play: Play, house: House) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    said = b""
    try:
        async with asyncio.timeout(PATIENCE):
            for step in play.steps:
                writer.write(step.sent)
                for _ in step.expected:
                    said += await reader.readline()
            return said + await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("hold", [hold_whole, hold_byte_by_byte, hold_over_socket], ids=["whole", "bytes", "socket"])
@pytest.mark.parametrize("path", TALKS, ids=[path.stem for path in TALKS])
async def test_talk(path, hold, entrance) -> None:
    play = read_play(path.read_text("utf-8"))
    house = await entrance(*play.settings, role=play.role, tls=play.tls, xclient=play.xclient)
    said = await hold(play, house)
    await house.written()
    check_said(play, said)
    check_kept(play, house)
    assert house.repairs == play.repairs, "not what the talk says was repaired"


def test_there_are_talks() -> None:
    assert len(TALKS) > 60


@pytest.mark.parametrize(
    ("expected", "said"), [("250 OK", "250 OK..."), ("250 ...", "251 OK"), ("250-A", "250 A"), ("2.0 x", "2a0 x")]
)
def test_a_talk_can_fail(expected: str, said: str) -> None:
    assert not matches(expected, said)


@pytest.mark.parametrize("said", [b"220 x\r\n550 no\r\n", b"220 x\r\n550 no [c0b62hq4z8rk] \r\n", b"220 x\r\n"])
def test_a_refusal_without_an_id_is_noticed(said: bytes) -> None:
    with pytest.raises(AssertionError):
        check_said(Play([Step(b"", ["220 x", "550 no..."])]), said)


def test_the_client_speaks_first_only_after_the_greeting() -> None:
    for path in TALKS:
        spoken = [line for line in parse_talk(path.read_text("utf-8")) if line.who in (CLIENT, SERVER)]
        assert spoken[0].who == SERVER, path.name
