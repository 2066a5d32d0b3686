"""The record, read: which conversations there were, and what was said in them.

Lives here: `Talks`, for the command line and whoever else looks on while the node writes.
Does not live here: writing (transcripts.py), the text form (protocol/talk.py).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from glasspost.errors import NotFound, StoreError
from glasspost.ids import read_id, write_id
from glasspost.protocol.talk import NOTE, parse_talk, print_line, print_talk
from glasspost.storage.fates import Fate, fate_from
from glasspost.storage.sql import Queries, migrations
from glasspost.storage.sqlite import row, rows

_QUERIES = Queries("sqlite", "transcripts")
_NEWEST = 1 << 62

KINDS = ("smtp-in", "smtp-out", "pop3")


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation, without what was said. `ended` is 0 while it goes on; times are seconds since the epoch.

    `end`: how it ended, as the driver put it. `taken`: messages accepted, or passed on; `message`: the last one
    accepted. `refusal`: the codes of the last refusal.
    """

    id: str
    kind: str
    started: float
    ended: float
    local: str
    peer: str
    end: str
    lines: int
    octets: int
    taken: int = 0
    message: str = ""
    refusal: str = ""

    @property
    def number(self) -> int:
        """The number behind its id."""
        return _number(self.id)

    @property
    def verdict(self) -> str:
        """How it went, in a few words; empty while nothing can be said yet."""
        if self.kind == "pop3":
            return self.end
        parts = []
        if self.taken:
            coming = self.kind == "smtp-in"
            count = "" if self.taken == 1 else f"{self.taken} messages"
            which = "" if not coming else f", the last {self.message}" if count else self.message
            parts.append(f"{'accepted' if coming else 'passed on'} {count}{which}".rstrip())
        if self.refusal and not (self.refusal.startswith("421") and self.end):
            parts.append(f"{'sent away' if self.refusal.startswith('421') else 'refused'} {self.refusal}")
        silently = self.end in ("", "hung up without QUIT")
        if not parts and silently and self.kind == "smtp-in" and self.ended:
            return "left without sending"
        return "; ".join([*parts, *([] if silently else [self.end])])

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
        try:
            if not path.exists() or path.stat().st_size == 0:
                raise NotFound(f"no conversations are recorded at {path}")
        except PermissionError:
            raise StoreError(f"{path} cannot be read: you may not read it") from None
        self._connection = open_to_read(path)
        version = self._connection.execute("PRAGMA user_version").get
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
        found = rows(self._connection, _QUERIES.conversations, (bound, kind, peer, limit))
        return [_conversation(one) for one in found]

    def conversation(self, conversation_id: str) -> Conversation:
        """Raises NotFound."""
        found: Any = self._connection.execute(_QUERIES.conversation, (_number(conversation_id),)).fetchone()
        if found is None:
            raise NotFound(f"no conversation {conversation_id}; it may be too old, or be stored in a moment")
        return _conversation(found)

    def conversations_of(self, queue_id: str) -> list[Conversation]:
        """All conversations a message was spoken of in, the oldest first: how it came, each attempt to hand it on.
        Raises NotFound where the text is no queue id."""
        found = read_id(queue_id)
        if found is None or found[0] != "q":
            raise NotFound(f"{queue_id} is not the id of a message (q0...)")
        return [_conversation(one) for one in rows(self._connection, _QUERIES.of_queue_id, (found[1],))]

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
        for _, talk in self._connection.execute(_QUERIES.segments, (number,)):
            yield _text(talk, times)

    def until(self, conversation: Conversation, number: int, *, times: bool = False) -> str:
        """The talk without its header, as it stood when a piece of it was stored."""
        found = rows(self._connection, _QUERIES.segments_until, (_number(conversation.id), number))
        return "".join(_text(talk, times) for (talk,) in found)

    # --- searching --------------------------------------------------------------------------------------------

    def numbered(self, number: int) -> Conversation | None:
        """The conversation with this number, if it is still there."""
        found: Any = self._connection.execute(_QUERIES.conversation, (number,)).fetchone()
        return None if found is None else _conversation(found)

    def proposed(self, query: str, since: float) -> Iterator[tuple[int, int]]:
        """(segment, conversation) in which an index query holds, the newest first, as they are asked for; none of
        conversations that began before `since`, as far as that can be told."""
        yield from self._connection.execute(_QUERIES.clues, (query, self._floor(since)))

    def numbers(self, since: float, until: float, kinds: Sequence[str] = KINDS) -> Iterator[int]:
        """All conversations of these kinds that began between two moments, the newest first."""
        low = self._first_since(since)
        bound = self._first_since(until) if until != float("inf") else _NEWEST
        while found := rows(self._connection, _QUERIES.numbers, (low, bound or _NEWEST, " ".join(kinds))):
            yield from (number for (number,) in found)
            bound = found[-1][0]

    def saying(self, needles: Sequence[str], since: float) -> Iterator[tuple[int, int]]:
        """(segment, conversation) in which one of these texts stands, in whatever case, the newest first; each talk is
        read for it. None of conversations that began before `since`, as far as that can be told."""
        wanted = [needle.casefold() for needle in needles]
        floor, bound = self._floor(since), _NEWEST
        while found := rows(self._connection, _QUERIES.segments_before, (floor, bound)):
            for number, conversation, talk in found:
                text = zlib.decompress(talk).decode().casefold()
                if any(needle in text for needle in wanted):
                    yield number, conversation
            bound = found[-1][0]

    def _floor(self, since: float) -> int:
        """The first segment of any conversation that began at a moment or later; 0 where that cannot be told."""
        low = self._first_since(since)
        found: Any = self._connection.execute(_QUERIES.first_segment_of_some, (low,)).fetchone() if low else None
        return int(found[0] or 0) if found else 0

    def _first_since(self, moment: float) -> int:
        """The number of the first conversation that began at a moment or later: numbers grow with time. 0: all did."""
        if not moment:
            return 0
        bounds = row(self._connection, _QUERIES.conversation_bounds)
        if bounds[0] is None:
            return 0
        low, high = int(bounds[0]), int(bounds[1]) + 1
        while low < high:
            middle = (low + high) // 2
            near = row(self._connection, _QUERIES.conversation_near, (middle,))
            if near is None or near[1] >= moment:
                high = middle
            else:
                low = near[0] + 1
        return low

    def segment_count(self, conversation: Conversation) -> int:
        """In how many pieces a conversation is stored."""
        return int(self._connection.execute(_QUERIES.segment_count, (_number(conversation.id),)).get)

    def segments(self, conversation: Conversation) -> Iterator[tuple[int, str]]:
        """A conversation's pieces with their numbers, in order, with times."""
        for number, talk in self._connection.execute(_QUERIES.segments, (_number(conversation.id),)):
            yield number, _text(talk, True)

    def segments_around(self, conversation: Conversation, segment: int, count: int) -> list[tuple[int, str]]:
        """The same, so many before and behind one of them (0: the last)."""
        bindings = (_number(conversation.id), segment or _NEWEST, count)
        found = rows(self._connection, _QUERIES.segments_around, bindings)
        return [(number, _text(talk, True)) for number, talk in found]

    def fates(self, queue_id: str) -> list[Fate]:
        """What became of a message's recipients, as far as no conversation tells, in order."""
        found = read_id(queue_id)
        number = found[1] if found is not None and found[0] == "q" else 0
        return [fate_from(one) for one in rows(self._connection, _QUERIES.fates, (number,))]

    @property
    def behind(self) -> bool:
        """Whether a node that is, or was, too busy has conversations put aside, which nobody can read yet."""
        return self._connection.execute(_QUERIES.first_backlog).fetchone() is not None

    # --- following --------------------------------------------------------------------------------------------

    def newest_piece(self) -> int:
        """The number of the piece stored last; 0 where there is none."""
        return int(self._connection.execute(_QUERIES.newest_segment).get)

    def since(self, number: int, *, times: bool = False, limit: int = 200) -> list[Piece]:
        """The pieces stored after the one with this number, in order, at most `limit`. Ask again for more."""
        found = rows(self._connection, _QUERIES.segments_since, (number, limit))
        return [Piece(one[0], _conversation(one[2:]), _text(one[1], times)) for one in found]


def open_to_read(path: Path) -> apsw.Connection:
    """A store's file, for looking on. Raises StoreError.

    Not opened read-only by its owner: beside a live WAL a reader should take part in its index. Whoever may only read
    the file (storage/readers.py) gets it read-only.
    """
    mine = os.access(path, os.W_OK)
    flags = apsw.SQLITE_OPEN_READWRITE if mine else apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    # Without a WAL nobody has it open, and whoever may not write here cannot begin one: the file is read as it stands.
    settled = "?immutable=1" if not mine and not Path(f"{path}-wal").exists() else ""
    try:
        connection = apsw.Connection(str(path) if mine else f"file:{quote(str(path))}{settled}", flags=flags)
        connection.set_busy_timeout(10_000)
        connection.execute("PRAGMA query_only = ON")
        begun = connection.execute("PRAGMA user_version").get
    except apsw.Error as error:
        why = "you may not read it" if not os.access(path, os.R_OK) else str(error)
        raise StoreError(f"{path} cannot be read: {why}") from error
    if not begun:
        connection.close()
        raise StoreError(f"{path} is empty: no node has used it yet")
    return connection


def moment(seconds: float) -> str:
    """A time as talks show it: UTC, RFC 3339, to the millisecond."""
    stamp = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return stamp.removesuffix("+00:00") + "Z"


def _text(talk: bytes, times: bool) -> str:
    text = zlib.decompress(talk).decode()
    return text if times else print_talk(parse_talk(text))


def _conversation(row: Any) -> Conversation:
    message = write_id("q", row[10]) if row[10] else ""
    return Conversation(write_id("c", row[0]), *row[1:10], message, row[11])  # type: ignore[call-arg]


def _number(conversation_id: str) -> int:
    found = read_id(conversation_id)
    if found is None or found[0] != "c":
        raise NotFound(f"{conversation_id} is not the id of a conversation (c0...)")
    return found[1]
