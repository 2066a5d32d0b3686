"""When to try again, when to tell the sender, when to give up (RFC 5321 §4.5.4.1).

Lives here: the schedule, as arithmetic on times that are handed in.
Does not live here: the clock, the queue, or what is told (scheduler.py, reports.py).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Schedule:
    """All durations in seconds. `waits`: after the first failed attempt, the second, ...; the last one repeats.

    `jitter` makes each wait longer or shorter by up to that share of it, so that mail which failed together does not
    come back together.
    """

    waits: Sequence[float]
    jitter: float = 0.1
    expire: float = 5 * 86_400
    delay_notice: float = 4 * 3_600  # 0: never
    chance: random.Random = field(default_factory=random.Random)

    def next_attempt(self, now: float, attempts: int) -> float:
        """When to try next, after `attempts` (at least 1) failed ones."""
        wait = self.waits[min(attempts, len(self.waits)) - 1]
        return now + wait * (1 + self.jitter * self.chance.uniform(-1, 1))

    def expired(self, now: float, arrived: float) -> bool:
        """Whether it is time to give up."""
        return now - arrived >= self.expire

    def last_attempt_by(self, arrived: float) -> float:
        """Until when it will be tried."""
        return arrived + self.expire

    def should_tell(self, now: float, arrived: float, told: bool) -> bool:
        """Whether the sender should now hear that the message still waits."""
        return not told and self.delay_notice > 0 and now - arrived >= self.delay_notice


def period(seconds: float) -> str:
    """A duration in words, for people: "5 days", "4 hours"."""
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {word}{'' if count == 1 else 's'}"
    return "no time"
