"""A next hop with moods, as a process that can be killed: it keeps a ledger of what it took, and may behave badly.

    python -m glasspost.torture.neighbour PORT LEDGER SEED

Lives here: a small SMTP server at two loopback addresses, the moods of the second, the ledger.
Does not live here: anything a mail server should learn from. It knows only what the torture needs.

STEADY behaves well and lives at one address, MOODY at another; both on the same port, because a node has one port for
all its MX. For each message taken the ledger gets a line a recipient, written before the reply: the address, the
queue id that the node put into Received, and whether the content is what was sent. Orders come on standard input:
`calm` and `moody`; its end ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

STEADY, MOODY, NOBODY = "127.0.0.2", "127.0.0.3", "127.0.0.4"
REFUSED = "nobody"  # recipients whose name begins so are refused for good
STAGES = ("greeting", "ehlo", "mail", "rcpt", "data", "dot")
KINDS = ("drip", "hang", "reset", "nonsense", "421", "451", "half", "flood", "close")
GOOD_SHARE = 0.5  # of the conversations at MOODY
_HANG = 8.0  # seconds: longer than the node waits
_SYNC = 0.03  # seconds between taking a message and saying so: what a server's own disk would need
_QUEUE_ID = re.compile(rb"\bid (q\w+)")
_NONSENSE = (b"\x00\xff\xfe\x01\r\n", b"hello?\r\n", b"999 999 999\r\n", b"25 0 no\r\n", b"250-so\r\n550 not\r\n")


@dataclass(frozen=True, slots=True)
class Mood:
    """What one conversation suffers, and when. `taken`: a message is in the ledger although its dot went wrong."""

    kind: str = "good"
    stage: str = ""
    taken: bool = False
    pipelining: bool = True


def mood(chance: random.Random) -> Mood:
    """One of all moods."""
    pipelining = chance.random() < 0.7
    if chance.random() < GOOD_SHARE:
        return Mood(pipelining=pipelining)
    return Mood(chance.choice(KINDS), chance.choice((*STAGES, "dot")), chance.random() < 0.5, pipelining)


class Gone(Exception):
    """The conversation is over."""


class Visit:
    """One conversation."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, suffers: Mood, neighbour: Neighbour
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._mood = suffers
        self._neighbour = neighbour
        self._recipients: list[str] = []

    async def hold(self) -> None:
        """The conversation, to its end, good or bad."""
        with contextlib.suppress(Gone, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            await self._say("greeting", "220 neighbour.test ESMTP")
            while line := await self._reader.readline():
                await self._command(line.decode(errors="replace").strip())
        with contextlib.suppress(OSError):
            self._writer.close()

    async def _command(self, line: str) -> None:
        verb = line[:4].upper()
        match verb:
            case "EHLO":
                extra = "250-PIPELINING\r\n" if self._mood.pipelining else ""
                await self._say("ehlo", f"250-neighbour.test\r\n250-SIZE 100000000\r\n{extra}250 8BITMIME")
            case "MAIL":
                self._recipients = []
                await self._say("mail", "250 2.1.0 Ok")
            case "RCPT":
                address = line[line.find("<") + 1 : line.find(">")]
                if address.startswith(REFUSED):
                    await self._say("", "550 5.1.1 Nobody of that name")
                elif await self._say("rcpt", "250 2.1.5 Ok"):
                    self._recipients.append(address)
            case "DATA":
                if not self._recipients:
                    await self._say("", "554 5.5.1 Nobody to send it to")
                elif await self._say("data", "354 Go on"):
                    await self._take(await self._reader.readuntil(b"\r\n.\r\n"))
            case "QUIT":
                await self._say("", "221 2.0.0 Bye")
                raise Gone
            case _:
                await self._say("", "250 2.0.0 Ok")

    async def _take(self, content: bytes) -> None:
        """The message is here whole: into the ledger before it is answered, or, in a mood, not at all."""
        kind = self._mood.kind if self._mood.stage == "dot" and not self._neighbour.calm else "good"
        if kind in ("good", "drip", "flood") or (kind not in ("421", "451") and self._mood.taken):
            self._neighbour.record(self._recipients, content)
            await asyncio.sleep(self._neighbour.chance.uniform(0, _SYNC))
        self._recipients = []
        await self._say("dot", "250 2.0.0 Taken")

    async def _say(self, stage: str, reply: str) -> bool:
        """The reply, as the mood has it; whether it was a good one. Raises Gone where nothing follows."""
        wire = reply.encode() + b"\r\n"
        mood = self._mood
        if stage != mood.stage or self._neighbour.calm or mood.kind == "good":
            await self._send(wire)
            return True
        match mood.kind:
            case "drip":
                for place in range(len(wire)):
                    await self._send(wire[place : place + 1])
                    await asyncio.sleep(0.01)
                return True
            case "hang":
                await asyncio.sleep(_HANG)
            case "reset":
                self._reset()
            case "nonsense":
                await self._send(self._neighbour.chance.choice(_NONSENSE))
            case "421":
                await self._send(b"421 4.3.2 Not now\r\n")
            case "451":
                await self._send(b"451 4.3.0 Not this time\r\n")
                return False
            case "half":
                await self._send(wire[: len(wire) // 2])
            case "flood":
                await self._send(b"".join(b"250-%05d %s\r\n" % (n, b"x" * 88) for n in range(1000)) + wire)
                return True
        raise Gone

    def _reset(self) -> None:
        """RST instead of FIN."""
        plug: socket.socket = self._writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._writer.transport.abort()
        raise Gone

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


class Neighbour:
    """Both servers."""

    def __init__(self, ledger: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.calm = False
        self._ledger = ledger.open("a", encoding="ascii")

    def record(self, recipients: list[str], content: bytes) -> None:
        found = _QUEUE_ID.search(content)
        whole = "whole" if is_whole(content) else "damaged"
        queue_id = found[1].decode() if found else "-"
        self._ledger.write("".join(f"{address} {queue_id} {whole}\n" for address in recipients))
        self._ledger.flush()  # the kernel has it: a kill does not take it back

    async def serve(self, port: int) -> None:
        """Until standard input ends."""
        loop = asyncio.get_running_loop()
        servers = [
            await asyncio.start_server(self._steady, STEADY, port, limit=1 << 24),
            await asyncio.start_server(self._moody, MOODY, port, limit=1 << 24),
        ]
        orders = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        print("ready", flush=True)
        while order := await orders.readline():
            self.calm = order.strip() == b"calm"
        for server in servers:
            server.close()

    async def _steady(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Visit(reader, writer, Mood(), self).hold()

    async def _moody(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Visit(reader, writer, mood(self.chance), self).hold()


def is_whole(content: bytes) -> bool:
    """Whether a content of load.py is as it was sent, below what was put on top. A dot that ends it is no part."""
    head, _, body = content.partition(b"\r\n\r\n")
    mark = head.rfind(b"X-Sum: ")
    body = body.removesuffix(b".\r\n")
    return mark >= 0 and head[mark + 7 :][:40].decode("ascii", "replace") == hashlib.sha1(body).hexdigest()


if __name__ == "__main__":
    asyncio.run(Neighbour(Path(sys.argv[2]), int(sys.argv[3])).serve(int(sys.argv[1])))
