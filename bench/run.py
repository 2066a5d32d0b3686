"""Measures glasspost beside its peers: the same load, the same target, the same disk, in turn.

    python bench/run.py [accept|relay|memory|all] [options]

Lives here: the options, the order of rounds, and what is left behind (nothing but the files asked for).
Does not live here: a measurement (measure.py), a server (postfix.py, glasspost_node.py, sink.py).
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import signal
import sys
from pathlib import Path

import machine
from glasspost_node import Glasspost
from load import Load, LoadError
from load import Sink as Target
from measure import Run, accept, memory, relay
from postfix import Postfix
from report import Report
from server import ACCEPT, MEMORY, RELAY, Server
from sink import Sink

_PEERS: dict[str, type[Server]] = {peer.name: peer for peer in (Glasspost, Postfix, Sink)}
_WORK = Path(__file__).resolve().parent / "results" / "work"


def main() -> int:
    options = _options()
    machine.isolate()
    machine.raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    peers = [_PEERS[name] for name in options.peers]
    obstacles = [peer.missing() for peer in peers] + ([] if shutil.which("smtp-source") else [Sink.missing()])
    options.work.mkdir(parents=True, exist_ok=True)
    if machine.is_memory(options.work):
        obstacles.append(f"{options.work} is in memory, where a flush costs nothing: name a disk with --work")
    if any(obstacles):
        print("\n".join(filter(None, obstacles)), file=sys.stderr)
        return 2
    report = _new_report(options, peers)
    bench = Bench(options, report)
    try:
        bench.all(peers)
    except LoadError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    finally:
        bench.clear()
    print("\n" + report.plain())
    if options.json:
        options.json.write_text(json.dumps(report.json(), indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(report.markdown())
    return 1 if report.faults else 0


class Bench:
    """Runs the measurements, each server fresh in a directory of its own. Used directories stay until the
    end: on ext4, creating files is slow for a minute after many were deleted; the next server would pay."""

    def __init__(self, options: argparse.Namespace, report: Report) -> None:
        self._options, self._report = options, report
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        self._directory: Path = options.work / stamp
        self._directory.mkdir()
        self._load = Load(options.messages, options.size, options.sessions, options.reuse)
        self._started = 0

    def all(self, peers: list[type[Server]]) -> None:
        wanted = (ACCEPT, RELAY, MEMORY) if self._options.what == "all" else (self._options.what,)
        for what in wanted:
            able = [peer for peer in peers if what in peer.modes]
            if what == MEMORY:
                for peer in able:
                    self._weigh(peer)
                continue
            for number in range(1, self._options.rounds + 1):
                for peer in able:  # in turn, so that whatever else the machine does hits both
                    run = self._accept(peer) if what == ACCEPT else self._relay(peer)
                    self._report.runs.setdefault(what, {}).setdefault(peer.name, []).append(run)
                    fault = f"  {run.fault}" if run.fault else ""
                    print(f"{what} {number} {peer.name:9} {run.rate:7.0f}/s{fault}", flush=True)

    def _accept(self, peer: type[Server]) -> Run:
        with peer(self._next(peer), ACCEPT) as server:
            return accept(server, self._load)

    def _relay(self, peer: type[Server]) -> Run:
        with Target(self._directory) as target, peer(self._next(peer), RELAY, target.port) as server:
            return relay(server, self._load, target)

    def _weigh(self, peer: type[Server]) -> None:
        sessions = self._options.idle
        with peer(self._next(peer), MEMORY, sessions=max(sessions, default=0)) as server:
            self._report.weights[peer.name] = memory(server, sessions)
        print(f"memory  {peer.name}", flush=True)

    def _next(self, peer: type[Server]) -> Path:
        self._started += 1
        return self._directory / f"{self._started:03}-{peer.name}"

    def clear(self) -> None:
        if not self._options.keep:
            shutil.rmtree(self._directory)


def _new_report(options: argparse.Namespace, peers: list[type[Server]]) -> Report:
    connections = "reused" if options.reuse else "one per message"
    network = "a network of its own with loopback only" if machine.is_isolated() else "the machine's loopback"
    return Report(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine.describe(options.work),
        versions={peer.name: peer.version() for peer in peers},
        method=(
            f"smtp-source, {options.messages} messages of {options.size} octets, "
            f"{options.sessions} sessions, connections {connections}, "
            f"{options.rounds} rounds in turn on {network}, each server freshly "
            "started and warmed up; relay to smtp-sink; median [min-max]"
        ),
        peers=[peer.name for peer in peers],
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("what", nargs="?", default="all", choices=[ACCEPT, RELAY, MEMORY, "all"])
    parser.add_argument("--messages", type=_count, default=10_000, metavar="N")
    parser.add_argument("--size", type=_count, default=10_240, help="octets of a message")
    parser.add_argument("--sessions", type=_count, default=20, help="connections at the same time")
    parser.add_argument("--rounds", type=_count, default=3)
    style = parser.add_mutually_exclusive_group()
    style.add_argument("--reuse", action="store_true", default=True, help="many messages a connection (default)")
    style.add_argument("--connect", action="store_false", dest="reuse", help="one message a connection")
    parser.add_argument("--peers", type=_peers, default="glasspost,postfix", help=",".join(_PEERS))
    parser.add_argument("--idle", type=_counts, default="500,2000", help="idle sessions for memory")
    parser.add_argument("--work", type=_path, default=_WORK, help="directory on a real disk")
    parser.add_argument("--keep", action="store_true", help="leave queues and logs in the work directory")
    parser.add_argument("--json", type=_path, metavar="FILE", help="every figure of every round")
    parser.add_argument("--markdown", type=_path, metavar="FILE", help="the tables, with machine and method")
    return parser.parse_args()


def _path(text: str) -> Path:
    return Path(text).resolve()


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def _peers(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in _PEERS:
            raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(_PEERS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
