"""Bring a node more than it can take, and see that it slows its senders and bears it.

    python tests/endurance/overload.py --sessions 300 --seconds 60 --sync 0.1 --speed 10e6

A real node whose disk is slow (slow_disk.py). Hundreds of sessions send large bodies as fast as they can, and come
again when they are refused; a few good clients send small messages, one after the other, and are patient. Prints a
table of what was taken, what was said to the others, how long the good clients waited, and what it cost: memory, WAL,
processor.
Exit 0 where memory stayed within its bound and every message that got a 250 is in the mailbox or the queue.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop
from neighbours import Node, Sent, burst, free_port

HERE = Path(__file__).resolve().parent
_CONFIG = """
[[listener]]
role = "mx"
port = {port}
tls = "none"
[smtp]
max_connections = 10000
max_connections_per_address = 0
max_memory = "{memory} MB"
[transcripts]
keep = "1 h"
"""
LINE = b"More than it can take, and a little more after that. 0123456789\r\n"


def until_the_end(
    end: float, sizes: tuple[int, int], chance: random.Random
) -> Callable[[], tuple[list[str], bytes] | None]:
    """Messages of some size between the two, until a moment."""

    def more() -> tuple[list[str], bytes] | None:
        if time.monotonic() > end:
            return None
        return ["box@here.test"], LINE * (chance.randint(*sizes) // len(LINE) + 1)

    return more


async def weigh(node: Node, end: float) -> tuple[float, float, int]:
    """Most memory (MB), largest WAL (MB), most descriptors, until a moment."""
    memory = wal = 0.0
    descriptors = 0
    while time.monotonic() < end:
        memory, wal = max(memory, node.memory), max(wal, node.size("spool.db-wal"))
        descriptors = max(descriptors, node.descriptors)
        await asyncio.sleep(0.1)
    return memory, wal, descriptors


def share(seconds: list[float], part: float) -> float:
    """The time within which this part of the messages was taken; 0 where there were none."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * part))] if seconds else 0.0


def line(what: str, figure: str) -> None:
    print(f"{what:<58} {figure:>20}", flush=True)


async def run(sessions: int, seconds: float, megabytes: float, memory: int, node: Node) -> bool:
    chance = random.Random(1)
    idle = node.memory
    line("memory before", f"{idle:.0f} MB")
    quiet_end = time.monotonic() + min(10.0, seconds)
    quiet = await burst(node.port, 5, until_the_end(quiet_end, (2_000, 4_000), chance), again=0.1)
    tell_good("good clients alone", quiet)
    end = time.monotonic() + seconds
    cpu = node.cpu
    size = int(megabytes * 1e6)
    flood, good, worst = await asyncio.gather(
        burst(node.port, sessions, until_the_end(end, (size // 2, size), chance), again=1.0, patience=seconds + 5),
        burst(node.port, 5, until_the_end(end, (2_000, 4_000), chance), again=0.1),
        weigh(node, end),
    )
    line(f"flood: {sessions} sessions, {megabytes / 2:g} to {megabytes:g} MB each", "")
    line("  taken", f"{flood.taken:,}")
    line("  asked to come later", f"{flood.later:,}")
    for answer, count in sorted(flood.answers.items()):
        line(f"    {answer}", f"{count:,}")
    line("  refused for good; cut off; under way at the end", f"{flood.refused:,}; {flood.cut:,}; {flood.unfinished:,}")
    tell_good("good clients meanwhile", good)
    most, wal, descriptors = worst
    line("most memory (max_memory)", f"{most:.0f} MB ({memory} MB)")
    line("largest WAL; most descriptors", f"{wal:.0f} MB; {descriptors}")
    line("processor", f"{(node.cpu - cpu) / seconds:.2f} cores")
    taken = quiet.taken + flood.taken + good.taken
    (kept,) = node.counts("deposit")
    line("acknowledged; in the mailbox", f"{taken:,}; {kept:,}")
    bound = idle + 3 * memory + 160  # 64 MB of content kept for delivery, the store's caches, sockets of the sessions
    line("bound on memory", f"{bound:.0f} MB")
    return most < bound and kept >= taken and flood.refused == good.refused == 0


def tell_good(who: str, sent: Sent) -> None:
    line(f"{who}: taken; asked to come later", f"{sent.taken:,}; {sent.later:,}")
    line(
        "  p50, p99, longest from MAIL to 250",
        ", ".join(f"{share(sent.seconds, part):.2f} s" for part in (0.5, 0.99, 1)),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--megabytes", type=float, default=5.0, help="the largest body of the flood")
    parser.add_argument("--memory", type=int, default=64, help="smtp.max_memory, in MB")
    parser.add_argument("--sync", type=float, default=0.1, help="seconds that a sync takes")
    parser.add_argument("--speed", type=float, default=10e6, help="octets a second that the disk writes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glasspost-overload-", dir="/var/tmp") as folder:
        port = free_port()
        slow = {"GLASSPOST_SYNC_SECONDS": str(options.sync), "GLASSPOST_OCTETS_PER_SECOND": str(options.speed)}
        node = Node(Path(folder), _CONFIG.format(port=port, memory=options.memory), port, **slow)
        try:
            node.start(sys.executable, str(HERE / "slow_disk.py"))
            node.tell("account", "add", "box@here.test", "--password-stdin", secret="secret\n")
            fine = uvloop.run(run(options.sessions, options.seconds, options.megabytes, options.memory, node))
        finally:
            node.stop()
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
