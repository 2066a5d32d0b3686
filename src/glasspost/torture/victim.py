"""The processes of a torture: the node, life after life, and its neighbour.

Lives here: starting them, giving them orders, ending them, and knowing how they ended.
Does not live here: what is done to them, and when (strokes.py).

Only what was started here is ever stopped, by its own handle.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

READY_WITHIN = 60.0  # seconds from its start until a node has to be ready
ENDED_WITHIN = 30.0  # seconds until a killed process has to be gone


class Child:
    """One process: ready when it has printed `mark`, given orders by its standard input."""

    def __init__(self, mark: bytes, log: Path) -> None:
        self._mark = mark
        self._log = log
        self._process: Process | None = None
        self._output: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def spawn(self, command: Sequence[str]) -> None:
        """Start it; `ready` tells when it can be spoken to."""
        self._ready = asyncio.Event()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=log, env=self._environment()
            )
        self._output = asyncio.create_task(self._read_output(self._process))

    def _environment(self) -> dict[str, str]:
        """Ours, without settings for other nodes. Where nothing compiled may be written, it is kept in the torture's
        own folder: a thousand lives begin faster."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("GLASSPOST_")}
        if ours.pop("PYTHONDONTWRITEBYTECODE", ""):
            ours["PYTHONPYCACHEPREFIX"] = str(self._log.parent / "compiled")
        return ours

    async def _read_output(self, process: Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if self._mark in line:
                self._ready.set()

    async def ready(self, seconds: float = READY_WITHIN) -> bool:
        """Whether it is, within the time. False, too, where it ended instead."""
        waits = {asyncio.create_task(self._ready.wait()), self._over()}
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            if wait is not self._output:
                wait.cancel()
        return bool(done) and self._ready.is_set()

    def _over(self) -> asyncio.Task[None]:
        assert self._output is not None
        return self._output

    def order(self, *orders: str) -> None:
        """Tell it. One that has ended meanwhile does not hear it."""
        if self.running and self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write("".join(f"{one}\n" for one in orders).encode())

    def signal(self, number: signal.Signals) -> None:
        if self.running and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ended(self, seconds: float = ENDED_WITHIN) -> int | None:
        """Its exit code when it, and whoever still has its standard output open, is gone; None: not within the time."""
        if self._process is None:
            return None
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._over())
                return await self._process.wait()
        except TimeoutError:
            return None

    async def kill(self) -> int | None:
        """SIGKILL, and its exit code, which may be another where it had ended already."""
        self.signal(signal.SIGKILL)
        return await self.ended()


class Victim(Child):
    """The node."""

    def __init__(self, command: Sequence[str], folder: Path, seed: int) -> None:
        """`command` starts it: behind it come SEED, ORDERS and the words of a glasspost command."""
        super().__init__(b"Ctrl-C stops it", folder / "node.log")
        self.data = folder / "data"
        self.config = folder / "node.toml"
        self.log = folder / "node.log"
        self.life = 0
        self._command = command
        self._seed = seed

    async def start(self, orders: str = "") -> None:
        self.life += 1
        words = ["serve", "--config", str(self.config), "--data", str(self.data)]
        await self.spawn([*self._command, str(self._seed + self.life), orders, *words])


class NextHop(Child):
    """The neighbour (neighbour.py)."""

    def __init__(self, folder: Path, port: int, seed: int) -> None:
        super().__init__(b"ready", folder / "neighbour.log")
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self._port = port
        self._seed = seed
        self._lives = 0

    async def start(self) -> None:
        self._lives += 1
        program = [sys.executable, "-m", "glasspost.torture.neighbour"]
        await self.spawn([*program, str(self._port), str(self.ledger), str(self._seed + self._lives)])


def free_port(*addresses: str) -> int:
    """A port that is free at all of them, for TCP and UDP."""
    for _ in range(50):
        with contextlib.ExitStack() as stack:
            port = 0
            try:
                for address in addresses:
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        plug = stack.enter_context(socket.socket(socket.AF_INET, kind))
                        plug.bind((address, port))
                        port = plug.getsockname()[1]
            except OSError:
                continue
            return port
    raise OSError("no port is free")
