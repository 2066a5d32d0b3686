"""One client's visit: the SMTP core on a socket, the policy that answers it, the spool that keeps its mail.

Lives here: what happens at each event of the conversation, deadlines, back pressure, saying goodbye.
Does not live here: the protocol (protocol/smtp_server.py), the rules (policy.py), the commit (storage/spool.py).

Nearly every event is answered in the same callback it came by. Only a password, a TLS handshake and the commit are
waited for; while the core owes an answer it parses nothing, and what the client sends meanwhile waits.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine

from glasspost.inbound.checks import HEADER_LIMIT, judge_message, store_refusal, tls_words, traced_intake
from glasspost.inbound.endings import how_it_ended, report
from glasspost.inbound.entrance import Entrance
from glasspost.inbound.policy import Client, Destinations
from glasspost.mail import reply as say
from glasspost.mail.message import scan_headers
from glasspost.mail.reply import Reply
from glasspost.net.connection import Connection
from glasspost.protocol import smtp_events as events
from glasspost.protocol.smtp_events import Body, BodyEnded, Data, Mail, Rcpt
from glasspost.protocol.smtp_server import SmtpServer
from glasspost.protocol.smtp_table import State
from glasspost.storage.bodies import Draft
from glasspost.storage.passwords import SignInBusy
from glasspost.storage.spooled import Intake
from glasspost.storage.transcripts import Recording

UNREAD_LIMIT = 64 * 1024  # octets a client may send ahead while an answer is owed; then it must wait
TARGET_LIMIT = 4_000  # recipients of one message after aliases (a message has at most 4096, storage/bodies.py)


class SmtpSession(Connection):
    """One connection of one client."""

    __slots__ = (
        "_admitted", "_client", "_core", "_destinations", "_draft", "_early", "_end", "_entrance", "_peer_ended",
        "_recording", "_stopping", "_task",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, entrance: Entrance) -> None:
        super().__init__(loop)
        self._entrance = entrance
        self._core: SmtpServer | None = None
        self._recording: Recording | None = None
        self._client = Client(entrance.settings.role, "")
        self._destinations: Destinations | None = None
        self._draft: Draft | None = None
        self._task: asyncio.Task[None] | None = None
        self._admitted = False
        self._stopping = False
        self._peer_ended = False
        self._early = b""
        self._end = ""  # how the visit ended, where what was said does not tell

    # --- the connection's life --------------------------------------------------------------------------------

    def opened(self) -> None:
        entrance = self._entrance
        assert self.transport is not None
        ip = self.peer[0]
        local = self.transport.get_extra_info("sockname")
        peer = f"{ip}:{self.peer[1]}"
        recording = entrance.transcripts.open("smtp-in", f"{local[0]}:{local[1]}", peer)
        self._recording = recording
        tls = self.tls
        core = self._core = SmtpServer(entrance.settings.offer_to(ip), recording, recording.id, tls=tls is not None)
        if tls is not None:
            recording.note(f"TLS from the start: {tls_words(tls)}")
        refusal = entrance.limits.admit(ip)
        self._admitted = refusal is None
        entrance.sessions.add(self)
        if refusal is not None:
            core.close(refusal)
            self._flush()
            self.hang_up()
            return
        self._client.ip = ip
        self._client.trusted = entrance.policy.trusts(ip)
        core.greet()
        self._flush()
        self.set_deadline(entrance.settings.greeting_timeout)

    def data_received(self, data: bytes) -> None:
        try:
            self.received(data)
        except Exception as error:
            self._broke(error)

    def received(self, data: bytes) -> None:
        core = self._core
        if core is None:
            return
        if self.upgrading:
            self._early += data  # through TLS already: it waits until the core knows of TLS, too
            return
        core.receive(data)
        if core.state is State.CLOSED:  # nothing may come between the STARTTLS reply and TLS (DESIGN law 6)
            self._end = "octets came between STARTTLS and TLS" if self.is_open else self._end
            self.abort()
            return
        if core.owes:
            if core.chat.unread > UNREAD_LIMIT:
                self.pause()
            return
        self._run()

    data_received = received  # with nothing between the loop and us

    def peer_ended(self) -> bool:
        """A client that sends everything and shuts its side still gets its answers."""
        self._peer_ended = True
        return self._core is not None and self._core.owes and self.tls is None  # TLS cannot be half closed

    def lost(self, error: Exception | None) -> None:
        entrance = self._entrance
        entrance.sessions.discard(self)
        if self._admitted:
            entrance.limits.leave(self.peer[0])
        if self._task is not None:
            self._task.cancel()
        if self._draft is not None and not (self._core is not None and self._core.owes):
            self._draft.discard()  # where an answer is owed the commit is under way, and keeps what it accepted
        if self._recording is not None:
            self._recording.close(self._end or how_it_ended(self._core, error))
        self._core = None

    def deadline_passed(self) -> None:
        core = self._core
        if core is None or core.owes:
            self.set_deadline(self._entrance.settings.command_timeout)
            return
        self._end = "timed out in the middle of a message" if core.in_message else "timed out"
        self._leave(say.TOO_SLOW)

    def stop(self) -> None:
        """The node is stopping: leave now, or after the message that is coming in."""
        self._stopping = True
        core = self._core
        if core is not None and core.envelope is None and not core.owes and not self.upgrading:
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

    def _flush(self) -> None:
        assert self._core is not None
        output = self._core.take_output()
        if output:
            self.send(output)

    # --- events -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Take events until the core wants more bytes or an answer has to be waited for; send what was said."""
        core = self._core
        assert core is not None
        while (event := core.next_event()) is not None:
            kind = type(event)  # the events of every message, without asking for each whether it is one of the others
            if isinstance(event, Body):
                assert self._draft is not None
                self._draft.add(event.data)
            elif isinstance(event, Rcpt):
                core.answer(self._judge(event))
            elif isinstance(event, Mail):
                core.answer(self._noted(self._entrance.policy.judge_sender(self._client, event.envelope)))
                self._destinations = Destinations()
                self._draft = self._entrance.spool.new_draft(self._go_on_reading)
            elif kind is Data:
                core.answer(say.GO_AHEAD)
            elif isinstance(event, BodyEnded):
                self._end_of_message(event)
            elif not self._seldom(event):
                return
        self._flush()
        if core.state is State.CLOSED:  # too many errors
            self.hang_up()
            return
        if core.owes:
            self.no_deadline()
            return
        settings = self._entrance.settings
        if self._draft is not None and self._draft.behind:
            self.pause()
            self.no_deadline()  # it is the disk that is slow
        else:
            self.set_deadline(settings.data_timeout if core.in_message else settings.command_timeout)
        if self._stopping and core.envelope is None:
            self._leave(say.CLOSING)
        elif self._peer_ended:
            self.hang_up()

    def _seldom(self, event: events.Event) -> bool:
        """The events off the hot path. False: the session is over, or goes on when a task has ended."""
        core = self._core
        assert core is not None
        match event:
            case events.Hello():
                hostname = self._entrance.settings.offer.hostname
                core.answer(say.HELLO.saying(hostname=hostname, client=event.name))
                self._forget()  # a transaction that was under way is over (RFC 5321 §4.1.4)
            case events.Forgotten():
                self._forget()
            case events.Verify():
                core.answer(self._noted(self._entrance.policy.verify(event.text)))
            case events.Expand():
                core.answer(self._noted(self._entrance.policy.expand(event.text)))
            case events.SignIn():
                self._begin(self._sign_in(event))
            case events.StartTls():
                return self._begin_tls()
            case events.Left():
                self._flush()
                self.hang_up()
                return False
        return True

    def _judge(self, event: Rcpt) -> Reply:
        assert self._core is not None
        envelope = self._core.envelope
        assert envelope is not None
        assert self._destinations is not None
        return self._noted(
            self._entrance.policy.judge_recipient(
                self._client, envelope, event.recipient, self._destinations, TARGET_LIMIT
            )
        )

    def _noted(self, reply: Reply) -> Reply:
        """The same reply; its private reason goes into the transcript."""
        if reply.reason and self._recording is not None:
            self._recording.note(f"{reply.code}: {reply.reason}")
        return reply

    def _go_on_reading(self) -> None:
        """The disk has caught up with the sender."""
        if self._core is not None and not self._core.owes:
            self.resume()
            self.set_deadline(self._entrance.settings.data_timeout)

    def _forget(self) -> None:
        if self._draft is not None:
            self._draft.discard()
            self._draft = None
            self.resume()
        self._destinations = None

    # --- the message ------------------------------------------------------------------------------------------

    def _end_of_message(self, event: BodyEnded) -> None:
        """The message is here whole. Judge it, put the trace on top, and have it committed; then 250."""
        core, draft, destinations = self._core, self._draft, self._destinations
        assert core is not None
        assert draft is not None
        assert destinations is not None
        entrance = self._entrance
        settings = entrance.settings
        scan = scan_headers(draft.opening(HEADER_LIMIT))
        if self._recording is not None:
            self._recording.header(scan)
        refusal = judge_message(scan, settings.max_received)
        if (
            refusal is None
            and destinations.deposits
            and draft.size > (core.envelope.declared_size if core.envelope else 0)
        ):
            full = entrance.policy.overfull(destinations, draft.size)
            if full is not None:
                refusal = say.MESSAGE_OVER_QUOTA.saying(address=full.address)
        if refusal is None and draft.error is not None:
            refusal = store_refusal(draft.error)
        if refusal is not None:
            core.answer(self._noted(refusal))
            self._forget()
            return
        intake = self._intake(core, draft, destinations)
        entrance.spool.accept(intake, intake.arrived, lambda error: self._committed(intake, error))

    def _intake(self, core: SmtpServer, draft: Draft, destinations: Destinations) -> Intake:
        entrance = self._entrance
        tls = self.tls if core.tls else None
        intake = traced_intake(core, draft, self._client.ip, tls, entrance.clock.now())
        intake.deposits = list(destinations.deposits.items())
        intake.recipients = destinations.recipients
        intake.claim = bool(intake.recipients) and entrance.may_claim(intake)
        return intake

    def _committed(self, intake: Intake, error: Exception | None) -> None:
        """The commit has come back: only now is the message ours, and the client told so (DESIGN law 1)."""
        recording = self._recording
        assert recording is not None
        if error is None:
            local, away = len(intake.deposits), len(intake.recipients)
            recording.note(
                f"safe on disk as {intake.queue_id}: {intake.size} octets, {local} into mailboxes, {away} queued"
            )
            recording.mention(intake.queue_id)
            self._entrance.accepted(intake)
            reply = say.QUEUED.saying(queue_id=intake.queue_id)
        else:
            reply = store_refusal(error)
            recording.note(f"not stored: {error}")
            intake.draft.discard()
        core = self._core
        if core is None:
            return  # the client is gone; what was accepted is delivered all the same
        self._draft = None
        self._destinations = None
        try:
            core.answer(reply)
            self.resume()
            if self._stopping:
                self._leave(say.CLOSING)  # before what may have been sent ahead begins another transaction
            else:
                self._run()
        except Exception as fault:
            self._broke(fault)

    # --- TLS and signing in -----------------------------------------------------------------------------------

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
        self._recording.note(f"TLS: {tls_words(self.tls)}")
        self._client.account = None
        self._forget()
        core.secured()
        self._task = None
        self.set_deadline(self._entrance.settings.command_timeout)
        early, self._early = self._early, b""
        if early:
            self.received(early)
        elif self._stopping:
            self._leave(say.CLOSING)

    async def _sign_in(self, event: events.SignIn) -> None:
        assert self._recording is not None
        credentials = event.credentials
        try:
            account = await self._entrance.directory.sign_in(credentials.username, credentials.password, "smtp")
            reply = say.AUTH_OK if account is not None else say.AUTH_FAILED
        except SignInBusy as error:
            account, reply = None, say.AUTH_TRY_LATER.because(str(error))
        core = self._core
        if core is None:
            return
        self._task = None
        self._client.account = account
        known = self._entrance.directory.known_name
        fate = f"signed in as {account.address}" if account else f"sign-in refused for {known(credentials.username)}"
        self._recording.note(fate)
        core.answer(self._noted(reply))
        self.resume()
        self._run()
