"""A next hop that keeps a book of whom mail came for.

    python ledger.py PORT FILE

Lives here: the server's side of SMTP, with PIPELINING, keeping nothing of a message but its recipients' count. It
listens on 127.0.0.1 and on 127.0.1.1 to 127.0.1.50, so that each domain may have an address of its own.
Does not live here: smtp-sink, which is the target wherever it is enough that messages are counted.

FILE always has four numbers: transactions, recipients in them, different ones among these, and how often the most
frequent one came. With N messages to the same M recipients they are right when they are (any), N * M, M, N.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import cast


class Book:
    """The account, on disk after every message."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._transactions = self._recipients = self._most = 0
        self._seen: dict[bytes, int] = {}
        self.write()

    def enter(self, recipients: list[bytes]) -> None:
        self._transactions += 1
        self._recipients += len(recipients)
        for one in recipients:
            times = self._seen[one] = self._seen.get(one, 0) + 1
            self._most = max(self._most, times)
        self.write()

    def write(self) -> None:
        text = b"%d %d %d %d" % (self._transactions, self._recipients, len(self._seen), self._most)
        os.pwrite(self._file, text.ljust(80), 0)


class Visit(asyncio.Protocol):
    """One client. Lines are cut as they come; a body is only looked through for its end."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._heard = b""
        self._in_body = False
        self._recipients: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(b"220 ledger.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._heard += data
        replies: list[bytes] = []
        while self._heard:
            if self._in_body:
                if not self._end_body(replies):
                    break
                continue
            line, newline, rest = self._heard.partition(b"\r\n")
            if not newline:
                break
            self._heard = rest
            replies.append(self._answer(line))
        if replies:
            self._transport.write(b"".join(replies))

    def _end_body(self, replies: list[bytes]) -> bool:
        """Whether the body's end is here. A body begins behind DATA's own CRLF, which may be the dot's."""
        if self._heard.startswith(b".\r\n"):
            end, length = 0, 3
        else:
            end, length = self._heard.find(b"\r\n.\r\n"), 5
        if end < 0:
            self._heard = self._heard[-4:]  # the end may be cut in two
            return False
        self._heard = self._heard[end + length :]
        self._in_body = False
        self._book.enter(self._recipients)
        self._recipients = []
        replies.append(b"250 2.0.0 in the book\r\n")
        return True

    def _answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return b"250-ledger.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
            case b"RCPT":
                self._recipients.append(line[line.index(b"<") + 1 : line.index(b">")])
                return b"250 2.1.5 ok\r\n"
            case b"DATA":
                self._in_body = True
                return b"354 go on\r\n"
            case b"QUIT":
                self._transport.write(b"221 2.0.0 bye\r\n")
                self._transport.close()
                return b""
            case b"RSET":
                self._recipients = []
        return b"250 2.0.0 ok\r\n"


async def _run(port: int, path: str) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    book = Book(path)
    hosts = ["127.0.0.1", *(f"127.0.1.{number}" for number in range(1, 51))]
    server = await loop.create_server(lambda: Visit(book), hosts, port, backlog=1024)
    await over.wait()
    server.close()


if __name__ == "__main__":
    serving = _run(int(sys.argv[1]), sys.argv[2])
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)
