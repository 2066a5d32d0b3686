"""Slow senders: sessions that drip their messages. Does anybody else notice?

Lives here: ordinary mail alone and beside them.
Does not live here: sessions that say nothing at all (idle.py).
"""

from __future__ import annotations

import time
from functools import partial

from course import RATES, Column, Course, Workload
from load import LoadError, Program, run_program
from meter import Meter, Sample
from server import Server, Setup
from workloads.accept import verified


class Slow(Workload):
    name = "slow"
    title = "Beside slow senders"
    method = (
        "20 sessions send 10 KB messages, alone and beside {slow} sessions that each drip a message of 1 MB at 2 "
        "KB/s. programs/source.py sends both. p99 and longest: of the wait for the final 250. Sent = stored."
    )
    columns = (*RATES, Column("p99", "p99 ms", 1), Column("longest", "longest ms", 1))
    slow = 200

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        for _ in course.rounds:
            with course.servers(self.name, peers, Setup(sessions=self.slow + 100)) as servers:
                for server in servers:
                    course.attempt(self.name, "alone", server.name, partial(self.once, course, server))
                for server in servers:
                    drip = ["--sessions", self.slow, "--drip", 2048, "--size", 1 << 20]
                    with Program("source", server.port, *drip) as slow:
                        time.sleep(1.5)
                        if not slow.running:
                            raise LoadError(f"{server.name} does not bear {self.slow} slow senders")
                        case = f"beside {self.slow} slow senders"
                        course.attempt(self.name, case, server.name, partial(self.once, course, server))
                    time.sleep(0.5)

    def once(self, course: Course, server: Server) -> Sample:
        options = ["--sessions", 20, "--reuse"]
        warm = run_program("source", 120, server.port, "--messages", 200, *options)
        messages = int(max(200, warm["messages"] / warm["seconds"] * course.extent.seconds))
        meter = Meter(server)
        found = run_program("source", 120, server.port, "--messages", messages, *options)
        sample = meter.read(messages)
        server.sent += warm["messages"] + found["messages"]
        sample.figures |= {name: found[name] for name in ("p99", "longest")}
        sample.figures["rate"] = messages / found["seconds"]
        return verified(server, sample)
