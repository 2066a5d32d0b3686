"""Fill a queue for destinations that are down, bring them back, and see how fast it drains.

    python tests/endurance/drain.py --messages 100000 --domains 50

A real node on a real disk. First it relays to a next hop that is up: that is the relay rate to be compared with. Then
the next hop is shut; the messages come in and wait. The node is started anew, so that it knows nothing of the past,
and its start is timed. Then the next hop opens, and one new message to each domain comes: what waits is to be fetched
at once, and not when each message falls due. Prints a table; exit 0 where nothing was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "src")]

from neighbours import Node, Sent, Sink, burst, free_port  # noqa: E402

from glasspost.testing import Nameserver  # noqa: E402

_CONFIG = """
[[listener]]
role = "mx"
port = {port}
tls = "none"
[smtp]
relay_domains = [{domains}]
max_connections_per_address = 0
[relay]
mx_port = {sink}
tls = "none"
[dns]
servers = ["127.0.0.1:{dns}"]
"""
BODY = b"Subject: patience\r\n\r\n" + b"Everything comes to him who waits.\r\n" * 28


@dataclass
class Table:
    """What was seen, line by line."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, figure: str) -> None:
        self.lines.append((what, figure))
        print(f"{what:<58} {figure:>16}", flush=True)


def handed_out(count: int, domains: int) -> Callable[[], tuple[list[str], bytes] | None]:
    """Messages to one recipient each, to the domains in turn."""
    left = iter(range(count))

    def more() -> tuple[list[str], bytes] | None:
        number = next(left, None)
        return None if number is None else ([f"r{number}@d{number % domains}.test"], BODY)

    return more


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        await asyncio.sleep(0.1)
    return False


async def run(messages: int, domains: int, folder: Path, patience: float = 1800) -> bool:
    """Do it, and print the table. Whether nothing was lost."""
    table = Table()
    names = [f"d{number}.test" for number in range(domains)]
    zone = "\n".join(f"{name} MX 10 mx.test" for name in names) + "\nmx.test A 127.0.0.1"
    async with Nameserver(zone, ttl=86_400) as dns:
        sink, port = Sink(folder), free_port()
        quoted = ", ".join(f'"{name}"' for name in names)
        node = Node(folder, _CONFIG.format(port=port, sink=sink.port, dns=dns.servers[0][1], domains=quoted), port)
        try:
            sink.open()
            node.start()
            base = max(2_000, min(20_000, messages // 5))
            begun, cpu = time.monotonic(), node.cpu
            await burst(port, 20, handed_out(base, domains))
            await until(lambda: sink.count >= base, 300)
            table.add("relayed with all destinations up", f"{base / (time.monotonic() - begun):,.0f} /s")
            table.add("  processor time for 1,000", f"{(node.cpu - cpu) / base * 1000:.2f} s")
            sink.close()
            sent = await fill(node, messages, domains, table)
            node.log = (folder / "node.log").open("ab")
            table.add("the node starts anew with that queue", f"{node.start():.1f} s")
            begun = time.monotonic()
            node.tell("queue", "list", "--summary")
            table.add("queue list --summary", f"{time.monotonic() - begun:.2f} s")
            return await drain(node, sink, sent.taken, domains, table, patience)
        finally:
            node.stop()
            sink.close()


async def fill(node: Node, messages: int, domains: int, table: Table) -> Sent:
    """All destinations are down: the messages come in and wait. The node is stopped in the end."""
    begun = time.monotonic()
    sent = await burst(node.port, 20, handed_out(messages, domains))
    table.add("accepted with all destinations down", f"{sent.taken / (time.monotonic() - begun):,.0f} /s")
    # What came while its destination rested is due at the end of that rest, and finds out then.
    await until(lambda: node.counts("recipient WHERE stranded = ''")[0] == 0, 300)
    stranded, everyone = node.counts("recipient WHERE stranded <> ''", "recipient")
    table.add("waiting; of these marked with their destination", f"{everyone:,}; {stranded:,}")
    table.add("memory of the node", f"{node.memory:.0f} MB")
    node.stop()
    return sent


async def drain(node: Node, sink: Sink, messages: int, domains: int, table: Table, patience: float) -> bool:
    soon = node.counts("recipient WHERE due < unixepoch() + 30")[0]
    table.add("of these due within 30 s anyway", f"{soon:,}")
    sink.open()
    base = sink.count
    begun, cpu = time.monotonic(), node.cpu
    await burst(node.port, 4, handed_out(domains, domains))
    most, last = 0.0, begun
    while (left := node.counts("recipient")[0]) and time.monotonic() - begun < patience:
        most = max(most, node.memory)
        if time.monotonic() - last > 15:
            last = time.monotonic()
            print(f"  {last - begun:>6.0f} s: {left:,} left", flush=True)
        await asyncio.sleep(0.25)
    took = time.monotonic() - begun
    drained = messages + domains - left
    table.add("drained in", f"{took:,.1f} s")
    table.add("  that is", f"{drained / took:,.0f} /s")
    table.add("  processor time for 1,000", f"{(node.cpu - cpu) / max(1, drained) * 1000:.2f} s")
    table.add("most memory meanwhile", f"{most:.0f} MB")
    await asyncio.sleep(0.5)
    arrived = sink.count - base
    table.add("arrived; left; lost", f"{arrived:,}; {left:,}; {messages + domains - left - arrived:,}")
    return left == 0 and arrived == messages + domains


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--domains", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glasspost-drain-", dir="/var/tmp") as folder:
        return 0 if uvloop.run(run(options.messages, options.domains, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
