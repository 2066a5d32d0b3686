"""Playing a talk: its client's side is done again, move by move.

Lives here: sending, waiting, the handshake where the talk has one, bodies and secrets in the place of those that were
not kept, and when to stop.
Does not live here: which moves there are (protocol/talk_script.py), what counts as a difference
(protocol/comparison.py), the wire (talk_connection.py).

When to stop: where an answer is missing, or is of another kind than the talk's and the next line depends on it (DATA,
STARTTLS, a sign-in, the greeting). A message is never sent to a server that did not ask for it.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field

from glasspost.cli.talk_connection import HandConnection, Place, call, tls_lines
from glasspost.cli.talk_screen import Screen
from glasspost.protocol.answers import Answer
from glasspost.protocol.by_hand import MASK, Answered, ByHand, Crossed, NotNow, ServerLine, TlsDue
from glasspost.protocol.comparison import Difference, How, difference
from glasspost.protocol.talk import Line, escape
from glasspost.protocol.talk_script import Fill, Hear, Say, Script, Secret

UNKNOWN_SIZE = 1024  # octets of a message whose size nobody wrote down
LARGEST = 256 << 20  # octets that are made up at most
_DECISIVE = frozenset({"DATA", "STARTTLS", "STLS", "AUTH", ""})
_LONGEST_PAUSE = 60.0  # seconds
_GOODBYE = 3.0  # seconds


@dataclass(frozen=True, slots=True)
class Found:
    """An answer that differs. `at`: its line's place in the talk; `asked`: what it answers."""

    at: int
    asked: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class Taken:
    """How long an answer took, in seconds: when the talk was made, and now."""

    asked: str
    then: float | None
    now: float


@dataclass(slots=True)
class Play:
    """How it went. `facts`: what was done otherwise than in the talk, and why."""

    answers: int = 0
    differences: list[Found] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    stopped: str = ""  # why the rest of the talk was not played
    left_out: int = 0
    unreachable: bool = False


class _Deaf:
    """A tap and notebook for which nothing matters."""

    def heard(self, line: bytes) -> None: ...
    def said(self, text: bytes) -> None: ...
    def note(self, text: str) -> None: ...


class Stop(Exception):
    """The rest of the talk cannot be played."""


class Player:
    """Plays one script once. `screen`: where all of it is shown; None for nowhere."""

    def __init__(
        self, lines: list[Line], script: Script, place: Place, screen: Screen | None, *,
        how: How, timing: bool, patience: float, name: str, password: str | None,
    ) -> None:  # fmt: skip
        self._lines = lines
        self._script = script
        self._place = place
        self._screen = screen
        self._how = how
        self._timing = timing
        self._patience = patience
        self._name, self._password = name, password
        self._verify = False
        self._hand = ByHand(_Deaf(), pop3=script.pop3)
        self._wire: HandConnection | None = None
        self._play = Play()
        self._sent_at: float | None = None  # when the talk has its client's last line
        self._asked_now = 0.0
        self._last_heard: float | None = None  # when the talk has the line before

    async def play(self, *, tls: bool, verify: bool) -> Play:
        """From the greeting to the end of the talk. Raises Unreachable where no connection came about."""
        self._verify = verify
        self._wire = await call(self._place, self._hand, tls=tls, verify=verify, seconds=self._patience)
        self._asked_now = self._now()
        done = 0
        try:
            skipped = self._left_out_sign_ins()
            for move in self._script.moves:
                if not move.exchange or move.exchange not in skipped:
                    await self._do(move)
                done += 1
        except Stop as why:
            self._play.stopped = str(why)
            self._play.left_out = sum(1 for move in self._script.moves[done + 1 :] if not isinstance(move, Fill))
        finally:
            await self._leave()
        return self._play

    def _left_out_sign_ins(self) -> set[int]:
        known = self._password is not None and (bool(self._name) or self._script.pop3)
        skipped = self._script.unplayable(secret_known=known)
        for exchange in sorted(skipped):
            first = next(move for move in self._script.moves if isinstance(move, Say) and move.exchange == exchange)
            why = "what was masked cannot be known" if known else "its password is not known (--user, --password-file)"
            self._fact(f"left out: {escape(self._lines[first.number].octets)}: {why}")
        return skipped

    async def _do(self, move: Say | Hear | Fill) -> None:
        match move:
            case Say():
                await self._say(move)
            case Hear():
                await self._hear(move)
            case Fill():
                self._fill(move)

    # --- the client's side ------------------------------------------------------------------------------------

    async def _say(self, move: Say) -> None:
        await self._pause(move.at)
        octets = self._revealed(move)
        if move.padding:
            octets += b"x" * move.padding
            self._fact(f"a line that was cut is filled up with {move.padding} times x")
        public = self._lines[move.number].octets
        if self._screen is not None:
            self._screen.client(public)
        try:
            self._hand.say(octets, public, ended=move.ended, stuffed=True)
        except NotNow as why:
            raise Stop(f"not sent: {escape(public)}: {why}") from None
        if move.at is not None:
            self._sent_at = move.at

    def _revealed(self, move: Say) -> bytes:
        """The line with its secret in place."""
        if move.secret is Secret.NONE:
            return move.octets
        user, password = self._name.encode(), (self._password or "").encode()
        value = {
            Secret.PLAIN: base64.b64encode(b"\0" + user + b"\0" + password),
            Secret.USER: base64.b64encode(user),
            Secret.PASSWORD: base64.b64encode(password),
            Secret.CLEAR: password,
        }[move.secret]
        self._hand.hide(password, base64.b64encode(password), base64.b64encode(b"\0" + user + b"\0" + password))
        return move.octets.replace(MASK, value)

    async def _pause(self, at: float | None) -> None:
        """With --timing: as long as the client waited after what was said last."""
        before = self._last_heard
        if self._timing and at is not None and before is not None and at > before:
            assert self._wire is not None
            self._wire.flush()
            await asyncio.sleep(min(_LONGEST_PAUSE, at - before))
        self._last_heard = at if at is not None else before

    def _fill(self, move: Fill) -> None:
        size = move.size or (0 if move.chunk else UNKNOWN_SIZE)
        if size > LARGEST:
            raise Stop(f"a message of {size} octets is too large to be made up")
        body = make_body(size)
        about = (
            "" if move.sure else " (with the trace header that was put on top)" if move.size else " (of unknown size)"
        )
        what = "chunk" if move.chunk else "message"
        self._fact(f"the {what} is not in the talk: one of {size} octets is made up in its place{about}")
        if move.chunk:
            assert not self._hand.course.pop3
            self._hand.course.chunk_left = 0
            self._hand.pour(body)
            return
        self._hand.pour(body if body.endswith(b"\r\n") else b"\r\n")  # the dot needs a line of its own
        self._hand.say(b".", b".", stuffed=True)

    # --- the server's side ------------------------------------------------------------------------------------

    async def _hear(self, move: Hear) -> None:
        answer = await self._answer()
        answered_now = self._now()
        if answer is not None and self._hand.handshake_due:
            await self._secure()
        asked = escape(self._public(move)) or "the greeting"
        if answer is None:
            self._play.differences.append(Found(move.number, asked, Difference(0, escape(move.lines[0]), "")))
            assert self._wire is not None
            raise Stop(self._wire.ended or f"nothing came for {self._patience:g} s")
        self._play.answers += 1
        self._count_time(move, asked, answered_now)
        differs = difference(move.lines, answer.lines, self._how, whole=move.whole)
        if differs is not None:
            self._play.differences.append(Found(move.number + differs.line * (differs.expected != ""), asked, differs))
            if self._screen is not None:
                self._screen.note(f"the talk has: {differs.expected or '(nothing)'}", warning=True)
            if move.verb in _DECISIVE and answer.code[:1] != move.code[:1]:
                raise Stop("the talk ends here: what follows in it follows from another answer")

    def _public(self, move: Hear) -> bytes:
        return b"the message" if move.asked == b"." else move.asked

    def _count_time(self, move: Hear, asked: str, now: float) -> None:
        then = None
        if move.at is not None and (self._sent_at is not None or not move.asked):
            then = round(move.at - (self._sent_at or 0.0), 3)
        self._play.taken.append(Taken(asked, then, round(now - self._asked_now, 3)))
        self._last_heard = move.at

    async def _answer(self) -> Answer | None:
        """The next whole answer; None where none comes."""
        wire = self._wire
        assert wire is not None
        wire.flush()
        self._asked_now = self._now()
        end = self._now() + self._patience
        while True:
            event = await wire.event(max(0.0, end - self._now()))
            if event is None:
                return None
            if isinstance(event, ServerLine) and self._screen is not None:
                self._screen.server(event)
            elif isinstance(event, Answered):
                if self._screen is not None:
                    self._screen.answer(event.answer, pop3=self._script.pop3)
                return event.answer

    async def _secure(self) -> None:
        wire = self._wire
        assert wire is not None
        event = await wire.event(0)
        if isinstance(event, Crossed):
            wire.drop("octets came in the clear behind the yes to TLS")
        elif isinstance(event, TlsDue):
            await wire.secure(verify=self._verify)
        if wire.ended:
            self._play.unreachable = True
            raise Stop(wire.ended)
        for fact in tls_lines(wire.tls, self._place.name, verified=self._verify):
            if self._screen is not None:
                self._screen.note(fact)

    async def _leave(self) -> None:
        """Say QUIT where the talk did not come to it; hang up."""
        wire = self._wire
        assert wire is not None
        course = self._hand.course
        stands = not (wire.ended or course.over or course.in_body or course.chunk_left or course.signing_in)
        if stands and not course.owed and not self._hand.handshake_due:
            self._hand.say(b"QUIT")
            self._patience = min(self._patience, _GOODBYE)
            await self._answer()
        if course.over and not wire.ended:
            await wire.event(_GOODBYE)  # the server closes: who goes first leaves a reset behind
        wire.abort()
        await asyncio.sleep(0)

    def _fact(self, text: str) -> None:
        self._play.facts.append(text)
        if self._screen is not None:
            self._screen.note(text)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def make_body(size: int) -> bytes:
    """A message of just so many octets: a header, where there is room for one, and lines that say what it is. It ends
    with CR LF, and no line begins with a dot."""
    head = b"Subject: A message made up for a replay\r\n\r\n"
    if size < len(head):
        return b"x" * (size - 2) + b"\r\n" if size >= 2 else b"x" * size
    line = b"This message stands in for one that was not kept; only its size is right.\r\n"
    whole, rest = divmod(size - len(head), len(line))
    if rest == 1:  # no line is one octet long: a longer one takes it
        return head[:-4] + b".\r\n\r\n" + line * whole
    return head + line * whole + (b"x" * (rest - 2) + b"\r\n" if rest else b"")
