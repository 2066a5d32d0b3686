"""The wire under a conversation that is held by hand: `glasspost talk` and `glasspost replay`.

Lives here: finding and calling the server, its bytes as events, changing over to TLS, and what is to be seen of TLS.
Does not live here: what is said (protocol/by_hand.py), what a person sees (talk_screen.py).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from dataclasses import dataclass

from glasspost.cli.directory import Mistyped
from glasspost.errors import Exit, GlasspostError
from glasspost.net.connection import Connection
from glasspost.net.dialer import DialError, dial, tls_fault
from glasspost.net.tls import opportunistic_context, verifying_context
from glasspost.protocol.by_hand import ByHand, Event

_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:\[\]\s]+))(?::(\d{1,5}))?")
_BACKLOG = 1 << 20  # octets that may wait to be looked at before the server is made to wait
IMPLICIT_TLS = {465: False, 995: True}  # ports where TLS comes first, and whether POP3 is spoken there
DEFAULT_PORT = 25


class Unreachable(GlasspostError):
    """There is no conversation with the other server, or no longer."""

    exit_code = Exit.UNREACHABLE


@dataclass(frozen=True, slots=True)
class Place:
    """A server as somebody names it."""

    name: str
    port: int
    addresses: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def read_place(text: str) -> Place:
    """HOST, HOST:PORT, [2001:db8::1]:PORT. Raises Mistyped."""
    found = _PLACE.fullmatch(text.strip())
    if found is None or int(found[3] or 1) not in range(1, 65536):
        raise Mistyped(f'"{text}" is no server; write HOST:PORT, or [ADDRESS]:PORT for IPv6')
    return Place(found[1] or found[2], int(found[3] or DEFAULT_PORT))


class HandConnection(Connection):
    """A connection whose events are waited for, one after the other. `ended`: why it is gone; empty while it stands."""

    __slots__ = ("_news", "_waiting", "ended", "hand", "place")

    def __init__(self, loop: asyncio.AbstractEventLoop, hand: ByHand, place: Place) -> None:
        super().__init__(loop)
        self.hand = hand
        self.place = place
        self.ended = ""
        self._news = asyncio.Event()
        self._waiting = 0

    def received(self, data: bytes) -> None:
        self.hand.receive(data)
        self._waiting += len(data)
        if self._waiting > _BACKLOG:
            self.pause()
        self._news.set()

    def lost(self, error: Exception | None) -> None:
        self.ended = self.ended or (
            f"the connection was lost: {str(error).lower()}" if error else "the server closed the connection"
        )
        self._news.set()

    async def event(self, seconds: float | None) -> Event | None:
        """The next event; None where none came in that time, or none will come (`ended`)."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    event = self.hand.next_event()
                    self.flush()
                    if event is not None:
                        return event
                    self._waiting = 0
                    if self.ended:
                        return None
                    self.resume()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return None

    def flush(self) -> None:
        """Send what was said."""
        output = self.hand.take_output()
        if output:
            self.send(output)

    def drop(self, why: str) -> None:
        """Close at once, from our side."""
        self.ended = self.ended or why
        self.abort()

    async def secure(self, *, verify: bool) -> str:
        """Hold the TLS handshake now that the server is ready for it. Returns why it failed; empty where TLS stands.
        Without `verify` any certificate will do."""
        if self.hand.unread:  # it came since the answer was looked at: DESIGN law 6
            self.drop("the server sent octets in the clear behind its yes to TLS")
            return self.ended
        context = verifying_context() if verify else opportunistic_context()
        try:
            await self.start_tls(context, server_side=False, hostname=self.place.name)
        except (OSError, RuntimeError) as error:
            self.ended = f"TLS failed: {tls_fault(error)}"
            return self.ended
        self.hand.secured()
        return ""


async def call(place: Place, hand: ByHand, *, tls: bool, verify: bool, seconds: float) -> HandConnection:
    """Call a server; with `tls` the handshake comes first. Raises Unreachable."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(place.name, place.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise Unreachable(f"{place.name} has no address: {getattr(error, 'strerror', '') or error}") from None
    where = Place(place.name, place.port, tuple(dict.fromkeys(str(info[4][0]).partition("%")[0] for info in found)))
    context = None if not tls else verifying_context() if verify else opportunistic_context()
    try:
        _, connection, _ = await dial(
            where,
            protocol_factory=lambda: HandConnection(loop, hand, where),
            connect_timeout=seconds,
            tls=context,
            server_hostname=place.name,
        )
    except DialError as error:
        raise Unreachable(f"{place}: {error.reason}") from None
    if tls:
        hand.secured()
    return connection


def tls_lines(tls: ssl.SSLObject | None, name: str, *, verified: bool) -> list[str]:
    """What TLS stands on, in lines for people: version and cipher, whose certificate, and what was proved."""
    if tls is None:
        return []
    from glasspost.net.certificate import in_full, shown_by, version_and_cipher

    lines = [f"TLS: {', '.join(version_and_cipher(tls))}"]
    try:
        certificate = shown_by(tls)
    except ValueError:
        lines.append("certificate: cannot be read")
    else:
        lines += [in_full(certificate, time.time())] if certificate is not None else []
    if verified:
        lines.append(f"verified: it is {name}, by an authority that this machine trusts")
    else:
        lines.append("encrypted, but nobody proved who is there; `:tls verify` or --verify asks for proof")
    return lines
