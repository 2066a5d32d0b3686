"""A talk as a script: what its client did, move by move, so that it can be done again.

Lives here: which line of a talk is sent, awaited or made up. Bodies that were not kept are replaced, secrets that were
masked are named, and what cannot be done again is said to be left out.
Does not live here: the form of a talk (talk.py), doing it (cli/replay_player.py), comparing (comparison.py).

The rule for a body: where the server said 354 and the talk goes on with the server, the message was not kept. The same
holds for a chunk, where the lines behind BDAT are not just as long as it says.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from glasspost.protocol.answers import Answer, Gatherer, code_of, is_pop3
from glasspost.protocol.pop3_course import Pop3Course
from glasspost.protocol.smtp_course import SmtpCourse
from glasspost.protocol.talk import CLIENT, NO_LINE_END, NOTE, SERVER, Line

MASK = b"[masked]"
TOO_LONG = b"[a line that is too long]"  # what protocol/chat.py puts down in its place
_CUT = re.compile(rb"(.*) \[and (\d+) octets more\]", re.DOTALL)  # storage/excerpts.py

_SIZE_ASKED = re.compile(rb"SIZE=(\d{1,15})\b", re.IGNORECASE)
_SIZE_SENT = re.compile(rb"(?:q0\w+, |message: )(\d+) octets")
_SIZE_STORED = re.compile(rb"safe on disk as \w+: (\d+) octets")
_SIGNED_IN = re.compile(rb"signed in as ([^\s;]+)")


class Secret(Enum):
    """What must stand in the place of a mask."""

    NONE = "nothing"
    PLAIN = "name and password"  # the one response of PLAIN
    USER = "name"
    PASSWORD = "password"
    CLEAR = "password as it is"  # POP3's PASS
    UNKNOWN = "something that nobody knows"


@dataclass(slots=True)
class Say:
    """Send a line. `number` is its place among the talk's lines; `exchange` counts sign-ins from 1, 0 is none."""

    number: int
    octets: bytes
    at: float | None = None
    ended: bool = True
    secret: Secret = Secret.NONE
    padding: int = 0  # octets that were not kept of it
    exchange: int = 0


@dataclass(slots=True)
class Hear:
    """Wait for a whole answer. Not `whole`: of a POP3 answer with a body only the first line was kept."""

    number: int
    lines: list[bytes]
    asked: bytes = b""
    at: float | None = None
    whole: bool = True
    exchange: int = 0

    @property
    def code(self) -> str:
        return code_of(self.lines[0])

    @property
    def verb(self) -> str:
        """The verb it answers; empty for the greeting, and for lines that are no commands."""
        return self.asked.split(b" ")[0].decode("utf-8", "replace").upper()


@dataclass(slots=True)
class Fill:
    """Send a body of so many octets, as the one that was sent was not kept. `sure`: that is its size; else it is known
    nearly (a size with our trace header), or, where it is 0, not at all."""

    number: int
    size: int
    sure: bool
    chunk: bool  # counted octets, no dots
    exchange: int = 0


Move = Say | Hear | Fill


@dataclass(slots=True)
class Script:
    """All moves. `implicit_tls`: TLS stood before the first line."""

    moves: list[Move]
    pop3: bool
    implicit_tls: bool = False
    users: list[str] = field(default_factory=list)  # who signed in, as notes say

    @property
    def needs_secret(self) -> bool:
        """Whether a password is needed to do all that can be done again."""
        return any(isinstance(move, Say) and move.secret not in (Secret.NONE, Secret.UNKNOWN) for move in self.moves)

    def unplayable(self, *, secret_known: bool) -> set[int]:
        """The sign-ins, by number, that must be left out."""
        return {
            move.exchange
            for move in self.moves
            if isinstance(move, Say)
            and (move.secret is Secret.UNKNOWN or (move.secret is not Secret.NONE and not secret_known))
        }


def read_script(lines: Sequence[Line]) -> Script:
    """The script of a talk. Raises ValueError where nobody says anything in it."""
    return _Reader(lines).script()


class _Reader:
    """Goes through a talk once, with an eye on what each answer answers."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        first = next((line for line in lines if line.who == SERVER), None)
        if first is None or not any(line.who == CLIENT for line in lines):
            raise ValueError("a talk that can be played has lines of both sides")
        self.pop3 = is_pop3(first.octets)
        self.course: SmtpCourse | Pop3Course = Pop3Course() if self.pop3 else SmtpCourse()
        self.moves: list[Move] = []
        self.asked: deque[tuple[bytes, int]] = deque([(b"", 0)])  # commands that wait for an answer, and their sign-in
        self.exchange = 0
        self.mechanism = b""
        self.step = 0
        self.size: tuple[int, bool] = (0, False)

    def script(self) -> Script:
        at = 0
        while at < len(self.lines):
            line = self.lines[at]
            if line.who == NOTE:
                self._note(line)
                at += 1
            elif line.who == SERVER:
                at = self._answer(at)
            else:
                at = self._command(at)
        notes = [line.octets for line in self.lines if line.who == NOTE]
        return Script(
            self.moves,
            self.pop3,
            any(note.startswith(b"TLS from the start") for note in notes),
            [found[1].decode("utf-8", "replace") for note in notes if (found := _SIGNED_IN.match(note))],
        )

    def _note(self, line: Line) -> None:
        sent = _SIZE_SENT.match(line.octets)
        if sent is not None:
            self.size = (int(sent[1]), True)

    # --- the server's lines -----------------------------------------------------------------------------------

    def _answer(self, at: int) -> int:
        """One answer, from the line at `at` on; returns where it ends."""
        gatherer = Gatherer()
        gatherer.pop3 = self.pop3
        has_body = self.course.has_body()
        whole = not has_body or self._body_kept(at)
        end, octets = at, list[bytes]()
        answer: Answer | None = None
        while end < len(self.lines) and answer is None:
            line = self.lines[end]
            if line.who == CLIENT:
                break
            end += 1
            if line.who == SERVER:
                octets.append(line.octets)
                answer = gatherer.take(line.octets, has_body=has_body and whole)
        if answer is None:  # somebody wrote down the beginning of it only
            answer = Answer(code_of(octets[0]), tuple(octets), len(octets))
        asked, exchange = self.asked.popleft() if self.asked else (b"", 0)
        self.moves.append(Hear(at, octets, asked, self.lines[at].at, whole, exchange))
        verb, _ = self.course.answered(answer)
        if verb == "DATA" and answer.code == "354" and not self._goes_on_with_client(end):
            self._fill(end, chunk=False)
            self.asked.append((b".", 0))
        if verb == self.course.tls_verb and answer.positive:
            self.course.secured()
        return end

    def _body_kept(self, at: int) -> bool:
        """Whether the lines of a POP3 answer's body are in the talk, to the dot."""
        for line in self.lines[at + 1 :]:
            if line.who == CLIENT:
                return False
            if line.who == SERVER and line.octets == b".":
                return True
            if line.who == SERVER and line.octets.startswith(b"[") and line.octets.endswith(b" lines]"):
                return False  # pop3_server.py: a long listing is only counted
        return False

    def _goes_on_with_client(self, at: int) -> bool:
        following = next((line for line in self.lines[at:] if line.who != NOTE), None)
        return following is not None and following.who == CLIENT

    def _fill(self, at: int, *, chunk: bool) -> None:
        size, sure = self.size
        if not sure:
            for line in self.lines[at:]:
                if line.who == CLIENT:
                    break
                stored = _SIZE_STORED.match(line.octets) if line.who == NOTE else None
                if stored is not None and not size:
                    size = int(stored[1])
        self.moves.append(Fill(at, size, sure, chunk))
        self.size = (0, False)
        if not chunk:
            self.course.said(b".")

    # --- the client's lines -----------------------------------------------------------------------------------

    def _command(self, at: int) -> int:
        line = self.lines[at]
        say = Say(at, line.octets, line.at, not self._no_line_end(at))
        in_body = self.course.in_body
        if in_body or self.course.chunk_left:
            self._body_line(say)
            return at + 1
        self._judge(say)
        self.moves.append(say)
        self.asked.append((line.octets, say.exchange))
        if line.octets.upper() == b"DATA" and (end := self._burst_body(at + 1)):
            return self._burst(at + 1, end)
        self.course.said(line.octets)
        declared = _SIZE_ASKED.search(line.octets) if line.octets[:4].upper() == b"MAIL" else None
        if declared is not None:
            self.size = (int(declared[1]), True)
        if self.course.chunk_left and not self._chunk_kept(at + 1):
            self.size = (self.course.chunk_left, True)
            self._fill(at, chunk=True)
            assert isinstance(self.course, SmtpCourse)
            self.course.chunk_left = 0
        return at + 1

    def _body_line(self, say: Say) -> None:
        self.moves.append(say)
        if self.course.chunk_left:
            assert isinstance(self.course, SmtpCourse)
            self.course.chunk_left -= min(self.course.chunk_left, len(say.octets) + 2 * say.ended)
            return
        if say.octets == b".":
            self.asked.append((b".", 0))
        self.course.said(say.octets)

    def _burst_body(self, at: int) -> int:
        """Where the body ends that was sent with DATA in one burst, without waiting; 0 where that was not so."""
        while at < len(self.lines) and self.lines[at].who != SERVER:
            if self.lines[at].who == CLIENT and self.lines[at].octets == b".":
                return at + 1
            at += 1
        return 0

    def _burst(self, at: int, end: int) -> int:
        for number in range(at, end):
            if self.lines[number].who == CLIENT:
                line = self.lines[number]
                self.moves.append(Say(number, line.octets, line.at, not self._no_line_end(number)))
        self.asked.append((b".", 0))
        self.course.said(b"NOOP")  # for DATA and for the dot: two answers, and no body to come
        self.course.said(b"NOOP")
        return end

    def _no_line_end(self, at: int) -> bool:
        following = self.lines[at + 1] if at + 1 < len(self.lines) else None
        return following is not None and following.who == NOTE and following.octets == NO_LINE_END.encode()

    def _chunk_kept(self, at: int) -> bool:
        """Whether the lines from `at` on are a chunk's octets, just as many as were announced."""
        left = self.course.chunk_left
        while left > 0 and at < len(self.lines) and self.lines[at].who != SERVER:
            if self.lines[at].who == CLIENT:
                left -= len(self.lines[at].octets) + (0 if self._no_line_end(at) else 2)
            at += 1
        return left == 0

    def _judge(self, say: Say) -> None:
        """Secrets and lines that were cut: what stands in their place."""
        cut = _CUT.fullmatch(say.octets)
        if cut is not None:
            say.octets, say.padding = cut[1], int(cut[2])
        elif say.octets == TOO_LONG:
            say.octets, say.padding = b"", 65536  # longer than any server takes
        verb, _, argument = say.octets.partition(b" ")
        if verb.upper() == b"AUTH" and not self.course.signing_in:
            self.mechanism, _, response = argument.upper().partition(b" ")
            self.step = 0
            self._open_exchange(say)
            if response == MASK.upper():
                say.secret = self._response()
            elif response:
                self.step += 1  # it stands in the talk as it was
        elif self.course.signing_in:
            say.exchange = self.exchange
            if say.octets == MASK:
                say.secret = self._response()
            else:
                self.step += 1
        elif MASK in say.octets:
            self._open_exchange(say)
            say.secret = Secret.CLEAR if self.pop3 and verb.upper() == b"PASS" and argument == MASK else Secret.UNKNOWN

    def _open_exchange(self, say: Say) -> None:
        self.exchange += 1
        say.exchange = self.exchange

    def _response(self) -> Secret:
        """What the next response of the sign-in under way is."""
        self.step += 1
        if self.mechanism == b"PLAIN" and self.step == 1:
            return Secret.PLAIN
        if self.mechanism == b"LOGIN" and self.step <= 2:
            return (Secret.USER, Secret.PASSWORD)[self.step - 1]
        return Secret.UNKNOWN
