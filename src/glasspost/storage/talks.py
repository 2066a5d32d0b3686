"""The record, read: which conversations there were, and what was said in them.

Lives here: `Talks`, for the command line and whoever else looks on while the node writes.
Does not live here: writing (transcripts.py), the text form (protocol/talk.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw

from glasspost.errors import NotFound, StoreError
from glasspost.ids import read_id, write_id
from glasspost.protocol.talk import NOTE, parse_talk, print_line, print_talk
from glasspost.storage.sql import Queries, migrations

_QUERIES = Queries("sqlite", "transcripts")
_NEWEST = 1 << 62


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation, without what was said. `ended` is 0 while it goes on; times are seconds since the epoch."""

    id: str
    kind: str
    started: float
    ended: float
    local: str
    peer: str
    verdict: str
    lines: int
    octets: int

    @property
    def header(self) -> str:
        """The note that begins its talk: who connected to whom, when."""
        ends = f"{self.local} -> {self.peer}" if self.kind == "smtp-out" else f"{self.peer} -> {self.local}"
        text = f"conversation {self.id}, {self.kind}, {ends}, {moment(self.started)}"
        return print_line(NOTE, text.encode("utf-8", "surrogateescape")) + "\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more of a conversation, as it was stored. `number` grows from piece to piece over all conversations."""

    number: int
    conversation: Conversation
    talk: str


class Talks:
    """The transcripts file, for reading only. A node may write it at the same time."""

    def __init__(self, path: Path) -> None:
        """Raises NotFound where nothing was ever recorded, StoreError where the file cannot be read."""
        if not path.exists():
            raise NotFound(f"no conversations are recorded at {path}")
        try:
            # Not opened read-only: beside a live WAL a reader must be able to take part in its index.
            self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
            self._connection.set_busy_timeout(10_000)
            self._connection.execute("PRAGMA query_only = ON")
            version = self._connection.execute("PRAGMA user_version").get
        except apsw.Error as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        steps = len(migrations("sqlite", "transcripts"))
        if version != steps:
            self._connection.close()
            age = "a newer" if version > steps else "an older"
            raise StoreError(f"{path} was written by {age} glasspost (schema {version}, not {steps})")

    def close(self) -> None:
        self._connection.close()

    def conversations(
        self, *, limit: int = 50, before: str = "", kind: str = "", peer: str = ""
    ) -> list[Conversation]:  # fmt: skip
        """Conversations, the newest first. `before`: only older ones than this id. `peer`: host or host:port.
        Raises NotFound where `before` is no conversation id."""
        bound = _number(before) if before else _NEWEST
        rows = self._connection.execute(_QUERIES.conversations, (bound, kind, peer, limit))
        return [_conversation(row) for row in rows]

    def conversation(self, conversation_id: str) -> Conversation:
        """Raises NotFound."""
        row: Any = self._connection.execute(_QUERIES.conversation, (_number(conversation_id),)).fetchone()
        if row is None:
            raise NotFound(f"no conversation {conversation_id}; it may be too old, or be stored in a moment")
        return _conversation(row)

    def conversations_of(self, queue_id: str) -> list[Conversation]:
        """All conversations a message was spoken of in, the oldest first: how it came, each attempt to hand it on.
        Raises NotFound where the text is no queue id."""
        found = read_id(queue_id)
        if found is None or found[0] != "q":
            raise NotFound(f"{queue_id} is not the id of a message (q0...)")
        return [_conversation(row) for row in self._connection.execute(_QUERIES.of_queue_id, (found[1],))]

    def find(self, name: str) -> list[Conversation]:
        """What a person means by `name`: a conversation's id, a message's id (all its conversations), or `last`.
        Raises NotFound."""
        if name.strip().lower() == "last":
            newest = self.conversations(limit=1)
            if not newest:
                raise NotFound("no conversations are recorded yet")
            return newest
        if name.strip().lower().startswith("q"):
            found = self.conversations_of(name)
            if not found:
                raise NotFound(f"no conversation about {name}; it may be too old, or be stored in a moment")
            return found
        return [self.conversation(name)]

    def talk(self, conversation_id: str, *, times: bool = False) -> str:
        """The whole talk, header first. Raises NotFound."""
        conversation = self.conversation(conversation_id)
        return conversation.header + "".join(self.pieces(conversation, times=times))

    def pieces(self, conversation: Conversation, *, times: bool = False) -> Iterator[str]:
        """The talk without its header, in pieces: it may be long."""
        number = _number(conversation.id)
        for (talk,) in self._connection.execute(_QUERIES.segments, (number,)):
            yield _text(talk, times)

    # --- following --------------------------------------------------------------------------------------------

    def newest_piece(self) -> int:
        """The number of the piece stored last; 0 where there is none."""
        return int(self._connection.execute(_QUERIES.newest_segment).get)

    def since(self, number: int, *, times: bool = False, limit: int = 200) -> list[Piece]:
        """The pieces stored after the one with this number, in order, at most `limit`. Ask again for more."""
        rows: Any = self._connection.execute(_QUERIES.segments_since, (number, limit))
        return [Piece(row[0], _conversation(row[2:]), _text(row[1], times)) for row in rows]


def moment(seconds: float) -> str:
    """A time as talks show it: UTC, RFC 3339, to the millisecond."""
    stamp = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return stamp.removesuffix("+00:00") + "Z"


def _text(talk: bytes, times: bool) -> str:
    text = zlib.decompress(talk).decode()
    return text if times else print_talk(parse_talk(text))


def _conversation(row: Any) -> Conversation:
    return Conversation(write_id("c", row[0]), *row[1:])


def _number(conversation_id: str) -> int:
    found = read_id(conversation_id)
    if found is None or found[0] != "c":
        raise NotFound(f"{conversation_id} is not the id of a conversation (c0...)")
    return found[1]
