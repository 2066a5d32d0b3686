"""A reload: what holds at once, what waits for a restart, and that whoever is connected notices nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from glasspost.errors import ConfigurationError
from glasspost.node.catalogue import SETTINGS
from glasspost.node.node import Node
from glasspost.node.reload import FIXED, LIVE, changes_live, compare
from glasspost.node.settings import Config


def config(**sections: Any) -> Config:
    return Config.model_validate({"listener": [{"role": "mx", "port": 0, "tls": "none"}], **sections})


def test_what_is_named_live_exists() -> None:
    sections = {row.section for row in SETTINGS.values()}
    assert sections | set(SETTINGS) >= LIVE
    assert set(SETTINGS) >= FIXED


def test_a_setting_that_nobody_thought_of_waits_for_a_restart() -> None:
    assert changes_live("smtp.max_errors")
    assert not changes_live("listener.port")
    assert not changes_live("node.hostname")
    assert not changes_live("relay.lease")


def test_live_settings_are_taken_and_the_others_keep_their_old_values() -> None:
    old = config(node={"hostname": "a.test"}, smtp={"max_errors": 5}, relay={"lease": "1 min", "timeouts": {"dot": 60}})
    new = config(node={"hostname": "b.test"}, smtp={"max_errors": 7}, relay={"lease": "2 min", "timeouts": {"dot": 90}})
    changes = compare(old, new)
    assert changes.live == ("smtp.max_errors", "relay.timeouts.dot")
    assert changes.waiting == ("node.hostname", "relay.lease")
    holds = changes.config
    assert (holds.node.hostname, holds.smtp.max_errors) == ("a.test", 7)
    assert (holds.relay.lease, holds.relay.timeouts.dot) == (60, 90)


def test_a_listener_more_waits_and_those_that_stand_stay_as_they_are() -> None:
    old = config()
    new = config(listener=[{"role": "mx", "port": 0, "tls": "none"}, {"role": "pop3", "port": 0}])
    changes = compare(old, new)
    assert "listener.role" in changes.waiting
    assert changes.config.listener == old.listener


def test_a_changed_password_is_a_change() -> None:
    old, new = (
        config(smarthost=[{"host": "192.0.2.1", "username": "u", "password": word}]) for word in ("tulip", "rose")
    )
    assert compare(old, new).live == ("smarthost.password",)


class Visitor:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, line: str) -> list[str]:
        self.writer.write(line.encode() + b"\r\n")
        return await self.hear()

    async def hear(self) -> list[str]:
        lines: list[str] = []
        async with asyncio.timeout(20):
            while not lines or lines[-1][3:4] == "-":
                lines.append((await self.reader.readline()).decode().rstrip())
        return lines


@asynccontextmanager
async def visiting(node: Node) -> AsyncIterator[Visitor]:
    visitor = Visitor(*await asyncio.open_connection("127.0.0.1", node.doors[0].port))
    try:
        assert (await visitor.hear())[0].startswith("220")
        yield visitor
    finally:
        visitor.writer.close()
        await visitor.writer.wait_closed()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(config(node={"data": str(tmp_path), "hostname": "mx.test", "drain": 1}))
    await node.start()
    yield node
    await node.stop()


async def test_who_is_connected_stays_and_who_comes_meets_the_new_settings(node: Node) -> None:
    data = str(node.folder.path)
    async with visiting(node) as before:
        told = node.take(
            config(
                node={"data": data, "hostname": "mx.test", "drain": 1},
                smtp={"max_message_size": 12345, "relay_domains": ["new.test"]},
            )
        )
        assert told == {"taken": ["smtp.max_message_size", "smtp.relay_domains"], "waiting": []}
        assert "250-SIZE 52428800" in await before.say("EHLO old.test")
        # What is decided by policy holds for everybody at once.
        assert (await before.say("MAIL FROM:<a@src.test>"))[0].startswith("250")
        assert (await before.say("RCPT TO:<b@new.test>"))[0].startswith("250")
    async with visiting(node) as after:
        assert "250-SIZE 12345" in await after.say("EHLO new.test")


async def test_connection_limits_change_live(node: Node) -> None:
    settings = {"data": str(node.folder.path), "hostname": "mx.test", "drain": 1}
    async with visiting(node):
        node.take(config(node=settings, smtp={"max_connections": 1}))
        reader, writer = await asyncio.open_connection("127.0.0.1", node.doors[0].port)
        async with asyncio.timeout(20):
            assert (await reader.readline()).startswith(b"421")
        writer.close()
        await writer.wait_closed()


async def test_mail_takes_the_new_way_at_once(node: Node) -> None:
    """The route to a domain is remembered for a while; a reload forgets it."""
    settings = {"data": str(node.folder.path), "hostname": "mx.test", "drain": 1}
    ways = node.scheduler.ways
    for port in (2601, 2602):
        node.take(config(node=settings, smarthost=[{"host": "127.0.0.1", "port": port}]))
        assert ways.known("away.test") is None
        route = await ways.ask("away.test")
        assert getattr(route, "key", "") == f"smarthost:127.0.0.1:{port}"


async def test_a_password_file_that_is_gone_leaves_everything_as_it_was(node: Node, tmp_path: Path) -> None:
    settings = {"data": str(node.folder.path), "hostname": "mx.test", "drain": 1}
    smarthost = {"host": "127.0.0.1", "username": "u", "password_file": str(tmp_path / "gone")}
    with pytest.raises(ConfigurationError, match="gone"):
        node.take(config(node=settings, smtp={"max_errors": 2}, smarthost=[smarthost]))
    assert node.config.smtp.max_errors == 10
    assert not node.config.smarthost
