"""One message being cut out of the stream: from DATA to its dot, or in BDAT's counted pieces.

Lives here: where the octets of a message begin and end among the lines around it (RFC 5321 §4.1.1.4, RFC 3030 §2).
Does not live here: what is wrong with the octets (smtp_content.py), what is said about them (smtp_server.py).
"""

from __future__ import annotations

import re
from enum import Enum

from glasspost.mail.reply import Reply
from glasspost.protocol.chat import Chat
from glasspost.protocol.dots import DotReader
from glasspost.protocol.smtp_content import ContentReader

_WRONG_END = re.compile(rb"\n\.\r?\n\Z")


class Mark(Enum):
    """A place in the stream that must be answered."""

    END = "the message is over"
    CHUNK = "a chunk is over, and more are to come"
    UNWANTED = "a chunk is over that should not have come"


class Incoming:
    """One message on its way in. Without a content to gather it in it is only read, to be refused behind its end."""

    __slots__ = ("_content", "_dots", "_end_seen", "_last", "_last_seen", "_left", "chunk")

    def __init__(self, content: ContentReader | None, *, dotted: bool = False) -> None:
        """`dotted`: it ends with a dot on a line of its own (DATA). Otherwise `begin_chunk` says what comes."""
        self._content = content
        self._dots = DotReader() if dotted else None
        self._end_seen = False
        self._last_seen = b"\n"  # the last octets of a dotted message as they came
        self._left = 0
        self._last = False
        self.chunk = 0  # octets of the chunk under way

    @property
    def verb(self) -> str:
        return "BDAT" if self._dots is None else "DATA"

    @property
    def octets(self) -> int:
        return 0 if self._content is None else self._content.octets

    @property
    def repaired(self) -> int:
        """How many lone CRs and LFs were made whole; complete at Mark.END."""
        return 0 if self._content is None else self._content.repaired

    @property
    def seems_ended(self) -> bool:
        """Whether what came last looks as if the sender took it for the end, with a LF where CR LF belongs. It is not
        the end; but whoever waits for an answer now can be told why there is none."""
        return self._dots is not None and _WRONG_END.search(self._last_seen) is not None

    @property
    def flaw(self) -> Reply | None:
        """Why it is refused for what is in it; complete at Mark.END."""
        return None if self._content is None else self._content.flaw

    def begin_chunk(self, octets: int, *, last: bool) -> None:
        """A chunk of so many octets comes next."""
        self.chunk = self._left = octets
        self._last = last
        if self._content is not None:
            self._content.announce(octets)

    def take(self, chat: Chat) -> bytes | Mark | None:
        """The next piece of the content; a mark where an answer is due; None until more has come."""
        return self._take_counted(chat) if self._dots is None else self._take_dotted(chat, self._dots)

    def _take_dotted(self, chat: Chat, dots: DotReader) -> bytes | Mark | None:
        content = self._content
        assert content is not None
        if not self._end_seen:
            data = chat.take_bytes()
            if not data:
                return None
            self._last_seen = data[-5:] if len(data) >= 5 else (self._last_seen + data)[-5:]
            piece, rest = dots.feed(data)
            if rest is not None:
                self._end_seen = True
                chat.give_back(rest)
            piece = content.feed(piece)
            if piece:
                return piece
            if rest is None:
                return None
        return content.end() or Mark.END

    def _take_counted(self, chat: Chat) -> bytes | Mark | None:
        content = self._content
        if self._left > 0:
            data = chat.take_bytes(self._left)
            if not data:
                return None
            self._left -= len(data)
            piece = content.feed(data) if content is not None else b""
            if piece:
                return piece
            if self._left:
                return None
        if content is None:
            return Mark.UNWANTED
        if content.flaw is None and not self._last:
            return Mark.CHUNK
        return content.end() or Mark.END
