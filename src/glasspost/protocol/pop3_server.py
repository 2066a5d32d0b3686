"""The POP3 server's conversation, without sockets, clock or storage.

Lives here: reading commands, keeping to the table (pop3_table.py), answering, and what must stay secret.
Does not live here: who may sign in, the maildrop's lock and content (retrieval/pop3.py), numbers, marks and listings
(pop3_listing.py), dots and TOP (pop3_content.py), the texts (mail/pop3_reply.py).

Feed and pull: `receive(data)`, then `next_event()` until it gives None, then `take_output()`. While `unfinished` is
true there is more to say without any more input: pull again as soon as the reader takes it. What only the house
can answer comes out as an event, and the house owes an answer to it; until then no further line is parsed, so that
a pipelined group is answered in order (RFC 2449 §6.6):

    SignIn   -> opened(deposits) | refuse_sign_in() | answer(reply) | sign_in_keys(keys)
    StartTls -> answer(reply), and after a positive one secured()
    Fetch    -> send_piece(data) as long as it says true, then end_message(); or fail_message(reply)
    Update   -> answer(reply), which ends the conversation
    any      -> give_up(), where something broke that nobody foresaw
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from glasspost.mail import pop3_reply as replies
from glasspost.mail.pop3_reply import Pop3Reply
from glasspost.protocol import sasl
from glasspost.protocol.chat import Chat, LineFault, Tap
from glasspost.protocol.pop3_content import Outgoing
from glasspost.protocol.pop3_events import Event, Fetch, Pop3Settings, SignIn, StartTls, Update
from glasspost.protocol.pop3_listing import Deposit, Listing
from glasspost.protocol.pop3_secrets import MASK, public_form
from glasspost.protocol.pop3_sign_in import Introduction
from glasspost.protocol.pop3_table import VERBS, State, nearest_verb

LINE_LIMIT = 2048  # octets with CRLF; RFC 2449 §4 demands 255. Answers to a challenge may be longer (sasl.py)
_OUTPUT_LIMIT = 32 * 1024  # octets said before somebody must take them
_SHOWN_LINES = 100  # of a longer listing the transcript keeps the number of lines

_NUMBER = re.compile(r"[0-9]{1,10}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Done = Event | Pop3Reply | None  # what came of a line: a question to the house, a reply to say, or all is said


class Pop3Server:
    """One conversation. `state` and `finished` may be read by anyone; after `finished` nothing more is heard."""

    __slots__ = (
        "_errors", "_failed_sign_ins", "_introduction", "_listing", "_outgoing", "_owed", "_said", "_slices",
        "_stls", "chat", "commands", "conversation", "finished", "settings", "state", "unfinished", "utf8",
    )  # fmt: skip

    def __init__(
        self,
        settings: Pop3Settings,
        tap: Tap,
        *,
        stls: bool = False,
        secured: bool = False,
        from_loopback: bool = False,
        conversation: str = "",
        end_point: bytes = b"",
    ) -> None:
        """`stls`: TLS can be offered. `secured`: it stands already. `conversation`: the id that refusals end with.
        `end_point`: with TLS, the hash of the certificate shown, to which a sign-in may be bound (RFC 5929 §4)."""
        self.settings = settings
        self.conversation = conversation
        self.state = State.AUTHORIZATION
        self.finished = False
        self.utf8 = False
        self.unfinished = False  # more can be said without any more input: a listing goes on, or too much was said
        self.commands = 0  # lines obeyed or refused so far: what moves the idle deadline
        self.chat = Chat(tap, LINE_LIMIT, self._public)
        self._stls = stls
        self._introduction = Introduction(settings, secured=secured, from_loopback=from_loopback, end_point=end_point)
        self._owed: Event | None = None
        self._outgoing: Outgoing | None = None
        self._slices: Iterator[bytes] | None = None
        self._listing = Listing(())
        self._said = 0
        self._errors = 0
        self._failed_sign_ins = 0
        self._answer(replies.GREETING.saying(hostname=settings.hostname))

    # --- feed and pull ------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes have come."""
        if not self.finished:
            self.chat.receive(data)

    @property
    def unread(self) -> int:
        """Octets that have come and are not obeyed yet: where they grow many, stop reading."""
        return self.chat.unread

    def next_event(self) -> Event | None:
        """Obey what has come, up to the next command that the house must answer. None while an answer is owed."""
        self.unfinished = False
        while not (self.finished or self._owed or self._slices or self._said >= _OUTPUT_LIMIT):
            line = self.chat.take_line()
            if line is None:
                break
            self.commands += 1
            self._owed = self._obey(line)
            if self._owed is not None:
                return self._owed
        else:
            self.unfinished = self._owed is None and not self.finished
        return None

    def take_output(self) -> bytes:
        """What is to be sent now; of a long listing, the next slice."""
        if self._slices is not None:
            piece = next(self._slices, None)
            self.chat.pour(b".\r\n" if piece is None else piece)
            if piece is None:
                self._slices = None
        self._said = 0
        return self.chat.take_output()

    # --- the house's answers ------------------------------------------------------------------------------------

    def answer(self, reply: Pop3Reply) -> None:
        """Answer SignIn (refusing), StartTls, or Update."""
        owed = self._settle(SignIn, StartTls, Update)
        if isinstance(owed, SignIn):
            reply_or_complaint = self._introduction.refused(owed.question, reply)
            if isinstance(reply_or_complaint, sasl.Challenge):
                self._challenge_or(reply_or_complaint)
                return
        self._answer(reply)
        if isinstance(owed, StartTls) and reply.positive:
            self._owed = owed  # until TLS stands, no line is parsed
        if isinstance(owed, Update):
            self.state = State.UPDATE
            self.finished = True

    def opened(self, deposits: Sequence[Deposit]) -> None:
        """They are who they say, and the maildrop is locked for them: TRANSACTION state."""
        self._settle(SignIn)
        self._listing = Listing(deposits)
        self._introduction.forget()
        self.state = State.TRANSACTION
        self._answer(replies.OPEN.saying(count=self._listing.count))

    def refuse_sign_in(self) -> None:
        """Name or password is wrong. Says the same whichever it was; after some of them, closes."""
        self._failed_sign_ins += 1
        if self._failed_sign_ins >= self.settings.max_failed_sign_ins:
            self.send_away(replies.SIGN_IN_FAILED)
        else:
            self.answer(replies.SIGN_IN_FAILED)

    def sign_in_keys(self, keys: sasl.ScramKeys) -> None:
        """Answer a SignIn that asks for keys: the exchange goes on."""
        self._settle(SignIn)
        step = self._challenge_or(self._introduction.keys(keys))
        if isinstance(step, Pop3Reply):
            self._answer(step)

    def send_away(self, reply: Pop3Reply) -> None:
        """Answer SignIn, and end the conversation: no exchange goes on behind that."""
        self._settle(SignIn)
        self._answer(reply)
        self.finished = True

    def secured(self, end_point: bytes = b"") -> bool:
        """TLS stands. All that was learnt in the clear is forgotten. False where cleartext was left: hang up."""
        self._settle(StartTls)
        if self.chat.unread:
            self.finished = True
            return False
        self._introduction = self._introduction.over_tls(end_point)
        return True

    def send_piece(self, data: bytes) -> bool:
        """The next piece of a fetched message. False once no more of it is wanted: then end_message()."""
        return self._pass_on(lambda outgoing: outgoing.feed(data)).wants_more

    def end_message(self) -> int | None:
        """The fetched message is over. Returns how many octets of its content were sent; None where it was refused."""
        outgoing = self._pass_on(Outgoing.end)
        self._settle(Fetch)
        self._outgoing = None
        return None if outgoing.refused else outgoing.octets

    def fail_message(self, reply: Pop3Reply) -> None:
        """The content cannot be read. Once +OK has been said, only an abrupt end tells that: `finished`, and no dot."""
        outgoing, self._outgoing = self._outgoing, None
        self._settle(Fetch)
        if outgoing is not None and outgoing.judged:
            self.finished = True
        else:
            self._answer(reply)

    def give_up(self) -> None:
        """The house is out of order and cannot give the answer it owes: say so where that is possible, and end."""
        midway = self._outgoing is not None and self._outgoing.judged
        if self._owed is not None and not midway:
            self._answer(replies.OUT_OF_ORDER)
        self._owed = None
        self.finished = True

    def _pass_on(self, step: Callable[[Outgoing], bytes]) -> Outgoing:
        """Send what `step` makes; in front of it goes the reply, as soon as it is known which."""
        fetch, outgoing = self._owed, self._outgoing
        assert isinstance(fetch, Fetch) and outgoing is not None
        silent = not outgoing.judged
        octets = step(outgoing)
        if silent and outgoing.judged:
            done = replies.TOP_FOLLOWS if fetch.lines is not None else replies.MESSAGE_FOLLOWS
            self._answer(replies.NEEDS_UTF8 if outgoing.refused else done.saying(octets=fetch.deposit.octets))
        self.chat.pour(octets)
        return outgoing

    def _settle(self, *kinds: type) -> Event:
        """Take back what was owed. An answer nobody asked for is a bug of the house, not of the client."""
        owed = self._owed
        if owed is None or not isinstance(owed, kinds):
            raise RuntimeError(f"an answer to {kinds} was given, but {owed!r} was asked")
        self._owed = None
        return owed

    # --- saying -------------------------------------------------------------------------------------------------

    def _answer(self, reply: Pop3Reply) -> None:
        if not reply.positive and self.conversation:
            reply = reply.tagged(self.conversation)
        self._say(reply.encode())

    def _say(self, text: bytes, public: bytes | None = None) -> None:
        self._said += len(text)
        self.chat.say(text, public)

    # --- hearing ------------------------------------------------------------------------------------------------

    def _public(self, line: bytes) -> bytes:
        """The form of a line that the tap may hear."""
        known = self._introduction
        return public_form(line, response=known.expecting, loose=known.secret_may_follow)

    def _obey(self, line: bytes | LineFault) -> Event | None:
        """One line. Returns what the house must answer; says at once what it need not be asked about.

        Refusals count until somebody is signed in: strangers who never get anything right are not to stay."""
        got = self._act(line)
        if not isinstance(got, Pop3Reply):
            return got
        if not got.positive and self.state is State.AUTHORIZATION:
            self._errors += 1
            if self._errors > self.settings.max_errors:
                got = replies.TOO_MANY_ERRORS
                self.finished = True
        self._answer(got)
        return None

    def _act(self, line: bytes | LineFault) -> Done:
        """Check a line against the table, then do what it says."""
        self.chat.line_limit = LINE_LIMIT
        in_exchange = self._introduction.expecting
        if isinstance(line, LineFault):
            self._introduction.call_off()
            too_long = replies.LINE_TOO_LONG.saying(limit=sasl.LINE_LIMIT if in_exchange else LINE_LIMIT)
            return too_long if line is LineFault.TOO_LONG else replies.BARE_NEWLINE
        try:
            text = line.decode()
        except UnicodeDecodeError:  # RFC 6856 §2.2: such names and passwords must be refused
            text = "\0"
        if _CONTROL.search(text):
            self._introduction.call_off()
            return replies.NOT_TEXT
        if in_exchange:
            return self._challenge_or(self._introduction.response(text))
        word, _, argument = text.partition(" ")
        row = VERBS.get(word.upper())
        if row is None:
            nearest = nearest_verb(word)
            return replies.UNKNOWN_COMMAND.saying(hint=f"; did you mean {nearest}?" if nearest else "")
        if self.state not in row.states:
            before = self.state is State.AUTHORIZATION
            return replies.NOT_SIGNED_IN if before else replies.ALREADY_SIGNED_IN.saying(verb=row.name)
        words = [argument] * bool(argument) if row.whole else [part for part in argument.split(" ") if part]
        if not row.least <= len(words) <= row.most:
            return replies.SYNTAX.saying(syntax=row.syntax)
        return _ACTIONS[row.name](self, *words)

    # --- before signing in --------------------------------------------------------------------------------------

    def _capa(self) -> Done:
        """RFC 2449 §5: what may be said in AUTHORIZATION is announced in both states. STLS is announced only where
        it is permitted (RFC 2595 §4)."""
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8 USER", "EXPIRE NEVER"]
        mechanisms = self._introduction.mechanisms
        if mechanisms:
            lines += ["USER", "SASL " + " ".join(mechanisms)]
        if self._stls and not self._introduction.secured and self.state is State.AUTHORIZATION:
            lines.append("STLS")
        return self._list(replies.CAPABILITIES, [*lines, "IMPLEMENTATION glasspost"])

    def _stls_asked(self) -> Done:
        if self._introduction.secured:
            return replies.TLS_ALREADY
        if not self._stls:
            return replies.TLS_NOT_OFFERED
        if self.utf8:  # RFC 6856 §2.1
            return replies.TLS_AFTER_UTF8
        if self.chat.unread:
            self.finished = True
            return replies.TLS_INJECTED
        return StartTls()

    def _utf8_asked(self) -> Done:
        self.utf8 = True
        return replies.UTF8_ON

    def _auth(self, mechanism: str = "", initial: str | None = None) -> Done:
        """Alone it lists the mechanisms: clients of old ask so what CAPA says today."""
        if not mechanism:
            return self._list(replies.MECHANISMS, self._introduction.mechanisms)
        return self._challenge_or(self._introduction.auth(mechanism, initial))

    def _challenge_or(self, step: Pop3Reply | sasl.Step) -> Done:
        if isinstance(step, Pop3Reply):
            return step
        if not isinstance(step, sasl.Challenge):
            return SignIn(step)
        self.chat.line_limit = sasl.LINE_LIMIT
        self._say(f"+ {step.text}\r\n".encode(), b"+ " + MASK + b"\r\n" if step.secret else None)
        return None

    # --- in the maildrop ----------------------------------------------------------------------------------------

    def _list_asked(self, word: str = "") -> Done:
        return self._listing.scan_listing(word) if word else self._stream(self._listing.scan_lines())

    def _uidl(self, word: str = "") -> Done:
        return self._listing.unique_id_listing(word) if word else self._stream(self._listing.unique_id_lines())

    def _retr(self, word: str) -> Done:
        return self._fetch(word, None)

    def _top(self, word: str, lines: str) -> Done:
        if not _NUMBER.fullmatch(lines):
            return replies.SYNTAX.saying(syntax=VERBS["TOP"].syntax)
        return self._fetch(word, int(lines))

    def _fetch(self, word: str, lines: int | None) -> Done:
        found = self._listing.look_up(word)
        if isinstance(found, Pop3Reply):
            return found
        fetch = Fetch(*found, lines)
        self._outgoing = Outgoing(lines, judge=not self.utf8 and self.settings.headers_in_utf8 == "refuse")
        return fetch

    def _quit(self) -> Done:
        """From TRANSACTION the house is asked even where nothing is marked: the lock must be free before they hear
        goodbye, or their next session finds the maildrop in use."""
        if self.state is State.TRANSACTION:
            return Update(self._listing.marked, self._listing.count)
        self.finished = True
        return replies.BYE

    # --- answers of many lines ----------------------------------------------------------------------------------

    def _list(self, reply: Pop3Reply, lines: Sequence[str]) -> Done:
        """A short answer of many lines, none of which begins with a dot."""
        self._answer(reply)
        self._say("".join(f"{line}\r\n" for line in (*lines, ".")).encode())
        return None

    def _stream(self, slices: Iterator[bytes]) -> Done:
        """A listing, as fast as it is taken. A long one does not go on record line by line."""
        count = self._listing.count
        self._answer(replies.LISTING_FOLLOWS.saying(count=count))
        if count <= _SHOWN_LINES:
            self._say(b"".join(slices) + b".\r\n")
        else:
            self._say(b"", b"[%d lines]\r\n.\r\n" % count)
            self._slices = slices
        return None


_ACTIONS: dict[str, Callable[..., Done]] = {
    "CAPA": Pop3Server._capa,
    "STLS": Pop3Server._stls_asked,
    "UTF8": Pop3Server._utf8_asked,
    "USER": lambda core, name: core._introduction.user(name),
    "PASS": lambda core, password: core._challenge_or(core._introduction.password(password)),
    "AUTH": Pop3Server._auth,
    "STAT": lambda core: core._listing.drop_listing(),
    "LIST": Pop3Server._list_asked,
    "UIDL": Pop3Server._uidl,
    "RETR": Pop3Server._retr,
    "TOP": Pop3Server._top,
    "DELE": lambda core, word: core._listing.mark(word),
    "RSET": lambda core: core._listing.unmark_all(),
    "NOOP": lambda core: replies.NOTHING_DONE,
    "QUIT": Pop3Server._quit,
}
