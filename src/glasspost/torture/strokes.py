"""The strokes: what is done to a node, its disk, its clock, its names and its neighbour.

Lives here: each stroke, how often it falls, and how the node has to bear it.
Does not live here: the round of them (campaign.py), the disk itself (disk.py), what became of the mail (account.py).
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import apsw

from glasspost.errors import Exit, NotFound
from glasspost.storage.folder import Folder
from glasspost.testing import Fault, Nameserver
from glasspost.torture.neighbour import MOODY, NOBODY, STEADY
from glasspost.torture.victim import NextHop, Victim

DRAIN = 3.0  # seconds, as the node is configured
STOPPED_WITHIN = DRAIN + 12.0  # from SIGTERM to the end: the drain, the goodbyes, and a very busy machine
BROKEN_WITHIN = 15.0  # seconds until a node whose disk is broken has to have seen it
_JUMPS = (0.0, 0.0, 5.0, -5.0, 600.0, -600.0, 3_600.0, -3_600.0, 86_400.0, -86_400.0, 6 * 86_400.0)
_NAME_FAULTS = (None, None, Fault.SILENCE, Fault.SERVFAIL, Fault.REFUSED, Fault.LIE, Fault.TRUNCATE, Fault.NXDOMAIN)
ZONE = f"""
    steady.test     MX 10 mx.steady.test
    mx.steady.test  A  {STEADY}
    moody.test      MX 10 mx.moody.test
    mx.moody.test   A  {MOODY}
    second.test     MX 10 mx.nobody.test
    second.test     MX 20 mx.steady.test
    mx.nobody.test  A  {NOBODY}
"""
_NAMES = ("steady.test", "mx.steady.test", "moody.test", "mx.moody.test", "second.test", "mx.nobody.test")


class Names:
    """The DNS, dead or alive, at one port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._stack = AsyncExitStack()
        self._server: Nameserver | None = None

    async def live(self) -> None:
        if self._server is None:
            self._server = await self._stack.enter_async_context(
                Nameserver(ZONE, ttl=1, negative_ttl=1, port=self.port)
            )

    async def die(self) -> None:
        self._server = None
        await self._stack.aclose()

    async def fail(self, fault: Fault | None) -> None:
        """All names fail in this way; None: they do not."""
        await self.live()
        assert self._server is not None
        for name in _NAMES:
            self._server.fail(name, fault)

    async def dawdle(self, seconds: float) -> None:
        """Answer nothing for so long; then all at once."""
        await self.fail(None)
        assert self._server is not None
        with self._server.holding():
            await asyncio.sleep(seconds)


class Strokes:
    """Everything that can be done. Each stroke returns when it is over; the node may be dead then."""

    def __init__(
        self, victim: Victim, neighbour: NextHop, names: Names, chance: random.Random, only: Sequence[str] = ()
    ) -> None:
        """`only`: the names of those that fall; none: all. Raises NotFound for a name that is none of them."""
        self.victim = victim
        self.neighbour = neighbour
        self.names = names
        self.chance = chance
        self.offset = 0.0  # of the node's wall clock
        self.count: Counter[str] = Counter()
        self.conduct: list[str] = []
        self.broken_lives: set[int] = set()
        self.kills = 0  # of the node, by SIGKILL or by a power cut
        self._table: dict[str, tuple[float, Callable[[], Awaitable[None]]]] = {
            "node killed": (40, self._kill),
            "power cut at any moment": (15, self._cut),
            "power cut in the middle of a sync": (10, self._cut_in_sync),
            "power cut right after a sync": (5, self._cut_after_sync),
            "node stopped gracefully": (4, self.stop),
            "disk full for a while": (4, self._fill),
            "disk read-only": (2, self._read_only),
            "fsync failed": (2, self._fail_sync),
            "store locked by another process": (3, self._lock),
            "clock jumped": (8, self._jump),
            "DNS changed its mood": (6, self._change_names),
            "neighbour killed": (12, self._kill_neighbour),
        }
        if unknown := [name for name in only if name not in self._table]:
            raise NotFound(f'there is no stroke "{unknown[0]}"; there are: {", ".join(self._table)}')
        if only:
            self._table = {name: self._table[name] for name in only}

    async def fall(self) -> None:
        """One of them, by chance."""
        names = list(self._table)
        name = self.chance.choices(names, [weight for weight, _ in self._table.values()])[0]
        self.count[name] += 1
        await self._table[name][1]()

    @property
    def first_orders(self) -> str:
        return f"clock {self.offset}"

    # --- its life ---------------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        self.kills += 1
        self._demand(await self.victim.kill(), -signal.SIGKILL, "killed")

    async def _cut(self) -> None:
        self.kills += 1
        self.victim.order("cut")
        self._demand(await self.victim.ended(), -signal.SIGKILL, "cut off from power")
        await self.victim.kill()

    async def _cut_in_sync(self) -> None:
        await self._cut_at("in")

    async def _cut_after_sync(self) -> None:
        await self._cut_at("after")

    async def _cut_at(self, where: str) -> None:
        self.victim.order(f"cut-at-sync {self.chance.randint(1, 12)} {where}")
        if await self.victim.ended(2.0) is None:
            await self._cut()  # it had nothing to sync
        else:
            self.kills += 1

    async def stop(self) -> None:
        if not await self.victim.ready():
            return  # a signal before it has ears is a kill
        self.victim.signal(signal.SIGTERM)
        self._demand(await self.victim.ended(STOPPED_WITHIN), Exit.OK, "told to stop")
        await self.victim.kill()

    # --- its disk ---------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        self.victim.order("full")
        await asyncio.sleep(self.chance.uniform(0.1, 1.0))
        self.victim.order("room")
        await self._forgive_start("on a full disk")

    async def _read_only(self) -> None:
        self.broken_lives.add(self.victim.life)
        self.victim.order("readonly")
        self._demand(await self.victim.ended(BROKEN_WITHIN), Exit.STORE, "on a disk gone read-only")
        await self.victim.kill()
        await self.victim.start(f"{self.first_orders};readonly")
        self._demand(await self.victim.ended(BROKEN_WITHIN), Exit.STORE, "started on a read-only disk")
        await self.victim.kill()

    async def _fail_sync(self) -> None:
        self.broken_lives.add(self.victim.life)
        self.victim.order("nosync")
        self._demand(await self.victim.ended(BROKEN_WITHIN), Exit.STORE, "whose fsync failed")
        await self.victim.kill()

    async def _lock(self) -> None:
        seconds = 11.0 if self.chance.random() < 0.05 else self.chance.uniform(0.1, 1.5)
        store = Folder(self.victim.data).spool
        if store.exists():
            await asyncio.to_thread(_hold_lock, str(store), seconds)

    async def _forgive_start(self, how: str) -> None:
        """It may have ended where it was about to open its store: it has to have said so."""
        code = await self.victim.ended(0.2)
        if code is not None:
            self._demand(code, Exit.STORE, how)

    # --- what is around it ------------------------------------------------------------------------------------

    async def _jump(self) -> None:
        self.offset = self.chance.choice(_JUMPS)
        self.victim.order(self.first_orders)

    async def _change_names(self) -> None:
        whim = self.chance.random()
        if whim < 0.15:
            await self.names.die()
        elif whim < 0.3:
            await self.names.dawdle(self.chance.uniform(0.1, 2.0))
        else:
            await self.names.fail(self.chance.choice(_NAME_FAULTS))

    async def _kill_neighbour(self) -> None:
        await self.neighbour.kill()
        await asyncio.sleep(self.chance.uniform(0, 0.5))
        await self.neighbour.start()

    async def calm(self) -> None:
        """An end to all of it: what is left may now be brought where it goes."""
        self.offset = 0.0
        self.victim.order("room", "writable", self.first_orders)
        await self.names.fail(None)
        if not self.neighbour.running:
            await self.neighbour.start()
        await self.neighbour.ready()
        self.neighbour.order("calm")

    def _demand(self, code: int | None, wanted: int, how: str) -> None:
        """How it ended has to be how it should."""
        if code != wanted:
            said = "did not end in time" if code is None else f"ended with {code}"
            self.conduct.append(f"life {self.victim.life}: a node {how} {said}, not with {int(wanted)}")


def _hold_lock(store: str, seconds: float) -> None:
    """Keep everybody from writing, as somebody's SQLite shell would."""
    connection = apsw.Connection(store)
    try:
        connection.set_busy_timeout(5_000)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    except apsw.Error:
        pass  # it would not let us: then nobody was kept from anything
    finally:
        connection.close()
