"""Relaying: mail comes in and goes on. The clock stops when the target has the last message.

Lives here: many messages to one next hop; one message to a thousand recipients of fifty domains.
Does not live here: a queue that cannot be relayed for a while (deep.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from course import RATES, Column, Course, Workload
from load import Ledger, Load, LoadError, Sink, finish, run_program
from meter import Meter, Sample
from server import DOMAINS, RELAY, Server, Setup

LIMIT = 300.0  # seconds for one burst


class Relay(Workload):
    name = "relay"
    title = "Relay"
    method = (
        "smtp-source sends {messages} messages of 10 KB over 20 sessions, reused; the server stores them and "
        "passes them on to smtp-sink. The clock runs from the first connection to the last arrival. Sent = "
        "arrived, queue empty. Exim, OpenSMTPD and Haraka get a part of the messages: {shares}."
    )
    columns = (*RATES, Column("accepted", "accepted after s", 2))
    peers = ("glasspost", "postfix", "exim", "opensmtpd")
    needs = frozenset({RELAY})

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        for number in course.rounds:
            for peer in peers:
                if number and peer.share < 0.5:
                    continue  # tens of seconds each, and far off: once is enough
                course.attempt(self.name, "10 KB, 20 sessions, reuse", peer.name, partial(self.once, course, peer))

    def once(self, course: Course, peer: type[Server]) -> Sample:
        messages = int(course.extent.messages * peer.share)
        place = course.place(peer)
        with (
            Sink(course.directory) as sink,
            peer(place, Setup(RELAY, target=sink.port)) as server,
        ):
            return relayed(server, Load(messages, 10_240, 20, True), sink)


def relayed(server: Server, load: Load, sink: Sink) -> Sample:
    """The load, after a smaller one, until the sink has all of it."""
    warm = max(100, load.messages // 20)
    finish(load.with_messages(warm).start(server.port), LIMIT)
    if not reached(lambda: sink.count >= warm, 60):
        raise LoadError(f"only {sink.count} of {warm} warm-up messages arrived")
    time.sleep(0.5)
    meter = Meter(server)
    source = load.start(server.port)
    accepted = 0.0

    def arrived() -> bool:
        nonlocal accepted
        if not accepted and source.poll() is not None:
            accepted = meter.elapsed()
        return sink.count >= warm + load.messages

    try:
        reached(arrived, LIMIT)
    finally:
        sample = meter.read(load.messages)
        finish(source, 5)
    sample.figures["accepted"] = accepted or meter.elapsed()
    left = left_behind(server)
    count = sink.count - warm
    if (count, left) != (load.messages, 0):
        sample.fault = f"sent {load.messages}, arrived {count}, left in the queue {left}"
    return sample


def reached(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def left_behind(server: Server) -> int:
    """What is still in the queue once the target has everything. Removal may lag a little behind delivery."""
    deadline = time.monotonic() + 10
    while (left := server.stored()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


class FanOut(Workload):
    name = "fanout"
    title = "One message, 1,000 recipients, 50 domains"
    method = (
        "programs/source.py sends {fanout} messages over 4 sessions, each to 1,000 recipients of 50 domains. "
        "Every domain has a next hop with an address of its own (127.0.1.N, by smarthost and by transport map: no "
        "DNS on either side); programs/ledger.py is behind all of them and counts recipients. The clock runs from "
        "the first connection to the last recipient. Each recipient got each message exactly once, queue empty. "
        "Per 1000: recipients."
    )
    columns = (
        Column("rate", "recipients/s"),
        Column("messages", "messages/s", 2),
        Column("cpu", "CPU s/1000", 3),
        Column("machine", "machine CPU s/1000", 3),
        Column("transactions", "transactions/message", 1),
        Column("accepted", "accepted after s", 2),
    )
    needs = frozenset({RELAY, DOMAINS})
    recipients, domains = 1000, 50

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        messages = max(2, course.extent.messages // 250)
        for _ in course.rounds:
            for peer in peers:
                course.attempt(self.name, "10 KB", peer.name, partial(self.once, course, peer, messages))

    def once(self, course: Course, peer: type[Server], messages: int) -> Sample:
        place = course.place(peer)
        with (
            Ledger(course.directory) as ledger,
            peer(place, Setup(RELAY, target=ledger.port, domains=self.domains)) as server,
        ):
            self._send(server, 1)
            if not reached(lambda: ledger.counts()[1] >= self.recipients, 60):
                raise LoadError(f"warm-up: {ledger.counts()[1]} of {self.recipients} recipients reached")
            left_behind(server)
            begun = ledger.counts()
            meter = Meter(server)
            sent = self._send(server, messages)
            wanted = (messages + 1) * self.recipients
            reached(lambda: ledger.counts()[1] >= wanted, LIMIT)
            sample = meter.read(messages * self.recipients)
            transactions, total, different, most = ledger.counts()
            sample.figures["messages"] = sample.figures["rate"] / self.recipients
            sample.figures["transactions"] = (transactions - begun[0]) / messages
            sample.figures["accepted"] = sent
            if (total, different, most, left_behind(server)) != (wanted, self.recipients, messages + 1, 0):
                sample.fault = f"{total} of {wanted} recipients, {different} different, one of them {most} times"
            return sample

    def _send(self, server: Server, messages: int) -> float:
        options = ["--recipients", self.recipients, "--domains", self.domains, "--sessions", min(4, messages)]
        found = run_program("source", LIMIT, server.port, "--messages", messages, "--reuse", *options)
        return float(found["seconds"])
