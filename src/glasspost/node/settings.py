"""Every setting of the house: its name, meaning, default and unit.

Lives here: one class per section of the configuration file, a field per setting, and what contradicts what.
The descriptions are the documentation: `glasspost config explain` prints them, docs/settings.md lists them.
Does not live here: the sections of the way out (relay_settings.py) and of the doors (abuse_settings.py), reading files
and pointing at lines
(config.py), trying out what is named (config_check.py), or turning settings into what the rooms need (node.py).
A configuration is plain data and imports no room.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from glasspost.node.abuse_settings import Checks, DnsList, Greylist, Limits, OwnNames
from glasspost.node.device_settings import Bridge, Device, quarrels
from glasspost.node.filter_settings import Hooks, Milter, Rspamd
from glasspost.node.filter_settings import contradictions as filter_contradictions
from glasspost.node.oauth_client_settings import OauthClient, oauth_contradictions
from glasspost.node.record_settings import Explain, Reports, Transcripts
from glasspost.node.relay_settings import Dns, Relay, Smarthost
from glasspost.node.sign_in_settings import Oauth, SignIn
from glasspost.node.tls_settings import Certificate, Destination
from glasspost.node.values import (
    MB,
    MINUTE,
    Count,
    Duration,
    File,
    Flag,
    Folder,
    Ip,
    Name,
    Network,
    Number,
    Port,
    Positive,
    Section,
    Size,
    Text,
    read_name,
)

CleartextAuth = Literal["loopback", "never", "always"]


def own_hostname() -> str:
    """the machine's own name, or "localhost" """
    # No socket.getfqdn: it asks the DNS, which may take half a minute to say nothing. /etc/hosts is enough.
    short = socket.gethostname()
    names = [short] if "." in short else [*_names_in_hosts_file(short), short]
    for name in names:
        try:
            return read_name(name)
        except ValueError:
            continue
    return "localhost"


def _names_in_hosts_file(short: str) -> Iterator[str]:
    try:
        lines = Path("/etc/hosts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        names = line.split("#")[0].split()[1:]
        if short in names:
            yield from (name for name in names if name.startswith(f"{short}.") and "localdomain" not in name)


class Node(Section):
    """The node as a whole: its name, its folder, how it stops and what it logs."""

    hostname: Name = Field(
        default_factory=own_hostname,
        description="The name this server greets with, says in EHLO, and writes into Received (RFC 5321 §4.1.1.1).",
    )
    data: Folder = Field(
        default=Path("var"),
        description="The folder of everything that must last: the store, large bodies on their way in, the "
        "self-signed certificate. `--data` on the command line goes before it.",
    )
    user: Text = Field(
        default="",
        description="The user a node becomes that is started as root, once its ports are bound and its certificates "
        "and password files are read. Empty: it stays who it is.",
    )
    group: Text = Field(default="", description="The group it becomes with it. Empty: the user's own.")
    drain: Duration = Field(
        default=30.0,
        description="How long a stopping node lets conversations under way come to their end, before it cuts "
        "them. No accepted mail is lost either way.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that still go to the log."
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.group and not self.user:
            yield "group", "Has no user: name it in node.user."


class Listener(Section):
    """A port to listen on; write one [[listener]] for each. Without any: mx on 2525, submission on 2587 and pop3
    on 2110, all on 127.0.0.1 with STARTTLS. With at least one, only those that are written."""

    role: Literal["mx", "submission", "lmtp", "pop3", "device"] = Field(
        description='Who comes here: "mx" takes mail from other servers for local domains, "submission" '
        'takes mail from signed-in users for anywhere (RFC 6409), "lmtp" takes mail for mailboxes of this server from '
        'a server in front of it (RFC 2033), "pop3" lets owners fetch their mail (RFC 1939), "device" takes mail from '
        "devices that cannot do today's rules ([bridge], [[device]])."
    )
    address: Ip = Field(
        default="127.0.0.1",
        description='The address to listen on; "0.0.0.0" is every IPv4 address, "::" every IPv6.',
    )
    port: Port = Field(description="The TCP port; 0 lets the system choose one.")
    tls: Literal["none", "starttls", "implicit"] = Field(
        default="starttls",
        description='How TLS begins: "starttls" starts in the clear and offers to change over (RFC 3207; STLS for '
        'pop3, RFC 2595), "implicit" speaks TLS from the first octet (RFC 8314), "none" offers no TLS.',
    )
    socket: Text = Field(
        default="",
        description="The name of a socket that systemd hands in (FileDescriptorName): it is listened on instead of one "
        "at address and port. Where none of this name is handed in, address and port hold.",
    )
    proxy_networks: tuple[Network, ...] = Field(
        default=(),
        description="Networks whose hosts are proxies: each connection from them must begin with a PROXY header "
        "(version 1 or 2), which says who is calling; one without is dropped. Others connect as ever.",
    )
    xclient_networks: tuple[Network, ...] = Field(
        default=(),
        description="Networks whose hosts are proxies that say within the conversation on whose behalf they speak "
        "(XCLIENT, as nginx and Postfix do); for mx, submission, lmtp and device. Others are refused it.",
    )
    backlog: Positive = Field(default=1024, description="How many connections the kernel may hold until we take them.")
    cram_md5: Flag = Field(
        default=False,
        description="Offer CRAM-MD5 as well (RFC 2195), for old devices. It takes only app passwords that were made "
        "for it, and those are stored readable: docs/sign-in.md.",
    )


class Tls(Section):
    """The certificate this server shows, and the oldest TLS it speaks."""

    certificate: File = Field(
        default=None,
        description="File with the certificate chain, PEM. Empty: a self-signed one is made in the data "
        "folder at the first start.",
    )
    key: File = Field(default=None, description="File with the private key of the certificate, PEM, no passphrase.")
    minimum: Literal["1.2", "1.3"] = Field(
        default="1.2", description="The oldest TLS version spoken as a server (RFC 8996 retires 1.0 and 1.1)."
    )
    reload: Duration = Field(
        default=MINUTE,
        description="How often the files of certificates are looked at: renewed ones are shown without a restart. 0 is "
        "never.",
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.certificate and not self.key:
            yield "certificate", "Has no key: name its private key in tls.key."
        if self.key and not self.certificate:
            yield "key", "Has no certificate: name it in tls.certificate."


class Smtp(Section):
    """The SMTP server, in both roles: what it takes, how long it waits, how much it bears."""

    max_message_size: Size = Field(
        default=50 * MB,
        ge=1,
        description="The largest message taken, announced as SIZE (RFC 1870). RFC 5321 §4.5.3.1.7 asks for "
        "64 KB or more.",
    )
    max_recipients: Positive = Field(
        default=1000,
        description="Recipients in one transaction; more are asked to come in another (452). RFC 5321 "
        "§4.5.3.1.8 asks for 100 or more.",
    )
    max_errors: Positive = Field(
        default=10, description="Commands refused as wrong in one connection before it is closed (421)."
    )
    max_transactions: Count = Field(default=0, description="Transactions in one connection; 0 is no limit.")
    line_limit: Annotated[Number, Field(ge=512)] = Field(
        default=2048,
        description="Octets in a command line, CRLF included. RFC 5321 §4.5.3.1.4 asks for 512, extensions for more.",
    )
    bare_newline: Literal["refuse", "repair"] = Field(
        default="refuse",
        description='What to do with a message that has a CR or LF standing alone: "refuse" it (550), or '
        '"repair" it to CRLF. It never ends a line or a message.',
    )
    max_received: Positive = Field(
        default=100,
        description="Received fields after which a message is taken to go in circles (RFC 5321 §6.3), and refused.",
    )
    vrfy: Literal["vague", "tell"] = Field(
        default="vague",
        description='The answer to VRFY: "vague" says 252 to everything, "tell" says whether the address '
        "exists (RFC 5321 §3.5.3, §7.3).",
    )
    expn: Literal["off", "tell"] = Field(
        default="off", description='The answer to EXPN: "off" says 502, "tell" lists what an alias leads to.'
    )
    greeting_timeout: Duration = Field(
        default=5 * MINUTE,
        gt=0,
        description="How long a client may take for its first command after the greeting.",
    )
    command_timeout: Duration = Field(
        default=5 * MINUTE,
        gt=0,
        description="How long a client may take for the next command; RFC 5321 §4.5.3.2.7 asks for 5 minutes.",
    )
    data_timeout: Duration = Field(
        default=3 * MINUTE,
        gt=0,
        description="How long a client may pause within a message (RFC 5321 §4.5.3.2.5).",
    )
    max_connections: Positive = Field(
        default=10_000,
        description="Connections at one time, over all smtp listeners; more are sent away (421).",
    )
    max_connections_per_address: Count = Field(
        default=100, description="Connections at one time from one address (of IPv6, a /64); 0 is no limit."
    )
    max_memory: Size = Field(
        default=64 * MB,
        ge=MB,
        description="How much of the messages that are coming in may be in memory at one time, over all connections. "
        "From there on only messages may begin that say they are small (SIZE up to 64 KB), the others are asked to "
        "come later (452); beyond two to three times as much one that is under way is refused at its end (452).",
    )
    smtputf8: Flag = Field(default=True, description="Offer SMTPUTF8: addresses and headers in UTF-8 (RFC 6531).")
    relay_domains: tuple[Name, ...] = Field(
        default=(),
        description="Domains that are not local and whose mail is taken from anyone and passed on.",
    )
    relay_networks: tuple[Network, ...] = Field(
        default=(),
        description='Networks, like "192.0.2.0/24", whose clients may send to anywhere without signing in. Whoever '
        "is in one of them can send in your name: keep them narrow.",
    )


class Submission(OwnNames):
    """Listeners of role submission: mail from this server's own users."""

    cleartext_auth: CleartextAuth = Field(
        default="loopback",
        description='Who may sign in, and send, without TLS: clients on this machine ("loopback"), nobody '
        '("never"), or everybody ("always": their passwords can be read on the way).',
    )


class Pop3(Section):
    """Listeners of role pop3: owners fetch their mail."""

    idle_timeout: Duration = Field(
        default=10 * MINUTE,
        gt=0,
        description="How long a client may be silent. RFC 1939 §3 asks for 10 minutes or more.",
    )
    cleartext_auth: CleartextAuth = Field(
        default="loopback",
        description='Who may sign in without TLS: clients on this machine ("loopback"), nobody ("never"), or '
        'everybody ("always": their passwords can be read on the way).',
    )
    max_failures: Positive = Field(default=3, description="Wrong passwords in one connection before it is closed.")
    max_errors: Positive = Field(
        default=20, description="Commands refused as wrong in one connection before it is closed."
    )
    max_connections: Positive = Field(
        default=1000, description="Connections at one time, over all pop3 listeners; more are sent away."
    )
    max_connections_per_address: Count = Field(
        default=50, description="Connections at one time from one address (of IPv6, a /64); 0 is no limit."
    )
    headers_in_utf8: Literal["refuse", "send"] = Field(
        default="send",
        description="A message with UTF-8 in its header, for a client that did not say UTF8: "
        '"send" it as it is, or "refuse" to, as RFC 6856 §2.1 has it; some clients then never get past it.',
    )


class Mailboxes(Section):
    """The mailboxes of local accounts."""

    default_quota: Size = Field(
        default=0,
        description="How much a mailbox may hold where its account has no quota of its own; 0 is no limit.",
    )
    detail_separator: Annotated[Text, Field(max_length=1)] = Field(
        default="+",
        description='What ends the user in "user+detail": mail for it goes to user (RFC 5233). Empty: nothing does.',
    )


class Config(Section):
    """The whole configuration. `Config()` is what the first start runs with."""

    node: Node = Field(default_factory=Node)
    listener: tuple[Listener, ...] = (
        Listener(role="mx", port=2525),
        Listener(role="submission", port=2587),
        Listener(role="pop3", port=2110),
    )
    tls: Tls = Tls()
    certificate: tuple[Certificate, ...] = ()
    smtp: Smtp = Smtp()
    submission: Submission = Submission()
    limits: Limits = Limits()
    checks: Checks = Checks()
    dns_list: tuple[DnsList, ...] = ()
    greylist: Greylist = Greylist()
    pop3: Pop3 = Pop3()
    sign_in: SignIn = SignIn()
    oauth: Oauth = Oauth()
    relay: Relay = Relay()
    smarthost: tuple[Smarthost, ...] = ()
    oauth_client: tuple[OauthClient, ...] = ()
    destination: tuple[Destination, ...] = ()
    bridge: Bridge = Bridge()
    device: tuple[Device, ...] = ()
    dns: Dns = Dns()
    transcripts: Transcripts = Transcripts()
    mailboxes: Mailboxes = Mailboxes()
    reports: Reports = Reports()
    explain: Explain = Explain()
    hooks: Hooks = Hooks()
    milter: tuple[Milter, ...] = ()
    rspamd: Rspamd = Rspamd()

    def contradictions(self) -> Iterator[tuple[str, str]]:
        ports: set[tuple[str, int]] = set()
        for number, listener in enumerate(self.listener):
            place = (listener.address, listener.port)
            if listener.port and place in ports:
                yield f"listener.{number}.port", f"Another listener has {place[0]} port {place[1]} already."
            ports.add(place)
        yield from _twice("smarthost", [one.domain for one in self.smarthost])
        yield from _twice("destination", [one.domain for one in self.destination])
        if self.certificate and self.tls.certificate is None:
            yield "certificate.0.certificate", "The first certificate belongs into [tls]: tls.certificate and tls.key."
        roles = [listener.role for listener in self.listener]
        if "device" in roles and not self.device:
            yield f"listener.{roles.index('device')}.role", "Has nobody to listen to: write a [[device]]."
        yield from quarrels(self.device)
        yield from filter_contradictions(self.milter)
        yield from oauth_contradictions(self.oauth_client, self.smarthost)

    def with_data(self, folder: Path | None) -> Config:
        """The same configuration with another data folder, as `--data` asks; unchanged for None."""
        if folder is None:
            return self
        return self.model_copy(update={"node": self.node.model_copy(update={"data": folder})})


def _twice(section: str, domains: list[str]) -> Iterator[tuple[str, str]]:
    for number, domain in enumerate(domains):
        if domain in domains[:number]:
            yield f"{section}.{number}.domain", f'Another {section} is for "{domain}" already.'
