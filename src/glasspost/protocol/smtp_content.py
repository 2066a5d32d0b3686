"""The content of one message on its way in, whichever command carries it: size and newline laws.

Lives here: counting, the limit, the watch over CR and LF or their repair, and the flaw a message is refused for.
Does not live here: finding the end (dots.py for DATA, a count for BDAT), storing (inbound/).
"""

from __future__ import annotations

from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.protocol.newlines import NewlineRepair, NewlineWatch


class ContentReader:
    """One message's content. Once `flaw` is set nothing more is handed out: the rest is read to be refused."""

    __slots__ = ("_limit", "_repair", "_watch", "flaw", "octets", "repaired")

    def __init__(self, limit: int, *, repair: bool, binary: bool) -> None:
        """`limit` in octets. BINARYMIME content (RFC 3030) has no lines, so nothing is watched or repaired in it."""
        self._limit = limit
        self._repair = NewlineRepair() if repair and not binary else None
        self._watch = NewlineWatch() if not repair and not binary else None
        self.octets = 0
        self.repaired = 0  # lone CRs and LFs made whole, complete after `end`
        self.flaw: Reply | None = None

    def announce(self, octets: int) -> None:
        """So many more are coming: a chunk that cannot fit need not be kept."""
        if self.octets + octets > self._limit:
            self._spoil(say.MESSAGE_TOO_LARGE.saying(limit=self._limit))

    def feed(self, data: bytes) -> bytes:
        """The next piece as it is to be stored; empty once the message is lost anyway."""
        if self._watch is not None:
            self._watch.look(data)
        elif self._repair is not None:
            data = self._repair.feed(data)
        self.octets += len(data)
        if self.octets > self._limit:
            self._spoil(say.MESSAGE_TOO_LARGE.saying(limit=self._limit))
        return b"" if self.flaw is not None else data

    def end(self) -> bytes:
        """No more pieces. Returns what the repair held back; sets the flaw if a newline was bare. Callable again."""
        tail = b""
        if self._repair is not None:
            tail = self._repair.end()
            self.repaired = self._repair.count
            self._repair = None
            self.octets += len(tail)
        if self._watch is not None:
            self._watch.end()
            if self._watch.bare:
                self._spoil(say.BARE_NEWLINE_IN_BODY)
        return b"" if self.flaw is not None else tail

    def _spoil(self, flaw: Reply) -> None:
        if self.flaw is None:
            self.flaw = flaw
