"""docs/journey.md shows what happens: its talks are held again with a real node, and every line is compared.

The page's configuration is used, on ports of the test's own. curl and smtp-sink are played by hand, by the page's own
lines. What differs from run to run (ids, ports, dates) is compared by its form.
"""

from __future__ import annotations

import asyncio
import base64
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from glasspost.mail.address import Address
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.protocol.talk import CLIENT, NOTE, Line, parse_talk
from glasspost.storage.talks import Talks

PAGE = (Path(__file__).parents[2] / "docs" / "journey.md").read_text(encoding="utf-8")
CREDENTIALS = base64.b64encode(b"\0alice@example.org\0secret")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


COMES_IN, GOES_ON, FETCHED = blocks("talk")
SENT, HANDED_OUT = (text.replace("\n", "\r\n").encode() for text in blocks("eml"))


def form(text: str) -> str:
    """A text without what differs from run to run."""
    text = re.sub(r"\b([qc])0[0-9a-hjkmnp-tv-z]{10}\b", r"\1...", text)
    text = re.sub(r"(\[?127\.0\.0\.1\]?):\d+", r"\1:port", text)
    text = re.sub(r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "date", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "moment", text)


def stuffed(content: bytes) -> bytes:
    return re.sub(rb"^\.", b"..", content, flags=re.MULTILINE) + b".\r\n"


async def play(
    lines: Sequence[Line], us: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes = b""
) -> bytes:
    """Play one side of a talk: say its lines, and hear the other's. Returns the content that came, if any did."""
    came = b""
    for line in lines:
        if line.who == NOTE:
            continue
        if line.who == us:
            if line.octets == b"[masked]":
                line = Line(line.who, CREDENTIALS)
            if us != CLIENT and line.octets.startswith(b"250 ") and asked_for_content(lines, line):
                came = await reader.readuntil(b"\r\n.\r\n")
            writer.write(line.octets + b"\r\n")
            continue
        heard = (await reader.readline()).removesuffix(b"\r\n")
        assert form(heard.decode()) == form(line.octets.decode())
        if us == CLIENT and heard.startswith(b"354 "):
            writer.write(stuffed(content))
        if us == CLIENT and re.fullmatch(rb"\+OK \d+ octets", heard):
            came = await reader.readuntil(b"\r\n.\r\n")
    return came


def asked_for_content(lines: Sequence[Line], line: Line) -> bool:
    """Whether a server's line is the one right behind its 354."""
    spoken = [one for one in lines if one.who != NOTE]
    at = next(number for number, one in enumerate(spoken) if one is line)
    return spoken[at - 1].octets.startswith(b"354 ")


async def visit(node: Node, role: str, talk: str, content: bytes = b"") -> bytes:
    port = next(door.port for door in node.doors if door.role == role)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await play(parse_talk(talk), CLIENT, reader, writer, content)
    finally:
        writer.close()


@pytest.fixture
def configuration(tmp_path: Path) -> dict[str, Any]:
    (text,) = blocks("toml")
    tree = tomllib.loads(text)
    for listener in tree["listener"]:
        listener["port"] = 0
    tree["node"]["data"] = str(tmp_path)
    return tree


async def test_the_journey_goes_as_the_page_says(configuration: dict[str, Any], tmp_path: Path) -> None:
    passed_on: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def next_hop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            passed_on.set_result(await play(parse_talk(GOES_ON), "S", reader, writer))
        except Exception as error:
            passed_on.set_exception(error)
        finally:
            writer.close()

    sink = await asyncio.start_server(next_hop, "127.0.0.1", 0)
    configuration["smarthost"][0]["port"] = sink.sockets[0].getsockname()[1]
    configuration["relay"] = {"idle_timeout": 0.01}  # the page waits five seconds for QUIT
    node = Node(Config.model_validate(configuration, context={"folder": tmp_path}))
    async with asyncio.timeout(30), sink:
        await node.start()
        try:
            node.directory.add_account(Address("alice", "example.org"), "secret", create_domain=True)
            await visit(node, "mx", COMES_IN, SENT)
            relayed = await passed_on
            fetched = await visit(node, "pop3", FETCHED)
        finally:
            await node.stop()

    assert form(fetched.decode()) == form(stuffed(HANDED_OUT).decode())
    assert relayed.endswith(stuffed(SENT))
    assert recorded(tmp_path) == {"smtp-in": form(COMES_IN), "smtp-out": form(GOES_ON), "pop3": form(FETCHED)}


def recorded(folder: Path) -> dict[str, str]:
    """The node's own record of the three conversations, as `conversations show` prints it."""
    talks = Talks(folder / "transcripts.db")
    try:
        return {one.kind: form(talks.talk(one.id)) for one in talks.conversations()}
    finally:
        talks.close()


def test_what_was_handed_out_ends_with_what_was_sent() -> None:
    assert HANDED_OUT.endswith(SENT)
