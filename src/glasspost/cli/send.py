"""`glasspost send`: send a message and watch the conversation.

Lives here: the command: its options, and the order of the work.
Does not live here: reading what is to be sent (send_letter.py), whom to call (send_way.py), the conversation
(outbound/trial.py), what is shown (send_view.py, send_report.py).
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.cli.directory import DEFAULT_DATA, AsJson, Data, Mistyped
from glasspost.cli.secret import PasswordEnv, PasswordFile, PasswordKeyring, PasswordSource
from glasspost.errors import GlasspostError

if TYPE_CHECKING:
    from rich.console import Console

    from glasspost.cli.send_letter import Post
    from glasspost.cli.send_way import Way
    from glasspost.outbound.sights import Sight

EPILOG = """\
Exit codes: 0 all accepted; 10 name, 11 connect, 12 greeting, 13 EHLO, 14 TLS, 15 sign-in, 16 MAIL, 17 RCPT, 18 DATA,
19 message: nobody was accepted, and there it ended; 20 some accepted; 21 in doubt. More in docs/send.md."""


def send(
    # what
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="ADDRESS", help="A recipient; may be repeated.")
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="ADDRESS", help="The sender; <> for none. Default: who signs in; else you, here."
        ),
    ] = None,
    cc: Annotated[list[str] | None, typer.Option("--cc", metavar="ADDRESS", help="A recipient of a copy.")] = None,
    bcc: Annotated[
        list[str] | None, typer.Option("--bcc", metavar="ADDRESS", help="A recipient whom no header names.")
    ] = None,
    subject: Annotated[str | None, typer.Option(metavar="TEXT", help="The subject.")] = None,
    body: Annotated[str | None, typer.Option(metavar="TEXT|@FILE|-", help="The text; - reads standard input.")] = None,
    html: Annotated[str | None, typer.Option(metavar="TEXT|@FILE|-", help="The same as HTML.")] = None,
    attach: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A file to go along.")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="'NAME: VALUE'", help="A header field more, or instead of the usual one."),
    ] = None,
    message: Annotated[
        str, typer.Option(metavar="FILE|-", help="Send this message as it is, instead of composing one.")
    ] = "",
    size: Annotated[str, typer.Option(metavar="SIZE", help="Fill the message up to this size: 300KB, 20MB.")] = "",
    eight_bit: Annotated[bool, typer.Option("--8bit", help="Send text as 8-bit, not in quoted-printable.")] = False,
    utf8: Annotated[bool, typer.Option("--utf8", help="Write the header in UTF-8 (SMTPUTF8).")] = False,
    # where to
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="To this server.")] = "",
    mx: Annotated[bool, typer.Option("--mx", help="To the servers that DNS names for each recipient.")] = False,
    node: Annotated[bool, typer.Option("--node", help="To the node that runs on the data folder.")] = False,
    data: Data = DEFAULT_DATA,
    dns: Annotated[str, typer.Option(metavar="ADDRESS:PORT", help="With --mx: ask this name server.")] = "",
    mx_port: Annotated[int, typer.Option(metavar="PORT", help="With --mx: call this port.")] = 25,
    source: Annotated[str, typer.Option(metavar="ADDRESS", help="Call from this address of ours.")] = "",
    # how
    tls: Annotated[
        str,
        typer.Option(
            metavar="auto|require|implicit|none",
            help="auto: where offered; require: STARTTLS with a right certificate; implicit: from the first octet.",
        ),
    ] = "",
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Take any certificate.")] = False,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="Believe this authority as well (PEM).")] = None,
    tls_name: Annotated[str, typer.Option(metavar="NAME", help="The name the certificate must be for.")] = "",
    auth: Annotated[str, typer.Option(metavar="USER", help="Sign in; the password is asked for.")] = "",
    password_file: PasswordFile = None,
    password_env: PasswordEnv = "",
    password_keyring: PasswordKeyring = "",
    helo: Annotated[str, typer.Option(metavar="NAME", help="What we call ourselves. Default: this host.")] = "",
    pipelining: Annotated[
        bool, typer.Option("--pipelining/--no-pipelining", help="Send commands in groups where it is offered.")
    ] = True,
    chunking: Annotated[bool, typer.Option("--chunking", help="Send with BDAT where it is offered.")] = False,
    dsn: Annotated[
        str, typer.Option(metavar="WISHES", help="Reports: success,failure,delay or never; also full or hdrs.")
    ] = "",
    lmtp: Annotated[bool, typer.Option("--lmtp", help="Speak LMTP: an answer for each recipient.")] = False,
    quit_after: Annotated[
        str, typer.Option(metavar="STAGE", help="Say QUIT after connect, hello, tls, auth, mail or rcpt.")
    ] = "",
    pause: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="Wait before each thing we say.")] = 0.0,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long an answer may take.")] = 60.0,
    # what is shown
    lang: Annotated[str, typer.Option(metavar="en|zh", help="The language of explanations; else as LANG has it.")] = "",
    as_json: AsJson = False,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Save the conversation as a talk.")] = None,
) -> int:
    """Send a message, and watch: every line said, what it means, and what became of each recipient."""
    from glasspost.cli.send_letter import Given, post
    from glasspost.cli.send_way import Manner, prepare

    language = _language(lang)
    given = Given(
        to or [], cc or [], bcc or [], _sender(sender, auth), subject, body, html, attach or [], header or [], message,
        size, eight_bit, utf8, dsn,
    )  # fmt: skip
    manner = Manner(
        server=server, mx=mx, node=node, data=data, dns=dns, mx_port=mx_port, source=source, tls=tls,
        verify=not no_verify, ca=ca, tls_name=tls_name, username=auth,
        password=PasswordSource(password_file, password_env, password_keyring), helo=helo, pipelining=pipelining,
        chunking=chunking, lmtp=lmtp, quit_after=quit_after, pause=pause, timeout=timeout,
    )  # fmt: skip
    way = prepare(manner)
    return asyncio.run(_send(post(given), way, language, as_json, save))


async def _send(letter: Post, way: Way, lang: str, as_json: bool, save: Path | None) -> int:
    """Run the trials, show them, keep what is to be kept; the exit code."""
    from glasspost.cli.send_meaning import exit_code
    from glasspost.cli.send_report import as_json as to_json
    from glasspost.cli.send_view import View
    from glasspost.cli.send_way import go
    from glasspost.outbound.sights import Moving

    loop = asyncio.get_running_loop()
    began = loop.time()
    view = None if as_json else View(_console(), lang, way.lmtp)
    seen: list[Sight] = []

    def watch(sight: Sight) -> None:
        if not isinstance(sight, Moving):
            seen.append(sight)
        if view is not None:
            view.show(sight)

    try:
        findings = await go(way, letter, watch, began)
    finally:
        if view is not None:
            view.close()
        if save is not None:
            _save(save, seen)
    took = loop.time() - began
    if view is not None:
        view.verdict(findings, took)
    else:
        print(json.dumps(to_json(seen, findings, letter.facts, took, lang), indent=2, ensure_ascii=False))
    return exit_code(findings)


def _sender(given: str | None, account: str) -> str | None:
    """As given; else whoever signs in, where that is an address: servers want it so. None: nobody said."""
    return account if given is None and "@" in account else given


def _language(wanted: str) -> str:
    """The language asked for, else the configured one, else the terminal's."""
    from glasspost.explain.explanation import LANGUAGES, known_language

    if wanted and wanted not in LANGUAGES:
        raise Mistyped(f"--lang is {' or '.join(LANGUAGES)}, not {wanted}")
    names = ("GLASSPOST_EXPLAIN__LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
    said = (os.environ.get(name, "") for name in names)
    return wanted or known_language(next((one for one in said if one not in ("", "auto")), ""))


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def _save(path: Path, seen: list[Sight]) -> None:
    from glasspost.cli.send_report import as_talk

    try:
        path.write_text(as_talk(seen), encoding="utf-8")
    except OSError as error:
        raise GlasspostError(f"the talk cannot be saved: {path}: {error.strerror}") from None
