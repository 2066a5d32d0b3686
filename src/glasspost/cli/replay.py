"""`glasspost replay`: a talk is held again with another server, and its answers are compared.

Lives here: the command, where the talk comes from, and what is printed.
Does not live here: playing (replay_player.py), reading a talk as a script (protocol/talk_script.py), comparing
(protocol/comparison.py).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.cli.directory import DEFAULT_DATA, AsJson, Data, Mistyped
from glasspost.cli.secret import PasswordEnv, PasswordFile, PasswordKeyring, PasswordSource
from glasspost.cli.talk import Patience, Tls, Verify
from glasspost.errors import Exit, GlasspostError, NotFound
from glasspost.ids import read_id

if TYPE_CHECKING:
    from glasspost.cli.replay_player import Found, Play
    from glasspost.cli.talk_screen import Screen
    from glasspost.protocol.talk import Line
    from glasspost.protocol.talk_script import Script


@dataclass(frozen=True, slots=True)
class Source:
    """A talk to be played: its lines, and the number of each in its file, from 1."""

    name: str
    lines: list[Line]
    numbers: list[int]


def replay(
    what: Annotated[
        str, typer.Argument(metavar="FILE|ID", help="A talk's file, or a conversation on record (c0..., last).")
    ],
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="The server to hold it with.")],
    diff: Annotated[bool, typer.Option("--diff", help="Compare texts, too; print only what differs.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Compare texts octet for octet.")] = False,
    timing: Annotated[
        bool, typer.Option("--timing", help="Pause where its client did; print how long answers took.")
    ] = False,
    user: Annotated[
        str, typer.Option("--user", help="Who signs in, where the talk does not say.", metavar="NAME")
    ] = "",
    password_file: PasswordFile = None,
    password_env: PasswordEnv = "",
    password_keyring: PasswordKeyring = "",
    tls: Tls = None,
    verify: Verify = False,
    timeout: Patience = 60.0,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> int:
    """Hold a talk again with any server, and compare its answers.

    Codes are compared always, texts with --diff: `...` stands for anything, and ids and dates that a server makes anew
    are passed over. The exit code is 0 where nothing differs, 1 where something does, 8 where there was no
    conversation. Messages that are not in the talk are replaced by others of the same size. A password that was masked
    comes from where an option says, from GLASSPOST_PASSWORD, or is asked for; without one the sign-in is left out.
    """
    from glasspost.cli.replay_player import Player
    from glasspost.cli.talk_connection import IMPLICIT_TLS, read_place
    from glasspost.cli.talk_screen import Screen
    from glasspost.protocol.comparison import How
    from glasspost.protocol.talk_script import read_script

    place = read_place(to)
    source = read_source(what, data)
    try:
        script = read_script(source.lines)
    except ValueError as error:
        raise GlasspostError(f"{source.name}: {error}") from None
    if tls is None:
        tls = script.implicit_tls or place.port in IMPLICIT_TLS
    name, password = _credentials(script, user, PasswordSource(password_file, password_env, password_keyring))
    how = How.EXACT if exact else How.TEXT if diff else How.CODES
    screen = Screen(lang="")
    quiet = diff or exact or as_json
    player = Player(
        source.lines, script, place, None if quiet else screen,
        how=how, timing=timing, patience=timeout, name=name, password=password,
    )  # fmt: skip
    played = asyncio.run(player.play(tls=tls, verify=verify))
    if as_json:
        _print_json(source, played)
    else:
        _print(screen, source, played, timing=timing, whole=not quiet)
    if played.unreachable:
        return Exit.UNREACHABLE
    return Exit.FAILED if played.differences else Exit.OK


def read_source(what: str, data: Path) -> Source:
    """The talk that somebody means. Raises NotFound, GlasspostError where it is none, StoreError."""
    from glasspost.protocol.talk import TalkError, parse_talk

    found = read_id(what)
    path = Path(what)
    if (what.lower() == "last" or (found is not None and found[0] == "c")) and not path.exists():
        text = _from_record(what, data)
    elif found is not None and not path.exists():
        raise Mistyped(f"{what} is a message; `glasspost conversations show {what}` names its conversations (c0...)")
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotFound(f"{what} is neither a file nor a conversation (c0..., last)") from None
        except (OSError, UnicodeDecodeError) as error:
            raise GlasspostError(f"{what} cannot be read: {error}") from None
    try:
        lines = parse_talk(text)
    except TalkError as error:
        raise GlasspostError(f"{what} is no talk: {error}") from None
    return Source(what, lines, [number for number, line in enumerate(text.split("\n"), 1) if line.strip()])


def _from_record(what: str, data: Path) -> str:
    from glasspost.storage.folder import Folder
    from glasspost.storage.talks import Talks

    folder = Folder(data)
    folder.must_exist()
    talks = Talks(folder.transcripts)
    try:
        return talks.talk(talks.find(what)[0].id, times=True)
    finally:
        talks.close()


def _credentials(script: Script, user: str, source: PasswordSource) -> tuple[str, str | None]:
    """Who signs in, and with which password; None where nobody says it, or it is not needed."""
    name = user or next(iter(script.users), "")
    if not script.needs_secret:
        return name, None
    if not name and not script.pop3:
        return "", None
    return name, source.read(name, f"password of {name or 'the user'}, or Enter to leave the sign-in out: ")


# --- what is printed --------------------------------------------------------------------------------------------


def _print(screen: Screen, source: Source, played: Play, *, timing: bool, whole: bool) -> None:
    for fact in () if whole else played.facts:  # otherwise they were shown where they belong
        screen.note(fact)
    for found in played.differences:
        place = f"{source.name}:{source.numbers[found.at]}"
        screen.note(f"{place}: {found.asked}", warning=True)
        print(f"  - {found.difference.expected or '(nothing)'}")
        print(f"  + {found.difference.said or '(nothing)'}")
    if timing:
        _print_timing(played)
    if played.stopped:
        screen.note(played.stopped)
    count = len(played.differences)
    rest = f"; {played.left_out} lines of the talk were not played" if played.left_out else ""
    screen.note(f"{count or 'no'} answer{'s' if count > 1 else ''} of {played.answers} differ{'s' * (count < 2)}{rest}")


def _print_timing(played: Play) -> None:
    print("# seconds   then    now   answer to")
    for taken in played.taken:
        then = "" if taken.then is None else f"{taken.then:.3f}"
        print(f"#         {then:>6} {taken.now:>6.3f}   {taken.asked}")


def _print_json(source: Source, played: Play) -> None:
    import json

    def fact(found: Found) -> dict[str, object]:
        return {
            "line": source.numbers[found.at],
            "asked": found.asked,
            "expected": found.difference.expected,
            "said": found.difference.said,
        }

    print(
        json.dumps(
            {
                "talk": source.name,
                "same": not played.differences,
                "answers": played.answers,
                "differences": [fact(found) for found in played.differences],
                "stopped": played.stopped,
                "not_played": played.left_out,
                "notes": played.facts,
                "seconds": [{"asked": one.asked, "then": one.then, "now": one.now} for one in played.taken],
            },
            indent=2,
            ensure_ascii=False,
        )
    )
