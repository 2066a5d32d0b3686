"""A mail server under test, seen from the bench: what every one of them must be able to do.

Lives here: the contract, starting and stopping.
Does not live here: any server's configuration (peers/), what is done to it (workloads/).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from load import LoadError, free_port, wait_for_greeting
from processes import Tree

# What a server is asked to do with mail for dst.test: keep it, pass it on at once, put it into mailboxes.
ACCEPT, RELAY, LOCAL = "accept", "relay", "local"
# What else it may be able to do.
TLS, DEEP, DOMAINS = "tls", "deep queue", "many domains"

PASSWORD = "bench"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, the same for all servers. PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Setup:
    """What a server is set up for."""

    mode: str = ACCEPT
    target: int = 0  # RELAY: the next hop's port, on 127.0.0.1
    sessions: int = 200  # that may come at the same time
    identity: Identity | None = None  # offer STARTTLS with it
    boxes: int = 0  # LOCAL: mailboxes box1@dst.test, box2@dst.test, ..., all with PASSWORD
    domains: int = 0  # RELAY: mail for dN.dst.test goes to `host_of(N)`, port `target`


def box(number: int) -> str:
    return f"box{number}@dst.test"


def host_of(number: int) -> str:
    """The next hop of the domain dN.dst.test: each has an address of its own on loopback."""
    return f"127.0.1.{number}"


class Server(ABC):
    """One server in a directory of its own. May be stopped and started again: its queue stays."""

    name = ""
    does: frozenset[str] = frozenset({ACCEPT})
    share = 1.0  # how much of a fixed number of messages it is given: slow ones would take minutes

    def __init__(self, directory: Path, setup: Setup) -> None:
        self.directory, self.setup = directory, setup
        self.port = free_port()
        self.pop3_port = free_port() if setup.mode == LOCAL else 0
        self.start_seconds = 0.0  # from the command to the greeting, the last time
        self.sent = 0  # messages it has said 250 to, as counted by the workload
        self._trees: list[Tree] = []

    # --- what each server answers in its own way ----------------------------------------------------------

    @classmethod
    @abstractmethod
    def missing(cls) -> str:
        """What stands in the way of running it here, with the remedy; "" if nothing does."""

    @classmethod
    @abstractmethod
    def version(cls) -> str: ...

    @abstractmethod
    def prepare(self) -> list[list[str]]:
        """Writes its configuration; returns the commands that run it in the foreground. Called before each start."""

    @abstractmethod
    def stored(self) -> int:
        """Messages it has answered for and not yet passed on."""

    def started(self) -> None:
        """What must be said to it once it greets."""
        return

    def at_rest(self) -> bool:
        """LOCAL: whether everything accepted is in its mailbox."""
        return self.stored() == 0

    def summary(self) -> int:
        """DEEP: recipients that wait, asked for as a postmaster asks."""
        raise NotImplementedError

    def deliver_now(self) -> None:
        """DEEP: try everything that waits now, as a postmaster says it."""
        raise NotImplementedError

    # --- its life ------------------------------------------------------------------------------------------

    def __enter__(self) -> Server:
        self.directory.mkdir(parents=True, exist_ok=True)
        commands = self.prepare()
        begun = time.monotonic()
        self._trees = [Tree(command, self.directory / f"output{number}.log") for number, command in enumerate(commands)]
        try:
            wait_for_greeting(self.port, 60)
            if self.pop3_port:
                wait_for_greeting(self.pop3_port, 30, b"+OK")
            self.start_seconds = time.monotonic() - begun
            self.started()
        except BaseException as error:
            self.stop()
            if isinstance(error, LoadError):
                raise LoadError(f"{self.name}: {error}. Its last words:\n{self._last_words()}") from None
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        for tree in reversed(self._trees):
            tree.stop()

    def cpu_seconds(self) -> float:
        """User and system time of all its processes since the start, ended ones included."""
        return sum(tree.cpu_seconds() for tree in self._trees)

    def memory(self) -> tuple[float, int]:
        """(proportional set size in MiB, number of processes)."""
        weighed = [tree.memory() for tree in self._trees]
        return sum(mib for mib, _ in weighed), sum(count for _, count in weighed)

    @property
    def log(self) -> Path:
        """What its first command prints."""
        return self.directory / "output0.log"

    def _last_words(self) -> str:
        texts = [path.read_text(errors="replace").strip()[-600:] for path in sorted(self.directory.glob("*.log"))]
        return "\n".join(filter(None, texts))
