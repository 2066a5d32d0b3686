"""Finding conversations among very many.

Lives here: asking the index, and looking closely at what it proposes.
Does not live here: what a search means (filters.py), how the index is filled (transcript_jobs.py), reading whole
conversations (talks.py).

The index proposes segments, the newest first; each proposal is read and looked at, so what is found is right whatever
the index thinks. Where it has nothing to say (`text:`, or only negations) every conversation is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from glasspost.protocol.episodes import Episode, episodes
from glasspost.storage.filters import Search
from glasspost.storage.talks import Conversation, Talks


@dataclass(frozen=True, slots=True)
class Hit:
    """A conversation that was found: its opening, and the transactions for which the search holds. Where it holds for
    the opening alone there is none."""

    conversation: Conversation
    opening: Episode
    transactions: tuple[Episode, ...]


def search(talks: Talks, wanted: Search) -> Iterator[Hit]:
    """The conversations that a search finds, the newest first, each once, as they are found."""
    for number, segment in _proposals(talks, wanted):
        conversation = talks.numbered(number)
        if conversation is None or conversation.kind not in wanted.kinds:
            continue
        if not wanted.since <= conversation.started <= wanted.until:
            continue
        hit = look_at(talks, conversation, segment, wanted)
        if hit is not None:
            yield hit


def look_at(talks: Talks, conversation: Conversation, segment: int, wanted: Search) -> Hit | None:
    """Whether a search holds for a conversation; of a very long one, for what was said around a segment (0: at its
    end)."""
    opening, *transactions = episodes(talks.around(conversation, segment))
    found = tuple(
        one for one in transactions if wanted.matches(opening, one, conversation.peer, conversation.id)
    )  # fmt: skip
    if found or (not transactions and wanted.matches(opening, opening, conversation.peer, conversation.id)):
        return Hit(conversation, opening, found)
    return None


def _proposals(talks: Talks, wanted: Search) -> Iterator[tuple[int, int]]:
    """Conversations worth a look, by number, with the segment that speaks for each (0: none does)."""
    query = wanted.index_query
    if not query:
        yield from ((number, 0) for number in talks.numbers(wanted.since, wanted.until))
        return
    seen: set[int] = set()
    for segment, number in talks.proposed(query, wanted.since):
        if number not in seen:
            seen.add(number)
            yield number, segment
