"""Postfix as a peer: a private instance, tuned for throughput on loopback.

Lives here: its configuration. No DNS, no anvil limits; everything else is what a careful postmaster of a busy relay
sets. ACCEPT uses HOLD: smtpd, cleanup and one fsync per message, no queue manager at all. LOCAL uses virtual(8) into
Maildirs, from which Dovecot serves them (dovecot.py).
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from machine import run
from server import ACCEPT, DEEP, DOMAINS, LOCAL, RELAY, TLS, Server, host_of

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
smtpd_recipient_limit = 1000
smtpd_junk_command_limit = 1000000
smtpd_error_sleep_time = 0
smtp_tls_security_level = none
default_process_limit = {processes}
in_flow_delay = 0
max_use = 1000
qmgr_message_active_limit = 20000
initial_destination_concurrency = 20
default_destination_concurrency_limit = 50
smtp_connection_cache_on_demand = yes
message_size_limit = 52428800
virtual_mailbox_limit = 0
minimal_backoff_time = 300s
"""

_TLS = """\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {certificate}
smtpd_tls_session_cache_database =
tls_random_source = dev:/dev/urandom
"""

_MODES = {
    ACCEPT: "smtpd_recipient_restrictions = check_client_access static:HOLD, permit_mynetworks, reject\n",
    RELAY: "relayhost = [127.0.0.1]:{target}\n",
    LOCAL: """\
virtual_mailbox_domains = dst.test
virtual_mailbox_base = {directory}/boxes
virtual_mailbox_maps = texthash:{directory}/etc/boxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_destination_concurrency_limit = 50
""",
}

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
showq    unix n - n -     - showq
virtual  unix - n n -     - virtual
error    unix - - n -     - error
retry    unix - - n -     - error
discard  unix - - n -     - discard
anvil    unix - - n -     1 anvil
scache   unix - - n -     1 scache
postlog  unix-dgram n - n - 1 postlogd
"""


class Postfix(Server):
    name = "postfix"
    does = frozenset({ACCEPT, RELAY, TLS, DEEP, DOMAINS})

    @classmethod
    def missing(cls) -> str:
        if not shutil.which("postfix"):
            return "Postfix is not installed: sh bench/peers.sh"
        return "" if os.geteuid() == 0 else "Postfix runs as root only: use sudo"

    @classmethod
    def version(cls) -> str:
        return "Postfix " + run("postconf", "-d", "-h", "mail_version")

    def prepare(self) -> list[list[str]]:
        etc, data = self.directory / "etc", self.directory / "data"
        for directory in (etc, data, self.directory / "spool"):
            directory.mkdir(exist_ok=True)
        shutil.chown(data, "postfix")
        (etc / "main.cf").write_text(self._main())
        (etc / "master.cf").write_text(_MASTER.format(port=self.port))
        os.utime(etc / "main.cf", (0, 0))  # a file younger than two seconds is read slowly, on purpose
        run("postfix", "-c", str(etc), "check")  # makes the queue directories
        return [["/usr/lib/postfix/sbin/master", "-c", str(etc), "-d"]]

    def _main(self) -> str:
        setup = self.setup
        text = _MAIN + _MODES[setup.mode]
        values: dict[str, object] = {"directory": self.directory, "target": setup.target}
        values["processes"] = max(200, setup.sessions + 100)
        if setup.identity:
            text += _TLS
            values |= {"certificate": setup.identity.certificate, "key": setup.identity.key}
        if setup.domains:
            text += "transport_maps = texthash:{directory}/etc/transport\n"
            hops = [f"d{n}.dst.test smtp:[{host_of(n)}]:{setup.target}\n" for n in range(1, setup.domains + 1)]
            (self.directory / "etc" / "transport").write_text("".join(hops))
        return text.format(**values)

    def stored(self) -> int:
        spool = self.directory / "spool"
        count = sum(len(files) for queue in _QUEUES for _, _, files in os.walk(spool / queue))
        return count - sum(_is_coming_in(path) for path in (spool / "incoming").rglob("*"))

    def summary(self) -> int:
        last = run("postqueue", "-c", str(self.directory / "etc"), "-p").splitlines()[-1]
        return 0 if "empty" in last else int(last.split()[-2])  # "-- 1234 Kbytes in 100 Requests."

    def deliver_now(self) -> None:
        run("postqueue", "-c", str(self.directory / "etc"), "-f")


def _is_coming_in(path: Path) -> bool:
    """Whether it is a message whose end has not come: cleanup makes a queue file executable when it is whole."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:  # it has moved on: counted or not, it was whole
        return False
    return stat.S_ISREG(mode) and not mode & stat.S_IXUSR
