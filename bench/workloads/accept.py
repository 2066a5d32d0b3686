"""Accepting mail: it comes in, is stored, and stays. The clock stops with the last 250.

Lives here: the sizes, the numbers of sessions, one connection for each message or for many; with and without TLS, with
and without transcripts.
Does not live here: mail that goes on (relay.py), senders that are slow (slow.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from course import RATES, Column, Course, Workload, timed
from load import Load, run_program
from meter import Meter, Sample
from server import TLS, Server, Setup

_NAMES = {1024: "1 KB", 10_240: "10 KB", 102_400: "100 KB", 26_214_400: "25 MB"}


def case(load: Load) -> str:
    sessions = "1 session" if load.sessions == 1 else f"{load.sessions} sessions"
    return f"{_NAMES[load.size]}, {sessions}, {'reuse' if load.reuse else 'new connection each'}"


def _load(size: int, sessions: int, reuse: bool) -> Load:
    return Load(0, size, sessions, reuse)


class Accept(Workload):
    name = "accept"
    title = "Accept"
    method = (
        "smtp-source sends, the server stores and keeps. Bursts of {seconds:g} s; in each round all servers are "
        "started afresh and get each burst one after the other. The clock stops with the last 250. Sent = stored. "
        "aiosmtpd and smtp-sink keep nothing, OpenSMTPD does not fsync: they are limits, not comparisons."
    )
    peers: Sequence[str] = ("glasspost", "postfix", "sink", "exim", "opensmtpd", "aiosmtpd")
    loads: Sequence[Load] = (
        _load(10_240, 20, True),
        _load(10_240, 20, False),
        _load(10_240, 1, True),
        _load(102_400, 20, True),
        _load(26_214_400, 4, True),
    )

    def setup(self, course: Course) -> Setup:
        return Setup()

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        for _ in course.rounds:
            with course.servers(self.name, peers, self.setup(course)) as servers:
                for load in self.loads:
                    for server in servers:
                        course.attempt(self.name, case(load), server.name, partial(self.once, course, server, load))

    def once(self, course: Course, server: Server, load: Load) -> Sample:
        load = course.burst(server, load)
        time.sleep(0.3)  # let it finish what it does behind our back, or it is charged to the burst
        meter = Meter(server)
        timed(server, load)
        sample = meter.read(load.messages)
        return verified(server, sample)


class Grid(Accept):
    name = "grid"
    title = "Accept, all sizes and sessions"
    peers = ("glasspost", "postfix", "sink")
    rounds_in_all = 1
    loads = tuple(
        _load(size, sessions, reuse)
        for reuse in (True, False)
        for size in (1024, 10_240, 102_400)
        for sessions in (1, 20, 100)
    )


class Transcripts(Accept):
    name = "transcripts"
    title = "Transcripts on and off"
    peers = ("glasspost", "glasspost-silent")
    loads = (_load(10_240, 20, True), _load(10_240, 20, False))


@dataclass(frozen=True)
class _Secure:
    """A burst over TLS, by the bench's own generator."""

    sessions: int
    reuse: bool

    def __str__(self) -> str:
        return f"10 KB, {self.sessions} sessions, STARTTLS, {'reuse' if self.reuse else 'new connection each'}"


class Tls(Accept):
    name = "tls"
    title = "Accept over TLS"
    method = (
        "As accept, with STARTTLS and one P-256 certificate for all; the generator is programs/source.py, which "
        "pipelines and costs more than smtp-source. No session is resumed. p99: of the wait for the final 250. "
        "Sent = stored."
    )
    peers = ("glasspost", "postfix", "aiosmtpd")
    needs = frozenset({TLS})
    columns = (*RATES, Column("p99", "p99 ms", 1))

    def setup(self, course: Course) -> Setup:
        return Setup(identity=course.identity())

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        for _ in course.rounds:
            with course.servers(self.name, peers, self.setup(course)) as servers:
                for secure in (_Secure(20, True), _Secure(20, False)):
                    for server in servers:
                        work = partial(self.secure, course, server, secure)
                        course.attempt(self.name, str(secure), server.name, work)

    def secure(self, course: Course, server: Server, secure: _Secure) -> Sample:
        options = ["--sessions", secure.sessions, "--starttls", *(["--reuse"] if secure.reuse else [])]
        warm = run_program("source", 120, server.port, "--messages", 100, *options)
        messages = int(max(40, warm["messages"] / warm["seconds"] * course.extent.seconds))
        time.sleep(0.3)
        meter = Meter(server)
        found = run_program("source", 120, server.port, "--messages", messages, *options)
        sample = meter.read(messages)
        server.sent += warm["messages"] + found["messages"]
        sample.figures |= {"rate": messages / found["seconds"], "p99": found["p99"]}
        return verified(server, sample)


def verified(server: Server, sample: Sample) -> Sample:
    """All that was ever sent to this server must be stored there."""
    deadline = time.monotonic() + 2
    while (stored := server.stored()) != server.sent and time.monotonic() < deadline:
        time.sleep(0.2)  # smtp-sink prints its count a moment later
    if stored != server.sent:
        sample.fault = f"sent {server.sent}, stored {stored}"
        server.sent = stored  # the next burst is judged by itself
    return sample
