"""What of a conversation is about something: its opening, and its transactions; of a very long one, those near a place.

Lives here: how much of a conversation is read, and finding the place in it that speaks of a message.
Does not live here: cutting a talk into transactions (protocol/episodes.py), reading segments (talks.py), what is looked
for (search.py, story.py).

Most conversations are a segment or two, and are read whole. One that went on for hours is read through a window around
a place. A transaction whose beginning lies before the window is left out of it: half of one would say wrong things.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from glasspost.protocol.episodes import Episode, episodes
from glasspost.storage.talks import Conversation, Talks

WINDOW = 32  # segments read before and behind a place in a long conversation

_QUEUE_ID = re.compile(r"\bq[0-9a-z]{11}\b")


@dataclass(frozen=True, slots=True)
class Passage:
    """`settled`: what was said from this segment on (to the window's end) is here with all that belongs to it; 0 where
    the whole conversation is here."""

    opening: Episode
    transactions: list[Episode]
    settled: int = 0


@dataclass(slots=True)
class Passages:
    """Reads passages of a record. Where long conversations speak of which message is found out once."""

    talks: Talks
    _places: dict[str, dict[str, int]] = field(default_factory=dict)

    def around(self, conversation: Conversation, segment: int = 0) -> Passage:
        """What was said around a segment; 0: at the end."""
        if self.talks.segment_count(conversation) <= 2 * WINDOW:
            opening, *transactions = episodes("".join(self.talks.pieces(conversation, times=True)))
            return Passage(opening, transactions)
        found = self.talks.segments_around(conversation, segment, WINDOW)
        numbers = [number for number, _ in found]
        near = "".join(text for _, text in found)
        first, beginning = next(self.talks.segments(conversation))
        cut, *transactions = episodes(near)
        if numbers[0] == first:
            return Passage(cut, transactions, numbers[0])
        opening = episodes(beginning)[0]
        settled = numbers[min(WINDOW // 2, len(numbers) - 1)]
        # One transaction that is longer than the window: what there is of it is better than nothing.
        return Passage(opening, transactions or [cut], settled)

    def about(self, conversation: Conversation, queue_id: str) -> Passage:
        """What was said about a message."""
        return self.around(conversation, self.place_of(conversation, queue_id))

    def place_of(self, conversation: Conversation, queue_id: str) -> int:
        """The first segment that names a message; 0 where it does not matter."""
        if self.talks.segment_count(conversation) <= 2 * WINDOW:
            return 0
        places = self._places.get(conversation.id)
        if places is None:
            places = self._places[conversation.id] = {}
            for number, text in self.talks.segments(conversation):
                for name in _QUEUE_ID.findall(text):
                    places.setdefault(name, number)
        return places.get(queue_id, 0)
