"""STARTTLS with us as the server: the connection leaves the event loop's transport, and the peer notices nothing.

Whatever moment the client chooses, no octet is lost and none crosses over. All of it on both event loops.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from glasspost.net.connection import Connection
from glasspost.net.leaving import Leaving
from glasspost.net.tls import opportunistic_context

PATIENCE = 10.0
READY = b"220 go ahead\r\n"


class Host(Connection):
    """Goes over to TLS at the first octets it hears, and then says again what it hears."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(asyncio.get_running_loop())
        self._context = context
        self.before = b""  # said in the clear, in front of READY
        self.on_request: Callable[[], None] = lambda: None
        self.fault: Exception | None = None
        self.losses: list[Exception | None] = []
        self.over: asyncio.Future[None] = self.loop.create_future()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.task: asyncio.Task[None] | None = None

    def received(self, data: bytes) -> None:
        if self.task is not None:
            self.send(data)
            return
        self.pause()
        self.send(self.before)
        self.send(READY)
        self.on_request()
        self.task = self.loop.create_task(self._go_over())

    async def _go_over(self) -> None:
        try:
            await self.start_tls(self._context, server_side=True)
        except OSError as error:
            self.fault = error
        self.over.set_result(None)

    def lost(self, error: Exception | None) -> None:
        self.losses.append(error)
        self.done.set_result(None)


class Guest:
    """A client on a blocking socket, in a thread where it would block."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def hear(self, count: int) -> bytes:
        return await asyncio.to_thread(self._hear, count)

    def _hear(self, count: int) -> bytes:
        heard = b""
        while len(heard) < count and (piece := self.sock.recv(count - len(heard))):
            heard += piece
        return heard

    async def shake_hands(self) -> None:
        self.sock = await asyncio.to_thread(opportunistic_context().wrap_socket, self.sock)


@contextlib.asynccontextmanager
async def meeting(context: ssl.SSLContext) -> AsyncIterator[tuple[Host, Guest]]:
    host = Host(context)
    server = await asyncio.get_running_loop().create_server(lambda: host, "127.0.0.1", 0)
    guest = Guest(socket.create_connection(server.sockets[0].getsockname(), PATIENCE))
    try:
        async with asyncio.timeout(PATIENCE):
            yield host, guest
    finally:
        host.abort()
        guest.sock.close()
        server.close()
        async with asyncio.timeout(PATIENCE):
            await host.done


async def test_it_goes_on_in_tls_and_ends_once(shown: ssl.SSLContext) -> None:
    async with meeting(shown) as (host, guest):
        guest.sock.sendall(b"STARTTLS\r\n")
        assert await guest.hear(len(READY)) == READY
        await guest.shake_hands()
        await host.over
        assert host.fault is None and host.tls is not None and host.tls.version() == "TLSv1.3" and host.losses == []
        guest.sock.sendall(b"EHLO client.test\r\n")
        assert await guest.hear(18) == b"EHLO client.test\r\n"
        assert host.peer == guest.sock.getsockname()
        guest.sock.close()
        await host.done
    assert host.losses == [None]


async def test_a_hello_in_the_very_same_moment_reaches_the_handshake(shown: ssl.SSLContext) -> None:
    """It is in the kernel before the 220 is, and before anybody has begun to go over."""
    async with meeting(shown) as (host, guest):
        came, went = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = opportunistic_context().wrap_bio(came, went)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        host.on_request = lambda: guest.sock.sendall(went.read())
        guest.sock.sendall(b"STARTTLS\r\n")
        assert await guest.hear(len(READY)) == READY
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                came.write(await asyncio.to_thread(guest.sock.recv, 65536))
        guest.sock.sendall(went.read())
        await host.over
        assert host.fault is None and tls.version() == "TLSv1.3"


async def test_all_that_was_said_in_the_clear_arrives_first(shown: ssl.SSLContext) -> None:
    """More than the kernel takes at once, so that the connection is choked when it begins to leave."""
    async with meeting(shown) as (host, guest):
        host.before = b"214 a long story\r\n" * 1_000_000
        guest.sock.sendall(b"HELP\r\nSTARTTLS\r\n")
        said = await guest.hear(len(host.before) + len(READY))
        assert said == host.before + READY
        await guest.shake_hands()
        await host.over
        assert not host.choked
        guest.sock.sendall(b"NOOP\r\n")
        assert await guest.hear(6) == b"NOOP\r\n"


async def test_octets_in_the_clear_break_the_handshake(shown: ssl.SSLContext) -> None:
    async with meeting(shown) as (host, guest):
        host.on_request = lambda: guest.sock.sendall(b"MAIL FROM:<eve@away.test>\r\n")
        guest.sock.sendall(b"STARTTLS\r\n")
        assert await guest.hear(len(READY)) == READY
        await host.done
        assert isinstance(host.fault, ssl.SSLError) and host.losses == [host.fault]


async def test_octets_that_the_loop_has_read_already_break_the_connection(shown: ssl.SSLContext) -> None:
    async with meeting(shown) as (host, guest):
        guest.sock.sendall(b"STARTTLS\r\n")
        host._go_over = lambda: asyncio.sleep(0)  # type: ignore[method-assign, assignment, return-value]
        await guest.hear(len(READY))
        leaving = Leaving(cast(asyncio.Transport, host.transport), host.loop)
        leaving.data_received(b"MAIL FROM:<eve@away.test>\r\n")
        with pytest.raises(ConnectionResetError):
            await leaving.socket()
        assert await guest.hear(1) == b""
        host.connection_lost(None)


async def test_the_old_transport_is_gone_before_the_handshake_begins(shown: ssl.SSLContext) -> None:
    async with meeting(shown) as (host, guest):
        guest.sock.sendall(b"STARTTLS\r\n")
        host._go_over = lambda: asyncio.sleep(0)  # type: ignore[method-assign, assignment, return-value]
        await guest.hear(len(READY))
        clear = cast(asyncio.Transport, host.transport)
        descriptor = clear.get_extra_info("socket").fileno()
        leaving = Leaving(clear, host.loop)
        with await leaving.socket() as taken:
            assert os.fstat(descriptor).st_ino == os.fstat(taken.fileno()).st_ino
            await leaving.gone()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)
            taken.send(b"still here")
        assert await guest.hear(11) == b"still here"
        host.connection_lost(None)


@pytest.mark.parametrize("waiting", [False, True], ids=["in the handshake", "before it"])
async def test_a_client_that_is_gone_meanwhile_is_lost_once(shown: ssl.SSLContext, waiting: bool) -> None:
    async with meeting(shown) as (host, guest):
        host.before = b"214 a long story\r\n" * (1_000_000 if waiting else 1)
        guest.sock.sendall(b"STARTTLS\r\n")
        await guest.hear(100 if waiting else len(host.before) + len(READY))
        guest.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        guest.sock.close()
        await host.over
        await host.done
        assert isinstance(host.fault, OSError) and not host.upgrading
    assert len(host.losses) == 1


@pytest.mark.parametrize("silent", ["takes nothing", "says nothing"])
async def test_a_client_that_does_not_go_on_is_cut_off(
    shown: ssl.SSLContext, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glasspost.net.connection.HANDSHAKE_SECONDS", 0.1)
    async with meeting(shown) as (host, guest):
        host.before = b"214 a long story\r\n" * (1_000_000 if silent == "takes nothing" else 1)
        guest.sock.sendall(b"STARTTLS\r\n")
        await host.over
        assert isinstance(host.fault, TimeoutError) and not host.is_open


async def test_an_abort_reaches_the_handshake(shown: ssl.SSLContext) -> None:
    async with meeting(shown) as (host, guest):
        guest.sock.sendall(b"STARTTLS\r\n")
        await guest.hear(len(READY))
        host.abort()
        await host.over
        assert isinstance(host.fault, ConnectionError)
        assert await guest.hear(1) == b""


async def test_whoever_is_lost_already_does_not_go_over(shown: ssl.SSLContext) -> None:
    host = Host(shown)
    with pytest.raises(ConnectionResetError):
        await host.start_tls(shown, server_side=True)
    assert not host.upgrading
