"""The record's jobs on the writer thread: talks made, masked, indexed, stored; the oldest removed.

Lives here: everything that is done to a recording between the moment it is handed over and the disk.
Does not live here: gathering and bounds (transcripts.py), what a line says (protocol/episodes.py).

This is not in a reply's way, but it takes turns with whoever is, so it is frugal: SQLite makes the index of one text
for a whole flush, without holding anybody up. A row of the index is a segment of a talk; where a transaction began in
the segment before, what was said of it there is repeated, so that a search for two things finds them in one row.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from glasspost.ids import read_id
from glasspost.protocol.episodes import (
    ACCOUNT,
    ADDRESSEES,
    AUTHOR,
    CONSEQUENCES,
    FIELDS,
    MESSAGE_ID,
    RECIPIENT,
    REFUSAL,
    RELAYED,
    SENDER,
    SUBJECT,
    Fact,
    fact_said,
    facts,
)
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, escape, is_plain
from glasspost.storage.database import Connection
from glasspost.storage.excerpts import HEADER, MENTION, Entry, header_values, print_lines
from glasspost.storage.fates import Fate
from glasspost.storage.masking import Pseudonyms
from glasspost.storage.sql import Queries

_QUERIES = Queries("sqlite", "transcripts")

LINE_LIMIT = 4_096  # octets of a line that are kept
CARRIED_OCTETS = 4_096  # of what was said of a transaction that goes on in the next segment

# How lines of the wire begin that may be facts: refusals, MAIL, RCPT (and RSET before them), USER, APOP.
_TELLING = frozenset((b"4", b"5", b"M", b"m", b"R", b"r", b"U", b"u", b"A", b"a"))
_NOT_WORD = re.compile(r"[^\w]+")
# Scripts written without spaces: each character is a word of its own.
_IDEOGRAPH = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff])")
_COLUMNS = {
    SENDER: (0,), AUTHOR: (0,), ACCOUNT: (0, 1), RECIPIENT: (1,), ADDRESSEES: (1,), MESSAGE_ID: (2,), SUBJECT: (3,),
    REFUSAL: (4,),
}  # fmt: skip


@dataclass(slots=True)
class Part:
    """What one recording handed over since the last flush."""

    row: tuple[Any, ...] = ()
    entries: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class _Heard:
    """A part's entries, sorted: those that are printed, those of them that may hold facts, and messages mentioned."""

    spoken: list[Entry] = field(default_factory=list)
    telling: list[Entry] = field(default_factory=list)
    about: list[int] = field(default_factory=list)
    lines: int = 0
    octets: int = 0


class Archive:
    """What the writer thread needs from one flush to the next."""

    def __init__(self, pseudonyms: Pseudonyms | None = None, *, subjects: bool = True) -> None:
        """`pseudonyms`: addresses are stored under these. `subjects`: whether messages' subjects are stored."""
        self._pseudonyms = pseudonyms
        self._subjects = subjects
        self._segment = -1  # the last one's id
        self._carried: dict[int, list[Fact]] = {}  # by conversation: of the transaction under way

    def store(self, connection: Connection, parts: Sequence[Part], fates: Sequence[Fate]) -> None:
        """One flush."""
        if self._segment < 0:
            self._segment = connection.execute(_QUERIES.newest_segment).get
        rows, segments, clues = [], [], []
        mentions: list[tuple[int, int]] = []
        for part in parts:
            number, over = part.row[0], part.row[3] > 0
            heard = self._sorted(part)
            found: list[Fact] = []
            if heard.spoken:
                printed, found = self._printed(heard, part.row[2])
                self._segment += 1
                segments.append((self._segment, number, zlib.compress("\n".join([*printed, ""]).encode(), 1)))
                clues.append((self._segment, *self._clue(number, found, over), _host(part.row[5])))
            elif over:
                self._carried.pop(number, None)
            mentions.extend((queue, number) for queue in heard.about)
            rows.append((*part.row, heard.lines, heard.octets, *_tallied(part.row[1], heard.about, found)))
        connection.executemany(_QUERIES.put_conversation, rows)
        connection.executemany(_QUERIES.put_segment, segments)
        connection.executemany(_QUERIES.put_mention, mentions)
        connection.execute(_QUERIES.put_clues, (json.dumps(clues),)).fetchall()
        if fates:
            connection.executemany(_QUERIES.put_fate, [self._masked(fate).row() for fate in fates])

    def _sorted(self, part: Part) -> _Heard:
        """One look at every entry: what counts, what is printed, what may be a fact."""
        heard = _Heard()
        spoken, telling = heard.spoken, heard.telling
        for entry in part.entries:
            _, who, what = entry
            if who is MENTION:
                queue = read_id(what.decode())
                if queue is not None:
                    heard.about.append(queue[1])
                continue
            spoken.append(entry)
            if who in (SERVER, CLIENT):
                heard.lines += what.count(b"\r\n") or 1
                heard.octets += len(what)
                if what[:1] in _TELLING:
                    telling.append(entry)
            elif who is HEADER or what[:3] == b"sig" or b": relayed, " in what:  # other notes are not searched
                telling.append(entry)
        return heard

    def _printed(self, heard: _Heard, started: float) -> tuple[list[str], list[Fact]]:
        """The talk's lines, and its facts. What is masked in one is masked in the other."""
        printed = print_lines(heard.spoken, started, LINE_LIMIT, subjects=self._subjects)
        if self._pseudonyms is None:
            return printed, list(self._facts(heard.telling))
        printed = self._pseudonyms.mask_talk("\n".join(printed)).split("\n")
        return printed, list(facts(printed))

    def _facts(self, telling: list[Entry]) -> Iterator[Fact]:
        """The same facts as the printed lines hold, without looking at each of them."""
        for _, who, what in telling:
            if who is HEADER:
                for name, text in header_values(what, self._subjects):
                    yield FIELDS[name], text
                continue
            text = what.decode("utf-8", "surrogateescape")
            for line in text.split("\n" if who == NOTE else "\r\n") if "\n" in text else (text,):
                found = fact_said(who, line if is_plain(line) else escape(line.encode("utf-8", "surrogateescape")))
                if found is not None:
                    yield found

    def _clue(self, number: int, found: list[Fact], over: bool) -> list[str]:
        """The index's columns for one segment: sender, recipient, message_id, subject, reply."""
        carried = self._carried.pop(number, None)
        known = [*carried, *found] if carried else found
        columns: list[list[str]] = [[], [], [], [], []]
        begins = 0
        for place, (kind, value) in enumerate(known):
            for column in _COLUMNS.get(kind, ()):
                columns[column].append(
                    subject_words(value) if kind is SUBJECT else reply_words(value) if kind is REFUSAL else value
                )
            if kind is SENDER:
                begins = place
        if known and not over:
            self._carried[number] = _bounded(known[begins:])
        return [" ".join(dict.fromkeys(column)) for column in columns]

    def _masked(self, fate: Fate) -> Fate:
        if self._pseudonyms is None:
            return fate
        mask = self._pseudonyms.mask
        local = fate.recipient.rpartition("@")[0]
        reply = fate.reply.replace(local, mask(fate.recipient).rpartition("@")[0]) if len(local) > 1 else fate.reply
        return replace(fate, recipient=mask(fate.recipient), reply=mask(reply))


def _tallied(kind: str, about: list[int], found: list[Fact]) -> tuple[int, int, str]:
    """Messages that a part saw accepted or passed on, the last one's number, the last refusal."""
    coming = kind == "smtp-in"
    taken, refusal = len(about) if coming else 0, ""
    for name, value in found:
        if name is REFUSAL and kind != "pop3" and not (refusal and value in CONSEQUENCES):
            refusal = value
        elif name is RELAYED:
            taken += not value.startswith("0 of")
    return taken, about[-1] if coming and about else 0, refusal


def _bounded(found: list[Fact]) -> list[Fact]:
    """As many facts as are carried on."""
    octets = 0
    for place, (_, value) in enumerate(found):
        octets += len(value) + 20
        if octets > CARRIED_OCTETS:
            return found[:place]
    return found


def subject_words(text: str) -> str:
    """A subject as the index has it, and as a search for it is written: words between single spaces."""
    if not text.isascii():
        text = _IDEOGRAPH.sub(r" \1 ", text)
    return _NOT_WORD.sub(" ", text).strip()


def reply_words(text: str) -> str:
    """Codes as the index has them: `550 5.1.1` is `550 e5.1.1`, so that a code is not found within another."""
    basic, _, enhanced = text.partition(" ")
    return f"{basic} e{enhanced}" if enhanced else basic


def _host(peer: str) -> str:
    """The other end without its port, which nobody searches for."""
    return peer.rpartition(":")[0]


def drop_oldest(connection: Connection, cutoff: float, max_octets: int, step: int) -> int:
    """Remove the oldest conversations that are over: those from before `cutoff`, or, while the file holds more than
    `max_octets`, one step of any age. Returns how many went."""
    oldest: list[Any] = connection.execute(_QUERIES.oldest, (step,)).fetchall()
    used = connection.execute(_QUERIES.octets_used).get
    if max_octets and used > max_octets:
        count = len(oldest)
    else:
        count = 0
        while count < len(oldest) and oldest[count][1] < cutoff:
            count += 1
    if count:
        connection.execute(_QUERIES.drop_clues, (count,))
        connection.execute(_QUERIES.drop_segments, (count,))
        connection.execute(_QUERIES.drop_conversations, (count,))
        connection.execute(_QUERIES.drop_mentions, (oldest[count - 1][0],))
        connection.execute(_QUERIES.drop_fates, (oldest[count - 1][0],))
    return count
