"""A node as a process, and who it has to do with: many clients, a next hop that counts, owners who fetch their mail.

Lives here: what soak.py, overload.py and drain.py need to run a real node and to weigh it from outside.
Does not live here: any expectation; the next hop that keeps a ledger (sink.py).

    python tests/endurance/neighbours.py PORT FILE    be that next hop: count what comes into FILE
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import apsw
import uvloop

GLASSPOST = Path(sys.executable).with_name("glasspost")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Node:
    """The node under test. `config` is TOML without [node]; `environment` goes to the process."""

    def __init__(self, folder: Path, config: str, port: int, **environment: str) -> None:
        self.port = port
        self.data = folder / "data"
        self.config = folder / "node.toml"
        self.config.write_text(f'[node]\nhostname = "node.test"\ndrain = "10 s"\n{config}')
        self.environment = os.environ | environment
        self.log = (folder / "node.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> float:
        """Returns how long it took until it greeted, in seconds: its port is open before its store is. `command`: what
        to run it under."""
        begun = time.monotonic()
        argv = [*command, GLASSPOST, "serve", "--config", self.config, "--data", self.data]
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log, env=self.environment)
        while time.monotonic() - begun < 60:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 60) as caller:
                    if caller.recv(3) == b"220":
                        return time.monotonic() - begun
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError("the node did not start; see node.log") from None
                time.sleep(0.02)
        raise RuntimeError("the node did not greet in a minute")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def tell(self, *words: str, secret: str = "") -> str:
        """A command of glasspost on the same data."""
        command = [GLASSPOST, *words, "--data", self.data]
        return subprocess.run(command, input=secret, text=True, capture_output=True, check=True, timeout=120).stdout

    # --- weighed from outside ---------------------------------------------------------------------------------

    @property
    def memory(self) -> float:
        """Resident, in MB."""
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE / 1e6

    @property
    def cpu(self) -> float:
        """Seconds of processor time until now."""
        assert self.process is not None
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat[stat.rindex(")") + 2 :].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def descriptors(self) -> int:
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def size(self, name: str) -> float:
        """A file of the data folder, in MB; 0 where there is none."""
        path = self.data / name
        return path.stat().st_size / 1e6 if path.exists() else 0.0

    def counts(self, *tables: str) -> list[int]:
        """Rows of tables of the spool, read beside the node."""
        connection = apsw.Connection(str(self.data / "spool.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(10_000)
            return [int(connection.execute(f"SELECT count(*) FROM {table}").get) for table in tables]
        finally:
            connection.close()


# --- clients ----------------------------------------------------------------------------------------------------


@dataclass
class Sent:
    """What some clients came to."""

    taken: int = 0
    later: int = 0  # refused for now: 421, 450, 451, 452
    refused: int = 0  # for good
    cut: int = 0  # connections that ended without a word
    unfinished: int = 0  # sessions that were under way when patience ended
    answers: dict[str, int] = field(default_factory=dict)  # refusals by code and enhanced code
    seconds: list[float] = field(default_factory=list)  # MAIL to the last reply, of messages that were taken


class Refusal(Exception):
    """A reply that is no yes."""


class Client:
    """One connection: `async with`-less, as it may be cut off at any time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def call(cls, port: int, patience: float = 60.0) -> Client:
        """Connected, greeted, EHLO said. Raises Refusal or OSError."""
        async with asyncio.timeout(patience):
            client = cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
            await client.expect(b"220")
            client.writer.write(b"EHLO load.test\r\n")
            await client.expect(b"250")
            return client

    async def expect(self, code: bytes) -> bytes:
        while True:
            line = await self.reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            if line[3:4] != b"-":
                break
        if not line.startswith(code):
            raise Refusal(line.decode(errors="replace").strip())
        return line

    async def send(self, recipients: list[str], body: bytes, *, piece: int = 0, pause: float = 0.0) -> None:
        """One message, envelope pipelined. `piece`, `pause`: so many octets at a time, so many seconds between."""
        lines = (
            f"MAIL FROM:<load@load.test> SIZE={len(body)}\r\n"
            + "".join(f"RCPT TO:<{to}>\r\n" for to in recipients)
            + "DATA\r\n"
        )
        self.writer.write(lines.encode())
        await self.expect(b"250")
        for _ in recipients:
            await self.expect(b"250")
        await self.expect(b"354")
        for at in range(0, len(body), piece or len(body)):
            self.writer.write(body[at : at + (piece or len(body))])
            await self.writer.drain()
            if pause:
                await asyncio.sleep(pause)
        self.writer.write(b"\r\n.\r\n")
        await self.expect(b"250")

    def close(self) -> None:
        self.writer.close()


def count_refusal(sent: Sent, error: Refusal) -> None:
    text = str(error)
    key = " ".join(text.split()[:2])
    sent.answers[key] = sent.answers.get(key, 0) + 1
    if text[:1] == "4":
        sent.later += 1
    else:
        sent.refused += 1


async def burst(
    port: int,
    sessions: int,
    more: Callable[[], tuple[list[str], bytes] | None],
    *,
    again: float = 0.5,
    patience: float = 3_600.0,
) -> Sent:
    """So many sessions, each sending what `more` hands out, until that is None. What is refused for now is not sent
    again; the connection is made anew `again` seconds later. After `patience` seconds all that is under way is cut."""
    sent = Sent()

    async def one() -> None:
        client: Client | None = None
        while (message := more()) is not None:
            try:
                client = client or await Client.call(port)
                begun = time.monotonic()
                await client.send(*message)
                sent.seconds.append(time.monotonic() - begun)
                sent.taken += 1
                continue
            except Refusal as error:
                count_refusal(sent, error)
            except (OSError, EOFError, TimeoutError):
                sent.cut += 1
            if client is not None:
                client.close()
            client = None
            await asyncio.sleep(again)
        if client is not None:
            client.close()

    tasks = [asyncio.ensure_future(one()) for _ in range(sessions)]
    _, unfinished = await asyncio.wait(tasks, timeout=patience)
    sent.unfinished = len(unfinished)
    for task in unfinished:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sent


async def fetch_all(port: int, user: str, password: str) -> int:
    """An owner comes: all messages are fetched and deleted. How many there were."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)

    async def ask(line: str) -> bytes:
        writer.write(f"{line}\r\n".encode())
        return await reader.readline()

    await reader.readline()
    await ask(f"USER {user}")
    if not (await ask(f"PASS {password}")).startswith(b"+OK"):
        raise RuntimeError("the owner was not let in")
    count = int((await ask("STAT")).split()[1])
    for first in range(1, count + 1, 50):
        numbers = range(first, min(first + 50, count + 1))
        writer.write("".join(f"RETR {number}\r\nDELE {number}\r\n" for number in numbers).encode())
        for _ in numbers:
            if not (await reader.readline()).startswith(b"+OK"):
                raise RuntimeError("a message could not be fetched")
            await reader.readuntil(b"\r\n.\r\n")
            await reader.readline()
    await ask("QUIT")
    writer.close()
    return count


# --- the next hop -----------------------------------------------------------------------------------------------


class Sink:
    """The next hop as a process."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self.file = folder / "sink.count"
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, str(self.port), str(self.file)])
        for _ in range(500):
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.02)
        raise RuntimeError("the next hop did not open its port")

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    @property
    def count(self) -> int:
        """Recipients of messages it has taken, as of a fifth of a second ago."""
        return int(self.file.read_text() or "0") if self.file.exists() else 0


class _Counting(asyncio.Protocol):
    """One connection of the next hop: everything is taken."""

    taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by birth
        self.unread, self.in_body, self.recipients = b"", False, 0
        self.transport.write(b"220 sink.test\r\n")

    def data_received(self, data: bytes) -> None:
        self.unread += data
        replies = []
        while True:
            mark = b"\r\n.\r\n" if self.in_body else b"\r\n"
            line, end, rest = self.unread.partition(mark)
            if not end:
                break
            self.unread = rest
            if self.in_body:
                self.in_body = False
                _Counting.taken += self.recipients
                self.recipients = 0
                replies.append(b"250 2.0.0 taken\r\n")
            else:
                replies.append(self._answer(line[:4].upper()))
        if replies:
            self.transport.write(b"".join(replies))

    def _answer(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            return b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n"
        if verb == b"DATA":
            self.in_body = True
            return b"354 go on\r\n"
        if verb == b"RCPT":
            self.recipients += 1
        return b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n"


async def _be_the_sink(port: int, file: Path) -> None:
    server = await asyncio.get_running_loop().create_server(_Counting, "127.0.0.1", port, backlog=1024)
    async with server:
        while True:
            # Written beside and moved into place: whoever reads never finds half a number.
            beside = file.with_suffix(".new")
            beside.write_text(str(_Counting.taken))
            beside.replace(file)
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    uvloop.run(_be_the_sink(int(sys.argv[1]), Path(sys.argv[2])))
