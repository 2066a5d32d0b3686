"""`glasspost queue bounce`, `hold` and `remove` at the wire: while the next hop has the whole message and says nothing.

A delivery that succeeds stays a delivery; where it fails the postmaster has his wish; and the command says which of
the two it knows.
"""

from __future__ import annotations

import asyncio
import smtplib
import tomllib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from typer.testing import CliRunner

from glasspost.cli.main import front_door
from glasspost.mail.address import Address
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.storage import mailboxes, queue
from glasspost.storage.database import Database
from glasspost.storage.folder import Folder

T = TypeVar("T")

LETTER = "From: alice@example.org\r\nTo: carol@far.example\r\nSubject: one\r\n\r\nHello\r\n"
TAKEN, BUSY, GONE = b"250 2.0.0 taken\r\n", b"451 4.3.0 later\r\n", b""


class Hop:
    """A next hop that hangs after the dot until it is told what to answer; nothing: it hangs up."""

    def __init__(self) -> None:
        self.dots = 0
        self.dot = asyncio.Event()
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 far.example\r\n")
        try:
            while line := await reader.readline():
                if line.startswith(b"DATA"):
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    self.dots += 1
                    self.dot.set()
                    answer = await asyncio.shield(self.answer)
                    if not answer:
                        return
                    writer.write(answer)
                else:
                    writer.write(b"250 ok\r\n")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class House:
    """A node with one letter under way, and what is left of it."""

    def __init__(self, node: Node, hop: Hop, data: Path) -> None:
        self.node = node
        self.hop = hop
        self.data = data

    async def command(self, verb: str) -> list[str]:
        words = ["queue", verb, "all", "--data", str(self.data)]
        result = await asyncio.to_thread(CliRunner().invoke, front_door("queue"), words)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    async def ends(self, answer: bytes) -> None:
        self.hop.answer.set_result(answer)
        while not self.node.scheduler.idle:  # noqa: ASYNC110  (the attempt, and what comes of it)
            await asyncio.sleep(0.01)

    @property
    def waiting(self) -> list[queue.Entry]:
        return self._looking(lambda database: queue.entries(database.reader))

    @property
    def doubts(self) -> list[queue.Doubt]:
        return self._looking(lambda database: queue.doubts(database.reader))

    @property
    def reports(self) -> int:
        """Letters in alice's mailbox."""
        (account,) = self.node.directory.accounts()
        return self._looking(lambda database: len(mailboxes.listed(database.reader, account.id)))

    def _looking(self, look: Callable[[Database], T]) -> T:
        database = Database(Folder(self.data).spool, "spool")
        try:
            return look(database)
        finally:
            database.close_now()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    hop = Hop()
    server = await asyncio.start_server(hop, "127.0.0.1", 0)
    text = f"""
        [node]
        hostname = "mail.example.org"
        data = "{tmp_path / "data"}"
        drain = "200 ms"
        [smtp]
        relay_networks = ["127.0.0.1/32"]
        [[listener]]
        role = "mx"
        port = 0
        tls = "none"
        [[smarthost]]
        host = "127.0.0.1"
        port = {server.sockets[0].getsockname()[1]}
        tls = "none"
        """
    node = Node(Config.model_validate(tomllib.loads(text), context={"folder": tmp_path}))
    await node.start()
    node.directory.add_account(Address("alice", "example.org"), "secret", create_domain=True)

    def client() -> None:
        with smtplib.SMTP("127.0.0.1", node.doors[0].port) as client:
            client.sendmail("alice@example.org", ["carol@far.example"], LETTER)

    try:
        async with asyncio.timeout(20):
            await asyncio.to_thread(client)
            await hop.dot.wait()
            yield House(node, hop, tmp_path / "data")
    finally:
        if not hop.answer.done():
            hop.answer.set_result(GONE)
        await node.stop()
        server.close()


async def test_a_bounce_and_the_hop_takes_it(house: House) -> None:
    assert await house.command("bounce") == [
        "1 recipient to be returned",
        "1 of them under way: is bounced if this attempt fails",
    ]
    await house.ends(TAKEN)
    assert (house.waiting, house.reports, house.hop.dots) == ([], 0, 1)


@pytest.mark.parametrize(("answer", "doubts"), [(BUSY, 0), (GONE, 1)])
async def test_a_bounce_and_the_hop_does_not_take_it(house: House, answer: bytes, doubts: int) -> None:
    """Returned, once; and on record where it may have arrived all the same."""
    await house.command("bounce")
    await house.ends(answer)
    assert house.waiting == []
    assert (house.reports, len(house.doubts), house.hop.dots) == (1, doubts, 1)


async def test_a_hold_and_the_hop_does_not_take_it(house: House) -> None:
    assert await house.command("hold") == ["1 recipient held", "1 of them under way: is held if this attempt fails"]
    await house.ends(BUSY)
    assert [entry.state for entry in house.waiting] == ["held"]


async def test_a_removal_and_the_hop_takes_it(house: House) -> None:
    assert await house.command("remove") == [
        "1 recipient removed",
        "1 of them under way: this attempt may still deliver",
    ]
    await house.ends(TAKEN)
    assert (house.waiting, house.reports) == ([], 0)
