"""Bodies that end with a dot on a line of its own (RFC 5321 §4.5.2, RFC 1939 §3).

Lives here: stuffing and unstuffing, and the search for the end.
Does not live here: the watch for bare CR and LF (newlines.py), which comes behind the unstuffing.

The law of the end: CR LF . CR LF, and nothing else, ever (RFC 5321 §4.1.1.4; a more lenient reader is how SMTP
smuggling works). A lone LF or CR is content, and cannot be a part of the end.
"""

from __future__ import annotations

import re

_END = b"\r\n.\r\n"
# A dot at the beginning of a line. As a pattern, because its search skips to each CR, which `bytes.find` does not.
_DOT = re.compile(rb"\r\n\.")


class DotReader:
    """Takes a dot-stuffed body apart, in pieces of any size.

    The body starts right behind a line end, so an imaginary CRLF stands in front: a body that is empty is `.CRLF`.
    At most four octets are held back between pieces, as they may be the beginning of the end or of a stuffed dot.
    """

    __slots__ = ("_first", "_held")

    def __init__(self) -> None:
        self._held = b"\r\n"
        self._first = True  # the imaginary CRLF has not been taken off yet

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """The next piece. Returns (content, None) while the body goes on, (content, rest) once it has ended;
        `rest` are the octets behind the end."""
        data = self._held + data
        dot = _DOT.search(data)
        end = -1 if dot is None else data.find(_END, dot.start())
        if end >= 0:
            rest: bytes | None = data[end + 5 :]
            data = data[: end + 2]  # the line end in front of the dot belongs to the content
            self._held = b""
        else:
            rest = None
            keep = _tail(data)
            self._held = data[len(data) - keep :]
            data = data[: len(data) - keep]
        if dot is not None and dot.end() <= len(data):
            # A dot behind a line end is there for transparency only: the end has been ruled out, take it off.
            data = data.replace(b"\r\n.", b"\r\n")
        if self._first and len(data) >= 2:
            data = data[2:]
            self._first = False
        return data, rest


def _tail(data: bytes) -> int:
    """How many octets at the end might belong to the end mark or to a stuffed dot."""
    if data.endswith(b"\r\n.\r"):
        return 4
    if data.endswith(b"\r\n."):
        return 3
    if data.endswith(b"\r\n"):
        return 2
    if data.endswith(b"\r"):
        return 1
    return 0


class DotWriter:
    """Stuffs a body in pieces of any size, and ends it."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two octets sent: the body starts at the beginning of a line

    def feed(self, data: bytes) -> bytes:
        """The piece as it must be sent."""
        if not data:
            return data
        joined = self._tail + data
        stuffed = joined.replace(b"\r\n.", b"\r\n..") if b"\r\n." in joined else joined
        out = stuffed[2:]
        # `\r` held in the tail and `\n.` in the piece still meet in `joined`, so no seam is missed.
        self._tail = joined[-2:]
        return out

    def end(self) -> bytes:
        """The end mark, with a line end in front of it where the body has none."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"
