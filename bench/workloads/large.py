"""Large messages: 50 MB in, out, and over POP3. What do they cost in memory, and who waits for them?

Lives here: the three ways, four messages at a time on each.
Does not live here: the rate of 25 MB messages (accept.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from course import Column, Course, Workload
from load import Load, LoadError, Program, Sink, finish, free_port, run_program
from meter import Peak, Sample
from server import DEEP, LOCAL, RELAY, Server, Setup, box
from workloads.relay import reached

_SIZE = 50_000_000
_AT_ONCE = 4
_LIMIT = 120.0


class Large(Workload):
    name = "large"
    title = "Messages of 50 MB"
    method = (
        "Four at a time: into the queue, out of it to smtp-sink, and out of four mailboxes over POP3. Meanwhile "
        "two sessions of programs/probe.py wait for replies, one to NOOP, one to small messages. Memory: PSS of "
        "all the server's processes at its highest, looked at a hundred times a second, over what it was before, "
        "divided by four. Nothing large: what the probes find without any of it, the machine's own hiccups. All "
        "arrived, octets fetched = octets announced."
    )
    columns = (
        Column("memory", "MiB more, each", 1),
        Column("wait", "longest wait ms", 1),
        Column("noop", "of NOOP ms", 1),
        Column("message", "of a small message ms", 1),
        Column("mb", "MB/s"),
    )
    peers = ("glasspost", "postfix", "postfix+dovecot")

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        for _ in course.rounds:
            for peer in peers:
                if {RELAY, DEEP} <= peer.does:
                    self._in_and_out(course, peer)
            for peer in peers:
                if LOCAL in peer.does:
                    course.attempt(self.name, "over POP3", peer.name, partial(self._pop3, course, peer))

    def _in_and_out(self, course: Course, peer: type[Server]) -> None:
        hop = free_port()
        with peer(course.place(peer), Setup(RELAY, target=hop)) as server:
            finish(Load(20, 10_240, 5, True).start(server.port), 60)
            server.sent = 20
            course.attempt(self.name, "nothing large", peer.name, partial(self._nothing, server))
            course.attempt(self.name, "in", peer.name, partial(self._in, server))
            course.attempt(self.name, "out", peer.name, partial(self._out, course, server, hop))

    def _nothing(self, server: Server) -> Sample:
        """What the probes find where nothing is in their way: the machine's own part in a wait."""
        sample = Sample()
        with _watched(server, sample, "b@dst.test"):
            time.sleep(1.5)
        server.sent += int(sample.figures.pop("messages"))
        del sample.figures["mb"]
        return sample

    def _in(self, server: Server) -> Sample:
        sample = Sample()
        with _watched(server, sample, "b@dst.test") as done:
            finish(Load(_AT_ONCE, _SIZE, _AT_ONCE, False).start(server.port), _LIMIT)
            done()
        server.sent += _AT_ONCE + int(sample.figures.pop("messages"))
        if (stored := server.stored()) != server.sent:
            sample.fault = f"sent {server.sent}, stored {stored}"
        return sample

    def _out(self, course: Course, server: Server, hop: int) -> Sample:
        """Everything waits, small ones as well; the next hop comes up, and all is told to go."""
        sample = Sample()
        with Sink(course.directory, hop) as sink, _watched(server, sample, "b@dst.test") as done:
            server.deliver_now()
            if not reached(lambda: sink.count >= server.sent, _LIMIT):
                raise LoadError(f"{sink.count} of {server.sent} arrived within {_LIMIT:.0f} s")
            done()
        sample.figures.pop("messages")
        return sample

    def _pop3(self, course: Course, peer: type[Server]) -> Sample:
        sample = Sample()
        with peer(course.place(peer), Setup(LOCAL, boxes=_AT_ONCE + 1)) as server:
            loads = [Load(1, _SIZE, 1, False).start(server.port, box(number)) for number in range(1, _AT_ONCE + 1)]
            for load in loads:
                finish(load, _LIMIT)
            if not reached(server.at_rest, _LIMIT):
                raise LoadError("not in the mailboxes in time")
            time.sleep(1)
            with _watched(server, sample, box(_AT_ONCE + 1)) as done:
                found = run_program("reader", _LIMIT, server.pop3_port, "--boxes", _AT_ONCE)
                done()
        sample.figures.pop("messages")
        if found["messages"] != _AT_ONCE or found["octets"] != found["announced"]:
            sample.fault = f"fetched {found['messages']}, {found['octets']} of {found['announced']} octets"
        return sample


@contextmanager
def _watched(server: Server, sample: Sample, recipient: str) -> Iterator[Callable[[], None]]:
    """Probes and memory beside what happens in the block. Call what is yielded when the transfer is over."""
    ended = 0.0

    def done() -> None:
        nonlocal ended
        ended = time.monotonic()

    with Program("probe", server.port, recipient) as probe:
        time.sleep(0.5)
        with Peak(server) as peak:
            begun = time.monotonic()
            yield done
        probe.tell_to_end()
        waits = probe.result(60)
    sample.figures |= {
        "memory": peak.extra / _AT_ONCE,
        "wait": max(waits["noop"], waits["message"]),
        "noop": waits["noop"],
        "message": waits["message"],
        "mb": _AT_ONCE * _SIZE / 1e6 / ((ended or time.monotonic()) - begun),
        "messages": waits["messages"],
    }
