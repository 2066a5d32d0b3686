"""The line chat that every conversation of the house is held through: SMTP server, SMTP client, POP3.

Lives here: cutting lines, the CRLF law, gathering output, and the tap.
Does not live here: what a line means (smtp_server, smtp_client, pop3_server), bodies (dots.py), sockets (net/).

Two laws are kept here and nowhere else:

- Only CR LF ends a line (RFC 5321 §2.3.8). A line feed alone is never taken for an end: what stands before it is
  handed out as a fault, so it can be answered but never obeyed. One kind of listener, the one for devices, has such
  an end mended (`mends`), and says so each time (`mended`); nobody else has that.
- The transcript is a tap on the wire. `take_line` lets it hear, `say` lets it say; no other place calls it. A secret
  is masked before the tap hears of it, by the conversation, which alone knows that a line is secret.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol


class Tap(Protocol):
    """Whoever listens to a conversation. Lines come without CRLF from `heard`, with it from `said`."""

    def heard(self, line: bytes) -> None:
        """The other side said this line (already in its public form)."""
        ...

    def said(self, text: bytes) -> None:
        """We said this: one or more whole lines (already in their public form)."""
        ...


class Silence:
    """A tap that listens to nothing: for tests and tools."""

    def heard(self, line: bytes) -> None:
        pass

    def said(self, text: bytes) -> None:
        pass


class LineFault(Enum):
    """A line that must not be obeyed."""

    TOO_LONG = "too long"
    BARE_NEWLINE = "bare CR or LF"


class Chat:
    """Lines in, bytes out, and a tap that hears both.

    `line_limit` counts octets with CRLF. Input is held as immutable bytes and a position: cutting a line is one
    search and one slice, whatever the size of the segment it came in.
    """

    __slots__ = ("_at", "_discarding", "_in", "_out", "line_limit", "mask", "mended", "mends", "tap")

    def __init__(
        self, tap: Tap, line_limit: int, mask: Callable[[bytes], bytes] | None = None, *, mends: bool = False
    ) -> None:
        self.tap = tap
        self.mends = mends
        self.mended = False  # the last line ended with LF, or with CR CR LF
        self.line_limit = line_limit
        self.mask = mask
        self._in = b""
        self._at = 0
        self._out: list[bytes] = []
        self._discarding = False

    # --- in ---------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes have come."""
        if self._at >= len(self._in):
            self._in = data
        else:
            self._in = self._in[self._at :] + data
        self._at = 0

    @property
    def unread(self) -> int:
        """How many octets have come and were not yet taken."""
        return len(self._in) - self._at

    def take_line(self) -> bytes | LineFault | None:
        """The next whole line without its CRLF; a fault in its place; None where no line has ended yet.

        An overlong line is dropped as it comes, and reported once, when its end has come.
        """
        octets, start = self._in, self._at
        end = octets.find(b"\n", start)
        if end < 0:
            if len(octets) - start > self.line_limit:
                self._discarding = True
                # A CR at the very end may be the first half of the CRLF we wait for.
                self._at = len(octets) - (1 if octets.endswith(b"\r") else 0)
            return None
        self._at = end + 1
        if self._discarding or end - start >= self.line_limit:
            self._discarding = False
            self.tap.heard(b"[a line that is too long]")
            return LineFault.TOO_LONG
        crlf = end > start and octets[end - 1] == 13
        line = octets[start : end - 1 if crlf else end]
        self.tap.heard(line if self.mask is None else self.mask(line))
        if not crlf or b"\r" in line:
            line = line.rstrip(b"\r")
            if not self.mends or b"\r" in line:
                return LineFault.BARE_NEWLINE
            self.mended = True
        return line

    def take_bytes(self, limit: int = -1) -> bytes:
        """What has come, at most `limit` octets of it, as raw bytes: for bodies. The tap does not hear it."""
        start = self._at
        if limit < 0 or limit >= len(self._in) - start:
            taken = self._in[start:] if start else self._in
            self._in = b""
            self._at = 0
            return taken
        self._at = start + limit
        return self._in[start : self._at]

    def give_back(self, data: bytes) -> None:
        """Put bytes back in front of the input: what came behind the end of a body."""
        self._in = data + self._in[self._at :]
        self._at = 0

    # --- out --------------------------------------------------------------------------------------------------

    def say(self, text: bytes, public: bytes | None = None) -> None:
        """Say whole lines, CRLF included. `public` is what the tap may know, where that is less."""
        self._out.append(text)
        self.tap.said(text if public is None else public)

    def pour(self, data: bytes) -> None:
        """Send body bytes. The tap does not hear them: a note names their number."""
        self._out.append(data)

    def take_output(self) -> bytes:
        """All that is to be sent, in one piece, so that the replies to a pipelined group leave in one write."""
        out = self._out
        if not out:
            return b""
        data = b"".join(out)  # of a single piece, the piece itself
        out.clear()
        return data

    def end(self) -> None:
        """The connection is gone, and nothing is heard any more: let go of the conversation, so that it goes at once
        and not with the next round of the collector."""
        self.mask = _silent


def _silent(_line: bytes) -> bytes:
    return b""
