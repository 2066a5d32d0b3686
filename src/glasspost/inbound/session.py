"""What is said in one client's visit: the core's events, the policy that answers them, the spool that keeps the mail.

Lives here: what happens at each event of the conversation.
Does not live here: the connection (visit.py), the protocol (protocol/smtp_server.py), the rules (policy.py,
gates.py), the message (transaction.py), the commit (storage/spool.py).

Nearly every event is answered in the same callback it came by. Only a password, a gate that asks elsewhere, a TLS
handshake and the commit are waited for; while the core owes an answer it parses nothing, and what the client sends
meanwhile waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from glasspost.inbound.checks import HEADER_LIMIT, store_refusal
from glasspost.inbound.gates import Arrival
from glasspost.inbound.transaction import Transaction
from glasspost.inbound.visit import Visit
from glasspost.mail import reply as say
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.message import scan_headers
from glasspost.mail.reply import Reply
from glasspost.protocol import smtp_events as events
from glasspost.protocol.smtp_events import Body, BodyEnded, Data, Mail, Rcpt
from glasspost.protocol.smtp_table import State
from glasspost.storage.sign_in import Fate
from glasspost.storage.spooled import Intake

UNREAD_LIMIT = 64 * 1024  # octets a client may send ahead while an answer is owed; then it must wait


class SmtpSession(Visit):
    """One conversation with one client."""

    __slots__ = ()

    # --- events -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Take events until the core wants more bytes or an answer has to be waited for; send what was said."""
        core = self._core
        assert core is not None
        while (event := core.next_event()) is not None:
            if isinstance(event, Body):
                assert self._transaction is not None
                self._transaction.add(event.data)
            elif isinstance(event, Rcpt):
                self._judge_recipient(event.recipient)
            elif isinstance(event, Mail):
                self._judge_sender(event.envelope)
            elif isinstance(event, Data):
                self._judge_data(core.envelope)
            elif isinstance(event, BodyEnded):
                self._end_of_message()
            elif not self._seldom(event):
                return
        answered = self._flush()
        if core.state is State.CLOSED:  # too many errors
            self.hang_up()
            return
        if core.owed is not None:
            self.no_deadline()
            return
        if not core.in_message:
            if answered:  # octets of a line that has not ended win no time
                self.set_deadline(self._entrance.settings.command_timeout)
        elif self._transaction is not None and self._transaction.share.waits(self._transaction.draft):
            self.pause()
            self.no_deadline()  # it is the disk that is slow
        else:
            self.set_deadline(self._entrance.settings.data_timeout)
        if self._stopping and core.envelope is None:
            self._leave(say.CLOSING)
        elif self._peer_ended:
            self.hang_up()

    def _seldom(self, event: events.Event) -> bool:
        """The events off the hot path. False: the session is over, or goes on when a task has ended."""
        core = self._core
        assert core is not None
        match event:
            case events.Left():
                self._flush()
                self.hang_up()
                return False
            case events.Hello():
                self._client.hello, self._client.extended = event.name, event.verb != "HELO"
                self._forget()  # a transaction that was under way is over (RFC 5321 §4.1.4)
                hostname = self._entrance.settings.offer.hostname
                self._decide(say.HELLO.saying(hostname=hostname, client=event.name), "greeted")
            case events.Forgotten():
                self._forget()
            case events.Verify():
                core.answer(self._noted(self._entrance.policy.verify(event.text)))
            case events.Expand():
                core.answer(self._noted(self._entrance.policy.expand(event.text)))
            case events.SignIn():
                self._begin_sign_in(event)
            case events.XClient():
                self._bring(event.brought)
            case events.StartTls():
                return self._begin_tls()
        return True

    # --- verdicts ---------------------------------------------------------------------------------------------

    def _judge_sender(self, envelope: Envelope) -> None:
        self._transaction = Transaction(self._entrance, self._client, self._go_on_reading)
        if self._entrance.burden.admits(envelope.declared_size):
            rules = self._entrance.bridge or self._entrance.policy
            self._decide(rules.judge_sender(self._client, envelope), "sender", envelope)
        else:
            self._decide(say.TOO_MUCH_AT_ONCE, "sender")

    def _judge_data(self, envelope: Envelope | None) -> None:
        declared = envelope.declared_size if envelope is not None else 0
        admitted = self._entrance.burden.admits(declared)
        self._decide(say.GO_AHEAD if admitted else say.TOO_MUCH_AT_ONCE, "data", envelope)

    def _judge_recipient(self, recipient: Recipient) -> None:
        assert self._core is not None
        envelope, transaction = self._core.envelope, self._transaction
        assert envelope is not None
        assert transaction is not None
        watched = self._entrance.gates.watched
        if "recipient" not in watched and "refused" not in watched:
            self._core.answer(self._noted(transaction.judge_recipient(envelope, recipient)))
            return
        destinations = transaction.destinations
        mark = destinations.mark()

        def refused() -> None:
            destinations.back_to(mark)

        self._decide(transaction.judge_recipient(envelope, recipient), "recipient", envelope, recipient, undo=refused)

    def _decide(self, reply: Reply, step: str, *words: object, undo: Callable[[], None] | None = None) -> None:
        """Answer, now or when all gates have been heard about this step; a refusal of theirs is the answer then."""
        gates = self._entrance.gates
        answer = gates.judge(self._client, reply, step, *words) if gates.watched else reply
        if isinstance(answer, Reply):
            self._answer(answer, undo)
        else:
            self._begin(self._decide_later(answer, undo))

    async def _decide_later(self, found: Awaitable[Reply], undo: Callable[[], None] | None) -> None:
        reply = await found
        if self._core is None:
            return
        self._task = None
        self._answer(reply, undo)
        self.resume()
        self._run()

    def _answer(self, reply: Reply, undo: Callable[[], None] | None) -> None:
        assert self._core is not None
        if undo is not None and not reply.positive:
            undo()
        self._core.answer(self._noted(reply))

    def _go_on_reading(self) -> None:
        """The disk has caught up with the sender."""
        if self._transaction is not None:
            self._transaction.share.weigh(self._transaction.draft)
        if self._core is not None and self._core.owed is None:
            self.resume()
            self.set_deadline(self._entrance.settings.data_timeout)

    def _forget(self) -> None:
        if self._transaction is not None:
            self._transaction.discard()
            self._transaction = None
            self.resume()
            if self._entrance.gates.watched:
                self._entrance.gates.tell("forgotten", self._client)

    # --- the message ------------------------------------------------------------------------------------------

    def _end_of_message(self) -> None:
        """The message is here whole. Judge it, put the trace on top, and have it committed; then 250."""
        core, transaction = self._core, self._transaction
        assert core is not None
        assert core.envelope is not None
        assert transaction is not None
        transaction.ended()
        scan = scan_headers(transaction.draft.opening(HEADER_LIMIT))
        if self._recording is not None:
            self._recording.header(scan)
        core.envelope.tls_optional = scan.tls_optional and not core.envelope.requiretls  # RFC 8689 §4.1
        refusal = transaction.judge_message(scan, core.envelope)
        if refusal is not None:
            self._refuse_message(refusal)
        elif "message" not in self._entrance.gates.watched:
            self._accept(transaction, None)
        else:
            arrival = Arrival(transaction.draft, scan)
            found = self._entrance.gates.ask("message", self._client, core.envelope, arrival)
            if isinstance(found, Reply):
                self._refuse_message(found)
            elif found is None:
                self._accept(transaction, arrival)
            else:
                self._begin(self._accept_later(found, transaction, arrival))

    async def _accept_later(self, found: Awaitable[Reply | None], transaction: Transaction, arrival: Arrival) -> None:
        refusal = await found
        if self._core is None:
            return  # the client did not wait for its answer: nothing was promised
        self._task = None
        if refusal is None:
            self._accept(transaction, arrival)
            return
        self._refuse_message(refusal)
        self.resume()
        self._run()

    def _refuse_message(self, refusal: Reply) -> None:
        assert self._core is not None
        apart = self._transaction.apart if self._transaction is not None else {}
        self._core.answer(self._noted(refusal), apart)
        self._forget()

    def _accept(self, transaction: Transaction, arrival: Arrival | None) -> None:
        core = self._core
        assert core is not None
        intake = transaction.intake(core, self.tls if core.tls else None, arrival)
        if arrival is not None and arrival.hold:
            self._client.note(f"held for the postmaster: {arrival.hold}")
        self._committing = True
        self._entrance.spool.accept(intake, intake.arrived, lambda error: self._committed(intake, error))

    def _committed(self, intake: Intake, error: Exception | None) -> None:
        """The commit has come back: only now is the message ours, and the client told so (DESIGN law 1)."""
        recording = self._recording
        assert recording is not None
        self._committing = False
        assert self._transaction is not None
        self._transaction.share.drop()
        if error is None:
            local, away = len(intake.deposits), len(intake.recipients)
            recording.note(
                f"safe on disk as {intake.queue_id}: {intake.size} octets, {local} into mailboxes, {away} queued"
            )
            recording.mention(intake.queue_id)
            self._entrance.accepted(intake)
            if self._entrance.gates.watched:
                self._entrance.gates.tell("accepted", self._client, intake)
            reply = say.QUEUED.saying(queue_id=intake.queue_id)
        else:
            reply = store_refusal(error)
            recording.note(f"not stored: {error}")
            intake.draft.discard()
        core = self._core
        if core is None:
            return  # the client is gone; what was accepted is delivered all the same
        apart = self._transaction.apart if self._transaction is not None and error is None else {}
        self._transaction = None
        try:
            core.answer(reply, apart)
            self.resume()
            if self._stopping:
                self._leave(say.CLOSING)  # before what may have been sent ahead begins another transaction
            else:
                self._run()
        except Exception as fault:
            self._broke(fault)

    # --- signing in -------------------------------------------------------------------------------------------

    def _begin_sign_in(self, event: events.SignIn) -> None:
        bridge = self._entrance.bridge
        if bridge is None:
            self._begin(self._sign_in(event))
            return
        assert self._core is not None
        self._core.answer(bridge.judge_sign_in(self._client, event.question))

    async def _sign_in(self, event: events.SignIn) -> None:
        verdict = await self._entrance.desk.judge(event.question, self._client.ip, "smtp", self._keys)
        core = self._core
        if core is None:
            return
        self._task = None
        if verdict.note:
            self._client.note(verdict.note)
        self._keys = verdict.keys
        if verdict.keys is not None:
            core.sign_in_keys(verdict.keys)
        else:
            self._client.account = verdict.account
            core.answer(_SIGN_IN_REPLIES[verdict.fate])
        self.resume()
        self._run()


_SIGN_IN_REPLIES = {
    Fate.YES: say.AUTH_OK,
    Fate.NO: say.AUTH_FAILED,
    Fate.LATER: say.AUTH_TRY_LATER,
    Fate.AWAY: say.AUTH_TOO_MANY_FAILURES,
}
