"""Handshakes that failed before anything was said: which of them go on record.

Lives here: counting them, so that a flood of them does not push real conversations out of a bounded record.
Does not live here: the handshake (connection.py), the record (storage/transcripts.py), limits on connections
(inbound/limits.py, inbound/rates.py).
"""

from __future__ import annotations

from glasspost.clock import Clock, SystemClock

RECORDED = 60  # in a minute; a device with a wrong setting tries far less often
_PERIOD = 60.0  # seconds


class FailedHandshakes:
    """One for a node. It remembers two numbers, however many fail."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._began = float("-inf")
        self._count = 0
        self._passed_over = 0

    def words(self, error: Exception) -> str:
        """What to put on record of one that has just failed; empty where there have been enough for now."""
        now = self._clock.now()
        if not 0 <= now - self._began < _PERIOD:
            self._began, self._count = now, 0
        self._count += 1
        if self._count > RECORDED:
            self._passed_over += 1
            return ""
        before, self._passed_over = self._passed_over, 0
        more = f" ({before} more before this one are not on record)" if before else ""
        return f"TLS failed: {str(error) or type(error).__name__}{more}"
