"""A deep queue: how long looking at it and starting on it take, and what its indexes cost the mail that never waits.

    python tests/endurance/deep.py --messages 100000 1000000

Fills a store by the spool's own contract (accepted, claimed, put off, to 50 domains that are down), without a node and
without waiting for the disk. Then the commands, each a process of its own, once after the file was thrown out of the
machine's cache and then again; the start of a node; and, for a store without a queue and for this one, the processor
time of a message that is accepted and delivered at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "src")]

from neighbours import GLASSPOST, Node, free_port  # noqa: E402

from glasspost.ids import write_id  # noqa: E402
from glasspost.mail.address import address_from_text  # noqa: E402
from glasspost.mail.envelope import BodyType, Envelope, Recipient  # noqa: E402
from glasspost.storage import queue  # noqa: E402
from glasspost.storage.database import Database  # noqa: E402
from glasspost.storage.folder import Folder  # noqa: E402
from glasspost.storage.spool import Spool  # noqa: E402
from glasspost.storage.spooled import Intake, Settlement  # noqa: E402
from glasspost.storage.sqlite import row  # noqa: E402

DOMAINS = 50
AT_ONCE = 1_000
BODY = b"Subject: patience\r\n\r\n" + b"Everything comes to him who waits.\r\n" * 28
HEAD = b"Received: from client.example by mail.example.test; now\r\n"
REPLY = "451 4.4.1 mx.{} [127.0.0.1]:25 does not answer: connection refused"
_CONFIG = """
[[listener]]
role = "mx"
port = {port}
tls = "none"
[relay]
paused = true
"""


def intake(spool: Spool, number: int, now: float) -> Intake:
    draft = spool.new_draft()
    draft.add(BODY)
    recipient = Recipient(address_from_text(f"r{number}@d{number % DOMAINS}.test"))
    envelope = Envelope(address_from_text("anna@example.org"), body=BodyType.SEVEN_BIT)
    return Intake(draft, envelope, HEAD, now, "c0000000000a", recipients=[recipient], claim=True)


async def accepted(spool: Spool, intakes: list[Intake], now: float) -> None:
    """All of them, in as few commits as the writer needs. Raises what went wrong."""
    left, whole = len(intakes), asyncio.get_running_loop().create_future()

    def done(error: Exception | None) -> None:
        nonlocal left
        left -= 1
        if not whole.done() and (error is not None or left == 0):
            whole.set_result(error)

    for one in intakes:
        spool.accept(one, now, done)
    if (error := await whole) is not None:
        raise error
    for one in intakes:
        spool.let_go(one.queued[0].message)


async def settled(spool: Spool, settlements: list[Settlement], now: float) -> None:
    whole = asyncio.get_running_loop().create_future()
    spool.settle(settlements, [], now, lambda void, error: whole.set_result(error or void))
    if await whole:
        raise RuntimeError(str(whole.result()))


def put_off(one: Intake, chance: random.Random, now: float) -> Settlement:
    queued = one.queued[0]
    domain = queued.address.route
    return Settlement(
        queued, now + chance.uniform(0, 14_400), now, REPLY.format(domain), f"mx.{domain}", "c0000000000b",
        stranded=f"mx:{domain}",
    )  # fmt: skip


async def filled(spool: Spool, messages: int) -> None:
    chance, now = random.Random(1), time.time()
    for start in range(0, messages, AT_ONCE):
        intakes = [intake(spool, number, now) for number in range(start, min(messages, start + AT_ONCE))]
        await accepted(spool, intakes, now)
        await settled(spool, [put_off(one, chance, now) for one in intakes], now)


async def passing(spool: Spool, messages: int, *, deferred: bool) -> float:
    """Messages that are accepted and delivered at once, or `deferred` once before: processor time of one, in
    microseconds."""
    chance, now = random.Random(2), time.time()
    begun = time.process_time()
    for start in range(0, messages, 50):
        intakes = [intake(spool, number, now) for number in range(start, start + 50)]
        await accepted(spool, intakes, now)
        if deferred:
            await settled(spool, [put_off(one, chance, now) for one in intakes], now)
            for one in intakes:  # its turn comes, without the others of the queue
                await spool.database.written(
                    lambda connection, low=one.queued[0].id: connection.execute(
                        "UPDATE recipient SET state = 1, generation = 2 WHERE id = ?", (low,)
                    )
                )
                one.queued[0].generation = 2
        await settled(spool, [Settlement(one.queued[0]) for one in intakes], now)
    return (time.process_time() - begun) / messages * 1e6


def forgotten(path: Path) -> None:
    """Have the machine drop what it has in memory of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(act: Callable[[], object]) -> float:
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def show(what: str, figure: str) -> None:
    print(f"{what:<64} {figure:>18}", flush=True)


async def run(messages: int, base: Path) -> None:
    folder = Folder(base / "data")
    folder.make()
    database = Database(folder.spool, "spool", durable=False)
    database.start(asyncio.get_running_loop())
    spool = Spool(database, "deep", 600.0)
    for deferred in (False, True):
        what = "put off once, then delivered" if deferred else "delivered at once"
        costs = sorted([await passing(spool, 5_000, deferred=deferred) for _ in range(5)])
        show(f"processor time of a message {what}, empty queue", f"{costs[2]:.1f} us")
    begun = time.monotonic()
    await filled(spool, messages)
    show(f"{messages:,} accepted and put off in", f"{time.monotonic() - begun:.0f} s")
    costs = sorted([await passing(spool, 5_000, deferred=False) for _ in range(5)])
    show("processor time of a message delivered at once, deep queue", f"{costs[2]:.1f} us")
    middle = write_id("q", row(database.reader, "SELECT id FROM message LIMIT 1 OFFSET ?", (messages // 2,))[0])
    await database.close()
    show("the store", f"{folder.spool.stat().st_size / 1e6:,.0f} MB")
    commands = (["list", "--summary"], ["list", "--summary", "--json"], ["list", "--limit", "50"], ["show", middle])
    for words in commands:
        argv = [GLASSPOST, "queue", *words, "--data", folder.path]
        forgotten(folder.spool)
        times = [timed(lambda argv=argv: subprocess.run(argv, check=True, capture_output=True)) for _ in range(4)]
        name = " ".join(words).replace(middle, "q...")
        show(f"queue {name}: cold; again", f"{times[0]:.2f} s; {sorted(times[1:])[1]:.2f} s")
    looking = Database(folder.spool, "spool")
    times = [timed(lambda: queue.summary(looking.reader)) for _ in range(3)]
    show("  of which the summary itself: first; then", f"{times[0]:.2f} s; {min(times[1:]):.2f} s")
    looking.close_now()
    port = free_port()
    node = Node(base, _CONFIG.format(port=port), port)
    forgotten(folder.spool)
    show("the node starts", f"{node.start():.1f} s")
    node.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[100_000])
    parser.add_argument("--keep", type=Path, help="fill this folder, and leave it")
    options = parser.parse_args()
    for messages in options.messages:
        if options.keep:
            asyncio.run(run(messages, options.keep))
            continue
        with tempfile.TemporaryDirectory(prefix="glasspost-deep-", dir="/var/tmp") as folder:
            asyncio.run(run(messages, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
