"""The CRLF law for content: CR and LF come only as a pair (RFC 5321 §2.3.8).

Lives here: seeing a CR or LF that stands alone, and mending it where a listener is configured to.
Does not live here: the end of the message (dots.py). Mending happens after the end has been found and behind the
unstuffing, so a mended line can never have been an end: it is content, and is stuffed again on its way out.
"""

from __future__ import annotations

import re
from io import IncrementalNewlineDecoder


class NewlineWatch:
    """Sees whether a CR or LF stood alone anywhere in a content that comes in pieces of any size.

    The standard library's newline decoder keeps account of the kinds of line ends it meets, in one walk in C, also
    across the seams of pieces: CRLF must stay the only kind.
    """

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds = IncrementalNewlineDecoder(None, translate=False)

    def look(self, data: bytes) -> None:
        """The next piece."""
        self._kinds.decode(data.decode("latin-1"))

    def end(self) -> None:
        """No more pieces: a CR that still waits for its LF stood alone."""
        self._kinds.decode("", final=True)

    @property
    def bare(self) -> bool:
        """Whether one was seen so far. A CR at the end of a piece is decided by the next, or by `end`."""
        return self._kinds.newlines not in (None, "\r\n")


_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class NewlineRepair:
    """Makes every lone CR and lone LF a CRLF, and counts them. A CR at a piece's end is held back until its neighbour
    is known."""

    __slots__ = ("_held", "count")

    def __init__(self) -> None:
        self._held = b""
        self.count = 0

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        data, count = _LONE.subn(b"\r\n", data)
        self.count += count
        return data

    def end(self) -> bytes:
        """What was held back, mended."""
        self.count += bool(self._held)
        return b"\r\n" if self._held else b""
