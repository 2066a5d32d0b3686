"""Lanes: the work in hand, sorted by where it goes next.

Lives here: one lane for each route, its jobs in order, how many may be under way, and its rest after a failure that
concerns the destination and not the message; and what comes together and must stay together on its way there.
Does not live here: making attempts (scheduler.py), the queue on disk (storage/spool.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from glasspost.mail.envelope import Outcome
from glasspost.mail.reply import Reply
from glasspost.outbound.decisions import unreachable
from glasspost.outbound.retry import Schedule
from glasspost.outbound.routes import Route
from glasspost.storage.spooled import Message, Queued

LOCAL = "local"
LONGEST_REST = 900.0  # seconds a destination that cannot be reached is left alone at most


@dataclass(slots=True)
class Job:
    """One message and those of its recipients that go the same way: one transaction, if the server's limits allow."""

    message: Message
    recipients: list[Queued]


@dataclass(slots=True)
class Lane:
    """What goes to one destination. `route` None is the house itself."""

    key: str
    route: Route | None
    jobs: deque[Job] = field(default_factory=deque)
    active: int = 0  # attempts under way
    rest_until: float = 0.0
    rest_reply: Reply | None = None  # why it rests
    setbacks: int = 0  # failures of the destination in a row
    queued_up: bool = False  # waiting for one of the node's connections

    def learn(self, outcomes: Sequence[Outcome], schedule: Schedule, now: float) -> None:
        """What an attempt says of the destination: one that cannot be reached rests, longer each time; one that spoke
        does not."""
        if self.route is None or not all(unreachable(outcome) for outcome in outcomes):
            self.setbacks = 0
            self.rest_until = 0.0
            return
        if self.rest_until > now:
            return  # several attempts were under way when it fell silent: that is one setback
        self.setbacks += 1
        self.rest_until = min(schedule.next_attempt(now, self.setbacks), now + LONGEST_REST)
        self.rest_reply = outcomes[0].reply


@dataclass(slots=True)
class Ending:
    """What became of some recipients of one message, to be settled. `attempted` 0: there was no attempt; `rest`: not
    again before then."""

    message: Message
    attempted: float
    rest: float = 0.0
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
    """All lanes with work or a memory of failure."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}

    def lane(self, route: Route | None) -> Lane:
        """The lane of a route, with the newest knowledge of its hosts."""
        key = LOCAL if route is None else route.key
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, route)
        elif route is not None:
            lane.route = route
        return lane

    def known(self, key: str) -> Lane | None:
        return self._lanes.get(key)

    def end_rests(self) -> None:
        """A postmaster has been at the queue: who says "try now" means now, whatever was out of reach before."""
        for lane in self._lanes.values():
            lane.rest_until = 0.0

    def sweep(self, now: float) -> None:
        """Forget lanes that have neither work nor a rest to remember."""
        for key, lane in list(self._lanes.items()):
            if not lane.jobs and not lane.active and lane.rest_until < now - 3_600:
                del self._lanes[key]

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())
