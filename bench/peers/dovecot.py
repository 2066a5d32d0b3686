"""Postfix with Dovecot behind it: mail into Maildirs, out of them over POP3.

Lives here: Dovecot's configuration, tuned: login processes that serve many, no waiting after a failed password,
Maildirs looked at only where they changed, passwords checked once and remembered. The passwords are hashed as
expensively as glasspost's.
Does not live here: Postfix's part (postfix.py).
"""

from __future__ import annotations

import os
import shutil
from functools import cache

from load import python
from machine import run
from peers.postfix import Postfix
from server import LOCAL, PASSWORD, box

_CONFIG = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
protocols = pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_cache_size = 10 M
auth_failure_delay = 0
mail_location = maildir:{directory}/boxes/%n
maildir_very_dirty_syncs = yes
maildir_stat_dirs = no
mail_fsync = optimized
mail_uid = 65534
mail_gid = 65534
first_valid_uid = 1
first_valid_gid = 1
default_vsz_limit = 2 G
mail_max_userip_connections = 0
pop3_no_flag_updates = yes
passdb {{
  driver = passwd-file
  args = username_format=%u {directory}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={directory}/boxes/%n
}}
service pop3-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 4000
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service pop3 {{
  process_min_avail = 4
  process_limit = 1024
}}
service auth {{
  client_limit = 8000
}}
service anvil {{
  client_limit = 8000
}}
"""


class PostfixDovecot(Postfix):
    name = "postfix+dovecot"
    does = frozenset({LOCAL})

    @classmethod
    def missing(cls) -> str:
        if not shutil.which("dovecot"):
            return "Dovecot is not installed: sh bench/peers.sh"
        return super().missing()

    @classmethod
    def version(cls) -> str:
        return f"{super().version()} with Dovecot {run('dovecot', '--version').split()[0]}"

    def prepare(self) -> list[list[str]]:
        config = self.directory / "dovecot.conf"
        config.write_text(_CONFIG.format(directory=self.directory, port=self.pop3_port))
        boxes = range(1, self.setup.boxes + 1)
        (self.directory / "users").write_text("".join(f"{box(n)}:{{ARGON2ID}}{_hash()}::::::\n" for n in boxes))
        (self.directory / "boxes").mkdir(exist_ok=True)
        os.chown(self.directory / "boxes", 65534, 65534)
        (self.directory / "etc").mkdir(exist_ok=True)
        (self.directory / "etc" / "boxes").write_text("".join(f"{box(n)} box{n}/\n" for n in boxes))
        return [*super().prepare(), ["dovecot", "-F", "-c", str(config)]]


@cache
def _hash() -> str:
    """The password as glasspost hashes it: the same cost to check."""
    program = "import sys; from glasspost.storage.passwords import hash_password; print(hash_password(sys.argv[1]))"
    return run(python(), "-c", program, PASSWORD)
