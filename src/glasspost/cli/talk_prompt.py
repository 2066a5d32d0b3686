"""A person at a terminal leads the conversation: the prompt of `glasspost talk`.

Lives here: typing, completion, the hint line, history, questions. All of them read what is legal now from the course,
which reads it from the table (protocol/smtp_table.py, pop3_table.py).
Does not live here: what becomes of a line (talk_session.py).

History keeps commands, never content and never a line with a secret in it. It is in the user's state folder, for the
user's eyes only.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import History
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.renderer import CPR_Support
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import is_dumb_terminal

from glasspost.cli.secret import PasswordSource, ask_hidden
from glasspost.cli.talk_session import OWN, TalkSession, leave
from glasspost.errors import GlasspostError
from glasspost.protocol.smtp_course import SmtpCourse

PATIENCE = 1.0  # seconds until the prompt is back although the answer is not
HISTORY_LINES = 500


class KeptHistory(History):
    """What was typed, on the disk. `keeps` says of a line whether it may be kept."""

    def __init__(self, path: Path | None, keeps: Callable[[str], bool]) -> None:
        super().__init__()
        self._path = path
        self._keeps = keeps

    def load_history_strings(self) -> Iterable[str]:
        if self._path is None:
            return []
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        return reversed(lines[-HISTORY_LINES:])

    def append_string(self, string: str) -> None:
        if self._keeps(string):
            super().append_string(string)

    def store_string(self, string: str) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                file.write(string + "\n")
        except (OSError, UnicodeEncodeError):
            self._path = None  # a read-only home is no reason to stop talking


def history_path() -> Path:
    """Where history is kept."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "glasspost" / "talk_history"


class Legal(Completer):
    """Completes what may be said now: verbs, the fixed beginning of an argument, EHLO's keywords, our own commands."""

    def __init__(self, session: TalkSession) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        typed = document.text_before_cursor
        for words in self.candidates(typed):
            yield Completion(words, start_position=-len(typed))

    def candidates(self, typed: str) -> list[str]:
        """Whole lines that `typed` may become."""
        course = self._session.hand.course
        if typed.startswith(":"):
            return [f":{name}" for name in OWN if f":{name}".startswith(typed)]
        if course.in_body or course.chunk_left or course.signing_in:
            return []
        verb, blank, argument = typed.partition(" ")
        rows = {row[0]: row[1] for row in course.rows()}
        if not blank:
            return [name + (" " if " " in rows[name] else "") for name in rows if name.startswith(verb.upper())]
        syntax = rows.get(verb.upper())
        if syntax is None:
            return []
        return [f"{verb} {one}" for one in self._arguments(verb.upper(), syntax, argument) if one != argument]

    def _arguments(self, verb: str, syntax: str, argument: str) -> list[str]:
        fixed = syntax.partition(" ")[2].partition("<")[0] + "<"  # "FROM:<" of "MAIL FROM:<address> [parameters]"
        if fixed != "<" and "<" in syntax and fixed.startswith(argument.upper()):
            return [fixed]
        course = self._session.hand.course
        if not isinstance(course, SmtpCourse):
            return []
        if verb == "AUTH":
            return [name for name in course.offered.auth if name.startswith(argument.upper())]
        before, _, word = argument.rpartition(" ")
        if verb == "MAIL" and before.endswith(">"):
            offered = course.offered
            words = ["BODY=8BITMIME"] * offered.eight_bit + ["SMTPUTF8"] * offered.smtputf8
            words += ["SIZE="] * offered.size_offered + ["RET=HDRS", "RET=FULL", "ENVID="] * offered.dsn
            return [f"{before} {one}" for one in words if one.startswith(word.upper())]
        if verb == "RCPT" and before.endswith(">") and course.offered.dsn:
            words = ["NOTIFY=NEVER", "NOTIFY=SUCCESS,FAILURE,DELAY", "ORCPT=rfc822;"]
            return [f"{before} {one}" for one in words if one.startswith(word.upper())]
        return []


def hint(session: TalkSession) -> str:
    """What may be said now, in a line."""
    course = session.hand.course
    if session.over or course.over:
        return "over: :save FILE  :explain  :quit"
    if course.in_body:
        return "the message: header, empty line, text; a lone dot ends it, others are no matter"
    if course.chunk_left:
        return f"the chunk: {course.chunk_left} octets more, CR LF at each line's end included"
    if course.signing_in:
        return "the sign-in: base64, not shown; * calls it off"
    if course.owed:
        return f"waiting for {'the greeting' if not session.screen.answers else 'an answer'}  :help  :quit"
    return f"now: {' '.join(row[0] for row in course.rows())}  :help"


class Person:
    """Asks whoever sits at the terminal."""

    def __init__(self, password: PasswordSource, *, plain: bool) -> None:
        self._password = password
        self._questions: PromptSession[str] = PromptSession(color_depth=ColorDepth.DEPTH_1_BIT if plain else None)

    async def ask(self, question: str) -> str | None:
        try:
            return (await self._questions.prompt_async(question)).strip() or None
        except (EOFError, KeyboardInterrupt):
            return None

    async def ask_secret(self, user: str, question: str) -> str | None:
        return self._password.read(user, question)

    async def agrees(self, question: str) -> bool:
        said = await self.ask(f"{question} [y/N] ")
        return said is not None and said.lower() in ("y", "yes")


async def converse(session: TalkSession, *, keep_history: bool) -> None:
    """Let a person lead the conversation, to its end."""
    prompt = _prompt(session, keep_history)
    await session.settle(PATIENCE * 5)  # a greeting may be slow on purpose, against those who cannot wait
    try:
        while not session.left and not (session.over and session.hand.course.over):
            try:
                line = await _next_line(session, prompt)
            except KeyboardInterrupt:
                continue
            except EOFError:
                line = ":quit"
            for one in line.split("\n"):  # several where something was pasted
                await _take(session, one)
    finally:
        await leave(session, PATIENCE * 3)


async def _take(session: TalkSession, line: str) -> None:
    """One typed line, and what it brings within a moment."""
    try:
        await session.type(line.encode("utf-8", "surrogateescape"))
    except GlasspostError as error:
        session.screen.note(str(error), warning=True)
    if not session.left:
        await session.settle(PATIENCE)


def _prompt(session: TalkSession, keep_history: bool) -> PromptSession[str]:
    course = session.hand

    def keeps(line: str) -> bool:
        now = course.course
        if not line.strip() or "\n" in line or now.in_body or now.chunk_left or now.signing_in:
            return False
        octets = line.encode("utf-8", "surrogateescape")
        return line.startswith(":") or now.public(octets) == octets

    return PromptSession(
        history=KeptHistory(history_path() if keep_history else None, keeps),
        completer=Legal(session),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        bottom_toolbar=lambda: hint(session),
        style=Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack" if session.screen.colours else ""}),
        color_depth=None if session.screen.colours else ColorDepth.DEPTH_1_BIT,
        erase_when_done=True,  # what was said is printed in its public form
        enable_history_search=True,
    )


async def _next_line(session: TalkSession, prompt: PromptSession[str]) -> str:
    """What is typed next, while whatever the server says meanwhile is shown above it."""
    if session.hand.course.signing_in and not session.over:
        typed = ask_hidden("C: ")
        return "*" if typed is None else typed
    if is_dumb_terminal() or prompt.app.renderer.cpr_support is CPR_Support.NOT_SUPPORTED:
        session.screen.hint(hint(session))
    with patch_stdout(raw=True):
        watch = asyncio.ensure_future(_watch(session, prompt))
        try:
            return await prompt.prompt_async(ANSI("\x1b[36mC:\x1b[0m ") if session.screen.colours else "C: ")
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def _watch(session: TalkSession, prompt: PromptSession[str]) -> None:
    """Show what the server says of its own accord, or late."""
    while not session.over:
        event = await session.connection.event(None)
        if event is not None:
            await session.show(event)
            prompt.app.invalidate()
    session.tell_end()
    if session.hand.course.over and prompt.app.is_running:
        prompt.app.exit(result=":quit")
        sys.stdout.flush()
