"""`glasspost talk`: a conversation with any SMTP or POP3 server, led by hand or by a script.

Lives here: the command, and a script as the one who types.
Does not live here: a person who types (talk_prompt.py), what becomes of a line (talk_session.py).
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.cli.secret import PasswordEnv, PasswordFile, PasswordKeyring, PasswordSource
from glasspost.errors import Exit

if TYPE_CHECKING:
    from glasspost.cli.talk_connection import HandConnection
    from glasspost.cli.talk_notebook import Notebook
    from glasspost.cli.talk_session import TalkSession

LangOption = Annotated[str, typer.Option("--lang", help="Explain in en or zh; else as LANG has it.", metavar="LANG")]
Patience = Annotated[float, typer.Option("--timeout", min=0.1, help="Wait so long for an answer.", metavar="SECONDS")]
Verify = Annotated[bool, typer.Option("--verify", help="TLS only with a certificate that is right for the name.")]
Tls = Annotated[
    bool | None, typer.Option("--tls/--no-tls", help="TLS from the first octet; so by itself at ports 465 and 995.")
]


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What was asked for on the command line."""

    where: str
    tls: bool
    verify: bool
    lang: str
    save: Path | None
    password: PasswordSource
    timeout: float
    history: bool


def talk(
    where: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="The server; port 25 where none is given.")],
    tls: Tls = None,
    verify: Verify = False,
    lang: LangOption = "",
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Explain each answer.")] = True,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the conversation down as a talk.", metavar="FILE")
    ] = None,
    password_file: PasswordFile = None,
    password_env: PasswordEnv = "",
    password_keyring: PasswordKeyring = "",
    timeout: Patience = 60.0,
    history: Annotated[bool, typer.Option("--history/--no-history", help="Keep typed commands for next time.")] = True,
) -> int:
    """Talk with an SMTP or POP3 server by hand.

    Lines go to the server as they are typed; lines that begin with a colon are for us: :tls :auth :save :explain :help
    :quit. With commands on standard input each answer is awaited before the next is sent, and the exit code is 0
    where all was answered with yes, 7 where something was refused, 8 where the conversation failed. A password for
    :auth comes from where an option says, from GLASSPOST_PASSWORD, or is asked for.
    """
    from glasspost.cli.dialogue import language as as_wanted
    from glasspost.cli.talk_connection import IMPLICIT_TLS, read_place

    implicit = read_place(where).port in IMPLICIT_TLS if tls is None else tls
    language = as_wanted(lang) if explain else ""
    password = PasswordSource(password_file, password_env, password_keyring)
    wishes = _Wishes(where, implicit, verify, language, save, password, timeout, history)
    return asyncio.run(_talk(wishes))


async def _talk(wishes: _Wishes) -> int:
    from glasspost.cli.talk_connection import call, read_place
    from glasspost.cli.talk_notebook import Notebook
    from glasspost.clock import SystemClock
    from glasspost.protocol.by_hand import ByHand
    from glasspost.storage.talks import moment

    place = read_place(wishes.where)
    clock = SystemClock()
    notebook = Notebook(clock, f"talk with {place}, {moment(clock.now())}")
    hand = ByHand(notebook)
    connection = await call(place, hand, tls=wishes.tls, verify=wishes.verify, seconds=wishes.timeout)
    try:
        session = await _hold(wishes, connection, notebook)
    finally:
        connection.abort()
        await asyncio.sleep(0)
    if session.failed:
        return Exit.UNREACHABLE
    return Exit.REFUSED if session.refusals else Exit.OK


async def _hold(wishes: _Wishes, connection: HandConnection, notebook: Notebook) -> TalkSession:
    """The conversation, to its end."""
    from glasspost.cli.talk_screen import Screen
    from glasspost.cli.talk_session import TalkSession

    screen = Screen(lang=wishes.lang)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        from glasspost.cli.talk_prompt import Person, converse

        typist: Person | Scripted = Person(wishes.password, plain=not screen.colours)
    else:
        typist = Scripted(wishes.password)
    session = TalkSession(connection, notebook, screen, typist, verify=wishes.verify)
    session.saved = wishes.save
    session.note(f"connected to {connection.place} at {connection.peer[0]}")
    if wishes.tls:
        notebook.note("TLS from the start")
        session.show_tls()
    if interactive:
        await converse(session, keep_history=wishes.history)
        session.refusals = 0  # a person has seen them
    else:
        await play(session, wishes.timeout)
    return session


# --- a script ---------------------------------------------------------------------------------------------------


class Scripted:
    """A script answers no questions: it is warned, and does as it says. Passwords come from elsewhere."""

    def __init__(self, password: PasswordSource) -> None:
        self._password = password

    async def ask(self, question: str) -> str | None:
        return None

    async def ask_secret(self, user: str, question: str) -> str | None:
        return self._password.read(user, question)

    async def agrees(self, question: str) -> bool:
        return True


class Lines:
    """Standard input line by line, without keeping the event loop waiting."""

    def __init__(self) -> None:
        self._wanted: queue.SimpleQueue[asyncio.Future[bytes]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, daemon=True).start()  # it may wait for ever: nobody waits for it at the end

    async def next(self) -> bytes:
        """The next line with its end; empty at the end of the input."""
        wanted: asyncio.Future[bytes] = self._loop.create_future()
        self._wanted.put(wanted)
        return await wanted

    def _read(self) -> None:
        while True:
            wanted = self._wanted.get()
            line = sys.stdin.buffer.readline()
            try:
                self._loop.call_soon_threadsafe(_fulfil, wanted, line)
            except RuntimeError:  # the conversation is over
                return


def _fulfil(wanted: asyncio.Future[bytes], line: bytes) -> None:
    if not wanted.done():
        wanted.set_result(line)


async def play(session: TalkSession, seconds: float) -> None:
    """Type what stands on standard input, each line once the one before is answered."""
    from glasspost.cli.talk_session import leave

    lines = Lines()
    try:
        await _answered(session, seconds)
        while not session.left and not session.failed:
            typed = await lines.next()
            if not typed:
                break
            if session.over:
                session.tell_end()
                session.screen.note("not sent, as the conversation is over: the rest of the input", warning=True)
                session.failed = True
                break
            await session.type(typed.removesuffix(b"\n").removesuffix(b"\r"))
            await _answered(session, seconds)
        await _end(session)
    finally:
        await leave(session, seconds)


async def _answered(session: TalkSession, seconds: float) -> None:
    if not await session.settle(seconds):
        session.tell_rest()
        session.note(f"no answer within {seconds:g} s")
        session.failed = True


async def _end(session: TalkSession) -> None:
    """The input is at its end: QUIT, where that can be said."""
    course = session.hand.course
    if session.over or session.failed or course.over:
        return
    if course.in_body or course.chunk_left:
        session.note("the input ended within the message: it is not ended either, so nothing of it counts")
        session.failed = True
    elif not session.left:
        await session.run("quit")
