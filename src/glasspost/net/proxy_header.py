"""The PROXY protocol, versions 1 and 2: a proxy in front of us says who is really calling.

Lives here: reading the header, and nothing behind it, off a socket (haproxy.org's proxy-protocol.txt, §2).
Does not live here: which peers are proxies and must send one (accepting.py, and the listener's settings).

The header is the first thing on the wire, before TLS and before the greeting. Its end is found without reading one
octet too many, so whatever follows (a TLS handshake) is still in the kernel. Anything malformed ends the connection: a
peer that is a proxy and does not say so properly could be anybody.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from dataclasses import dataclass

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1_LIMIT = 107  # octets with CRLF, §2.1
_V2_LIMIT = 4096  # octets of addresses and extras; haproxy sends a few hundred at most


class MalformedHeader(Exception):
    """Not a PROXY header, or not a right one."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the proxy says, and where the call came in at the proxy."""

    address: str
    port: int
    local_address: str
    local_port: int


async def read_header(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> Caller | None:
    """The header of a connection. None: the proxy speaks for itself (a health check), or does not know who calls.
    Raises MalformedHeader."""
    start = await _exactly(loop, sock, len(_SIGNATURE))
    if start == _SIGNATURE:
        fixed = await _exactly(loop, sock, 4)
        (length,) = struct.unpack("!H", fixed[2:])
        if length > _V2_LIMIT:
            raise MalformedHeader(f"version 2 with {length} octets")
        return read_v2(fixed, await _exactly(loop, sock, length))
    if not start.startswith(b"PROXY "):
        raise MalformedHeader("no PROXY header")
    line = bytearray(start)
    while not line.endswith(b"\n"):
        if len(line) >= _V1_LIMIT:
            raise MalformedHeader("version 1 without an end")
        line += await _exactly(loop, sock, 1)
    return read_v1(bytes(line))


async def _exactly(loop: asyncio.AbstractEventLoop, sock: socket.socket, octets: int) -> bytes:
    data = b""
    while len(data) < octets:
        piece = await loop.sock_recv(sock, octets - len(data))
        if not piece:
            raise MalformedHeader("the connection ended within the header")
        data += piece
    return data


def read_v1(line: bytes) -> Caller | None:
    """Version 1: `PROXY TCP4 192.0.2.7 198.51.100.1 4711 25` and CR LF. Raises MalformedHeader."""
    if not line.endswith(b"\r\n") or not line.isascii():
        raise MalformedHeader("version 1 is not a line of text")
    words = line[:-2].decode().split(" ")
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return None
    if len(words) != 6 or words[0] != "PROXY" or words[1] not in ("TCP4", "TCP6"):
        raise MalformedHeader("version 1 with other words")
    family = 4 if words[1] == "TCP4" else 6
    return Caller(_address(words[2], family), _port(words[4]), _address(words[3], family), _port(words[5]))


def _address(text: str, family: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise MalformedHeader("an address that is none") from None
    if address.version != family or "%" in text:
        raise MalformedHeader("an address of another family")
    return str(address)


def _port(text: str) -> int:
    if not text.isdecimal() or (text != "0" and text.startswith("0")) or not 0 <= int(text) <= 65535:
        raise MalformedHeader("a port that is none")
    return int(text)


def read_v2(fixed: bytes, rest: bytes) -> Caller | None:
    """Version 2: the four octets behind the signature, and as many as they announce. Raises MalformedHeader."""
    version, command = fixed[0] >> 4, fixed[0] & 15
    if version != 2 or command not in (0, 1):
        raise MalformedHeader("version 2 with another version or command")
    family, transport = fixed[1] >> 4, fixed[1] & 15
    if command == 0 or fixed[1] == 0:
        return None  # LOCAL, or UNSPEC: the connection's own ends hold
    if transport != 1 or family not in (1, 2, 3):
        raise MalformedHeader("version 2 for something that is no stream")
    if family == 3:
        if len(rest) < 216:
            raise MalformedHeader("version 2 is too short for its addresses")
        return None  # a Unix socket has no address that would tell anything
    width = 4 if family == 1 else 16
    if len(rest) < 2 * width + 4:
        raise MalformedHeader("version 2 is too short for its addresses")
    source, target = (str(ipaddress.ip_address(rest[at : at + width])) for at in (0, width))
    source_port, target_port = struct.unpack_from("!HH", rest, 2 * width)
    return Caller(source, source_port, target, target_port)
