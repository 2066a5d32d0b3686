"""A private Postfix for a test: behind us as the next hop, or in front of us as a sender.

Lives here: its configuration, starting, asking, stopping. It has directories of its own, a loopback port, no
DNS, and nothing in common with a Postfix the machine may run otherwise.
Does not live here: the rule for a machine without Postfix (conftest.py).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

NEXT_HOP, SENDER = "next hop", "sender"

_DAEMONS = Path("/usr/lib/postfix/sbin")
_QUEUES = ("maildrop", "incoming", "active", "deferred", "hold")

_SETTINGS = {
    "compatibility_level": "3.6",
    "command_directory": "/usr/sbin",
    "daemon_directory": str(_DAEMONS),
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "myhostname": "postfix.test",
    "mydestination": "",
    "alias_maps": "",
    "local_recipient_maps": "",
    "local_header_rewrite_clients": "",  # what came in stays as it is
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "disable_dns_lookups": "yes",
    "smtp_host_lookup": "native",
    "smtpd_peername_lookup": "no",
    "smtputf8_enable": "yes",
    "message_size_limit": "62914560",  # 60 MB
    "virtual_mailbox_limit": "0",
    "smtpd_client_event_limit_exceptions": "static:all",
    "smtpd_error_sleep_time": "0",
    "in_flow_delay": "0",
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "2s",
}

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup   unix n - n 1     1 pickup
cleanup  unix n - n -     0 cleanup
qmgr     unix n - n 1     1 qmgr
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
error    unix - - n -     - error
retry    unix - - n -     - error
virtual  unix - n n -     - virtual
anvil    unix - - n -     1 anvil
scache   unix - - n -     1 scache
postlog  unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message in the Maildir of a next hop, for one recipient."""

    recipient: str
    sender: str  # reverse-path; "" for the null reverse-path
    content: bytes  # as it came in, Postfix's own Received on top; line ends as in the file, LF


class Postfix:
    """A running Postfix, from the `with` to its end.

    "next hop": takes mail for `domains` and puts it into one Maildir. Addresses in `refuse` get 550 5.1.1,
    those in `defer` 450 4.2.0, at RCPT. "sender": takes everything and relays it to 127.0.0.1:`relay_to`.
    `settings` are main.cf parameters on top. `port` may be given, for a next hop that comes up late."""

    def __init__(
        self,
        role: str,
        *,
        relay_to: int = 0,
        domains: Iterable[str] = ("example.org", "example.net", "example.com"),
        refuse: Iterable[str] = (),
        defer: Iterable[str] = (),
        settings: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.port = port or _free_port()
        self._settings = dict(_SETTINGS)
        if role == SENDER:
            self._settings["relayhost"] = f"[127.0.0.1]:{relay_to}"
            self._settings["smtpd_relay_restrictions"] = "permit_mynetworks, reject"
        elif role == NEXT_HOP:
            self._settings |= _next_hop(domains, refuse, defer)
        else:
            raise ValueError(f'role is "{NEXT_HOP}" or "{SENDER}", not "{role}"')
        self._settings |= settings or {}

    # --- its life -------------------------------------------------------------------------------------------

    def __enter__(self) -> Postfix:
        # Not below pytest's tmp_path, which is closed to other users: Postfix delivers as nobody.
        self._directory = Path(tempfile.mkdtemp(prefix="postfix-"))
        self._directory.chmod(0o755)
        self._write()
        self._master = subprocess.Popen(
            [str(_DAEMONS / "master"), "-c", str(self._directory / "etc"), "-d"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it ends its process group with itself
        )
        try:
            self._await_greeting(20)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it and forgets everything it holds. Idempotent."""
        if not self._directory.exists():
            return
        self._master.terminate()
        try:
            self._master.wait(10)
        except subprocess.TimeoutExpired:
            self._master.kill()
            self._master.wait()
        try:
            os.killpg(self._master.pid, signal.SIGKILL)  # a daemon that was slow to go
        except ProcessLookupError:
            pass
        shutil.rmtree(self._directory, ignore_errors=True)

    def _write(self) -> None:
        etc, inbox = self._directory / "etc", self._directory / "inbox"
        for name in ("etc", "spool", "data", "inbox"):
            (self._directory / name).mkdir()
        shutil.chown(self._directory / "data", "postfix")
        shutil.chown(inbox, "nobody")
        self._settings |= {
            "queue_directory": str(self._directory / "spool"),
            "data_directory": str(self._directory / "data"),
            "maillog_file": str(self._directory / "log"),
            "maillog_file_prefixes": str(self._directory),
            "virtual_mailbox_base": str(self._directory),
        }
        main = "".join(f"{name} = {value}\n" for name, value in self._settings.items())
        (etc / "main.cf").write_text(main, encoding="utf-8")
        (etc / "master.cf").write_text(_MASTER.format(port=self.port))
        os.utime(etc / "main.cf", (0, 0))  # Postfix waits until a file is two seconds old before it believes it
        self._make_spool()

    def _make_spool(self) -> None:
        spool = self._directory / "spool"
        (spool / "pid").mkdir()
        for name in (*_QUEUES, "bounce", "corrupt", "defer", "flush", "private", "public", "saved", "trace"):
            (spool / name).mkdir(mode=0o700)
            shutil.chown(spool / name, "postfix")

    def _await_greeting(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=5):
                    return
            except (OSError, smtplib.SMTPException):
                if time.monotonic() > deadline or self._master.poll() is not None:
                    raise RuntimeError(f"Postfix did not start:\n{self.log}") from None
            time.sleep(0.05)  # another program: nothing to await but its port

    # --- asking it ------------------------------------------------------------------------------------------

    def submit(self, sender: str, recipients: Iterable[str], content: bytes) -> None:
        """Hands it one message over SMTP, with SMTPUTF8 where an address needs it."""
        recipients = list(recipients)
        international = not all(address.isascii() for address in (sender, *recipients))
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.test", timeout=60) as client:
            options = ["SMTPUTF8", "BODY=8BITMIME"] if international else ["BODY=8BITMIME"]
            refused = client.sendmail(sender, recipients, content, mail_options=options)
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)

    @property
    def delivered(self) -> list[Delivered]:
        """What lies in the Maildir, in no particular order."""
        new = self._directory / "inbox" / "new"
        return [_read(path) for path in new.iterdir()] if new.exists() else []

    @property
    def queue_length(self) -> int:
        """Messages it still has to do something about."""
        spool = self._directory / "spool"
        return sum(len(files) for queue in _QUEUES for _, _, files in os.walk(spool / queue))

    @property
    def log(self) -> str:
        path = self._directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def wait_for(self, count: int, seconds: float = 30) -> list[Delivered]:
        """The Maildir, as soon as `count` messages lie in it."""
        await self._until(lambda: len(self.delivered) >= count, f"{count} messages", seconds)
        return self.delivered

    async def wait_until_idle(self, seconds: float = 30) -> None:
        """Until its queue is empty: everything has been passed on, delivered or returned."""
        await self._until(lambda: not self.queue_length, "an empty queue", seconds)

    async def wait_for_log(self, text: str, seconds: float = 30) -> None:
        """Until `text` stands in its log: "status=deferred"."""
        await self._until(lambda: text in self.log, f"{text!r} in the log", seconds)

    async def _until(self, happened: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                state = f"{len(self.delivered)} delivered, {self.queue_length} in the queue"
                raise AssertionError(f"no {what} within {seconds:.0f} s ({state}). Its log:\n{self.log}")
            await asyncio.sleep(0.05)  # another program's disk: it sends no event


def _next_hop(domains: Iterable[str], refuse: Iterable[str], defer: Iterable[str]) -> dict[str, str]:
    verdicts = [f"{{ {address} = 550 5.1.1 No such user here }}" for address in refuse]
    verdicts += [f"{{ {address} = 450 4.2.0 Try again later }}" for address in defer]
    checks = ["check_recipient_access inline:{ " + ", ".join(verdicts) + " }"] if verdicts else []
    return {
        "virtual_mailbox_domains": " ".join(domains),
        "virtual_mailbox_maps": "static:inbox/",
        "virtual_uid_maps": "static:65534",  # nobody
        "virtual_gid_maps": "static:65534",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        "smtpd_recipient_restrictions": ", ".join([*checks, "permit_mynetworks", "reject"]),
    }


def _read(path: Path) -> Delivered:
    """Takes off what Postfix's virtual(8) puts on top: Return-Path, X-Original-To, Delivered-To."""
    fields: dict[bytes, str] = {}
    content = path.read_bytes()
    for expected in (b"Return-Path", b"X-Original-To", b"Delivered-To"):
        line, _, rest = content.partition(b"\n")
        name, _, value = line.partition(b":")
        if name == expected:
            fields[name] = value.strip().decode()
            content = rest
    return Delivered(fields[b"Delivered-To"], fields[b"Return-Path"].strip("<>"), content)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
