"""What was measured, for a reader: medians with their ranges, ratios pair by pair, targets met or not.

Lives here: tables on the screen, in Markdown, and as JSON.
Does not live here: any measuring (workloads/), where on a page a table goes (pages.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from course import Column, Extent, Found, Workload
from meter import Sample
from targets import OURS, TARGETS


@dataclass(slots=True)
class Report:
    """What one run has found of one workload, and under which circumstances."""

    workload: Workload
    found: Found
    extent: Extent
    facts: dict[str, str]  # date, machine, versions
    peers: Sequence[str]
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        return [
            f"{self.workload.name}: {case}, {peer}, round {number}: {sample.fault}"
            for case, peers in self.found.items()
            for peer, samples in peers.items()
            for number, sample in enumerate(samples, 1)
            if sample.fault
        ]

    def plain(self) -> str:
        tables = [_aligned(rows) for rows in self._tables()]
        return "\n\n".join([self.workload.title, *tables, self._verdict()])

    def markdown(self) -> str:
        facts = "\n".join(f"- {key}: {value}" for key, value in (self.facts | {"Method": self._method()}).items())
        return "\n\n".join([facts, *(_piped(rows) for rows in self._tables()), self._verdict()])

    def json(self) -> dict[str, Any]:
        found = {
            case: {peer: [asdict(sample) for sample in samples] for peer, samples in peers.items()}
            for case, peers in self.found.items()
        }
        return {"workload": self.workload.name, "facts": self.facts, "extent": asdict(self.extent), "found": found}

    def _method(self) -> str:
        values = {
            "seconds": self.extent.seconds,
            "messages": f"{self.extent.messages:,}",
            "box": f"{self.extent.box:,}",
            "fanout": max(2, self.extent.messages // 250),
            "slow": getattr(self.workload, "slow", 0),
            "boxes": getattr(self.workload, "boxes", 0),
            "drain": 20,
            "shares": ", ".join(f"{peer} {share:g}" for peer, share in self.shares.items() if share < 1) or "none here",
        }
        rounds = max((len(samples) for peers in self.found.values() for samples in peers.values()), default=0)
        spread = f" {rounds} rounds, the servers in turn; median [min-max]." if rounds > 1 else " One round."
        return self.workload.method.format(**values) + spread

    def _tables(self) -> list[list[list[str]]]:
        return [rows for rows in (self._figures(), self._ratios(), self._targets()) if len(rows) > 1]

    def _figures(self) -> list[list[str]]:
        columns = self._columns()
        rows = [["", "", *(column.title for column in columns)]]
        for case, peers in self.found.items():
            for peer in (one for one in self.peers if one in peers):
                cells = [_cell(peers[peer], column) for column in columns]
                rows.append([case, peer, *cells])
                case = ""
        return rows

    def _columns(self) -> list[Column]:
        """Those of which there is any figure."""
        samples = [one for peers in self.found.values() for rounds in peers.values() for one in rounds]
        return [column for column in self.workload.columns if any(column.figure in one.figures for one in samples)]

    def _ratios(self) -> list[list[str]]:
        """Ours to each other's, round by round: what the rounds have in common falls out."""
        kinds = [
            one for one in ("rate", "cpu", "machine") if one in {column.figure for column in self.workload.columns}
        ]
        names = {"rate": "rate", "cpu": "CPU", "machine": "machine CPU"}
        rows = [["", "divided by", *(names[kind] for kind in kinds)]]
        for case, peers in self.found.items():
            ours = peers.get(self.peers[0], [])
            for peer in (one for one in self.peers[1:] if one in peers):
                cells = [_spread(_quotients(ours, peers[peer], kind), 2) for kind in kinds]
                if any(cells):
                    rows.append([f"{case}: {self.peers[0]}", peer, *cells])
        return rows if kinds else []

    def _targets(self) -> list[list[str]]:
        rows = [["target", "", "wanted", "measured", "met"]]
        for target in TARGETS:
            if target.workload == self.workload.name and OURS in self.peers:
                values = target.values(self.found)
                if values:
                    verdict = "yes" if target.met(values) else "**no**"
                    rows.append([target.case, target.words, target.bound, _spread(values, 2), verdict])
        return rows

    def _verdict(self) -> str:
        if not self.faults:
            return "All counts agree."
        return "Counts DISAGREE, or there is no figure:\n\n" + "\n".join(f"- {fault}" for fault in self.faults)


def _quotients(ours: Sequence[Sample], theirs: Sequence[Sample], figure: str) -> list[float]:
    pairs = [(a.figures.get(figure), b.figures.get(figure)) for a, b in zip(ours, theirs, strict=False)]
    return [a / b for a, b in pairs if a is not None and b]


def _cell(samples: Sequence[Sample], column: Column) -> str:
    return _spread([one.figures[column.figure] for one in samples if column.figure in one.figures], column.digits)


def _spread(values: Sequence[float], digits: int) -> str:
    """Median, and the range it comes from; one value stands alone."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _piped(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * 2 + "|---:" * (len(rows[0]) - 2) + "|", *lines[1:]])
