"""OpenSMTPD as a peer: its Debian package, unpacked, the paths compiled into it leading to directories of ours.

Lives here: its configuration. ACCEPT pauses its way out.
Known: it answers 250 without any fsync, so its accept is not durable and no comparison of speed; and its listen backlog
is 5, so that 20 or more connections at once run into one-second retries of TCP.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import machine
from load import LoadError
from server import ACCEPT, RELAY, Server

_ROOT = Path(__file__).resolve().parents[1] / "results" / "peers" / "opensmtpd" / "usr"
_PROGRAM, _CONTROL = _ROOT / "sbin" / "smtpd", _ROOT / "sbin" / "smtpctl"

_DELAYS = " ".join(
    f"{what} 0"
    for what in (
        "conn-delay-host", "conn-delay-source", "conn-delay-connector", "conn-delay-relay", "conn-delay-domain",
        "conn-delay-route", "reconn-delay-route",
    )
)  # fmt: skip

_CONFIG = f"""\
smtp limit max-mails 1000000
smtp max-message-size "50M"
mta limit max-conn-per-host 20 max-conn-per-route 20 max-conn-per-source 100 max-conn-per-connector 20 \
max-conn-per-relay 100 max-conn-per-domain 100 {_DELAYS} session-mail-max 1000
listen on 127.0.0.1 port {{port}} hostname bench.test
action "out" relay host smtp://127.0.0.1:{{target}}
match from any for any action "out"
"""


class OpenSmtpd(Server):
    name = "opensmtpd"
    does = frozenset({ACCEPT, RELAY})
    share = 0.1

    @classmethod
    def missing(cls) -> str:
        if not _PROGRAM.exists():
            return "OpenSMTPD is not there: sh bench/peers.sh"
        return "" if machine.is_isolated() else "OpenSMTPD needs mounts of its own: run the bench as root"

    @classmethod
    def version(cls) -> str:
        told = subprocess.run([str(_PROGRAM), "-h"], capture_output=True, text=True)
        return (told.stderr + told.stdout).split("\n")[0].replace("version: ", "") + " (no fsync before its 250)"

    def prepare(self) -> list[list[str]]:
        spool, config = self.directory / "spool", self.directory / "smtpd.conf"
        spool.mkdir(exist_ok=True)
        spool.chmod(0o711)
        config.write_text(_CONFIG.format(port=self.port, target=self.setup.target or 25))
        config.chmod(0o600)
        machine.lead("/var/spool/smtpd", spool)
        machine.lead("/usr/libexec/opensmtpd", _ROOT / "libexec" / "opensmtpd")
        return [[str(_PROGRAM), "-d", "-f", str(config)]]

    def started(self) -> None:
        """The control socket may come a moment after the greeting."""
        if self.setup.mode != ACCEPT:
            return
        for _ in range(50):
            if not subprocess.run([str(_CONTROL), "pause", "mta"], capture_output=True).returncode:
                return
            time.sleep(0.1)
        raise LoadError("smtpctl pause mta: no answer")

    def stored(self) -> int:
        return sum("message" in files for _, _, files in os.walk(self.directory / "spool" / "queue"))
