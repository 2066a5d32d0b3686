"""Two nodes on one store, as two real processes: no mail is in two hands at a time, a dead one's is taken over.

A node has its folder for itself (storage/folder.py): it counts mailboxes, locks maildrops and recovers for itself
alone. What two processes may share is the queue, by leases; these tests take the lock away to see them work.
"""

from __future__ import annotations

import asyncio
import re
import signal
import smtplib
import struct
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from glasspost.storage import queue
from glasspost.storage.database import Database
from glasspost.storage.folder import Folder

SHARING = str(Path(__file__).with_name("sharing.py"))
LEASE = 3600.0  # nobody waits for it: `Nodes.passes` moves the clocks
LIMIT = 120  # seconds that nothing here may take
CONFIG = """
[node]
hostname = "{name}.test"
drain = "2 s"
[[listener]]
role = "mx"
port = 0
tls = "none"
[smtp]
relay_domains = ["away.test"]
[relay]
schedule = ["1 s"]
lease = "{lease} s"
window = {window}
idle_timeout = "0 s"
[relay.timeouts]
dot = "1 h"
[transcripts]
enabled = false
[[smarthost]]
host = "127.0.0.1"
port = {port}
tls = "none"
"""


@dataclass(slots=True)
class Brought:
    """One message at the next hop: by which node, and to whom."""

    node: str
    recipient: str


@dataclass
class NextHop:
    """A next hop that knows who brought what. While `answers` is not set, dots are not answered."""

    answers: asyncio.Event = field(default_factory=asyncio.Event)
    later: bool = False  # say 451 to everybody
    brought: list[Brought] = field(default_factory=list)
    port: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node = recipient = ""

        def say(text: str) -> None:
            writer.write(text.encode() + b"\r\n")

        say("220 hop.test")
        try:
            while line := (await reader.readline()).decode().strip():
                if line.startswith("EHLO"):
                    node = line[5:]
                    say("250 hop.test")
                elif line.startswith("MAIL"):
                    say("250 ok")
                elif line.startswith("RCPT"):
                    recipient = line[line.index("<") + 1 : line.index(">")]
                    say("451 later" if self.later else "250 ok")
                elif line == "DATA":
                    say("354 go on")
                    await reader.readuntil(b"\r\n.\r\n")
                    self.brought.append(Brought(node, recipient))
                    self.changed.set()
                    await self.answers.wait()
                    say("250 taken")
                else:
                    say("221 bye" if line == "QUIT" else "250 ok")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @property
    def counts(self) -> Counter[str]:
        return Counter(one.recipient for one in self.brought)

    def by(self, node: str) -> int:
        return sum(one.node == f"{node}.test" for one in self.brought)

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not happened():
                self.changed.clear()
                await self.changed.wait()


class Nodes:
    """Nodes on one folder."""

    def __init__(self, folder: Path, hop: NextHop) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.hop = hop
        self.processes: dict[str, Process] = {}
        self.ports: dict[str, int] = {}
        self.clock = folder / "clock"
        self.clock.write_bytes(struct.pack("d", 0.0))
        self.ahead = 0.0

    def passes(self, seconds: float) -> None:
        """So many seconds pass for all nodes at once, also for one that is suspended."""
        self.ahead += seconds
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", self.ahead))

    async def start(self, name: str, window: int = 1000) -> None:
        config = self.folder / f"{name}.toml"
        config.write_text(CONFIG.format(name=name, port=self.hop.port, lease=LEASE, window=window))
        command = [sys.executable, SHARING, str(self.clock), "serve", "--config", str(config), "--data", str(self.data)]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=log)
        self.processes[name] = process
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT):
            while line := await process.stdout.readline():
                if found := re.match(rb" +mx +127\.0\.0\.1:(\d+)", line):
                    self.ports[name] = int(found[1])
                if b"Ctrl-C" in line:
                    return
        raise AssertionError((self.folder / f"{name}.log").read_text())

    async def send(self, name: str, count: int, prefix: str) -> list[str]:
        """So many messages through one of the nodes."""
        recipients = [f"{prefix}{number}@away.test" for number in range(count)]

        def sending() -> None:
            with smtplib.SMTP("127.0.0.1", self.ports[name], timeout=LIMIT) as client:
                for one in recipients:
                    client.sendmail("anna@example.org", [one], "Subject: one\r\n\r\nHello\r\n")

        await asyncio.to_thread(sending)
        return recipients

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def waiting(self) -> int:
        database = Database(Folder(self.data).spool, "spool")
        try:
            return queue.count(database.reader)
        finally:
            database.close_now()

    def oldest_lease(self) -> float:
        """For how many seconds the work in hand is at least its node's own."""
        database = Database(Folder(self.data).spool, "spool")
        try:
            [until] = database.reader.execute("SELECT min(due) FROM recipient WHERE state = 1").fetchone()
        finally:
            database.close_now()
        return float(until) - time.time() - self.ahead

    async def until_renewed(self) -> None:
        async with asyncio.timeout(LIMIT):
            while self.oldest_lease() < LEASE * 0.9:  # noqa: ASYNC110  (another process's store sends no event)
                await asyncio.sleep(0.1)

    async def until_empty(self) -> None:
        async with asyncio.timeout(LIMIT):
            while self.waiting():  # noqa: ASYNC110  (another process's store sends no event)
                await asyncio.sleep(0.1)

    def doubted(self) -> Counter[str]:
        database = Database(Folder(self.data).spool, "spool")
        try:
            return Counter(doubt.recipient for doubt in queue.doubts(database.reader))
        finally:
            database.close_now()

    async def end(self) -> None:
        for process in self.processes.values():
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
async def hop() -> AsyncIterator[NextHop]:
    hop = NextHop()
    server = await asyncio.start_server(hop.visit, "127.0.0.1", 0, limit=1 << 20)
    hop.port = server.sockets[0].getsockname()[1]
    yield hop
    server.close()


@pytest.fixture
async def nodes(tmp_path: Path, hop: NextHop) -> AsyncIterator[Nodes]:
    nodes = Nodes(tmp_path, hop)
    yield nodes
    await nodes.end()


async def test_two_nodes_never_have_the_same_recipient_in_hand(nodes: Nodes, hop: NextHop) -> None:
    """All of it is deferred once, so that both claim from the same pile, ten at a time; then the first attempts take
    longer than a lease."""
    hop.later = True
    await nodes.start("one", window=10)
    await nodes.start("two", window=10)
    recipients = [*await nodes.send("one", 20, "a"), *await nodes.send("two", 20, "b")]
    assert nodes.waiting() == 40
    hop.later = False
    await hop.until(lambda: bool(hop.by("one") and hop.by("two")))
    for _ in range(4):
        nodes.passes(LEASE / 2)
        await nodes.until_renewed()
    hop.answers.set()
    await nodes.until_empty()
    assert hop.counts == Counter(recipients)
    assert not nodes.doubted()


async def test_a_dead_nodes_work_is_taken_over_within_the_lease(nodes: Nodes, hop: NextHop) -> None:
    await nodes.start("one")
    await nodes.start("two")
    recipients = await nodes.send("one", 10, "a")
    await hop.until(lambda: hop.by("one") == 10)  # it will never hear an answer
    nodes.signal("one", signal.SIGKILL)
    hop.answers.set()
    nodes.passes(LEASE + 1)
    await nodes.until_empty()
    assert hop.by("two") == 10
    assert hop.counts == Counter(recipients * 2)
    assert nodes.doubted() == Counter(recipients), "each came twice, and for each it is on record why"


async def test_a_node_that_was_stopped_for_too_long_leaves_alone_what_it_lost(nodes: Nodes, hop: NextHop) -> None:
    """Suspended with work in hand, not begun yet, until its leases have run out; then woken."""
    await nodes.start("one")
    recipients = await nodes.send("one", 100, "a")  # 20 at a time to one destination: most of them wait
    await hop.until(lambda: hop.by("one") >= 20)
    nodes.signal("one", signal.SIGSTOP)
    under_way = {one.recipient for one in hop.brought}
    hop.answers.set()
    nodes.passes(LEASE + 1)
    await nodes.start("two")
    await hop.until(lambda: hop.by("two") >= 60)
    nodes.signal("one", signal.SIGCONT)
    await nodes.until_empty()
    assert set(hop.counts) == set(recipients)
    twice = {recipient for recipient, count in hop.counts.items() if count > 1}
    assert twice <= under_way, "what it had not begun it did not begin any more"
    assert twice <= set(nodes.doubted())
