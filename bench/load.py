"""What is done to a server: messages, idle sessions, and the target behind it.

Lives here: the generator and the target (Postfix's smtp-source and smtp-sink, the same for every server), and
sessions that say EHLO and then nothing.
Does not live here: what is measured meanwhile (measure.py).
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from processes import Tree

SENDER, RECIPIENT = "a@src.test", "b@dst.test"


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

    def start(self, port: int) -> subprocess.Popen[bytes]:
        argv = ["smtp-source", "-s", str(min(self.sessions, self.messages)), "-m", str(self.messages)]
        argv += ["-l", str(self.size), "-f", SENDER, "-t", RECIPIENT, "-M", "client.test"]
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

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._log = directory / "target.log"
        self._tree = Tree(sink_argv(self.port), self._log)

    def __enter__(self) -> Sink:
        wait_for_greeting(self.port, 10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._tree.stop()

    @property
    def count(self) -> int:
        return sink_count(self._log)


def wait_for_greeting(port: int, seconds: float) -> None:
    """Until somebody says 220 on `port`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                if client.recv(500).startswith(b"220"):
                    client.sendall(b"QUIT\r\n")
                    client.recv(500)
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise LoadError(f"no greeting on port {port} within {seconds:.0f} s")
        time.sleep(0.05)


class IdleSessions:
    """`count` sessions that have said EHLO and say no more, until the end of the `with` block."""

    def __init__(self, port: int, count: int) -> None:
        self._held = ExitStack()
        with ExitStack() as opened:
            for number in range(count):
                session = opened.enter_context(socket.create_connection(("127.0.0.1", port), 20))
                try:
                    _say_hello(session)
                except OSError as error:
                    raise LoadError(f"session {number + 1} of {count}: {error}") from None
            self._held = opened.pop_all()

    def __enter__(self) -> IdleSessions:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._held.close()


def _say_hello(session: socket.socket) -> None:
    with session.makefile("rb") as lines:
        greeting = lines.readline()
        if not greeting.startswith(b"220 "):
            raise OSError(f"greeted with {greeting[:80]!r}")
        session.sendall(b"EHLO client.test\r\n")
        line = b"250-"
        while line.startswith(b"250-"):
            line = lines.readline()
        if not line.startswith(b"250 "):
            raise OSError(f"EHLO answered with {line[:80]!r}")
