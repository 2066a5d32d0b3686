"""Which known wording a reply is.

Lives here: the search for the entry whose pattern fits, and the order in which several that fit are preferred.
Does not live here: what to say where none fits (explainer.py), what a pattern demands (pattern.py).

The most specific entry wins. An operator's own go first. Among the others, what counts is how many letters and digits
a match must have at least: `5\\.7\\.26 .*unauthenticated` demands 19, `5\\.7\\.` two. Where that is equal, an entry
that names a server goes before one that does not, then the one whose match is longer, then the order of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from glasspost.explain.entry import Entry
from glasspost.explain.pattern import demands
from glasspost.explain.shelf import Card


@dataclass(slots=True)
class _Candidate:
    card: Card
    weight: int
    needles: tuple[str, ...]
    compiled: re.Pattern[str] | None = None

    def search(self, line: str) -> re.Match[str] | None:
        if self.compiled is None:
            self.compiled = re.compile(self.card.key, re.IGNORECASE)
        return self.compiled.search(line)


class Wordings:
    """The entries that have a pattern. A pattern is compiled when a text has what it demands, not before."""

    def __init__(self, cards: Iterable[Card]) -> None:
        found = []
        for card in cards:
            wanted = demands(card.key)
            found.append(_Candidate(card, wanted.weight, wanted.needles))
        self._candidates = sorted(found, key=lambda one: (not one.card.own, -one.weight))

    def find(self, line: str, failures: bool = True) -> Entry | None:
        """The entry that fits best, or None. `line` is a reply in one line (reply_text.py); without `failures`, entries
        for failures are left out."""
        lowered = line.lower()
        best: tuple[tuple[object, ...], Entry] | None = None
        rank: tuple[bool, int] | None = None
        for one in self._candidates:
            if rank is not None and (one.card.own, one.weight) != rank:
                break  # they are sorted: no later one can be more specific
            if one.card.kind == "failure" and not failures:
                continue
            if one.needles and not any(needle in lowered for needle in one.needles):
                continue
            match = one.search(line)
            if match is None:
                continue
            rank = (one.card.own, one.weight)
            entry = one.card.entry
            order = (not entry.server, match.start() - match.end(), entry.name)
            if best is None or order < best[0]:
                best = (order, entry)
        return best[1] if best else None
