"""Where mail for a domain goes next.

Lives here: the choice between smarthost, address literal and MX, the order of hosts, and the watch against
mail that leads back to ourselves.
Does not live here: which domains are our own (storage/accounts.py knows before this is asked), how a host is
reached (net/dialer.py), when to try again (outbound/retry.py).

A route is a value, and so is its absence: `Router.route` gives a Route, or the Reply that says why there is
none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

from glasspost.ip import read_ip
from glasspost.mail import reply
from glasspost.mail.address import a_label
from glasspost.mail.reply import Reply
from glasspost.net.dns import Answer, Found, Mx, NoSuchName, Resolver, Trouble

# --- values -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Host:
    """One next server with its addresses, in the order in which they are to be tried. A Unix socket is its own name
    and its only address, with port 0."""

    name: str
    port: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Where mail for a domain goes next.

    `key` is what concurrency limits, connection reuse and backoff go by: "mx:example.org" or
    "smarthost:host:port". `tls` is "none", "may", "encrypt" or "verify". Without sign-in, user name and
    password are empty.

    With "verify" the certificate must be for the host's name, or for one of `names` where there are any, by the
    authorities in `ca_file`, or the system's. `names_are_sure`: who must be there was told by the postmaster, not by
    the DNS alone. `requiretls`: for mail that says so (requiretls.py); the router never sets it. `oauth`: whose tokens
    sign in, in place of a password. `mechanism`: the only one that a password is used with; empty: the best offered.
    """

    key: str
    hosts: tuple[Host, ...]
    tls: str = "may"
    implicit_tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    protocol: str = "smtp"
    names: tuple[str, ...] = ()
    ca_file: Path | None = None
    names_are_sure: bool = False
    requiretls: bool = False
    oauth: str = ""
    mechanism: str = ""


@dataclass(frozen=True, slots=True)
class Smarthost:
    """A server that takes our mail for others: a name or an IP address, never looked up by MX; or a Unix socket.
    `protocol` is "smtp" or "lmtp" (RFC 2033)."""

    host: str
    port: int = 25
    tls: str = "may"
    implicit_tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    protocol: str = "smtp"
    socket: str = ""
    oauth: str = ""
    mechanism: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """What TLS must prove to the servers of a domain; see Route."""

    tls: str
    names: tuple[str, ...] = ()
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """How mail leaves.

    `hostname` is our own name in mail transactions. `smarthosts` is keyed by domain ("example.org"), by the
    domains below one (".example.org"), or by "*" for all that is left; so is `destinations`. `mx_limit` is how many
    MX hosts are considered, `tls` what holds where no destination says anything.
    """

    hostname: str
    smarthosts: Mapping[str, Smarthost] = field(default_factory=dict)
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    mx_port: int = 25
    mx_limit: int = 10
    tls: str = "may"
    ipv4: bool = True
    ipv6: bool = True


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An MX host that has been looked up: its usable addresses, whether it is us, what went wrong."""

    preference: int
    name: str
    addresses: tuple[str, ...]
    is_self: bool
    trouble: str


# --- the choice ---------------------------------------------------------------------------------------------


class Router:
    """Finds routes. `is_self(address, port)` says whether we listen there ourselves."""

    def __init__(
        self,
        settings: RoutingSettings,
        resolver: Resolver,
        is_self: Callable[[str, int], bool],
        randomness: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._is_self = is_self
        self._random = randomness or random.Random()
        self._hostname = a_label(settings.hostname)
        self._smarthosts = {_comparable(key): host for key, host in settings.smarthosts.items()}
        self._destinations = {_comparable(key): one for key, one in settings.destinations.items()}
        self._default = Destination(settings.tls)

    async def route(self, domain: str) -> Route | Reply:
        """The way to a domain or address literal, which is not one of our own.

        A permanent Reply means that no later attempt can do better, a transient one that it may.
        """
        name = a_label(domain)
        smarthost = _most_exact(self._smarthosts, name)
        if smarthost is not None:
            return await self._by_smarthost(smarthost)
        if name.startswith("["):
            return self._by_literal(name)
        return await self._by_mx(name)

    async def _by_smarthost(self, smarthost: Smarthost) -> Route | Reply:
        if smarthost.socket:
            return _smarthost_route(smarthost, smarthost.socket, Host(smarthost.socket, 0, (smarthost.socket,)))
        name = smarthost.host.strip("[]")
        if _is_address(name):
            addresses = self._usable([name])
        else:
            answer = await self._addresses(name)
            if isinstance(answer, Trouble):
                return reply.DNS_UNREADABLE.saying(domain=name, fault=answer.reason)
            addresses = self._usable(answer.records if isinstance(answer, Found) else ())
        # Wrong settings of ours are no reason to return other people's mail: it waits until they are put
        # right.
        if not addresses:
            return reply.SMARTHOST_UNUSABLE.saying(host=name, fault="it has no address")
        if any(self._is_self(address, smarthost.port) for address in addresses):
            return reply.SMARTHOST_UNUSABLE.saying(host=name, fault="it is this server itself")
        place = f"{smarthost.host}:{smarthost.port}"
        return _smarthost_route(smarthost, place, Host(name, smarthost.port, addresses))

    def _by_literal(self, literal: str) -> Route | Reply:
        """RFC 5321 §4.1.3: the address is in the domain, and no name is looked up."""
        text = literal[1:-1].removeprefix("ipv6:")
        is_v6 = literal.startswith("[ipv6:")
        if not literal.endswith("]") or not _is_address(text) or (":" in text) != is_v6:
            return reply.NO_SUCH_DOMAIN.saying(domain=literal)
        addresses = self._usable([text])
        if not addresses:
            return reply.NO_HOST.saying(domain=literal)
        if self._is_self(addresses[0], self._settings.mx_port):
            return reply.ROUTES_TO_SELF.saying(domain=literal)
        return self._mx_route(literal, [Host(literal, self._settings.mx_port, addresses)])

    # --- MX (RFC 5321 §5.1) ---------------------------------------------------------------------------------

    async def _by_mx(self, domain: str) -> Route | Reply:
        answer = await self._resolver.mx(domain) if domain else NoSuchName()
        if isinstance(answer, NoSuchName):
            return reply.NO_SUCH_DOMAIN.saying(domain=domain)
        if isinstance(answer, Trouble):
            return reply.DNS_UNREADABLE.saying(domain=domain, fault=answer.reason)
        if not isinstance(answer, Found):
            # No MX at all: the domain is its own and only one. Only then (RFC 5321 §5.1) is its address
            # looked at.
            return await self._choose(domain, [Mx(0, domain)])
        # "." beside other hosts is against RFC 7505 §3; the hosts are what is meant then.
        named = [record for record in answer.records if record.host]
        if not named:
            return reply.NULL_MX.saying(domain=domain)
        return await self._choose(domain, self._sorted(named))

    def _sorted(self, records: Sequence[Mx]) -> list[Mx]:
        """By preference, and at random among equals."""
        shuffled = list(records)
        self._random.shuffle(shuffled)
        return sorted(shuffled, key=lambda record: record.preference)

    async def _choose(self, domain: str, records: Sequence[Mx]) -> Route | Reply:
        """The hosts that mail may go to, from MX records in order.

        Where we are one of them, by name or by address, all hosts of our preference and of worse ones are
        left out: they would send the mail back to us.
        """
        looked_up = await asyncio.gather(*(self._look_up(record) for record in records[: self._settings.mx_limit]))
        own = min(
            [record.preference for record in records if record.host == self._hostname]
            + [candidate.preference for candidate in looked_up if candidate.is_self],
            default=None,
        )
        left = list(takewhile(lambda candidate: own is None or candidate.preference < own, looked_up))
        if own is not None and not left:
            return reply.ROUTES_TO_SELF.saying(domain=domain)
        port = self._settings.mx_port
        hosts = [Host(found.name, port, found.addresses) for found in left if found.addresses]
        if hosts:
            return self._mx_route(domain, hosts)
        for candidate in left:
            if candidate.trouble:
                return reply.DNS_UNREADABLE.saying(domain=domain, fault=candidate.trouble)
        return reply.NO_HOST.saying(domain=domain)

    async def _look_up(self, record: Mx) -> _Candidate:
        answer = await self._addresses(record.host)
        addresses = self._usable(answer.records if isinstance(answer, Found) else ())
        is_self = any(self._is_self(address, self._settings.mx_port) for address in addresses)
        trouble = answer.reason if isinstance(answer, Trouble) else ""
        return _Candidate(record.preference, record.host, addresses, is_self, trouble)

    def _mx_route(self, domain: str, hosts: Sequence[Host]) -> Route:
        proof = _most_exact(self._destinations, domain) or self._default
        return Route(
            key=f"mx:{domain}",
            hosts=tuple(hosts),
            tls=proof.tls,
            names=proof.names,
            ca_file=proof.ca_file,
            names_are_sure=bool(proof.names) or domain.startswith("["),
        )

    # --- addresses ------------------------------------------------------------------------------------------

    async def _addresses(self, host: str) -> Answer[str]:
        return await self._resolver.addresses(host, v4=self._settings.ipv4, v6=self._settings.ipv6)

    def _usable(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """The addresses that a server can have and that we may use, each once.

        0.0.0.0 would reach ourselves; IPv4 dressed as IPv6 is taken for what it is, or it could hide our own
        address.
        """
        usable: dict[str, None] = {}
        for text in addresses:
            address = read_ip(text)
            wanted = self._settings.ipv6 if address.version == 6 else self._settings.ipv4
            if wanted and not address.is_unspecified and not address.is_multicast:
                usable[str(address)] = None
        return tuple(usable)


def _smarthost_route(smarthost: Smarthost, place: str, host: Host) -> Route:
    # Connections are reused by key, so what is signed in as one user must not carry another's mail.
    user = f"{smarthost.username}@" if smarthost.username else ""
    return Route(
        key=f"{'lmtp' if smarthost.protocol == 'lmtp' else 'smarthost'}:{user}{place}",
        hosts=(host,),
        tls=smarthost.tls,
        implicit_tls=smarthost.implicit_tls,
        username=smarthost.username,
        password=smarthost.password,
        ca_file=smarthost.ca_file,
        names_are_sure=True,
        oauth=smarthost.oauth,
        mechanism=smarthost.mechanism,
        protocol=smarthost.protocol,
    )


_T = TypeVar("_T")


def _most_exact(table: Mapping[str, _T], name: str) -> _T | None:
    """The most particular entry: the domain's own, that of the nearest domain above, everybody's."""
    found = table.get(name)
    above = "" if name.startswith("[") else name
    while found is None and above:
        above = above.partition(".")[2]
        found = table.get(f".{above}")
    return found or table.get("*")


def _comparable(key: str) -> str:
    return f".{a_label(key[1:])}" if key.startswith(".") else a_label(key)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # an interface of ours is no part of an address in mail
