"""Questions to the DNS, with answers as values.

Lives here: the one resolver of the house, what it remembers, and the four ways in which a question can end.
Does not live here: what an answer means for mail (outbound/routes.py) or for trust in a sender (trust/).

The law: a name server that fails says nothing about the name. SERVFAIL, REFUSED and silence are `Trouble`,
which callers treat as "later"; only a server that really answered can make a `NoSuchName` or a `NoData`.

dnspython does the wire format and the retries. It takes long to import (some 170 ms), so it is loaded by the
first question, in a thread: commands that never ask do not pay, and a busy loop does not stop.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from glasspost.clock import Clock, SystemClock
from glasspost.mail.address import a_label

if TYPE_CHECKING:
    import dns.asyncresolver
    import dns.message
    import dns.name

T = TypeVar("T")

_EDNS_PAYLOAD = 1232  # octets; fits every path without fragments (RFC 6891 §6.2.5 leaves the number to us)
_LONGEST_KEPT = 86_400  # seconds; a record is looked at again at least once a day, whatever its TTL says
_LONGEST_KEPT_NEGATIVE = 3_600  # seconds; RFC 2308 §5 advises one to three hours
_LONGEST_CHAIN = 8  # aliases followed by asking again, on top of those a server follows within one answer
_TRIES = 3  # how many times the time allowed for a question is shared out


@dataclass(frozen=True, slots=True)
class Mx:
    """One MX record (RFC 5321 §5.1): lower case, no last dot; an empty host is a null MX (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """The records, never none of them, in the order in which the server gave them."""

    records: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class NoSuchName:
    """NXDOMAIN: the name does not exist, for no type of record."""


@dataclass(frozen=True, slots=True)
class NoData:
    """The name exists, and has no record of this type."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Nobody answered usefully: ask again later. The reason is fit to be shown to a stranger."""

    reason: str


Answer: TypeAlias = Found[T] | NoSuchName | NoData | Trouble
_Key: TypeAlias = tuple[str, str]

# What is kept of a record, by its type.
_READERS: dict[str, Callable[[Any], object]] = {
    "A": lambda record: record.address,
    "AAAA": lambda record: record.address,
    "MX": lambda record: Mx(record.preference, _plain(record.exchange)),
    "PTR": lambda record: _plain(record.target),
    # The strings of one TXT record belong together, with nothing between them (RFC 7208 §3.3).
    "TXT": lambda record: b"".join(record.strings),
}


class Resolver:
    """Asks name servers, remembers their answers by their TTLs, and merges equal questions in flight.

    `servers` are addresses with ports; None takes those of /etc/resolv.conf, when the first question comes.
    `timeout` is for one question in seconds, all tries at all servers together. `kept` bounds the answers
    remembered, `at_once` the questions on the wire; further ones wait for their turn.
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, int]] | None = None,
        timeout: float = 10.0,
        *,
        clock: Clock | None = None,
        kept: int = 10_000,
        at_once: int = 100,
    ) -> None:
        self._servers = None if servers is None else tuple(servers)
        self._timeout = timeout
        self._clock = clock or SystemClock()
        self._capacity = kept
        self._kept: OrderedDict[_Key, tuple[float, Answer[Any]]] = OrderedDict()
        self._flights: dict[_Key, asyncio.Task[Answer[Any]]] = {}
        self._turns = asyncio.Semaphore(at_once)
        self._stub: dns.asyncresolver.Resolver | None = None

    # --- questions ------------------------------------------------------------------------------------------

    async def mx(self, domain: str) -> Answer[Mx]:
        """The domain's MX records, unsorted: order is a matter of routing."""
        return await self._ask(domain, "MX")

    async def txt(self, name: str) -> Answer[bytes]:
        """The name's TXT records, the strings of each one joined."""
        return await self._ask(name, "TXT")

    async def reverse(self, address: str) -> Answer[str]:
        """The names of an IP address (PTR). Raises ValueError where the text is no IP address."""
        return await self._ask(ipaddress.ip_address(address).reverse_pointer, "PTR")

    async def addresses(self, host: str, *, v4: bool = True, v6: bool = True) -> Answer[str]:
        """The host's addresses, IPv6 before IPv4, each family in its server's order; asked for in parallel.

        One family found is enough, even where the question for the other one met trouble. `localhost` and
        what is under it is never asked for: it is this machine (RFC 6761 §6.3).
        """
        name = a_label(host)
        if name == "localhost" or name.endswith(".localhost"):
            own = ("127.0.0.1",) * v4 + ("::1",) * v6
            return Found(own) if own else NoData()
        types = ("AAAA",) * v6 + ("A",) * v4
        return _together(await asyncio.gather(*(self._ask(name, kind) for kind in types)))

    async def close(self) -> None:
        """End the questions still in flight; whoever waits for one is cancelled."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    # --- memory ---------------------------------------------------------------------------------------------

    async def _ask(self, name: str, kind: str) -> Answer[Any]:
        key = (a_label(name), kind)
        known = self._remembered(key)
        if known is not None:
            return known
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._fetch(*key))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        # Shielded: one of several who wait may give up; the others, and the memory, still want the answer.
        return await asyncio.shield(flight)

    def _remembered(self, key: _Key) -> Answer[Any] | None:
        entry = self._kept.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock.now():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return entry[1]

    def _remember(self, key: _Key, answer: Answer[Any], ttl: int) -> None:
        seconds = min(ttl, _LONGEST_KEPT if isinstance(answer, Found) else _LONGEST_KEPT_NEGATIVE)
        if seconds <= 0:
            return
        self._kept[key] = (self._clock.now() + seconds, answer)
        self._kept.move_to_end(key)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)

    # --- the wire -------------------------------------------------------------------------------------------

    async def _fetch(self, name: str, kind: str) -> Answer[Any]:
        async with self._turns:
            if self._stub is None:
                await asyncio.to_thread(_load)
            import dns.exception
            import dns.name
            import dns.resolver

            try:
                # ASCII only: what IDNA could not turn into A-labels cannot be in the DNS.
                target = dns.name.from_text(name.encode("ascii").decode())
            except (dns.exception.DNSException, UnicodeError):
                return NoSuchName()
            try:
                if self._stub is None:
                    self._stub = self._configured()
                return await self._follow(self._stub, name, target, kind)
            except dns.resolver.NXDOMAIN as error:
                # For this type only: some servers say NXDOMAIN to AAAA where there is an A (RFC 4074 §4.2).
                self._remember((name, kind), NoSuchName(), _shortest_ttl(error))
                return NoSuchName()
            except dns.exception.Timeout:
                return Trouble(f"no answer within {self._timeout:g} s")
            except dns.resolver.NoNameservers as error:
                return Trouble(_what_they_said(error))
            except dns.resolver.NoResolverConfiguration:
                return Trouble("no name server is configured")
            except dns.exception.DNSException as error:
                return Trouble(str(error) or type(error).__name__)

    async def _follow(
        self, stub: dns.asyncresolver.Resolver, name: str, target: dns.name.Name, kind: str
    ) -> Answer[Any]:
        """Ask, and ask again for the name at the end of an alias that the server did not follow itself."""
        ttl = _LONGEST_KEPT
        for _ in range(_LONGEST_CHAIN):
            got = await stub.resolve(target, kind, raise_on_no_answer=False, search=False)
            ttl = min(ttl, got.chaining_result.minimum_ttl)
            if got.rrset is not None:
                read = _READERS[kind]
                found: Answer[Any] = Found(tuple(read(record) for record in got.rrset))
                self._remember((name, kind), found, ttl)
                return found
            if got.canonical_name == target or _has_soa(got.response):
                self._remember((name, kind), NoData(), ttl)
                return NoData()
            target = got.canonical_name
        return Trouble("its aliases (CNAME) do not end")

    def _configured(self) -> dns.asyncresolver.Resolver:
        """Our own settings, so that a server on a loopback port can stand in for the Internet's."""
        import dns.asyncresolver
        import dns.nameserver

        stub = dns.asyncresolver.Resolver(configure=self._servers is None)
        if self._servers is not None:
            stub.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in self._servers]
        stub.lifetime = self._timeout
        stub.timeout = self._timeout / _TRIES
        stub.use_edns(0, 0, _EDNS_PAYLOAD)
        stub.cache = None  # ours keeps small values instead of whole messages, and goes by the house's clock
        return stub


def _load() -> None:
    """Import dnspython. The import lock makes it safe to be here twice at once."""
    import dns.asyncresolver  # noqa: F401


def _together(answers: Sequence[Answer[str]]) -> Answer[str]:
    """One answer for all families of addresses."""
    found = [address for answer in answers if isinstance(answer, Found) for address in answer.records]
    if found:
        return Found(tuple(found))
    for answer in answers:
        if isinstance(answer, Trouble):
            return answer
    # A name that exists for one type exists.
    if answers and all(isinstance(answer, NoSuchName) for answer in answers):
        return NoSuchName()
    return NoData()


def _plain(name: dns.name.Name) -> str:
    """A name as the house writes it: lower case, no last dot; the root is empty."""
    return name.to_text(omit_final_dot=True).lower().rstrip(".")


def _has_soa(response: dns.message.Message) -> bool:
    """Whether the server vouches that there is nothing more to be had (RFC 2308 §2.2)."""
    import dns.rdatatype

    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _shortest_ttl(error: Any) -> int:
    """How long a name may be taken not to exist (RFC 2308 §5)."""
    return min(int(response.resolve_chaining().minimum_ttl) for response in error.responses().values())


def _what_they_said(error: Any) -> str:
    """Why each server was given up, without naming the servers: they are nobody else's business."""
    faults: list[str] = []
    for _server, _tcp, _port, fault, _response in error.kwargs.get("errors", ()):
        if isinstance(fault, OSError):
            text = (fault.strerror or str(fault) or type(fault).__name__).lower()
        elif isinstance(fault, Exception):
            text = str(fault) or type(fault).__name__
        else:
            text = str(fault)
        if text not in faults:
            faults.append(text)
    return ", ".join(faults) or "no name server left to ask"
