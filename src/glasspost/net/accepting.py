"""Accepting connections that something comes before: a PROXY header, TLS from the first octet, or both.

Lives here: `Accepting`, an accept loop that reads a PROXY header off connections from named networks, does the TLS
handshake, and lets the connection begin. Who is in a handshake is known to the connection's own side: it counts there,
and there is told how it went.
Does not live here: the header (proxy_header.py), connections that need neither (asyncio's own server is faster), what
is said (inbound/, retrieval/).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence

import structlog

from glasspost.ip import IpNetwork, is_within
from glasspost.net.connection import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS, Connection
from glasspost.net.proxy_header import MalformedHeader, read_header
from glasspost.net.tls_transport import TlsTransport

HEADER_TIME = 10.0  # seconds for a proxy to say who calls; it is on the wire already, or something is wrong
_OUT_OF_DESCRIPTORS = 0.5  # seconds until accepting is tried again

log = structlog.get_logger("proxy")


class Accepting:
    """One listening socket. `networks` can be replaced while it runs."""

    def __init__(
        self,
        listening: socket.socket,
        factory: Callable[[], Connection],
        networks: Sequence[IpNetwork],
        context: ssl.SSLContext | None,
    ) -> None:
        """`listening` is closed with the server. `context`: for TLS from the first octet behind the header."""
        self.networks = tuple(networks)
        self._listening = listening
        self._factory = factory
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._openings: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accept nobody more. Who has been accepted goes on."""
        self._accepting.cancel()

    async def _accept(self) -> None:
        try:
            while True:
                try:
                    sock, address = await self._loop.sock_accept(self._listening)
                except OSError as error:
                    log.error("cannot accept", error=str(error))
                    await asyncio.sleep(_OUT_OF_DESCRIPTORS)
                    continue
                self._begin(sock, address[:2])
        finally:
            self._listening.close()

    def _begin(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        sock.setblocking(False)
        session = self._factory()
        session.peer = peer
        session.opening = task = self._loop.create_task(self._open(sock, session))
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)

    async def _open(self, sock: socket.socket, session: Connection) -> None:
        """Everything up to the connection's beginning. What ends it here, the connection is told as well."""
        peer = session.peer[0]
        try:
            if is_within(peer, self.networks):
                async with asyncio.timeout(HEADER_TIME):
                    caller = await read_header(self._loop, sock)
                if caller is not None:
                    session.peer = (caller.address, caller.port)
                session.proxy = peer
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is None:
                await self._loop.connect_accepted_socket(lambda: session, sock)
            else:
                await self._secure(sock, session, self._context)
        except MalformedHeader as error:
            log.warning("a proxy did not say who calls; dropped", proxy=peer, fault=str(error))
            sock.close()
        except (OSError, TimeoutError) as error:
            log.debug("a connection did not begin", peer=peer, fault=str(error))
            sock.close()
        except BaseException:
            sock.close()
            raise
        finally:
            session.opening = None
            if session.transport is None:
                session.connection_lost(None)

    async def _secure(self, sock: socket.socket, session: Connection, context: ssl.SSLContext) -> None:
        host, port = sock.getsockname()[:2]
        local = f"{host}:{port}"
        if not session.arriving(local):
            sock.close()
            return
        try:
            secure = TlsTransport(self._loop, session, sock, context, parting_seconds=SHUTDOWN_SECONDS)
            await secure.handshake(HANDSHAKE_SECONDS)
        except OSError as error:  # ssl.SSLError and TimeoutError are such
            session.not_secured(error, local)
            raise
        try:
            session.connection_made(secure)
        except BaseException:
            secure.abort()
            raise
