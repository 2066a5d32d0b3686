"""Finding conversations, following them, taking them along: `glasspost conversations search|follow|export`.

Lives here: what is typed and what is printed.
Does not live here: what a search means (storage/filters.py), searching (storage/search.py), the form of a talk
(protocol/talk.py).
"""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.cli.directory import DEFAULT_DATA, AsJson, Data, Mistyped
from glasspost.cli.record import columns_of, conversation_facts, conversation_lines, talks_in, typed_search
from glasspost.errors import GlasspostError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glasspost.storage.filters import Search
    from glasspost.storage.search import Hit
    from glasspost.storage.talks import Piece, Talks

Times = Annotated[bool, typer.Option("--times", help="Print when each line was said, in seconds.")]
Filters = Annotated[
    list[str],
    typer.Argument(
        metavar="FILTER...",
        help="from: to: subject: id: reply: peer: kind: since: until: text:, or a word; - before it: not.",
    ),
]
MaybeFilters = Annotated[list[str] | None, typer.Argument(metavar="[FILTER]...", help="As for search; none: all.")]

_POLL_SECONDS = 0.5
_KINDS = ("smtp-in", "smtp-out", "pop3")


def search_conversations(
    filters: Filters,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Find conversations: 'from:alice@example.org -to:*@example.net reply:5.7.* since:2h text:"no such"'.

    All filters must hold for one and the same message, or attempt at one. A * stands for anything. The newest come
    first, as they are found.
    """
    from glasspost.storage.search import search

    wanted = typed_search(filters, data)
    count = 0
    with talks_in(data) as talks:
        hits = islice(_each_once(search(talks, wanted)), limit)
        if as_json:
            print(json.dumps([_facts(hit) for hit in hits], indent=2, ensure_ascii=False))
            return
        for count, hit in enumerate(hits, 1):  # noqa: B007  (it is looked at below)
            lines = conversation_lines(hit.conversation, columns_of(sys.stdout))
            print("\n".join([*lines, *_whose(hit)]), flush=True)
        behind = talks.behind
    if not count:
        from glasspost.cli.why import BEHIND

        perhaps = BEHIND if behind else "the last second may not be stored yet"
        raise NotFound(f"no conversation on record is like that; {perhaps}")
    if count == limit:
        print(f"There may be more: --limit {2 * limit}, or narrow the search.", file=sys.stderr)


def _facts(hit: Hit) -> dict[str, object]:
    from glasspost.protocol.episodes import RECIPIENT, SENDER, SUBJECT

    found = [
        {
            "queue_id": part.queue_id or None,
            "sender": part.first(SENDER),
            "recipients": part.all(RECIPIENT),
            "subject": part.first(SUBJECT),
        }
        for part in hit.transactions
    ]
    return {**conversation_facts(hit.conversation), "found": found}


def _whose(hit: Hit) -> list[str]:
    """Of a message, or the attempt to bring one: from whom, to whom, what about; one line, or none."""
    from glasspost.explain.typography import shortened, visible
    from glasspost.protocol.episodes import RECIPIENT, SENDER, SUBJECT

    if not hit.transactions:
        return []
    part, more = hit.transactions[0], len(hit.transactions) - 1
    recipients = part.all(RECIPIENT)
    others = f" and {len(recipients) - 1} more" if len(recipients) > 1 else ""
    ends = f"{part.first(SENDER) or '<>'} -> {recipients[0] if recipients else 'nobody'}{others}"
    rest = f"  (and {more} more like it)" if more else ""
    return [shortened(visible(f"    {ends}  {part.first(SUBJECT)}".rstrip()), 80 - len(rest)) + rest]


def _each_once(hits: Iterator[Hit]) -> Iterator[Hit]:
    """Of a very long conversation only what was found first in it."""
    known: set[str] = set()
    for hit in hits:
        if hit.conversation.id not in known:
            known.add(hit.conversation.id)
            yield hit


def follow_conversations(
    filters: MaybeFilters = None,
    times: Times = False,
    kind: Annotated[str, typer.Option(help="Only smtp-in, smtp-out or pop3.", metavar="KIND")] = "",
    seconds: Annotated[float, typer.Option(help="Stop after so many seconds.", metavar="N")] = 0.0,
    data: Data = DEFAULT_DATA,
) -> None:
    """Print what is said from now on, about a second after it is said, until interrupted.

    With filters a conversation is printed, from its beginning, as soon as they hold for it.
    """
    if kind and kind not in _KINDS:
        raise Mistyped(f'"{kind}" is no kind of conversation; there are {", ".join(_KINDS)}')
    words = [*(filters or []), *([f"kind:{kind}"] if kind else [])]
    follower = _Follower(typed_search(words, data) if words else None, times)
    end = time.monotonic() + seconds if seconds else float("inf")
    with talks_in(data) as talks:
        at = talks.newest_piece()
        try:
            while True:
                at = follower.print_new(talks, at)
                if time.monotonic() >= end:
                    return
                time.sleep(min(_POLL_SECONDS, max(0.0, end - time.monotonic())))
        except KeyboardInterrupt:
            return


class _Follower:
    """What was printed last, and for which conversations the search holds."""

    def __init__(self, wanted: Search | None, times: bool) -> None:
        self._wanted = wanted
        self._times = times
        self._last = ""
        self._held: set[str] = set()

    def print_new(self, talks: Talks, at: int) -> int:
        """Print the pieces after number `at`; a header where the conversation is another. Returns the new number."""
        while pieces := talks.since(at, times=self._times):
            for piece in pieces:
                at = piece.number
                self._print(talks, piece)
        sys.stdout.flush()
        return at

    def _print(self, talks: Talks, piece: Piece) -> None:
        one, talk = piece.conversation, piece.talk
        if self._wanted is not None and one.id not in self._held:
            from glasspost.storage.search import look_at

            if one.kind not in self._wanted.kinds or look_at(talks, one, piece.number, self._wanted) is None:
                return
            self._held.add(one.id)
            talk = talks.until(one, piece.number, times=self._times)
        if one.id != self._last:
            sys.stdout.write(("\n" if self._last else "") + one.header)
            self._last = one.id
        sys.stdout.write(talk)


def export_conversations(
    filters: MaybeFilters = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Write a talk file for each, named after it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all of them.")] = 0,
    data: Data = DEFAULT_DATA,
) -> None:
    """Take conversations along: as JSON lines on standard output, or with --to as talk files in a folder.

    Passwords are masked in them, as on record; addresses and subjects are as the record has them.
    """
    from glasspost.storage.search import search

    wanted = typed_search(filters or [], data) if filters else typed_search([""], data)
    count = 0
    with talks_in(data) as talks:
        for count, hit in enumerate(islice(_each_once(search(talks, wanted)), limit or None), 1):  # noqa: B007
            talk = talks.talk(hit.conversation.id, times=True)
            if to is None:
                print(json.dumps({**conversation_facts(hit.conversation), "talk": talk}, ensure_ascii=False))
            else:
                _write(to, f"{hit.conversation.id}.talk", talk)
    if to is not None:
        print(f"{count} conversation{'' if count == 1 else 's'} in {to}")


def _write(folder: Path, name: str, talk: str) -> None:
    """A talk's file, readable for its owner only: it may hold addresses."""
    if folder.exists() and not folder.is_dir():
        raise GlasspostError(f"{folder} is a file; --to names a folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(talk, encoding="utf-8")
    except OSError as error:
        raise GlasspostError(f"{folder / name} cannot be written: {error.strerror}") from None
