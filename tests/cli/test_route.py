"""`glasspost route`: what would happen to mail for an address, on a zone and a directory of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from glasspost.cli.main import main
from glasspost.errors import Exit
from glasspost.mail.address import address_from_text
from glasspost.storage.accounts import Directory
from glasspost.storage.folder import Folder
from glasspost.testing import Nameserver

ZONE = """
    away.example      MX  20 mx2.away.example
    away.example      MX  10 mx1.away.example
    mx1.away.example  A   192.0.2.1
    mx1.away.example  AAAA 2001:db8::1
    mx2.away.example  A   192.0.2.2
    null.example      MX  0 .
    plain.example     A   192.0.2.5
    empty.example     MX  10 nothing.empty.example
    circle.example    MX  10 me.circle.example
    me.circle.example A   127.0.0.1
    smart.example     A   192.0.2.9
"""
CONFIG = """
[node]
hostname = "mx.house.test"
[smtp]
relay_domains = ["away.example"]
[[listener]]
role = "mx"
address = "127.0.0.1"
port = 25
[[smarthost]]
domain = "by.example"
host = "smart.example"
port = 587
username = "house"
password = "open sesame"
"""
Route = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = Folder(tmp_path / "data")
    folder.make()
    directory = Directory(folder.directory)
    directory.add_account(address_from_text("alice@house.test"), "x" * 12, quota=2 * 1024 * 1024, create_domain=True)
    away, alice = address_from_text("carol@away.example"), address_from_text("alice@house.test")
    directory.add_alias(address_from_text("team@house.test"), [alice, away])
    directory.add_domain("all.test")
    directory.add_account(address_from_text("owner@all.test"), "x" * 12)
    from glasspost.mail.address import Address

    directory.add_alias(Address("*", "all.test"), [address_from_text("owner@all.test")])
    directory.close()
    return folder.path


@pytest.fixture
def route(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Route:
    file = tmp_path / "glasspost.toml"
    file.write_text(CONFIG)

    async def run(address: str, *more: str, extra: str = "") -> tuple[int, str]:
        file.write_text(CONFIG + extra)
        async with asyncio.timeout(20), Nameserver(ZONE) as zone:
            dns = f"127.0.0.1:{zone.servers[0][1]}"
            line = ["route", address, "--config", str(file), "--data", str(data), "--dns", dns, *more]
            code = await asyncio.to_thread(main, line)
        return code, capsys.readouterr().out

    return run


GOLDEN = {
    "alice@house.test": """
        alice@house.test: a mailbox here
          taken      from anybody, up to 50 MB a message
          mailbox    alice@house.test, 0 of 2 MB used
        """,
    "alice+news@house.test": """
        alice+news@house.test: a mailbox here
          taken      from anybody, up to 50 MB a message
          detail     news
          mailbox    alice@house.test, 0 of 2 MB used
        """,
    "anything@all.test": """
        anything@all.test: the domain's catch-all: nobody has this very name
          taken      from anybody, up to 50 MB a message
          mailbox    owner@all.test
        """,
    "team@house.test": """
        team@house.test: an alias
          taken      from anybody, up to 50 MB a message
          mailbox    alice@house.test, 0 of 2 MB used
          on to      carol@away.example
          route      MX, in this order; equal ones at random
          host       10 mx1.away.example port 25: 2001:db8::1, 192.0.2.1
          host       20 mx2.away.example port 25: 192.0.2.2
          tls        where it is offered, with any certificate
          limits     20 connections at a time, 100 recipients a transaction
          next       at once
        """,
    "bob@plain.example": """
        bob@plain.example: not ours: it goes to another server
          taken      from whoever may relay, up to 50 MB a message
          route      no MX: the domain's own address (RFC 5321 §5.1)
          host       plain.example port 25: 192.0.2.5
          tls        where it is offered, with any certificate
          limits     20 connections at a time, 100 recipients a transaction
          next       at once
        """,
    "bob@by.example": """
        bob@by.example: not ours: it goes to another server
          taken      from whoever may relay, up to 50 MB a message
          route      a smarthost takes it
          host       smart.example port 587: 192.0.2.9
          tls        demanded, and the certificate must be right
          signs in   with the smarthost's user name
          limits     20 connections at a time, 100 recipients a transaction
          next       at once
        """,
}
NO_WAY = {
    "nobody@house.test": ("a domain of ours, and nobody there", "refused    550 5.1.1"),
    "bob@null.example": ("no way     556 5.1.10", "it comes back to its sender"),
    "bob@gone.example": ("no way     550 5.1.2", "it comes back to its sender"),
    "bob@empty.example": ("no way     ", "then       it"),
    "bob@circle.example": ("no way     ", "it comes back to its sender"),
}


@pytest.mark.parametrize("address", GOLDEN)
async def test_the_whole_way_is_told(route: Route, address: str) -> None:
    assert await route(address) == (Exit.OK, dedent(GOLDEN[address]).lstrip())


@pytest.mark.parametrize("address", NO_WAY)
async def test_what_would_come_back_is_told_with_the_reason(route: Route, address: str) -> None:
    code, told = await route(address)
    assert code == Exit.REFUSED
    for words in NO_WAY[address]:
        assert words in told


async def test_programs_get_the_same_as_json_and_no_password(route: Route) -> None:
    code, told = await route("bob@by.example", "--json")
    facts: dict[str, Any] = json.loads(told)
    [way] = facts["onward"]
    assert code == Exit.OK and "sesame" not in told
    assert (way["by"], way["tls"], way["signs_in"], way["next"]) == ("smarthost", "verify", True, "now")
    assert way["hosts"] == [{"name": "smart.example", "preference": None, "port": 587, "addresses": ["192.0.2.9"]}]


async def test_a_paused_node_says_that_nothing_goes(route: Route) -> None:
    _, told = await route("carol@away.example", extra="[relay]\npaused = true\n")
    assert "next       not before relay.paused is false" in told
    assert "taken      from anybody" in told  # smtp.relay_domains


async def test_a_folder_without_anybody_is_not_made(route: Route, data: Path) -> None:
    empty = data.parent / "empty"
    code, told = await route("alice@plain.example", "--data", str(empty))
    assert code == Exit.OK and "not ours" in told
    assert not empty.exists()
