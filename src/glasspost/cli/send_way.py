"""The way of `glasspost send`: whom to call, how to speak there, and with which password.

Lives here: from the options to plans for trials, and their running one after another.
Does not live here: the trial itself (outbound/trial.py), the message (send_letter.py), MX routing (outbound/routes.py).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from glasspost.cli.directory import Mistyped
from glasspost.cli.secret import PasswordSource
from glasspost.cli.send_letter import Post
from glasspost.errors import GlasspostError, NotFound
from glasspost.ip import is_loopback
from glasspost.mail import reply as replies
from glasspost.mail.envelope import Outcome, Recipient, Verdict
from glasspost.mail.reply import Reply
from glasspost.net.dns import Resolver
from glasspost.net.tls import opportunistic_context, verifying_context
from glasspost.outbound.conversation import ConversationSettings, Timeouts
from glasspost.outbound.routes import Host, Router, RoutingSettings
from glasspost.outbound.sights import Noted, Phase, Watch
from glasspost.outbound.trial import Finding, Plan, Trial
from glasspost.protocol.smtp_client_events import SmtpClientSettings
from glasspost.storage.folder import Folder

STAGES = ("connect", "hello", "tls", "auth", "mail", "rcpt")
_TLS = ("auto", "require", "implicit", "none")
_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Manner:
    """The options about the way, as they were typed."""

    server: str
    mx: bool
    node: bool
    data: Path
    dns: str
    mx_port: int
    source: str
    tls: str
    verify: bool
    ca: Path | None
    tls_name: str
    username: str
    password: PasswordSource
    helo: str
    pipelining: bool
    chunking: bool
    lmtp: bool
    quit_after: str
    pause: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Way:
    """What is known before the first call. `server` None: by MX."""

    manner: Manner
    server: tuple[str, int] | None
    tls: str
    password: str = field(repr=False)
    settings: ConversationSettings
    believed: ssl.SSLContext

    @property
    def lmtp(self) -> bool:
        return self.manner.lmtp


def prepare(manner: Manner) -> Way:
    """Everything that can be wrong with the options is said here, before anybody is called or asked a password."""
    if [bool(manner.server), manner.mx, manner.node].count(True) != 1:
        raise Mistyped("where to? Say one of --server HOST:PORT, --mx and --node")
    if manner.tls not in ("", *_TLS):
        raise Mistyped(f"--tls is one of {', '.join(_TLS)}; not {manner.tls}")
    if manner.quit_after and manner.quit_after not in STAGES:
        raise Mistyped(f"--quit-after is one of {', '.join(STAGES)}; not {manner.quit_after}")
    if manner.chunking and manner.lmtp:
        raise Mistyped("--chunking and --lmtp do not go together here")
    if manner.source and not _is_address(manner.source):
        raise Mistyped(f"--source is an IP address of this machine; {manner.source} is none")
    tls = manner.tls
    server: tuple[str, int] | None = None
    if manner.node:
        server, door_tls = _door(manner)
        tls = tls or ("implicit" if door_tls == "implicit" else "auto")
    elif manner.server:
        server = _server(manner)
        tls = tls or ("implicit" if server[1] == 465 else "auto")
    return Way(manner, server, tls or "auto", _password(manner), _settings(manner), _believed(manner.ca))


def _door(manner: Manner) -> tuple[tuple[str, int], str]:
    """Where the node of the data folder can be called: for those who sign in, where users do."""
    folder = Folder(manner.data)
    folder.must_exist()
    role = "submission" if manner.username else "mx"
    for door, address, port, tls in folder.doors():
        if door == role:
            return (_WILDCARDS.get(address, address), port), tls
    raise NotFound(f"no node with a listener of role {role} runs on {manner.data}; start one with `glasspost serve`")


def _server(manner: Manner) -> tuple[str, int]:
    """HOST, HOST:PORT, ADDRESS:PORT, [ADDRESS]:PORT."""
    text = manner.server
    usual = 24 if manner.lmtp else 465 if manner.tls == "implicit" else 587 if manner.username else 25
    if _is_address(text.strip("[]")):
        return text.strip("[]"), usual
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, usual
    if not (port.isdecimal() and 0 < int(port) < 65536 and host):
        raise Mistyped(f"--server is HOST:PORT, like mx.example.org:25; not {text}")
    return host.strip("[]"), int(port)


def _settings(manner: Manner) -> ConversationSettings:
    name = manner.helo or socket.gethostname()
    if not name.isascii() or not name.isprintable() or " " in name:
        raise Mistyped("--helo is a host name, in ASCII and without spaces")
    client = SmtpClientSettings(name, pipelining=manner.pipelining, chunking=manner.chunking, lmtp=manner.lmtp)
    patience = manner.timeout + manner.pause
    timeouts = Timeouts(
        connect=manner.timeout, greeting=patience, hello=patience, mail=patience, rcpt=patience, data=patience,
        block=patience, dot=max(patience, 10 * manner.timeout), quit=5.0 + manner.pause,
    )  # fmt: skip
    return ConversationSettings(client, timeouts)


def _believed(ca: Path | None) -> ssl.SSLContext:
    """A context that demands proof, by the system's authorities and one more."""
    context = verifying_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise GlasspostError(f"--ca {ca} cannot be used: {error}") from None
    return context


def _password(manner: Manner) -> str:
    if not manner.username:
        if manner.password:
            raise Mistyped("a password for whom? Name the user with --auth")
        return ""
    password = manner.password.read(manner.username, f"Password of {manner.username}: ")
    if password is None:
        raise Mistyped("no terminal to ask for the password; use --password-file or --password-env")
    return password


# --- going ------------------------------------------------------------------------------------------------------


async def go(way: Way, letter: Post, watch: Watch, began: float) -> list[Finding]:
    """Call whom it takes, one after another; what became of each recipient, in the envelope's order."""
    recipients = letter.envelope.recipients
    if way.server is not None:
        parts = [(await _by_name(*way.server), recipients)]
    else:
        parts = await _by_mx(way.manner, recipients)
    found: dict[int, Finding] = {}
    loop = asyncio.get_running_loop()
    for hosts, some in parts:
        if isinstance(hosts, Reply):
            watch(Noted(loop.time() - began, Phase.NAME, hosts))
            outcome = Outcome(Verdict.FAILED if hosts.permanent else Verdict.DEFERRED, hosts)
            findings = [Finding(one, Phase.NAME, outcome) for one in some]
        else:
            findings = await Trial(_plan(way, letter, hosts, some), watch, time.time, began).run()
        found |= {id(finding.recipient): finding for finding in findings}
    return [found[id(one)] for one in recipients]


def _plan(way: Way, letter: Post, hosts: tuple[Host, ...], recipients: list[Recipient]) -> Plan:
    manner = way.manner
    # Proof is demanded where it was asked for, and where a password depends on it.
    local = all(is_loopback(address) for one in hosts for address in one.addresses)
    encrypted = way.tls in ("require", "implicit") and (bool(manner.tls) or not manner.node)
    demanded = encrypted or (bool(manner.username) and not local)
    return Plan(
        hosts=hosts,
        envelope=replace(letter.envelope, recipients=recipients),
        content=letter.content,
        conversation=way.settings,
        context=way.believed if manner.verify and demanded else opportunistic_context(),
        believed=way.believed,
        tls=way.tls,
        tls_name=manner.tls_name,
        username=manner.username,
        password=way.password,
        source=manner.source,
        pause=manner.pause,
        until=Phase(manner.quit_after) if manner.quit_after else None,
    )


async def _by_name(name: str, port: int) -> tuple[Host, ...] | Reply:
    """A server by its name or address, as this machine knows it (also by /etc/hosts)."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            return replies.DNS_UNREADABLE.saying(domain=name, fault=error.strerror)
        return replies.NO_HOST.saying(domain=name)
    except UnicodeError:
        return replies.NO_SUCH_DOMAIN.saying(domain=name)
    return (Host(name, port, tuple(dict.fromkeys(str(one[4][0]) for one in found))),)


async def _by_mx(manner: Manner, recipients: list[Recipient]) -> list[tuple[tuple[Host, ...] | Reply, list[Recipient]]]:
    """The hosts for each domain, in the order of the recipients."""
    resolver = Resolver(name_servers(manner.dns), min(manner.timeout, 10.0))
    router = Router(RoutingSettings(hostname="", mx_port=manner.mx_port), resolver, lambda address, port: False)
    domains: dict[str, list[Recipient]] = {}
    for one in recipients:
        domains.setdefault(one.address.route, []).append(one)
    try:
        routes = await asyncio.gather(*(router.route(domain) for domain in domains))
    finally:
        await resolver.close()
    return [
        (route if isinstance(route, Reply) else route.hosts, some)
        for route, some in zip(routes, domains.values(), strict=True)
    ]


def name_servers(text: str) -> list[tuple[str, int]] | None:
    """The name server that --dns names, None where it names none. Raises Mistyped."""
    if not text:
        return None
    host, colon, port = (text, "", "") if _is_address(text.strip("[]")) else text.rpartition(":")
    address = host.strip("[]")
    if not _is_address(address) or (colon and not port.isdecimal()):
        raise Mistyped(f"--dns is ADDRESS or ADDRESS:PORT; not {text}")
    return [(address, int(port or 53))]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
