"""Thousands of clients that hardly move, and see that a good one hardly notices.

    python tests/endurance/slow_clients.py --slow 5000 --idle 2000 --rounds 10

Two real nodes. To one come 5,000 connections that say one octet every few seconds, and 2,000 that have gone over to
TLS, said EHLO, and say nothing more; all of them in a process of their own. The other is left alone. A good client
sends messages of 10 KB, one after the other, to the one and to the other in turn, some seconds each: what else the
machine is up to meets both alike. While it is the lonely node's turn, the crowd stands still (SIGSTOP).
Prints how long the client waited for each 250 here and there, the ratio, and what the node weighs.
Exit 0 where the p99 beside the crowd is not more than twice the other, and everybody was there to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from neighbours import Node, free_port

_CONFIG = """
[[listener]]
role = "mx"
port = {port}
[smtp]
max_connections = 20000
max_connections_per_address = 0
command_timeout = "10 min"
greeting_timeout = "10 min"
[transcripts]
keep = "1 h"
"""
_LINES = 40  # of a message of 10 KB
_MESSAGE = b"Subject: ten kilobytes\r\n\r\n" + (b"x" * 254 + b"\r\n") * _LINES + b".\r\n"
_OPENING_AT_ONCE = 20
_BETWEEN_OCTETS = 4.0  # seconds
_CATCHING_UP = 1.5  # seconds for the crowd, when it may go on


# --- the slow ones, in a process of their own -----------------------------------------------------------------


class Crowd:
    """Everybody who hardly moves. Says `ready` when all are there, and how many are left when its input ends."""

    def __init__(self, port: int, slow: int, idle: int) -> None:
        self._port, self._slow, self._idle = port, slow, idle
        self._writers: list[asyncio.StreamWriter] = []
        self._quiet: list[asyncio.StreamReader] = []
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._room = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def run(self) -> None:
        await asyncio.gather(*(self._come(tls=False) for _ in range(self._slow)))
        print("slow", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(self._come(tls=True) for _ in range(self._idle)))
        print("idle", flush=True)
        dripping = [asyncio.create_task(self._drip(number)) for number in range(self._slow)]
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        left = sum(not reader.at_eof() for reader in self._quiet)
        for task in dripping:
            task.cancel()
        print(left, flush=True)

    async def _come(self, *, tls: bool) -> None:
        async with self._room:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            await reader.readline()
            if tls:
                await _say(reader, writer, b"EHLO idle.test")
                await _say(reader, writer, b"STARTTLS")
                await writer.start_tls(self._context)
                await _say(reader, writer, b"EHLO idle.test")
            else:
                self._writers.append(writer)
            self._quiet.append(reader)
            if tls:
                self._writers.append(writer)

    async def _drip(self, number: int) -> None:
        """One octet of EHLO after the other; those of all are spread evenly over the time between two."""
        await asyncio.sleep(_BETWEEN_OCTETS * number / max(1, self._slow))
        with contextlib.suppress(ConnectionError):
            for octet in b"EHLO slow.test" + b"x" * 1000:
                self._writers[number].write(bytes([octet]))
                await asyncio.sleep(_BETWEEN_OCTETS)


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bytes:
    writer.write(line + b"\r\n")
    while (answer := await reader.readline())[3:4] == b"-":
        pass
    return answer


# --- the good one ---------------------------------------------------------------------------------------------


async def send(port: int, seconds: float) -> list[float]:
    """Messages one after the other on one connection: for each, the seconds from MAIL to the 250 behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    await _say(reader, writer, b"EHLO good.test")
    waits = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        writer.write(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<box@here.test>\r\nDATA\r\n")
        for _ in range(3):
            await reader.readline()
        writer.write(_MESSAGE)
        answer = await reader.readline()
        if not answer.startswith(b"250"):
            raise RuntimeError(f"the good client was refused: {answer!r}")
        waits.append(time.monotonic() - begun)
    writer.close()
    return waits


def part(waits: list[float], share: float) -> float:
    return sorted(waits)[min(len(waits) - 1, int(len(waits) * share))] * 1000


def tell(when: str, waits: list[float], node: Node) -> None:
    figures = ", ".join(f"{name} {part(waits, share):.1f} ms" for name, share in (("p50", 0.5), ("p99", 0.99)))
    print(f"{when:<28} {len(waits):>7,} messages  {figures}, longest {max(waits) * 1000:.0f} ms", flush=True)
    print(f"{'':<28} the node weighs {node.memory:.1f} MB, {node.descriptors:,} descriptors", flush=True)


def measure(lonely: Node, node: Node, options: argparse.Namespace) -> bool:
    for one in (lonely, node):
        uvloop.run(send(one.port, 3))  # what the first ones cost is not counted
    empty = node.memory
    sizes = ["--crowd", str(node.port), "--slow", str(options.slow), "--idle", str(options.idle)]
    with subprocess.Popen(
        [sys.executable, __file__, *sizes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as crowd:
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        crowd.stdout.readline()
        with_slow = node.memory
        print(f"{options.slow:,} slow ones", end="", flush=True)
        crowd.stdin.write("\n")
        crowd.stdin.flush()
        crowd.stdout.readline()
        with_idle = node.memory
        print(
            f": {(with_slow - empty) * 1000 / max(1, options.slow):.1f} KB each; {options.idle:,} idle ones with TLS: "
            f"{(with_idle - with_slow) * 1000 / max(1, options.idle):.1f} KB each",
            flush=True,
        )
        alone, during = in_turn(lonely, node, crowd.pid, options)
        tell("alone", alone, lonely)
        tell("with all of them", during, node)
        crowd.stdin.write("\n")
        crowd.stdin.flush()
        left = int(crowd.stdout.readline() or 0)
    ratio = part(during, 0.99) / part(alone, 0.99)
    print(f"p99 with them is {ratio:.2f} times that without; {left:,} of {options.slow + options.idle:,} still there")
    return ratio <= 2 and left == options.slow + options.idle


def in_turn(lonely: Node, node: Node, crowd: int, options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """What the good client waited for at the lonely node, and at the one with the crowd."""
    alone: list[float] = []
    during: list[float] = []
    for number in range(options.rounds):
        os.kill(crowd, signal.SIGSTOP)
        alone += (calm := uvloop.run(send(lonely.port, options.seconds)))
        os.kill(crowd, signal.SIGCONT)
        time.sleep(_CATCHING_UP)  # it says at once what it has not said meanwhile
        during += (crowded := uvloop.run(send(node.port, options.seconds)))
        print(f"round {number + 1}: p99 {part(calm, 0.99):.1f} ms, beside them {part(crowded, 0.99):.1f}", flush=True)
    return alone, during


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", type=int, default=5000)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4, help="of a turn; each round has two")
    parser.add_argument("--crowd", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.slow + options.idle + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        print(f"ulimit -Hn is {hard}; {wanted} descriptors are needed", file=sys.stderr)
        return 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if options.crowd:
        uvloop.run(_crowd(options))
        return 0
    with tempfile.TemporaryDirectory(prefix="glasspost-slow-", dir="/var/tmp") as folder:
        nodes = []
        try:
            for name in ("lonely", "crowded"):
                place, port = Path(folder) / name, free_port()
                place.mkdir()
                nodes.append(Node(place, _CONFIG.format(port=port), port))
                nodes[-1].start()
                nodes[-1].tell("account", "add", "box@here.test", "--password-stdin", secret="secret\n")
            fine = measure(nodes[0], nodes[1], options)
        finally:
            for node in nodes:
                node.stop()
    return 0 if fine else 1


async def _crowd(options: argparse.Namespace) -> None:
    await Crowd(options.crowd, options.slow, options.idle).run()


if __name__ == "__main__":
    sys.exit(main())
