"""Commands about what was said: `glasspost conversations list|show|search|follow|export`.

Lives here: what is typed and what is printed; list and show.
Does not live here: search, follow, export (conversations_search.py), reading the record (storage/talks.py).
"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from glasspost.cli.conversations_search import export_conversations, follow_conversations, search_conversations
from glasspost.cli.directory import DEFAULT_DATA, AsJson, Data, Mistyped
from glasspost.cli.record import columns_of, conversation_facts, conversation_lines, talks_in

conversations_app = typer.Typer(help="What was said, to whom, and how it ended.", no_args_is_help=True)

Kind = Annotated[str, typer.Option(help="Only smtp-in, smtp-out or pop3.", metavar="KIND")]
Peer = Annotated[str, typer.Option(help="Only with this host, or host:port.", metavar="HOST")]
Times = Annotated[bool, typer.Option("--times", help="Print when each line was said, in seconds.")]

_KINDS = ("smtp-in", "smtp-out", "pop3")


@conversations_app.command("list")
def list_conversations(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    before: Annotated[str, typer.Option(help="Only older ones than this.", metavar="ID")] = "",
    kind: Kind = "",
    peer: Peer = "",
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Print the conversations there were, the newest first, and how each went."""
    if kind and kind not in _KINDS:
        raise Mistyped(f'"{kind}" is no kind of conversation; there are {", ".join(_KINDS)}')
    with talks_in(data) as talks:
        found = talks.conversations(limit=limit, before=before, kind=kind, peer=peer)
    if as_json:
        print(json.dumps([conversation_facts(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        print("\n".join(conversation_lines(one, columns_of(sys.stdout))))


@conversations_app.command("show")
def show_conversation(
    name: Annotated[str, typer.Argument(metavar="ID", help="A conversation, a message (all about it), or last.")],
    times: Times = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each reply means.")] = False,
    lang: Annotated[str, typer.Option(metavar="LANG", help="Explanations in en or zh; else as LANG has it.")] = "",
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Print a conversation as a talk: C: the client's lines, S: the server's, # what else is known."""
    from glasspost.cli.dialogue import laid_out, language

    chosen = language(lang)
    with talks_in(data) as talks:
        found = talks.find(name)
        if as_json:
            facts = [{**conversation_facts(one), "talk": talks.talk(one.id, times=times)} for one in found]
            print(json.dumps(facts, indent=2, ensure_ascii=False))
            return
        for number, one in enumerate(found):
            sys.stdout.write(("\n" if number else "") + one.header)
            if explain:
                talk = "".join(talks.pieces(one, times=True))
                print("\n".join(laid_out(talk.splitlines(), chosen, everything=True)))
                continue
            for piece in talks.pieces(one, times=times):
                sys.stdout.write(piece)


# "-to:bob@example.org" is a filter, not an option.
_FILTERS = {"ignore_unknown_options": True}
conversations_app.command("search", context_settings=_FILTERS)(search_conversations)
conversations_app.command("follow", context_settings=_FILTERS)(follow_conversations)
conversations_app.command("export", context_settings=_FILTERS)(export_conversations)
