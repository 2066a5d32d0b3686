"""The names of things: queue ids and conversation ids.

Lives here: how an id is made, written and read. Both kinds are numbers that grow with time (microseconds since 2024,
51 bits, enough until 2095), so that stores stay in order of arrival and no id comes twice, not even after a restart.
In text they are Crockford's base 32 behind a letter: `q0c5jz0k3w1a` is a message, `c0c5jz0k3w1b` a conversation.
A text can be read over the telephone: no i, l, o, u.
"""

from __future__ import annotations

import time

_EPOCH = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z in microseconds
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_WIDTH = 11  # 51 bits, five at a time, rounded up
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)} | {"i": 1, "l": 1, "o": 0}
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]


class IdSource:
    """Makes ids that never come twice within one process, and grow.

    `floor` is the largest id already used (from the store), so that a clock set back cannot make an old id again.
    """

    def __init__(self, floor: int = 0) -> None:
        self._last = floor

    def next(self) -> int:
        """The next id: the present microsecond, or one more than the last."""
        now = time.time_ns() // 1000 - _EPOCH
        self._last = now if now > self._last else self._last + 1
        return self._last


def write_id(letter: str, number: int) -> str:
    """The public text of an id: `q` for a message in the queue, `c` for a conversation."""
    return (
        letter
        + _DIGITS[number >> 50 & 31]
        + _PAIRS[number >> 40 & 1023]
        + _PAIRS[number >> 30 & 1023]
        + _PAIRS[number >> 20 & 1023]
        + _PAIRS[number >> 10 & 1023]
        + _PAIRS[number & 1023]
    )


def read_id(text: str) -> tuple[str, int] | None:
    """The kind ("q" or "c") and number of an id as a person typed it, or None where it is none."""
    cleaned = text.strip().lower()
    if len(cleaned) != _WIDTH + 1 or cleaned[0] not in "qc":
        return None
    number = 0
    for digit in cleaned[1:]:
        value = _VALUES.get(digit)
        if value is None:
            return None
        number = number << 5 | value
    return cleaned[0], number
