"""The settings of the way out: relaying, its timeouts, smarthosts, DNS.

Lives here: one class per section, a field per setting, as in settings.py, which holds all other sections.
Does not live here: what is done with them (outbound/, net/).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from glasspost.node.secret_sources import SecretSource
from glasspost.node.values import (
    DAY,
    HOUR,
    MINUTE,
    DomainPattern,
    Duration,
    File,
    Flag,
    OptionalHost,
    OptionalIp,
    Port,
    Positive,
    Resolver,
    Secret,
    Section,
    Share,
    Text,
)

ClientTls = Literal["none", "may", "encrypt", "verify"]


class Timeouts(Section):
    """How long the SMTP client waits for the other server, step by step (RFC 5321 §4.5.3.2)."""

    connect: Duration = Field(default=30.0, gt=0, description="For a TCP connection to one address.")
    greeting: Duration = Field(default=5 * MINUTE, gt=0, description="For the greeting (§4.5.3.2.1).")
    ehlo: Duration = Field(default=5 * MINUTE, gt=0, description="For the reply to EHLO, HELO, STARTTLS and AUTH.")
    mail: Duration = Field(default=5 * MINUTE, gt=0, description="For the reply to MAIL (§4.5.3.2.2).")
    rcpt: Duration = Field(default=5 * MINUTE, gt=0, description="For the reply to RCPT (§4.5.3.2.3).")
    data: Duration = Field(default=2 * MINUTE, gt=0, description="For the reply to DATA (§4.5.3.2.4).")
    block: Duration = Field(default=3 * MINUTE, gt=0, description="For room to send more of a message (§4.5.3.2.5).")
    dot: Duration = Field(default=10 * MINUTE, gt=0, description="For the reply to the final dot (§4.5.3.2.6).")
    quit: Duration = Field(default=10.0, gt=0, description="For the reply to QUIT, when all is done anyway.")


class Relay(Section):
    """The way out: when to try, when to give up, how many at a time, and how."""

    paused: Flag = Field(
        default=False,
        description="Take mail in and keep it, but send none to other servers until this is false.",
    )
    schedule: tuple[Annotated[Duration, Field(gt=0)], ...] = Field(
        default=(MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
        min_length=1,
        description="How long to wait after the first failed attempt, the second, and so on; the last one repeats.",
    )
    jitter: Share = Field(
        default=0.1,
        description="Each wait is made longer or shorter by up to this share of it, by chance, so that much "
        "mail for one server does not come back all at once.",
    )
    delay_notice: Duration = Field(
        default=4 * HOUR, description="When to tell the sender that mail still waits (RFC 3464); 0 is never."
    )
    expire: Duration = Field(
        default=5 * DAY,
        gt=0,
        description="When to give up and bounce. RFC 5321 §4.5.4.1 asks for 4 to 5 days.",
    )
    concurrency: Positive = Field(default=20, description="Connections at one time to one destination.")
    max_connections: Positive = Field(default=100, description="Connections at one time to all destinations together.")
    recipients_per_transaction: Positive = Field(
        default=100,
        description="Recipients in one transaction, unless the other server announces fewer (RFC 9422).",
    )
    messages_per_connection: Positive = Field(
        default=1000, description="Messages over one connection before a new one is made."
    )
    idle_timeout: Duration = Field(
        default=5.0, description="How long a connection is kept for a next message; 0 closes it at once."
    )
    window: Positive = Field(
        default=20_000,
        description="Recipients held in memory at one time; the rest of the queue waits on disk.",
    )
    lease: Duration = Field(
        default=5 * MINUTE,
        gt=0,
        description="How long work belongs to the node that took it; a dead node's work comes back after this time.",
    )
    mx_port: Annotated[Port, Field(ge=1)] = Field(
        default=25,
        description="The port of other domains' servers (RFC 5321 §4.5.4.2). Other than 25: for tests.",
    )
    tls: ClientTls = Field(
        default="may",
        description='TLS to other domains\' servers: "none", "may" (where offered, any certificate), '
        '"encrypt" (or not at all, any certificate), "verify" (or not at all, right certificate).',
    )
    eight_bit: Literal["bounce", "send"] = Field(
        default="bounce",
        description="Mail with octets above 127 for a server without 8BITMIME (RFC 6152 §3): return it, or "
        "send it as it is. glasspost never rewrites it.",
    )
    ipv4: Flag = Field(default=True, description="Use IPv4 to reach other servers.")
    ipv6: Flag = Field(default=True, description="Use IPv6 to reach other servers.")
    source_ipv4: OptionalIp = Field(default="", description="The IPv4 address to send from. Empty: the system chooses.")
    source_ipv6: OptionalIp = Field(default="", description="The IPv6 address to send from. Empty: the system chooses.")
    timeouts: Timeouts = Timeouts()

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if not self.ipv4 and not self.ipv6:
            yield "ipv6", "With ipv4 and ipv6 both false no server can be reached."
        for key, address, version in (
            ("source_ipv4", self.source_ipv4, 4),
            ("source_ipv6", self.source_ipv6, 6),
        ):
            if address and ipaddress.ip_address(address).version != version:
                yield key, f"{address} is no IPv{version} address."
        if self.delay_notice >= self.expire:
            yield "delay_notice", "Comes no earlier than expire: nobody would ever be told. 0 turns it off."


def _smarthost_port(before: dict[str, Any]) -> int:
    """25, or 465 with implicit_tls, or 24 with protocol = "lmtp\""""
    if before.get("protocol") == "lmtp":
        return 24
    return 465 if before.get("implicit_tls") else 25


def _smarthost_tls(before: dict[str, Any]) -> ClientTls:
    """ "may", or "verify" with username or implicit_tls, or "none" with socket"""
    if before.get("socket") is not None:
        return "none"
    return "verify" if before.get("username") or before.get("implicit_tls") else "may"


class Smarthost(Section):
    """A server that takes our mail for certain destinations, instead of their own servers; write one
    [[smarthost]] for each. The most exact domain wins: a name before `.domain`, longer before shorter, `*`
    last."""

    domain: DomainPattern = Field(
        default="*",
        description='The destinations it is for: "example.org", ".example.org" for every name below it, "*" '
        "for all that are not local.",
    )
    host: OptionalHost = Field(
        default="", description="Its name or IP address. No MX lookup is made for it. Empty: there is a socket."
    )
    protocol: Literal["smtp", "lmtp"] = Field(
        default="smtp",
        description='What it speaks: "smtp", or "lmtp" (RFC 2033) where it keeps mailboxes, as Dovecot does, and '
        "answers for each recipient.",
    )
    socket: File = Field(
        default=None, description="Its Unix socket, in place of host and port: a server on this machine."
    )
    username: Text = Field(
        default="",
        description="The name to sign in with (RFC 4954), by the strongest it offers of SCRAM-SHA-256-PLUS, "
        "SCRAM-SHA-256, PLAIN and LOGIN. Empty: no sign-in.",
    )
    mechanism: Literal["", "scram-sha-256-plus", "scram-sha-256", "plain", "login"] = Field(
        default="",
        description="The only mechanism to sign in with by password, for a server that offers a better one and refuses "
        "it. Empty: the strongest it offers.",
    )
    password: Secret = Field(default=SecretStr(""), description="The password that goes with username.")
    password_file: File = Field(
        default=None, description="File whose first line is the password: keeps it out of this file."
    )
    oauth: Text = Field(
        default="",
        description="The [[oauth_client]] whose tokens sign in, in place of a password (OAUTHBEARER, XOAUTH2).",
    )
    implicit_tls: Flag = Field(
        default=False, description="Speak TLS from the first octet (RFC 8314), without STARTTLS."
    )
    port: Annotated[Port, Field(ge=1)] = Field(default_factory=_smarthost_port, description="Its TCP port.")
    tls: ClientTls = Field(
        default_factory=_smarthost_tls,
        description='What TLS must prove: "none" is not used, "may" where offered, "encrypt" required with '
        'any certificate, "verify" required with a certificate that is right for host.',
    )
    ca_file: File = Field(
        default=None, description="File with the authorities to verify with, PEM. Empty: the system's."
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        has_password = self._password.given
        if self.oauth and not self.username:
            yield "oauth", "Has no username: a token is sent with the name of the mailbox."
        if self.mechanism and not has_password:
            yield "mechanism", "Is for a password, and there is none."
        if self.oauth and has_password:
            yield "oauth", "Is one way too many: there is a password already."
        if self.username and not has_password and not self.oauth:
            yield "username", "Has no password: give password or password_file, or oauth."
        if not self.host and self.socket is None:
            yield "host", "Must be given, or socket."
        if self.host and self.socket is not None:
            yield "socket", "Is given beside host: name one of them."
        if self.protocol == "lmtp" and self.port == 25:
            yield "port", "LMTP is never spoken on port 25 (RFC 2033 §5)."
        if self.socket is not None and self.tls != "none":
            yield "tls", "A socket on this machine needs none."
        if has_password and not self.username:
            yield self._password.place, "Has no username."
        yield from self._password.contradictions()
        if self.implicit_tls and self.tls in ("none", "may"):
            yield "tls", 'With implicit_tls there is always TLS: "encrypt" or "verify".'
        if self.ca_file is not None and self.tls != "verify":
            yield "ca_file", 'Is looked at only with tls = "verify".'

    def secret(self) -> str:
        """The password, from wherever it is; empty where there is none. Raises ConfigurationError where
        `password_file` cannot be read."""
        return self._password.read("smarthost")

    @property
    def _password(self) -> SecretSource:
        return SecretSource("password", self.password, self.password_file)


class Dns(Section):
    """Where this server asks for MX, A and AAAA records."""

    servers: tuple[Resolver, ...] = Field(
        default=(),
        description='DNS servers to ask: "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:53". Empty: the system\'s.',
    )
    timeout: Duration = Field(default=5.0, gt=0, description="How long one question may take, all servers together.")
