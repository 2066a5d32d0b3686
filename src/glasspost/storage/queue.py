"""The queue under a postmaster's hands: list, show, retry, hold, release, bounce, remove.

Lives here: looking at and changing waiting recipients, from any process, while a node runs and while none does. A
running node sees that the file was changed by somebody else and looks again (outbound/scheduler.py).
Does not live here: the spool's own work (spool.py), how a list is printed (cli/queue.py).

Every verb takes a range of recipient ids: one recipient, or all of a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from glasspost.ids import read_id, write_id
from glasspost.storage.bodies import CHUNK_BITS, queries
from glasspost.storage.spool_jobs import drop_refs
from glasspost.storage.spooled import CLAIMED, HELD, WAITING
from glasspost.storage.sqlite import row, rows

STATES = {WAITING: "waiting", CLAIMED: "under way", HELD: "held"}
EVERYTHING = (0, 1 << 62)
PAGE = 1_000  # recipients that are looked at together


@dataclass(slots=True)
class Entry:
    """One waiting recipient. Times in seconds since the epoch; 0 where there was none yet."""

    queue_id: str
    number: int  # which recipient of its message, from 1
    recipient: str
    domain: str
    state: str
    due: float
    attempts: int
    last_attempt: float
    last_reply: str
    last_host: str
    last_conversation: str
    doubtful: int
    arrived: float
    sender: str
    size: int
    conversation: str
    wish: str


@dataclass(slots=True)
class Pile:
    """All recipients of one domain in one state."""

    domain: str
    state: str
    count: int
    next_due: float
    most_attempts: int


def span(text: str) -> tuple[int, int] | None:
    """The range of recipient ids that a text names: `q0c5...` a message, `q0c5...#2` its second recipient."""
    name, mark, which = text.partition("#")
    found = read_id(name)
    if found is None or found[0] != "q":
        return None
    low = found[1] << CHUNK_BITS
    if not mark:
        return low, low + (1 << CHUNK_BITS)
    if not which.isdigit() or int(which) < 1:
        return None
    return low + int(which) - 1, low + int(which)


def entries(connection: apsw.Connection, within: tuple[int, int] = EVERYTHING, limit: int = -1) -> list[Entry]:
    """The waiting recipients of a range, in order of arrival; at most `limit`."""
    return list(each(connection, within, limit))


def each(connection: apsw.Connection, within: tuple[int, int] = EVERYTHING, limit: int = -1) -> Iterator[Entry]:
    """The same, one after the other: of a million only a page is in memory. Each page is a look of its own, so whoever
    reads slowly keeps the store from nothing."""
    low, high = within
    while limit:
        size = PAGE if limit < 0 else min(PAGE, limit)
        page = rows(connection, queries.queue_list, (low, high, size))
        for found in page:
            yield Entry(
                write_id("q", found[0] >> CHUNK_BITS),
                (found[0] & (1 << CHUNK_BITS) - 1) + 1,
                found[1],
                found[2],
                STATES[found[3]],
                *found[4:],
            )
        if len(page) < size:
            return
        low = page[-1][0] + 1
        limit -= size if limit > 0 else 0


def summary(connection: apsw.Connection) -> list[Pile]:
    """The queue by domain and state, the largest pile first."""
    return [Pile(found[0], STATES[found[1]], *found[2:]) for found in rows(connection, queries.queue_summary)]


def count(connection: apsw.Connection) -> int:
    """How many recipients wait."""
    return int(row(connection, queries.queue_count)[0])


@dataclass(slots=True)
class Doubt:
    """An attempt that may have arrived although we do not know it: why somebody may have got a message twice."""

    queue_id: str
    recipient: str
    noted: float
    reason: str


def doubts(connection: apsw.Connection, within: tuple[int, int] = EVERYTHING) -> list[Doubt]:
    """The doubtful attempts of the last 30 days, the oldest first."""
    return [
        Doubt(write_id("q", found[0] >> CHUNK_BITS), *found[1:]) for found in rows(connection, queries.doubts, within)
    ]


def in_hand(connection: apsw.Connection, within: tuple[int, int]) -> int:
    """How many of a range a node has in hand: an attempt at them may be under way, and nobody calls it back."""
    return int(row(connection, queries.count_in_hand, within)[0])


def hold(connection: apsw.Connection, within: tuple[int, int]) -> int:
    """Keep them back until release. Returns how many changed. One under way is held if its attempt fails for now."""
    connection.execute(queries.set_hold, within)
    return connection.changes()


def release(connection: apsw.Connection, within: tuple[int, int], now: float) -> int:
    """Let held ones go on, at once."""
    connection.execute(queries.set_release, (now, *within))
    return connection.changes()


def retry(connection: apsw.Connection, within: tuple[int, int], now: float) -> int:
    """Try waiting ones now instead of when they fall due."""
    connection.execute(queries.set_retry, (now, *within))
    return connection.changes()


def bounce(connection: apsw.Connection, within: tuple[int, int], now: float) -> int:
    """Have them returned to their sender: the node composes the report at its next claim. One under way is returned if
    its attempt fails; if it succeeds it was delivered, and nobody is told otherwise."""
    connection.execute(queries.set_bounce, (now, *within))
    return connection.changes()


def remove(connection: apsw.Connection, within: tuple[int, int]) -> int:
    """Throw them away. Nobody is told. An attempt that is under way may still deliver."""
    gone: dict[int, int] = {}
    for found in rows(connection, queries.queue_list, (*within, -1)):
        gone[found[0] >> CHUNK_BITS] = gone.get(found[0] >> CHUNK_BITS, 0) + 1
    connection.execute(queries.delete_recipients, within)
    for number, share in gone.items():
        drop_refs(connection, number, share)
    return sum(gone.values())
