"""What the record costs: accepting mail with transcripts on, beside the same node with transcripts off.

    python bench/transcripts_cost.py [--messages 10000] [--rounds 5] [--connect]

The two take turns, so that whatever else the machine does hits both; the figure to read is the ratio, round by round.

Lives here: the two configurations, and the comparison.
Does not live here: the measurement (measure.py), the node's configuration (glasspost_node.py).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import machine
from glasspost_node import Glasspost
from load import Load
from measure import Run, accept
from server import ACCEPT

_WORK = Path(__file__).resolve().parent / "results"


class Silent(Glasspost):
    """The same node without a record."""

    name = "off"

    def prepare(self) -> list[str]:
        command = super().prepare()
        config = self.directory / "glasspost.toml"
        config.write_text(config.read_text() + "\n[transcripts]\nenabled = false\n")
        return command


class Recording(Glasspost):
    name = "on"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=10_240, help="octets of a message")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connect", action="store_true", help="one message a connection")
    options = parser.parse_args()
    machine.isolate()
    machine.raise_file_limit()
    load = Load(options.messages, options.size, options.sessions, not options.connect)
    _WORK.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="cost-", dir=_WORK))
    rates: list[float] = []
    cpu: list[float] = []
    try:
        for number in range(options.rounds):
            pair: dict[str, Run] = {}
            for peer in (Silent, Recording) if number % 2 else (Recording, Silent):
                with peer(folder / f"{number}-{peer.name}", ACCEPT) as server:
                    pair[peer.name] = accept(server, load)
            on, off = pair["on"], pair["off"]
            rates.append(on.rate / off.rate)
            cpu.append(on.cpu / off.cpu)
            fault = on.fault or off.fault
            print(
                f"round {number + 1}: on {on.rate:.0f}/s, off {off.rate:.0f}/s, on/off {rates[-1]:.3f}; "
                f"CPU s/1000 on {on.cpu:.3f}, off {off.cpu:.3f} {fault}",
                flush=True,
            )
    finally:
        shutil.rmtree(folder)
    print(f"accept rate, on / off: median {statistics.median(rates):.3f} [{min(rates):.3f}-{max(rates):.3f}]")
    print(f"CPU, on / off:         median {statistics.median(cpu):.3f} [{min(cpu):.3f}-{max(cpu):.3f}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
