"""The talks of tests/talks as octets: what the fuzzer begins with.

Lives here: the client's and the server's side of each talk, as they go over the wire.
Does not live here: what a talk means (tests/protocol/test_talks.py), the form (glasspost.protocol.talk).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from glasspost.protocol.talk import CLIENT, NOTE, SERVER, Line, parse_talk

TALKS = Path(__file__).resolve().parents[1] / "talks"


@cache
def texts() -> list[str]:
    """The talks as they are written."""
    return [path.read_text("utf-8") for path in sorted(TALKS.glob("*.talk"))]


def client_side() -> list[bytes]:
    """What each talk's client sends."""
    return [_side(parse_talk(text), CLIENT) for text in texts()]


def server_side() -> list[bytes]:
    """What each talk's server says. `...` stays: it is as good as any text."""
    return [_side(parse_talk(text), SERVER) for text in texts()]


def _side(lines: list[Line], who: str) -> bytes:
    sent = b""
    for number, line in enumerate(lines):
        if line.who == who:
            following = lines[number + 1] if number + 1 < len(lines) else line
            ended = not (following.who == NOTE and following.octets == b"no line end")
            sent += line.octets + (b"\r\n" if ended else b"")
    return sent
