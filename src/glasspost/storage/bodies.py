"""The octets of messages: gathered while they come, found again wherever they are.

Lives here: `Draft`, a message that is arriving; `Content`, one that is stored or still in memory; and how what nobody
needs any more is cleared away.
Does not live here: envelopes and recipients (spool.py), maildrops (mailboxes.py).

A small message stays in memory until it is committed. A larger one goes to the disk in pieces of 256 KB while it
comes, each piece in whatever commit is next, so a slow sender never holds the writer and a large message never holds
memory: at most three pieces. Only the accepting commit waits for the disk. (docs/decisions/0003: why not a file.)

It goes as it came. 50 MB are 12,800 pages, and a commit that gave them all back would keep everybody waiting: the one
that makes them needless writes the message down as a draft, and its pieces follow, a few in a commit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import apsw

from glasspost.storage.database import Database, Done, Job
from glasspost.storage.sql import Queries
from glasspost.storage.sqlite import row, rows

PIECE = 256 * 1024  # octets of one chunk row
CHUNK_BITS = 12  # a message has at most 4096 chunks: 1 GB
_OPENING = 64 * 1024  # octets of a large message that are kept for a look at its header
CLEARED_AT_ONCE = 4  # pieces
_BEHIND = 2  # pieces on their way to the disk before the sender is asked to wait

queries = Queries("sqlite", "spool")


class Content(Protocol):
    """A message's octets, in memory or in the store. Pieces are at most 256 KB; they may be asked for again."""

    @property
    def size(self) -> int: ...

    @property
    def data(self) -> bytes | None:
        """All of it, where it is in memory or small enough to be read at once."""
        ...

    def chunks(self) -> AsyncIterator[bytes]: ...


class MemoryContent:
    """A content that is in memory: head (the trace header) and body."""

    __slots__ = ("data", "size")

    def __init__(self, data: bytes) -> None:
        self.data: bytes | None = data
        self.size = len(data)

    async def chunks(self) -> AsyncIterator[bytes]:
        assert self.data is not None
        for start in range(0, len(self.data), PIECE):
            yield self.data[start : start + PIECE]


class ContentGone(LookupError):
    """The message was removed while somebody was about to read it. There is no content then, not an empty one."""


class StoredContent:
    """A content in the store. A small one is read at once (one row); a large one piece by piece, in a thread."""

    __slots__ = ("_database", "_id", "head", "size")

    def __init__(self, database: Database, message_id: int, head: bytes, size: int) -> None:
        self._database = database
        self._id = message_id
        self.head = head
        self.size = size

    @property
    def data(self) -> bytes | None:
        """As in Content. Raises ContentGone."""
        left = self.size - len(self.head)
        if left > PIECE:
            return None
        if left == 0:
            return self.head
        found = row(self._database.reader, queries.read_chunk, (self._id << CHUNK_BITS,))
        if found is None:
            raise ContentGone
        return self.head + bytes(found[0])

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.head:
            yield self.head
        left = self.size - len(self.head)
        number = self._id << CHUNK_BITS
        while left > 0:
            piece = await self._database.read(_reading_chunk(number))
            yield piece
            left -= len(piece)
            number += 1

    def pieces(self, connection: apsw.Connection) -> list[bytes]:
        """The whole content, off the loop: for the command line."""
        low = self._id << CHUNK_BITS
        found = rows(connection, queries.read_chunks, (low, low + (1 << CHUNK_BITS)))
        return [self.head, *(piece for (piece,) in found)]


def _reading_chunk(number: int) -> Callable[[apsw.Connection], bytes]:
    def job(connection: apsw.Connection) -> bytes:
        found = row(connection, queries.read_chunk, (number,))
        if found is None:
            raise ContentGone
        return bytes(found[0])

    return job


class Draft:
    """A message that is arriving. Feed it with `add`; while `behind`, ask the sender to wait for `on_room`.

    `error` is set once a piece could not be stored; the message is then lost before it was accepted.
    """

    __slots__ = (
        "_database",
        "_gathered",
        "_opening",
        "_pieces",
        "_stored",
        "_under_way",
        "eight_bit",
        "error",
        "id",
        "on_room",
        "size",
    )

    def __init__(self, database: Database, message_id: int, on_room: Callable[[], None] | None = None) -> None:
        self._database = database
        self.id = message_id
        self._pieces: list[bytes] = []
        self._gathered = 0  # octets in `_pieces`
        self._opening = b""  # the first octets, kept when the first piece has gone
        self._stored = 0  # pieces given to the writer
        self._under_way = 0  # pieces given to the writer and not committed yet
        self.size = 0
        self.eight_bit = False
        self.error: Exception | None = None
        self.on_room = on_room

    @property
    def in_memory(self) -> bool:
        """Whether nothing of it has gone to the disk."""
        return self._stored == 0

    @property
    def pieces_stored(self) -> int:
        """How many pieces have gone to the writer."""
        return self._stored

    @property
    def behind(self) -> bool:
        """Whether the disk is behind the sender."""
        return self._under_way >= _BEHIND

    @property
    def under_way(self) -> bool:
        """Whether pieces of it are on their way to the disk: `on_room` will be called."""
        return self._under_way > 0

    @property
    def held(self) -> int:
        """How many of its octets are in memory: gathered, or on their way to the disk."""
        return self._gathered + self._under_way * PIECE + len(self._opening)

    def spoil(self, error: Exception) -> None:
        """It cannot be kept: let go of what there is. What comes is only counted; `error` says why."""
        self.error = error
        self._pieces.clear()
        self._gathered = 0

    def add(self, data: bytes) -> None:
        """The next octets."""
        if self.error is not None:
            self.size += len(data)
            return
        self._pieces.append(data)
        self._gathered += len(data)
        self.size += len(data)
        if not self.eight_bit and not data.isascii():
            self.eight_bit = True
        if self._gathered > PIECE:
            self._store_whole_pieces()

    def opening(self, limit: int) -> bytes:
        """The first octets of the message, for a look at its header; `limit` at most 64 KB of a large one."""
        return (self.in_one() if self.in_memory else self._opening)[:limit]

    def rest(self) -> list[tuple[int, bytes]]:
        """What is not given to the writer yet, as chunk rows for the accepting commit."""
        data = b"".join(self._pieces)
        self._pieces = [data]
        return [(self.id << CHUNK_BITS | self._stored, data)] if data else []

    def in_one(self) -> bytes:
        """The whole body; only while `in_memory`."""
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it in order, in pieces of at most 256 KB, also what has gone to the disk; only once it is whole."""
        for number in range(self._stored):
            yield await self._database.written(_reading_chunk(self.id << CHUNK_BITS | number), PIECE)
        rest = b"".join(self._pieces)
        if rest:
            yield rest

    def cut(self, start: int, end: int) -> None:
        """Take octets out of its first 64 KB, once it is whole and before it is committed."""
        self.size -= end - start
        if self.in_memory:
            data = self.in_one()
            self._pieces = [data[:start] + data[end:]]
            return
        self._opening = self._opening[:start] + self._opening[end:]
        rest = b""
        if self.size <= PIECE:  # a content of this size is looked for in one row
            rest = b"".join(self._pieces)
            self._pieces = []
        # The writer does large jobs in order: this one comes behind the piece and before the accepting commit.
        self._under_way += 1
        self._write(_cutting(self.id << CHUNK_BITS, start, end, rest), self._piece_done)

    def discard(self) -> None:
        """The message is not wanted: forget it, and take back what is on the disk."""
        self._pieces.clear()
        self._gathered = 0
        self._opening = b""
        self.on_room = None
        if self._stored:
            clear_away(self._database, [self.id])
            self._stored = 0

    def _store_whole_pieces(self) -> None:
        data = b"".join(self._pieces)
        start = 0
        while len(data) - start > PIECE:
            chunk = (self.id << CHUNK_BITS | self._stored, data[start : start + PIECE])
            first = self._stored == 0
            if first:
                self._opening = data[:_OPENING]
            self._stored += 1
            self._under_way += 1
            self._write(_storing(self.id if first else 0, chunk), self._piece_done)
            start += PIECE
        self._pieces = [data[start:]]
        self._gathered = len(data) - start

    def _write(self, job: Job, done: Done) -> None:
        """Nothing of it is promised before the accepting commit, which makes durable what came before it."""
        self._database.write(job, done, PIECE, durable=False)

    def _piece_done(self, _result: object, error: Exception | None) -> None:
        self._under_way -= 1
        if error is not None:
            self.error = error
        if self.on_room is not None and not self.behind:
            self.on_room()


def _storing(draft_id: int, chunk: tuple[int, bytes]) -> Callable[[apsw.Connection], None]:
    def job(connection: apsw.Connection) -> None:
        if draft_id:
            connection.execute(queries.begin_draft, (draft_id,))
        connection.execute(queries.insert_chunk, chunk)

    return job


def _cutting(chunk: int, start: int, end: int, rest: bytes) -> Callable[[apsw.Connection], None]:
    def job(connection: apsw.Connection) -> None:
        data = bytes(row(connection, queries.read_chunk, (chunk,))[0])
        connection.execute(queries.replace_chunk, (data[:start] + data[end:] + rest, chunk))

    return job


def drop_body(connection: apsw.Connection, number: int, size: int, remains: list[int] | None) -> None:
    """The body of a message that is gone goes: at once, or, where it is large and there are `remains`, by being put
    down there, to be cleared away when this is committed."""
    if remains is not None and size > CLEARED_AT_ONCE * PIECE:
        connection.execute(queries.begin_draft, (number,))
        remains.append(number)
    else:
        connection.execute(queries.delete_chunks, _chunks_of(number))


def clear_away(database: Database, numbers: Sequence[int]) -> None:
    """Take the pieces of drafts that nobody needs off the disk, a few in a commit, others' jobs between. What a crash
    or an error leaves goes at the next start."""
    if not numbers:
        return

    def done(finished: bool, error: Exception | None) -> None:
        if error is None:
            clear_away(database, numbers[1:] if finished else numbers)

    database.write(_clearing(numbers[0]), done, CLEARED_AT_ONCE * PIECE, durable=False)


def _clearing(number: int) -> Callable[[apsw.Connection], bool]:
    def job(connection: apsw.Connection) -> bool:
        connection.execute(queries.delete_last_chunks, (*_chunks_of(number), CLEARED_AT_ONCE))
        finished = connection.changes() < CLEARED_AT_ONCE
        if finished:
            connection.execute(queries.end_draft, (number,))
        return finished

    return job


def _chunks_of(number: int) -> tuple[int, int]:
    low = number << CHUNK_BITS
    return low, low + (1 << CHUNK_BITS)


def discard_drafts(connection: apsw.Connection) -> None:
    """At start: what was arriving or going when the node died goes."""
    for (number,) in rows(connection, queries.drafts):
        connection.execute(queries.delete_chunks, _chunks_of(number))
        connection.execute(queries.end_draft, (number,))
