"""Calling another server: from a host's addresses to a connection that stands.

Lives here: which address is tried when, TLS from the first octet where a route wants it, and what can go
wrong on the way, in words fit for a bounce.
Does not live here: which host to call (outbound/routes.py), what is said there (outbound/remote.py), STARTTLS
(net/connection.py).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import aiohappyeyeballs

P = TypeVar("P", bound=asyncio.BaseProtocol)

_HEAD_START = 0.25  # seconds before the next address is tried beside a silent one (RFC 8305 §5)
_SHUTDOWN = 3  # seconds for TLS to say goodbye; uvloop would keep a dead peer's transport for 30

# What to say where several addresses failed in several ways: the first of these that happened tells the most.
_FAULTS: tuple[tuple[int, str], ...] = (
    (errno.ECONNREFUSED, "connection refused"),
    (errno.ECONNRESET, "connection reset"),
    (errno.ETIMEDOUT, "timed out"),
    (errno.EADDRNOTAVAIL, "the source address is not one of this machine's"),
    (errno.EADDRINUSE, "no free port on the source address"),
    (errno.EACCES, "forbidden by this machine's firewall"),
    (errno.EPERM, "forbidden by this machine's firewall"),
    (errno.EMFILE, "too many files open on this machine"),
    (errno.ENFILE, "too many files open on this machine"),
    (errno.ENETUNREACH, "no route"),
    (errno.EHOSTUNREACH, "no route"),
)
_ERRNO = re.compile(r"\[Errno (\d+)\]")


class Callee(Protocol):
    """Whom to call: `outbound.routes.Host`, as far as it matters here."""

    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def addresses(self) -> tuple[str, ...]: ...


class DialError(Exception):
    """No connection. `reason` is short and fit for a reply.

    `refused`: a machine was there and said no at once, so that other hosts are worth trying now. `tls`: the
    connection stood, and the TLS handshake on it failed. `unproved`: because of the server's certificate.
    """

    def __init__(self, reason: str, refused: bool = False, tls: bool = False, unproved: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused
        self.tls = tls
        self.unproved = unproved


async def dial(
    host: Callee,
    *,
    protocol_factory: Callable[[], P],
    connect_timeout: float,
    source: str | Sequence[str] | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> tuple[asyncio.Transport, P, str]:
    """Connect to the first of the host's addresses that answers: (transport, protocol, address). An address that is an
    absolute path is a Unix socket, and the only one; it knows no `source` and no `tls`.

    Addresses are tried in their order, the families taking turns, each a quarter of a second after the one
    before (happy eyeballs, RFC 8305). `connect_timeout`, in seconds, is for all of them together and for the
    handshake. `source` is an address of ours to call from; addresses of the other family are left out then. Several, at
    most one of a family, bind that family only, and the system chooses for the other.
    With `tls` the connection begins with a handshake; `server_hostname` is who must be there (the host's name
    where not given).

    Raises DialError, and nothing else.
    """
    loop = loop or asyncio.get_running_loop()
    shaking_hands = False
    try:
        async with asyncio.timeout(connect_timeout):
            if host.addresses[:1] and host.addresses[0].startswith("/"):
                return await _call_socket(host.addresses[0], protocol_factory, loop)
            sock = await _connect(host, source, loop)
            shaking_hands = tls is not None
            transport, protocol, address = await _adopt(
                sock, protocol_factory, loop, tls, server_hostname or host.name, connect_timeout
            )
    except TimeoutError as error:
        # The kernel's own patience (ETIMEDOUT) may be the shorter one: the same exception, with a number.
        reason = "timed out" if error.errno else f"timed out after {connect_timeout:g} s"
        raise DialError(f"TLS: {reason}" if shaking_hands else reason, tls=shaking_hands) from error
    except (OSError, RuntimeError) as error:
        if shaking_hands:
            unproved = isinstance(error, ssl.SSLCertVerificationError)
            raise DialError(f"TLS: {tls_fault(error)}", tls=True, unproved=unproved) from error
        reason, refused = _fault(error)
        raise DialError(reason, refused) from error
    return transport, protocol, address


async def _call_socket(
    path: str, protocol_factory: Callable[[], P], loop: asyncio.AbstractEventLoop
) -> tuple[asyncio.Transport, P, str]:
    """A server on this machine, by its Unix socket."""
    try:
        transport, protocol = await loop.create_unix_connection(protocol_factory, path)
    except OSError as error:
        words = {errno.ENOENT: "there is no such socket", errno.EACCES: "permission denied"}
        reason = words.get(error.errno or 0) or _fault(error)[0]
        raise DialError(reason, refused=True) from error
    return transport, protocol, path


async def _connect(host: Callee, source: str | Sequence[str] | None, loop: asyncio.AbstractEventLoop) -> socket.socket:
    targets = [_info(address, host.port) for address in host.addresses]
    origins = None
    if isinstance(source, str):
        origins = [_info(source, 0)]
        targets = [target for target in targets if target[0] == origins[0][0]]
    elif source:
        bound = [_info(address, 0) for address in source]
        free = [wildcard for wildcard in _WILDCARDS if wildcard[0] not in {info[0] for info in bound}]
        origins = bound + free
    if not targets:
        raise DialError(f"no address to reach from {source}" if source else "no address to connect to")
    return await aiohappyeyeballs.start_connection(
        targets,
        local_addr_infos=origins,
        happy_eyeballs_delay=_HEAD_START,
        loop=loop,
    )


def _info(address: str, port: int) -> tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]:
    """The address as getaddrinfo() would give it; nothing is looked up. ValueError: it is no address."""
    if ipaddress.ip_address(address).version == 6:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)


_WILDCARDS = (_info("0.0.0.0", 0), _info("::", 0))


async def _adopt(
    sock: socket.socket,
    protocol_factory: Callable[[], P],
    loop: asyncio.AbstractEventLoop,
    tls: ssl.SSLContext | None,
    server_hostname: str,
    handshake_timeout: float,
) -> tuple[asyncio.Transport, P, str]:
    """Make a connected socket the transport of a protocol. The socket is closed where that fails."""
    try:
        # Commands are small and wait for each other's replies: Nagle's delay would be felt on every one.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = str(sock.getpeername()[0])
        if tls is None:
            transport, protocol = await loop.create_connection(protocol_factory, sock=sock)
        else:
            transport, protocol = await loop.create_connection(
                protocol_factory,
                sock=sock,
                ssl=tls,
                server_hostname=server_hostname,
                ssl_handshake_timeout=handshake_timeout + 1,  # the caller's own timeout comes first
                ssl_shutdown_timeout=_SHUTDOWN,
            )
    except BaseException:
        sock.close()
        raise
    return transport, protocol, address


def _fault(error: OSError | RuntimeError) -> tuple[str, bool]:
    """The reason, and whether somebody refused.

    Where addresses failed in different ways, aiohappyeyeballs keeps their numbers in the text only.
    """
    numbers = {int(number) for number in _ERRNO.findall(str(error))}
    if isinstance(error, OSError) and error.errno is not None:
        numbers.add(error.errno)
    for number, reason in _FAULTS:
        if number in numbers:
            return reason, number == errno.ECONNREFUSED
    if numbers:
        return os.strerror(min(numbers)).lower(), False
    return str(error).lower() or type(error).__name__, False


def tls_fault(error: BaseException) -> str:
    """Why a TLS handshake failed, in a few words: "certificate has expired". For STARTTLS as well."""
    if isinstance(error, ssl.SSLCertVerificationError):
        message = error.verify_message.rstrip(".")
        return message[:1].lower() + message[1:] if message[:2].istitle() else message
    cause = getattr(error, "reason", None)  # OpenSSL's name for it; not every SSLError has one
    if cause in ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"):
        return "what came back is not TLS"
    if isinstance(cause, str) and not isinstance(error, ssl.SSLEOFError):
        return cause.lower().replace("_", " ")
    if isinstance(error, (TimeoutError, ConnectionAbortedError)):  # the latter is asyncio's and uvloop's way
        return "timed out"
    if isinstance(error, (ConnectionError, EOFError, ssl.SSLError)):
        return "connection closed during the handshake"
    return str(error).lower() or type(error).__name__
