"""What was measured, for a reader: medians with their ranges, and ratios pair by pair.

Lives here: tables on the screen, in Markdown, and as JSON.
Does not live here: any measuring (measure.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from measure import Run, Weight


@dataclass(slots=True)
class Report:
    """Everything one run of the bench has found. `peers`: in the order of their runs, ours first."""

    date: str
    machine: str
    versions: dict[str, str]
    method: str
    peers: list[str]
    runs: dict[str, dict[str, list[Run]]] = field(default_factory=dict)  # measurement -> peer -> rounds
    weights: dict[str, list[Weight]] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        return [
            f"{what}: {peer}, round {number}: {run.fault}"
            for what, peers in self.runs.items()
            for peer, runs in peers.items()
            for number, run in enumerate(runs, 1)
            if run.fault
        ]

    def plain(self) -> str:
        return "\n".join(f"{title}\n{_aligned(rows)}\n" for title, rows in self._tables()) + self._verdict()

    def markdown(self) -> str:
        head = [f"- {key}: {value}" for key, value in self._facts()]
        tables = [f"## {title}\n\n{_piped(rows)}" for title, rows in self._tables()]
        return "\n\n".join(["# Bench", "\n".join(head), *tables, self._verdict()]) + "\n"

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def _facts(self) -> list[tuple[str, str]]:
        versions = "; ".join(self.versions.values())
        return [
            ("Date", self.date),
            ("Machine", self.machine),
            ("Versions", versions),
            ("Method", self.method),
        ]

    def _tables(self) -> list[tuple[str, list[list[str]]]]:
        tables = [(what, _rates(runs, self.peers)) for what, runs in self.runs.items()]
        if self.weights:
            tables.append(("memory", _memory(self.weights)))
        return tables

    def _verdict(self) -> str:
        return "\n".join(["Counts DISAGREE:", *self.faults] if self.faults else ["All counts agree."])


def _rates(runs: dict[str, list[Run]], peers: Sequence[str]) -> list[list[str]]:
    rows = [["", "messages/s", "CPU s/1000", "machine CPU s/1000", "flushes/message", "accepted after s"]]
    rows += [[peer, *_figures(runs[peer])] for peer in peers if peer in runs]
    first = peers[0]
    for other in peers[1:]:
        if first in runs and other in runs:
            pairs = list(zip(runs[first], runs[other], strict=False))
            rates = [ours.rate / theirs.rate for ours, theirs in pairs]
            cpu = [ours.cpu / theirs.cpu if theirs.cpu else float("nan") for ours, theirs in pairs]
            rows.append([f"{first} / {other}", _spread(rates, 2), _spread(cpu, 2), "", "", ""])
    return rows


def _figures(runs: Sequence[Run]) -> list[str]:
    flushes = [run.flushes for run in runs if run.flushes is not None]
    return [
        _spread([run.rate for run in runs], 0),
        _spread([run.cpu for run in runs], 3),
        _spread([run.machine_cpu for run in runs], 3),
        _spread(flushes, 2) if flushes else "not readable",
        _spread([run.accepted_after for run in runs], 2),
    ]


def _memory(weights: dict[str, list[Weight]]) -> list[list[str]]:
    rows = [["", "idle sessions", "PSS MiB", "processes", "KiB/session"]]
    for peer, weighed in weights.items():
        for weight in weighed:
            each = ""
            if weight.sessions:
                each = f"{(weight.mib - weighed[0].mib) * 1024 / weight.sessions:.0f}"
            rows.append([peer, str(weight.sessions), f"{weight.mib:.1f}", str(weight.processes), each])
    return rows


def _spread(values: Sequence[float], digits: int) -> str:
    """Median, and the range it comes from."""
    return f"{median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if first else cell.rjust(width)
            for first, cell, width in zip([True] + [False] * len(row), row, widths, strict=False)
        ).rstrip()
        for row in rows
    )


def _piped(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" + "|---:" * (len(rows[0]) - 1) + "|", *lines[1:]])
