"""A whole node, in this process, spoken to over real sockets: what only the house put together can show."""

import asyncio
import contextlib
import poplib
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from glasspost.errors import Busy, StoreFull
from glasspost.mail.address import Address
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.storage.spool import Spool


def configuration(data: Path, **sections: object) -> Config:
    listeners = [{"role": role, "port": 0, "tls": "starttls"} for role in ("mx", "submission", "pop3")]
    base = {"node": {"data": str(data), "hostname": "mx.house.test", "drain": "2 s"}, "listener": listeners}
    return Config.model_validate(base | sections)


@contextlib.asynccontextmanager
async def house(data: Path, **sections: object) -> AsyncIterator[Node]:
    node = Node(configuration(data, **sections))
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


def port(node: Node, role: str) -> int:
    return next(door.port for door in node.doors if door.role == role)


def add_account(node: Node, local: str = "alice") -> None:
    node.directory.add_account(Address(local, "house.test"), "secret", create_domain=True)


def send(node: Node, *recipients: str, body: str = "hello") -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", port(node, "mx")) as client:
        return client.sendmail("bob@away.test", recipients, f"Subject: one\r\n\r\n{body}\r\n")


def fetch(node: Node) -> list[bytes]:
    client = poplib.POP3("127.0.0.1", port(node, "pop3"))
    client.user("alice@house.test")
    client.pass_("secret")
    count, _ = client.stat()
    texts = [b"\r\n".join(client.retr(number)[1]) for number in range(1, count + 1)]
    client.quit()
    return texts


async def test_a_message_comes_in_over_smtp_and_goes_out_over_pop3(tmp_path: Path) -> None:
    async with house(tmp_path) as node:
        add_account(node)
        await asyncio.to_thread(send, node, "alice@house.test")
        (text,) = await asyncio.to_thread(fetch, node)
    assert text.startswith(b"Return-Path: <bob@away.test>\r\nDelivered-To: alice@house.test\r\nReceived: from ")
    assert text.endswith(b"Subject: one\r\n\r\nhello")


async def test_what_was_accepted_is_there_after_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path) as node:
        add_account(node)
        await asyncio.to_thread(send, node, "alice@house.test", body="before")
    async with house(tmp_path) as node:
        await asyncio.to_thread(send, node, "alice@house.test", body="after")
        texts = await asyncio.to_thread(fetch, node)
    assert [text.rsplit(b"\r\n", 1)[1] for text in texts] == [b"before", b"after"]


async def test_a_second_node_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path):
        with pytest.raises(Busy, match="another node is running"):
            await Node(configuration(tmp_path)).start()


async def test_a_taken_port_stops_the_start_and_leaves_nothing_open(tmp_path: Path) -> None:
    async with house(tmp_path / "first") as node:
        taken = [{"role": "mx", "port": port(node, "mx")}]
        other = Node(configuration(tmp_path / "second", listener=taken))
        with pytest.raises(Busy, match=r"cannot be opened for mx"):
            await other.start()
    async with house(tmp_path / "second"):
        pass  # its lock and its store were given back


async def test_a_store_that_refuses_its_first_commit_ends_the_start_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, a failing one, another process in the way: the start is over then, and waits for nothing."""

    def full(_spool: Spool, _now: float) -> None:
        raise StoreFull("no room left on the disk")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "recover", full)
        with pytest.raises(StoreFull):
            await asyncio.wait_for(Node(configuration(tmp_path)).start(), 10)
    async with house(tmp_path):
        pass  # its lock and its store were given back


async def test_pop3_readers_beyond_the_limit_are_turned_away(tmp_path: Path) -> None:
    async with house(tmp_path, pop3={"max_connections": 1}) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", port(node, "pop3"))
        assert (await reader.readline()).startswith(b"+OK")
        turned_away, second = await asyncio.open_connection("127.0.0.1", port(node, "pop3"))
        answer = await turned_away.read()
        assert answer.startswith(b"-ERR [SYS/TEMP] Too many connections")
        second.close()
        writer.close()


async def test_one_address_does_not_keep_all_others_from_their_mail(tmp_path: Path) -> None:
    """Who waits without signing in holds a place for ten minutes: one address gets only so many."""
    limits = {"max_connections": 9, "max_connections_per_address": 2}
    async with house(tmp_path, pop3=limits) as node, contextlib.AsyncExitStack() as stack:

        async def call(host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            caller = await asyncio.open_connection("127.0.0.1", port(node, "pop3"), local_addr=(host, 0))
            stack.callback(caller[1].close)
            return caller

        (first, leaver), (second, _) = await call("127.0.0.2"), await call("127.0.0.2")
        assert {(await one.readline())[:3] for one in (first, second)} == {b"+OK"}
        third, _ = await call("127.0.0.2")
        assert (await third.read()).startswith(b"-ERR [SYS/TEMP] Too many connections from your address; try again")
        other, _ = await call("127.0.0.3")
        assert (await other.readline()).startswith(b"+OK")
        leaver.write(b"QUIT\r\n")
        await first.read()
        async with asyncio.timeout(10):
            while node.readers.count > 2:  # noqa: ASYNC110  (the loop hears of its going)
                await asyncio.sleep(0)
        again, _ = await call("127.0.0.2")
        assert (await again.readline()).startswith(b"+OK")


async def test_stopping_tells_idle_clients_and_waits_for_nobody_else(tmp_path: Path) -> None:
    async with asyncio.timeout(10):
        node = Node(configuration(tmp_path))
        await node.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", port(node, "mx"))
        assert (await reader.readline()).startswith(b"220")
        await node.stop()
        assert b"421 4.3.2" in await reader.read()
        writer.close()


async def test_conversations_are_on_record_after_the_node_has_stopped(tmp_path: Path) -> None:
    from glasspost.storage.talks import Talks

    async with house(tmp_path) as node:
        add_account(node)
        await asyncio.to_thread(send, node, "alice@house.test")
    talks = Talks(tmp_path / "transcripts.db")
    (found,) = [one for one in talks.conversations(limit=10) if one.kind == "smtp-in"]
    assert "rcpt to:<alice@house.test>" in talks.talk(found.id).lower()
    talks.close()
