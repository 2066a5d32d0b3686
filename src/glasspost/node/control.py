"""The node's ear for its operator: a Unix socket in the data folder.

Lives here: `Control`, which answers one request for each connection, and `ask`, which puts one.
Does not live here: what is asked for (whoever offers it: cli/serve.py), or who may ask: the folder belongs to its owner
alone, and so does the socket.

A request and its answer are one line of JSON each: {"do": "reload"} and {"ok": true, ...}.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glasspost.errors import GlasspostError, NotFound

NAME = "control"
_LINE_LIMIT = 1024 * 1024
_PATIENCE = 10.0  # seconds for a request to come in whole

Answer = dict[str, Any]
Duty = Callable[[Answer], Awaitable[Answer]]


class Control:
    """`offer` what can be asked for, then `open` in a folder that is locked by this process."""

    def __init__(self) -> None:
        self._duties: dict[str, Duty] = {}
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    def offer(self, name: str, duty: Duty) -> None:
        """Answer requests of this name. A GlasspostError raised by `duty` is an answer: {"ok": false, "why": [...]}."""
        self._duties[name] = duty

    async def open(self, folder: Path) -> None:
        path = self._path = folder / NAME
        path.unlink(missing_ok=True)  # of a predecessor that was killed: the lock says that it is gone
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short(folder) as name:
            listening.bind(name)
        path.chmod(0o600)
        self._server = await asyncio.start_unix_server(self._hear, sock=listening, limit=_LINE_LIMIT)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                line = await reader.readline()
            answer = await self._answer(line)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass  # whoever asked has gone, or has never asked
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        request = json.loads(line)
        duty = self._duties.get(request.get("do", "")) if isinstance(request, dict) else None
        if duty is None:
            return {"ok": False, "why": ["this node does not know how to do that"]}
        try:
            return {"ok": True, **await duty(request)}
        except GlasspostError as error:
            return {"ok": False, "why": str(error).splitlines(), "exit": int(error.exit_code)}


def ask(folder: Path, request: Answer, patience: float = 60.0) -> Answer:
    """Put a request to the node that runs on this folder. Raises NotFound where none runs, GlasspostError where it does
    not answer."""
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        asking.settimeout(patience)
        try:
            with _short(folder) as name:
                asking.connect(name)
        except OSError:
            raise NotFound(f"no node is running on {folder}; name another folder with --data, or start one") from None
        asking.sendall(json.dumps(request).encode() + b"\n")
        with asking.makefile("rb") as lines:
            line = lines.readline(_LINE_LIMIT)
        answer = json.loads(line)
    except (OSError, ValueError):
        raise GlasspostError(f"the node on {folder} gave no answer; its log may say why") from None
    finally:
        asking.close()
    assert isinstance(answer, dict)
    return answer


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A short name for the socket: the kernel takes no more than 107 octets, and a folder's path may be longer."""
    path = str(folder / NAME)
    if len(os.fsencode(path)) < 100 or not Path("/proc/self/fd").is_dir():
        yield path
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)
