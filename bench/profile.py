"""Shows where a message's time goes: microseconds of processor time, by room and by thread.

    python bench/profile.py [--messages N] [--markdown FILE]

Lives here: the load, the table, what is said about it.
Does not live here: looking into the node (sampler.py), the node with the sampler in it (programs/sampled_node.py).

For each load a node is started with the sampler asleep in it; one burst tells what a message costs undisturbed, the
next, with the sampler awake, where that goes. The shares are the sampler's, the sum is the undisturbed one's.
"""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import pages
from course import Course, Extent, timed
from load import Load, LoadError, Sink, python
from peers.glasspost import Glasspost
from sampler import ROOMS
from server import ACCEPT, RELAY, Setup
from workloads.relay import reached

_PROGRAM = Path(__file__).resolve().parent / "programs" / "sampled_node.py"
_WORK = Path(__file__).resolve().parent / "results" / "work"
_CASES = {
    "accept, 10 KB, 20 sessions, reuse": (ACCEPT, 20, True),
    "accept, 10 KB, 20 sessions, new connection each": (ACCEPT, 20, False),
    "accept, 10 KB, 1 session, reuse": (ACCEPT, 1, True),
    "relay, 10 KB, 20 sessions, reuse": (RELAY, 20, True),
}


class Sampled(Glasspost):
    """glasspost with the sampler in it."""

    name = "glasspost-sampled"

    def program(self) -> list[str]:
        return [python(), str(_PROGRAM), str(self.directory)]

    def sample(self, on: bool) -> None:
        (self.directory / ("start" if on else "stop")).touch()

    def found(self) -> dict[str, Any]:
        path = self.directory / "found.json"
        if not reached(path.exists, 20):
            raise LoadError("the sampler has not written what it found")
        found: dict[str, Any] = json.loads(path.read_text())
        return found


@dataclass(slots=True)
class Profile:
    """One load's profile. Microseconds of processor time per message."""

    case: str
    messages: int
    rate: float
    cost: float  # undisturbed, all threads
    sampled_rate: float
    sampled_cost: float
    looks: int
    rooms: dict[tuple[str, str], float]  # (thread, room) -> microseconds, scaled to `cost`
    places: list[tuple[str, float]]

    @property
    def threads(self) -> list[str]:
        total: dict[str, float] = {}
        for (thread, _), used in self.rooms.items():
            total[thread] = total.get(thread, 0.0) + used
        return [thread for thread, used in sorted(total.items(), key=lambda item: -item[1]) if used >= 0.5]

    def markdown(self) -> str:
        threads = self.threads
        lines = [
            f"### {self.case}",
            "",
            f"{self.rate:.0f} messages/s, {self.cost:.0f} µs of processor time a message. "
            f"(With the sampler awake {self.sampled_rate:.0f}/s and {self.sampled_cost:.0f} µs; "
            f"{self.looks:,} looks; {self.messages:,} messages.)",
            "",
            "| µs per message | " + " | ".join([*threads, "all threads", "share"]) + " |",
            "|---" + "|---:" * (len(threads) + 2) + "|",
        ]
        for room in ROOMS:
            cells = [self.rooms.get((thread, room), 0.0) for thread in threads]
            whole = sum(used for (_, name), used in self.rooms.items() if name == room)
            if whole >= 0.05:
                row = [f"{cell:.1f}" if cell >= 0.05 else "" for cell in cells]
                lines.append(
                    f"| {room} | " + " | ".join([*row, f"{whole:.1f}", f"{100 * whole / self.cost:.0f} %"]) + " |"
                )
        sums = [sum(used for (name, _), used in self.rooms.items() if name == thread) for thread in threads]
        lines.append("| **sum** | " + " | ".join([*(f"{one:.1f}" for one in sums), f"{self.cost:.1f}", "100 %"]) + " |")
        top = ", ".join(f"`{place}` {used:.1f}" for place, used in self.places[:12])
        return "\n".join([*lines, "", f"Most in: {top}."])


def measure(course: Course, case: str, mode: str, sessions: int, reuse: bool, messages: int) -> Profile:
    load = Load(messages, 10_240, sessions, reuse)
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(course.directory)) if mode == RELAY else None
        server = Sampled(course.place(Sampled), Setup(mode, target=sink.port if sink else 0))
        stack.enter_context(server)
        timed(server, load.with_messages(max(200, messages // 10)))

        def burst() -> tuple[float, float]:
            """(messages/s, microseconds of processor time per message)."""
            if sink and not reached(lambda: sink.count >= server.sent, 120):
                raise LoadError("the warm-up did not arrive")
            time.sleep(0.5)
            before, begun = server.cpu_seconds(), time.monotonic()
            timed(server, load)
            if sink and not reached(lambda: sink.count >= server.sent, 300):
                raise LoadError(f"{sink.count} of {server.sent} arrived")
            seconds = time.monotonic() - begun
            time.sleep(0.3)  # what is written behind our back belongs to these messages
            return messages / seconds, 1e6 * (server.cpu_seconds() - before) / messages

        rate, cost = burst()
        server.sample(True)
        sampled_rate, sampled_cost = burst()
        server.sample(False)
        found = server.found()
        if mode == ACCEPT and (stored := server.stored()) != server.sent:
            raise LoadError(f"sent {server.sent}, stored {stored}")
    total = sum(used for *_, used in found["rooms"])
    scale = cost / total
    rooms = {(thread, room): used * scale for thread, room, used in found["rooms"]}
    places = [(place, used * scale) for place, used in found["places"]]
    return Profile(case, messages, rate, cost, sampled_rate, sampled_cost, found["looks"], rooms, places)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=10_000, help="of each burst; a tenth of it with 1 session")
    parser.add_argument("--markdown", type=lambda text: Path(text).resolve(), metavar="FILE")
    parser.add_argument("--work", type=lambda text: Path(text).resolve(), default=_WORK)
    options = parser.parse_args()
    machine.isolate()
    machine.raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if obstacle := Glasspost.missing():
        print(obstacle, file=sys.stderr)
        return 2
    options.work.mkdir(parents=True, exist_ok=True)
    course = Course.begin(options.work, Extent())
    texts = [_facts(options.work)]
    try:
        for case, (mode, sessions, reuse) in _CASES.items():
            messages = options.messages if sessions > 1 else max(100, options.messages // 10)
            texts.append(measure(course, case, mode, sessions, reuse, messages).markdown())
            print(texts[-1] + "\n", flush=True)
    except LoadError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    finally:
        course.clear()
    if options.markdown:
        pages.put(options.markdown, "profile", "\n\n".join(texts))
    return 0


def _facts(work: Path) -> str:
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"- Date: {date}\n- Machine: {machine.describe(work)}\n- Version: {Glasspost.version()}, transcripts on"


if __name__ == "__main__":
    sys.exit(main())
