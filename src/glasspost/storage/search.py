"""Finding conversations among very many.

Lives here: asking the index, and looking closely at what it proposes.
Does not live here: what a search means (filters.py), how the index is filled (transcript_jobs.py), reading whole
conversations (talks.py).

The index proposes segments, the newest first; each proposal is read and looked at, so what is found is right whatever
the index thinks. Where it has nothing to say every talk is read (`text:`), or every conversation looked at (only
negations).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from glasspost.protocol.episodes import Episode
from glasspost.storage.filters import Search
from glasspost.storage.passages import Passages
from glasspost.storage.talks import Conversation, Talks


@dataclass(frozen=True, slots=True)
class Hit:
    """A conversation that was found: its opening, and the transactions for which the search holds. Where it holds for
    the opening alone there is none."""

    conversation: Conversation
    opening: Episode
    transactions: tuple[Episode, ...]


def search(talks: Talks, wanted: Search) -> Iterator[Hit]:
    """The conversations that a search finds, the newest first, as they are found. Each once, but a very long one as
    often as there are places in it, with other transactions each time."""
    passages = Passages(talks)
    settled: dict[int, int] = {}  # from which segment on a conversation has been looked at
    found_at: dict[int, set[float]] = {}
    for number, segment in _proposals(talks, wanted):
        if segment >= settled.get(number, segment + 1):
            continue
        conversation = talks.numbered(number)
        if conversation is None or conversation.kind not in wanted.kinds:
            continue
        if not wanted.since <= conversation.started <= wanted.until:
            continue
        hit, settled[number] = _looked_at(passages, conversation, segment, wanted)
        if hit is None:
            continue
        known = found_at.setdefault(number, set())
        new = tuple(one for one in hit.transactions if one.at not in known)
        if new or not known:
            known.update([one.at for one in new] or [0.0])
            yield Hit(conversation, hit.opening, new)


def look_at(talks: Talks, conversation: Conversation, segment: int, wanted: Search) -> Hit | None:
    """Whether a search holds for a conversation; of a very long one, for what was said around a segment (0: at its
    end)."""
    return _looked_at(Passages(talks), conversation, segment, wanted)[0]


def _looked_at(
    passages: Passages, conversation: Conversation, segment: int, wanted: Search
) -> tuple[Hit | None, int]:  # fmt: skip
    """The same, and from which segment on nothing more is to be found."""
    part = passages.around(conversation, segment)
    opening, transactions = part.opening, part.transactions
    found = tuple(
        one for one in transactions if wanted.matches(opening, one, conversation.peer, conversation.id)
    )  # fmt: skip
    if found or (not transactions and wanted.matches(opening, opening, conversation.peer, conversation.id)):
        return Hit(conversation, opening, found), part.settled
    return None, part.settled


def _proposals(talks: Talks, wanted: Search) -> Iterator[tuple[int, int]]:
    """Conversations worth a look, by number, with the segment that speaks for each (0: none does)."""
    if wanted.conversation:
        yield wanted.conversation, 0
    elif wanted.message:
        passages = Passages(talks)
        for conversation in reversed(talks.conversations_of(wanted.message)):
            yield conversation.number, passages.place_of(conversation, wanted.message)
    elif wanted.index_query:
        yield from ((number, segment) for segment, number in talks.proposed(wanted.index_query, wanted.since))
    elif wanted.needles:
        yield from ((number, segment) for segment, number in talks.saying(wanted.needles, wanted.since))
    else:
        yield from ((number, 0) for number in talks.numbers(wanted.since, wanted.until, wanted.kinds))
