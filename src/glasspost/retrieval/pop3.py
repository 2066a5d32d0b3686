"""One POP3 session: an owner's client fetches mail.

Lives here: the wire and the house joined to the conversation: sign-in, the maildrop's lock, content on its way at the
reader's pace, removal at QUIT, deadlines, TLS, and the notes on record.
Does not live here: what a command means (protocol/pop3_server.py), sockets (net/connection.py), who they are
(storage/sign_in.py), where mail is kept (storage/mailboxes.py).

Three laws are kept here:

- One lock for the session's whole life, and it is given back however the session ends.
- Nothing is removed without QUIT (RFC 1939 §6): not when the connection is lost, not when the client is silent for too
  long, not when the house closes. A removal that QUIT has begun is carried through, also where nobody waits for it.
- A task is never cancelled, only told that the client is gone: a lock that was just won cannot get lost on the way.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from glasspost.errors import GlasspostError
from glasspost.ip import is_loopback
from glasspost.mail import pop3_reply as replies
from glasspost.net.channel_binding import end_point
from glasspost.net.connection import Connection
from glasspost.net.handshakes import FailedHandshakes
from glasspost.net.shown import shown_words
from glasspost.protocol.chat import Tap
from glasspost.protocol.pop3_events import Event, Fetch, Pop3Settings, SignIn, StartTls, Update
from glasspost.protocol.pop3_listing import Deposit
from glasspost.protocol.pop3_server import Pop3Server
from glasspost.protocol.sasl import ScramKeys
from glasspost.storage.sign_in import Desk, Fate

_UNREAD_LIMIT = 64 * 1024  # octets of commands sent ahead; beyond, the client must wait
_FAREWELL_SECONDS = 30  # a client that takes nothing of the last output for so long is cut off


class Maildrop(Protocol):
    """A locked maildrop. See storage/mailboxes.py."""

    @property
    def deposits(self) -> Sequence[Deposit]: ...
    def chunks(self, deposit: Any) -> AsyncIterator[bytes]: ...
    async def expunge(self, deposits: Any) -> None: ...
    def release(self) -> None: ...


class Mailboxes(Protocol):
    """Where maildrops are. See storage/mailboxes.py."""

    async def lock(self, account_id: int) -> Maildrop | None:
        """The maildrop, or None where another session has it."""
        ...


class Recording(Tap, Protocol):
    """The record of this conversation. See storage/transcripts.py."""

    @property
    def id(self) -> str: ...
    def note(self, text: str) -> None: ...
    def close(self, verdict: str = "") -> None: ...


OpenRecording = Callable[[str, str], Recording]  # (local, peer), each as "192.0.2.1:110"


class Pop3Session(Connection):
    """The server's side of one connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Pop3Settings,
        desk: Desk,
        mailboxes: Mailboxes,
        open_recording: OpenRecording,
        tls_context: ssl.SSLContext | None,
    ) -> None:
        """`tls_context`: what STLS goes over to; None where it is not offered."""
        super().__init__(loop)
        self._settings = settings
        self._desk = desk
        self._keys: ScramKeys | None = None  # what a sign-in under way has been shown
        self._mailboxes = mailboxes
        self._open_recording = open_recording
        self._tls_context = tls_context
        self._drop: Maildrop | None = None
        self._task: asyncio.Task[None] | None = None  # what the house is doing to answer an event
        self._reader: asyncio.Future[None] | None = None  # resolved when the reader takes bytes again
        self._backlog = 0  # octets the reader had still to take when the deadline last passed
        self._heard = 0  # commands the deadline was moved for
        self._scheduled = False
        self._input_ended = False
        self._leaving = False
        self._gone = False
        self._verdict = ""
        self._begun = False
        self.handshakes: FailedHandshakes | None = None  # who tells which failed handshakes go on record

    def leave(self) -> None:
        """The house closes: hang up, at once or when the command in hand is answered."""
        self._leaving = True
        self._verdict = self._verdict or "the house closes"
        if self._task is None:
            self._hang_up_politely()

    # --- the wire -----------------------------------------------------------------------------------------------

    def not_secured(self, error: Exception, local: str) -> None:
        words = self.handshakes.words(error) if self.handshakes is not None else ""
        if words:
            recording = self._open_recording(local, _end_text(self.peer))
            recording.note(words)
            recording.close("TLS failed")

    def opened(self) -> None:
        assert self.transport is not None
        self._begun = True
        local = self.transport.get_extra_info("sockname")
        self._recording = self._open_recording(_end_text(local), _end_text(self.peer))
        self._core = Pop3Server(
            self._settings,
            self._recording,
            stls=self._tls_context is not None,
            secured=self.tls is not None,
            from_loopback=is_loopback(self.peer[0]),
            conversation=self._recording.id,
            end_point=end_point(self.tls),
        )
        self._note_tls()
        self.set_deadline(self._settings.idle_seconds)
        self.send(self._core.take_output())
        if self._leaving:
            self._hang_up_politely()

    def received(self, data: bytes) -> None:
        self._core.receive(data)
        self._go_on()

    def drained(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        self._backlog = 0
        if self._task is None:
            self.set_deadline(self._settings.idle_seconds)
            self._go_on()

    def peer_ended(self) -> bool:
        """Whoever sends all commands at once and half-closes still gets the answers. Over TLS that cannot be done."""
        self._input_ended = True
        return self.tls is None and (self._task is not None or self.choked or self._core.unfinished)

    def deadline_passed(self) -> None:
        """RFC 1939 §3: close without a word, and without removing anything. A slow reader who moves is not idle."""
        assert self.transport is not None
        backlog = self.transport.get_write_buffer_size()
        if backlog and (self._backlog == 0 or backlog < self._backlog):
            self._backlog = backlog
            self.set_deadline(self._settings.idle_seconds if self.is_open else _FAREWELL_SECONDS)
        elif self.choked or not self.is_open:
            self._verdict = self._verdict or "the client reads no more"
            self.abort()
        else:
            self._verdict = "the client was silent for too long"
            self._hang_up_politely()

    def lost(self, error: Exception | None) -> None:
        self._gone = True
        self._verdict = self._verdict or "the client left without QUIT"
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if self._task is None and self._begun:
            self._end()

    # --- the conversation ---------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Obey and answer until the client must move, or the house, or until the reader takes no more."""
        self._scheduled = False
        core = self._core
        if self._task is None and self.is_open and not self.choked and not core.finished:
            event = core.next_event()
            self.send(core.take_output())
            if core.commands != self._heard:
                self._heard = core.commands
                self.set_deadline(self._settings.idle_seconds)
            if event is not None:
                self._begin(event)
        if self._task is None:
            if core.finished:
                self._verdict = self._verdict or "the conversation is over"
                self._hang_up_politely()
            elif core.unfinished:
                self._go_on_soon()
            elif self._leaving or (self._input_ended and not self.choked):
                self._hang_up_politely()
        self._mind_input()

    def _go_on_soon(self) -> None:
        """Let others have their turn between two slices of a listing."""
        if not self._scheduled and not self.choked:
            self._scheduled = True
            self.loop.call_soon(self._go_on)

    def _hang_up_politely(self) -> None:
        """Close once the client has taken everything, if it ever does."""
        if self.is_open:
            self.set_deadline(_FAREWELL_SECONDS)
            self.hang_up()

    def _mind_input(self) -> None:
        """A client may send commands ahead, but not without end."""
        if self._core.unread > _UNREAD_LIMIT:
            self.pause()
        elif self._task is None:
            self.resume()

    def _begin(self, event: Event) -> None:
        self.no_deadline()
        if isinstance(event, StartTls):
            self.pause()  # at once: an octet that is not read now meets the handshake, and breaks it
        self._task = self.loop.create_task(self._carry_out(event))

    async def _carry_out(self, event: Event) -> None:
        """Do what an event asks, answer it, and go on with the conversation."""
        try:
            if isinstance(event, SignIn):
                await self._sign_in(event)
            elif isinstance(event, Fetch):
                await self._fetch(event)
            elif isinstance(event, Update):
                await self._update(event)
            else:
                await self._go_over_to_tls()
        except asyncio.CancelledError:
            self._leaving = True  # the whole house is being torn down
            raise
        except Exception as error:
            self._recording.note(f"broken: {type(error).__name__}")
            self._core.give_up()
            self.loop.call_exception_handler(
                {"message": f"POP3 session {self._recording.id} broke", "exception": error, "protocol": self}
            )
        finally:
            self._task = None
            if self._gone:
                self._end()
            else:
                self.send(self._core.take_output())
                self.set_deadline(self._settings.idle_seconds)
                self._go_on()

    def _end(self) -> None:
        """The connection is gone and nothing is in hand any more."""
        self._release()
        self._recording.close(self._verdict)
        self._core.chat.end()

    def _release(self) -> None:
        if self._drop is not None:
            self._drop.release()
            self._drop = None

    # --- what the house does ------------------------------------------------------------------------------------

    async def _sign_in(self, event: SignIn) -> None:
        """Have it judged who they are, then lock the maildrop."""
        verdict = await self._desk.judge(event.question, self.peer[0], "pop3", self._keys)
        if verdict.note and verdict.account is None:
            self._recording.note(verdict.note)
        self._keys, account = verdict.keys, verdict.account
        if verdict.keys is not None:
            return self._core.sign_in_keys(verdict.keys)
        if verdict.fate is Fate.AWAY:
            return self._core.send_away(replies.TOO_MANY_FAILURES)
        if verdict.fate is Fate.LATER:
            return self._core.answer(replies.SIGN_IN_LATER)
        if account is None:
            return self._core.refuse_sign_in()
        try:
            drop = await self._mailboxes.lock(account.id)
        except GlasspostError as error:
            self._recording.note(f"maildrop not opened: {error}")
            return self._core.answer(replies.MAILDROP_LATER)
        if drop is None:
            self._recording.note(f"maildrop of {account.address} is in use")
            return self._core.answer(replies.IN_USE)
        self._drop = drop
        self._core.opened(drop.deposits)
        return self._recording.note(f"{verdict.note}; messages: {len(drop.deposits)}")

    async def _fetch(self, event: Fetch) -> None:
        """Send a message piece by piece; the next is read only when the reader has taken the last."""
        assert self._drop is not None
        chunks = self._drop.chunks(event.deposit)
        try:
            async for piece in chunks:
                wanted = self._core.send_piece(piece)
                self.send(self._core.take_output())
                if not wanted:
                    break
                await self._reader_ready()
                if self._gone:
                    return self._recording.note(f"message {event.number} was cut off")
        except GlasspostError as error:
            self._recording.note(f"message {event.number} not read: {error}")
            return self._core.fail_message(replies.MESSAGE_LATER)
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        octets = self._core.end_message()
        sent = "held back: its header is in UTF-8" if octets is None else f"sent, {octets} octets"
        return self._recording.note(f"message {event.number} {sent}")

    async def _reader_ready(self) -> None:
        """Wait while the reader takes no more; the deadline watches it meanwhile."""
        if not self.choked or self._gone:
            return
        self._reader = self.loop.create_future()
        self.set_deadline(self._settings.idle_seconds)
        await self._reader
        self._reader = None
        self.no_deadline()

    async def _update(self, event: Update) -> None:
        """UPDATE state: all marked messages go, or none. The lock is free before goodbye is said."""
        assert self._drop is not None
        reply = replies.BYE
        try:
            if event.doomed:
                await self._drop.expunge(event.doomed)
                reply = replies.BYE_REMOVED.saying(removed=len(event.doomed), left=event.left)
                self._recording.note(f"removed: {len(event.doomed)}, left: {event.left}")
            self._verdict = "signed off"
        except GlasspostError as error:
            reply = replies.NOT_REMOVED
            self._recording.note(f"nothing removed: {error}")
            self._verdict = "removal failed"
        self._release()
        self._core.answer(reply)

    async def _go_over_to_tls(self) -> None:
        assert self._tls_context is not None
        self._core.answer(replies.TLS_READY)
        self.send(self._core.take_output())
        try:
            await self.start_tls(self._tls_context, server_side=True)
        except OSError as error:
            self._recording.note(f"TLS failed: {error}")
            self._verdict = "TLS failed"
            return self.abort()
        if not self._core.secured(end_point(self.tls)):
            self._verdict = "bytes came behind STLS"
            return self.abort()
        self._note_tls()
        return None

    def _note_tls(self) -> None:
        tls = self.tls
        if tls is not None:
            self._recording.note(f"TLS: {shown_words(tls)}")


def _end_text(name: object) -> str:
    """One end of the connection: `192.0.2.1:110`, `[2001:db8::1]:110`."""
    if not isinstance(name, tuple):
        return str(name)
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
