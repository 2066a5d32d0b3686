"""A small milter: it hears everything, and answers what a test says.

Lives here: the filter's side of the protocol, written for tests and not with the code that it tests.
Does not live here: real milters (tests/peers/test_mail_filters.py).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

ADD, INSERT, CHANGE, QUARANTINE = b"h", b"i", b"m", b"q"
NO_REPLY_TO_HEADERS_AND_BODY = 0x80 | 0x40000 | 0x80000


def packet(letter: bytes, data: bytes = b"") -> bytes:
    return struct.pack("!I", len(data) + 1) + letter + data


def added(name: bytes, value: bytes) -> bytes:
    return packet(ADD, name + b"\0" + value + b"\0")


def inserted(index: int, name: bytes, value: bytes) -> bytes:
    return packet(INSERT, struct.pack("!I", index) + name + b"\0" + value + b"\0")


class SmallMilter:
    """`async with SmallMilter({b"R": packet(b"r")}) as milter`: what it says to a command letter; to others "continue".

    `heard` is everything it was told, (letter, data), over all connections. `answers` may change meanwhile; a
    callable is given the data. An answer of None is silence.
    """

    def __init__(
        self,
        answers: dict[bytes, bytes | Callable[[bytes], bytes | None] | None] | None = None,
        *,
        version: int = 6,
        actions: int = 0x1FF,
        steps: int = 0,
        symbols: bytes = b"",
        path: str = "",
    ) -> None:
        self.answers = dict(answers or {})
        self.heard: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self.news = asyncio.Event()
        self._hello = struct.pack("!III", version, actions, steps) + symbols
        self._steps = steps
        self._path = path
        self._writers: set[asyncio.StreamWriter] = set()
        self.offered = (0, 0, 0)

    async def __aenter__(self) -> SmallMilter:
        if self._path:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
            self.address = f"unix:{self._path}"
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()
        await asyncio.sleep(0)

    def hang_up(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    @property
    def letters(self) -> str:
        """The commands it was told, macros left out."""
        return "".join(letter.decode() for letter, _ in self.heard if letter != b"D")

    def told(self, letter: bytes) -> list[bytes]:
        return [data for said, data in self.heard if said == letter]

    async def wait_for(self, letter: bytes) -> None:
        async with asyncio.timeout(10):
            while not self.told(letter):
                self.news.clear()
                await self.news.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                (length,) = struct.unpack("!I", await reader.readexactly(4))
                body = await reader.readexactly(length)
                letter, data = body[:1], body[1:]
                self.heard.append((letter, data))
                self.news.set()
                if letter == b"Q":
                    return
                answer = self._answer(letter, data)
                if answer:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, letter: bytes, data: bytes) -> bytes | None:
        if letter == b"O":
            self.offered = struct.unpack("!III", data)
            return packet(b"O", self._hello) if letter not in self.answers else self._chosen(letter, data)
        if letter in (b"D", b"A"):
            return None
        silent = {b"L": 0x80, b"N": 0x40000, b"B": 0x80000, b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000}
        if silent.get(letter, 0) & self._steps:
            return None
        return self._chosen(letter, data) if letter in self.answers else packet(b"c")

    def _chosen(self, letter: bytes, data: bytes) -> bytes | None:
        answer = self.answers[letter]
        return answer(data) if callable(answer) else answer
