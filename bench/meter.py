"""Readings around a burst: what it cost the server, and what the machine did meanwhile.

Lives here: the clock, CPU time, flushes; the peak of memory; one round's figures as the report takes them.
Does not live here: what a burst is (workloads/), how the kernel is asked (machine.py, processes.py).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

import machine
from server import Server


@dataclass(slots=True)
class Sample:
    """One round's figures of one server, by name. `fault`: which count does not agree; "" if all do."""

    figures: dict[str, float] = field(default_factory=dict)
    fault: str = ""


class Meter:
    """Readings before a burst, and what has become of them after."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._flushes = machine.flushes(server.directory)
        self._busy, self._cpu = machine.busy_seconds(), server.cpu_seconds()
        self._start = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def read(self, messages: int) -> Sample:
        """`rate` in messages/s; `cpu` (the server's processes) and `machine` (everything, the generator and whoever
        else is at work included) in seconds per 1000 messages; `flushes` per message, of the whole disk."""
        seconds = self.elapsed()
        cpu = self._server.cpu_seconds() - self._cpu
        busy = machine.busy_seconds() - self._busy
        flushes = machine.flushes(self._server.directory)
        thousands = messages / 1000
        figures = {"rate": messages / seconds, "cpu": cpu / thousands, "machine": busy / thousands}
        if flushes is not None and self._flushes is not None:
            figures["flushes"] = (flushes - self._flushes) / messages
        return Sample(figures)


class Peak:
    """The most memory that a server has while the `with` block runs, over what it had before: looked at a hundred
    times a second."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before, _ = server.memory()
        self.highest = self.before

    @property
    def extra(self) -> float:
        """MiB."""
        return self.highest - self.before

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            mib, _ = self._server.memory()
            self.highest = max(self.highest, mib)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
