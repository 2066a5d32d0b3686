"""Whoever has left is gone from memory at once: no conversation waits for the garbage collector, which on a busy node
comes once in a thousand visits."""

from __future__ import annotations

import asyncio
import gc
import poplib
import smtplib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from glasspost.inbound.session import SmtpSession
from glasspost.mail.address import Address
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.protocol.pop3_server import Pop3Server
from glasspost.protocol.smtp_server import SmtpServer

KINDS = {SmtpSession, SmtpServer, Pop3Server}
LETTER = "From: anna@src.test\r\nSubject: one\r\n\r\nHello\r\n"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    tree = {
        "node": {"data": str(tmp_path), "hostname": "mx.test", "drain": 1},
        "listener": [{"role": role, "port": 0, "tls": "none"} for role in ("mx", "pop3")],
    }
    node = Node(Config.model_validate(tree))
    await node.start()
    node.directory.add_account(Address("box", "here.test"), "secret", create_domain=True)
    gc.collect()
    gc.disable()
    yield node
    gc.enable()
    await node.stop()


def brings_a_letter(ports: dict[str, int]) -> None:
    with smtplib.SMTP("127.0.0.1", ports["mx"]) as client:
        client.sendmail("anna@src.test", ["box@here.test"], LETTER)


def is_cut_off(ports: dict[str, int]) -> None:
    client = smtplib.SMTP("127.0.0.1", ports["mx"])
    client.ehlo()
    client.docmd("MAIL FROM:<anna@src.test>")
    client.close()


def fetches(ports: dict[str, int]) -> None:
    client = poplib.POP3("127.0.0.1", ports["pop3"])
    client.user("box@here.test")
    client.pass_("secret")
    client.list()
    client.quit()


@pytest.mark.parametrize("visit", [brings_a_letter, is_cut_off, fetches])
async def test_a_visit_leaves_nothing_behind(node: Node, visit: Callable[[dict[str, int]], None]) -> None:
    ports = {door.role: door.port for door in node.doors}
    async with asyncio.timeout(20):
        for _ in range(3):
            await asyncio.to_thread(visit, ports)
        while any(type(one) in KINDS for one in gc.get_objects()):  # noqa: ASYNC110  (the last of it, on the loop)
            await asyncio.sleep(0.05)
