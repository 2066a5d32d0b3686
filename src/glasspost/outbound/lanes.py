"""Lanes: the work in hand, sorted by where it goes next.

Lives here: one lane for each route, its jobs in order, how many may be under way, its rest after a failure that
concerns the destination and not the message, and its careful return from it; and what comes together and must stay
together on its way there.
Does not live here: making attempts (scheduler.py), the queue on disk (storage/spool.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from glasspost.mail.envelope import Outcome
from glasspost.mail.reply import Reply
from glasspost.outbound.retry import Schedule
from glasspost.outbound.routes import Route
from glasspost.storage.spooled import Message, Queued, Rest

LOCAL = "local"
ENOUGH = 250  # jobs in a lane's hands that may have more fetched
FETCHED_BY = 60.0  # seconds within which a destination that takes mail has fetched who waits for it, or has rested
LONGEST_REST = 900.0  # seconds a destination that cannot be reached is left alone at most


@dataclass(slots=True)
class Job:
    """One message and those of its recipients that go the same way: one transaction, if the server's limits allow."""

    message: Message
    recipients: list[Queued]


@dataclass(slots=True)
class Lane:
    """What goes to one destination. `route` None is the house itself. `width`: how many attempts it may have at a
    time."""

    key: str
    route: Route | None
    width: int
    jobs: deque[Job] = field(default_factory=deque)
    active: int = 0  # attempts under way
    rest_until: float = 0.0
    rest_reply: Reply | None = None  # why it rests
    setbacks: int = 0  # failures of the destination in a row
    failed: float = 0.0  # when the last of them was noticed
    probe: float = 0.0  # the end of a rest for which there is somebody to try first
    queued_up: bool = False  # waiting for one of the node's connections
    stranded: bool = True  # mail may wait on the disk for its return; of a new lane nobody knows yet
    fetching: bool = False  # some of that is being fetched

    def rests(self, now: float) -> Reply | None:
        """Why it is left alone just now; None where it is not."""
        return self.rest_reply if self.rest_until > now else None

    def fail(self, now: float, schedule: Schedule, reply: Reply) -> None:
        """It cannot be reached: it rests, longer each time, and is then tried with one attempt at a time."""
        if self.rest_until > now:
            return  # several attempts were under way when it fell silent: that is one setback
        self.setbacks += 1
        self.rest_until = min(schedule.next_attempt(now, self.setbacks), now + LONGEST_REST)
        self.rest_reply = reply
        self.failed = now
        self.width = 1
        self.stranded = True

    def answer(self, *, took: bool, most: int) -> bool:
        """It spoke. With each message that it took, it may have one attempt more at a time, up to `most`: twice as
        many in each round, so a weak server is not run over by all that waited for it. Whether it may have more now."""
        self.setbacks = 0
        self.rest_until = 0.0
        if not took or self.width >= most:
            return False
        self.width += 1
        return True

    def turn(self, schedule: Schedule) -> float:
        """When somebody for it who was not tried, because it rests, is to come again. The first in each rest comes at
        its end and finds out; the others are fetched once it is back. Where it is not, it rests again before their
        time comes, and they wait the longer the longer it is away: who waits costs nothing."""
        if self.probe != self.rest_until:
            self.probe = self.rest_until
            return self.rest_until
        return schedule.next_attempt(self.rest_until, self.setbacks)


@dataclass(slots=True)
class Ending:
    """What became of some recipients of one message, to be settled. `attempted` 0: there was no attempt; then `turn`
    is when there will be one. `lane`: where they were going, "" where they had no way."""

    message: Message
    attempted: float
    turn: float = 0.0
    lane: str = ""
    recipients: list[Queued] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


class Sorting:
    """Recipients that come together, on their way into lanes: those of a message for one lane stay together, and so
    do those that have no way to go."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.jobs: dict[tuple[int, str], Job] = {}
        self.endings: dict[tuple[int, float], Ending] = {}

    def end(self, queued: Queued, outcome: Outcome, attempted: float) -> None:
        """No way, or the postmaster's wish."""
        queued.begun = True
        key = (queued.message.id, attempted)
        ending = self.endings.get(key)
        if ending is None:
            ending = self.endings[key] = Ending(queued.message, attempted)
        ending.recipients.append(queued)
        ending.outcomes.append(outcome)


class Lanes:
    """All lanes with work or a memory of failure. `width`: attempts at a time for one that nothing bad is known of."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lanes: dict[str, Lane] = {}

    def lane(self, route: Route | None) -> Lane:
        """The lane of a route, with the newest knowledge of its hosts."""
        key = LOCAL if route is None else route.key
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, route, self._width)
        elif route is not None:
            lane.route = route
        return lane

    def at_rest(self, routes: Iterable[Route | Reply | None], now: float) -> list[Lane]:
        """The lanes of these routes, where all of them rest; none where one does not, or there is no route."""
        found: dict[str, Lane] = {}
        for route in routes:
            lane = self._lanes.get(route.key) if isinstance(route, Route) else None
            if lane is None or lane.rest_until <= now:
                return []
            found[lane.key] = lane
        return list(found.values())

    def to_be_left(self, now: float, schedule: Schedule) -> dict[str, Rest]:
        """The destinations for which nobody else has to leave the disk just now: who rests, and has somebody who will
        try first; and who has enough in hand, and fetches the others with the first message that is taken."""
        notice_by = now - schedule.delay_notice if schedule.delay_notice > 0 else -inf
        found = {}
        for lane in self:
            if lane.rest_until > now and lane.probe == lane.rest_until and lane.rest_reply is not None:
                due = lane.turn(schedule)
                found[lane.key] = Rest(due, str(lane.rest_reply), lane.failed, notice_by, due - schedule.expire)
            elif lane.stranded and len(lane.jobs) >= ENOUGH:
                found[lane.key] = Rest(now + FETCHED_BY, None, inf, notice_by, now + FETCHED_BY - schedule.expire)
        return found

    def sweep(self, now: float) -> None:
        """Forget lanes that have neither work nor a rest to remember."""
        for key, lane in list(self._lanes.items()):
            if not lane.jobs and not lane.active and lane.rest_until < now - 3_600:
                del self._lanes[key]

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())
