"""A message on its way to its reader.

Lives here: which part of it is asked for (RETR: all, TOP: the header and so many lines), whether this session may
have it at all (RFC 6856), and the dots.
Does not live here: where its octets come from (storage/mailboxes.py), how fast they go (retrieval/pop3.py).

The content is sent as it is stored, octet for octet (DESIGN law 7): the dots of RFC 1939 §3 are put in, the reader
takes them out again, and a line end is added only where the last line has none. One exception: POP3 has lines only, and
what came as BINARYMIME may hold an LF alone. A dot behind one gets another in front as well, or a reader who takes LF
for a line end would find the end of the message, and answers of ours, wherever its sender liked.

UTF-8 (RFC 6856 §2.1): a session that has not said UTF8 must not be sent UTF-8 strings as they are; it gets a
surrogate, or -ERR [UTF8]. We refuse, as a surrogate would be another message under the same unique-id. What counts is
the message's own header (RFC 6532): only it is new with SMTPUTF8. Text bodies of 8 bits are labelled by MIME and were
sent by every POP3 server before; they go as they are. So does a header with octets that are not UTF-8: it is old and
faulty, and UTF8 could not make it any better.
"""

from __future__ import annotations

import codecs
import re

from glasspost.protocol.dots import DotWriter

_BEHIND_LF = re.compile(rb"(?<!\r)\n\.")  # a dot behind an LF alone
_HEADER_LIMIT = 256 * 1024  # octets held back until a header's end has come; a longer one is judged by its beginning


class Top:
    """Cuts the top off a content that comes in pieces of any size: the header, the empty line, and `lines` lines.

    Only CR LF ends a line. `done` becomes true once everything asked for was handed out.
    """

    __slots__ = ("_held", "_in_body", "_left", "_tail", "done")

    def __init__(self, lines: int) -> None:
        self._left = lines
        self._in_body = False
        self._tail = b"\r\n"  # an imaginary line end in front, so that an empty header is found as well
        self._held = b""  # a CR at the end of a piece, whose LF may follow
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The part of this piece that belongs to the top."""
        if self.done:
            return b""
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        data = data[: len(data) - len(self._held)]
        start = 0 if self._in_body else self._body_start(data)
        return data[: self._cut(data, start)] if self._in_body else data

    def end(self) -> bytes:
        """The content has ended: what was held back."""
        held, self._held = self._held, b""
        return b"" if self.done else held

    def _body_start(self, data: bytes) -> int:
        joined = self._tail + data
        end = joined.find(b"\r\n\r\n")
        if end >= 0:
            self._in_body = True
            return end + 4 - len(self._tail)
        self._tail = joined[-2:]  # of an end mark only its first half can be here: a last CR is held
        return 0

    def _cut(self, data: bytes, start: int) -> int:
        """Where the wanted lines end in this piece."""
        if data.count(b"\r\n", start) < self._left:
            self._left -= data.count(b"\r\n", start)
            return len(data)
        while self._left:
            start = data.index(b"\r\n", start) + 2
            self._left -= 1
        self.done = True
        return start


class Outgoing:
    """One message being sent: pieces of its content in, octets for the wire out.

    With `judge` nothing is handed out before the header has come; `judged` says that it has, `refused` how it ended.
    `octets` counts the content handed out, without dots.
    """

    __slots__ = ("_dots", "_header", "_seam", "_strict", "_top", "judged", "octets", "refused")

    def __init__(self, lines: int | None, judge: bool) -> None:
        self._top = None if lines is None else Top(lines)
        self._seam = b""  # the last two octets handed out
        self._dots = DotWriter()
        self._header = b""
        self._strict = judge
        self.judged = False
        self.refused = False
        self.octets = 0

    @property
    def wants_more(self) -> bool:
        """Whether the next piece is of any use."""
        return not self.refused and (self._top is None or not self._top.done)

    def feed(self, data: bytes) -> bytes:
        """The next piece of the content, as it must be sent."""
        if not self.judged:
            self._header += data
            end = 0 if not self._strict else (b"\r\n" + self._header).find(b"\r\n\r\n")
            if end < 0 and len(self._header) < _HEADER_LIMIT:
                return b""
            data = self._judge(end if end >= 0 else len(self._header))
        return self._send(data if self._top is None else self._top.feed(data))

    def end(self) -> bytes:
        """The content has ended, or no more of it is wanted: the rest, and the end mark."""
        rest = b"" if self.judged else self._judge(len(self._header))
        if self._top is not None:
            rest = self._top.feed(rest) + self._top.end()
        rest = self._send(rest)
        return b"" if self.refused else rest + self._dots.end()

    def _send(self, data: bytes) -> bytes:
        if self.refused:
            return b""
        self.octets += len(data)
        joined = self._seam + data
        if b"\n." in joined:
            data = _BEHIND_LF.sub(b"\n..", joined)[len(self._seam) :]
        self._seam = b"" if joined.endswith(b".") else joined[-2:]
        return self._dots.feed(data)

    def _judge(self, header_end: int) -> bytes:
        """The header is here. Gives back all that was held."""
        held, self._header = self._header, b""
        self.judged = True
        self.refused = self._strict and _needs_utf8(held[:header_end])
        return held


def _needs_utf8(header: bytes) -> bool:
    """Whether the header has UTF-8 strings in it (RFC 6532)."""
    if header.isascii():
        return False
    try:
        # Not `bytes.decode`: a header over the limit may have been cut within a character.
        codecs.getincrementaldecoder("utf-8")().decode(header)
    except UnicodeDecodeError:
        return False
    return True
