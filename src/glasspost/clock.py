"""Time, as something that is handed in.

Lives here: the one clock the house reads and waits by. The protocol floor never asks for the time; everything above
it asks a `Clock`, so that a test can let five days of retries pass in a moment (`testing.ManualClock`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """A call that was asked for and can still be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Wall time and alarms. All times are seconds since the epoch (UTC), as floats."""

    def now(self) -> float:
        """The present moment."""
        ...

    def call_in(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        """Call `callback` once, `seconds` from now, on the event loop."""
        ...


class SystemClock:
    """The machine's own clock. Alarms run on the loop's monotonic time, so a wall clock that jumps delays nothing."""

    now = staticmethod(time.time)

    def call_in(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        return asyncio.get_running_loop().call_later(max(0.0, seconds), callback)
