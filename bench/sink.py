"""smtp-sink as if it were a server: it keeps nothing, so it shows what the generator alone can do."""

from __future__ import annotations

import shutil

from load import sink_argv, sink_count
from server import ACCEPT, MEMORY, Server


class Sink(Server):
    name = "sink"
    modes = (ACCEPT, MEMORY)

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("smtp-sink") else "smtp-sink is not installed (Debian package: postfix)"

    @classmethod
    def version(cls) -> str:
        return "smtp-sink, keeps nothing"

    def prepare(self) -> list[str]:
        return sink_argv(self.port)

    def stored(self) -> int:
        """What it has taken: it stores nothing, and this is what must equal what was sent."""
        return sink_count(self.log)
