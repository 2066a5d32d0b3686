"""Where a POP3 session stands, seen from the client's side by somebody who leads it by hand.

Lives here: the state that the server must be in after each command and answer, which answers have a body, what may be
said now, and what is to be said about a command that will hardly be liked.
Does not live here: the table of verbs and states (pop3_table.py), a person's lines on their way (by_hand.py).
"""

from __future__ import annotations

from collections import deque

from glasspost.protocol.answers import Answer
from glasspost.protocol.pop3_secrets import public_form
from glasspost.protocol.pop3_table import VERBS, State, Verb, nearest_verb

_ADVICE = {
    State.AUTHORIZATION: "Sign in first, with USER and PASS",
    State.TRANSACTION: "You are signed in already",
    State.UPDATE: "This session is over",
}


class Pop3Course:
    """The course of one session. `said` for each line sent, `answered` for each answer."""

    tls_verb = "STLS"
    pop3 = True
    in_body = False  # a POP3 client never sends one
    chunk_left = 0

    def __init__(self) -> None:
        self.state = State.AUTHORIZATION
        self.capabilities: tuple[str, ...] = ()  # as the CAPA answer has them
        self.greeted = False  # CAPA was answered with yes
        self.tls = False
        self.signing_in = False
        self.over = False
        self._owed: deque[tuple[str, str]] = deque([("", "greeting")])
        self._loose = False

    @property
    def owed(self) -> int:
        """How many answers are waited for."""
        return len(self._owed)

    @property
    def securing(self) -> bool:
        """Whether STLS was said and not answered: nothing may be sent now (DESIGN law 6)."""
        return any(verb == self.tls_verb for verb, _ in self._owed)

    @property
    def keywords(self) -> tuple[str, ...]:
        return self.capabilities

    def said(self, line: bytes) -> None:
        """A line is on its way."""
        if self.signing_in:
            self._owed.append(("AUTH", "line"))
            return
        verb, argument = _split(line)
        if verb in ("USER", "AUTH"):
            self._loose = True
        self._owed.append((verb, argument))

    def answered(self, answer: Answer) -> tuple[str, str]:
        """An answer has come. Returns the verb and the argument it answers; both empty where nothing was asked."""
        if not self._owed:
            return "", ""
        verb, argument = self._owed.popleft()
        if verb == "AUTH" or self.signing_in:
            self.signing_in = answer.code == "+"
        if verb in ("PASS", "AUTH") and answer.code == "+OK" and argument:
            self.state = State.TRANSACTION
            self._loose = False
        elif verb == "CAPA" and answer.positive:
            self.greeted = True
            self.capabilities = tuple(line.decode("utf-8", "replace") for line in answer.lines[1:] if line != b".")
        elif verb == "QUIT":
            self.over = True
            self.state = State.UPDATE
        return verb, argument

    def secured(self) -> None:
        """TLS stands: what was offered before is forgotten (RFC 2595 §4)."""
        self.tls = True
        self.capabilities = ()
        self.greeted = self._loose = False

    def public(self, line: bytes) -> bytes:
        """The line as it may be shown and kept."""
        return public_form(line, response=self.signing_in, loose=self._loose)

    def has_body(self) -> bool:
        """Whether a +OK to what was asked first is followed by lines, up to a lone dot."""
        if not self._owed:
            return False
        verb, argument = self._owed[0]
        if verb in ("LIST", "UIDL", "AUTH"):
            return not argument  # with an argument the answer is a single line
        return verb in ("CAPA", "RETR", "TOP")

    @property
    def fetching(self) -> bool:
        """Whether the body that comes is a message's."""
        return bool(self._owed) and self._owed[0][0] in ("RETR", "TOP")

    # --- what may be said -------------------------------------------------------------------------------------

    def legal(self) -> list[Verb]:
        """The rows of what may be said now and is offered, the ones that lead on first."""
        rows = [row for row in VERBS.values() if self.state in row.states and not self._not_offered(row.name)]
        return sorted(rows, key=lambda row: len(row.states))

    def rows(self) -> list[tuple[str, str, str]]:
        """The same as (verb, syntax, purpose)."""
        return [(row.name, row.syntax, row.help[:1].lower() + row.help[1:]) for row in self.legal()]

    def warning(self, line: bytes) -> str:
        """What speaks against sending this line now; empty where nothing does."""
        if self.signing_in:
            return ""
        if self.over:
            return "This conversation is over."
        verb, argument = _split(line)
        row = VERBS.get(verb)
        if row is None:
            meant = nearest_verb(verb)
            return f"{verb or 'An empty line'} is no command of POP3." + (f" Did you mean {meant}?" if meant else "")
        if self.state not in row.states:
            return f"{verb} cannot come now. {_ADVICE[self.state]}."
        count = (1 if argument else 0) if row.whole else len(argument.split())
        if not row.least <= count <= row.most:
            return f"It is written: {row.syntax}."
        return self._not_offered(verb)

    def _not_offered(self, verb: str) -> str:
        if verb == self.tls_verb and self.tls:
            return "TLS stands already."
        if self.greeted and verb in ("STLS", "UTF8") and verb not in _words(self.capabilities):
            return f"{verb} is not offered: it does not stand in the answer to CAPA."
        return ""


def _words(capabilities: tuple[str, ...]) -> set[str]:
    return {line.split()[0].upper() for line in capabilities if line.split()}


def _split(line: bytes) -> tuple[str, str]:
    verb, _, argument = line.decode("utf-8", "replace").strip().partition(" ")
    return verb.upper(), argument.strip()
