"""A conversation held by hand: the client's side of SMTP or POP3, led line by line by a person or a script.

Lives here: lines on their way out (CRLF, dots, chunks, secrets), the server's lines on their way in, and the tap.
Whatever a server says is taken calmly: a line may be endless, end in LF alone, or be no answer at all.
Does not live here: where the conversation stands (smtp_course.py, pop3_course.py), which lines make an answer
(answers.py), sockets, and whoever types (cli/).

DESIGN law 6: after STARTTLS nothing is sent until it is answered, and octets that came behind the answer end the
conversation. They never cross into TLS.
"""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from glasspost.protocol.answers import Answer, Gatherer, is_pop3
from glasspost.protocol.chat import Tap
from glasspost.protocol.pop3_course import Pop3Course
from glasspost.protocol.smtp_course import SmtpCourse
from glasspost.protocol.talk import NO_LINE_END

Course = SmtpCourse | Pop3Course

LINE_LIMIT = 8192  # octets of a line that are kept; of a longer one the rest is counted
MASK = b"[masked]"
_INITIAL_LIMIT = 512 - len("AUTH PLAIN \r\n")  # RFC 5321 §4.5.3.1.4: a longer response has a line of its own


@dataclass(frozen=True, slots=True)
class ServerLine:
    """A line the server said, in its public form. `fault`: what is wrong with it as a line; empty where nothing is.
    `body`: it is content that was fetched, not talk."""

    octets: bytes
    fault: str = ""
    body: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer, and the verb and argument it answers; both empty where nothing was asked."""

    answer: Answer
    verb: str
    argument: str


@dataclass(frozen=True, slots=True)
class WentOn:
    """We said the next line of a sign-in, in its public form."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class TlsDue:
    """The server is ready for TLS: hold the handshake now, then call `secured`."""


@dataclass(frozen=True, slots=True)
class Crossed:
    """The server sent octets in the clear behind its yes to TLS: drop the connection (DESIGN law 6)."""

    octets: int


Event = ServerLine | Answered | WentOn | TlsDue | Crossed


class Notebook(Tap, Protocol):
    """A tap that also takes notes."""

    def note(self, text: str) -> None:
        """A fact that was not on the wire."""
        ...


class NotNow(Exception):
    """This line cannot be sent at all at this point. The message says why."""


class ByHand:
    """`receive` what comes, look at `next_event`; `say` lines; send `take_output`."""

    def __init__(self, tap: Notebook, *, pop3: bool | None = None) -> None:
        """`pop3` None: the greeting tells."""
        self.tap = tap
        self.course: Course = Pop3Course() if pop3 else SmtpCourse()
        self._known = pop3 is not None
        self._gatherer = Gatherer()
        self._gatherer.pop3 = bool(pop3)
        self._in = b""
        self._at = 0  # up to where it was read
        self._dropped = 0  # octets of an overlong line that were let go
        self._answer: Answer | None = None  # shown line by line, and not told yet
        self._went_on: WentOn | None = None
        self._out: list[bytes] = []
        self._tls_due = False
        self._crossed = False
        self._responses: deque[tuple[bytes, bytes]] = deque()  # what a sign-in under way says next, and its public form
        self._automatic = False  # a sign-in of ours is under way
        self._secrets: set[bytes] = set()

    # --- in ---------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes have come."""
        self._in = self._in[self._at :] + data
        self._at = 0
        if len(self._in) > 4 * LINE_LIMIT and b"\n" not in self._in:
            self._dropped += len(self._in) - LINE_LIMIT
            self._in = self._in[:LINE_LIMIT]

    def next_event(self) -> Event | None:
        """What happened next; None until more bytes come."""
        if self._tls_due:
            return self._crossing()
        if self._went_on is not None:
            went_on, self._went_on = self._went_on, None
            return went_on
        if self._answer is not None:
            return self._tell(self._answer)
        end = self._in.find(b"\n", self._at)
        if end < 0:
            return None
        line = self._in[self._at : end]
        self._at = end + 1
        return self._heard(line)

    def _tell(self, answer: Answer) -> Event:
        """The answer as a whole, behind its lines; only now does it change anything."""
        self._answer = None
        verb, argument = self.course.answered(answer)
        shown = Answer(answer.code, tuple(map(self._scrubbed, answer.lines)), answer.count)
        told = Answered(shown, verb, argument)
        if verb == self.course.tls_verb and answer.positive:
            self._tls_due = True
        elif self._automatic and verb in ("AUTH", "USER", "PASS"):
            self._go_on_signing_in(told)
        return told

    def _go_on_signing_in(self, told: Answered) -> None:
        """The next response of a sign-in of ours; a lone * where the server asks for more than there is."""
        if told.answer.challenge or (told.verb == "USER" and told.answer.positive):
            response, public = self._responses.popleft() if self._responses else (b"*", b"*")
            self._went_on = WentOn(self.say(response, public))
        else:
            self._responses.clear()
            self._automatic = False

    def _heard(self, line: bytes) -> ServerLine:
        fault = ""
        if line.endswith(b"\r"):
            line = line[:-1]
        else:
            fault = "it ended with LF alone; the law is CR LF"
        if self._dropped or len(line) > LINE_LIMIT:
            more = self._dropped + max(0, len(line) - LINE_LIMIT)
            self._dropped = 0
            line = line[:LINE_LIMIT]
            fault = f"and {more} octets more"
        if not self._known:
            self._choose(line)
        body = self._gatherer.within and self.course.pop3 and self._fetching()
        public = self._scrubbed(line)
        if not body:
            self.tap.heard(public)
        self._answer = self._gatherer.take(line, has_body=self.course.has_body())
        return ServerLine(public, fault, body)

    def _fetching(self) -> bool:
        return isinstance(self.course, Pop3Course) and self.course.fetching

    def _choose(self, greeting: bytes) -> None:
        """SMTP or POP3: the first line tells."""
        self._known = True
        if is_pop3(greeting):
            self.course = Pop3Course()
            self._gatherer.pop3 = True

    def _crossing(self) -> Event | None:
        """The answer to STARTTLS was yes: nothing may have come behind it."""
        if self._crossed:
            return None
        self._crossed = True
        return Crossed(self.unread) if self.unread else TlsDue()

    def secured(self) -> None:
        """TLS stands."""
        self._tls_due = self._crossed = False
        self.course.secured()

    @property
    def handshake_due(self) -> bool:
        """Whether the server waits for the TLS handshake."""
        return self._tls_due

    @property
    def unread(self) -> int:
        """How many octets have come and were not looked at."""
        return len(self._in) - self._at

    def take_rest(self) -> bytes:
        """What has come and is no whole line, or may not be looked at any more; it is gone then."""
        rest = self._scrubbed(self._in[self._at : self._at + LINE_LIMIT])
        self._in, self._at = b"", 0
        return rest

    # --- out --------------------------------------------------------------------------------------------------

    def say(self, line: bytes, public: bytes | None = None, *, ended: bool = True, stuffed: bool = False) -> bytes:
        """Say a line, given without CRLF. Returns its public form. Within a body a dot is put in front of a dot, unless
        it is `stuffed` already; a chunk is cut at its size. `public`: what may be known of it, where that is less than
        the masks find out. Not `ended`: without a CRLF. Raises NotNow."""
        course = self.course
        if self._tls_due or course.securing:
            raise NotNow(f"the answer to {course.tls_verb} must come first")
        if public is None:
            public = self._scrubbed(course.public(line))
        if course.chunk_left:
            return self._say_chunk(line, ended)
        if course.in_body and line[:1] == b"." and line != b"." and not stuffed:
            line, public = b"." + line, b"." + public  # RFC 5321 §4.5.2
        self.tap.said(public + b"\r\n")
        if not ended:
            self.tap.note(NO_LINE_END)
        course.said(line)
        self._out.append(line + b"\r\n" if ended else line)
        return public

    def _say_chunk(self, line: bytes, ended: bool) -> bytes:
        course = self.course
        octets = (line + b"\r\n" if ended else line)[: course.chunk_left]
        assert isinstance(course, SmtpCourse)
        course.chunk_left -= len(octets)
        shown = octets.removesuffix(b"\r\n")
        self.tap.said(shown + b"\r\n")
        if shown == octets:
            self.tap.note(NO_LINE_END)
        self._out.append(octets)
        return shown

    def pour(self, data: bytes) -> None:
        """Send octets that the tap does not hear: a body of our own making."""
        self._out.append(data)

    def sign_in(self, mechanism: str, username: str, password: str) -> bytes:
        """Begin a sign-in: "PLAIN" or "LOGIN" (RFC 4954 §4, RFC 5034 §4), "USER" for POP3's USER and PASS. The rest is
        said as the server asks for it. Returns the public form of the first line. The password is kept only to be
        masked, should the server repeat it."""
        user, secret = username.encode(), password.encode()
        plain = base64.b64encode(b"\0" + user + b"\0" + secret)
        self.hide(secret, plain, base64.b64encode(secret))
        self._responses.clear()
        self._automatic = True
        if mechanism == "USER":
            self._responses.append((b"PASS " + secret, b"PASS " + MASK))
            return self.say(b"USER " + user)
        if mechanism == "LOGIN":
            self._responses.extend((base64.b64encode(word), MASK) for word in (user, secret))
            return self.say(b"AUTH LOGIN")
        if len(plain) > _INITIAL_LIMIT:
            self._responses.append((plain, MASK))
            return self.say(b"AUTH PLAIN")
        return self.say(b"AUTH PLAIN " + plain, b"AUTH PLAIN " + MASK)

    def hide(self, *secrets: bytes) -> None:
        """From now on these are masked in whatever the server says."""
        self._secrets.update(secret for secret in secrets if len(secret) > 3)

    def take_output(self) -> bytes:
        """All that is to be sent, in one piece."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _scrubbed(self, line: bytes) -> bytes:
        for secret in sorted(self._secrets, key=len, reverse=True):
            line = line.replace(secret, MASK)
        return line
