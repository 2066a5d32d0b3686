"""Accepting connections that may come through a proxy.

Lives here: `ProxiedServer`, an accept loop that reads a PROXY header off connections from named networks, then lets the
connection begin, with TLS or without.
Does not live here: the header (proxy_header.py), connections that need none (asyncio's own server is faster), what is
said (inbound/, retrieval/).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence

import structlog

from glasspost.ip import IpNetwork, is_within
from glasspost.net.connection import Connection
from glasspost.net.proxy_header import MalformedHeader, read_header

HEADER_TIME = 10.0  # seconds for a proxy to say who calls; it is on the wire already, or something is wrong
_OUT_OF_DESCRIPTORS = 0.5  # seconds until accepting is tried again

log = structlog.get_logger("proxy")


class ProxiedServer:
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
                sock.setblocking(False)
                task = self._loop.create_task(self._open(sock, self._factory(), str(address[0])))
                self._openings.add(task)
                task.add_done_callback(self._openings.discard)
        finally:
            self._listening.close()

    async def _open(self, sock: socket.socket, session: Connection, peer: str) -> None:
        try:
            if is_within(peer, self.networks):
                async with asyncio.timeout(HEADER_TIME):
                    caller = await read_header(self._loop, sock)
                if caller is not None:
                    session.peer = (caller.address, caller.port)
                session.proxy = peer
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                lambda: session,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=30 if self._context else None,
                ssl_shutdown_timeout=3 if self._context else None,
            )
        except MalformedHeader as error:
            log.warning("a proxy did not say who calls; dropped", proxy=peer, fault=str(error))
            sock.close()
        except (OSError, TimeoutError) as error:
            log.debug("a connection did not begin", peer=peer, fault=str(error))
            sock.close()
        except BaseException:
            sock.close()
            raise
