"""The talk: a conversation as text, for people and for tests.

Lives here: the form, read and written. The same form is what the server records, `conversations show` prints, docs
display and tests assert (docs/talks.md).
Does not live here: recording (storage/transcripts.py), or holding a conversation (smtp_server.py and its kin).

One line of a talk is one line of the wire, or a note:

    talk = *( line LF )
    line = [ who [ SP offset ] ":" [ SP text ]  /  "#" [ SP [ offset ":" SP ] text ] ]
    who = "C" / "S"                      ; client, server
    offset = 1*12DIGIT "." 3DIGIT        ; seconds since the conversation began

An octet that cannot be shown stands as `\\xNN`: what is not UTF-8, controls, other characters without a shape, a
space at the very end. A backslash stands as `\\\\`. So a talk can be read back to the very octets it was made from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

CLIENT = "C"
SERVER = "S"
NOTE = "#"
NO_LINE_END = "no line end"  # as a note: the line of the client above it has no CRLF

_SPOKEN = re.compile(r"([CS])(?: (\d{1,12}\.\d{3}))?:(?: ?(.*))", re.DOTALL)
_NOTED = re.compile(r"#(?: (\d{1,12}\.\d{3}):(?= |$))?(?: ?(.*))", re.DOTALL)
_LIKE_A_TIME = re.compile(r"\d{1,12}\.\d{3}:(?: |$)")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(\\)|)")


class TalkError(ValueError):
    """A text that is no talk. The message names the line, counted from 1."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: who said it (CLIENT, SERVER, or NOTE for a fact that was not on the wire), its octets without CRLF,
    and when, in seconds since the conversation began; None where no time is kept."""

    who: str
    octets: bytes
    at: float | None = None

    @property
    def text(self) -> str:
        """The line as it stands in a talk, without who and when."""
        return escape(self.octets)


def is_plain(text: str) -> bool:
    """Whether this goes into a talk as it is: it can be shown, has no backslash, and no space at the end."""
    return text.isprintable() and "\\" not in text and text[-1:] != " "


def escape(octets: bytes) -> str:
    """Octets as text that can be read back: see the head of this file."""
    text = octets.decode("utf-8", "surrogateescape")
    if is_plain(text):
        return text
    pieces = []
    for char in text:
        if char == "\\":
            pieces.append("\\\\")
        elif char.isprintable():  # false for controls, line separators, direction marks and lone octets
            pieces.append(char)
        else:
            pieces.extend(f"\\x{octet:02x}" for octet in char.encode("utf-8", "surrogateescape"))
    if pieces and pieces[-1] == " ":
        pieces[-1] = "\\x20"
    return "".join(pieces)


def unescape(text: str) -> bytes:
    """The inverse of `escape`. Raises ValueError at a backslash that begins no escape."""

    def octet(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16)) if int(found[1], 16) < 128 else chr(0xDC00 + int(found[1], 16))
        if found[2]:
            return "\\"
        raise ValueError(r"a backslash begins \\ or \xNN")

    return _ESCAPE.sub(octet, text).encode("utf-8", "surrogateescape")


def print_line(who: str, octets: bytes, at: float | None = None) -> str:
    """One line of a talk, without its LF."""
    text = escape(octets)
    if who == NOTE:
        if at is not None:
            return f"# {at:.3f}: {text}" if text else f"# {at:.3f}:"
        if _LIKE_A_TIME.match(text):
            text = f"\\x{ord(text[0]):02x}{text[1:]}"  # so that it is not read back as one
        return f"# {text}" if text else "#"
    if at is not None:
        return f"{who} {at:.3f}: {text}" if text else f"{who} {at:.3f}:"
    return f"{who}: {text}" if text else f"{who}:"


def print_talk(lines: Iterable[Line], *, times: bool = False) -> str:
    """The talk of these lines: the inverse of `parse_talk`. Without `times` the offsets are left out."""
    return "".join(print_line(line.who, line.octets, line.at if times else None) + "\n" for line in lines)


def parse_talk(text: str) -> list[Line]:
    """The lines of a talk; blank lines mean nothing. Raises TalkError."""
    lines = []
    for number, written in enumerate(text.split("\n"), 1):
        written = written.removesuffix("\r")
        if not written.strip():
            continue
        try:
            lines.append(_parse_line(written))
        except ValueError as error:
            raise TalkError(f"line {number}: {error}: {written}") from None
    return lines


def _parse_line(written: str) -> Line:
    found = _SPOKEN.fullmatch(written)
    if found is not None:
        who, offset, text = found.groups()
    else:
        noted = _NOTED.fullmatch(written)
        if noted is None:
            raise ValueError('a line begins with "C:", "S:" or "#"')
        who = NOTE
        offset, text = noted.groups()
    return Line(who, unescape(text), None if offset is None else float(offset))
