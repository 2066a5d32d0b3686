"""The load: SMTP clients that know exactly what they were told about which recipient.

Lives here: clients on real sockets, what they send, and the ledger of what was acknowledged.
Does not live here: what became of it (account.py).

Each recipient of each message is an address that comes once in a run, so whatever turns up anywhere is known by its
address alone. A message is never sent twice: one that got no 250 is left to its fate, and the next is another.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from dataclasses import dataclass, field
from enum import Enum

SENDER = "sender@here.test"
BOX = "box"  # the account of all local recipients: box+NAME@here.test
PATIENCE = 30.0  # seconds a client waits for any answer
_PAUSE = 0.06  # seconds between messages, at most


class Fate(Enum):
    """What a client knows of one recipient of one message when the conversation is over."""

    ACKNOWLEDGED = "250 after the dot: now it is the node's"
    REFUSED = "another reply after the dot"
    UNANSWERED = "no reply after the dot: it may be there or not"
    UNFINISHED = "the dot was never sent: it must not be there"


@dataclass(slots=True)
class Sent:
    """One message. `life` is the node's, counted from 1, in which it got its answer or lost its connection."""

    recipients: list[str]
    fate: Fate = Fate.UNFINISHED
    life: int = 0
    reply: str = ""


@dataclass(slots=True)
class Post:
    """All that was sent, and by which life of the node it was answered."""

    port: int = 0  # where the node is; it moves with no life
    life: int = 0
    sent: list[Sent] = field(default_factory=list)
    acknowledged: int = 0  # messages
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def acknowledge(self) -> None:
        self.acknowledged += 1
        self._news.set()

    async def more(self, count: int, seconds: float) -> None:
        """Until so many more messages are acknowledged, or the time is over."""
        goal = self.acknowledged + count
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.acknowledged < goal:
                    self._news.clear()
                    await self._news.wait()

    def count(self, fate: Fate) -> int:
        return sum(len(one.recipients) for one in self.sent if one.fate is fate)


class _CutOff(Exception):
    pass


class Client:
    """One client, sending one message after the other; it calls anew whenever it is cut off."""

    def __init__(self, name: str, post: Post, seed: int) -> None:
        self.name = name
        self.post = post
        self.chance = random.Random(seed)
        self.stopping = False
        self._count = 0

    async def run(self) -> None:
        """Until `stopping`; a message that is under way then is finished."""
        while not self.stopping:
            try:
                await self._visit()
            except (OSError, EOFError, TimeoutError, _CutOff):
                await asyncio.sleep(self.chance.uniform(0.01, 0.1))

    async def _visit(self) -> None:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.post.port)
        try:
            await self._expect(reader, b"220")
            writer.write(b"EHLO load.test\r\n")
            await self._expect(reader, b"250")
            for _ in range(self.chance.randint(1, 40)):
                if self.stopping:
                    break
                await self._send(reader, writer)
                await asyncio.sleep(self.chance.uniform(0, _PAUSE))
            writer.write(b"QUIT\r\n")
        finally:
            writer.transport.abort() if self.chance.random() < 0.1 else writer.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One transaction, pipelined or step by step, its content at once or with a pause in the middle."""
        self._count += 1
        recipients = self._recipients()
        sent = Sent(recipients, life=self.post.life)
        self.post.sent.append(sent)
        lines = [f"MAIL FROM:<{SENDER}>", *(f"RCPT TO:<{one}>" for one in recipients), "DATA"]
        codes = [b"250"] * (len(lines) - 1) + [b"354"]
        if self.chance.random() < 0.5:
            writer.write("".join(f"{line}\r\n" for line in lines).encode())
            for code in codes:
                await self._expect(reader, code)
        else:
            for line, code in zip(lines, codes, strict=True):
                writer.write(f"{line}\r\n".encode())
                await self._expect(reader, code)
        content = self._content()
        if self.chance.random() < 0.05:
            writer.write(content[: len(content) // 2])
            await asyncio.sleep(self.chance.uniform(0, 0.5))
            content = content[len(content) // 2 :]
        writer.write(content)
        async with asyncio.timeout(PATIENCE):
            await writer.drain()
        sent.fate, sent.life = Fate.UNANSWERED, self.post.life  # from here on the whole of it may have arrived
        writer.write(b".\r\n")
        reply = await self._reply(reader)
        sent.life = self.post.life
        sent.reply = reply.decode("ascii", "replace").strip()
        if not reply.startswith(b"250"):
            sent.fate = Fate.REFUSED
            raise _CutOff
        sent.fate = Fate.ACKNOWLEDGED
        self.post.acknowledge()

    def _recipients(self) -> list[str]:
        """Local ones, steady and moody neighbours, one whose first host is dead, and one who refuses for good. At
        most one local: all of them are the same mailbox, which keeps a message once."""
        kinds = self.chance.choices(
            ("here", "steady", "moody", "second", "nobody"), (6, 6, 5, 2, 1), k=self.chance.choice((1, 1, 1, 2, 3))
        )
        recipients = []
        for number, kind in enumerate(kinds):
            name = f"{self.name}-{self._count}-{number}"
            if kind == "nobody":
                recipients.append(f"nobody-{name}@steady.test")
            elif kind != "here":
                recipients.append(f"{name}@{kind}.test")
            elif "here" not in kinds[:number]:
                recipients.append(f"{BOX}+{name}@here.test")
        return recipients

    def _content(self) -> bytes:
        """A message with the sum of its body in its header; now and then one too large for one piece of the store."""
        large = self.chance.random() < 0.02
        lines = self.chance.randint(6_000, 12_000) if large else self.chance.randint(1, 120)
        body = b"".join(b"%06d some text that is worth keeping, every octet of it\r\n" % n for n in range(lines))
        return b"X-Sum: %s\r\nSubject: load\r\n\r\n%s" % (hashlib.sha1(body).hexdigest().encode(), body)

    async def _expect(self, reader: asyncio.StreamReader, code: bytes) -> None:
        if not (await self._reply(reader)).startswith(code):
            raise _CutOff

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        """The last line of a reply."""
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await reader.readline()
                if not line.endswith(b"\n"):
                    raise EOFError
                if line[3:4] != b"-":
                    return line
