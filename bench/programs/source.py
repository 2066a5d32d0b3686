"""A generator of mail for what smtp-source cannot do: TLS, pipelining, many recipients, slow senders, waits measured.

    python source.py PORT --messages 1000 --size 10240 --sessions 20 --reuse --starttls
    python source.py PORT --messages 20 --recipients 1000 --domains 50
    python source.py PORT --sessions 200 --drip 2000

Lives here: the client's side of SMTP as an MTA of today speaks it: EHLO, STARTTLS if asked for, the envelope pipelined.
Does not live here: who starts it (load.py).

Prints one JSON object: messages and recipients that got their 250, seconds, and how long the final 250s took
(milliseconds: p50, p99, longest). Whatever else is answered ends it with status 1: there is no figure then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import ssl
import sys
import time
from collections.abc import Iterator

PATIENCE = 120.0  # seconds for one reply


class Refused(Exception):
    """The server did not say what it must."""


class Session:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int, starttls: bool) -> Session:
        session = cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
        await session.hear(b"220")
        await session.say(b"EHLO client.test\r\n", b"250")
        if starttls:
            await session.say(b"STARTTLS\r\n", b"220")
            await session._writer.start_tls(_CONTEXT, server_hostname="bench.test")
            await session.say(b"EHLO client.test\r\n", b"250")
        return session

    async def say(self, command: bytes, code: bytes) -> None:
        self._writer.write(command)
        await self.hear(code)

    async def hear(self, code: bytes) -> None:
        """One reply, of however many lines."""
        while True:
            line = await self._reader.readline()
            if not line.startswith(code):
                raise Refused(
                    f"{line.decode(errors='replace').strip() or 'connection closed'}; {code.decode()} expected"
                )
            if line[3:4] != b"-":
                return

    async def send(self, recipients: list[bytes], content: bytes, drip: int) -> float:
        """One message. Returns how long the final 250 took, in seconds."""
        envelope = b"MAIL FROM:<a@src.test>\r\n" + b"".join(b"RCPT TO:<%b>\r\n" % one for one in recipients)
        self._writer.write(envelope + b"DATA\r\n")
        for _ in range(1 + len(recipients)):
            await self.hear(b"250")
        await self.hear(b"354")
        if drip:
            await self._drip(content, drip)
        self._writer.write(content + b".\r\n")
        await self._writer.drain()
        sent = time.monotonic()
        await self.hear(b"250")
        return time.monotonic() - sent

    async def _drip(self, content: bytes, octets_per_second: int) -> None:
        step = max(1, octets_per_second // 10)
        for start in range(0, len(content), step):
            self._writer.write(content[start : start + step])
            await asyncio.sleep(0.1)

    async def quit(self) -> None:
        await self.say(b"QUIT\r\n", b"221")
        self.close()

    def close(self) -> None:
        self._writer.close()


class Work:
    """What all sessions share: the messages left, and the account of those done."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._left = iter(range(options.messages)) if options.messages else iter(int, 1)
        self.content = _content(options.size)
        self.recipients = list(_recipients(options))
        self.waits: list[float] = []

    async def one_session(self) -> None:
        session = None
        for _ in self._left:
            if session is None:
                session = await asyncio.wait_for(Session.open(self.options.port, self.options.starttls), PATIENCE)
            patience = PATIENCE + (len(self.content) / self.options.drip if self.options.drip else 0)
            sending = session.send(self.recipients, self.content, self.options.drip)
            self.waits.append(await asyncio.wait_for(sending, patience))
            if not self.options.reuse:
                await session.quit()
                session = None
        if session is not None:
            await session.quit()


def _content(size: int) -> bytes:
    head = b"From: a@src.test\r\nTo: b@dst.test\r\nSubject: bench\r\n\r\n"
    line = b"X" * 78 + b"\r\n"
    body = line * (max(0, size - len(head)) // len(line) + 1)
    return head + body[: max(0, size - len(head) - 2)] + b"\r\n"


def _recipients(options: argparse.Namespace) -> Iterator[bytes]:
    """N recipients spread over D domains dD.dst.test; without domains, of dst.test."""
    for number in range(options.recipients):
        domain = f"d{number % options.domains + 1}.dst.test" if options.domains else "dst.test"
        yield f"r{number}@{domain}".encode()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


_CONTEXT = _unverified()


async def _run(options: argparse.Namespace) -> int:
    work = Work(options)
    begun = time.monotonic()
    tasks = [asyncio.create_task(work.one_session()) for _ in range(options.sessions)]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: [task.cancel() for task in tasks])
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    seconds = time.monotonic() - begun
    faults = [end for end in ends if isinstance(end, Exception)]
    if faults:
        print(f"{type(faults[0]).__name__}: {faults[0]}", file=sys.stderr)
        return 1
    waits = sorted(work.waits) or [0.0]
    found = {
        "messages": len(work.waits),
        "recipients": len(work.waits) * len(work.recipients),
        "seconds": seconds,
        "p50": 1000 * waits[len(waits) // 2],
        "p99": 1000 * waits[len(waits) * 99 // 100],
        "longest": 1000 * waits[-1],
    }
    print(json.dumps(found))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--messages", type=int, default=0, help="0: until told to end")
    parser.add_argument("--size", type=int, default=10_240)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--reuse", action="store_true")
    parser.add_argument("--starttls", action="store_true")
    parser.add_argument("--recipients", type=int, default=1)
    parser.add_argument("--domains", type=int, default=0)
    parser.add_argument("--drip", type=int, default=0, metavar="OCTETS", help="send slowly: octets per second")
    options = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_run(options))
    return uvloop.run(_run(options))


if __name__ == "__main__":
    sys.exit(main())
