"""Stopping within a deadline: who is in the middle of something has until then, and nothing is half stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from glasspost.mail.address import Address
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.storage import queue
from glasspost.storage.database import Database
from glasspost.storage.folder import Folder
from glasspost.storage.sqlite import row

DRAIN = 2.5
SLACK = 2.0  # seconds for a busy machine


class Hop:
    """A next hop that takes `pause` seconds between the dot and its answer, and never answers QUIT."""

    def __init__(self) -> None:
        self.pause = 0.0
        self.port = 0
        self.taken = 0
        self.dot = asyncio.Event()

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hop.test\r\n")
        try:
            while line := await reader.readline():
                if line.startswith(b"DATA"):
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    self.dot.set()
                    await asyncio.sleep(self.pause)
                    self.taken += 1
                    writer.write(b"250 taken\r\n")
                elif not line.startswith(b"QUIT"):
                    writer.write(b"250 ok\r\n")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def hop() -> AsyncIterator[Hop]:
    hop = Hop()
    server = await asyncio.start_server(hop.visit, "127.0.0.1", 0)
    hop.port = server.sockets[0].getsockname()[1]
    yield hop
    server.close()


async def started(data: Path, hop: Hop) -> Node:
    node = Node(
        Config.model_validate(
            {
                "node": {"data": str(data), "hostname": "mx.house.test", "drain": f"{DRAIN} s"},
                "listener": [{"role": "mx", "port": 0, "tls": "none"}],
                "smtp": {"relay_domains": ["away.test"]},
                "smarthost": [{"host": "127.0.0.1", "port": hop.port, "tls": "none"}],
            }
        )
    )
    await node.start()
    if not node.directory.accounts():
        node.directory.add_account(Address("alice", "house.test"), "secret", create_domain=True)
    return node


class Client:
    """A client that says what the test wants it to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def calling(cls, node: Node) -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", node.doors[0].port))
        assert (await client.answer()).startswith("220")
        return client

    async def answer(self) -> str:
        return (await self.reader.readline()).decode()

    async def begin(self, recipient: str) -> None:
        for line in ("HELO client.test", "MAIL FROM:<bob@src.test>", f"RCPT TO:<{recipient}>", "DATA"):
            self.writer.write(line.encode() + b"\r\n")
            assert (await self.answer())[0] in "23"

    async def finish(self, content: bytes = b"Subject: one\r\n\r\nhello\r\n") -> str:
        self.writer.write(content + b".\r\n")
        return await self.answer()


async def stopped_in(node: Node) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(30):
        await node.stop()
    return loop.time() - begun


def left_in(data: Path) -> dict[str, int]:
    """Rows of the store, table by table."""
    database = Database(Folder(data).spool, "spool")
    try:
        tables = ("message", "chunk", "draft", "recipient", "deposit", "doubt")
        counted = {one: int(row(database.reader, f"SELECT count(*) FROM {one}")[0]) for one in tables}
        return {one: count for one, count in counted.items() if count}
    finally:
        database.close_now()


async def test_a_client_in_data_is_not_cut_before_the_deadline(tmp_path: Path, hop: Hop) -> None:
    node = await started(tmp_path, hop)
    client = await Client.calling(node)
    await client.begin("alice@house.test")
    stopping = asyncio.create_task(stopped_in(node))
    done, _ = await asyncio.wait([stopping], timeout=DRAIN * 0.7)
    assert not done, "it waits for the message"
    assert (await client.finish()).startswith("250 2.0.0 Safe on disk")
    assert (await client.answer()).startswith("421 4.3.2")
    assert await stopping < DRAIN + SLACK
    client.writer.close()
    assert left_in(tmp_path) == {"message": 1, "chunk": 1, "deposit": 1}


async def test_one_that_never_ends_is_cut_at_the_deadline_and_leaves_nothing(tmp_path: Path, hop: Hop) -> None:
    node = await started(tmp_path, hop)
    client = await Client.calling(node)
    await client.begin("alice@house.test")
    client.writer.write(b"Subject: large\r\n\r\n" + b"x" * 70 * 10_000 + b"\r\n")
    async with asyncio.timeout(10):
        while not row(node.database.reader, "SELECT count(*) FROM chunk")[0]:  # noqa: ASYNC110  (a part is on the disk)
            await asyncio.sleep(0.01)
    assert DRAIN <= await stopped_in(node) < DRAIN + SLACK
    assert await client.reader.read() == b"", "no answer to what was not whole"
    client.writer.close()
    assert left_in(tmp_path) == {}


async def test_mail_in_and_mail_out_have_one_deadline_not_one_after_the_other(tmp_path: Path, hop: Hop) -> None:
    hop.pause = 60
    node = await started(tmp_path, hop)
    sender, slow = await Client.calling(node), await Client.calling(node)
    await sender.begin("carol@away.test")
    assert (await sender.finish()).startswith("250")
    async with asyncio.timeout(10):
        await hop.dot.wait()
    await slow.begin("alice@house.test")
    assert await stopped_in(node) < DRAIN + SLACK
    for client in (sender, slow):
        client.writer.close()
    assert left_in(tmp_path) == {"message": 1, "chunk": 1, "recipient": 1}
    again = await started(tmp_path, hop)
    assert len(queue.doubts(again.database.reader)) == 1, "the next hop may have it: the next to start says so"
    await again.stop()


async def test_a_delivery_under_way_is_finished_and_known(tmp_path: Path, hop: Hop) -> None:
    hop.pause = DRAIN * 0.6
    node = await started(tmp_path, hop)
    client = await Client.calling(node)
    await client.begin("carol@away.test")
    assert (await client.finish()).startswith("250")
    async with asyncio.timeout(10):
        await hop.dot.wait()
    assert await stopped_in(node) < DRAIN + SLACK, "also where the next hop never answers QUIT"
    client.writer.close()
    assert hop.taken == 1
    assert left_in(tmp_path) == {}


async def test_what_comes_in_while_it_stops_waits_for_the_next_start(tmp_path: Path, hop: Hop) -> None:
    """It is safe, it is in nobody's hands, and nobody has to doubt it."""
    node = await started(tmp_path, hop)
    client = await Client.calling(node)
    await client.begin("carol@away.test")
    stopping = asyncio.create_task(stopped_in(node))
    await asyncio.wait([stopping], timeout=0.3)
    assert (await client.finish()).startswith("250")
    await stopping
    client.writer.close()
    assert (hop.taken, left_in(tmp_path)) == (0, {"message": 1, "chunk": 1, "recipient": 1})
    again = await started(tmp_path, hop)
    assert queue.doubts(again.database.reader) == []
    async with asyncio.timeout(10):
        while queue.count(again.database.reader):  # noqa: ASYNC110  (the store sends no event)
            await asyncio.sleep(0.01)
    await again.stop()
    assert hop.taken == 1
