"""A spool to try things on: a real database in a folder of the test's own, with as many nodes on it as a test wants.

Lives here: `Store`, and short ways to accept and settle.
Does not live here: any expectation.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from glasspost.mail.address import Address, address_from_text
from glasspost.mail.envelope import BodyType, Envelope, Notify, Recipient
from glasspost.storage.database import Connection, Database
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Intake, Queued, Settlement
from glasspost.storage.sqlite import open_connection, rows

NOW = 1_800_000_000.0
LEASE = 300.0
HEAD = b"Received: from client.example by mail.example.test; now\r\n"
BODY = b"Subject: one\r\n\r\nHello\r\n"


class Store:
    """One store, and the nodes that have it open. `await store.close()` in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.databases: list[Database] = []
        self.copies: list[Store] = []
        self._eye: Connection | None = None

    def node(self, name: str = "node1", *, lease: float = LEASE, recover_at: float = 0.0) -> Spool:
        """A node comes: with a time to recover at, it is the only one, and its predecessor is dead."""
        database = Database(self.folder / "spool.db", "spool", durable=False)
        self.databases.append(database)
        spool = Spool(database, name, lease)
        if recover_at:
            spool.recover(recover_at)
        database.start(asyncio.get_running_loop())
        return spool

    def by_hand(self) -> Database:
        """The store as a command line has it open."""
        database = Database(self.folder / "spool.db", "spool")
        self.databases.append(database)
        return database

    def look(self, query: str, *values: Any) -> list[Any]:
        """What stands on the disk, as somebody else sees it."""
        if self._eye is None:
            self._eye = open_connection(self.folder / "spool.db", durable=False)
        found = rows(self._eye, query, values)
        return [one[0] for one in found] if found and len(found[0]) == 1 else found

    def counts(self) -> dict[str, int]:
        """How many rows there are in each table that has any."""
        tables = ("message", "chunk", "recipient", "deposit", "draft")
        counted = {table: self.look(f"SELECT count(*) FROM {table}")[0] for table in tables}
        return {table: count for table, count in counted.items() if count}

    def killed(self) -> Store:
        """The store as the disk has it at this moment: what is left when all its nodes are killed now."""
        folder = self.folder / f"after{len(self.copies)}"
        folder.mkdir()
        for name in ("spool.db", "spool.db-wal"):
            shutil.copy(self.folder / name, folder / name)
        self.copies.append(Store(folder))
        return self.copies[-1]

    async def close(self) -> None:
        if self._eye is not None:
            self._eye.close()
        for database in self.databases:
            await database.close()
        for copy in self.copies:
            await copy.close()


def intake_for(
    spool: Spool,
    *to: str,
    sender: str = "anna@example.org",
    body: bytes = BODY,
    head: bytes = HEAD,
    deposits: Sequence[tuple[int, str]] = (),
    now: float = NOW,
    claim: bool = False,
    notify: Notify = Notify.UNSET,
    ret: str = "",
) -> Intake:
    """A message that has arrived whole, and is to be accepted now."""
    draft = spool.new_draft()
    for start in range(0, len(body), 60_000):
        draft.add(body[start : start + 60_000])
    kind = BodyType.EIGHT_BIT if draft.eight_bit else BodyType.SEVEN_BIT
    envelope = Envelope(address_from_text(sender) if sender else None, body=kind, ret=ret)
    return Intake(
        draft,
        envelope,
        head,
        now,
        "c0000000000a",
        deposits=[(account, address_from_text(path)) for account, path in deposits],
        recipients=[Recipient(address_from_text(path), notify) for path in to],
        claim=claim,
        due=now,
    )


async def accepted(spool: Spool, intake: Intake, now: float = NOW) -> Intake:
    """Raises what `accept` reports."""
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    spool.accept(intake, now, told.set_result)
    error = await told
    if error is not None:
        raise error
    return intake


async def settled(
    spool: Spool, settlements: Sequence[Settlement], reports: Sequence[Intake] = (), now: float = NOW
) -> Collection[int]:
    """The ids for which nothing was changed. Raises what `settle` reports."""
    told: asyncio.Future[tuple[Collection[int], Exception | None]] = asyncio.get_running_loop().create_future()
    spool.settle(settlements, reports, now, lambda void, error: told.set_result((void, error)))
    void, error = await told
    if error is not None:
        raise error
    return void


async def read(queued: Queued) -> bytes:
    """The content a courier would send, by both ways of reading it."""
    content = queued.message.content
    whole = b"".join([piece async for piece in content.chunks()])
    assert content.data in (whole, None)
    assert len(whole) == content.size == queued.message.size
    return whole


def address(text: str) -> Address:
    return address_from_text(text)
