"""Mail filters of other people: a private rspamd, a private opendkim.

Lives here: their configuration, without network, on ports of their own; starting and ending them.
Does not live here: what they are asked (test_mail_filters.py).

rspamd's rules that ask the internet are off. What is left knows GTUBE, the message that every filter takes for spam,
and judges a message by its own octets.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from node_process import free_port

_ASKS_THE_NET = (
    "arc", "asn", "bimi", "clickhouse", "dkim_signing", "dmarc", "elastic", "fuzzy_check", "greylist", "history_redis",
    "mx_check", "neural", "phishing", "ratelimit", "rbl", "replies", "reputation", "rspamd_update", "spf", "surbl",
    "url_redirector",
)  # fmt: skip
_RSPAMD = """\
.include "/etc/rspamd/common.conf"
options {{
    pidfile = "{folder}/rspamd.pid";
    .include "/etc/rspamd/options.inc"
    dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "notice"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{http}"; count = 1; }}
worker "rspamd_proxy" {{
    bind_socket = "127.0.0.1:{milter}"; count = 1; milter = yes; timeout = 20s;
    upstream "local" {{ default = yes; hosts = "127.0.0.1:{http}"; }}
}}
"""
_OPENDKIM = """\
Background no
Socket inet:{port}@127.0.0.1
PidFile {folder}/opendkim.pid
UserID opendkim
Mode sv
Domain here.test
Selector glass
KeyFile {folder}/glass.private
InternalHosts {folder}/internal
AlwaysAddARHeader yes
RequireSafeKeys no
AuthservID glass.test
Canonicalization relaxed/relaxed
"""


class Filter:
    """A program that runs between `__enter__` and `__exit__`, under a user of its own."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.folder = Path(tempfile.mkdtemp(prefix=f"{user.strip('_')}-"))
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: list[str], ports: list[int]) -> None:
        """Returns when all ports are open."""
        self.own()
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not all(map(_is_open, ports)):
            running = self._process.poll() is None
            assert running and time.monotonic() < deadline, f"{command[0]} does not come up:\n{self.log}"
            time.sleep(0.05)

    def own(self) -> None:
        """Everything in its folder belongs to its user."""
        entry = pwd.getpwnam(self.user)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class PrivateRspamd(Filter):
    """`http` and `milter` are its ports."""

    def __init__(self, program: str) -> None:
        super().__init__("_rspamd")
        self.http, self.milter = free_port(), free_port()
        local = self.folder / "local.d"
        local.mkdir()
        for module in _ASKS_THE_NET:
            (local / f"{module}.conf").write_text("enabled = false;\n")
        # So that the milter's verdict can be read off the message: all symbols in a field.
        (local / "milter_headers.conf").write_text("extended_spam_headers = true;\nskip_local = false;\n")
        config = self.folder / "rspamd.conf"
        config.write_text(_RSPAMD.format(folder=self.folder, http=self.http, milter=self.milter))
        places = [f"--var={name}={self.folder}" for name in ("DBDIR", "RUNDIR", "LOGDIR", "LOCAL_CONFDIR")]
        command = [program, "-f", "-u", self.user, "-g", self.user, "-c", str(config), *places]
        self.run(command, [self.http, self.milter])


class PrivateOpendkim(Filter):
    """`port` is its milter's. It signs what comes from 127.0.0.1 with a sender of here.test, and verifies the rest."""

    def __init__(self, program: str, keygen: str, *, signs: bool) -> None:
        super().__init__("opendkim")
        self.port = free_port()
        subprocess.run([keygen, "-D", self.folder, "-d", "here.test", "-s", "glass", "-b", "2048"], check=True)
        (self.folder / "internal").write_text("127.0.0.1\n" if signs else "192.0.2.1\n")
        config = self.folder / "opendkim.conf"
        config.write_text(_OPENDKIM.format(folder=self.folder, port=self.port))
        self.run([program, "-f", "-x", str(config)], [self.port])


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
