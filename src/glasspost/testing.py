"""Stand-ins for the world outside, for our tests and for yours.

Lives here: `ManualClock`, time that passes when it is told to, and `Nameserver`, a small DNS that also
misbehaves on demand. Both are public: a program that sends mail can test itself against them.
Does not live here: anything a running node needs.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import NamedTuple, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.CNAME import CNAME

# --- time ---------------------------------------------------------------------------------------------------


class _ManualAlarm:
    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """A `glasspost.clock.Clock` that stands still until a test moves it. Seconds, as everywhere."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._alarms: list[tuple[float, int, _ManualAlarm]] = []
        self._set = 0

    def now(self) -> float:
        return self._now

    def call_in(self, seconds: float, callback: Callable[[], object]) -> _ManualAlarm:
        alarm = _ManualAlarm(callback)
        self._set += 1  # alarms for the same moment go off in the order in which they were set
        heapq.heappush(self._alarms, (self._now + max(0.0, seconds), self._set, alarm))
        return alarm

    @property
    def next_alarm(self) -> float | None:
        """The moment of the next alarm, or None where none is set."""
        while self._alarms and self._alarms[0][2].cancelled:
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def advance(self, seconds: float) -> None:
        """Let time pass. Every alarm that falls due goes off at its moment, also one set by another alarm."""
        end = self._now + seconds
        while self._ring_next(end):
            pass
        self._now = end

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock, forward or back. No time passes: alarms go off as long from now as before."""
        self._now += seconds
        self._alarms = [(due + seconds, number, alarm) for due, number, alarm in self._alarms]

    async def passed(self, seconds: float, turns: int = 10) -> None:
        """As `advance`, with `turns` turns of the event loop before, between and after alarms, so that tasks
        run.

        Nothing sleeps. Threads and sockets need more than turns: wait for what they bring about instead.
        """
        end = self._now + seconds
        await _turn(turns)
        while self._ring_next(end):
            await _turn(turns)
        self._now = end
        await _turn(turns)

    def _ring_next(self, end: float) -> bool:
        due = self.next_alarm
        if due is None or due > end:
            return False
        alarm = heapq.heappop(self._alarms)[2]
        self._now = due
        alarm.callback()
        return True


async def _turn(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


# --- names --------------------------------------------------------------------------------------------------


class Fault(Enum):
    """How a name server can fail its askers."""

    SERVFAIL = "SERVFAIL: I could not find out"
    REFUSED = "REFUSED: I will not tell you"
    SILENCE = "no answer at all"
    TRUNCATE = "cut short over UDP, whole over TCP"
    NXDOMAIN = "NXDOMAIN, whatever is in the zone"
    LIE = "a forged NXDOMAIN under the wrong id, as from somebody who cannot see the question"
    ALIAS_ONLY = "a CNAME without what is at its end"


class Query(NamedTuple):
    """A question that came: name (lower case, without its last dot), type, and "udp" or "tcp"."""

    name: str
    type: str
    transport: str


@dataclass(slots=True)
class _Hearing:
    """Somebody who waits for a question to come."""

    name: str
    type: str
    future: asyncio.Future[None]


class Nameserver:
    """An authority for every name there is, on a port of 127.0.0.1, over UDP and TCP.

    The zone is readable text, one record a line (`#` begins a comment), or the same as a mapping:

        async with Nameserver("example.test MX 10 mx.example.test\\nmx.example.test A 127.0.0.1") as dns:
            resolver = Resolver(dns.servers, timeout=2)

        Nameserver({("example.test", "MX"): ["10 mx.example.test"]})

    All names are absolute, with or without a last dot. A name that is not in the zone, nor above one that is,
    does not exist; one that lacks the type asked for has no data. `ttl` and `negative_ttl` are in seconds. `port` 0:
    any that is free.
    """

    def __init__(
        self,
        zone: str | Mapping[tuple[str, str], Sequence[str]] = "",
        *,
        ttl: int = 300,
        negative_ttl: int = 60,
        port: int = 0,
    ) -> None:
        self.queries: list[Query] = []
        self._ttl = ttl
        self._records: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], list[dns.rdata.Rdata]] = {}
        self._faults: dict[tuple[dns.name.Name, str], Fault] = {}
        self._soa = dns.rrset.from_text(
            ".", negative_ttl, "IN", "SOA", f"ns.test. postmaster.test. 1 3600 600 86400 {negative_ttl}"
        )
        self._hearings: list[_Hearing] = []
        self._held: list[Callable[[], None]] | None = None
        self._connections: set[asyncio.Transport] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._port = port
        for (name, kind), values in _records_of(zone):
            self.add(name, kind, *values)

    # --- for tests ------------------------------------------------------------------------------------------

    @property
    def servers(self) -> list[tuple[str, int]]:
        """What a resolver is to be given as its servers."""
        return [("127.0.0.1", self._port)]

    def add(self, name: str, kind: str, *values: str) -> None:
        """Put records into the zone. Raises dns.exception.DNSException for a value that is none of its
        type."""
        rdatatype = dns.rdatatype.from_text(kind)
        self._records.setdefault((dns.name.from_text(name), rdatatype), []).extend(
            dns.rdata.from_text(dns.rdataclass.IN, rdatatype, value, dns.name.root, False) for value in values
        )

    def remove(self, name: str, kind: str) -> None:
        """Take all records of this name and type out of the zone."""
        self._records.pop((dns.name.from_text(name), dns.rdatatype.from_text(kind)), None)

    def fail(self, name: str, fault: Fault | None, kind: str = "") -> None:
        """Fail questions for this name, of one type or of all; None puts an end to it."""
        key = (dns.name.from_text(name), kind)
        if fault is None:
            self._faults.pop(key, None)
        else:
            self._faults[key] = fault

    def asked(self, name: str, kind: str = "", transport: str = "") -> int:
        """How many times this was asked for: of any type, over any transport where they are not given."""
        return sum(
            query.name == name and kind in ("", query.type) and transport in ("", query.transport)
            for query in self.queries
        )

    async def heard(self, name: str, kind: str) -> None:
        """Wait until this has been asked for at least once."""
        if not self.asked(name, kind):
            hearing = _Hearing(name, kind, asyncio.get_running_loop().create_future())
            self._hearings.append(hearing)
            await hearing.future

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hear questions, and answer none before the end of the block."""
        held = self._held = []
        try:
            yield
        finally:
            self._held = None
            for send in held:
                send()

    # --- coming and going -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Nameserver:
        loop = asyncio.get_running_loop()
        wanted = self._port
        for attempt in range(20):
            self._tcp = await loop.create_server(lambda: _TcpSide(self), "127.0.0.1", wanted)
            self._port = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: _UdpSide(self), local_addr=("127.0.0.1", self._port)
                )
                return self
            except OSError:  # somebody else has the UDP port of this number
                self._tcp.close()
                if wanted or attempt == 19:
                    raise
        raise AssertionError("unreachable")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._udp is not None and self._tcp is not None
        self._udp.close()
        self._tcp.close()
        for connection in tuple(self._connections):
            connection.abort()
        await self._tcp.wait_closed()

    # --- answering ------------------------------------------------------------------------------------------

    def _hear(self, wire: bytes, transport: str, send: Callable[[bytes], None]) -> None:
        """One question has come; `send` takes what there is to say to it, which may be nothing."""
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries.append(Query(question.name.to_text(omit_final_dot=True).lower(), kind, transport))
        fault = self._faults.get((question.name, kind)) or self._faults.get((question.name, ""))
        answer = self._answer(query, fault, transport)
        if answer is not None:
            if self._held is None:
                send(answer)
            else:
                self._held.append(lambda: send(answer))
        for hearing in self._hearings:
            if not hearing.future.done() and self.asked(hearing.name, hearing.type):
                hearing.future.set_result(None)

    def _answer(self, query: dns.message.Message, fault: Fault | None, transport: str) -> bytes | None:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        if fault is Fault.SILENCE:
            return None
        if fault is Fault.SERVFAIL:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif fault is Fault.REFUSED:
            response.set_rcode(dns.rcode.REFUSED)
        elif fault is Fault.NXDOMAIN:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif fault is Fault.LIE:
            response.id ^= 1
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif fault is Fault.TRUNCATE and transport == "udp":
            response.flags |= dns.flags.TC
        else:
            self._fill(response, follow=fault is not Fault.ALIAS_ONLY)
        # Without EDNS an asker takes 512 octets in a datagram (RFC 1035 §4.2.1).
        limit = max(512, query.payload) if transport == "udp" else 65_535
        # In the zone's order: a test wants the same answer each time. What is too large goes out marked as cut.
        return response.to_wire(max_size=limit, prefer_truncation=True, want_shuffle=False)

    def _fill(self, response: dns.message.Message, follow: bool) -> None:
        """The true answer: records, behind the aliases that lead there; or which kind of nothing there is."""
        name, kind = response.question[0].name, response.question[0].rdtype
        for _ in range(20):  # a ring of aliases ends here, and is left for the asker to see
            if records := self._records.get((name, kind)):
                response.answer.append(dns.rrset.from_rdata_list(name, self._ttl, records))
                return
            alias = self._records.get((name, dns.rdatatype.CNAME))
            if alias is None:
                break
            response.answer.append(dns.rrset.from_rdata_list(name, self._ttl, alias[:1]))
            name = cast(CNAME, alias[0]).target
            if not follow:
                return
        if not any(known.is_subdomain(name) for known, _ in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(self._soa)


def _records_of(
    zone: str | Mapping[tuple[str, str], Sequence[str]],
) -> Iterator[tuple[tuple[str, str], Sequence[str]]]:
    if not isinstance(zone, str):
        yield from zone.items()
        return
    for line in zone.splitlines():
        text = line.partition("#")[0].strip()
        if text:
            name, kind, value = text.split(None, 2)
            yield (name, kind), [value]


class _UdpSide(asyncio.DatagramProtocol):
    def __init__(self, server: Nameserver) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server._hear(data, "udp", lambda answer: self._send(answer, addr))

    def _send(self, answer: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(answer, addr)


class _TcpSide(asyncio.Protocol):
    """Messages over TCP, each behind its length in two octets (RFC 1035 §4.2.2)."""

    def __init__(self, server: Nameserver) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server._connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._server._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while len(self._unread) >= 2:
            end = 2 + int.from_bytes(self._unread[:2], "big")
            if len(self._unread) < end:
                return
            message, self._unread = self._unread[2:end], self._unread[end:]
            self._server._hear(message, "tcp", self._send)

    def _send(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(len(answer).to_bytes(2, "big") + answer)
