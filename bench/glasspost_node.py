"""glasspost under test: its configuration for the bench, and how it is asked what it holds.

Lives here: everything the bench knows about glasspost. Nothing else does.
"""

from __future__ import annotations

import json
from pathlib import Path

from machine import run
from server import RELAY, Server

_GLASSPOST = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "glasspost"

_CONFIG = """\
[node]
hostname = "bench.test"

[[listener]]
role = "mx"
port = {port}
tls = "none"

[smtp]
relay_domains = ["dst.test"]
max_connections_per_address = 0

[relay]
paused = {paused}
concurrency = 50

[[smarthost]]
host = "127.0.0.1"
port = {target}
tls = "none"
"""


class Glasspost(Server):
    name = "glasspost"

    @classmethod
    def missing(cls) -> str:
        return "" if _GLASSPOST.exists() else "glasspost is not built here: run `make test` once"

    @classmethod
    def version(cls) -> str:
        return run(str(_GLASSPOST), "--version")

    def prepare(self) -> list[str]:
        config = self.directory / "glasspost.toml"
        paused = "false" if self.mode == RELAY else "true"
        config.write_text(_CONFIG.format(port=self.port, paused=paused, target=self.target or 25))
        self._data = self.directory / "data"
        return [str(_GLASSPOST), "serve", "--config", str(config), "--data", str(self._data)]

    def stored(self) -> int:
        return len(json.loads(run(str(_GLASSPOST), "queue", "list", "--json", "--data", str(self._data))))
