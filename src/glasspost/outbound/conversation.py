"""One connection of ours to another server, from its greeting to QUIT.

Lives here: the SMTP client core on a socket: deadlines (RFC 5321 §4.5.3.2), the message's bytes with back pressure,
TLS, and the recording.
Does not live here: what is said (protocol/smtp_client.py), which server is called and what it must prove (remote.py),
which connection carries which message (connections.py).

Each step, and each whole transaction, is one future: replies are looked at where they arrive, so a message of the
common kind costs one wake-up, however many replies it takes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glasspost.errors import StoreError
from glasspost.mail.envelope import Envelope
from glasspost.mail.reply import Reply
from glasspost.net.channel_binding import peer_end_point
from glasspost.net.connection import Connection
from glasspost.net.dialer import Callee
from glasspost.protocol.smtp_client import SmtpClient
from glasspost.protocol.smtp_client_events import (
    Answered,
    BodyWanted,
    Broken,
    Event,
    Finished,
    SmtpClientSettings,
    Step,
)

if TYPE_CHECKING:
    from glasspost.storage.bodies import Content
    from glasspost.storage.transcripts import Recording

OpenRecording = Callable[[str, str], "Recording"]  # (our address, the server) -> a recording of kind "smtp-out"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each answer may take, in seconds; the defaults are the least that RFC 5321 §4.5.3.2 asks for.

    `connect`, for which it names none, is for all addresses of a host. `block`: how long the server may take no
    octet of a message.
    """

    connect: float = 30.0
    greeting: float = 300.0
    hello: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    dot: float = 600.0
    quit: float = 5.0

    def by_step(self) -> dict[Step, float]:
        """The same, by what is waited for."""
        return {
            Step.GREETING: self.greeting,
            Step.EHLO: self.hello,
            Step.HELO: self.hello,
            Step.LHLO: self.hello,
            Step.STARTTLS: self.hello,
            Step.AUTH: self.hello,
            Step.RSET: self.mail,
            Step.MAIL: self.mail,
            Step.RCPT: self.rcpt,
            Step.DATA: self.data,
            Step.CONTENT: self.block,
            Step.CHUNK: self.dot,  # any chunk may be the last, which is stored before it is answered
            Step.DOT: self.dot,
            Step.LONE_DOT: self.data,
            Step.QUIT: self.quit,
        }


@dataclass(frozen=True, slots=True)
class ConversationSettings:
    """How connections of ours speak, and how long they wait."""

    client: SmtpClientSettings
    timeouts: Timeouts = Timeouts()
    seconds: dict[Step, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", self.timeouts.by_step())


class Conversation(Connection):
    """A client's connection. `on_gone` is called once, when nothing can be said on it any more."""

    __slots__ = (
        "_content",
        "_ended",
        "_greeting",
        "_leaving",
        "_owed",
        "_room",
        "_stream",
        "_waiter",
        "client",
        "gone",
        "host",
        "on_gone",
        "open_recording",
        "recording",
        "server",
        "settings",
        "silent",
    )

    client: SmtpClient
    recording: Recording
    server: str
    _greeting: asyncio.Future[Event]

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: ConversationSettings,
        host: Callee,
        open_recording: OpenRecording,
        on_gone: Callable[[Conversation], None],
    ) -> None:
        super().__init__(loop)
        self.settings = settings
        self.host = host
        self.open_recording = open_recording
        self.on_gone = on_gone
        self.gone = False
        self.silent = False  # it ended because the server did not answer in time
        self._waiter: asyncio.Future[Event] | None = None
        self._content: Content | None = None
        self._stream: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._owed = 0
        self._leaving = False

    # --- steps ------------------------------------------------------------------------------------------------

    async def greeting(self) -> Reply:
        """The server's greeting. Where the conversation broke, here as in all steps: the reply that says why."""
        return _reply_of(await self._greeting)

    async def hello(self) -> Reply:
        """EHLO, or HELO; what is offered stands in `client.offered` then."""
        self.client.hello()
        return _reply_of(await self._answer())

    def can_sign_in(self) -> bool:
        """Whether a password fits any mechanism the server offers; asked in front of `sign_in`."""
        self.client.end_point = peer_end_point(self.tls)
        return bool(self.client.sign_in_mechanism)

    async def sign_in(self, username: str, password: str) -> Reply:
        self.client.sign_in(username, password)
        return _reply_of(await self._answer())

    async def sign_in_by_token(self, username: str, token: str) -> Reply:
        self.client.sign_in_by_token(username, token)
        return _reply_of(await self._answer())

    async def ask_for_tls(self) -> Reply:
        """STARTTLS. After 220 nothing but `secure` may follow."""
        self.client.starttls()
        return _reply_of(await self._answer())

    async def secure(self, context: ssl.SSLContext, hostname: str) -> None:
        """The TLS handshake. Raises OSError (ssl.SSLError, TimeoutError) where it fails; the connection is gone."""
        self.set_deadline(self.settings.timeouts.hello)
        await self.start_tls(context, server_side=False, hostname=hostname)
        self.client.secured()

    def transact(
        self, envelope: Envelope, content: Content, eight_bit: bool, until: Step | None = None
    ) -> asyncio.Future[Event]:
        """Send a message to as many of the envelope's recipients as fit; or, `until` MAIL or RCPT, only ask. The future
        gives `Finished`, or `Broken` where the connection was lost before anything was said.

        It raises StoreError where the content cannot be read; the connection is given up then, before the end was
        said.
        """
        self._content = content
        if self.client.broken is None:
            self.client.send(envelope, eight_bit=eight_bit, until=until)
        return self._answer()

    def rest(self, seconds: float) -> None:
        """Nothing to do: say QUIT when nothing comes up within `seconds`."""
        self.set_deadline(seconds)

    def leave(self) -> None:
        """Say QUIT and go, without keeping anybody waiting for it."""
        if not self.is_open or self.client.broken is not None or self.client.awaited is not None:
            self.abort()
            return
        self._leaving = True
        self.client.quit()
        self._pump()

    async def left(self) -> None:
        """Until the connection is gone."""
        if not self.gone:
            self._ended = self._ended or self.loop.create_future()
            await asyncio.shield(self._ended)

    def _answer(self) -> asyncio.Future[Event]:
        waiter = self._waiter = self.loop.create_future()
        self._pump()
        if self.client.broken is not None:  # it broke before this was begun: no event will come
            self._resolve(Broken(self.client.broken))
        return waiter

    # --- what the connection tells ----------------------------------------------------------------------------

    def opened(self) -> None:
        assert self.transport is not None
        if not self.peer[0]:  # a Unix socket, which has no address of its own
            self.peer = (self.host.addresses[0], 0)
        self.server = name_server(self.host, self.peer[0])
        local = self.transport.get_extra_info("sockname")
        ours = f"[{local[0]}]:{local[1]}" if isinstance(local, tuple) else ""
        self.recording = self.open_recording(ours, self.server)
        self.client = SmtpClient(self.settings.client, self.recording, self.server)
        self._waiter = self._greeting = self.loop.create_future()  # it may be here before anybody awaits it
        self.set_deadline(self.settings.timeouts.greeting)

    def received(self, data: bytes) -> None:
        self.client.receive(data)
        self._pump()

    def lost(self, error: Exception | None) -> None:
        if self.gone:
            return
        self.gone = True
        self.client.lost()
        self._pump()
        self._end_stream()
        broken = self.client.broken
        self.recording.close("" if self._leaving or broken is None else str(broken))
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        self.on_gone(self)

    def deadline_passed(self) -> None:
        step = self.client.awaited
        if step is None and self.client.broken is None:
            self.leave()  # idle for long enough
            return
        self.silent = True
        if step is not Step.QUIT:
            self.recording.note(f"nothing came for {self.settings.seconds[step or Step.GREETING]:g} s")
            self.client.timed_out()
            self._pump()
        self.abort()

    def drained(self) -> None:
        self._make_room()

    # --- driving the core -------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Look at what came, say what follows, move the deadline."""
        client = self.client
        while (event := client.next_event()) is not None:
            if isinstance(event, BodyWanted):
                self._give_body()
                continue
            if isinstance(event, Finished):
                self._end_stream()
            self._resolve(event)
        output = client.take_output()
        if output:
            self.send(output)
        if client.broken is not None:
            self.abort()
            return
        owed = client.owed
        # A deadline is for a whole reply: single octets, however many, do not move it.
        if output or owed != self._owed:
            self._owed = owed
            step = client.awaited
            if step is not None:
                self.set_deadline(self.settings.seconds[step])

    def _resolve(self, event: Event) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(event)
        elif isinstance(event, Answered) and event.step is Step.QUIT:
            # A TLS goodbye to a server that has said its own may hang for long; there is nothing left to lose.
            if self.tls is not None:
                self.abort()
            else:
                self.hang_up()

    def _give_body(self) -> None:
        content = self._content
        assert content is not None
        if self._stream is not None:
            self._make_room()
            return
        data = content.data  # it may be read from the store here
        if data is None:
            self._stream = self.loop.create_task(self._send_stream(content))
        elif len(data) == content.size:
            self.client.body(data, last=True)
        else:
            self._fail(_not_whole(content, len(data)))

    async def _send_stream(self, content: Content) -> None:
        """The message piece by piece, each after the one before has left for the most part."""
        octets = 0
        try:
            async for piece in content.chunks():
                await self._wait_for_room()
                octets += len(piece)
                self.client.body(piece, last=False)
                self._pump()
            await self._wait_for_room()
            if octets != content.size:
                raise _not_whole(content, octets)
            self.client.body(b"", last=True)
            self._pump()
        except Exception as error:  # whatever it is, it belongs to whoever asked for the transaction
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """The message cannot be read. Go without ending it: the server would take the part for the whole."""
        waiter, self._waiter = self._waiter, None
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    async def _wait_for_room(self) -> None:
        while self.choked or not self.client.wants_body:
            self._room = self.loop.create_future()
            await self._room

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _end_stream(self) -> None:
        """The transaction is over: whatever of the message was not sent stays unsent."""
        stream, self._stream = self._stream, None
        if stream is not None and not stream.done():
            stream.cancel()
        self._content = None


def name_server(host: Callee, address: str) -> str:
    """A server as outcomes and reports name it: `mx1.example.org [192.0.2.1]:25`, or the path of its socket."""
    if address.startswith("/"):
        return address
    name = host.name.strip("[]")
    return f"[{address}]:{host.port}" if name == address else f"{name} [{address}]:{host.port}"


def _not_whole(content: Content, octets: int) -> StoreError:
    return StoreError(f"a message of {content.size} octets has only {octets} in the store")


def _reply_of(event: Event) -> Reply:
    assert isinstance(event, (Answered, Broken))
    return event.reply
