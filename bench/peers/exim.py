"""Exim as a peer: its Debian package, unpacked, its /etc/exim4 a directory of ours.

Lives here: its configuration. No DNS, no limits, no TLS. ACCEPT queues only; RELAY delivers each message at once, in a
process of its own, which is Exim's way.
Known: after QUIT it waits up to 200 ms for the client to close, so with a new connection for each message it is bound
by that; with reuse it takes 5 ms a message and process.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import machine
from machine import run
from server import ACCEPT, RELAY, Server

_PROGRAM = Path(__file__).resolve().parents[1] / "results" / "peers" / "exim" / "usr" / "sbin" / "exim4"
_USER = "Debian-exim"

_CONFIG = """\
exim_path = {program}
exim_user = {user}
exim_group = {user}
spool_directory = {directory}/spool
log_file_path = {directory}/log/%slog
pid_file_path = {directory}/log/pid
primary_hostname = bench.test
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
smtp_connect_backlog = 1024
queue_only = {queue_only}
queue_run_max = 20
remote_max_parallel = 20
split_spool_directory = true
message_logs = false
host_lookup =
helo_lookup_domains =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
check_spool_space = 0
check_spool_inodes = 0
message_size_limit = 50M
acl_smtp_rcpt = acl_ok
acl_smtp_data = acl_ok
begin acl
acl_ok:
  accept
begin routers
smart:
  driver = manualroute
  transport = out
  route_list = * 127.0.0.1
  self = send
begin transports
out:
  driver = smtp
  port = {target}
  allow_localhost
  hosts_try_fastopen =
  connection_max_messages = 500
begin retry
* * F,2h,1m
"""


class Exim(Server):
    name = "exim"
    does = frozenset({ACCEPT, RELAY})
    share = 0.2

    @classmethod
    def missing(cls) -> str:
        if not _PROGRAM.exists():
            return "Exim is not there: sh bench/peers.sh"
        return "" if machine.is_isolated() else "Exim needs mounts of its own: run the bench as root"

    @classmethod
    def version(cls) -> str:
        return "Exim " + run(str(_PROGRAM), "-bV").split()[2]

    def prepare(self) -> list[list[str]]:
        etc = self.directory / "etc"
        for directory in (etc, self.directory / "spool", self.directory / "log"):
            directory.mkdir(exist_ok=True)
        for directory in (self.directory / "spool", self.directory / "log"):
            shutil.chown(directory, _USER, _USER)
        (etc / "exim4.conf").write_text(
            _CONFIG.format(
                program=_PROGRAM,
                user=_USER,
                directory=self.directory,
                port=self.port,
                queue_only="true" if self.setup.mode == ACCEPT else "false",
                target=self.setup.target or 25,
            )
        )
        machine.lead("/etc/exim4", etc)
        return [[str(_PROGRAM), "-bdf"]]

    def stored(self) -> int:
        return sum(name.endswith("-H") for _, _, files in os.walk(self.directory / "spool" / "input") for name in files)
