"""The CRLF law for content: CR and LF come only as a pair (RFC 5321 §2.3.8).

Lives here: seeing a CR or LF that stands alone, and mending it where a listener is configured to.
Does not live here: the end of the message (dots.py). Mending happens after the end has been found and behind the
unstuffing, so a mended line can never have been an end: it is content, and is stuffed again on its way out.
"""

from __future__ import annotations

import re

_ALL_BUT_NEWLINES = bytes(octet for octet in range(256) if octet not in b"\r\n")


class NewlineWatch:
    """Sees whether a CR or LF stood alone anywhere in a content that comes in pieces of any size."""

    __slots__ = ("_after_cr", "bare")

    def __init__(self) -> None:
        self._after_cr = False  # the last octet was a CR: it needs its LF at once
        self.bare = False

    def look(self, data: bytes) -> None:
        """The next piece. Two walks in C and no loop: every CR and every LF must be half of a pair."""
        if self.bare or not data:
            return
        halves = len(data.translate(None, _ALL_BUT_NEWLINES))
        pairs = data.count(b"\r\n")
        if self._after_cr:
            halves += 1
            pairs += data[0] == 10
        self._after_cr = data[-1] == 13
        self.bare = halves - self._after_cr != 2 * pairs

    def end(self) -> None:
        """No more pieces: a CR that still waits for its LF stood alone."""
        self.bare = self.bare or self._after_cr


_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class NewlineRepair:
    """Makes every lone CR and lone LF a CRLF. A CR at a piece's end is held back until its neighbour is known."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        return _LONE.sub(b"\r\n", data)

    def end(self) -> bytes:
        """What was held back, mended."""
        return b"\r\n" if self._held else b""
