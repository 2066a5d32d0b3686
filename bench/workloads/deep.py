"""A deep queue: the next hop is down, mail piles up; does that hurt, and does it drain when the next hop is back?

Lives here: filling, starting with it, asking for a summary, accepting beside it, draining it.
Does not live here: relaying with an empty queue (relay.py), by which draining is judged.
"""

from __future__ import annotations

import time
from functools import partial

from course import Column, Course, Workload, timed
from load import Load, LoadError, Sink, free_port
from meter import Meter, Peak, Sample
from server import DEEP, RELAY, Server, Setup
from workloads.relay import reached, relayed

_SIZE = 1024
_DRAIN_SECONDS = 20.0
_BURST = Load(0, 10_240, 20, True)


class Deep(Workload):
    name = "deep"
    title = "Deep queue, next hop down"
    method = (
        "smtp-source fills the queue with messages of 1 KB over 20 sessions; the next hop refuses connections. "
        "Then, round by round: stop, start (until the greeting), the queue's summary as a postmaster asks for it "
        "(the command's whole time), bursts of 10 KB messages in turn with a server whose queue is empty and "
        "whose next hop is down as well. Then smtp-sink takes the next hop's place, everything is told to go now, "
        "and draining is watched for {drain:g} s. Relay: 1 KB messages through an empty queue. Nothing is "
        "missing: arrived + still queued >= sent."
    )
    columns = (
        Column("depth", "messages"),
        Column("fill", "filled at messages/s"),
        Column("start", "start s", 2),
        Column("summary", "summary s", 2),
        Column("empty", "accept/s, empty"),
        Column("rate", "accept/s, deep"),
        Column("fall", "falls by %", 1),
        Column("memory", "most PSS MiB"),
        Column("drain", "drains at messages/s"),
        Column("relay", "relay/s, empty"),
        Column("drained", "drain / relay", 2),
    )
    needs = frozenset({RELAY, DEEP})
    rounds_in_all = 1

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        for peer in peers:
            depth = course.extent.depth if peer.name.startswith("glasspost") else course.extent.depth // 10
            case = f"{course.extent.depth:,} (a peer: a tenth)"
            course.attempt(self.name, case, peer.name, partial(self.once, course, peer, depth))

    def once(self, course: Course, peer: type[Server], depth: int) -> Sample:
        relay = self._relay(course, peer)
        dead = free_port()
        deep = peer(course.place(peer), Setup(RELAY, target=dead))
        empty = peer(course.place(peer), Setup(RELAY, target=free_port()))
        sample = Sample({"depth": float(depth), "relay": relay})
        with deep:
            sample.figures["fill"] = _fill(deep, depth)
        if (waiting := deep.stored()) != depth:
            raise LoadError(f"sent {depth}, in the queue {waiting}")
        sample.figures |= self._beside(course, deep, empty)
        sample.figures |= self._drain(deep, dead, sample)
        sample.figures["drained"] = sample.figures["drain"] / relay
        return sample

    def _relay(self, course: Course, peer: type[Server]) -> float:
        """Messages/s through an empty queue."""
        place = course.place(peer)
        with Sink(course.directory) as sink, peer(place, Setup(RELAY, target=sink.port)) as server:
            return relayed(server, Load(course.extent.messages, _SIZE, 20, True), sink).figures["rate"]

    def _beside(self, course: Course, deep: Server, empty: Server) -> dict[str, float]:
        """Start, summary, and bursts in turn: medians."""
        starts, summaries, rates, compared, memory = [], [], [], [], 0.0
        for _ in range(max(2, course.extent.rounds)):
            with empty:
                compared.append(_rate(course, empty))
            with deep:
                starts.append(deep.start_seconds)
                begun = time.monotonic()
                if (waiting := deep.summary()) < deep.sent:
                    raise LoadError(f"the summary says {waiting}, sent were {deep.sent}")
                summaries.append(time.monotonic() - begun)
                with Peak(deep) as peak:
                    rates.append(_rate(course, deep))
                memory = max(memory, peak.highest)
        middle = {"start": starts, "summary": summaries, "empty": compared, "rate": rates}
        figures = {name: sorted(values)[len(values) // 2] for name, values in middle.items()}
        falls = sorted(100 * (1 - ours / theirs) for ours, theirs in zip(rates, compared, strict=True))
        return figures | {"fall": falls[len(falls) // 2], "memory": memory}

    def _drain(self, deep: Server, port: int, sample: Sample) -> dict[str, float]:
        """From the first arrival on, for a while or until all is gone."""
        with deep, Peak(deep) as peak, Sink(deep.directory, port) as sink:
            deep.deliver_now()
            if not reached(lambda: sink.count > 0, 120):
                raise LoadError("nothing was delivered within 120 s of telling it to")
            meter, first = Meter(deep), sink.count
            reached(lambda: sink.count >= deep.sent, _DRAIN_SECONDS)
            rate = (sink.count - first) / meter.elapsed()
            deep.stop()
            arrived = sink.count
        left = deep.stored()
        if arrived + left < deep.sent or not arrived:
            sample.fault = f"sent {deep.sent}, arrived {arrived}, still queued {left}"
        return {"drain": rate, "memory": max(sample.figures["memory"], peak.highest)}


def _fill(server: Server, depth: int) -> float:
    """In ten parts, so that somebody who waits sees it move. Messages/s."""
    begun = time.monotonic()
    for part in range(10):
        count = depth // 10 if part < 9 else depth - 9 * (depth // 10)
        seconds = timed(server, Load(count, _SIZE, 20, True), 600)
        print(f"  filling {server.name}: {server.sent:,} of {depth:,}, {count / seconds:.0f}/s", flush=True)
    return depth / (time.monotonic() - begun)


def _rate(course: Course, server: Server) -> float:
    load = course.burst(server, _BURST)
    return load.messages / timed(server, load)
