"""One run of the bench: where its servers live, who is measured, what has been found.

Lives here: directories, starting servers side by side, sizing a burst, taking down figures.
Does not live here: what is done to the servers (workloads/), how the figures are shown (report.py).
"""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from load import Load, LoadError, finish
from meter import Sample
from server import Identity, Server, Setup

Found = dict[str, dict[str, list[Sample]]]  # case -> peer -> rounds


@dataclass(frozen=True, slots=True)
class Column:
    """A figure in a table."""

    figure: str
    title: str
    digits: int = 0


RATES = (
    Column("rate", "messages/s"),
    Column("cpu", "CPU s/1000", 3),
    Column("machine", "machine CPU s/1000", 3),
    Column("flushes", "flushes/message", 2),
)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is done. `seconds`: length of a burst whose number of messages is free."""

    rounds: int = 3
    seconds: float = 2.0
    messages: int = 5000  # of relay and of local
    depth: int = 1_000_000  # of the deep queue; a peer gets a tenth
    sessions: int = 10_000  # that are idle
    box: int = 10_000  # messages in the mailbox that is fetched
    only: str = ""  # what a case's name must begin with

    def quick(self) -> Extent:
        """To see that everything works. No figure of it means anything."""
        return Extent(min(self.rounds, 1), 0.3, 300, 5_000, 500, 300, self.only)


class Workload(ABC):
    """One thing that is measured."""

    name = ""
    title = ""
    method = ""  # what is done, when the clock stops, what must agree: for the page
    columns: Sequence[Column] = RATES
    peers: Sequence[str] = ("glasspost", "postfix")  # unless others are asked for
    rounds_in_all = 99  # at most, when everything is measured
    needs: frozenset[str] = frozenset()

    @abstractmethod
    def run(self, course: Course, peers: list[type[Server]]) -> None: ...


@dataclass(slots=True)
class Course:
    directory: Path
    extent: Extent
    found: dict[str, Found] = field(default_factory=dict)
    _started: int = 0

    @classmethod
    def begin(cls, work: Path, extent: Extent) -> Course:
        directory = work / datetime.datetime.now().strftime("%m%d-%H%M%S")
        directory.mkdir(parents=True)
        return cls(directory, extent)

    def clear(self) -> None:
        """Used directories stay until the very end: on ext4, creating files is slow for a minute after many were
        deleted; the next server would pay."""
        shutil.rmtree(self.directory)

    @property
    def rounds(self) -> range:
        return range(self.extent.rounds)

    def place(self, peer: type[Server]) -> Path:
        self._started += 1
        return self.directory / f"{self._started:03}-{peer.name}"

    @contextmanager
    def servers(self, workload: str, peers: Sequence[type[Server]], setup: Setup) -> Iterator[list[Server]]:
        """All of them, started and idle, so that each burst at one may be followed by the same burst at another. One
        that does not start is told of and left out."""
        with ExitStack() as opened:
            started = []
            for peer in peers:
                try:
                    started.append(opened.enter_context(peer(self.place(peer), setup)))
                except LoadError as error:
                    self.note(workload, "start", peer.name, Sample(fault=str(error)))
            yield started

    def identity(self) -> Identity:
        """One certificate for all."""
        found = Identity(self.directory / "certificate.pem", self.directory / "key.pem")
        if not found.key.exists():
            kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
            files = ["-keyout", str(found.key), "-out", str(found.certificate), "-subj", "/CN=bench.test"]
            subprocess.run(["openssl", "req", "-x509", *kind, *files], check=True, capture_output=True)
        return found

    # --- taking down -----------------------------------------------------------------------------------------

    def attempt(self, workload: str, case: str, peer: str, work: Callable[[], Sample]) -> None:
        """One round of one peer. Where there is no figure the others still get theirs; the fault is told."""
        if not case.startswith(self.extent.only):
            return
        try:
            sample = work()
        except LoadError as error:
            sample = Sample(fault=str(error))
        self.note(workload, case, peer, sample)

    def note(self, workload: str, case: str, peer: str, sample: Sample) -> None:
        rounds = self.found.setdefault(workload, {}).setdefault(case, {}).setdefault(peer, [])
        rounds.append(sample)
        figures = "  ".join(f"{name} {value:.4g}" for name, value in sample.figures.items())
        fault = f"  FAULT: {sample.fault}" if sample.fault else ""
        print(f"{workload} | {case} | {peer:16} {len(rounds)}: {figures}{fault}", flush=True)

    def burst(self, server: Server, load: Load) -> Load:
        """The load with as many messages as fill `extent.seconds`, after a warm-up by which that is judged. The
        warm-up grows until it takes long enough to tell something."""
        least = max(20, 2 * load.sessions) if load.size < 1_000_000 else load.sessions
        count, seconds = least, 0.0
        while True:
            seconds = timed(server, load.with_messages(count))
            if seconds > min(0.25, self.extent.seconds / 2) or count >= 5000:
                break
            count *= 4
        wanted = count / seconds * self.extent.seconds
        return load.with_messages(int(min(60_000, max(least, wanted))))


def timed(server: Server, load: Load, seconds: float = 300.0) -> float:
    """Sends it, and counts it as sent. Seconds until the last 250."""
    begun = time.monotonic()
    finish(load.start(server.port), seconds)
    server.sent += load.messages
    return time.monotonic() - begun


def skip(line: str) -> None:
    print(f"skipped: {line}", file=sys.stderr, flush=True)
