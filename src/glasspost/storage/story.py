"""One message's story: how it came in, each attempt to pass it on, what became of every recipient, what comes next.

Lives here: putting together what conversations, fates and the queue know of one message; and finding the messages (or
visits that brought none) that somebody means by a name, an address, an id or a word.
Does not live here: how it is told (cli/why_text.py), what replies mean (explain/), searching (search.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from glasspost.ids import read_id
from glasspost.protocol.episodes import (
    ABOUT,
    ACCOUNT,
    ADDRESSEES,
    AUTHOR,
    MESSAGE_ID,
    RECIPIENT,
    RELAYED,
    SENDER,
    SUBJECT,
    Episode,
)
from glasspost.storage.fates import Fate
from glasspost.storage.filters import Filter, Search
from glasspost.storage.masking import Pseudonyms
from glasspost.storage.passages import Passages
from glasspost.storage.queue import Entry
from glasspost.storage.search import search
from glasspost.storage.talks import Conversation, Talks

_DEPOSITED = re.compile(r": safe on disk as q\w+: .* [1-9]\d* into mailboxes")
LIST_LIMIT = 20  # stories in a list of several
HITS_READ = 500  # conversations looked at for it

Waiting = Callable[[str], list[Entry]]  # the recipients of a message that wait in the queue


@dataclass(frozen=True, slots=True)
class Scene:
    """A message's part of one conversation. `transaction` is None where none was begun for it: nobody answered, or the
    server would not talk."""

    conversation: Conversation
    opening: Episode
    transaction: Episode | None

    @property
    def at(self) -> float:
        return self.conversation.started + (self.transaction.at if self.transaction else 0.0)

    @property
    def lines(self) -> list[str]:
        """What was said: the opening only where it decided."""
        return self.transaction.lines if self.transaction else self.opening.lines


@dataclass(slots=True)
class Story:
    """All that is known of one message, or of a visit that brought none (`queue_id` is empty then)."""

    queue_id: str
    arrival: Scene | None = None
    attempts: list[Scene] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    waiting: list[Entry] = field(default_factory=list)
    reports: dict[str, str] = field(default_factory=dict)  # of this message's reports, by id: where they stand

    def _told(self, kind: str) -> list[str]:
        scenes = ([self.arrival] if self.arrival else []) + self.attempts
        parts = [part for scene in scenes for part in (scene.transaction, scene.opening) if part is not None]
        return next((values for part in parts if (values := part.all(kind))), [])

    @property
    def began(self) -> float:
        moments = [scene.at for scene in [self.arrival, *self.attempts] if scene is not None]
        return min([*moments, *(fate.at for fate in self.fates), *(entry.arrived for entry in self.waiting)], default=0)

    @property
    def sender(self) -> str:
        """The reverse-path; "" for the null path, and where none was named."""
        return next(iter(self._told(SENDER)), "") or next((entry.sender for entry in self.waiting), "")

    @property
    def account(self) -> str:
        return next(iter(self._told(ACCOUNT)), "")

    @property
    def recipients(self) -> list[str]:
        """Every forward-path that is known, each once."""
        named = [*self._told(RECIPIENT), *(fate.recipient for fate in self.fates if fate.what != "report")]
        return list(dict.fromkeys([*named, *(entry.recipient for entry in self.waiting)]))

    @property
    def subject(self) -> str:
        return next(iter(self._told(SUBJECT)), "")

    @property
    def message_id(self) -> str:
        return next(iter(self._told(MESSAGE_ID)), "")

    @property
    def author(self) -> str:
        return next(iter(self._told(AUTHOR)), "")

    @property
    def addressees(self) -> str:
        return next(iter(self._told(ADDRESSEES)), "")

    @property
    def original(self) -> str:
        """Of a report of ours: the message it tells of."""
        return next((fate.other for fate in self.fates if fate.what == "report"), "")

    @property
    def state(self) -> str:
        """Where it stands now, in a few words."""
        if not self.queue_id:
            return self.arrival.conversation.verdict if self.arrival else ""
        parts = []
        if self.waiting:
            held = sum(entry.state == "held" for entry in self.waiting)
            parts.append(f"{'held' if held == len(self.waiting) else 'waits'}: {_count(len(self.waiting))}")
        failed = {fate.recipient for fate in self.fates if fate.what in ("failed", "given up")}
        if failed:
            parts.append(f"failed: {_count(len(failed))}")
        relayed = [scene.transaction.first(RELAYED) for scene in self.attempts if scene.transaction is not None]
        if any(one and not one.startswith("0 of") for one in relayed):
            parts.append("passed on")
        if any(fate.what in ("delivered", "report") for fate in self.fates) or self._deposited:
            parts.append("delivered")
        return "; ".join(parts) or ("accepted" if self.arrival is not None else "")

    @property
    def _deposited(self) -> bool:
        """Whether a copy went into a mailbox as it came in."""
        part = self.arrival.transaction if self.arrival else None
        return part is not None and any(_DEPOSITED.search(line) for line in part.lines if line[:1] == "#")


def _count(number: int) -> str:
    return f"{number} recipient{'' if number == 1 else 's'}"


def tell(passages: Passages, queue_id: str, waiting: Waiting, *, reports: bool = True) -> Story | None:
    """A message's story; None where nothing is known of it. `reports`: also where the reports on it stand."""
    talks = passages.talks
    story = Story(queue_id, fates=talks.fates(queue_id), waiting=waiting(queue_id))
    for conversation in talks.conversations_of(queue_id):
        part = passages.about(conversation, queue_id)
        opening = part.opening
        own = [one for one in part.transactions if one.queue_id == queue_id]
        if conversation.kind == "smtp-in":
            story.arrival = Scene(conversation, opening, own[0] if own else None)
            continue
        story.attempts += [Scene(conversation, opening, one) for one in own]
        if not own and queue_id in opening.all(ABOUT):
            story.attempts.append(Scene(conversation, opening, None))
    story.attempts.sort(key=lambda scene: scene.at)
    if reports:
        for name in {fate.other for fate in story.fates if fate.other and fate.what != "report"}:
            report = tell(passages, name, waiting, reports=False)
            story.reports[name] = report.state if report is not None else ""
    return story if story.arrival or story.attempts or story.fates or story.waiting else None


@dataclass(frozen=True, slots=True)
class Found:
    """What a question found. `more`: there may be others."""

    stories: list[Story]
    more: bool = False


def find(talks: Talks, query: str, waiting: Waiting, pseudonyms: Pseudonyms | None = None) -> Found:
    """The messages and visits that somebody means: by queue id, conversation id, address, Message-ID or subject word,
    the newest first."""
    passages = Passages(talks)
    named = read_id(query)
    if named is not None and named[0] == "q":
        story = tell(passages, query.strip().lower(), waiting)
        return Found([story] if story else [])
    if named is not None:
        conversation = talks.numbered(named[1])
        return Found(_in_conversation(passages, conversation, waiting) if conversation else [])
    wanted = Search((Filter("", query.strip()),), pseudonyms=pseudonyms)
    known: dict[str, Story] = {}
    hits = search(talks, wanted)
    for read, hit in enumerate(islice(hits, HITS_READ)):
        for part in hit.transactions or (hit.opening,):
            key = part.queue_id or hit.conversation.id
            if key in known:
                continue
            if len(known) >= LIST_LIMIT:
                return Found(list(known.values()), more=True)
            found = tell(passages, part.queue_id, waiting) if part.queue_id else None
            known[key] = found or _visit(hit.conversation, hit.opening, part)
        if read == HITS_READ - 1:
            return Found(list(known.values()), more=True)
    return Found(list(known.values()))


def _in_conversation(passages: Passages, conversation: Conversation, waiting: Waiting) -> list[Story]:
    """The messages a conversation was about, or itself where it was about none."""
    passage = passages.around(conversation)
    opening, transactions = passage.opening, passage.transactions
    ids = dict.fromkeys(part.queue_id for part in (opening, *transactions) if part.queue_id)
    stories = [story for queue_id in ids if (story := tell(passages, queue_id, waiting)) is not None]
    return stories or [_visit(conversation, opening, transactions[-1] if transactions else opening)]


def _visit(conversation: Conversation, opening: Episode, part: Episode) -> Story:
    return Story("", arrival=Scene(conversation, opening, None if part is opening else part))
