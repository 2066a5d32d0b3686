"""A POP3 client that fetches everything from a number of mailboxes at the same time.

    python reader.py PORT --boxes 10 [--delete]

Lives here: the client's side of POP3: USER, PASS, STAT, RETR of each message, DELE if asked for, QUIT. One command at a
time, as most clients do.
Does not live here: who starts it (load.py).

Prints one JSON object: messages, their octets as announced (STAT) and as they came, seconds in all, and the longest
time from connecting to the answer to STAT (`open`, seconds). A refusal ends it with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

PASSWORD = b"bench"
PATIENCE = 60.0  # seconds for one reply


class Refused(Exception):
    """The server did not say +OK."""


class Reader:
    """One mailbox being fetched."""

    def __init__(self, port: int, number: int, delete: bool) -> None:
        self._port, self._delete = port, delete
        self._user = f"box{number}@dst.test".encode()
        self.messages = self.announced = self.octets = 0
        self.open_seconds = 0.0

    async def fetch(self) -> None:
        begun = time.monotonic()
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        await self._line()
        await self._ask(b"USER " + self._user)
        await self._ask(b"PASS " + PASSWORD)
        _, count, octets = (await self._ask(b"STAT")).split()[:3]
        self.open_seconds = time.monotonic() - begun
        self.announced = int(octets)
        for number in range(1, int(count) + 1):
            self.octets += await asyncio.wait_for(self._retrieve(number), PATIENCE)
            self.messages += 1
            if self._delete:
                await self._ask(b"DELE %d" % number)
        await self._ask(b"QUIT")
        self._writer.close()

    async def _ask(self, command: bytes) -> bytes:
        self._writer.write(command + b"\r\n")
        return await self._line()

    async def _line(self) -> bytes:
        line = await asyncio.wait_for(self._reader.readline(), PATIENCE)
        if not line.startswith(b"+OK"):
            raise Refused(line.decode(errors="replace").strip() or "connection closed")
        return line

    async def _retrieve(self, number: int) -> int:
        """Its octets, without the reply line and the final dot. Dot-stuffing would be counted; the bench's mail has
        no line that begins with a dot. The answer ends where the final dot is: nothing else has been asked."""
        self._writer.write(b"RETR %d\r\n" % number)
        await self._line()
        octets, tail = 0, b"\r\n"
        while not tail.endswith(b"\r\n.\r\n"):
            piece = await self._reader.read(262_144)
            if not piece:
                raise Refused("connection closed within a message")
            octets += len(piece)
            tail = (tail + piece[-5:])[-5:]
        return octets - 3


async def _run(options: argparse.Namespace) -> int:
    readers = [Reader(options.port, number, options.delete) for number in range(1, options.boxes + 1)]
    begun = time.monotonic()
    ends = await asyncio.gather(*(reader.fetch() for reader in readers), return_exceptions=True)
    seconds = time.monotonic() - begun
    faults = [end for end in ends if isinstance(end, BaseException)]
    if faults:
        print(f"{type(faults[0]).__name__}: {faults[0]}", file=sys.stderr)
        return 1
    found = {
        "messages": sum(reader.messages for reader in readers),
        "announced": sum(reader.announced for reader in readers),
        "octets": sum(reader.octets for reader in readers),
        "seconds": seconds,
        "open": max(reader.open_seconds for reader in readers),
    }
    print(json.dumps(found))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--boxes", type=int, default=1)
    parser.add_argument("--delete", action="store_true")
    options = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_run(options))
    return uvloop.run(_run(options))


if __name__ == "__main__":
    sys.exit(main())
