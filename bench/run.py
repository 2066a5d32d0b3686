"""Measures glasspost beside its peers: the same load, the same target, the same disk, in turn.

    python bench/run.py WORKLOAD... [options]        all: everything

Lives here: the options, which workloads and which servers, and what is left behind (nothing but the files asked for).
Does not live here: a measurement (workloads/), a server (peers/).
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import machine
import pages
from course import Course, Extent, Workload, skip
from load import LoadError
from meter import Sample
from peers.aiosmtpd import Aiosmtpd
from peers.dovecot import PostfixDovecot
from peers.exim import Exim
from peers.glasspost import Glasspost, GlasspostSilent
from peers.haraka import Haraka
from peers.opensmtpd import OpenSmtpd
from peers.postfix import Postfix
from peers.sink import Sink
from report import Report
from server import Server
from workloads.accept import Accept, Grid, Tls, Transcripts
from workloads.deep import Deep
from workloads.idle import Idle
from workloads.large import Large
from workloads.mailboxes import Fetch, Local
from workloads.relay import FanOut, Relay
from workloads.slow import Slow

PEERS: dict[str, type[Server]] = {
    peer.name: peer
    for peer in (
        Glasspost, GlasspostSilent, Postfix, PostfixDovecot, Sink, Exim, OpenSmtpd, Aiosmtpd, Haraka,
    )
}  # fmt: skip
WORKLOADS: dict[str, Workload] = {
    one.name: one
    for one in (
        Accept(), Relay(), Local(), FanOut(), Fetch(), Tls(), Transcripts(), Idle(), Slow(), Large(), Grid(), Deep(),
    )
}  # fmt: skip
_WORK = Path(__file__).resolve().parent / "results" / "work"


def main() -> int:
    options = _options()
    machine.isolate()
    machine.raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    options.work.mkdir(parents=True, exist_ok=True)
    obstacles = [PEERS[name].missing() for name in options.peers or ("glasspost",)]
    if not shutil.which("smtp-source"):
        obstacles.append("smtp-source is not installed (it comes with Postfix): sh bench/peers.sh")
    if machine.is_memory(options.work):
        obstacles.append(f"{options.work} is in memory, where a flush costs nothing: name a disk with --work")
    if any(obstacles):
        print("\n".join(filter(None, obstacles)), file=sys.stderr)
        return 2
    everything = "all" in options.workloads
    names = list(WORKLOADS) if everything else options.workloads
    course = Course.begin(options.work, options.extent)
    try:
        reports = [_measure(WORKLOADS[name], course, options, everything) for name in names]
    finally:
        if not options.keep:
            course.clear()
    if options.json:
        options.json.write_text(json.dumps([report.json() for report in reports], indent=1) + "\n")
    return 1 if any(report.faults for report in reports) else 0


def _measure(workload: Workload, course: Course, options: argparse.Namespace, everything: bool) -> Report:
    """One workload, told and written as soon as it is done: a later one may fail."""
    extent = options.extent
    course.extent = replace(extent, rounds=min(extent.rounds, workload.rounds_in_all)) if everything else extent
    peers = _able(workload, options.peers)
    begun = time.monotonic()
    stopped = False
    try:
        workload.run(course, peers)
    except LoadError as error:
        stopped = True
        course.note(workload.name, "stopped", peers[0].name, Sample(fault=str(error)))
    report = _report(workload, course, peers, options.work)
    print(f"\n{report.plain()}\n{workload.name} took {time.monotonic() - begun:.0f} s\n", flush=True)
    if options.markdown and not stopped:
        try:
            pages.put(options.markdown, workload.name, report.markdown())
        except pages.NoMarks as error:
            print(error, file=sys.stderr)
    return report


def _able(workload: Workload, asked: Sequence[str]) -> list[type[Server]]:
    """The servers that can do it and are there. One that was asked for by name is there: that was looked at."""
    peers = []
    for name in asked or workload.peers:
        peer = PEERS[name]
        if not workload.needs <= peer.does:
            skip(f"{name} for {workload.name}: it does not do that")
        elif obstacle := peer.missing():
            skip(f"{name} for {workload.name}: {obstacle}")
        else:
            peers.append(peer)
    return peers


def _report(workload: Workload, course: Course, peers: Sequence[type[Server]], work: Path) -> Report:
    network = "a network of its own with loopback only" if machine.is_isolated() else "the machine's loopback"
    facts = {
        "Date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Machine": f"{machine.describe(work)}, {network}",
        "Versions": "; ".join(peer.version() for peer in peers),
    }
    shares = {peer.name: peer.share for peer in peers}
    found = course.found.get(workload.name, {})
    return Report(workload, found, course.extent, facts, [peer.name for peer in peers], shares)


def _options() -> argparse.Namespace:
    whole = Extent()
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog="workloads: " + "; ".join(f"{one.name} ({one.title})" for one in WORKLOADS.values()),
    )
    parser.add_argument("workloads", nargs="*", default=["all"], metavar="WORKLOAD", help="several, or all (default)")
    parser.add_argument("--peers", type=_peers, default=[], metavar="A,B", help=f"of: {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=_count, default=whole.rounds)
    parser.add_argument("--seconds", type=float, default=whole.seconds, help="length of a burst")
    parser.add_argument("--messages", type=_count, default=whole.messages, help="of relay and of local")
    parser.add_argument("--depth", type=_count, default=whole.depth, help="of the deep queue; a peer gets a tenth")
    parser.add_argument("--sessions", type=_count, default=whole.sessions, help="that are idle")
    parser.add_argument("--box", type=_count, default=whole.box, help="messages in the mailbox that is fetched")
    parser.add_argument("--only", default="", metavar="TEXT", help='cases that begin so: "10 KB, 20 sessions, reuse"')
    parser.add_argument("--quick", action="store_true", help="only to see that it works: no figure means anything")
    parser.add_argument("--markdown", type=_path, metavar="FILE", help="write each table between its marks there")
    parser.add_argument("--json", type=_path, metavar="FILE", help="every figure of every round")
    parser.add_argument("--work", type=_path, default=_WORK, help="directory on a real disk")
    parser.add_argument("--keep", action="store_true", help="leave queues and logs in the work directory")
    options = parser.parse_args()
    for name in options.workloads:
        if name != "all" and name not in WORKLOADS:
            parser.error(f"{name} is not one of {', '.join(WORKLOADS)}, all")
    extent = Extent(options.rounds, options.seconds, options.messages, options.depth, options.sessions, options.box)
    extent = replace(extent, only=options.only)
    options.extent = extent.quick() if options.quick else extent
    return options


def _path(text: str) -> Path:
    return Path(text).resolve()


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def _peers(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(PEERS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
