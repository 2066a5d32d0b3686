"""The SMTP client's half of a conversation (RFC 5321 §3), without socket or clock.

Lives here: which command follows which reply, and pipelining (RFC 2920).
Does not live here: who is in a transaction, what its replies mean and the verdict on each recipient
(smtp_transaction.py), what a sign-in says (sasl_client.py), the commands' parameters (smtp_commands.py), the grammar
of replies (smtp_replies.py), sockets and deadlines (outbound/conversation.py), the choice of server (remote.py).

Feed and pull: `receive` bytes, pull `next_event` until it is None, send `take_output`. A step starts with a method
(`hello`, `starttls`, `sign_in`, `send`, `quit`) and ends with an event: `Answered`, or `Finished` for a transaction.
`BodyWanted` asks for content, given by `body`. `Broken` comes last: nothing more can be said on this connection.
One transaction follows another for as long as `usable` holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from glasspost.mail import reply as replies
from glasspost.mail.envelope import Envelope
from glasspost.mail.reply import Reply
from glasspost.protocol import sasl_client
from glasspost.protocol.chat import Chat, Tap
from glasspost.protocol.smtp_client_events import (
    Answered,
    BodyWanted,
    Broken,
    Event,
    Finished,
    SmtpClientSettings,
    Step,
)
from glasspost.protocol.smtp_replies import (
    LINE_LIMIT,
    NOTHING_OFFERED,
    Capabilities,
    Nonsense,
    ReplyReader,
    read_capabilities,
)
from glasspost.protocol.smtp_transaction import Transaction, begin

_BODY_WANTED = BodyWanted()


class SmtpClient:
    """Many messages on one connection, each recipient's `Outcome` at the end of each.

    `server` names the other side in outcomes and replies: "mx1.example.org [192.0.2.1]:25".
    """

    def __init__(self, settings: SmtpClientSettings, tap: Tap, server: str) -> None:
        self.settings = settings
        self.server = server
        self.offered: Capabilities = NOTHING_OFFERED
        self.broken: Reply | None = None  # why nothing more can be said
        self.broken_at: Step | None = None  # what was waited for then; None between messages
        self.broken_by_server = False  # and whether that was the server's own word (421)
        self.transactions = 0  # how many were begun
        self.secure = False
        self._chat = Chat(tap, LINE_LIMIT)
        self._reader = ReplyReader(self._chat)
        self._awaited: deque[Step] = deque((Step.GREETING,))
        self._events: deque[Event] = deque()
        self._securing = False
        self._attempt: sasl_client.Attempt | None = None  # the sign-in under way
        self.only_mechanism = ""  # the one that a password may be used with; empty: the best that is offered
        self.end_point = b""  # the hash of the server's certificate, for a sign-in that is bound to it (RFC 5929 §4)
        self._transaction: Transaction | None = None
        self._dirty = False  # a failed transaction stands; RSET goes in front of the next MAIL
        self._fits = 0  # recipients after which the server has said "too many"

    # --- bytes and events -------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes have come."""
        self._chat.receive(data)
        if self._securing and self.broken is None:
            self._break(self._nonsense("bytes behind its reply to STARTTLS"))  # DESIGN law 6

    def next_event(self) -> Event | None:
        """What happened next; None until more bytes come."""
        events = self._events
        while not events:
            if self.broken is not None:
                return None
            reply = self._reader.take()
            if reply is None:
                return None
            if isinstance(reply, Nonsense):
                self._break(self._nonsense(reply.fault))
            elif not self._awaited:
                self._unasked(reply)
            elif reply.code == 421 and self._awaited[0] is not Step.QUIT:  # at any point: RFC 5321 §3.8
                self._break(reply, said=True)
            else:
                step = self._awaited.popleft()
                _HEARD[step](self, step, reply)
        return events.popleft()

    def take_output(self) -> bytes:
        """All that is to be sent now, in one piece."""
        return self._chat.take_output()

    @property
    def awaited(self) -> Step | None:
        """What is being waited for: the server's reply to this step, or our own content. None between messages."""
        if self._awaited:
            return self._awaited[0]
        return Step.CONTENT if self._transaction is not None else None

    @property
    def owed(self) -> int:
        """How many replies are waited for."""
        return len(self._awaited)

    @property
    def wants_body(self) -> bool:
        """Whether `body` may be called."""
        return self._transaction is not None and self._transaction.body_open

    @property
    def usable(self) -> bool:
        """Whether another transaction may begin on this connection (RFC 9422 MAILMAX)."""
        limit = self.offered.mail_max
        return (
            self.broken is None
            and not self._awaited
            and self._transaction is None
            and not (limit and self.transactions >= limit)
        )

    def lost(self) -> None:
        """The connection is gone."""
        self._break(replies.CONNECTION_LOST.saying(server=self.server, when=self._when()))

    def timed_out(self) -> None:
        """The server was silent, or took nothing, for longer than it may (RFC 5321 §4.5.3.2)."""
        self._break(replies.SERVER_TIMED_OUT.saying(server=self.server, when=self._when()))

    # --- steps outside a transaction --------------------------------------------------------------------------

    def hello(self) -> None:
        """Say EHLO, and HELO to a server that does not know it (RFC 5321 §3.2); in LMTP say LHLO (RFC 2033 §4.1).
        Ends with `Answered`."""
        step = Step.LHLO if self.settings.lmtp else Step.EHLO
        self._say(step, f"{step.name} {self.settings.hostname}\r\n".encode())

    def starttls(self) -> None:
        """Ends with `Answered`; after 220 go over to TLS, then call `secured` (RFC 3207)."""
        self._say(Step.STARTTLS, b"STARTTLS\r\n")

    def secured(self) -> None:
        """TLS stands. What was offered before is forgotten (RFC 3207 §4.2): `hello` comes next, if it came before."""
        self.secure = True
        self._securing = False
        self.offered = NOTHING_OFFERED

    @property
    def sign_in_mechanism(self) -> str:
        """The mechanism `sign_in` will use; empty where none fits."""
        return sasl_client.password_mechanism(self._usable(), self.end_point)

    def _usable(self) -> tuple[str, ...]:
        return tuple(name for name in self.offered.auth if self.only_mechanism in ("", name))

    @property
    def token_mechanism(self) -> str:
        """The mechanism `sign_in_by_token` will use; empty where none fits."""
        return sasl_client.token_mechanism(self.offered.auth)

    def sign_in(self, username: str, password: str) -> None:
        """Sign in (RFC 4954) with a password; the tap knows only that it was tried. Ends with `Answered`."""
        # Whoever says that it can bind and does not is taken for somebody whom a forger has kept from it.
        bound = self.end_point if self.only_mechanism in ("", "SCRAM-SHA-256-PLUS") else b""
        self._begin_auth(sasl_client.by_password(self._usable(), username, password, bound))

    def sign_in_by_token(self, username: str, token: str) -> None:
        """The same with an access token (RFC 7628)."""
        self._begin_auth(sasl_client.by_token(self.offered.auth, username, token))

    def _begin_auth(self, exchange: sasl_client.Exchange) -> None:
        attempt = self._attempt = sasl_client.Attempt(exchange)
        self._chat.mask = attempt.public
        self._say(Step.AUTH, *attempt.command())

    def quit(self) -> None:
        """Say QUIT. Ends with `Answered`."""
        self._say(Step.QUIT, b"QUIT\r\n")

    # --- a transaction ----------------------------------------------------------------------------------------

    def send(self, envelope: Envelope, *, eight_bit: bool, until: Step | None = None) -> None:
        """Begin a transaction for as many of the envelope's recipients as fit into one. Ends with `Finished`.

        `eight_bit`: the content has octets over 127. `envelope.declared_size` is the content's size. What this server
        cannot take is refused here, before MAIL. `until` MAIL or RCPT: only ask, and end the transaction there.
        """
        assert self.usable
        transaction, lines = begin(envelope, eight_bit, self.offered, self.settings, self._limit(), self.server, until)
        if not transaction.sent:
            self._events.append(Finished(transaction.outcomes))
            return
        if self._dirty:
            lines.insert(0, (Step.RSET, b"RSET\r\n"))
        self.transactions += 1
        self._transaction = transaction
        self._say_script(transaction, lines)

    def body(self, data: bytes, *, last: bool) -> None:
        """Content, in pieces of any size; `last` with the last of them, which may be empty. After each piece look at
        `wants_body`: where it is false, wait for `BodyWanted`, or for the end, which may come early."""
        transaction = self._transaction
        if transaction is None or not transaction.body_open:
            return
        if transaction.chunked:
            self._say_chunk(transaction, data, last)
            return
        if self._reader.within_reply and not self._awaited:
            return  # it spoke already: `next_event` will say what
        self._chat.pour(transaction.writer.feed(data))
        if last:
            self._chat.pour(transaction.writer.end())
            transaction.whole = True
            transaction.body_open = False
            # RFC 2033 §4.2: in LMTP a reply for each recipient that was accepted, in their order.
            self._awaited.extend([Step.DOT] * (len(transaction.accepted) if transaction.lmtp else 1))

    def _say_chunk(self, transaction: Transaction, data: bytes, last: bool) -> None:
        """One BDAT (RFC 3030 §2). Without PIPELINING the next waits for this one's reply."""
        if not data and not last:
            return
        if not self._say(Step.CHUNK, f"BDAT {len(data)}{' LAST' if last else ''}\r\n".encode()):
            return
        self._chat.pour(data)
        transaction.chunks += 1
        transaction.whole = last
        transaction.body_open = not last and self._pipelined

    @property
    def _pipelined(self) -> bool:
        return self.settings.pipelining and self.offered.pipelining

    def _limit(self) -> int:
        """How many recipients one transaction takes: ours, the server's by LIMITS, and what it has shown."""
        return min(limit for limit in (self.settings.recipients, self.offered.rcpt_max, self._fits) if limit)

    def _say_script(self, transaction: Transaction, lines: list[tuple[Step, bytes]]) -> None:
        """The whole group in one write where the server pipelines (RFC 2920 §3.1), else its first command."""
        group = b"".join([line for _, line in lines])
        if group.count(b"\n") != len(lines) or group.count(b"\r") != len(lines):
            raise ValueError("an address with a line end in it")
        if not self._pipelined:
            transaction.script.extend(lines)
            self._proceed(transaction)
        elif self._say(lines[0][0], group):
            self._awaited.extend([step for step, _ in lines[1:]])

    def _proceed(self, transaction: Transaction) -> None:
        """The next move, once every reply that was asked for is here."""
        if self._awaited or transaction.body_open:
            return
        script = transaction.script
        if script and (script[0][0] is not Step.DATA or transaction.accepted):
            self._say(*script.popleft())
        elif transaction.content_due:
            transaction.body_open = True
            self._events.append(_BODY_WANTED)
        elif transaction.asked:
            self._say(Step.LONE_DOT, b".\r\n")  # RFC 2920 §3.1: it waits for a message to nobody
        else:
            self._finish(transaction)

    def _finish(self, transaction: Transaction) -> None:
        self._transaction = None
        self._dirty = transaction.mail_taken and not transaction.over
        self._fits = transaction.fits or self._fits
        self._events.append(Finished(transaction.outcomes, not transaction.answered))

    # --- replies outside a transaction; those within are the transaction's to understand ------------------------

    def _heard_plain(self, step: Step, reply: Reply) -> None:
        self._events.append(Answered(step, reply))

    def _heard_ehlo(self, step: Step, reply: Reply) -> None:
        if reply.permanent and step is Step.EHLO:
            self._say(Step.HELO, f"HELO {self.settings.hostname}\r\n".encode())
            return
        if reply.positive:
            self.offered = read_capabilities(reply)
        self._events.append(Answered(step, reply))

    def _heard_starttls(self, step: Step, reply: Reply) -> None:
        if reply.code == 220:
            self._securing = True
            if self._chat.unread:
                self._break(self._nonsense("bytes behind its reply to STARTTLS"))  # DESIGN law 6
                return
        self._events.append(Answered(step, reply))

    def _heard_auth(self, step: Step, reply: Reply) -> None:
        attempt = self._attempt
        assert attempt is not None
        if reply.code == 334 and (line := attempt.answer(reply.text)) is not None:
            self._say(Step.AUTH, *line)
        elif reply.code == 334 or (reply.positive and attempt.doubt):
            self._break(replies.SERVER_UNPROVED.saying(server=self.server, fault=attempt.doubt))
        else:
            self._forget_secrets()
            self._events.append(Answered(step, reply))

    def _forget_secrets(self) -> None:
        self._attempt = self._chat.mask = None

    def _unasked(self, reply: Reply) -> None:
        """A reply while none is owed."""
        transaction = self._transaction
        if transaction is not None and transaction.body_open and not reply.positive:
            # It will not hear the message out. Nothing was ended, so nothing can have arrived.
            transaction.decide(transaction.accepted, reply)
            self._break(reply, said=True)
        elif reply.code == 421:
            self._break(reply, said=True)
        else:
            self._break(self._nonsense(f"{reply.code} when nothing was asked"))

    # --- endings ----------------------------------------------------------------------------------------------

    def _break(self, reply: Reply, said: bool = False) -> None:
        """Nothing more can be said or heard. What is undecided is deferred, in doubt once the end was sent."""
        if self.broken is not None:
            return
        self.broken = reply
        self.broken_at = self.awaited
        self.broken_by_server = said
        transaction = self._transaction
        if transaction is not None:
            transaction.abandon(reply, said)
            self._finish(transaction)
        self._awaited.clear()
        self._forget_secrets()
        self._events.append(Broken(reply, said))

    def _say(self, step: Step, text: bytes, public: bytes | None = None) -> bool:
        """Say one command, or a group that begins with `step`. False where the server spoke out of turn: a reply that
        came before its question would be taken for the answer."""
        if self.broken is not None:
            return False
        if not self._awaited and self._reader.within_reply:
            self._break(self._nonsense("a reply before it was asked"))
            return False
        self._chat.say(text, public)
        self._awaited.append(step)
        return True

    def _when(self) -> str:
        step = self.awaited
        return step.value if step is not None else "between messages"

    def _nonsense(self, fault: str) -> Reply:
        return replies.SERVER_TALKS_NONSENSE.saying(server=self.server, fault=fault)


def _within(meaning: Callable[[Transaction, Reply], str]) -> Callable[[SmtpClient, Step, Reply], None]:
    """A step of a transaction: the transaction says what the reply means, the client what comes next."""

    def heard(client: SmtpClient, step: Step, reply: Reply) -> None:
        transaction = client._transaction
        assert transaction is not None
        fault = meaning(transaction, reply)
        if fault:
            client._break(client._nonsense(fault))
        else:
            client._proceed(transaction)

    return heard


_HEARD: dict[Step, Callable[[SmtpClient, Step, Reply], None]] = {
    Step.GREETING: SmtpClient._heard_plain,
    Step.EHLO: SmtpClient._heard_ehlo,
    Step.HELO: SmtpClient._heard_plain,
    Step.LHLO: SmtpClient._heard_ehlo,
    Step.STARTTLS: SmtpClient._heard_starttls,
    Step.AUTH: SmtpClient._heard_auth,
    Step.RSET: _within(Transaction.heard_rset),
    Step.MAIL: _within(Transaction.heard_mail),
    Step.RCPT: _within(Transaction.heard_rcpt),
    Step.DATA: _within(Transaction.heard_data),
    Step.CHUNK: _within(Transaction.heard_chunk),
    Step.DOT: _within(Transaction.heard_dot),
    Step.LONE_DOT: _within(Transaction.heard_dot),
    Step.QUIT: SmtpClient._heard_plain,
}
