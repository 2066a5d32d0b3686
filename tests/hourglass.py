"""An hourglass: time as a connection sees it, and it passes only when a test says so.

Lives here: `Hourglass`, an event loop with a clock of its own.
Does not live here: the wall clock and moments on record (glasspost.testing.ManualClock).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class Alarm:
    """What `call_later` gives: enough of asyncio.TimerHandle for whoever moves a deadline."""

    moment: float
    call: Callable[[], object]
    cancelled: bool = False

    def when(self) -> float:
        return self.moment

    def cancel(self) -> None:
        self.cancelled = True


class Hourglass:
    """Give it to a connection in place of the loop. `passes(600)`: ten minutes later, with every alarm in between.
    Sockets, tasks and all else are the loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._now = 1000.0
        self._alarms: list[Alarm] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self._now

    def call_later(self, seconds: float, call: Callable[..., object], *args: object) -> Alarm:
        alarm = Alarm(self._now + seconds, lambda: call(*args))
        self._alarms.append(alarm)
        return alarm

    def passes(self, seconds: float) -> None:
        """So many seconds pass: alarms go off in their order, each at its moment."""
        end = self._now + seconds
        while due := [one for one in self._alarms if not one.cancelled and one.moment <= end]:
            alarm = min(due, key=Alarm.when)
            self._alarms.remove(alarm)
            self._now = alarm.moment
            alarm.call()
        self._now = end
