"""The three measurements: accept, relay, memory.

Lives here: what is done to one server in one round, and which counts must agree before a figure counts.
Does not live here: the order of rounds (run.py), the table (report.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import machine
from load import IdleSessions, Load, LoadError, Sink, finish
from server import Server

_LIMIT = 300.0  # seconds for one burst


@dataclass(frozen=True, slots=True)
class Run:
    """One burst at one server. CPU in seconds per 1000 messages, flushes per message (None: not readable)."""

    seconds: float
    rate: float
    cpu: float  # the server's processes
    machine_cpu: float  # the whole machine: server, generator, target, kernel, everybody else
    flushes: float | None
    accepted_after: float  # seconds until the generator had its last 250
    fault: str  # which count does not agree; "" if all do


@dataclass(frozen=True, slots=True)
class Weight:
    """Memory of a server holding `sessions` idle sessions."""

    sessions: int
    mib: float
    processes: int


class _Meter:
    """Readings before a burst, and what has become of them after."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._flushes = machine.flushes(server.directory)
        self._busy, self._cpu = machine.busy_seconds(), server.tree.cpu_seconds()
        self._start = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def read(self, messages: int, accepted_after: float) -> Run:
        seconds = self.elapsed()
        cpu = self._server.tree.cpu_seconds() - self._cpu
        busy = machine.busy_seconds() - self._busy
        flushes = machine.flushes(self._server.directory)
        per_message = None
        if flushes is not None and self._flushes is not None:
            per_message = (flushes - self._flushes) / messages
        thousands = messages / 1000
        rate = messages / seconds
        return Run(seconds, rate, cpu / thousands, busy / thousands, per_message, accepted_after, "")


def accept(server: Server, load: Load) -> Run:
    """Mail comes in and stays. The clock stops with the last 250."""
    _warm_up(server, load)
    before = server.stored()
    time.sleep(0.5)  # let it finish what it does behind our back, or it is charged to the burst
    meter = _Meter(server)
    finish(load.start(server.port), _LIMIT)
    run = meter.read(load.messages, meter.elapsed())
    stored = server.stored() - before
    fault = f"sent {load.messages}, stored {stored}"
    return replace(run, fault="" if stored == load.messages else fault)


def relay(server: Server, load: Load, sink: Sink) -> Run:
    """Mail comes in and goes on. The clock stops when the target has the last message."""
    warm = _warm_up(server, load)
    _arrive(sink, warm, time.monotonic() + 60)
    time.sleep(0.5)
    meter = _Meter(server)
    source = load.start(server.port)
    accepted_after = 0.0
    try:
        while sink.count < warm + load.messages and meter.elapsed() < _LIMIT:
            if not accepted_after and source.poll() is not None:
                accepted_after = meter.elapsed()
            time.sleep(0.01)
    finally:
        run = meter.read(load.messages, accepted_after or meter.elapsed())
        finish(source, 5)
    left = _left_behind(server)
    arrived = sink.count - warm
    fault = f"sent {load.messages}, arrived {arrived}, left in the queue {left}"
    return replace(run, fault="" if (arrived, left) == (load.messages, 0) else fault)


def memory(server: Server, sessions: list[int]) -> list[Weight]:
    """Weighed after a little work, then under each number of idle sessions."""
    finish(Load(50, 1024, 5, reuse=False).start(server.port), 60)
    time.sleep(1)
    weights = [Weight(0, *server.tree.memory())]
    for count in sessions:
        with IdleSessions(server.port, count):
            time.sleep(1.5)
            weights.append(Weight(count, *server.tree.memory()))
        time.sleep(2)  # the sessions' ends are worked off before the next are opened
    return weights


def _warm_up(server: Server, load: Load) -> int:
    """The same load, smaller, so that processes are forked and files are open before the clock runs."""
    messages = max(200, 10 * load.sessions)
    finish(load.with_messages(messages).start(server.port), _LIMIT)
    return messages


def _arrive(sink: Sink, count: int, deadline: float) -> None:
    while sink.count < count:
        if time.monotonic() > deadline:
            raise LoadError(f"only {sink.count} of {count} warm-up messages arrived at the target")
        time.sleep(0.02)


def _left_behind(server: Server) -> int:
    """What is still in the queue once the target has everything. Removal may lag a little behind delivery."""
    deadline = time.monotonic() + 10
    while (left := server.stored()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left
