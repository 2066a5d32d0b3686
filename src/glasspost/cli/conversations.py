"""Commands about what was said: `glasspost conversations list|show|follow`.

Lives here: what is typed and what is printed.
Does not live here: reading the record (storage/talks.py), writing it (storage/transcripts.py).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.cli.directory import DEFAULT_DATA, AsJson, Data, Mistyped

if TYPE_CHECKING:
    from glasspost.storage.talks import Conversation, Talks

conversations_app = typer.Typer(help="What was said, to whom, and how it ended.", no_args_is_help=True)

Kind = Annotated[str, typer.Option(help="Only smtp-in, smtp-out or pop3.", metavar="KIND")]
Peer = Annotated[str, typer.Option(help="Only with this host, or host:port.", metavar="HOST")]
Times = Annotated[bool, typer.Option("--times", help="Print when each line was said, in seconds.")]

_KINDS = ("smtp-in", "smtp-out", "pop3")
_POLL_SECONDS = 0.5


@conversations_app.command("list")
def list_conversations(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    before: Annotated[str, typer.Option(help="Only older ones than this.", metavar="ID")] = "",
    kind: Kind = "",
    peer: Peer = "",
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Print the conversations there were, the newest first."""
    _check_kind(kind)
    with _talks(data) as talks:
        found = talks.conversations(limit=limit, before=before, kind=kind, peer=peer)
    if as_json:
        print(json.dumps([_facts(one) for one in found], indent=2, ensure_ascii=False))
        return
    from glasspost.storage.talks import moment

    for one in found:
        verdict = one.verdict or ("" if one.ended else "(going on)")
        print(f"{one.id}  {moment(one.started)}  {one.kind:<8}  {one.peer:<21}  {verdict}".rstrip())


@conversations_app.command("show")
def show_conversation(
    name: Annotated[str, typer.Argument(metavar="ID", help="A conversation, a message (all about it), or last.")],
    times: Times = False,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Print a conversation as a talk: C: the client's lines, S: the server's, # what else is known."""
    with _talks(data) as talks:
        found = talks.find(name)
        if as_json:
            facts = [{**_facts(one), "talk": talks.talk(one.id, times=times)} for one in found]
            print(json.dumps(facts, indent=2, ensure_ascii=False))
            return
        for number, one in enumerate(found):
            sys.stdout.write(("\n" if number else "") + one.header)
            for piece in talks.pieces(one, times=times):
                sys.stdout.write(piece)


@conversations_app.command("follow")
def follow_conversations(
    times: Times = False,
    kind: Kind = "",
    seconds: Annotated[float, typer.Option(help="Stop after so many seconds.", metavar="N")] = 0.0,
    data: Data = DEFAULT_DATA,
) -> None:
    """Print what is said from now on, about a second after it is said, until interrupted."""
    _check_kind(kind)
    end = time.monotonic() + seconds if seconds else float("inf")
    with _talks(data) as talks:
        at, last = talks.newest_piece(), ""
        try:
            while True:
                at, last = _print_new(talks, at, last, kind, times)
                if time.monotonic() >= end:
                    return
                time.sleep(min(_POLL_SECONDS, max(0.0, end - time.monotonic())))
        except KeyboardInterrupt:
            return


def _print_new(talks: Talks, at: int, last: str, kind: str, times: bool) -> tuple[int, str]:
    """Print the pieces after number `at`; a header where the conversation is another than `last`. Returns both anew."""
    while pieces := talks.since(at, times=times):
        for piece in pieces:
            at = piece.number
            if kind and piece.conversation.kind != kind:
                continue
            if piece.conversation.id != last:
                sys.stdout.write(("\n" if last else "") + piece.conversation.header)
                last = piece.conversation.id
            sys.stdout.write(piece.talk)
    sys.stdout.flush()
    return at, last


@contextmanager
def _talks(data: Path) -> Iterator[Talks]:
    from glasspost.storage.folder import Folder
    from glasspost.storage.talks import Talks

    folder = Folder(data)
    folder.must_exist()
    talks = Talks(folder.transcripts)
    try:
        yield talks
    finally:
        talks.close()


def _check_kind(kind: str) -> None:
    if kind and kind not in _KINDS:
        raise Mistyped(f'"{kind}" is no kind of conversation; there are {", ".join(_KINDS)}')


def _facts(one: Conversation) -> dict[str, object]:
    return {
        "id": one.id,
        "kind": one.kind,
        "started": one.started,
        "ended": one.ended or None,
        "local": one.local,
        "peer": one.peer,
        "verdict": one.verdict,
        "lines": one.lines,
        "octets": one.octets,
    }
