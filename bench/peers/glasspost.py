"""glasspost under test: its configuration for the bench, and how it is asked what it holds.

Lives here: everything the bench knows about glasspost. It is asked through its command line, as a postmaster asks.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from subprocess import run as run_process
from typing import ClassVar

from machine import run
from server import ACCEPT, DEEP, DOMAINS, LOCAL, PASSWORD, RELAY, TLS, Server, box, host_of

GLASSPOST = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "glasspost"

_CONFIG = """\
[node]
hostname = "bench.test"
log_level = "warning"

[[listener]]
role = "mx"
port = {port}
tls = "{tls}"
{pop3}{identity}
[smtp]
{domains}
max_connections = 50000
max_connections_per_address = 0

[relay]
paused = {paused}
concurrency = 50

[transcripts]
enabled = {transcripts}
"""

_POP3 = """
[[listener]]
role = "pop3"
port = {port}
tls = "none"
"""

_IDENTITY = """
[tls]
certificate = "{certificate}"
key = "{key}"
"""

_SMARTHOST = """
[[smarthost]]
domain = "{domain}"
host = "{host}"
port = {port}
tls = "none"
"""


class Glasspost(Server):
    name = "glasspost"
    does = frozenset({ACCEPT, RELAY, LOCAL, TLS, DEEP, DOMAINS})
    transcripts = True
    _furnished: ClassVar[dict[int, Path]] = {}  # number of mailboxes -> a data folder that has them

    @classmethod
    def missing(cls) -> str:
        return "" if GLASSPOST.exists() else "glasspost is not built here: run `make test` once"

    @classmethod
    def version(cls) -> str:
        return run(str(GLASSPOST), "--version")

    def prepare(self) -> list[list[str]]:
        self._data = self.directory / "data"
        config = self.directory / "glasspost.toml"
        config.write_text(self._config())
        if self.setup.boxes and not self._data.exists():
            shutil.copytree(self._furnish(self.setup.boxes), self._data)
        return [[*self.program(), "serve", "--config", str(config), "--data", str(self._data)]]

    def program(self) -> list[str]:
        """What stands before `serve`."""
        return [str(GLASSPOST)]

    def _config(self) -> str:
        setup = self.setup
        domains = [f"d{number}.dst.test" for number in range(1, setup.domains + 1)]
        text = _CONFIG.format(
            port=self.port,
            tls="starttls" if setup.identity else "none",
            pop3=_POP3.format(port=self.pop3_port) if self.pop3_port else "",
            identity=_IDENTITY.format(certificate=setup.identity.certificate, key=setup.identity.key)
            if setup.identity
            else "",
            domains="" if setup.mode == LOCAL else f"relay_domains = {json.dumps(['dst.test', *domains])}",
            paused="false" if setup.mode == RELAY else "true",
            transcripts=str(self.transcripts).lower(),
        )
        if setup.mode == RELAY:
            text += _SMARTHOST.format(domain="*", host="127.0.0.1", port=setup.target)
        for number, domain in enumerate(domains, 1):
            text += _SMARTHOST.format(domain=domain, host=host_of(number), port=setup.target)
        return text

    def _furnish(self, boxes: int) -> Path:
        """A data folder with these mailboxes, made once for all rounds: hashing passwords takes its time."""
        if boxes not in self._furnished:
            folder = self.directory.parent / f"furnished-{boxes}"
            for number in range(1, boxes + 1):
                run_process(
                    [str(GLASSPOST), "account", "add", box(number), "--password-stdin", "--data", str(folder)],
                    input=PASSWORD + "\n", text=True, check=True, capture_output=True, timeout=60,
                )  # fmt: skip
            self._furnished[boxes] = folder
        return self._furnished[boxes]

    def stored(self) -> int:
        return self.summary()

    def at_rest(self) -> bool:
        """Local mail is in its mailbox with the commit that made the 250 true."""
        return True

    def summary(self) -> int:
        piles = json.loads(run(str(GLASSPOST), "queue", "list", "--summary", "--json", "--data", str(self._data)))
        return sum(pile["count"] for pile in piles)

    def deliver_now(self) -> None:
        run(str(GLASSPOST), "queue", "retry", "all", "--data", str(self._data))


class GlasspostSilent(Glasspost):
    """glasspost with transcripts off: what recording costs."""

    name = "glasspost-silent"
    transcripts = False

    @classmethod
    def version(cls) -> str:
        return "the same without transcripts"
