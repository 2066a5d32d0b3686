"""Idle sessions: what one that says EHLO and then nothing costs in memory.

Lives here: weighing a server before and under many of them, plain and over TLS.
Does not live here: opening and holding them (idle.py beside run.py), sessions that are slow (accept.py).
"""

from __future__ import annotations

import time
from functools import partial

from course import Column, Course, Workload
from idle import IdleSessions
from load import Load, finish, wait_for_greeting
from meter import Sample
from server import TLS, Server, Setup

_FEWER = {"postfix": 10, "sink": 5, "exim": 10, "opensmtpd": 50}  # a process each, or refused beyond: this part of them


class Idle(Workload):
    name = "idle"
    title = "Idle sessions"
    method = (
        "Sessions say EHLO (over TLS: EHLO, STARTTLS, EHLO) and then nothing. PSS of all the server's processes "
        "before and under them; kernel memory is not in it. Every session is held, and the server greets one "
        "more. One measurement each."
    )
    columns = (
        Column("kib", "KiB/session", 1),
        Column("sessions", "sessions"),
        Column("before", "PSS MiB before", 1),
        Column("under", "PSS MiB under them", 1),
        Column("processes", "processes"),
    )
    peers = ("glasspost", "postfix", "aiosmtpd")
    rounds_in_all = 1

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        for secure in (False, True):
            for peer in peers:
                if not secure or TLS in peer.does:
                    sessions = course.extent.sessions // _FEWER.get(peer.name, 1)
                    case = "TLS" if secure else "plain"
                    course.attempt(self.name, case, peer.name, partial(self.once, course, peer, sessions, secure))

    def once(self, course: Course, peer: type[Server], sessions: int, secure: bool) -> Sample:
        setup = Setup(sessions=sessions, identity=course.identity() if secure else None)
        with peer(course.place(peer), setup) as server:
            finish(Load(50, 1024, 5, reuse=False).start(server.port), 60)
            with IdleSessions(server.port, 20, secure):  # what the first ones cost is not counted
                pass
            time.sleep(1)
            before, _ = server.memory()
            with IdleSessions(server.port, sessions, secure):
                time.sleep(1.5)
                under, processes = server.memory()
                wait_for_greeting(server.port, 10)
        figures = {"kib": (under - before) * 1024 / sessions, "sessions": float(sessions), "before": before}
        return Sample(figures | {"under": under, "processes": float(processes)})
