"""Who has been asked to come again, and who came: the memory of greylisting.

Lives here: the greylist's file, its expiry, and the arithmetic of one triplet: client network, sender, recipient.
Does not live here: who is asked at all, and what is said (inbound/greylisting.py).

Reading is a point look-up on the event loop; writing goes to the file's own writer, without waiting for the disk: what
a power cut loses are some minutes of some senders. The file is bounded: what waits longest goes first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import apsw

from glasspost.clock import Clock
from glasspost.storage.database import Database
from glasspost.storage.sql import Queries
from glasspost.storage.sqlite import row

queries = Queries("sqlite", "greylist")
SWEEP = 3_600.0  # seconds between two rounds of forgetting
KEPT = 500_000  # triplets: some 60 MB


@dataclass(frozen=True, slots=True)
class GreylistSettings:
    """Times in seconds. A triplet passes when it comes again no sooner than `delay` and no later than
    `retry_within`; then it is known for `remember`. A network with `known_after` passed triplets is known as a whole;
    0: never."""

    delay: float = 300.0
    retry_within: float = 2 * 86_400.0
    remember: float = 36 * 86_400.0
    known_after: int = 5


class Greylist:
    """The greylist of one node. Belongs to the event loop."""

    def __init__(self, path: Path, settings: GreylistSettings, clock: Clock, kept: int = KEPT) -> None:
        """Opens the file, or makes it. Raises StoreError."""
        self._database = Database(path, "greylist", durable=False)
        self._settings = settings
        self._clock = clock
        self._capacity = kept
        self._swept = clock.now()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to write."""
        self._database.start(loop)

    async def close(self) -> None:
        """Write what waits, and close the file."""
        await self._database.close()

    async def written(self) -> None:
        """Everything known until now is in the file."""
        await self._database.written(lambda connection: None)

    def knows(self, network: str) -> int:
        """How many triplets of a network have got through, if that makes it known; else 0."""
        settings = self._settings
        found = row(self._database.reader, queries.network, (network,))
        if found is None or not settings.known_after or found[0] < settings.known_after:
            return 0
        return 0 if found[1] < self._clock.now() - settings.remember else int(found[0])

    def wait(self, network: str, sender: str, recipient: str) -> float:
        """Seconds until a triplet may come again; 0: it may pass, and is remembered."""
        now, settings, key = self._clock.now(), self._settings, (network, sender, recipient)
        self._sweep(now)
        found = row(self._database.reader, queries.triplet, key)
        first, passed = found or (now, 0.0)
        if passed and passed >= now - settings.remember:
            if passed < now - settings.delay:
                self._write(queries.mark_passed, (*key, now))
                self._write(queries.count_pass, (network, 0, now))
            return 0.0
        if found is None or passed or first < now - settings.retry_within:
            self._write(queries.begin, (*key, now, now - settings.retry_within, now - settings.remember))
            return settings.delay
        left = float(first + settings.delay - now)
        if left > 0:
            return left
        self._write(queries.mark_passed, (*key, now))
        self._write(queries.count_pass, (network, 1, now))
        return 0.0

    def _sweep(self, now: float) -> None:
        if abs(now - self._swept) < SWEEP:
            return
        self._swept = now
        settings, capacity = self._settings, self._capacity

        def job(connection: apsw.Connection) -> None:
            old, forgotten = now - settings.retry_within, now - settings.remember
            connection.execute(queries.forget_triplets, (old, forgotten))
            connection.execute(queries.forget_networks, (forgotten,))
            spare = int(row(connection, queries.count_triplets)[0]) - capacity
            if spare > 0:
                connection.execute(queries.drop_oldest, (spare,))

        self._database.write(job, lambda _result, _error: None)

    def _write(self, query: str, bindings: tuple[object, ...]) -> None:
        def job(connection: apsw.Connection) -> None:
            connection.execute(query, bindings)

        # What cannot be stored is not remembered: the sender waits a little longer. The mail is not at stake.
        self._database.write(job, lambda _result, _error: None)
