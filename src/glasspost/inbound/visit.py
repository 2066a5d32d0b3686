"""One client's visit as a connection: admitted, greeted, secured, timed out, sent away.

Lives here: the visit's life from the first octet to the last, deadlines, back pressure, going over to TLS, and what
happens where a bug of ours meets a client.
Does not live here: what is said meanwhile (session.py), the protocol (protocol/smtp_server.py).
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Coroutine

from glasspost.inbound.checks import tls_words
from glasspost.inbound.client import Client, brought_client
from glasspost.inbound.endings import how_it_ended, report
from glasspost.inbound.entrance import Entrance
from glasspost.inbound.gates import Step
from glasspost.inbound.transaction import Transaction
from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.net.channel_binding import end_point
from glasspost.net.connection import Connection
from glasspost.net.shown import shown_words
from glasspost.protocol.sasl import ScramKeys
from glasspost.protocol.smtp_leniency import Leniency
from glasspost.protocol.smtp_server import SmtpServer
from glasspost.protocol.smtp_table import State
from glasspost.protocol.smtp_xclient import Brought
from glasspost.storage.transcripts import Recording

UNREAD_LIMIT = 64 * 1024  # octets a client may send ahead while an answer is owed; then it must wait


class Visit(Connection, ABC):
    """One connection of one client. `_run` is what a conversation makes of the octets that have come."""

    __slots__ = (
        "_admitted", "_client", "_committing", "_core", "_end", "_entrance", "_greeted", "_keys",
        "_peer_ended", "_recording", "_stopping", "_task", "_transaction",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, entrance: Entrance) -> None:
        super().__init__(loop)
        self._entrance = entrance
        self._core: SmtpServer | None = None
        self._recording: Recording | None = None
        self._client = Client(entrance.settings.role, "")
        self._transaction: Transaction | None = None
        self._task: asyncio.Task[None] | None = None
        self._admitted = False
        self._greeted = False
        self._committing = False  # a message is on its way to the disk, and is ours if it arrives there
        self._stopping = False
        self._peer_ended = False
        self._keys: ScramKeys | None = None  # what a sign-in under way has been shown
        self._end = ""  # how the visit ended, where what was said does not tell

    # --- the connection's life --------------------------------------------------------------------------------

    def arriving(self, local: str) -> bool:
        """Counted from now on, through the handshake; who is one too many gets none: it costs more than a visit."""
        refusal = self._admit()
        if refusal is not None:
            self._record(local)
            self._end = f"turned away before TLS: {refusal.text}"
        return refusal is None

    def not_secured(self, error: Exception, local: str) -> None:
        words = self._entrance.handshakes.words(error)
        if words:
            self._record(local).note(words)
            self._end = "TLS failed"

    def _admit(self) -> Reply | None:
        refusal = self._entrance.limits.admit(self.peer[0])
        self._admitted = refusal is None
        self._entrance.sessions.add(self)
        return refusal

    def _record(self, local: str) -> Recording:
        """The record of this visit begins."""
        self._client.listener = local
        peer = f"{self.peer[0]}:{self.peer[1]}"
        recording = self._recording = self._entrance.transcripts.open("smtp-in", local, peer)
        if self.proxy:
            recording.note(f"by way of the proxy {self.proxy}")
        return recording

    def opened(self) -> None:
        entrance = self._entrance
        ip = self.peer[0]
        assert self.transport is not None
        local = self.transport.get_extra_info("sockname")
        recording = self._record(f"{local[0]}:{local[1]}")
        tls = self.tls
        core = self._core = SmtpServer(
            entrance.settings.offer_to(ip),
            recording,
            recording.id,
            tls=tls is not None,
            end_point=end_point(tls),
            note=recording.note,
        )
        if tls is not None:
            recording.note(f"TLS from the start: {shown_words(tls)}")
            self._note_old_tls(tls)
        refusal = None if self._admitted else self._admit()
        if refusal is not None:
            core.close(refusal)
            self._flush()
            self.hang_up()
            return
        found = self._present(self._client, recording)
        if found is None or isinstance(found, Reply):
            self._greet(found)
        else:
            self._begin(self._greet_later(found))

    def _present(self, client: Client, recording: Recording) -> Step:
        """Who is there now: what the rules may know of it, and what the gates say to its coming."""
        entrance = self._entrance
        client.ip, client.port = self.peer
        client.trusted = entrance.policy.trusts(client.ip)
        client.conversation, client.note = recording.id, recording.note
        client.tls, client.hostname = tls_words(self.tls), entrance.settings.offer.hostname
        if entrance.bridge is not None:
            entrance.bridge.arrive(client)
        client.unread, client.mistakes = self._unread, self._mistakes
        return entrance.gates.ask("connected", client)

    async def _greet_later(self, found: Awaitable[Reply | None]) -> None:
        refusal = await found
        self._task = None
        if self._core is not None:
            self._greet(refusal)

    def _greet(self, refusal: Reply | None) -> None:
        """The 220, or why there is none."""
        core = self._core
        assert core is not None
        if refusal is not None or self._stopping:
            self._leave(say.CLOSING if refusal is None else self._noted(refusal))
            return
        self._greeted = True
        core.greet()
        self._flush()
        self.set_deadline(self._entrance.settings.greeting_timeout)
        if core.chat.unread:
            self._run()  # it did not wait for the greeting

    def _unread(self) -> int:
        return self._core.chat.unread if self._core is not None else 0

    def _mistakes(self) -> int:
        return self._core.errors if self._core is not None else 0

    def data_received(self, data: bytes) -> None:
        try:
            self.received(data)
        except Exception as error:
            self._broke(error)

    def received(self, data: bytes) -> None:
        core = self._core
        if core is None:
            return
        core.receive(data)
        if core.state is State.CLOSED:  # nothing may come between the STARTTLS reply and TLS (DESIGN law 6)
            self._end = "octets came between STARTTLS and TLS" if self.is_open else self._end
            self.abort()
            return
        if core.owed is not None or not self._greeted:
            if core.chat.unread > UNREAD_LIMIT:
                self.pause()
            return
        self._run()

    def peer_ended(self) -> bool:
        """A client that sends everything and shuts its side still gets its answers."""
        self._peer_ended = True
        return self._core is not None and self._core.owed is not None and self.tls is None  # TLS cannot be half closed

    def lost(self, error: Exception | None) -> None:
        entrance = self._entrance
        entrance.sessions.discard(self)
        if self._admitted:
            entrance.limits.leave(self.peer[0])
        if self._task is not None:
            self._task.cancel()
        if self._transaction is not None and not self._committing:
            self._transaction.discard()  # a commit that is under way keeps what it accepts
        if entrance.gates.watched:
            entrance.gates.tell("left", self._client)
        if self._recording is not None:
            self._recording.close(self._end or how_it_ended(self._core, error))
        self._client.leave()
        if self._core is not None:
            self._core.chat.end()
        self._core = None

    def deadline_passed(self) -> None:
        core = self._core
        if core is None or core.owed is not None:
            self.set_deadline(self._entrance.settings.command_timeout)
            return
        self._end = "timed out in the middle of a message" if core.in_message else "timed out"
        if core.in_message and core.seems_ended:
            self._client.note("it ended its message with LF in place of CR LF, which is no end, and waited")
            self._leave(say.WRONG_END)
            return
        self._leave(say.TOO_SLOW)

    def stop(self) -> None:
        """The node is stopping: leave now, or after the message that is coming in."""
        self._stopping = True
        core = self._core
        if core is not None and core.envelope is None and core.owed is None and not self.upgrading:
            self._leave(say.CLOSING)

    def _leave(self, reply: Reply) -> None:
        """Say a last word and close."""
        if self._core is not None:
            self._core.close(reply.saying(hostname=self._entrance.settings.offer.hostname))
            self._flush()
        self.hang_up()

    def _broke(self, error: Exception) -> None:
        """A bug of ours: its place goes on record, and the client is told before the line is cut."""
        self._end = f"a bug of ours: {report(error, self._recording.id if self._recording else '')}"
        if self.upgrading:
            self.abort()
        else:
            self._leave(say.OUT_OF_ORDER)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        """A task of this session: what breaks in it breaks the session, not more."""
        self._task = self.loop.create_task(work)
        self._task.add_done_callback(self._look_after)

    def _look_after(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._broke(error)

    def _noted(self, reply: Reply) -> Reply:
        """The same reply; its private reason goes into the transcript."""
        if reply.reason and self._recording is not None:
            self._recording.note(f"{reply.code}: {reply.reason}")
        return reply

    def _flush(self) -> bool:
        """Send what was said. Whether that was anything."""
        assert self._core is not None
        output = self._core.chat.take_output()
        if not output:
            return False
        self.send(output)
        return True

    @abstractmethod
    def _run(self) -> None:
        """Octets have come, or an answer: go on with the conversation. In session.py."""

    @abstractmethod
    def _forget(self) -> None:
        """The transaction under way is over without a message. In session.py."""

    # --- a proxy speaks on somebody's behalf ----------------------------------------------------

    def _bring(self, brought: Brought) -> None:
        """XCLIENT: somebody else is our client from now on, judged like one who has just connected."""
        entrance, core, recording = self._entrance, self._core, self._recording
        assert core is not None
        assert recording is not None
        account = self._client.vouched
        if brought.login is not None and entrance.settings.role == "submission":
            account = entrance.desk.vouched(brought.login) if brought.login else None
            if brought.login and account is None:
                core.answer(say.XCLIENT_NOBODY)
                return
        recording.note(f"XCLIENT from {self._client.brought_by or self.peer[0]}: {brought.words()}")
        entrance.gates.tell("left", self._client)
        client = brought_client(self._client, brought, self.peer)
        refusal = self._count_as(client.ip)
        self.peer = (client.ip, client.port)
        self._client = client
        found = refusal or self._present(client, recording)
        client.account = client.vouched = account
        core.turn_to(entrance.settings.offer_to(client.ip, brought=True), end_point(self.tls))
        core.signed_in = account is not None
        if found is None or isinstance(found, Reply):
            self._greet_brought(found)
        else:
            self._begin(self._greet_brought_later(found))

    def _count_as(self, ip: str) -> Reply | None:
        """The connection counts for another address than before; a refusal where that has too many."""
        limits = self._entrance.limits
        limits.leave(self.peer[0])
        refusal = limits.admit(ip)
        self._admitted = refusal is None
        return refusal

    async def _greet_brought_later(self, found: Awaitable[Reply | None]) -> None:
        refusal = await found
        if self._core is None:
            return
        self._task = None
        self._greet_brought(refusal)
        if self._core is not None and self._core.state is not State.CLOSED:
            self.resume()
            self._run()

    def _greet_brought(self, refusal: Reply | None) -> None:
        core = self._core
        assert core is not None
        if refusal is not None:
            self._leave(self._noted(refusal))
        else:
            core.answer(core.settings.greeting)

    # --- TLS -----------------------------------------------------------------------------------

    def _begin_tls(self) -> bool:
        """Answer STARTTLS, and change over. Returns whether the conversation goes on in the clear."""
        core = self._core
        assert core is not None
        context = self._entrance.tls_context
        if context is None:
            core.answer(say.TLS_NOT_AVAILABLE)
            return True
        self.pause()  # what comes from now on stays in the kernel until the handshake reads it
        core.answer(say.TLS_READY)
        self._flush()
        self.set_deadline(60)
        self._begin(self._secure(context))
        return False

    def _note_old_tls(self, tls: ssl.SSLObject | None) -> None:
        """TLS that RFC 8996 has retired: only a listener for devices speaks it."""
        if tls is not None and self._recording is not None and tls.version() in ("TLSv1", "TLSv1.1"):
            self._recording.note(f"repaired: {Leniency.OLD_TLS}: {tls.version()}")

    async def _secure(self, context: ssl.SSLContext) -> None:
        assert self._recording is not None
        try:
            await self.start_tls(context, server_side=True)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._recording.note(f"TLS failed: {error}")
            self._end = "TLS failed"
            self.abort()
            return
        core = self._core
        if core is None:
            return
        assert self.tls is not None
        self._recording.note(f"TLS: {shown_words(self.tls)}")
        self._note_old_tls(self.tls)
        if self._entrance.bridge is not None:
            self._entrance.bridge.arrive(self._client)  # credentials from before are forgotten
        self._client.account, self._client.hello, self._client.tls = None, "", tls_words(self.tls)
        self._forget()
        core.secured(end_point(self.tls))
        self._task = None
        self.set_deadline(self._entrance.settings.command_timeout)
        if self._stopping:
            self._leave(say.CLOSING)
