"""Maildrops: mail that has arrived and waits for its owner.

Lives here: what a maildrop holds, its one lock, reading and expunging, and how full it is.
Does not live here: deposits (spool.py, as they are part of an acceptance or a settlement), POP3 (retrieval/).

A maildrop is the range of `deposit` rows of one account, in order of arrival. A deposit's unique id is its message's
queue id, which never comes twice (ids.py): stable for ever, as RFC 1939 §7 asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from glasspost.ids import read_id, write_id
from glasspost.mail.address import address_from_text, path_from_text
from glasspost.storage.bodies import StoredContent, clear_away, queries
from glasspost.storage.database import Database
from glasspost.storage.spool_jobs import drop_refs
from glasspost.storage.spooled import deposit_header
from glasspost.storage.sqlite import row, rows


class Deposit:
    """One message in a maildrop. `octets`: its size as it is handed out, with what the maildrop puts on top."""

    __slots__ = ("forward_path", "id", "octets")

    def __init__(self, number: int, octets: int, forward_path: str) -> None:
        self.id = number
        self.octets = octets
        self.forward_path = forward_path

    @property
    def uid(self) -> str:
        return write_id("q", self.id)


@dataclass(slots=True)
class Held:
    """One message of a maildrop, as `mailbox list` shows it."""

    uid: str
    octets: int
    forward_path: str
    arrived: float
    reverse_path: str


class Maildrop:
    """A maildrop that is locked for one reader. `deposits` is what it held when it was locked."""

    def __init__(self, mailboxes: Mailboxes, account_id: int, deposits: Sequence[Deposit]) -> None:
        self._mailboxes = mailboxes
        self._account_id = account_id
        self.deposits = deposits

    async def chunks(self, deposit: Deposit) -> AsyncIterator[bytes]:
        """The message, its added header first, in pieces of at most 256 KB."""
        head, content = await self._mailboxes.open(deposit)
        data = content.data
        if data is not None:
            yield head + data
            return
        yield head
        async for piece in content.chunks():
            yield piece

    async def expunge(self, deposits: Sequence[Deposit]) -> None:
        """Remove them for ever; durable on return. Raises StoreError, and then none is removed."""
        account, remains = self._account_id, list[int]()

        def job(connection: apsw.Connection) -> None:
            remains.clear()
            remove(connection, account, deposits, remains)

        await self._mailboxes.database.written(job)
        clear_away(self._mailboxes.database, remains)
        self._mailboxes.forget_usage(account)

    def release(self) -> None:
        """Let others in. May be called again."""
        self._mailboxes.unlock(self._account_id, self)


class Mailboxes:
    """All maildrops of a store, for the node that serves them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._locked: dict[int, Maildrop | None] = {}
        self._usage: dict[int, int] = {}

    async def lock(self, account_id: int) -> Maildrop | None:
        """The maildrop, for one reader at a time; None where somebody has it already (RFC 1939 §8 of RFC 2449)."""
        if account_id in self._locked:
            return None
        self._locked[account_id] = None
        try:
            deposits = await self.database.read(lambda connection: _deposits(connection, account_id))
        except BaseException:
            del self._locked[account_id]
            raise
        maildrop = Maildrop(self, account_id, deposits)
        self._locked[account_id] = maildrop
        return maildrop

    def unlock(self, account_id: int, maildrop: Maildrop) -> None:
        if self._locked.get(account_id) is maildrop:
            del self._locked[account_id]

    async def open(self, deposit: Deposit) -> tuple[bytes, StoredContent]:
        """A deposit's added header and its content."""
        found = row(self.database.reader, queries.message, (deposit.id,))
        if found is None:
            raise LookupError("the message is not there any more")
        return _opened(self.database, found, deposit.forward_path)

    # --- quota ------------------------------------------------------------------------------------------------

    def octets_used(self, account_id: int) -> int:
        """How full a maildrop is. Summed once, then kept in step with what this node deposits."""
        used = self._usage.get(account_id)
        if used is None:
            used = self._usage[account_id] = int(row(self.database.reader, queries.usage, (account_id,))[1])
        return used

    def deposited(self, account_id: int, octets: int) -> None:
        if account_id in self._usage:
            self._usage[account_id] += octets

    def forget_usage(self, account_id: int) -> None:
        self._usage.pop(account_id, None)


# --- for the command line, off the loop ---------------------------------------------------------------------------


def listed(connection: apsw.Connection, account_id: int) -> list[Held]:
    """What a maildrop holds, in order of arrival."""
    return [Held(write_id("q", found[0]), *found[1:5]) for found in rows(connection, queries.deposits, (account_id,))]


def read_whole(database: Database, held: Held) -> bytes:
    """One message with its added header, off the loop."""
    name = read_id(held.uid)
    assert name is not None
    found = row(database.reader, queries.message, (name[1],))
    if found is None:
        raise LookupError(held.uid)
    head, content = _opened(database, found, held.forward_path)
    return head + b"".join(content.pieces(database.reader))


def remove(
    connection: apsw.Connection, account_id: int, deposits: Iterable[Deposit], remains: list[int] | None = None
) -> None:
    """The job that expunges (`remains`: see bodies.drop_body)."""
    for deposit in deposits:
        connection.execute(queries.delete_deposit, (account_id, deposit.id))
        if connection.changes():
            drop_refs(connection, deposit.id, 1, remains)


def remove_all(connection: apsw.Connection, account_id: int) -> int:
    """Empty a maildrop whose account is gone. Returns how many messages it held."""
    deposits = _deposits(connection, account_id)
    remove(connection, account_id, deposits)
    return len(deposits)


def _deposits(connection: apsw.Connection, account_id: int) -> list[Deposit]:
    return [Deposit(*found) for found in rows(connection, queries.maildrop, (account_id,))]


def _opened(database: Database, found: Sequence[Any], forward_path: str) -> tuple[bytes, StoredContent]:
    head = deposit_header(path_from_text(found[2]), address_from_text(forward_path))
    return head, StoredContent(database, found[0], found[8], found[7])
