"""aiosmtpd as a peer: Python's usual SMTP server, on uvloop, keeping nothing.

Lives here: how it is started and counted. It stores nothing, so it shows what another Python server's protocol alone
costs; its rate is no durable accept.
Does not live here: the program itself (programs/black_hole.py).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from load import python
from machine import run
from server import ACCEPT, TLS, Server

_PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "black_hole.py"


class Aiosmtpd(Server):
    name = "aiosmtpd"
    does = frozenset({ACCEPT, TLS})

    @classmethod
    def missing(cls) -> str:
        probe = subprocess.run([python(), "-c", "import aiosmtpd"], capture_output=True)
        return "aiosmtpd is not installed: run `make test` once" if probe.returncode else ""

    @classmethod
    def version(cls) -> str:
        return "aiosmtpd " + run(python(), "-c", "import aiosmtpd; print(aiosmtpd.__version__)") + " (keeps nothing)"

    def prepare(self) -> list[list[str]]:
        self._count = self.directory / "count"
        identity = self.setup.identity
        files = [str(identity.certificate), str(identity.key)] if identity else []
        return [[python(), str(_PROGRAM), str(self.port), str(self._count), *files]]

    def stored(self) -> int:
        return int(self._count.read_text() or 0)
