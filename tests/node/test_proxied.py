"""Listeners behind a proxy: who is calling is known before TLS and before the greeting, or nothing is said at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from glasspost.net.tls import opportunistic_context
from glasspost.node.node import Node
from glasspost.node.settings import Config

HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"
PATIENCE = 20
Open = Callable[..., Awaitable[Node]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def open_node(*, networks: str = "127.0.0.0/8", **sections: Any) -> Node:
            listener = {"port": 0, "proxy_networks": [networks], "tls": sections.pop("tls", "none"), "role": "mx"}
            listener["role"] = sections.pop("role", "mx")
            node = Node(
                Config.model_validate(
                    {
                        "node": {"data": str(tmp_path), "hostname": "mx.test", "drain": 1},
                        "listener": [listener],
                        **sections,
                    }
                )
            )
            await node.start()
            stack.push_async_callback(node.stop)
            return node

        yield open_node


async def call(node: Node, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.doors[0].port)
    writer.write(data)
    return reader, writer


async def end(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    await asyncio.sleep(0)


async def line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await reader.readline()


async def test_the_caller_behind_the_proxy_is_who_counts(opened: Open) -> None:
    """Relaying is for 192.0.2.0/24: the caller's network, not the proxy's."""
    node = await opened(smtp={"relay_networks": ["192.0.2.0/24"]})
    reader, writer = await call(node, HEADER + b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@away.test>\r\n")
    assert [(await line(reader))[:3] for _ in range(4)] == [b"220", b"250", b"250", b"250"]
    (session,) = node._smtp_sessions
    assert session.peer == ("192.0.2.7", 4711)
    await end(writer)
    other = HEADER.replace(b"192.0.2.7", b"203.0.113.9")
    reader, writer = await call(node, other + b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@away.test>\r\n")
    assert [(await line(reader))[:3] for _ in range(4)] == [b"220", b"250", b"250", b"550"]
    await end(writer)


@pytest.mark.parametrize("role", ["mx", "pop3"])
async def test_tls_from_the_first_octet_begins_behind_the_header(opened: Open, role: str) -> None:
    """Header and handshake come in one segment: not one octet of TLS is taken for the header."""
    node = await opened(role=role, tls="implicit")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = opportunistic_context().wrap_bio(incoming, outgoing, server_hostname="mx.test")
    reader, writer = await call(node, b"")
    first = HEADER
    said = b""
    async with asyncio.timeout(PATIENCE):
        while not said:
            try:
                client.do_handshake()
                said = client.read(200)
            except ssl.SSLWantReadError:
                writer.write(first + outgoing.read())
                first = b""
                incoming.write(await reader.read(65536))
    assert said.startswith(b"220 mx.test" if role == "mx" else b"+OK")
    await end(writer)


@pytest.mark.parametrize("data", [b"EHLO c.test\r\n" * 3, b"PROXY TCP4 nonsense\r\n", HEADER[:-2] + b"\n"])
async def test_a_proxy_that_does_not_say_who_calls_is_told_nothing(opened: Open, data: bytes) -> None:
    node = await opened()
    reader, writer = await call(node, data)
    async with asyncio.timeout(PATIENCE):
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
    assert not node._smtp_sessions
    await end(writer)


async def test_from_elsewhere_no_header_is_needed_and_none_is_believed(opened: Open) -> None:
    node = await opened(networks="192.0.2.0/24")
    reader, writer = await call(node, b"HELO c.test\r\n")
    assert [(await line(reader))[:3] for _ in range(2)] == [b"220", b"250"]
    await end(writer)
    reader, writer = await call(node, HEADER)
    assert [(await line(reader))[:3] for _ in range(2)] == [b"220", b"500"]
    await end(writer)


async def test_many_callers_behind_one_proxy_are_many(opened: Open) -> None:
    node = await opened(smtp={"max_connections_per_address": 1})
    async with AsyncExitStack() as stack:
        greetings = []
        for caller in (b"192.0.2.7", b"192.0.2.8", b"192.0.2.7"):
            reader, writer = await call(node, HEADER.replace(b"192.0.2.7", caller))
            stack.push_async_callback(end, writer)
            greetings.append((await line(reader))[:3])
    assert greetings == [b"220", b"220", b"421"]


async def test_the_proxys_own_health_check_is_greeted(opened: Open) -> None:
    node = await opened()
    reader, writer = await call(node, b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")
    assert (await line(reader)).startswith(b"220 mx.test")
    (session,) = node._smtp_sessions
    assert session.peer[0] == "127.0.0.1"
    await end(writer)
