"""How often something may happen: token buckets, one for each key, in bounded memory.

Lives here: `Buckets`, and a waiting time in words.
Does not live here: what is counted, and what is said when a bucket is empty (rates.py).

A bucket holds as many tokens as may be spent at once, and fills up evenly: 60 a minute are 60 in one go and then one a
second. A key that nobody remembers has a full bucket, so forgetting is always on the client's side.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import TypeAlias

from glasspost.clock import Clock

Rate: TypeAlias = tuple[int, float]  # so many, in so many seconds; 0: no limit
KEPT = 50_000  # keys remembered by one kind of bucket: some 10 MB


class Buckets:
    """The buckets of one kind. Of more than `kept` keys, those that were used longest ago are forgotten."""

    def __init__(self, rate: Rate, clock: Clock, kept: int = KEPT) -> None:
        self._size, seconds = rate
        self._second = self._size / seconds if self._size else 0.0  # tokens that a second brings
        self._clock = clock
        self._capacity = kept
        self._kept: OrderedDict[object, tuple[float, float]] = OrderedDict()  # tokens left, and when that was so

    def __bool__(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self._size)

    def __len__(self) -> int:
        return len(self._kept)

    def wait(self, key: object, tokens: int = 1) -> float:
        """Seconds until so many tokens are there; 0 where they are now. Takes none."""
        if not self._size or key not in self._kept:
            return 0.0
        missing = min(tokens, self._size) - self._tokens(key)
        return missing / self._second if missing > 0 else 0.0

    def take(self, key: object, tokens: int = 1) -> float:
        """Take tokens, if they are there; otherwise none, and the seconds until they are."""
        seconds = self.wait(key, tokens)
        if not seconds:
            self.spend(key, tokens)
        return seconds

    def spend(self, key: object, tokens: int = 1) -> None:
        """Take tokens for what has happened already, there or not; nobody owes more than a bucket full."""
        if not self._size or not tokens:
            return
        left = max(self._tokens(key) - tokens, -float(self._size))
        self._kept[key] = (left, self._clock.now())
        self._kept.move_to_end(key)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)

    def _tokens(self, key: object) -> float:
        found = self._kept.get(key)
        if found is None:
            return float(self._size)
        # A clock that is set back brings nothing, and takes nothing.
        return min(float(self._size), found[0] + max(0.0, self._clock.now() - found[1]) * self._second)


def wait_words(seconds: float) -> str:
    """A waiting time for a stranger, rounded up: `20 s`, `5 min`, `3 h`."""
    if seconds <= 90:
        return f"{max(1, ceil(seconds))} s"
    if seconds <= 90 * 60:
        return f"{ceil(seconds / 60)} min"
    return f"{ceil(seconds / 3600)} h"
