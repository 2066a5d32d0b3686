"""What the measurements are held against: the targets, as a table.

Lives here: each target, and whether it is met.
Does not live here: how anything is measured (workloads/), how it looks (report.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from course import Found

OURS = "glasspost"


@dataclass(frozen=True, slots=True)
class Target:
    """`peer` named: our figure divided by the peer's, round by round. No peer: our figure itself."""

    workload: str
    case: str
    figure: str
    words: str
    limit: float
    at_most: bool = False
    peer: str = ""

    def values(self, found: Found) -> list[float]:
        """One value for each round in which both have a figure."""
        peers = found.get(self.case, {})
        ours = peers.get(OURS, ())
        theirs = peers.get(self.peer, ()) if self.peer else ours
        pairs = [(a.figures.get(self.figure), b.figures.get(self.figure)) for a, b in zip(ours, theirs, strict=False)]
        if not self.peer:
            return [a for a, _ in pairs if a is not None]
        return [a / b for a, b in pairs if a is not None and b]

    def met(self, values: Sequence[float]) -> bool:
        return median(values) <= self.limit if self.at_most else median(values) >= self.limit

    @property
    def bound(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g}"


def _ratio(workload: str, case: str, peer: str, limit: float) -> Target:
    return Target(workload, case, "rate", f"rate / {peer}'s", limit, peer=peer)


def _cpu(workload: str, case: str, peer: str, limit: float) -> Target:
    return Target(workload, case, "cpu", f"CPU / {peer}'s", limit, at_most=True, peer=peer)


def _own(workload: str, case: str, figure: str, words: str, limit: float, at_most: bool = True) -> Target:
    return Target(workload, case, figure, words, limit, at_most)


_REUSED, _EACH = "10 KB, 20 sessions, reuse", "10 KB, 20 sessions, new connection each"
_DEEP = "1,000,000 (a peer: a tenth)"

TARGETS = (
    _ratio("accept", _REUSED, "postfix", 4.0),
    _cpu("accept", _REUSED, "postfix", 0.25),
    _ratio("accept", _REUSED, "sink", 0.5),
    _ratio("accept", _EACH, "postfix", 2.5),
    _ratio("accept", "10 KB, 1 session, reuse", "postfix", 1.3),
    _ratio("accept", "100 KB, 20 sessions, reuse", "postfix", 1.3),
    _ratio("relay", _REUSED, "postfix", 4.0),
    _cpu("relay", _REUSED, "postfix", 0.25),
    _ratio("local", "10 KB", "postfix+dovecot", 3.0),
    _ratio("fanout", "10 KB", "postfix", 3.0),
    _own("idle", "plain", "kib", "KiB for each idle session, plain", 8.0),
    _own("idle", "TLS", "kib", "KiB for each idle session, TLS", 25.0),
    _own("deep", _DEEP, "fall", "accept rate falls by, %", 15.0),
    _own("deep", _DEEP, "memory", "PSS MiB", 300.0),
    _own("deep", _DEEP, "start", "start, s", 10.0),
    _own("deep", _DEEP, "summary", "summary, s", 1.0),
    _own("deep", _DEEP, "drained", "drains at the relay rate: drain / relay", 0.9, at_most=False),
    *(
        target
        for case in ("in", "out", "over POP3")
        for target in (
            _own("large", case, "memory", "MiB more for each message", 16.0),
            _own("large", case, "wait", "another session's longest wait, ms", 50.0),
        )
    ),
)
