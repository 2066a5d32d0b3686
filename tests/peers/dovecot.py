"""A private Dovecot for a test: mailboxes that take their mail over LMTP, by a Unix socket and by TCP.

Lives here: its configuration, starting, looking into its mailboxes, stopping. It has directories of its own and a
loopback port, and nothing in common with a Dovecot the machine may run otherwise.
Does not live here: the rule for a machine without Dovecot (conftest.py).
"""

from __future__ import annotations

import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from node_process import free_port, until

PASSWORD = "x"  # of every mailbox
_CONFIG = """\
base_dir = {run}
state_dir = {run}
log_path = {folder}/log
ssl = no
protocols = lmtp
mail_location = maildir:~/Maildir
postmaster_address = postmaster@boxes.test
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
service stats {{
  client_limit = 100
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""


class Dovecot:
    """`with Dovecot(program, "alice@boxes.test") as boxes`. Needs root: every Dovecot does, unless it is built anew."""

    def __init__(self, program: str, *users: str, more: str = "") -> None:
        """`more`: its own settings, behind ours."""
        self._program = program
        self._more = more
        self.folder = Path(tempfile.mkdtemp(prefix="gp-dovecot-"))
        self.port = free_port()
        self.socket = self.folder / "run" / "lmtp"
        self._users = users
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Dovecot:
        self.folder.chmod(0o755)
        owner = pwd.getpwnam("nobody")
        lines = []
        for user in self._users:
            home = self.home(user)
            home.mkdir(parents=True)
            shutil.chown(home, owner.pw_uid, owner.pw_gid)
            lines.append(f"{user}:{{PLAIN}}{PASSWORD}:{owner.pw_uid}:{owner.pw_gid}::{home}::\n")
        (self.folder / "users").write_text("".join(lines))
        (self.folder / "run").mkdir()
        config = self.folder / "dovecot.conf"
        config.write_text(_CONFIG.format(folder=self.folder, run=self.folder / "run", port=self.port) + self._more)
        self._process = subprocess.Popen([self._program, "-F", "-c", config])
        until(lambda: self.socket.exists(), f"Dovecot: {self.log}", 20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)
        shutil.rmtree(self.folder)

    def home(self, user: str) -> Path:
        return self.folder / "homes" / user

    def break_mailbox(self, user: str) -> None:
        """Nothing can be delivered to it: its folder is a file."""
        (self.home(user) / "Maildir").write_text("not a folder")

    def mails(self, user: str) -> list[bytes]:
        """What has been delivered, unread."""
        return [path.read_bytes() for path in sorted((self.home(user) / "Maildir" / "new").glob("*"))]

    @property
    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""
