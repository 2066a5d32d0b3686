"""A mail server under test, seen from the bench: what every one of them must be able to do.

Lives here: the contract, starting and stopping.
Does not live here: any server's configuration (postfix.py, glasspost_node.py, sink.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType

from load import LoadError, free_port, wait_for_greeting
from processes import Tree

ACCEPT, RELAY, MEMORY = "accept", "relay", "memory"


class Server(ABC):
    """One run of a server in a fresh directory. ACCEPT: mail for dst.test is stored and stays. RELAY: it goes
    on to 127.0.0.1:`target` at once. MEMORY: like ACCEPT, with room for `sessions` sessions."""

    name = ""
    modes: tuple[str, ...] = (ACCEPT, RELAY, MEMORY)

    def __init__(self, directory: Path, mode: str, target: int = 0, sessions: int = 100) -> None:
        self.directory, self.mode, self.target, self.sessions = directory, mode, target, sessions
        self.port = free_port()
        self.log = directory / "output.log"

    @classmethod
    @abstractmethod
    def missing(cls) -> str:
        """What stands in the way of running it here, with the remedy; "" if nothing does."""

    @classmethod
    @abstractmethod
    def version(cls) -> str: ...

    @abstractmethod
    def prepare(self) -> list[str]:
        """Writes its configuration; returns the command that runs it in the foreground."""

    @abstractmethod
    def stored(self) -> int:
        """Messages it has answered for and not yet passed on."""

    def __enter__(self) -> Server:
        self.directory.mkdir(parents=True)
        self.tree = Tree(self.prepare(), self.log)
        try:
            wait_for_greeting(self.port, 30)
        except LoadError as error:
            self.tree.stop()
            last = self.log.read_text(errors="replace").strip()[-600:]
            raise LoadError(f"{self.name}: {error}. Its last words:\n{last}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.tree.stop()
