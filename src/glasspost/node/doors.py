"""The node's doors: a listening socket for each listener, what TLS it shows, and the server behind it.

Lives here: binding sockets or taking over those that were handed in, and opening the server on each.
Does not live here: who is behind a door (node.py), the sockets themselves (net/listening.py), certificates
(certificates.py).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from glasspost.errors import Busy
from glasspost.net.accepting import Accepting
from glasspost.net.connection import Connection
from glasspost.net.listening import Inheritance, open_listener
from glasspost.node import device_wiring
from glasspost.node.certificates import Certificates
from glasspost.node.settings import Config, Listener

log = structlog.get_logger("node")


@dataclass(slots=True)
class Door:
    """An open listener."""

    role: str
    address: str
    port: int
    server: asyncio.Server | Accepting
    tls: str = "none"


def bind(config: Config, inheritance: Inheritance) -> list[socket.socket]:
    """A listening socket for each listener: the one that was handed in for it, or a new one. Raises Busy, and leaves
    none open then."""
    bound: list[socket.socket] = []
    for listener in config.listener:
        try:
            handed_in = inheritance.take(listener.socket, listener.role, listener.address, listener.port)
            bound.append(handed_in or open_listener(listener.address, listener.port, listener.backlog))
        except OSError as error:
            for one in bound:
                one.close()
            where = f"{listener.address} port {listener.port}"
            raise Busy(
                f"{where} cannot be opened for {listener.role}: {(error.strerror or str(error)).lower()}"
            ) from None
    spare = inheritance.close()
    if spare:
        log.warning("sockets were handed in that no listener asks for", sockets=spare)
    return bound


def shown_tls(config: Config, folder: Path, certificates: Certificates) -> list[ssl.SSLContext | None]:
    """What each listener shows; None where it has no TLS. Devices may be shown something else than all others."""
    usual, watched = certificates.context, certificates.watched
    return [
        None
        if listener.tls == "none"
        else (device_wiring.tls_context(config, folder, usual, watched) if listener.role == "device" else usual)
        for listener in config.listener
    ]


async def open_server(
    listener: Listener, listening: socket.socket, factory: Callable[[], Connection], shown: ssl.SSLContext | None
) -> asyncio.Server | Accepting:
    """Begin to accept. The socket itself stays the caller's: it is still open when the server is closed."""
    implicit = shown if listener.tls == "implicit" else None
    if listener.proxy_networks or implicit is not None:
        return Accepting(listening.dup(), factory, listener.proxy_networks, implicit)
    loop = asyncio.get_running_loop()
    return await loop.create_server(factory, sock=listening.dup(), backlog=listener.backlog)
