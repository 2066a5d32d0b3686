"""TLS directly on the socket: handshakes good and bad, back pressure both ways, farewells, and nothing left behind.

The client is OpenSSL over a plain socket, turn by turn, so that each octet on the wire is the test's. All of it on both
event loops.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
import weakref
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from glasspost.net import tls_transport
from glasspost.net.tls import opportunistic_context
from glasspost.net.tls_transport import TlsTransport

PATIENCE = 10.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets the connection
LARGE = b"".join(b"%07d 12345678901234567890\r\n" % number for number in range(100_000))  # some 3 MB


class Listener(asyncio.Protocol):
    """Our side's protocol: what it is told, in order."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.pieces: list[int] = []
        self.ended = 0
        self.stays = False
        self.choked = 0
        self.drained = 0
        self.lost: list[Exception | None] = []
        self.on_data: Callable[[bytes], None] = lambda data: None
        self._moved = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.pieces.append(len(data))
        self._moved.set()
        self.on_data(data)

    def eof_received(self) -> bool:
        self.ended += 1
        self._moved.set()
        return self.stays

    def pause_writing(self) -> None:
        self.choked += 1

    def resume_writing(self) -> None:
        self.drained += 1
        self._moved.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)
        self._moved.set()

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._moved.clear()
                await self._moved.wait()

    async def is_lost(self) -> Exception | None:
        await self.until(lambda: self.lost)
        await asyncio.sleep(0)
        assert len(self.lost) == 1
        return self.lost[0]


class Peer:
    """The client, turn by turn. `piece`: at most so many octets are sent at once."""

    def __init__(self, sock: socket.socket, piece: int = 1 << 20) -> None:
        self.sock = sock
        self.piece = piece
        self._loop = asyncio.get_running_loop()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = opportunistic_context()
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # a FIN is no close_notify
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=None)

    async def raw(self, data: bytes) -> None:
        for at in range(0, len(data), self.piece):
            await self._loop.sock_sendall(self.sock, data[at : at + self.piece])

    async def _turn(self, act: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return act()
                except ssl.SSLWantReadError:
                    await self.raw(self._out.read())
                    came = await self._loop.sock_recv(self.sock, self.piece)
                    self._in.write(came) if came else self._in.write_eof()
                finally:
                    await self.raw(self._out.read())

    async def shake_hands(self) -> None:
        await self._turn(self._tls.do_handshake)

    async def say(self, data: bytes) -> None:
        await self._turn(lambda: self._tls.write(data))

    async def hear(self, count: int) -> bytes:
        heard = bytearray()
        while (left := count - len(heard)) and (piece := await self._turn(partial(self._tls.read, left))):
            heard += piece
        return bytes(heard)

    async def rest(self) -> bytes:
        """All up to the close_notify. Raises ssl.SSLError where the connection ends without one."""
        heard = bytearray()
        while piece := await self._turn(lambda: self._tls.read(65536)):
            heard += piece
        return bytes(heard)

    async def notify_of_end(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self.raw(self._out.read())

    async def raw_rest(self) -> bytes:
        heard = bytearray()
        async with asyncio.timeout(PATIENCE):
            while piece := await self._loop.sock_recv(self.sock, 65536):
                heard += piece
        return bytes(heard)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


def connected() -> tuple[socket.socket, socket.socket]:
    """The two ends of a TCP connection whose buffers are small, so that a reader who waits is soon felt."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        server.bind(("127.0.0.1", 0))
        server.listen()
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        theirs.connect(server.getsockname())
        ours, _ = server.accept()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(False)
    return ours, theirs


class Wire:
    """Both ends of a connection; ours has become a transport, which has not shaken hands yet."""

    def __init__(self, context: ssl.SSLContext) -> None:
        ours, theirs = connected()
        self.listener = Listener()
        self.transport = TlsTransport(
            asyncio.get_running_loop(), self.listener, ours, context, parting_seconds=PATIENCE
        )
        self.peer = Peer(theirs)

    async def stand(self) -> None:
        await asyncio.gather(self.transport.handshake(PATIENCE), self.peer.shake_hands())


@pytest.fixture
async def wire(shown: ssl.SSLContext) -> AsyncIterator[Wire]:
    made = Wire(shown)
    yield made
    made.transport.abort()
    made.peer.sock.close()


@pytest.fixture
async def standing(wire: Wire) -> Wire:
    await wire.stand()
    return wire


# --- handshakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1 << 20, 1], ids=["whole", "one octet per segment"])
async def test_both_sides_hear_each_other(wire: Wire, piece: int) -> None:
    wire.peer.piece = piece
    await wire.stand()
    await wire.peer.say(b"EHLO client.test\r\n")
    await wire.listener.until(lambda: wire.listener.heard == b"EHLO client.test\r\n")
    wire.transport.write(b"250 mx.house.test\r\n")
    assert await wire.peer.hear(19) == b"250 mx.house.test\r\n"


async def test_what_stands_can_be_asked_about(standing: Wire, shown: ssl.SSLContext) -> None:
    tls = standing.transport.get_extra_info("ssl_object")
    assert (tls.version(), tls.context) == ("TLSv1.3", shown)
    assert standing.transport.get_extra_info("cipher") == tls.cipher()
    assert standing.transport.get_extra_info("peername") == standing.peer.sock.getsockname()
    assert standing.transport.get_extra_info("sockname") == standing.peer.sock.getpeername()
    assert standing.transport.get_extra_info("weather", "fair") == "fair"


async def test_the_first_command_may_come_with_the_end_of_the_handshake(wire: Wire) -> None:
    peer = wire.peer
    shaking = asyncio.create_task(wire.transport.handshake(PATIENCE))
    send, held = peer.raw, bytearray()

    async def hold(data: bytes) -> None:
        if not held and not data.startswith(b"\x16"):  # all but the ClientHello goes with what is said
            held.extend(data)
        else:
            await send(data)

    peer.raw = hold  # type: ignore[method-assign]
    await peer.shake_hands()
    assert held and not shaking.done()
    peer._tls.write(b"EHLO client.test\r\n")
    await send(bytes(held) + peer._out.read())
    await shaking
    await wire.listener.until(lambda: wire.listener.heard == b"EHLO client.test\r\n")


@pytest.mark.parametrize("begun", [False, True], ids=["not a word", "half a hello"])
async def test_a_client_that_does_not_go_on_is_cut_off(wire: Wire, begun: bool) -> None:
    if begun:
        await wire.peer.raw(b"\x16\x03\x01\x02\x00\x01")
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        await wire.transport.handshake(0.05)
    assert wire.transport.is_closing()
    with contextlib.suppress(ConnectionResetError):
        assert await wire.peer.raw_rest() == b""
    assert wire.listener.lost == []  # it had never been told of a connection


@pytest.mark.parametrize("garbage", [b"EHLO client.test\r\n", b"GET / HTTP/1.1\r\n\r\n", bytes(300), b"\xff" * 5000])
async def test_what_is_no_hello_ends_it_with_an_alert_and_without_a_reset(wire: Wire, garbage: bytes) -> None:
    await wire.peer.raw(garbage)
    with pytest.raises(ssl.SSLError):
        await wire.transport.handshake(PATIENCE)
    heard = await wire.peer.raw_rest()
    assert heard[:1] in (b"\x15", b"")  # an alert; OpenSSL has none for an HTTP client
    assert wire.transport.is_closing()


async def test_a_client_that_leaves_in_the_handshake_ends_it(wire: Wire) -> None:
    shaking = asyncio.create_task(wire.transport.handshake(PATIENCE))
    await asyncio.sleep(0)
    wire.peer.reset()
    with pytest.raises(ConnectionResetError):
        await shaking


@pytest.mark.parametrize("moment", ["before", "within"])
async def test_a_handshake_can_be_broken_off(wire: Wire, moment: str) -> None:
    if moment == "before":
        wire.transport.abort()
    shaking = asyncio.create_task(wire.transport.handshake(PATIENCE))
    await asyncio.sleep(0)
    wire.transport.close()
    with pytest.raises(ConnectionAbortedError):
        await shaking
    assert await wire.peer.raw_rest() == b""


async def test_whoever_waits_for_a_handshake_may_give_up(wire: Wire) -> None:
    shaking = asyncio.create_task(wire.transport.handshake(PATIENCE))
    await asyncio.sleep(0)
    shaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shaking
    assert await wire.peer.raw_rest() == b""


# --- back pressure --------------------------------------------------------------------------------------------


async def test_a_slow_reader_is_waited_for_and_gets_everything(standing: Wire) -> None:
    transport, listener = standing.transport, standing.listener
    sent = most = 0
    while not listener.choked:
        transport.write(LARGE[sent : sent + 10_000])
        sent += 10_000
        most = max(most, transport.get_write_buffer_size())
        assert sent < len(LARGE), "it never had to wait"
    assert most <= 64 * 1024 + 10_000
    heard = await standing.peer.hear(sent // 2)
    await listener.until(lambda: listener.drained)
    transport.write(b"the end")
    heard += await standing.peer.hear(sent + 7 - len(heard))
    assert heard == LARGE[:sent] + b"the end"
    assert (listener.choked, listener.drained, transport.get_write_buffer_size()) == (1, 1, 0)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_large_piece_is_written_as_it_was(standing: Wire, kind: Callable[[bytes], bytearray]) -> None:
    data = kind(LARGE)
    standing.transport.write(data)
    if isinstance(data, bytearray):
        data[:] = b"?" * len(data)  # it is the writer's again
    assert await standing.peer.hear(len(LARGE)) == LARGE


async def test_while_reading_is_paused_the_sender_must_wait(standing: Wire) -> None:
    transport, listener = standing.transport, standing.listener
    listener.on_data = lambda data: transport.pause_reading()
    saying = asyncio.create_task(standing.peer.say(LARGE))
    await listener.until(lambda: listener.heard)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(listener.pieces) == 1 and not saying.done() and not transport.is_reading()
    listener.on_data = lambda data: None
    transport.resume_reading()
    await saying
    await listener.until(lambda: len(listener.heard) == len(LARGE))
    assert bytes(listener.heard) == LARGE


async def test_what_openssl_has_read_already_comes_after_the_pause(
    standing: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is in the kernel any more that would tell of it."""
    monkeypatch.setattr(tls_transport, "_RECORD", 1000)
    transport, listener = standing.transport, standing.listener
    listener.on_data = lambda data: transport.pause_reading()
    await standing.peer.say(LARGE[:10_000])  # one record
    await listener.until(lambda: listener.heard)
    for _ in range(5):
        await asyncio.sleep(0)
    assert listener.pieces == [1000]
    transport.resume_reading()
    await listener.until(lambda: len(listener.pieces) == 2)
    listener.on_data = lambda data: None
    transport.resume_reading()
    await listener.until(lambda: len(listener.heard) == 10_000)


async def test_what_openssl_has_read_already_comes_after_the_turn_of_others(
    standing: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_transport, "_RECORD", 1000)
    monkeypatch.setattr(tls_transport, "_TURN", 2000)
    await standing.peer.say(LARGE[:10_000])  # one record
    await standing.listener.until(lambda: len(standing.listener.heard) == 10_000)


async def test_a_pause_and_its_end_may_come_again_and_again(standing: Wire) -> None:
    for act in ("resume", "pause", "pause", "resume", "resume"):
        getattr(standing.transport, f"{act}_reading")()
    await standing.peer.say(b"NOOP\r\n")
    await standing.listener.until(lambda: standing.listener.heard == b"NOOP\r\n")


async def test_a_fast_sender_leaves_others_their_turn(standing: Wire) -> None:
    """What one turn of the loop brings of one connection is bounded."""
    listener, turn, turns = standing.listener, 0, list[int]()
    loop = asyncio.get_running_loop()
    standing.transport.pause_reading()
    saying = asyncio.create_task(standing.peer.say(LARGE))
    for _ in range(20):
        await asyncio.sleep(0)  # the kernel is full

    def tick() -> None:
        nonlocal turn
        turns.append(turn)
        turn = 0
        loop.call_soon(tick)

    def count(data: bytes) -> None:
        nonlocal turn
        turn += len(data)
        if len(listener.heard) == len(LARGE):
            turns.append(turn)

    listener.on_data = count
    standing.transport.resume_reading()
    loop.call_soon(tick)
    await saying
    await listener.until(lambda: len(listener.heard) == len(LARGE))
    assert 16 * 1024 < max(turns) <= 64 * 1024
    await listener.until(lambda: True)


# --- the end --------------------------------------------------------------------------------------------------


async def test_what_was_written_before_the_close_goes_out_then_a_close_notify(standing: Wire) -> None:
    standing.transport.write(LARGE)
    standing.transport.close()
    standing.transport.write(b"too late")
    assert standing.transport.is_closing() and standing.transport.get_write_buffer_size()
    assert await standing.peer.rest() == LARGE
    standing.peer.sock.close()
    assert await standing.listener.is_lost() is None


async def test_a_last_reply_arrives_whatever_the_client_has_sent_ahead(standing: Wire) -> None:
    """To close with octets unread would be a reset, and that may overtake the reply."""
    listener, transport = standing.listener, standing.transport

    def leave(data: bytes) -> None:
        transport.write(b"221 bye\r\n")
        transport.close()

    listener.on_data = leave
    await standing.peer.say(b"QUIT\r\n" + LARGE[:200_000])
    assert await standing.peer.rest() == b"221 bye\r\n"
    assert await standing.peer.raw_rest() == b""
    assert len(listener.pieces) == 1
    standing.peer.sock.close()
    assert await listener.is_lost() is None


async def test_a_peer_that_does_not_go_is_not_waited_for_long(standing: Wire) -> None:
    standing.transport._parting_seconds = 0.05
    standing.transport.close()
    assert await standing.listener.is_lost() is None


async def test_a_peer_that_takes_nothing_of_the_rest_is_cut_off(
    standing: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_transport, "_FAREWELL_SECONDS", 0.05)
    standing.transport.write(LARGE * 4)
    for _ in range(50):
        await asyncio.sleep(0)  # the kernel is full
    standing.transport.close()
    assert await standing.listener.is_lost() is None


@pytest.mark.parametrize("notified", [True, False], ids=["close_notify", "FIN"])
async def test_the_peers_end_closes_our_side_after_what_is_written(standing: Wire, notified: bool) -> None:
    standing.transport.write(b"221 bye\r\n")
    if notified:
        await standing.peer.notify_of_end()
    else:
        standing.peer.sock.shutdown(socket.SHUT_WR)
    assert await standing.listener.is_lost() is None
    assert standing.listener.ended == 1
    assert len(await standing.peer.raw_rest()) > 9  # nothing was reset


@pytest.mark.parametrize("notified", [True, False], ids=["close_notify", "FIN"])
async def test_our_side_may_stay_open_behind_the_peers_end(standing: Wire, notified: bool) -> None:
    standing.listener.stays = True
    if notified:
        await standing.peer.notify_of_end()
    standing.peer.sock.shutdown(socket.SHUT_WR)
    await standing.listener.until(lambda: standing.listener.ended)
    standing.transport.pause_reading()
    standing.transport.resume_reading()  # of no consequence any more
    standing.transport.write(LARGE)
    await standing.listener.until(lambda: standing.listener.choked)
    standing.transport.close()
    assert len(await standing.peer.raw_rest()) > len(LARGE)
    assert await standing.listener.is_lost() is None
    assert standing.listener.ended == 1


async def test_a_close_within_the_pause_still_waits_for_the_peer(standing: Wire) -> None:
    standing.transport.pause_reading()
    await standing.peer.say(LARGE[:50_000])
    standing.transport.write(b"421 too slow\r\n")
    standing.transport.close()
    standing.transport.close()
    assert await standing.peer.rest() == b"421 too slow\r\n"
    standing.peer.sock.close()
    assert await standing.listener.is_lost() is None


async def test_an_abort_drops_what_is_left_to_say(standing: Wire) -> None:
    standing.transport.write(LARGE)
    standing.transport.abort()
    standing.transport.abort()
    standing.transport.close()
    assert standing.transport.get_write_buffer_size() == 0 and standing.listener.lost == []
    assert await standing.listener.is_lost() is None
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await standing.peer.rest()


@pytest.mark.parametrize("busy", ["reading", "writing"])
async def test_a_reset_is_told_once(standing: Wire, busy: str) -> None:
    if busy == "writing":
        standing.transport.pause_reading()
        standing.transport.write(LARGE)
    standing.peer.reset()
    assert isinstance(await standing.listener.is_lost(), OSError)
    standing.transport.write(b"into the void")
    standing.transport.resume_reading()
    standing.transport.close()
    standing.transport.abort()
    await asyncio.sleep(0)
    assert len(standing.listener.lost) == 1


async def test_a_record_that_was_tampered_with_ends_the_connection(standing: Wire) -> None:
    await standing.peer.raw(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert isinstance(await standing.listener.is_lost(), ssl.SSLError)
    assert standing.listener.heard == b""


async def test_a_bug_of_the_protocol_costs_it_the_connection_and_is_reported(standing: Wire) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))

    def break_down(data: bytes) -> None:
        raise KeyError("a bug")

    standing.listener.on_data = break_down
    await standing.peer.say(b"NOOP\r\n")
    assert isinstance(await standing.listener.is_lost(), KeyError)
    assert len(told) == 1 and isinstance(told[0]["exception"], KeyError)


async def come_and_go(context: ssl.SSLContext, ending: str) -> list[weakref.ref[Any]]:
    """A connection's whole life; what it consisted of."""
    wire = Wire(context)
    if ending == "refused":
        await wire.peer.raw(b"no TLS at all")
        with contextlib.suppress(ssl.SSLError):
            await wire.transport.handshake(PATIENCE)
    else:
        await wire.stand()
        await asyncio.gather(wire.peer.say(LARGE[:1000]), wire.listener.until(lambda: wire.listener.heard))
        wire.transport.write(LARGE)
        wire.listener.on_data = wire.transport.write
        if ending == "reset":
            wire.peer.reset()
        elif ending == "abort":
            wire.transport.abort()
        else:
            wire.transport.close()
            await wire.peer.rest()
            wire.peer.sock.close()
        await wire.listener.is_lost()
    wire.peer.sock.close()
    return [weakref.ref(wire.listener), weakref.ref(wire.transport.get_extra_info("socket"))]


@pytest.mark.parametrize("ending", ["close", "abort", "reset", "refused"])
async def test_nothing_stays_of_a_connection_until_the_collector_comes(shown: ssl.SSLContext, ending: str) -> None:
    gc.disable()
    try:
        remains = await come_and_go(shown, ending)
        for _ in range(3):
            await asyncio.sleep(0)
        assert [one() for one in remains] == [None, None]
    finally:
        gc.enable()
