"""TLS of a whole node: its certificates while it runs, handshakes that fail, and octets that try to slip in before TLS.

Everything here is held on both event loops: they differ in what they do with octets and handshakes that go wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
import uvloop

from glasspost.mail.address import Address
from glasspost.net.certificate import dns_names, shown_by
from glasspost.net.connection import Connection
from glasspost.net.tls import opportunistic_context
from glasspost.node.certificates import SELF_SIGNED
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.storage.talks import Talks

DOORS = {"mx": "starttls", "submission": "implicit", "pop3": "starttls"}
LOOPS = {"asyncio": asyncio.DefaultEventLoopPolicy, "uvloop": uvloop.EventLoopPolicy}


@pytest.fixture(scope="module", params=LOOPS)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    policy: asyncio.AbstractEventLoopPolicy = LOOPS[request.param]()
    return policy


class Files:
    """Certificates on the disk, as the settings name them."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self._moment = 1_700_000_000

    def write(self, file: str, *names: str, spoilt: bool = False) -> dict[str, str]:
        issued = self._ca.issue_cert(*names)
        paths = {"certificate": self._folder / f"{file}.crt", "key": self._folder / f"{file}.key"}
        paths["certificate"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        paths["key"].write_bytes(b"spoilt" if spoilt else issued.private_key_pem.bytes())
        self._moment += 1
        for path in paths.values():
            os.utime(path, (self._moment, self._moment))
        return {key: str(path) for key, path in paths.items()}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@contextlib.asynccontextmanager
async def house(data: Path, **sections: Any) -> AsyncIterator[Node]:
    listeners = [{"role": role, "port": 0, "tls": tls} for role, tls in DOORS.items()]
    base = {"node": {"data": str(data), "hostname": "mx.house.test", "drain": "1 s"}, "listener": listeners}
    node = Node(Config.model_validate(base | sections))
    await node.start()
    try:
        async with asyncio.timeout(60):
            yield node
    finally:
        await node.stop()


def port(node: Node, role: str) -> int:
    return next(door.port for door in node.doors if door.role == role)


class Caller:
    """A client that goes over to TLS wherever a test wants it to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def says(self, line: str, octets: bytes = b"") -> str:
        """Say a line, and what is sent in the same segment behind it; the last line of the answer."""
        self.writer.write(line.encode() + b"\r\n" + octets)
        return await self.hears()

    async def hears(self) -> str:
        while True:
            line = (await self.reader.readline()).decode().rstrip("\r\n")
            if line[3:4] != "-":
                return line

    async def rest(self) -> bytes:
        """All that comes until the server hangs up."""
        try:
            return await self.reader.read()
        except (ConnectionError, ssl.SSLError):
            return b""


@contextlib.asynccontextmanager
async def call(node: Node, role: str, **tls: Any) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port(node, role), **tls)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()


async def names_shown(node: Node, name: str) -> tuple[str, ...]:
    """The names of the certificate that the submission door shows to whom asks for `name`."""
    async with call(node, "submission", ssl=opportunistic_context(), server_hostname=name) as caller:
        assert (await caller.hears()).startswith("220 ")
        certificate = shown_by(caller.writer.get_extra_info("ssl_object"))
        assert certificate is not None
        return dns_names(certificate)


# --- certificates -------------------------------------------------------------------------------------------------


async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path, files: Files) -> None:
    tls = files.write("first", "mx.house.test") | {"reload": "10 ms"}
    second = files.write("second", "mail.two.test")
    async with house(tmp_path / "data", tls=tls, certificate=[second]) as node:
        assert await names_shown(node, "mx.house.test") == ("mx.house.test",)
        assert await names_shown(node, "mail.two.test") == ("mail.two.test",)
        async with call(node, "submission", ssl=opportunistic_context(), server_hostname="mail.two.test") as old:
            await old.hears()
            files.write("second", "mail.two.test", "www.two.test")
            while await names_shown(node, "mail.two.test") != ("mail.two.test", "www.two.test"):
                pass
            assert (await old.says("NOOP")).startswith("250 ")


async def test_devices_are_shown_a_renewed_certificate_as_well(tmp_path: Path, files: Files) -> None:
    """They are forgiven old TLS, by a context of their own."""
    tls = files.write("first", "mx.house.test") | {"reload": 0}
    listener = [{"role": "device", "port": 0, "tls": "implicit"}]
    device = [{"name": "printer", "sender": "office@example.org", "networks": ["127.0.0.0/8"]}]
    async with house(tmp_path / "data", tls=tls, listener=listener, device=device) as node:

        async def shown() -> tuple[str, ...]:
            async with call(node, "device", ssl=opportunistic_context(), server_hostname="mx.house.test") as caller:
                assert (await caller.hears()).startswith("220 ")
                certificate = shown_by(caller.writer.get_extra_info("ssl_object"))
                assert certificate is not None
                return dns_names(certificate)

        assert await shown() == ("mx.house.test",)
        files.write("first", "new.house.test")
        node.certificates.look()
        assert await shown() == ("new.house.test",)


async def test_a_bad_new_certificate_is_said_loudly_and_the_old_one_kept(tmp_path: Path, files: Files) -> None:
    tls = files.write("first", "mx.house.test") | {"reload": 0}
    async with house(tmp_path / "data", tls=tls) as node:
        files.write("first", "new.house.test", spoilt=True)
        with structlog.testing.capture_logs() as told:
            node.certificates.look()
            node.certificates.look()
        (line,) = told
        assert line["log_level"] == "error"
        assert line["event"] == "THE NEW CERTIFICATE CANNOT BE USED, the one before it is shown on"
        assert line["certificate"] == tls["certificate"]
        assert await names_shown(node, "new.house.test") == ("mx.house.test",)


async def test_a_self_signed_certificate_is_said_loudly(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as told:
        async with house(tmp_path / "data") as node:
            assert await names_shown(node, "") == ("mx.house.test",)
    assert [line["log_level"] for line in told if line["event"] == SELF_SIGNED] == ["warning"]


# --- handshakes that fail -----------------------------------------------------------------------------------------


def connections() -> int:
    gc.collect()
    return sum(isinstance(one, Connection) for one in gc.get_objects())


async def settled(done: Callable[[], bool]) -> None:
    """The loop lets go of a transport some turns after the session has, without telling."""
    while not done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("role", DOORS)
async def test_failed_handshakes_cost_nothing_lasting(tmp_path: Path, files: Files, role: str) -> None:
    async with house(tmp_path / "data", tls=files.write("first", "mx.house.test")) as node:
        before = connections()
        for number in range(60):
            async with call(node, role) as caller:
                if DOORS[role] == "starttls":
                    await caller.hears()
                    if role == "mx":
                        await caller.says("EHLO client.test")
                    await caller.says("STARTTLS" if role == "mx" else "STLS")
                # What is not TLS, half a ClientHello, or nothing at all.
                caller.writer.write([b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b""][number % 3])
                if number % 3 == 0:
                    await caller.rest()
        await settled(lambda: not node._visitors())
        assert node.limits.count == 0
        await settled(lambda: connections() <= before)


@pytest.mark.parametrize("role", ["submission", "pop3"])
async def test_failed_handshakes_in_front_of_a_greeting_are_on_record_in_bounded_number(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """Implicit TLS: each leaves a conversation of its own, who it was and why; a flood leaves no more than a minute's
    share."""
    monkeypatch.setattr("glasspost.net.handshakes.RECORDED", 3)
    listener = [{"role": role, "port": 0, "tls": "implicit"}]
    async with house(tmp_path / "data", tls=files.write("first", "mx.house.test"), listener=listener) as node:
        for _ in range(5):
            async with call(node, role) as caller:
                caller.writer.write(b"GET / HTTP/1.0\r\n\r\n")
                await caller.rest()
        await settled(lambda: not node._visitors())
        await node.transcripts.flush()
        with contextlib.closing(Talks(node.folder.transcripts)) as talks:
            found = talks.conversations()
        assert [one.verdict for one in found] == ["TLS failed"] * 3
        assert all(one.peer.startswith("127.0.0.1:") for one in found)
        assert {one.kind for one in found} == {"pop3" if role == "pop3" else "smtp-in"}


async def test_a_visitor_counts_from_before_its_handshake(tmp_path: Path, files: Files) -> None:
    """Who is one too many gets no handshake; who gives up his leaves room again."""
    listener = [{"role": "submission", "port": 0, "tls": "implicit"}]
    tls = files.write("first", "mx.house.test")
    async with house(tmp_path / "data", tls=tls, listener=listener, smtp={"max_connections": 1}) as node:
        async with call(node, "submission"):
            await settled(lambda: node.limits.count == 1)
            async with call(node, "submission") as second:
                assert await second.rest() == b""
            assert node.limits.count == 1
        await settled(lambda: node.limits.count == 0)
        assert await names_shown(node, "") == ("mx.house.test",)


async def test_a_visitor_who_never_finishes_its_handshake_is_cut_off(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glasspost.net.connection.HANDSHAKE_SECONDS", 0.1)
    async with house(tmp_path / "data", tls=files.write("first", "mx.house.test")) as node:
        for role in DOORS:
            async with call(node, role) as caller:
                if DOORS[role] == "starttls":
                    await caller.hears()
                    if role == "mx":
                        await caller.says("EHLO client.test")
                    await caller.says("STARTTLS" if role == "mx" else "STLS")
                caller.writer.write(b"\x16\x03\x01\x02\x00\x01\x00")
                await caller.rest()


# --- injection (RFC 3207 §6, CVE-2011-0411) -----------------------------------------------------------------------

MAIL = b"MAIL FROM:<eve@away.test>\r\nRCPT TO:<alice@house.test>\r\nDATA\r\nSubject: slipped in\r\n\r\n.\r\n"
THEFT = b"USER alice@house.test\r\nPASS secret\r\nDELE 1\r\nQUIT\r\n"


@pytest.mark.parametrize("later", [False, True], ids=["same segment", "later segment"])
@pytest.mark.parametrize(("role", "verb", "slipped"), [("mx", "STARTTLS", MAIL), ("pop3", "STLS", THEFT)])
async def test_octets_behind_starttls_end_the_connection_and_are_not_obeyed(
    tmp_path: Path, files: Files, role: str, verb: str, slipped: bytes, later: bool
) -> None:
    async with house(tmp_path / "data", tls=files.write("first", "mx.house.test")) as node:
        node.directory.add_account(Address("alice", "house.test"), "secret", create_domain=True)
        async with call(node, role) as caller:
            await caller.hears()
            if role == "mx":
                await caller.says("EHLO client.test")
            said = await caller.says(verb, b"" if later else slipped)
            if later:
                assert said.startswith(("220 ", "+OK"))
                caller.writer.write(slipped)
            else:
                assert "Bytes came behind" in said
            rest = await caller.rest()
            assert b"250" not in rest and b"+OK" not in rest
        await settled(lambda: not node._visitors())
        assert node.database.reader.execute("SELECT count(*) FROM message").get == 0


@pytest.mark.parametrize("role", ["mx", "pop3"])
async def test_octets_in_front_of_the_handshake_are_not_obeyed_after_it(
    tmp_path: Path, files: Files, role: str
) -> None:
    """The man in the middle's way: his octets first, and then the victim's handshake."""
    async with house(tmp_path / "data", tls=files.write("first", "mx.house.test")) as node, call(node, role) as caller:
        await caller.hears()
        if role == "mx":
            await caller.says("EHLO client.test")
        await caller.says("STARTTLS" if role == "mx" else "STLS")
        caller.writer.write(b"NOOP\r\n")
        await caller.writer.drain()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await caller.writer.start_tls(opportunistic_context())
