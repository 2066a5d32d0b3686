"""The PROXY protocol's header: who is told, where it ends, and what is not one."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from glasspost.net.proxy_header import Caller, MalformedHeader, read_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 4711, 25)
V6 = bytes.fromhex("20010db800000000000000000000000720010db8000000000000000000000001") + struct.pack("!HH", 4711, 25)


def v2(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(rest)) + rest


FOUR = Caller("192.0.2.7", 4711, "198.51.100.1", 25)
SIX = Caller("2001:db8::7", 4711, "2001:db8::1", 25)

TOLD = {
    "v1 IPv4": (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n", FOUR),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8:0::1 4711 25\r\n", SIX),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", None),
    "v1 unknown with more": (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    "v2 IPv4": (v2(1, 0x11, V4), FOUR),
    "v2 IPv6": (v2(1, 0x21, V6), SIX),
    "v2 with extras": (v2(1, 0x11, V4 + b"\x04\x00\x03abc"), FOUR),
    "v2 local": (v2(0, 0x00, b""), None),
    "v2 local with addresses": (v2(0, 0x11, V4), None),
    "v2 unspecified": (v2(1, 0x00, b"whatever"), None),
    "v2 Unix socket": (v2(1, 0x31, bytes(216)), None),
}
NOT_ONE = {
    "a client": b"EHLO client.example\r\n",
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(60),
    "v1 bare LF": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\n",
    "v1 two spaces": b"PROXY  TCP4 192.0.2.7 198.51.100.1 4711 25\r\n",
    "v1 lower case": b"proxy TCP4 192.0.2.7 198.51.100.1 4711 25\r\n",
    "v1 family": b"PROXY TCP6 192.0.2.7 198.51.100.1 4711 25\r\n",
    "v1 no address": b"PROXY TCP4 192.0.2.777 198.51.100.1 4711 25\r\n",
    "v1 no port": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 65536\r\n",
    "v1 port with sign": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 +25\r\n",
    "v1 port with zero": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 025\r\n",
    "v1 zone": b"PROXY TCP6 fe80::1%eth0 fe80::2 4711 25\r\n",
    "v1 missing": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
    "v1 more": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25 26\r\n",
    "v1 endless": b"PROXY TCP4 " + b"1" * 200,
    "v1 octets": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 \xb2\xb5\r\n",
    "v2 version": SIGNATURE + b"\x31\x11\x00\x0c" + V4,
    "v2 command": v2(2, 0x11, V4),
    "v2 datagrams": v2(1, 0x12, V4),
    "v2 family": v2(1, 0x41, V4),
    "v2 short": v2(1, 0x11, V4[:-1]),
    "v2 short Unix": v2(1, 0x31, bytes(215)),
    "v2 huge": SIGNATURE + b"\x21\x11\xff\xff" + bytes(65535),
    "ended": b"PROXY TCP4 192.0",
    "ended v2": v2(1, 0x11, V4)[:-3],
    "nothing": b"",
}


@pytest.fixture
async def ends() -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("name", TOLD)
async def test_who_calls_is_told_and_what_follows_is_left_alone(
    name: str, in_pieces: bool, ends: tuple[socket.socket, socket.socket]
) -> None:
    header, caller = TOLD[name]
    ours, theirs = ends
    loop = asyncio.get_running_loop()
    data = header + b"EHLO x\r\n"
    reading = loop.create_task(read_header(loop, ours))
    for piece in [data[at : at + 1] for at in range(len(data))] if in_pieces else [data]:
        await loop.sock_sendall(theirs, piece)
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert await reading == caller
    assert ours.recv(100) == b"EHLO x\r\n"


@pytest.mark.parametrize("name", NOT_ONE)
async def test_what_is_not_a_header_is_refused(name: str, ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    loop = asyncio.get_running_loop()
    reading = loop.create_task(read_header(loop, ours))
    sending = loop.create_task(loop.sock_sendall(theirs, NOT_ONE[name]))
    if len(NOT_ONE[name]) < 60_000:
        await sending
        theirs.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(10):
        with pytest.raises(MalformedHeader):
            await reading
    sending.cancel()
