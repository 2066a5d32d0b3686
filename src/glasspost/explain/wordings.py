"""Which known wording a reply is.

Lives here: the search for the entry whose pattern fits, and the order in which several that fit are preferred.
Does not live here: what to say where none fits (explainer.py), what a pattern demands (pattern.py).

The most specific entry wins. An operator's own go first. Among the others, what counts is how many letters and digits
a match must have at least: `5\\.7\\.26 .*unauthenticated` demands 19, `5\\.7\\.` two. Of alternatives, the one that
demands least counts; but a failure's pattern lists how different programs tell the same, so there each counts for
itself. Where that is equal, an entry that names a server goes before one that does not, then the one whose match is
longer, then the order of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from glasspost.explain.entry import Entry
from glasspost.explain.pattern import Alternative, alternatives, as_one
from glasspost.explain.shelf import Card


@dataclass(slots=True)
class _Candidate:
    """An entry's pattern, or one alternative of it."""

    card: Card
    pattern: Alternative
    compiled: re.Pattern[str] | None = None

    @property
    def rank(self) -> tuple[bool, int]:
        return self.card.own, self.pattern.weight

    def search(self, line: str, lowered: str) -> re.Match[str] | None:
        if self.pattern.needles and not any(needle in lowered for needle in self.pattern.needles):
            return None
        if self.compiled is None:
            self.compiled = re.compile(self.pattern.text, re.IGNORECASE)
        return self.compiled.search(line)


class Wordings:
    """The entries that have a pattern. A pattern is compiled when a text has what it demands, not before."""

    def __init__(self, cards: Iterable[Card]) -> None:
        found = [_Candidate(card, pattern) for card in cards for pattern in _patterns(card)]
        self._candidates = sorted(found, key=lambda one: one.rank, reverse=True)

    def find(self, line: str, failures: bool = True) -> Entry | None:
        """The entry that fits best, or None. `line` is a reply in one line (reply_text.py); without `failures`, entries
        for failures are left out."""
        lowered = line.lower()
        best: tuple[tuple[object, ...], Entry] | None = None
        rank: tuple[bool, int] | None = None
        for one in self._candidates:
            if rank is not None and one.rank != rank:
                break  # they are sorted: no later one can be more specific
            if one.card.kind == "failure" and not failures:
                continue
            match = one.search(line, lowered)
            if match is None:
                continue
            rank = one.rank
            entry = one.card.entry
            order = (not entry.server, match.start() - match.end(), entry.name)
            if best is None or order < best[0]:
                best = (order, entry)
        return best[1] if best else None


def _patterns(card: Card) -> list[Alternative]:
    found = alternatives(card.key)
    return found if card.kind == "failure" or len(found) == 1 else [as_one(card.key, found)]
