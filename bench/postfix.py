"""Postfix as a peer: a private instance, tuned for throughput on loopback.

Lives here: its configuration. No DNS, no anvil limits, no TLS; everything else is what a careful postmaster
of a busy relay sets. ACCEPT uses HOLD: smtpd, cleanup and one fsync per message, no queue manager at all.
"""

from __future__ import annotations

import os
import shutil

from machine import run
from server import ACCEPT, MEMORY, RELAY, Server

_QUEUES = ("incoming", "active", "deferred", "hold", "maildrop")

_MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/spool
data_directory = {directory}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
myhostname = bench.test
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_client_connection_count_limit = 0
smtpd_client_event_limit_exceptions = static:all
smtpd_tls_security_level = none
smtp_tls_security_level = none
default_process_limit = {processes}
in_flow_delay = 0
max_use = 1000
qmgr_message_active_limit = 20000
initial_destination_concurrency = 20
default_destination_concurrency_limit = 50
smtp_connection_cache_on_demand = yes
message_size_limit = 52428800
minimal_backoff_time = 300s
"""

_MODES = {
    ACCEPT: "smtpd_recipient_restrictions = check_client_access static:HOLD, permit_mynetworks, reject\n",
    RELAY: "relayhost = [127.0.0.1]:{target}\n",
}
_MODES[MEMORY] = _MODES[ACCEPT]

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup   unix n - n 60    1 pickup
cleanup  unix n - n -     0 cleanup
qmgr     unix n - n 300   1 qmgr
tlsmgr   unix - - n 1000? 1 tlsmgr
rewrite  unix - - n -     - trivial-rewrite
bounce   unix - - n -     0 bounce
defer    unix - - n -     0 bounce
trace    unix - - n -     0 bounce
verify   unix - - n -     1 verify
flush    unix n - n 1000? 0 flush
proxymap unix - - n -     - proxymap
smtp     unix - - n -     - smtp
relay    unix - - n -     - smtp
error    unix - - n -     - error
retry    unix - - n -     - error
discard  unix - - n -     - discard
anvil    unix - - n -     1 anvil
scache   unix - - n -     1 scache
postlog  unix-dgram n - n - 1 postlogd
"""


class Postfix(Server):
    name = "postfix"

    @classmethod
    def missing(cls) -> str:
        if not shutil.which("postfix"):
            return "Postfix is not installed (Debian package: postfix)"
        return "" if os.geteuid() == 0 else "Postfix runs as root only: use sudo"

    @classmethod
    def version(cls) -> str:
        return "Postfix " + run("postconf", "-d", "-h", "mail_version")

    def prepare(self) -> list[str]:
        etc, data = self.directory / "etc", self.directory / "data"
        for directory in (etc, data, self.directory / "spool"):
            directory.mkdir()
        shutil.chown(data, "postfix")
        processes = max(200, self.sessions + 100)
        main = _MAIN + _MODES[self.mode]
        (etc / "main.cf").write_text(main.format(directory=self.directory, processes=processes, target=self.target))
        (etc / "master.cf").write_text(_MASTER.format(port=self.port))
        os.utime(etc / "main.cf", (0, 0))  # a file younger than two seconds is read slowly, on purpose
        run("postfix", "-c", str(etc), "check")  # makes the queue directories
        return ["/usr/lib/postfix/sbin/master", "-c", str(etc), "-d"]

    def stored(self) -> int:
        spool = self.directory / "spool"
        return sum(len(files) for queue in _QUEUES for _, _, files in os.walk(spool / queue))
