"""The servers that a device talks to: a real one, and one that plays a talk, good or bad.

Lives here: servers on loopback, and what arrived at them.
Does not live here: what a device must make of them (test_esp8266.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Letter:
    """One message as it arrived: `content` byte for byte as meant, without what the server puts on top."""

    sender: str
    recipients: list[str]
    content: bytes


@dataclass
class Server:
    """A server for example.org: takes mail for anna@ and ben@, answers 550 to nobody@.

    Content of more than `size_limit` octets it refuses after the dot, with 552.
    """

    host: str
    port: int
    size_limit: int
    letters: list[Letter] = field(default_factory=list)

    async def arrived(self) -> list[Letter]:
        """All messages that the server has taken."""
        return self.letters


class Household:
    """aiosmtpd's side of `Server`."""

    def __init__(self, letters: list[Letter]) -> None:
        self.letters = letters

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address not in ("anna@example.org", "ben@example.org"):
            return f"550 5.1.1 <{address}>: nobody here has this address"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        self.letters.append(Letter(envelope.mail_from or "", list(envelope.rcpt_tos), content))
        return "250 2.0.0 Safe"


@asynccontextmanager
async def aiosmtpd_server(size_limit: int = 250_000, **settings: object) -> AsyncIterator[Server]:
    """aiosmtpd on a port of its own; `settings` are those of its SMTP class."""
    server = Server("127.0.0.1", 0, size_limit)

    def greet() -> SMTP:
        return SMTP(Household(server.letters), data_size_limit=size_limit, hostname="mx.example.org", **settings)

    listener = await asyncio.get_running_loop().create_server(greet, server.host, 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


def knows(mechanism: str, username: str, password: str) -> dict[str, object]:
    """Settings with which aiosmtpd offers one mechanism of sign-in, in cleartext, and knows one user."""

    def sign_in(server: SMTP, session: Session, envelope: Envelope, used: str, data: LoginPassword) -> AuthResult:
        known = (data.login, data.password) == (username.encode(), password.encode())
        return AuthResult(success=known, handled=False)

    return {
        "authenticator": sign_in,
        "auth_required": True,
        "auth_require_tls": False,
        "auth_exclude_mechanism": {"PLAIN", "LOGIN"} - {mechanism},
    }


class Actor:
    """A server that plays a talk, whatever the client says, and remembers what it heard.

    `S:` lines that follow each other go in one write, or octet by octet if `slowly`. `C:` waits for a line of
    the client's, `# message` for a message and its end. `# hangs up` closes, `# is silent` waits until the
    client has gone. After the talk only QUIT is answered.
    """

    def __init__(self, talk: str, slowly: bool) -> None:
        self.lines = [line.strip() for line in talk.strip().splitlines()]
        self.slowly = slowly
        self.heard: list[str] = []
        self.message = b""
        self.rest = b""  # what came behind the talk, until the client hung up
        self.gone = asyncio.Event()

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one conversation."""
        try:
            await self._play(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError) as lost:
            self.rest = getattr(lost, "partial", b"")
        finally:
            writer.close()
            self.gone.set()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = b""
        for line in [*self.lines, "# the end"]:
            if line.startswith("S:"):
                reply += line[3:].encode() + b"\r\n"
                continue
            await self._say(writer, reply)
            reply = b""
            if line.startswith("C:"):
                self.heard.append((await reader.readuntil(b"\r\n")).decode().removesuffix("\r\n"))
            elif line == "# message":
                self.message = await reader.readuntil(b"\r\n.\r\n")
            elif line == "# hangs up":
                return
            elif line == "# is silent":
                self.rest = await reader.read()
            elif line == "# the end":
                await self._hear_out(reader, writer)

    async def _hear_out(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while heard := await reader.read(4096):
            self.rest += heard
            if self.rest == b"QUIT\r\n":
                await self._say(writer, b"221 Bye\r\n")

    async def _say(self, writer: asyncio.StreamWriter, reply: bytes) -> None:
        step = 1 if self.slowly else len(reply) or 1
        for start in range(0, len(reply), step):
            writer.write(reply[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)


@asynccontextmanager
async def acting(talk: str, slowly: bool = False) -> AsyncIterator[tuple[Actor, dict[str, object]]]:
    """An `Actor` on a port of its own, and the arguments that lead a client to it."""
    actor = Actor(talk, slowly)
    listener = await asyncio.start_server(actor.play, "127.0.0.1", 0)
    try:
        yield actor, {"host": "127.0.0.1", "port": listener.sockets[0].getsockname()[1]}
    finally:
        listener.close()
        await listener.wait_closed()
