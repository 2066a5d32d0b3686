"""Calling servers on loopback: who is reached, and what is said about those who are not."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
import trustme
import uvloop

from glasspost.net.connection import Connection
from glasspost.net.dialer import DialError, dial, tls_fault


@dataclass
class Callee:
    port: int
    addresses: tuple[str, ...] = ("127.0.0.1",)
    name: str = "mx.example.test"


class Caller(Connection):
    """The client's side: keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.heard: asyncio.Future[bytes] = self.loop.create_future()
        self.gone = asyncio.Event()

    def received(self, data: bytes) -> None:
        if not self.heard.done():
            self.heard.set_result(data)

    def lost(self, error: Exception | None) -> None:
        self.gone.set()


class Mute(asyncio.Protocol):
    """The server's side: remembers who called, and says nothing."""

    def __init__(self, callers: list[asyncio.Transport]) -> None:
        self._callers = callers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._callers.append(cast(asyncio.Transport, transport))  # uvloop's are no subclass


class Greeter(Mute):
    """A server's side that greets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._callers[-1].write(b"220 mx.example.test\r\n")


class Rude(Mute):
    """A server's side that hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._callers[-1].close()


@contextlib.asynccontextmanager
async def server(
    address: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    side: Callable[[list[asyncio.Transport]], asyncio.Protocol] = Greeter,
) -> AsyncIterator[tuple[int, list[asyncio.Transport]]]:
    """A server, which greets where nothing else is said: its port, and the list of those who called."""
    callers: list[asyncio.Transport] = []
    listening = await asyncio.get_running_loop().create_server(lambda: side(callers), address, port, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1], callers
    finally:
        listening.close()
        for caller in callers:
            caller.abort()
        await listening.wait_closed()


@contextlib.contextmanager
def silent_port(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that never answers: its queue of connections is full, so the kernel drops what knocks."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        taken = listener.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((address, taken))
        yield taken


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def refusal(host: Callee, **more: Any) -> DialError:
    with pytest.raises(DialError) as caught:
        await dial(host, protocol_factory=Caller, connect_timeout=more.pop("connect_timeout", 5), **more)
    return caught.value


async def reach(host: Callee, **more: Any) -> tuple[bytes, str]:
    """Dial, take the greeting, hang up: the greeting, and the address that answered."""
    transport, protocol, address = await dial(
        host, protocol_factory=Caller, connect_timeout=more.pop("connect_timeout", 5), **more
    )
    async with asyncio.timeout(5):
        greeting = await protocol.heard
        assert protocol.transport is transport
        transport.abort()
        await protocol.gone.wait()
    return greeting, address


GREETING = b"220 mx.example.test\r\n"
Scenario = Callable[[], Coroutine[Any, Any, None]]


def on_both_loops(scenario: Scenario) -> Callable[[str], None]:
    """Run a test on asyncio's loop and on uvloop, which differ in what they raise."""

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test(loop: str) -> None:
        factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(scenario())

    test.__doc__ = scenario.__doc__
    return test


# --- plain --------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_connection_stands() -> None:
    async with server() as (port, _):
        assert await reach(Callee(port)) == (GREETING, "127.0.0.1")


@on_both_loops
async def test_small_writes_are_not_held_back() -> None:
    async with server() as (port, _):
        transport, protocol, _ = await dial(Callee(port), protocol_factory=Caller, connect_timeout=5)
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.abort()
        await protocol.gone.wait()


@on_both_loops
async def test_refused() -> None:
    error = await refusal(Callee(closed_port()))
    assert (error.reason, error.refused, error.tls) == ("connection refused", True, False)


@on_both_loops
async def test_every_address_refuses() -> None:
    error = await refusal(Callee(closed_port(), ("127.0.0.1", "127.0.0.2", "127.0.0.3")))
    assert (error.reason, error.refused) == ("connection refused", True)


@on_both_loops
async def test_silence() -> None:
    with silent_port() as port:
        error = await refusal(Callee(port), connect_timeout=0.1)
    assert (error.reason, error.refused) == ("timed out after 0.1 s", False)


@on_both_loops
async def test_no_route() -> None:
    # A multicast address is nowhere a TCP connection could go: the kernel says so at once, whatever its
    # routes.
    error = await refusal(Callee(25, ("224.0.0.1",)))
    assert (error.reason, error.refused) == ("no route", False)


@on_both_loops
async def test_where_addresses_fail_differently_the_refusal_tells_the_most() -> None:
    error = await refusal(Callee(closed_port(), ("224.0.0.1", "127.0.0.1")))
    assert (error.reason, error.refused) == ("connection refused", True)


async def test_no_address() -> None:
    assert (await refusal(Callee(25, ()))).reason == "no address to connect to"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ECONNRESET, "connection reset"),
        (errno.ETIMEDOUT, "timed out"),
        (errno.EHOSTUNREACH, "no route"),
        (errno.EPERM, "forbidden by this machine's firewall"),
        (errno.EMFILE, "too many files open on this machine"),
        (errno.EPROTO, "protocol error"),
    ],
)
async def test_what_the_kernel_says_is_put_into_words(
    number: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise OSError(number, "as the kernel has it")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", fail)
    assert (await refusal(Callee(25))).reason == reason


# --- happy eyeballs (RFC 8305) ------------------------------------------------------------------------------


@on_both_loops
async def test_the_next_address_is_tried_beside_a_silent_one() -> None:
    with silent_port("127.0.0.1") as port:
        async with server("127.0.0.2", port) as (_, callers):
            host = Callee(port, ("127.0.0.1", "127.0.0.2"))
            assert await reach(host, connect_timeout=3) == (GREETING, "127.0.0.2")
            assert len(callers) == 1


@on_both_loops
async def test_the_first_address_is_preferred() -> None:
    async with server("127.0.0.1") as (port, callers), server("127.0.0.2", port) as (_, others):
        assert await reach(Callee(port, ("127.0.0.2", "127.0.0.1"))) == (GREETING, "127.0.0.2")
        assert (len(callers), len(others)) == (0, 1)


@on_both_loops
async def test_ipv4_where_ipv6_is_not_answered() -> None:
    async with server("127.0.0.1") as (port, _):
        assert await reach(Callee(port, ("::1", "127.0.0.1"))) == (GREETING, "127.0.0.1")


@on_both_loops
async def test_ipv6() -> None:
    try:
        async with server("::1") as (port, _):
            assert await reach(Callee(port, ("::1",))) == (GREETING, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


# --- our own address ----------------------------------------------------------------------------------------


@on_both_loops
async def test_calls_come_from_the_source_address() -> None:
    async with server() as (port, callers):
        assert await reach(Callee(port, ("::1", "127.0.0.1")), source="127.0.0.9") == (GREETING, "127.0.0.1")
        assert [caller.get_extra_info("peername")[0] for caller in callers] == ["127.0.0.9"]


@on_both_loops
async def test_a_source_address_that_is_not_ours() -> None:
    error = await refusal(Callee(closed_port()), source="192.0.2.99")
    assert (error.reason, error.refused) == ("the source address is not one of this machine's", False)


async def test_a_source_address_of_the_other_family() -> None:
    error = await refusal(Callee(25, ("::1",)), source="127.0.0.1")
    assert error.reason == "no address to reach from 127.0.0.1"


@on_both_loops
async def test_source_addresses_bind_their_own_family_only() -> None:
    async with server() as (port, callers):
        assert await reach(Callee(port), source=("127.0.0.9",)) == (GREETING, "127.0.0.1")
        assert [caller.get_extra_info("peername")[0] for caller in callers] == ["127.0.0.9"]
        assert await reach(Callee(port), source=("::1",)) == (GREETING, "127.0.0.1")


# --- TLS from the first octet -------------------------------------------------------------------------------

AUTHORITY = trustme.CA()


def server_side(identity: str = "mx.example.test", **lifetime: datetime.datetime) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(identity, **lifetime).configure_cert(context)
    return context


def client_side(*, trusting: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if trusting:
        AUTHORITY.configure_trust(context)
    return context


@on_both_loops
async def test_tls_stands_before_the_first_word() -> None:
    async with server(tls=server_side()) as (port, _):
        transport, protocol, _ = await dial(Callee(port), protocol_factory=Caller, connect_timeout=5, tls=client_side())
        assert await protocol.heard == GREETING
        assert protocol.tls is not None and protocol.tls.version() == "TLSv1.3"
        transport.abort()
        await protocol.gone.wait()


@on_both_loops
async def test_the_name_to_be_proven_can_be_another_than_the_hosts() -> None:
    async with server(tls=server_side("mail.example.test")) as (port, _):
        answer = await reach(Callee(port), tls=client_side(), server_hostname="mail.example.test")
        assert answer == (GREETING, "127.0.0.1")


LONG_AGO = datetime.datetime(2020, 1, 1)
BAD_CERTIFICATES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("expired", {"not_before": LONG_AGO, "not_after": LONG_AGO}, {}, "TLS: certificate has expired"),
    ("unknown authority", {}, {"trusting": False}, "TLS: unable to get local issuer certificate"),
    (
        "another's name",
        {"identity": "other.example.test"},
        {},
        "TLS: hostname mismatch, certificate is not valid for 'mx.example.test'",
    ),
]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("certificate", "client", "reason"),
    [case[1:] for case in BAD_CERTIFICATES],
    ids=[case[0] for case in BAD_CERTIFICATES],
)
def test_certificates_that_prove_nothing(
    loop: str, certificate: dict[str, Any], client: dict[str, Any], reason: str
) -> None:
    async def scenario() -> None:
        async with server(tls=server_side(**certificate)) as (port, _):
            error = await refusal(Callee(port), tls=client_side(**client))
            assert (error.reason, error.refused, error.tls) == (reason, False, True)

    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())


@on_both_loops
async def test_a_server_that_does_not_speak_tls() -> None:
    async with server() as (port, _):
        error = await refusal(Callee(port), tls=client_side())
        assert (error.reason, error.tls) == ("TLS: what came back is not TLS", True)


@on_both_loops
async def test_a_server_that_hangs_up_during_the_handshake() -> None:
    async with server(side=Rude) as (port, _):
        error = await refusal(Callee(port), tls=client_side())
    assert (error.reason, error.tls) == ("TLS: connection closed during the handshake", True)


@on_both_loops
async def test_a_server_that_is_silent_during_the_handshake() -> None:
    async with server(side=Mute) as (port, _):
        error = await refusal(Callee(port), tls=client_side(), connect_timeout=0.1)
    assert (error.reason, error.tls) == ("TLS: timed out after 0.1 s", True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionAbortedError("SSL handshake is taking longer than 30.0 seconds"), "timed out"),
        (TimeoutError(), "timed out"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "connection closed during the handshake"),
        (ssl.SSLError("no reason given"), "connection closed during the handshake"),
        (OSError("Something Else"), "something else"),
    ],
)
def test_other_ways_for_a_handshake_to_fail(error: Exception, words: str) -> None:
    assert tls_fault(error) == words


# --- giving up ----------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_call_can_be_called_off() -> None:
    with silent_port() as port:
        calling = asyncio.create_task(dial(Callee(port), protocol_factory=Caller, connect_timeout=60))
        await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
