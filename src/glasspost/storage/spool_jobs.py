"""The spool's two busiest jobs, made to be done by the hundred: accepting and settling.

Lives here: the rows of an acceptance, what a settlement changes, and both of them for many messages in few
statements (storage/database.py, JointJob).
Does not live here: what is accepted or settled, and when (spool.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import apsw

from glasspost.errors import StoreError, StoreFull
from glasspost.storage.bodies import CHUNK_BITS, PIECE, drop_body, queries
from glasspost.storage.spooled import WAITING, Settlement, deposit_header
from glasspost.storage.sqlite import row, rows

_BLOCK = 64  # rows in one INSERT; a statement text for each number up to it stays prepared


def insert_all(connection: apsw.Connection, statement: str, many: Sequence[tuple[Any, ...]]) -> None:
    """Run an `INSERT ... VALUES (...)` for many rows, in as few statements as _BLOCK allows."""
    for at in range(0, len(many), _BLOCK):
        block = many[at : at + _BLOCK]
        connection.execute(repeated(statement, len(block)), tuple(chain.from_iterable(block)))


@lru_cache(maxsize=8 * _BLOCK)
def repeated(statement: str, count: int) -> str:
    """The statement with its VALUES group written `count` times."""
    start = statement.index("(", statement.index("VALUES"))
    end = statement.index(")", start) + 1
    group = statement[start:end]
    return statement[:start] + ", ".join([group] * count) + statement[end:]


class Acceptance:
    """One message about to become durable: its rows, worked out beforehand."""

    __slots__ = ("arrival", "more_chunks", "more_deposits", "more_recipients", "number", "plain", "streamed")

    def __init__(
        self,
        number: int,
        arrival: tuple[Any, ...],
        more_chunks: list[tuple[int, bytes]],
        more_recipients: list[tuple[Any, ...]],
        more_deposits: list[tuple[Any, ...]],
        streamed: int,
    ) -> None:
        """`arrival`: the row of insert_arrival; the other rows are what does not fit into it. `streamed`: so many
        pieces of it are in the store already, as a draft that ends now."""
        self.number = number
        self.arrival = arrival
        self.more_chunks = more_chunks
        self.more_recipients = more_recipients
        self.more_deposits = more_deposits
        self.streamed = streamed
        self.plain = not (streamed or more_chunks or more_recipients or more_deposits)

    def __call__(self, connection: apsw.Connection) -> None:
        self.together(connection, [self])

    @classmethod
    def at_once(cls, jobs: Sequence[Acceptance]) -> tuple[str, tuple[Any, ...]] | None:
        """All of them as one statement, where that is possible: plain ones, and not too many."""
        if len(jobs) > _BLOCK or not all(job.plain for job in jobs):
            return None
        return repeated(queries.insert_arrival, len(jobs)), tuple(chain.from_iterable([job.arrival for job in jobs]))

    @classmethod
    def together(cls, connection: apsw.Connection, jobs: Sequence[Acceptance]) -> None:
        insert_all(connection, queries.insert_arrival, [job.arrival for job in jobs])
        rest = [job for job in jobs if not job.plain]
        insert_all(connection, queries.insert_chunk, [chunk for job in rest for chunk in job.more_chunks])
        insert_all(connection, queries.insert_recipient, [one for job in rest for one in job.more_recipients])
        insert_all(connection, queries.insert_deposit, [one for job in rest for one in job.more_deposits])
        for job in rest:
            if job.streamed:
                job.end_draft(connection)

    def end_draft(self, connection: apsw.Connection) -> None:
        """Raises StoreFull where a piece of it never came to the disk: a message with a hole is not accepted."""
        low = self.number << CHUNK_BITS
        pieces = row(connection, queries.count_chunks, (low, low + (1 << CHUNK_BITS)))[0]
        if pieces != self.streamed + len(self.more_chunks):
            raise StoreFull("a part of the message could not be stored")
        connection.execute(queries.end_draft, (self.number,))


class Settling:
    """What attempts came to, with the reports they call for: one commit for both."""

    __slots__ = ("remains", "reports", "settlements", "void")

    def __init__(self, settlements: Sequence[Settlement], reports: Sequence[Acceptance]) -> None:
        self.settlements = settlements
        self.reports = reports
        self.void: set[int] = set()  # recipients for which nothing was changed: they are somebody else's now
        self.remains: list[int] = []  # large bodies to be cleared away

    @property
    def told(self) -> bool:
        """Whether the reports are due: not where the fate they tell of was not recorded."""
        return not self.settlements or len(self.void) < len(self.settlements)

    def __call__(self, connection: apsw.Connection) -> None:
        self.together(connection, [self])

    @classmethod
    def together(cls, connection: apsw.Connection, jobs: Sequence[Settling]) -> None:
        """Most are plain: the recipient is gone, and with it its message. The others go one by one."""
        plain: list[tuple[Settling, Settlement]] = []
        others: list[tuple[Settling, Settlement]] = []
        for job in jobs:
            job.void.clear()
            job.remains.clear()
            for one in job.settlements:
                is_plain = one.due is None and not (one.deposits or one.forwards or one.doubtful)
                (plain if is_plain else others).append((job, one))
        if not _settle_plain(connection, [one for _, one in plain], jobs[0].remains):
            others = plain + others
        for job, one in others:
            if not _settle_one(connection, one, job.remains):
                job.void.add(one.queued.id)
        Acceptance.together(connection, [report for job in jobs if job.told for report in job.reports])


def _settle_plain(connection: apsw.Connection, settlements: Sequence[Settlement], remains: list[int]) -> bool:
    """Settle recipients that are simply gone, all at once. False, and nothing changed, where some are not this
    node's any more: then each must be looked at."""
    if len(settlements) < 2:
        return False
    held = {one.queued.id: one.queued.generation for one in settlements}
    if len(held) < len(settlements):
        return False  # one of them twice: the second must find that it is gone
    listed = json.dumps(list(held))
    ours = dict(rows(connection, queries.generations, (listed,)))
    if ours != held:
        return False
    connection.execute(queries.delete_listed_recipients, (listed,))
    gone = Counter(one.queued.message.id for one in settlements)
    single = [number for number, count in gone.items() if count == 1]
    for number, count in gone.items():
        if count > 1:
            drop_refs(connection, number, count, remains)
    listed = json.dumps(single)
    connection.execute(queries.drop_one_ref, (listed,))
    connection.execute(queries.delete_listed_messages, (listed,))
    if connection.changes() < len(single):
        left = {number for (number,) in connection.execute(queries.existing_messages, (listed,))}
        single = [number for number in single if number not in left]
    sizes = {one.queued.message.id: one.queued.message.size for one in settlements}
    _drop_bodies(connection, {number: sizes[number] for number in single}, remains)
    return True


def _drop_bodies(connection: apsw.Connection, sizes: Mapping[int, int], remains: list[int]) -> None:
    """The bodies of messages that are gone: small ones have one row."""
    small = []
    for number, size in sizes.items():
        if size <= PIECE:
            small.append(number << CHUNK_BITS)
        else:
            drop_body(connection, number, size, remains)
    connection.execute(queries.delete_listed_chunks, (json.dumps(small),))


def _settle_one(connection: apsw.Connection, settlement: Settlement, remains: list[int]) -> bool:
    """False, and nothing changed, where it is somebody else's now, or a postmaster removed it."""
    queued = settlement.queued
    if settlement.doubtful:
        doubt = (queued.id, str(queued.address), settlement.attempted, settlement.reply)
        connection.execute(queries.doubt_one, doubt)
    if settlement.due is not None:
        connection.execute(queries.settle_deferred, _deferred_row(settlement))
        return bool(connection.changes())
    connection.execute(queries.settle_gone, (queued.id, queued.generation))
    if not connection.changes():
        return False
    count = 1 - _passed_on(connection, settlement)
    if count:
        drop_refs(connection, queued.message.id, count, remains)
    return True


def _passed_on(connection: apsw.Connection, settlement: Settlement) -> int:
    """Put a settled recipient's deposits and forwards where they belong; how many refer to the message now."""
    message = settlement.queued.message
    added = 0
    for account, path in settlement.deposits:
        octets = message.size + len(deposit_header(message.reverse_path, path))
        connection.execute(queries.insert_deposit, (account, message.id, str(path), octets))
        added += connection.changes()
    free = _free_numbers(connection, settlement.queued.id) if settlement.forwards else iter(())
    for recipient in settlement.forwards:
        number = next(free, None)
        if number is None:
            raise StoreError(f"{message.queue_id} goes to too many addresses at once; later there is room")
        connection.execute(
            queries.insert_recipient,
            (
                number, str(recipient.address), recipient.address.route, int(recipient.notify), recipient.orcpt,
                WAITING, settlement.attempted, "", settlement.queued.generation, "",
            ),
        )  # fmt: skip
        added += 1
    return added


def _free_numbers(connection: apsw.Connection, gone: int) -> Iterator[int]:
    """Recipient ids that are free in the message of `gone`. Not its own, and one that was never used if there is
    one: a late settlement of somebody who had it must not find it again."""
    low = gone >> CHUNK_BITS << CHUNK_BITS
    high = low + (1 << CHUNK_BITS)
    used = {gone, *(number for (number,) in rows(connection, queries.recipients_of, (low, high)))}
    above = max(used) + 1
    return (number for number in (*range(above, high), *range(low, above)) if number not in used)


def _deferred_row(settlement: Settlement) -> tuple[Any, ...]:
    queued = settlement.queued
    return (
        settlement.due, 1 if settlement.attempted else 0, settlement.attempted, settlement.reply, settlement.host,
        settlement.conversation, int(settlement.doubtful), int(settlement.delay_told or queued.delay_told),
        settlement.stranded, queued.id, queued.generation,
    )  # fmt: skip


def drop_refs(connection: apsw.Connection, number: int, count: int, remains: list[int] | None = None) -> None:
    """So many recipients or deposits of a message are gone; with the last of them the message goes (`remains`: see
    drop_body)."""
    left = row(connection, queries.drop_refs, (count, number))
    if left is not None and left[0] <= 0:
        connection.execute(queries.delete_message, (number,))
        drop_body(connection, number, left[1], remains)


def renew_all(connection: apsw.Connection, renewed: Sequence[tuple[float, int, int]]) -> None:
    """Move the end of leases that are still this node's: (until, id, generation)."""
    connection.executemany(queries.renew, renewed)
