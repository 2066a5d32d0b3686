"""A bridge with a strict provider behind it: what a device needs, and what it could never reach by itself.

Lives here: `Provider`, a mail server as today's providers are; `bridge`, a whole node with a listener for devices that
sends on through it.
Does not live here: the devices (tests/devices, tests/peers), what is forgiven in detail (tests/talks/device_*.talk).
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from glasspost.node.node import Node
from glasspost.node.settings import Config

ACCOUNT = "shop@example.org"
PASSWORD = "app-password-1"
PATIENCE = 20.0  # seconds until mail that does not come is given up
HERE = ["127.0.0.0/8"]


@dataclass
class Letter:
    """A message as the provider took it. `tls` is the version it came by."""

    sender: str
    recipients: list[str]
    content: bytes
    tls: str

    @property
    def message(self) -> email.message.EmailMessage:
        return email.message_from_bytes(self.content, policy=email.policy.default)  # type: ignore[return-value]


@dataclass
class Provider:
    """Takes mail only after STARTTLS to TLS 1.3, only from its one account, and only from its own address, in the
    envelope and in From; exactly one From, Date and Message-ID each. It may be down, and come up again."""

    ca_file: Path
    context: ssl.SSLContext
    port: int = 0
    letters: list[Letter] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def up(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(self._greet, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Whoever calls now finds the port closed."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def arrived(self, count: int = 1) -> list[Letter]:
        """The letters, as soon as there are so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.letters) < count:
                self.news.clear()
                await self.news.wait()
        assert not self.refused
        return self.letters

    def _greet(self) -> SMTP:
        return SMTP(
            self, authenticator=self._sign_in, auth_required=True, tls_context=self.context, require_starttls=True
        )

    def _sign_in(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        known = (data.login, data.password) == (ACCOUNT.encode(), PASSWORD.encode())
        return AuthResult(success=known, handled=False)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address != ACCOUNT:
            return self._refuse("501 5.1.7 MAIL must be the address that signed in")
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        letter = Letter(
            str(envelope.mail_from),
            list(envelope.rcpt_tos),
            envelope.original_content or b"",
            server.transport.get_extra_info("ssl_object").version(),
        )
        for name in ("From", "Date", "Message-ID"):
            if len(letter.message.get_all(name, [])) != 1:
                return self._refuse(f"550 5.6.0 {name} is missing, or there are several")
        if [one.addr_spec for one in letter.message["From"].addresses] != [ACCOUNT]:
            return self._refuse("550 5.7.1 From must be the address that signed in")
        self.letters.append(letter)
        self.news.set()
        return "250 2.0.0 OK"

    def _refuse(self, reply: str) -> str:
        self.refused.append(reply)
        self.news.set()
        return reply


@asynccontextmanager
async def strict_provider(folder: Path) -> AsyncIterator[Provider]:
    """A provider that is up; its authority's file is in `folder`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    authority.issue_cert("127.0.0.1").configure_cert(context)
    provider = Provider(folder / "authority.pem", context)
    await provider.up()
    try:
        yield provider
    finally:
        await provider.down()


@asynccontextmanager
async def bridge(data: Path, provider: Provider, tls: str = "starttls", **sections: Any) -> AsyncIterator[Node]:
    """A node whose only listener is for devices: everyone on this machine is the printer. It tries again ten times a
    second."""
    tree: dict[str, Any] = {
        "node": {"data": str(data), "hostname": "bridge.example.org", "drain": "2 s"},
        "listener": [{"role": "device", "port": 0, "tls": tls}],
        "device": [{"name": "printer", "sender": ACCOUNT, "networks": HERE}],
        "smarthost": [
            {
                "host": "127.0.0.1",
                "port": provider.port,
                "username": ACCOUNT,
                "password": PASSWORD,
                "ca_file": str(provider.ca_file),
            }
        ],
        "relay": {"schedule": ["100 ms"], "idle_timeout": "0 s"},
    }
    node = Node(Config.model_validate(tree | sections))
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


def port_of(node: Node) -> int:
    """Where devices call."""
    return node.doors[0].port


def talks(node: Node) -> str:
    """Everything on record of the conversations with devices, once the node has stopped."""
    from glasspost.storage.talks import Talks

    record = Talks(node.folder.transcripts)
    try:
        return "\n".join(record.talk(one.id) for one in record.conversations(limit=50) if one.kind == "smtp-in")
    finally:
        record.close()
