"""What is done to a server: messages from a generator, and the target behind it.

Lives here: starting the generators and targets, the same for every server: Postfix's smtp-source and smtp-sink where
they can do it, and programs of the bench's own (programs/) for TLS, many recipients, slow senders and POP3.
Does not live here: what is measured meanwhile (meter.py), sessions that do nothing (idle.py).
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from processes import Tree

SENDER, RECIPIENT = "a@src.test", "b@dst.test"
_HERE = Path(__file__).resolve().parent
_OWN_PYTHON = _HERE.parent / ".venv" / "bin" / "python"


class LoadError(Exception):
    """The generator, the target or a session failed: there is no figure."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Load:
    """One burst of messages, each to one recipient."""

    messages: int
    size: int  # octets of a message, header and body
    sessions: int  # connections at the same time
    reuse: bool  # many messages on a connection, or one

    def with_messages(self, messages: int) -> Load:
        return Load(messages, self.size, self.sessions, self.reuse)

    def start(self, port: int, recipient: str = RECIPIENT) -> subprocess.Popen[bytes]:
        argv = ["smtp-source", "-s", str(min(self.sessions, self.messages)), "-m", str(self.messages)]
        argv += ["-l", str(self.size), "-f", SENDER, "-t", recipient, "-M", "client.test"]
        argv += ["-d"] if self.reuse else []
        return subprocess.Popen([*argv, f"127.0.0.1:{port}"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(source: subprocess.Popen[bytes], seconds: float) -> None:
    """Waits for a generator. It ends well only if every message got its 250."""
    try:
        _, complaint = source.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        source.kill()
        source.communicate()
        raise LoadError(f"smtp-source: not done after {seconds:.0f} s") from None
    if source.returncode:
        raise LoadError(f"smtp-source: {complaint.decode(errors='replace').strip()[:300]}")


def sink_argv(port: int, backlog: int = 4096) -> list[str]:
    """smtp-sink, counting aloud: it takes everything and keeps nothing."""
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return ["smtp-sink", "-c", "-m", "8192", *user, f"127.0.0.1:{port}", str(backlog)]


def sink_count(log: Path) -> int:
    """Messages an smtp-sink has taken, by the last of the counts it prints."""
    with log.open("rb") as output:
        output.seek(max(0, output.seek(0, os.SEEK_END) - 200))
        counts = re.findall(rb"mesg=(\d+)", output.read())
    return int(counts[-1]) if counts else 0


class Sink:
    """The next hop: takes everything at once and counts it."""

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self._log = directory / f"target-{self.port}.log"
        self._tree: Tree | None = None

    def __enter__(self) -> Sink:
        self._tree = Tree(sink_argv(self.port), self._log)
        _wait_for_hop(self.port, self._tree)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        assert self._tree is not None
        self._tree.stop()

    @property
    def count(self) -> int:
        return sink_count(self._log)


def _wait_for_hop(port: int, tree: Tree) -> None:
    """Until a next hop of ours greets. One that does not is stopped: no `with` block would end it."""
    try:
        wait_for_greeting(port, 20)
    except BaseException:
        tree.stop()
        raise


def wait_for_greeting(port: int, seconds: float, greeting: bytes = b"220") -> None:
    """Until somebody says `greeting` on `port`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                if client.recv(500).startswith(greeting):
                    client.sendall(b"QUIT\r\n")
                    client.recv(500)
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise LoadError(f"no greeting on port {port} within {seconds:.0f} s")
        time.sleep(0.02)


# --- programs of the bench's own -----------------------------------------------------------------------------


def python() -> str:
    """The interpreter for programs/: the project's own, which has uvloop."""
    return str(_OWN_PYTHON) if _OWN_PYTHON.exists() else sys.executable


class Program:
    """A file of programs/, running. It prints one JSON object when it ends, by itself or when told to."""

    def __init__(self, name: str, *options: object) -> None:
        self.name = name
        argv = [python(), str(_HERE / "programs" / f"{name}.py"), *map(str, options)]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def tell_to_end(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def result(self, seconds: float) -> dict[str, Any]:
        """What it found. Raises LoadError if it does not end within `seconds`, or ends badly."""
        try:
            output, complaint = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise LoadError(f"{self.name}: not done after {seconds:.0f} s") from None
        if self._process.returncode:
            last = complaint.strip().splitlines()[-1:] or [f"status {self._process.returncode}"]
            raise LoadError(f"{self.name}: {last[0][:300]}")
        found: dict[str, Any] = json.loads(output)
        return found


def run_program(name: str, seconds: float, *options: object) -> dict[str, Any]:
    with Program(name, *options) as program:
        return program.result(seconds)


class Ledger:
    """The next hop that keeps a book of recipients (programs/ledger.py), on as many addresses as domains need."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._book = directory / f"ledger-{self.port}.txt"
        self._log = directory / f"ledger-{self.port}.log"
        self._tree: Tree | None = None

    def __enter__(self) -> Ledger:
        program = str(_HERE / "programs" / "ledger.py")
        self._tree = Tree([python(), program, str(self.port), str(self._book)], self._log)
        _wait_for_hop(self.port, self._tree)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        assert self._tree is not None
        self._tree.stop()

    def counts(self) -> tuple[int, int, int, int]:
        """(transactions, recipients in them, different ones among these, how often the most frequent one came)."""
        fields = [int(field) for field in self._book.read_bytes().split()]
        return fields[0], fields[1], fields[2], fields[3]
