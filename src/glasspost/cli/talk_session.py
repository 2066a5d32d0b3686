"""One conversation held by hand, with what the `:` commands do.

Lives here: a line on its way from whoever types to the server, answers on their way to the screen, `:tls`, `:auth`,
`:save`, `:explain`, `:help`.
Does not live here: who types: a person (talk_prompt.py) or a script (talk.py).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from glasspost.cli.talk_connection import HandConnection, tls_lines
from glasspost.cli.talk_notebook import Notebook
from glasspost.cli.talk_screen import Screen
from glasspost.errors import GlasspostError
from glasspost.protocol.answers import Answer
from glasspost.protocol.by_hand import Answered, ByHand, Crossed, Event, NotNow, ServerLine, TlsDue, WentOn
from glasspost.protocol.smtp_course import SmtpCourse

_GOODBYE = 2.0  # seconds


class Typist(Protocol):
    """Who leads the conversation. Each of these gives None (or False) where nobody answers."""

    async def ask(self, question: str) -> str | None: ...
    async def ask_secret(self, user: str, question: str) -> str | None: ...
    async def agrees(self, question: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Own:
    """One of our own commands."""

    syntax: str
    purpose: str
    run: Callable[[TalkSession, list[str]], Awaitable[None]]


class TalkSession:
    """`type` one line after the other; `settle` waits for what is owed. `refusals` counts what the server refused."""

    def __init__(
        self, connection: HandConnection, notebook: Notebook, screen: Screen, typist: Typist, *, verify: bool
    ) -> None:
        self.connection = connection
        self.notebook = notebook
        self.screen = screen
        self.typist = typist
        self.verify = verify
        self.refusals = 0
        self.failed = False  # it ended before its time, or otherwise than it should
        self.left = False  # :quit
        self.saved: Path | None = None
        self._last = ""  # the last answer, or what went wrong
        self._user = ""
        self._ended_told = False

    @property
    def hand(self) -> ByHand:
        return self.connection.hand

    @property
    def over(self) -> bool:
        """Whether nothing can be said any more."""
        return bool(self.connection.ended)

    # --- what the server says ---------------------------------------------------------------------------------

    async def settle(self, seconds: float) -> bool:
        """Show what comes until nothing is owed any more, for at most so long. False: it is still owed."""
        if self.hand.course.chunk_left and not self.over:
            return True  # it is our turn still
        end = asyncio.get_running_loop().time() + seconds
        while (self.hand.course.owed or self.hand.handshake_due or self.hand.course.over) and not self.over:
            left = end - asyncio.get_running_loop().time()
            if not self.hand.course.owed:
                left = min(left, _GOODBYE)  # the server has said its last word, and need only close
            event = await self.connection.event(max(0.0, left))
            if event is None:
                break
            await self.show(event)
        if self.over:
            await self.drain()
            self.tell_end()
        return not self.hand.course.owed or self.over

    async def drain(self) -> None:
        """Show what has come already."""
        while (event := await self.connection.event(0)) is not None:
            await self.show(event)

    async def show(self, event: Event) -> None:
        """Show an event, and do what it asks for."""
        match event:
            case ServerLine():
                self.screen.server(event)
            case Answered():
                self._answered(event)
            case WentOn():
                self.screen.client(event.octets)
            case TlsDue():
                await self._secure()
            case Crossed():
                self.note(
                    f"{event.octets} octets came in the clear behind the yes to TLS: {_visible(self.hand.take_rest())}"
                )
                self.connection.drop("dropped: cleartext must not cross into TLS")

    def _answered(self, event: Answered) -> None:
        answer = event.answer
        self._last = answer.text
        self.screen.answer(answer, pop3=self.hand.course.pop3, verb=event.verb, argument=event.argument)
        if not answer.positive:
            self.refusals += 1
        elif event.verb in ("AUTH", "PASS") and not answer.challenge and self._user:
            self.note(f"signed in as {self._user}")
        if answer.challenge:
            self._show_challenge(answer)

    def _show_challenge(self, answer: Answer) -> None:
        text = answer.lines[0].partition(b" ")[2]
        try:
            asked = base64.b64decode(text, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return
        if asked.strip():
            self.screen.note(f'in base64 that is "{asked}"')

    async def _secure(self) -> None:
        fault = await self.connection.secure(verify=self.verify)
        if fault:
            self._last = fault
            return
        self.show_tls()

    def show_tls(self) -> None:
        """Say what TLS stands on."""
        for fact in tls_lines(self.connection.tls, self.connection.place.name, verified=self.verify):
            self.note(fact)

    def tell_end(self) -> None:
        """Say once why the conversation is over."""
        self.tell_rest()
        if self._ended_told:
            return
        self._ended_told = True
        self.failed = self.failed or not (self.hand.course.over or self.left)
        if self.connection.ended != "the server closed the connection" or not self.hand.course.over:
            self.note(self.connection.ended)
            if self.screen.lang:
                self.screen.meaning(self.connection.ended)

    def tell_rest(self) -> None:
        """What the server began to say and did not end."""
        rest = self.hand.take_rest()
        if rest:
            self.note(f"a line without an end: {_visible(rest)}")

    def note(self, text: str) -> None:
        """A fact for the screen, and for the saved talk."""
        self.notebook.note(text)
        self.screen.note(text)

    # --- what we say ------------------------------------------------------------------------------------------

    async def type(self, line: bytes) -> None:
        """One line as it was typed: a command of ours behind a colon, else what the server shall hear. Two colons send
        one. Raises GlasspostError."""
        if line.startswith(b":") and not line.startswith(b"::"):
            await self.run(line[1:].decode("utf-8", "replace"))
            return
        line = line.removeprefix(b":") if line.startswith(b"::") else line
        if self.over:
            self.screen.note("The conversation is over. :save FILE keeps it, :quit leaves.", warning=True)
            return
        warning = self.hand.course.warning(line)
        if warning:
            self.screen.note(warning, warning=True)
            if not await self.typist.agrees("Send it all the same?"):
                return
        self.send(line)

    def send(self, line: bytes) -> None:
        """Say a line, and show it."""
        try:
            self.screen.client(self.hand.say(line))
        except NotNow as why:
            self.screen.note(f"Not sent: {why}.", warning=True)
        self.connection.flush()

    # --- our own commands -------------------------------------------------------------------------------------

    async def run(self, text: str) -> None:
        """One of our own commands, without its colon. Raises GlasspostError."""
        try:
            word, *arguments = shlex.split(text) or [""]
        except ValueError:
            word, *arguments = text.split()
        found = [name for name in OWN if name.startswith(word.lower())] if word else []
        if len(found) != 1:
            names = " ".join(f":{name}" for name in OWN)
            self.screen.note(f":{word} is none of {names}. Two colons send a line that begins with one.", warning=True)
            return
        await OWN[found[0]].run(self, arguments)

    async def _tls(self, arguments: list[str]) -> None:
        self.verify = self.verify or "verify" in arguments
        await self.type(self.hand.course.tls_verb.encode())

    async def _auth(self, arguments: list[str]) -> None:
        course = self.hand.course
        mechanisms = _mechanisms(self.hand)
        mechanism = arguments.pop(0).upper() if arguments and arguments[0].upper() in _KNOWN else mechanisms[0]
        warning = course.warning(b"AUTH " + mechanism.encode()) if mechanism != "USER" else course.warning(b"USER x")
        if not course.tls:
            warning = (
                f"{warning} This connection is not encrypted: whoever is on the way can read the password.".strip()
            )
        if warning:
            self.screen.note(warning, warning=True)
            if not await self.typist.agrees("Sign in all the same?"):
                return
        user = arguments[0] if arguments else await self.typist.ask("user: ")
        password = await self.typist.ask_secret(user, f"password of {user}: ") if user else None
        if not user or password is None:
            self.screen.note("Not signed in: a name and a password are needed.", warning=True)
            self.refusals += 1
            return
        self._user = user
        try:
            self.screen.client(self.hand.sign_in(mechanism, user, password))
        except NotNow as why:
            self.screen.note(f"Not sent: {why}.", warning=True)
        self.connection.flush()

    async def _save(self, arguments: list[str]) -> None:
        path = _path(arguments[0]) if arguments else self.saved
        if path is None:
            self.screen.note("Where? :save FILE", warning=True)
            return
        if path != self.saved and path.exists() and not await self.typist.agrees(f"{path} is there. Write over it?"):
            return
        count = self.notebook.save(path)
        self.saved = path
        more = "" if self.over else "; what follows is added at the end"
        self.screen.note(f"{path}: {count} lines{more}")

    def save_again(self) -> None:
        """At the end: the saved file has all of it."""
        if self.saved is not None:
            self.notebook.save(self.saved)

    async def _explain(self, arguments: list[str]) -> None:
        from glasspost.explain.explainer import explain

        found = explain(" ".join(arguments) or self._last, self.screen.lang or "en")
        self.screen.note(found.what)
        if found.next:
            self.screen.note(found.next)
        if found.by != "nothing":
            self.screen.note(f"who must act: {found.act_words} ({found.by_words}; {found.source})")

    async def _help(self, arguments: list[str]) -> None:
        rows = self.hand.course.rows()
        if arguments:
            wanted = arguments[0].upper()
            await self._explain([wanted])
            rows = [row for row in rows if row[0] == wanted]
        for _, syntax, purpose in rows:
            self.screen.entry(syntax, purpose)
        if not arguments:
            for own in OWN.values():
                self.screen.entry(own.syntax, own.purpose)

    async def _quit(self, arguments: list[str]) -> None:
        self.left = True
        course = self.hand.course
        if not (self.over or course.over or course.in_body or course.chunk_left or course.owed or course.signing_in):
            self.send(b"QUIT")


_KNOWN = ("PLAIN", "LOGIN", "USER")

OWN: dict[str, Own] = {
    "tls": Own(":tls [verify]", "go on encrypted; with proof of who is there", TalkSession._tls),
    "auth": Own(":auth [PLAIN|LOGIN|USER] [name]", "sign in; the password is asked for, not kept", TalkSession._auth),
    "save": Own(":save FILE", "write this conversation down as a talk", TalkSession._save),
    "explain": Own(":explain [text]", "explain the last answer, or any text", TalkSession._explain),
    "help": Own(":help [command]", "what may be said now", TalkSession._help),
    "quit": Own(":quit", "say QUIT where that is possible, and leave", TalkSession._quit),
}  # fmt: skip


def _visible(octets: bytes) -> str:
    """As text for a note, which escapes what cannot be shown."""
    return octets.decode("utf-8", "surrogateescape")


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _mechanisms(hand: ByHand) -> list[str]:
    """The ways to sign in that both sides know, the best first; a guess where nothing is offered."""
    if not isinstance(hand.course, SmtpCourse):
        return ["USER"]
    return [name for name in ("PLAIN", "LOGIN") if name in hand.course.offered.auth] or ["PLAIN"]


async def leave(session: TalkSession, seconds: float) -> None:
    """The end: wait for the answer to QUIT, keep what was saved up to date, hang up."""
    if not session.over:
        await session.settle(seconds)
    try:
        session.save_again()
    except GlasspostError as error:
        session.screen.note(str(error), warning=True)
        session.refusals += 1
    if not session.over:
        session.connection.drop("we hung up")
    await asyncio.sleep(0)
