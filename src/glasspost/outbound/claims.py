"""What this node has in hand of the queue, and how more comes into its hands.

Lives here: the window, claiming what falls due, keeping leases, and seeing what others changed in the store.
Does not live here: what is done with what was claimed (scheduler.py), the SQL of a claim (storage/spool.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import structlog

from glasspost.clock import Alarm, Clock
from glasspost.outbound.lanes import Lanes
from glasspost.outbound.retry import Schedule
from glasspost.storage.bodies import queries
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Queued
from glasspost.storage.sqlite import row

CLAIM_AT_ONCE = 200  # recipients: the writer and the loop share one interpreter, and others wait for both
# Seconds between two such lots that are put behind a rest, while the store has other work to do: so many times what
# the last of them took, and within these bounds.
BREATHS, BREATH, LONGEST_BREATH = 25, 0.1, 1.0
LOOK_AROUND = 1.0  # seconds between looks at what others changed in the store
CLAIM_AGAIN = 5.0  # seconds until a claim that failed is tried again

log = structlog.get_logger("scheduler")


class Claims:
    """The recipients in this node's hands: at most `window` of them are claimed, however many wait on disk."""

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        window: int,
        take: Callable[[Iterable[Queued]], None],
        give_back: Callable[[Sequence[Queued]], None],
        run: Callable[[Coroutine[Any, Any, None]], None],
        lanes: Lanes,
        schedule: Schedule,
    ) -> None:
        """`take` is given what was claimed, `give_back` what goes back into the store untried; `run` runs a coroutine
        as a task; `lanes` know which destinations rest, `schedule` when who waits for them is to come again."""
        self.in_hand: dict[int, Queued] = {}
        self.claiming = False
        self._spool = spool
        self._clock = clock
        self._window = window
        self._take = take
        self._give_back = give_back
        self._run = run
        self._lanes = lanes
        self._schedule = schedule
        self._running = False
        self._alarm: Alarm | None = None  # the next claim
        self._rings = 0.0  # when
        self._breath: Alarm | None = None  # until then nothing is claimed
        self._commits = 0  # of the store, when last looked at
        self._round: Alarm | None = None
        self._full = False  # the window was full when last looked at: more may be due
        self._data_version = 0  # moves when another connection commits; 0: not looked yet
        self._renewed = 0.0  # when all leases in hand were as good as new
        self._doubting = asyncio.Lock()

    def start(self, claiming: bool) -> None:
        """Begin to look around, and, unless paused, to claim."""
        self._running = claiming
        self._renewed = self._clock.now()
        self._look_around()
        self.wake()

    def stop(self) -> None:
        self._running = False
        for alarm in (self._alarm, self._round, self._breath):
            if alarm is not None:
                alarm.cancel()
        self._alarm = self._round = self._breath = None

    # --- in hand ----------------------------------------------------------------------------------------------

    def room_for(self, count: int) -> bool:
        return len(self.in_hand) + count <= self._window

    def hold(self, queued: Queued) -> bool:
        """A recipient has come into this node's hands. False where it was there already, claimed again because the
        lease had run out, or because it was held and released meanwhile: then what is done for it goes on."""
        older = self.in_hand.get(queued.id)
        if older is not None:
            if older.begun or not queued.wish:
                older.generation = queued.generation
                older.wish = queued.wish
                older.withdrawn = False
                return False
            older.withdrawn = True
            self.let_go(older)
        self.in_hand[queued.id] = queued
        queued.message.in_hand += 1
        return True

    def let_go(self, queued: Queued) -> None:
        if self.in_hand.get(queued.id) is not queued:
            return
        del self.in_hand[queued.id]
        message = queued.message
        message.in_hand -= 1
        if message.in_hand == 0:
            self._spool.let_go(message)

    def has_room(self, wanted: int) -> bool:
        """Whether a good part of so many would find room."""
        return self._window - len(self.in_hand) >= max(1, min(wanted, self._window) // 4)

    async def stranded(self, lane: str, limit: int) -> list[Queued] | None:
        """Claim what waits for a destination to come back, whenever it was to be tried. None where there is no room."""
        room = min(limit, self._window - len(self.in_hand))
        if not self._running or room <= 0:
            return None
        if not self._spool.has_stranded(lane):
            return []
        return await self._spool.claim_stranded(lane, self._clock.now(), room)

    # --- claiming what falls due ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look for due work soon."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._running and not self.claiming and self._breath is None:
            self.claiming = True
            self._run(self._claim())

    def expect(self, due: float) -> None:
        """Something waits on the disk, and is due then."""
        if self._alarm is None or due < self._rings or due <= self._clock.now():
            self.wake()

    def wake_if_room(self) -> None:
        """Look for due work if there was no room for it, and is now."""
        if self._full and len(self.in_hand) <= self._window // 2:
            self.wake()

    async def _claim(self) -> None:
        """Fill the window with what is due; then sleep until more is."""
        try:
            while self._running:
                now = self._clock.now()
                room = self._window - len(self.in_hand)
                due = self._spool.next_due()
                self._full = room <= 0
                if due is None or room <= 0:
                    return
                if due > now:
                    self._wake_at(due, now)
                    return
                begun = asyncio.get_running_loop().time()
                left = await self._put_behind(now)
                took = asyncio.get_running_loop().time() - begun
                claimed = await self._spool.claim(now, min(room, left), self.in_hand) if left else []
                self._take(claimed)
                if left < CLAIM_AT_ONCE and self._is_busy(2 if left else 1):
                    breath = min(max(BREATH, BREATHS * took), LONGEST_BREATH)
                    self._breath = self._clock.call_in(breath, self._breathed)
                    return
                if left and not claimed:
                    return
        except Exception:
            log.exception("claiming failed")
            if self._running:
                self._wake_at(self._clock.now() + CLAIM_AGAIN, self._clock.now())
        finally:
            self.claiming = False

    def _wake_at(self, due: float, now: float) -> None:
        self._rings = due
        self._alarm = self._clock.call_in(due - now, self.wake)

    async def _put_behind(self, now: float) -> int:
        """Who is due, but waits for a destination for which nobody else is wanted in hand, stays on the disk until
        later. Returns how many of the first that are due may be claimed."""
        left = self._lanes.to_be_left(now, self._schedule)
        if not left:
            return CLAIM_AT_ONCE
        seen, behind = await self._spool.put_behind(now, CLAIM_AT_ONCE, left)
        return CLAIM_AT_ONCE if not behind else seen - behind

    def _is_busy(self, ours: int) -> bool:
        """Whether the store has made more commits than `ours` since we last asked: others have work for it, too."""
        before, self._commits = self._commits, self._spool.database.commits
        return self._commits - before > ours

    def _breathed(self) -> None:
        self._breath = None
        self.wake()

    # --- looking around ---------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Once in a while: what did a postmaster change in the store, and which leases need renewing?"""
        self._round = self._clock.call_in(LOOK_AROUND, self._look_around)
        self._run(self._look())

    async def _look(self) -> None:
        try:
            version = await self._spool.database.written(lambda connection: row(connection, "PRAGMA data_version")[0])
            known, self._data_version = self._data_version, version
            if known not in (0, version):
                await self._find_withdrawn()
                self.wake()
            now = self._clock.now()
            if not 0 <= now - self._renewed <= self._spool.lease / 3:
                await self._renew()
                self._lanes.sweep(now)
            elif self._alarm is None or self._is_due(now):
                self.wake()
        except Exception:
            log.exception("looking around failed")

    def _is_due(self, now: float) -> bool:
        """Whether something is due although the alarm has not rung: the clock was moved."""
        due = self._spool.next_due()
        return due is not None and due <= now and self.room_for(1)

    async def _renew(self) -> None:
        now = self._clock.now()
        await self._spool.renew(list(self.in_hand.values()), now)
        self._renewed = now  # only now: where it failed the leases run out, and nobody may think otherwise

    async def make_certain(self) -> None:
        """Before an attempt begins: what is in hand must still be this node's.

        Leases are renewed long before they run out, but not by a process that was stopped, or on a store that does
        not answer. Whoever comes back too late may find its work in another node's hands: that is marked as
        withdrawn. Raises StoreError where the store does not tell.
        """
        if 0 <= self._clock.now() - self._renewed < self._spool.lease:
            return
        async with self._doubting:
            if 0 <= self._clock.now() - self._renewed < self._spool.lease:
                return  # somebody has just looked
            await self._renew()
            await self._find_withdrawn()

    async def _find_withdrawn(self) -> None:
        """Recipients in hand that somebody has held or removed meanwhile are not tried any more. One that is to be
        bounced goes back for the next claim to do so, or, where its attempt is under way, learns of it."""
        held = list(self.in_hand.values())
        keys = [(queued.id, queued.generation) for queued in held]
        wishes = await self._spool.database.read(
            lambda connection: [row(connection, queries.wish_of_ours, key) for key in keys]
        )
        to_bounce = []
        for queued, key, found in zip(held, keys, wishes, strict=True):
            if queued.generation != key[1]:
                continue  # it was claimed anew while we looked
            wished = found is not None and found[0] == "bounce"
            queued.withdrawn = found is None or (wished and not queued.begun)
            if wished and queued.wish != "bounce":
                queued.wish = "bounce"
                if queued.withdrawn:
                    to_bounce.append(queued)
        if to_bounce:
            self._give_back(to_bounce)
