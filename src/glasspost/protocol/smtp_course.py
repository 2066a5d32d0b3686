"""Where an SMTP conversation stands, seen from the client's side by somebody who leads it by hand.

Lives here: the state that the server must be in after each command and answer, what may be said now, and what is to be
said about a command that will hardly be liked.
Does not live here: the table of verbs and states, which is the server's own (smtp_table.py), and a person's lines on
their way (by_hand.py).
"""

from __future__ import annotations

import re
from collections import deque

from glasspost.mail.reply import Reply, read_reply
from glasspost.protocol.answers import Answer
from glasspost.protocol.smtp_parameters import read_mail, read_rcpt
from glasspost.protocol.smtp_replies import NOTHING_OFFERED, Capabilities, read_capabilities
from glasspost.protocol.smtp_secrets import public_line
from glasspost.protocol.smtp_table import TABLE, Row, State, advice, nearest

_COMMAND_LIMIT = 512  # octets with CRLF, RFC 5321 §4.5.3.1.4
_CHUNK = re.compile(r"([0-9]{1,12})(?: +LAST)? *", re.IGNORECASE)  # RFC 3030 §2
_NO_COMMAND = ""  # what is owed an answer without being a command: the greeting, a sign-in's line, the end of a body
_END_OF_BODY = "."


class SmtpCourse:
    """The course of one conversation. `said` for each line sent, `answered` for each answer."""

    tls_verb = "STARTTLS"
    pop3 = False

    def __init__(self) -> None:
        self.state = State.FRESH
        self.offered: Capabilities = NOTHING_OFFERED
        self.keywords: tuple[str, ...] = ()  # as the EHLO reply has them
        self.greeted = False  # EHLO was answered with yes: only then is anything known of what is offered
        self.tls = False
        self.signed_in = False
        self.chunk_left = 0  # octets of a BDAT chunk that must follow before the next command
        self._owed: deque[tuple[str, str]] = deque([(_NO_COMMAND, "greeting")])
        self._may_follow = False  # a sign-in was begun and is not done: a line may be a password

    # --- what is said and answered ----------------------------------------------------------------------------

    @property
    def owed(self) -> int:
        """How many answers are waited for."""
        return len(self._owed)

    @property
    def securing(self) -> bool:
        """Whether STARTTLS was said and not answered: nothing may be sent now (DESIGN law 6)."""
        return any(verb == self.tls_verb for verb, _ in self._owed)

    @property
    def in_body(self) -> bool:
        return self.state is State.BODY

    @property
    def signing_in(self) -> bool:
        return self.state is State.SIGNING_IN

    @property
    def over(self) -> bool:
        return self.state is State.CLOSED

    def said(self, line: bytes) -> None:
        """A line is on its way; in a body it is the dot that matters."""
        if self.state is State.BODY:
            if line == b".":
                self._owed.append((_END_OF_BODY, ""))
                self.state = State.READY
            return
        if self.state is State.SIGNING_IN:
            self._owed.append(("AUTH", "line"))
            return
        verb, argument = _split(line)
        if verb == "BDAT":
            chunk = _CHUNK.fullmatch(argument)
            self.chunk_left = int(chunk[1]) if chunk is not None else 0
        if verb == "AUTH":
            self._may_follow = True
        self._owed.append((verb, argument))

    def answered(self, answer: Answer) -> tuple[str, str]:
        """An answer has come. Returns the verb and the argument it answers; both empty where nothing was asked."""
        if answer.code == "421":
            self.state = State.CLOSED  # RFC 5321 §3.8: at any point
        if not self._owed:
            return "", ""
        verb, argument = self._owed.popleft()
        row = TABLE.get(verb)
        if self.state is State.CLOSED:
            return verb, argument
        if verb == "AUTH":
            self._heard_auth(answer)
        elif verb == "DATA":
            if answer.code == "354":
                self.state = State.BODY
        elif verb == "BDAT" and answer.positive:
            self.state = State.READY if argument.upper().endswith("LAST") else State.CHUNKS
        elif verb in ("EHLO", "HELO") and answer.positive:
            self._heard_hello(verb, answer)
        elif verb == "RSET" and answer.positive and self.state is not State.FRESH:
            self.state = State.READY
        elif verb == self.tls_verb:
            pass  # the state changes when TLS stands: `secured`
        elif row is not None and row.then is not None and (answer.positive or verb == "QUIT"):
            self.state = row.then
        return verb, argument

    def secured(self) -> None:
        """TLS stands: all that was said and offered before is forgotten (RFC 3207 §4.2)."""
        self.tls = True
        self.state = State.FRESH
        self.offered = NOTHING_OFFERED
        self.keywords = ()
        self.greeted = self._may_follow = self.signed_in = False

    def public(self, line: bytes) -> bytes:
        """The line as it may be shown and kept."""
        if self.state is State.BODY:
            return line
        return public_line(line, signing_in=self.signing_in, secret_may_follow=self._may_follow)

    def has_body(self) -> bool:
        """Whether the next answer is followed by lines: never in SMTP."""
        return False

    def _heard_hello(self, verb: str, answer: Answer) -> None:
        self.state = State.READY
        self.greeted = verb == "EHLO"
        self.offered, self.keywords = NOTHING_OFFERED, ()
        if self.greeted:
            lines = [line.decode("utf-8", "replace") for line in answer.lines if line[:3] == answer.lines[0][:3]]
            self.offered = read_capabilities(read_reply(lines))
            self.keywords = tuple(line[4:] for line in lines[1:])

    def _heard_auth(self, answer: Answer) -> None:
        if answer.challenge:
            self.state = State.SIGNING_IN
        else:
            if self.state is State.SIGNING_IN:
                self.state = State.READY
            if answer.positive:
                self._may_follow = False
                self.signed_in = True

    # --- what may be said -------------------------------------------------------------------------------------

    def legal(self) -> list[Row]:
        """The rows of what may be said now and is offered, the ones that lead on first."""
        smtp = [row for row in TABLE.values() if row.verb != "LHLO"]  # the greeting of LMTP, on ports of its own
        rows = [row for row in smtp if self.state in row.states and not self._not_offered(row.verb)]
        return sorted(rows, key=lambda row: len(row.states))

    def rows(self) -> list[tuple[str, str, str]]:
        """The same as (verb, syntax, purpose)."""
        return [(row.verb, row.syntax, row.purpose) for row in self.legal()]

    def warning(self, line: bytes) -> str:
        """What speaks against sending this line now; empty where nothing does."""
        if self.state in (State.BODY, State.SIGNING_IN) or self.chunk_left:
            return ""
        if self.state is State.CLOSED:
            return "This conversation is over."
        verb, argument = _split(line)
        row = TABLE.get(verb)
        if row is None:
            meant = nearest(TABLE, verb)
            return f"{verb or 'An empty line'} is no command of SMTP." + (f" Did you mean {meant}?" if meant else "")
        if self.state not in row.states:
            return f"{verb} cannot come now. {advice(verb, self.state)}."
        return self._not_offered(verb) or _badly_written(row, argument, self.offered) or self._too_much(line)

    def _too_much(self, line: bytes) -> str:
        if len(line) + 2 > _COMMAND_LIMIT and _split(line)[0] != "AUTH":
            return f"A command has at most {_COMMAND_LIMIT} octets; this one has {len(line) + 2}."
        if not line.isascii() and not self.offered.smtputf8:
            return "Letters outside ASCII need SMTPUTF8, which this server does not offer."
        return ""

    def _not_offered(self, verb: str) -> str:
        if verb == self.tls_verb and self.tls:
            return "TLS stands already."
        if verb == "AUTH" and self.signed_in:
            return "You are signed in already."  # RFC 4954 §4: once is enough
        if verb == "XCLIENT" and not self.offered.xclient:
            return "XCLIENT is for proxies: it does not stand in the reply to EHLO."
        if self.state is State.FRESH:
            return ""
        offered = {"STARTTLS": self.offered.starttls, "AUTH": bool(self.offered.auth), "BDAT": self.offered.chunking}
        if not offered.get(verb, True):
            keyword = "CHUNKING" if verb == "BDAT" else verb
            return f"{verb} is not offered: {keyword} does not stand in the reply to EHLO."
        return ""


def _split(line: bytes) -> tuple[str, str]:
    verb, _, argument = line.decode("utf-8", "replace").partition(" ")
    return verb.upper(), argument


def _badly_written(row: Row, argument: str, offered: Capabilities) -> str:
    """What our own server would say about the argument."""
    if row.verb in ("EHLO", "HELO") and not argument.strip():
        return f"A name belongs behind it: {row.syntax}."
    if row.verb in ("DATA", "RSET", "QUIT", "STARTTLS") and argument.strip():
        return f"Nothing belongs behind {row.verb}."
    if row.verb == "AUTH" and offered.auth and argument.split(" ")[0].upper() not in offered.auth:
        return f"This server offers AUTH {' '.join(offered.auth)}."
    verdict: object = None
    if row.verb == "MAIL":
        verdict = read_mail(argument, offered.size or 1 << 62, utf8=True)
    elif row.verb == "RCPT":
        verdict = read_rcpt(argument, utf8=True)
    return f"{verdict.text}." if isinstance(verdict, Reply) else ""
