"""A house with an open door: the SMTP server's side as a node puts it together, without the way out.

Lives here: `House`, which is what node/node.py makes of a configuration, up to the spool; `Wire`, a connection to it
without a socket, and `Talking` on it. The house uses the same wiring, a
real store in a folder of the test's own, and real sockets on loopback. Nothing is delivered: what was accepted for
elsewhere waits in the spool, where a test can look at it.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glasspost.clock import Clock, SystemClock
from glasspost.inbound.entrance import Entrance
from glasspost.inbound.limits import Burden, ConnectionLimits
from glasspost.inbound.policy import Policy
from glasspost.inbound.session import SmtpSession
from glasspost.mail.address import Address
from glasspost.net.dns import Resolver
from glasspost.net.tls import self_signed, server_context
from glasspost.node import device_wiring, wiring
from glasspost.node.gatehouse import Gatehouse
from glasspost.node.settings import Config, Listener
from glasspost.storage.accounts import Directory
from glasspost.storage.database import Database
from glasspost.storage.folder import Folder
from glasspost.storage.guesses import Guesses
from glasspost.storage.mailboxes import Mailboxes
from glasspost.storage.sign_in import Desk
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Intake, deposit_header
from glasspost.storage.transcripts import Recording, Transcripts

HOSTNAME = "mail.example.test"
PASSWORD = "tulip-7"


def furnish(path: Path) -> None:
    """The directory that every house begins with: alice and bob at example.test, both with the same password, carol,
    who is disabled, and the alias team, which is alice, bob and somebody elsewhere."""
    directory = Directory(path)
    alice, bob, carol = (Address(name, "example.test") for name in ("alice", "bob", "carol"))
    for address in (alice, bob, carol):
        directory.add_account(address, PASSWORD, create_domain=address is alice)
    directory.set_enabled(carol, False)
    directory.add_alias(Address("team", "example.test"), [alice, bob, Address("eve", "elsewhere.test")])
    directory.close()


DEVICES: list[dict[str, Any]] = [
    {"name": "printer", "sender": "office@example.org", "networks": ["127.0.0.0/8"]},
    {"name": "camera", "sender": "garden@example.org", "username": "camera", "password": PASSWORD},
]  # who comes to a listener of role device, where nothing else is said


class Noted(Recording):
    """A recording whose notes a test can read at once."""

    def __init__(self, house: Overheard, number: int, kind: str, local: str, peer: str) -> None:
        super().__init__(house, number, kind, local, peer)
        self.notes = house.notes

    def note(self, text: str) -> None:
        self.notes.append(text)
        super().note(text)


class Overheard(Transcripts):
    """A record that is not kept, but for the notes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, clock=SystemClock(), enabled=False)
        self.notes: list[str] = []

    def open(self, kind: str, local: str, peer: str) -> Recording:
        return Noted(self, super().open(kind, local, peer).number, kind, local, peer)


class House:
    """`async with House(folder, furniture, "smtp.max_errors = 3") as house`. The settings are lines of TOML."""

    def __init__(
        self,
        folder: Path,
        furniture: Path,
        *settings: str,
        role: str = "mx",
        tls: str = "none",
        address: str = "127.0.0.1",
        clock: Clock | None = None,
        xclient: str = "",
    ) -> None:
        clock = clock or SystemClock()
        tree: dict[str, Any] = tomllib.loads("\n".join(settings))
        tree.setdefault("node", {}).update(hostname=HOSTNAME, data=str(folder))
        tree["listener"] = [{"role": role, "address": address, "port": 0, "tls": tls}]
        if xclient:
            tree["listener"][0]["xclient_networks"] = [xclient]
        if role == "device":
            tree.setdefault("device", DEVICES)
        self.config = Config.model_validate(tree, context={"folder": folder})
        shutil.copy(furniture, folder / "directory.db")
        self.folder = folder
        self.directory = Directory(folder / "directory.db")
        self.database = Database(folder / "spool.db", "spool")
        self.spool = Spool(self.database, HOSTNAME, self.config.relay.lease)
        self.mailboxes = Mailboxes(self.database)
        self.transcripts = Overheard(folder / "transcripts.db")
        self.guesses = Guesses(folder / "limits.db", wiring.guess_settings(self.config))
        self.accepted: list[Intake] = []
        servers = [(server.address, server.port) for server in self.config.dns.servers]
        self.resolver = Resolver(servers, self.config.dns.timeout, clock=clock)
        self.gatehouse = Gatehouse(self.config, Folder(folder), self.directory, self.resolver, clock)
        smtp = self.config.smtp
        self.entrance = Entrance(
            settings=wiring.inbound_settings(self.config, self.config.listener[0]),
            policy=Policy(wiring.policy_settings(self.config), self.directory, self.mailboxes),
            desk=Desk(self.directory, self.guesses),
            spool=self.spool,
            transcripts=self.transcripts,
            limits=ConnectionLimits(smtp.max_connections, smtp.max_connections_per_address),
            clock=clock,
            accepted=self._accepted,
            may_claim=lambda intake: False,
            tls_context=self._tls_context(self.config.listener[0]),
            sessions=set(),
            bridge=device_wiring.bridge(self.config, self.config.listener[0]),
            gates=self.gatehouse.gates(self.config.listener[0]),
            burden=Burden(smtp.max_memory),
        )
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> House:
        loop = asyncio.get_running_loop()
        self.database.start(loop)
        self.gatehouse.start(loop)
        self._server = await loop.create_server(self.session, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for session in list(self.entrance.sessions):
            session.abort()
        await asyncio.sleep(0)
        await self.resolver.close()
        await self.gatehouse.close()
        await self.transcripts.close()
        await self.database.close()
        self.directory.close()
        self.guesses.close()

    def session(self) -> SmtpSession:
        """A session of this house, for a socket of its own."""
        return SmtpSession(asyncio.get_running_loop(), self.entrance)

    def _accepted(self, intake: Intake) -> None:
        """What the scheduler does on hearing of a message, as far as mailboxes are concerned."""
        self.accepted.append(intake)
        for account_id, path in intake.deposits:
            octets = intake.size + len(deposit_header(intake.envelope.reverse_path, path))
            self.mailboxes.deposited(account_id, octets)

    def _tls_context(self, listener: Listener) -> ssl.SSLContext | None:
        if listener.tls == "none":
            return None
        usual = server_context(*self_signed(self.folder, HOSTNAME), self.config.tls.minimum)
        if listener.role == "device":
            return device_wiring.tls_context(self.config, self.folder, usual)
        return usual

    # --- what is in the store ---------------------------------------------------------------------------------

    def rows(self, table: str) -> int:
        """How many rows a table of the spool has: message, chunk, recipient, deposit, draft."""
        return int(self.database.reader.execute(f"SELECT count(*) FROM {table}").get)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is kept, not even a part of a message."""
        return not any(self.rows(table) for table in ("message", "chunk", "recipient", "deposit", "draft"))

    def content(self, intake: Intake) -> bytes:
        """An accepted message as the store has it, without the trace header on top."""
        low = intake.draft.id << 12
        chunks = self.database.reader.execute(
            "SELECT data FROM chunk WHERE id >= ? AND id < ? ORDER BY id", (low, low + 4096)
        )
        return b"".join(data for (data,) in chunks)

    @property
    def repairs(self) -> list[str]:
        """The names of the leniencies that were used, in order."""
        return [note.split(": ")[1] for note in self.transcripts.notes if note.startswith("repaired: ")]

    async def written(self) -> None:
        """Everything that was given to the writer until now is in the store."""
        await self.database.written(lambda connection: None)


class Wire(asyncio.Transport):
    """A transport without a socket, so that a test decides how the bytes are cut. `said`: what the session said."""

    def __init__(self, session: SmtpSession, ip: str = "127.0.0.1") -> None:
        super().__init__({"peername": (ip, 4711), "sockname": ("127.0.0.1", 25)})
        self.session = session
        self.said = b""
        self.closed = False
        self.heard: Callable[[], object] = lambda: None  # called after anything was said, or the end
        self._reading = True
        self._kept: list[bytes] = []
        session.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Bytes come from the client. While reading is paused they wait, as they would in the kernel."""
        self._kept.append(data)
        while self._kept and self._reading and not self.closed:
            data = self._kept.pop(0)
            if data:
                self.session.data_received(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed, "said something after hanging up"
        self.said += data
        self.heard()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._lost)

    abort = close

    def _lost(self) -> None:
        self.session.connection_lost(None)
        self.heard()

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        if self._kept:
            asyncio.get_running_loop().call_soon(self.feed, b"")


class Talking:
    """Somebody who talks on a wire: says a line, waits for its reply. `listen` first."""

    wire: Wire

    def listen(self, wire: Wire) -> None:
        """From now on this is the wire."""
        self.wire = wire
        self._news = asyncio.Event()
        wire.heard = self._news.set

    @property
    def replies(self) -> list[str]:
        """The last line of each reply so far."""
        return [line for line in self.wire.said.decode().split("\r\n") if line[3:4] == " "]

    async def reply(self, count: int) -> str:
        """The reply with this number, counted from 1: the greeting."""
        async with asyncio.timeout(10):
            while len(self.replies) < count:
                self._news.clear()
                await self._news.wait()
        return self.replies[count - 1]

    async def say(self, *lines: bytes) -> list[str]:
        """Lines, one after the other; the replies to them."""
        await self.reply(1)
        said = []
        for line in lines:
            count = len(self.replies) + 1
            self.wire.feed(line)
            said.append(await self.reply(count))
        return said
