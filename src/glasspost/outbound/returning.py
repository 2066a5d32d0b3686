"""Destinations that are back: the mail that waited for them is fetched as fast as they take it.

Lives here: how much of it is brought into hand at a time, and who waits for room in the window.
Does not live here: when a destination counts as back, how many attempts it then gets at a time (lanes.py), the claim
itself (claims.py, storage/spool.py).

Mail that could not be brought because its destination was out of reach is marked with it in the store. It waits long
there, and need not wait to the end: the first message that is taken again fetches the others, some hundred at a time,
as long as they are taken. So a deep queue drains at the speed of the destination. Who has nothing waiting is asked
about once, by one look into an index.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import structlog

from glasspost.outbound.claims import Claims
from glasspost.outbound.lanes import ENOUGH, Lane
from glasspost.storage.spooled import Queued

FETCH_AT_ONCE = 200  # recipients

log = structlog.get_logger("scheduler")


class Returning:
    """The fetching of what waits for destinations that are back."""

    def __init__(
        self,
        claims: Claims,
        *,
        take: Callable[[Iterable[Queued]], None],
        run: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """`take` is given what was fetched, `run` runs a coroutine as a task."""
        self._claims = claims
        self._take = take
        self._run = run
        self._waiting: dict[str, Lane] = {}  # for room in the window, in their order

    def fetch(self, lane: Lane) -> None:
        """A destination has taken something: have more for it in hand, if more waits and little is left."""
        if lane.fetching or len(lane.jobs) >= ENOUGH:
            return
        if not self._claims.has_room(FETCH_AT_ONCE):
            self._waiting[lane.key] = lane
            return
        lane.fetching = True
        self._run(self._fetch(lane))

    def let_go(self) -> None:
        """Something is out of hand: is there room now for who waits for it?"""
        while self._waiting and self._claims.has_room(FETCH_AT_ONCE):
            lane = self._waiting.pop(next(iter(self._waiting)))
            if lane.stranded and not lane.setbacks:
                self.fetch(lane)

    async def _fetch(self, lane: Lane) -> None:
        try:
            fetched = await self._claims.stranded(lane.key, FETCH_AT_ONCE)
            if fetched is None:  # somebody else took the room meanwhile
                self._waiting[lane.key] = lane
                return
            lane.stranded = bool(fetched)  # only who finds nothing knows that nothing is left
            self._take(fetched)
        except Exception:
            log.exception("fetching failed", lane=lane.key)  # with the next message that is taken it is tried again
        finally:
            lane.fetching = False
