"""The server's half of an SMTP conversation, without sockets: bytes in, events and bytes out.

    core.receive(data)
    while (event := core.next_event()) is not None:
        ...                                  # an event that asks is followed by core.answer(reply)
    send(core.take_output())

Lives here: the order of commands, what a positive answer leads to, cutting the body out of the stream.
Does not live here: what each verb says (smtp_verbs.py), signing in (smtp_sign_in.py), who may send what to whom
(inbound/policy.py), storing (inbound/session.py), sockets and clocks.

While an answer is owed no further line is parsed, so the replies to a pipelined group come in order and leave in one
write (RFC 2920 §3.2). Which verb may come when is in smtp_table.py, and only there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from glasspost.mail import reply as say
from glasspost.mail.envelope import BodyType, Envelope
from glasspost.mail.reply import Reply
from glasspost.protocol import sasl
from glasspost.protocol.chat import Chat, LineFault, Tap
from glasspost.protocol.smtp_content import ContentReader
from glasspost.protocol.smtp_events import (
    Body,
    BodyEnded,
    Data,
    Event,
    Forgotten,
    Hello,
    Mail,
    Rcpt,
    SignIn,
    StartTls,
)
from glasspost.protocol.smtp_incoming import Incoming, Mark
from glasspost.protocol.smtp_leniency import Leniency
from glasspost.protocol.smtp_offer import OPTIONAL, ServerSettings, keywords
from glasspost.protocol.smtp_secrets import MASK, public_line
from glasspost.protocol.smtp_sign_in import Introduction
from glasspost.protocol.smtp_table import TABLE, State, advice, nearest, needs_only_a_hello
from glasspost.protocol.smtp_verbs import HEAR

NOBODY: Mapping[int, Reply] = {}


def _unheard(text: str) -> None:
    """Notes of a conversation that nobody records."""


class SmtpServer:
    """One conversation. `tag` is the conversation's id: it ends every refusal. `note` is told of each repair."""

    def __init__(
        self,
        settings: ServerSettings,
        tap: Tap,
        tag: str,
        *,
        tls: bool = False,
        end_point: bytes = b"",
        note: Callable[[str], None] = _unheard,
    ) -> None:
        """`end_point`: with TLS, the hash of the certificate shown, to which a sign-in may be bound (RFC 5929 §4)."""
        limit = max(settings.line_limit, sasl.LINE_LIMIT) if settings.mechanisms else settings.line_limit
        self.chat = Chat(tap, limit, self._public, mends=Leniency.LINE_END in settings.lenient)
        self.settings = settings
        self.tag = tag
        self.tls = tls
        self.state = State.FRESH
        self.extended = False  # EHLO, not HELO, was said
        self.hello = ""  # what the client calls itself
        self.envelope: Envelope | None = None
        self.signed_in = False
        self.errors = 0  # the client's mistakes since its last message
        self.transactions = 0
        self.owed: Event | None = None  # what somebody above must answer before anything more is parsed
        self._refused_recipients = False
        self._upgrading = False
        self.introduction = Introduction(settings, end_point)
        self._incoming: Incoming | None = None
        self._flowing = False  # octets of a message come next, not a line
        self._note = note

    # --- feed and pull ----------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Say the 220."""
        self.chat.say(self.settings.greeting.encode())

    def receive(self, data: bytes) -> None:
        """Bytes have come. Any that come between the STARTTLS reply and TLS itself end the conversation."""
        if self._upgrading:
            self.state = State.CLOSED
        if self.state is not State.CLOSED:
            self.chat.receive(data)

    @property
    def in_message(self) -> bool:
        """Whether a message's octets are being waited for."""
        return self._flowing or self.state is State.CHUNKS

    @property
    def seems_ended(self) -> bool:
        """Whether the client seems to wait for an answer to a message that it ended with LF instead of CR LF."""
        return self._incoming is not None and self._incoming.seems_ended

    def take_output(self) -> bytes:
        return self.chat.take_output()

    def next_event(self) -> Event | None:
        """What the client wants next; None: give me more bytes (or an answer, while one is owed)."""
        while self.owed is None and self.state is not State.CLOSED and not self._upgrading:
            if self._flowing:
                event = self._take_content()
                if event is None and self._flowing:
                    return None
            else:
                line = self.chat.take_line()
                if line is None:
                    return None
                event = self._hear(line)
            if event is not None:
                return event
        return None

    def answer(self, reply: Reply, apart: Mapping[int, Reply] = NOBODY) -> None:
        """Answer the event that asked. What a positive answer leads to is in the table. `apart`, only in LMTP:
        recipients of a message, by their place in the envelope, that get another answer than the rest."""
        event, self.owed = self.owed, None
        assert event is not None, "no answer is owed"
        if isinstance(event, BodyEnded):
            self._answer_body(reply, apart)
            return
        if reply.code >= 400:
            if isinstance(event, SignIn):
                self._refuse_sign_in(event, reply)
                return
            if isinstance(event, Rcpt):
                self._refused_recipients = True
            self.refuse(reply, count=reply.code in (502, 503))
            return
        if isinstance(event, Rcpt):
            assert self.envelope is not None
            self.envelope.recipients.append(event.recipient)
        elif isinstance(event, Mail):
            self.envelope = event.envelope
            self._refused_recipients = False
        elif isinstance(event, Data):
            self._incoming = Incoming(self._content_reader(), dotted=True)
            self._flowing = True
        elif isinstance(event, Hello):
            self._begin_session(event, reply)
            return
        elif isinstance(event, SignIn):
            self.signed_in = True
            self.introduction.forget()
        elif isinstance(event, StartTls):
            self._upgrading = True
        then = TABLE[event.verb].then
        if then is not None:
            self.state = then
        self.chat.say(reply.encode())

    def sign_in_keys(self, keys: sasl.ScramKeys) -> None:
        """Answer a SignIn that asks for keys: the exchange goes on."""
        event, self.owed = self.owed, None
        assert isinstance(event, SignIn) and isinstance(event.question, sasl.WantsKeys), "no keys are wanted"
        self.go_on_signing_in(self.introduction.keys(keys))

    def secured(self, end_point: bytes = b"") -> None:
        """TLS stands. Everything learned in the clear is forgotten (RFC 3207 §4.2)."""
        assert self.state is not State.CLOSED, "octets came before TLS did"
        self._upgrading = False
        self.tls = True
        self.turn_to(self.settings, end_point)
        self.chat = Chat(self.chat.tap, self.chat.line_limit, self._public, mends=self.chat.mends)

    def turn_to(self, settings: ServerSettings, end_point: bytes) -> None:
        """Begin anew: with TLS, or with another client of a proxy's (XCLIENT), and what is offered to it."""
        self.settings = settings
        self.state = State.FRESH
        self.extended = self.signed_in = False
        self.hello = ""
        self.introduction = Introduction(settings, end_point)
        self._forget()

    def close(self, reply: Reply) -> None:
        """Say a last reply and hear nothing more: time-outs, shutdown, too many errors."""
        self.refuse(reply, count=False)
        self.state = State.CLOSED

    # --- commands ---------------------------------------------------------------------------------------------

    def _hear(self, line: bytes | LineFault) -> Event | None:
        """One line of the client's: look the verb up, check its place, then its argument."""
        if isinstance(line, LineFault):
            if self.state is State.SIGNING_IN:
                self.introduction.call_off()
                self.state = State.READY
            long = line is LineFault.TOO_LONG
            return self.refuse(say.LINE_TOO_LONG.saying(limit=self.settings.line_limit) if long else say.BARE_NEWLINE)
        if self.chat.mended:
            self.chat.mended = False
            self.repaired(Leniency.LINE_END, "the line did not end with CR LF")
        if self.state is State.SIGNING_IN:
            self.state = State.READY
            return self.go_on_signing_in(self.introduction.response(line))
        if len(line) > self.settings.line_limit - 2 and line[:5].upper() != b"AUTH ":  # without its CRLF here
            return self.refuse(say.LINE_TOO_LONG.saying(limit=self.settings.line_limit))
        try:
            text = line.decode()
        except UnicodeDecodeError:
            if not (self.forgives(Leniency.HELLO_NAME) and line[:5].upper() in (b"EHLO ", b"HELO ")):
                return self.refuse(say.NOT_TEXT)
            text = line.decode(errors="replace")
        word, _, argument = text.partition(" ")
        verb = word.upper()
        row = TABLE.get(verb)
        if row is None or not word.isascii():  # not every letter whose capital is an S is one
            return self.unknown(word)
        if verb in OPTIONAL and not self.offers(verb):
            return self._not_here(verb)
        argument = argument.rstrip(" \t")
        if self.state not in row.states and verb != "BDAT":
            if not (needs_only_a_hello(verb, self.state) and self.forgives(Leniency.NO_HELLO)):
                return self._out_of_order(verb)
            self.repaired(Leniency.NO_HELLO, f"{verb} without HELO or EHLO")
            self.state = State.READY
        event = HEAR[verb](self, argument)
        if event is not None and event.asks:
            self.owed = event
        return event

    def offers(self, verb: str) -> bool:
        """Whether a verb of the table is offered in this conversation as it stands."""
        return self.settings.offers(verb, tls=self.tls)

    def _not_here(self, verb: str) -> Event | None:
        """A verb of the table that this listener does not offer."""
        if verb == "LHLO":
            return self.unknown(verb)
        if verb == "XCLIENT":
            return self.refuse(say.XCLIENT_REFUSED)
        return self.refuse(say.LHLO_INSTEAD if verb in ("EHLO", "HELO") else say.NOT_OFFERED.saying(verb=verb))

    def forgives(self, leniency: Leniency) -> bool:
        """Whether this listener forgives this."""
        return leniency in self.settings.lenient

    def repaired(self, leniency: Leniency, words: str) -> None:
        """A leniency was used: that goes on record."""
        self._note(f"repaired: {leniency}: {words}")

    def unknown(self, word: str) -> Event | None:
        near = nearest([verb for verb in TABLE if self.offers(verb)], word)
        hint = f"; did you mean {near}?" if near else "; HELP lists the commands"
        return self.refuse(say.UNKNOWN_COMMAND.saying(hint=hint))

    def _out_of_order(self, verb: str) -> Event | None:
        lmtp = self.settings.lmtp  # it has 503 also where recipients were refused (RFC 2033 §4.2)
        if verb in ("DATA", "BDAT") and self.state is State.SENDER and self._refused_recipients and not lmtp:
            return self.refuse(say.NO_VALID_RECIPIENTS, count=False)
        return self.refuse(say.BAD_SEQUENCE.saying(advice=advice(verb, self.state, lmtp=lmtp)))

    def go_on_signing_in(self, step: Reply | sasl.Step) -> Event | None:
        if isinstance(step, Reply):
            return self.refuse(step)
        if isinstance(step, sasl.Challenge):
            self.state = State.SIGNING_IN
            public = say.AUTH_CHALLENGE.saying(challenge=MASK.decode()).encode() if step.secret else None
            self.chat.say(say.AUTH_CHALLENGE.saying(challenge=step.text).encode(), public)
            return None
        self.owed = SignIn(step)
        return self.owed

    def _refuse_sign_in(self, event: SignIn, reply: Reply) -> None:
        """No. A 421 ends the conversation; whoever came with a token is first told what is wrong with it."""
        if reply.code == 421:
            self.close(reply)
        else:
            self.go_on_signing_in(self.introduction.refused(event.question, reply))

    # --- the body ---------------------------------------------------------------------------------------------

    def begin_chunk(self, octets: int, *, last: bool) -> None:
        """BDAT: so many octets come next. Out of turn they are read all the same, and refused behind the last."""
        if self.state is State.RECIPIENTS:
            self._incoming = Incoming(self._content_reader())
            self.state = State.CHUNKS
        elif self.state is not State.CHUNKS:
            self._incoming = Incoming(None)
        assert self._incoming is not None
        self._incoming.begin_chunk(octets, last=last)
        self._flowing = True

    def _content_reader(self) -> ContentReader:
        assert self.envelope is not None
        binary = self.envelope.body is BodyType.BINARY
        repair = self.settings.repair_newlines or self.forgives(Leniency.BODY_LINE_END)
        return ContentReader(self.settings.max_size, repair=repair, binary=binary)

    def _take_content(self) -> Event | None:
        """A piece of the message, or what its end asks for."""
        incoming = self._incoming
        assert incoming is not None
        found = incoming.take(self.chat)
        if isinstance(found, bytes):
            return Body(found)
        if found is None:
            return None
        self._flowing = False
        match found:
            case Mark.CHUNK:
                self.chat.say(say.CHUNK_OK.saying(octets=incoming.chunk).encode())
                return None
            case Mark.UNWANTED:
                return self._out_of_order("BDAT")
        if incoming.repaired:
            self.repaired(Leniency.BODY_LINE_END, f"{incoming.repaired} times CR or LF alone made CR LF")
        if incoming.flaw is not None:
            for place in range(self._verdicts):
                self.refuse(incoming.flaw, count=place == 0)
            return self.abandon()
        self.owed = BodyEnded(incoming.octets, incoming.verb)
        return self.owed

    @property
    def _verdicts(self) -> int:
        """How many replies a message asks for: one, in LMTP one for each recipient (RFC 2033 §4.2)."""
        return len(self.envelope.recipients) if self.settings.lmtp and self.envelope is not None else 1

    def _answer_body(self, reply: Reply, apart: Mapping[int, Reply]) -> None:
        verdicts = self._verdicts
        self.state = State.READY
        self._forget()
        if reply.code < 400:
            self.transactions += 1
            self.errors = 0
        for place in range(verdicts):
            one = apart.get(place, reply)
            if one.code < 400:
                self.chat.say(one.encode())
            else:
                self.refuse(one, count=False)

    # --- state ------------------------------------------------------------------------------------------------

    def _begin_session(self, event: Hello, reply: Reply) -> None:
        """EHLO or HELO was accepted: list what is offered; a transaction under way is over (RFC 5321 §4.1.4)."""
        self._forget()
        self.state = State.READY
        self.hello = event.name
        self.extended = event.verb != "HELO"
        if self.extended:
            offered = keywords(self.settings, tls=self.tls, mechanisms=self.introduction.mechanisms)
            reply = Reply(reply.code, "", f"{reply.text}\n{offered}")
        self.chat.say(reply.encode())

    def abandon(self) -> Event | None:
        """Leave the transaction, and tell the session if there was one."""
        had_one = self.envelope is not None
        if self.state not in (State.FRESH, State.CLOSED):
            self.state = State.READY
        self._forget()
        return Forgotten() if had_one else None

    def _forget(self) -> None:
        self.envelope = None
        self._refused_recipients = False
        self._incoming = None
        self._flowing = False

    def refuse(self, reply: Reply, *, count: bool = True) -> Event | None:
        """A refusal, with the conversation's id: no event. The client's own mistakes are counted against it, and the
        last that it may make ends the conversation, whatever came in the same segment. So does every 421."""
        self.chat.say(reply.tagged(self.tag).encode())
        if reply.code == 421:
            self.state = State.CLOSED
        elif count:
            self.errors += 1
            if self.errors >= self.settings.max_errors:
                self.close(say.TOO_MANY_ERRORS)
        return None

    def _public(self, line: bytes) -> bytes:
        signing_in, may_follow = self.state is State.SIGNING_IN, self.introduction.secret_may_follow
        return public_line(line, signing_in=signing_in, secret_may_follow=may_follow)
