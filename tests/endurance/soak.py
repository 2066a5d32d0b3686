"""Send a million messages through one node, and see that nothing of it is left behind.

    python tests/endurance/soak.py --messages 1000000

A real node: three quarters of the mail goes on to a next hop, a quarter into a mailbox, whose owner comes again and
again, fetches all and deletes it. Connections come and go. Memory, descriptors, the store's files and their WALs are
looked at on the way. In the end the queue and the mailbox are empty; transcripts are left to expire, the node is
started anew, and the files are to be as small as they were at first. Prints tables; exit 0 where all of it holds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop
from neighbours import Node, Sink, burst, fetch_all, free_port

_CONFIG = """
[[listener]]
role = "mx"
port = {port}
tls = "none"
[[listener]]
role = "pop3"
port = {pop3}
tls = "none"
[smtp]
relay_domains = ["away.test"]
max_connections_per_address = 0
[[smarthost]]
host = "127.0.0.1"
port = {sink}
tls = "none"
[transcripts]
keep = "{keep}"
max_size = "256 MB"
"""
STEPS = 20  # lines of the table
EACH = 500  # messages on one set of connections
FLAT = 1.15  # memory may grow by so much from the first quarter to the last
FILES = ("spool.db", "spool.db-wal", "transcripts.db", "transcripts.db-wal")


@dataclass
class Moment:
    """The node at a moment of the run."""

    messages: int
    seconds: float
    memory: float  # MB
    descriptors: int
    sizes: list[float]  # MB, of FILES
    cpu: float

    def __str__(self) -> str:
        rate = self.messages / self.seconds if self.seconds else 0.0
        sizes = "".join(f"{size:>10.1f}" for size in self.sizes)
        return f"{self.messages:>10,}{self.seconds:>8.0f}{rate:>8.0f}{self.memory:>9.1f}{self.descriptors:>6}{sizes}"


HEAD = f"{'messages':>10}{'s':>8}{'/s':>8}{'MB':>9}{'fds':>6}{'spool':>10}{'wal':>10}{'transcr.':>10}{'wal':>10}"


def letters(count: int, chance: random.Random) -> Callable[[], tuple[list[str], bytes] | None]:
    """So many messages, most of them small: one of four is for the mailbox here."""
    left = iter(range(count))

    def more() -> tuple[list[str], bytes] | None:
        number = next(left, None)
        if number is None:
            return None
        to = "box@here.test" if number % 4 == 0 else f"r{number % 100}@away.test"
        lines = 4000 if chance.random() < 0.002 else chance.randint(2, 120)
        return [
            to
        ], b"Subject: soak\r\n\r\n" + b"A line of text, and not the last of its kind to come here.\r\n" * lines

    return more


class Soak:
    """One run. `moments` is its table."""

    def __init__(self, folder: Path, messages: int, sessions: int) -> None:
        self.messages, self.sessions = messages, sessions
        self.sink = Sink(folder)
        self.pop3 = free_port()
        port = free_port()
        self._config = _CONFIG.format(port=port, pop3=self.pop3, sink=self.sink.port, keep="{keep}")
        self.node = Node(folder, self._config.format(keep="30 days"), port)
        self.folder = folder
        self.moments: list[Moment] = []
        self.taken = self.fetched = 0
        self._begun = 0.0

    def look(self) -> Moment:
        node = self.node
        moment = Moment(
            self.taken,
            time.monotonic() - self._begun,
            node.memory,
            node.descriptors,
            [node.size(name) for name in FILES],
            node.cpu,
        )
        self.moments.append(moment)
        print(moment, flush=True)
        return moment

    async def run(self) -> None:
        chance = random.Random(7)
        self._begun = time.monotonic()
        print(HEAD, flush=True)
        self.look()
        step = max(EACH, self.messages // STEPS)
        while self.taken < self.messages:
            goal = min(self.messages, self.taken + step)
            while self.taken < goal:
                sent = await burst(self.node.port, self.sessions, letters(min(EACH, goal - self.taken), chance))
                self.taken += sent.taken
                if not sent.taken:
                    raise RuntimeError(f"nothing is taken any more: {sent.answers}")
                if self.taken % (EACH * 10) < EACH:
                    self.fetched += await fetch_all(self.pop3, "box@here.test", "secret")
            self.look()
        while self.node.counts("recipient")[0]:  # noqa: ASYNC110  (another process empties it)
            await asyncio.sleep(0.2)
        self.fetched += await fetch_all(self.pop3, "box@here.test", "secret")
        self.look()

    def judge(self) -> bool:
        """What must hold at the end of the run. Prints it."""
        first = [one.memory for one in self.moments[2 : 2 + len(self.moments) // 4]]
        last = [one.memory for one in self.moments[-len(self.moments) // 4 :]]
        growth = max(last) / max(first)
        wal = max(max(one.sizes[1], one.sizes[3]) for one in self.moments)
        left = self.node.counts("message", "chunk", "recipient", "deposit", "draft")
        away = self.taken - self.fetched
        held = {
            f"memory: last quarter {growth:.2f} times the first": growth <= FLAT,
            f"descriptors: {self.moments[1].descriptors} at first, {self.moments[-1].descriptors} in the end": (
                self.moments[-1].descriptors <= self.moments[1].descriptors + 8
            ),
            f"largest WAL: {wal:.0f} MB": wal < 200,
            f"left in the store: {left}": not any(left),
            f"{self.taken:,} taken, {self.fetched:,} fetched, {self.sink.count:,} arrived": self.sink.count == away,
            f"processor time for 1,000: {self.moments[-1].cpu / self.taken * 1000:.2f} s": True,
        }
        for what, holds in held.items():
            print(f"{'holds' if holds else 'DOES NOT HOLD'}: {what}", flush=True)
        return all(held.values())

    async def expire(self, floor: list[float]) -> bool:
        """All transcripts are too old now: they go, and with a new start the files are small again."""
        before = [self.node.size(name) for name in FILES]
        self.node.stop()
        for number in range(2):  # once to let them go, once more to give back what they took
            self.node = Node(self.folder, self._config.format(keep="1 s"), self.node.port)
            took = self.node.start()
            if number == 0:
                for _ in range(600):
                    await asyncio.sleep(0.5)
                    if self.left_of_transcripts() < 50:
                        break
                self.node.stop()
        after = [self.node.size(name) for name in FILES]
        print(f"\n{'MB':<24}{'at first':>12}{'after the run':>16}{'after expiry and start':>26}")
        for name, *sizes in zip(FILES, floor, before, after, strict=True):
            print(f"{name:<24}{sizes[0]:>12.1f}{sizes[1]:>16.1f}{sizes[2]:>26.1f}")
        print(f"the last start took {took:.1f} s", flush=True)
        return sum(after) < sum(floor) + 40

    def left_of_transcripts(self) -> int:
        import apsw

        connection = apsw.Connection(str(self.node.data / "transcripts.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(10_000)
            return int(connection.execute("SELECT count(*) FROM conversation").get)
        finally:
            connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glasspost-soak-", dir="/var/tmp") as folder:
        soak = Soak(Path(folder), options.messages, options.sessions)
        try:
            soak.sink.open()
            soak.node.start()
            soak.node.tell("account", "add", "box@here.test", "--password-stdin", secret="secret\n")
            uvloop.run(soak.run())
            fine = soak.judge()
            fine = uvloop.run(soak.expire(soak.moments[0].sizes)) and fine
        finally:
            soak.node.stop()
            soak.sink.close()
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
