"""smtp-sink as if it were a server: it keeps nothing, so it shows what the generator alone can do.

Lives here: how it is started and counted as a server under test. As the next hop it is in load.py.
"""

from __future__ import annotations

import shutil

from load import sink_argv, sink_count
from server import Server


class Sink(Server):
    name = "sink"

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("smtp-sink") else "smtp-sink is not installed: sh bench/peers.sh"

    @classmethod
    def version(cls) -> str:
        return "smtp-sink keeps nothing: it is the limit"

    def prepare(self) -> list[list[str]]:
        return [sink_argv(self.port)]

    def stored(self) -> int:
        """What it has taken: it stores nothing, and this is what must equal what was sent."""
        return sink_count(self.log)
