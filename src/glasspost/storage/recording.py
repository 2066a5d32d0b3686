"""One conversation being listened to.

Lives here: `Recording`: the tap, the notes, and what a bounce will show of it all.
Does not live here: gathering and storing what many recordings heard (transcripts.py).

This is on the path of every line of every message: it puts a tuple on a list, and nothing more. Whatever costs more
is done where the list is handed over, or later, on the writer thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from glasspost.ids import write_id
from glasspost.mail.message import HeaderScan
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, print_line
from glasspost.storage.excerpts import HEADER, HEADER_VALUE_LIMIT, MENTION, Entry, bounded, print_entries

HANDOVER_LINES = 256
OPENING_LIMIT = 4_096  # octets of an excerpt's opening part
EXCERPT_LIMIT = 32_768  # octets of the part since the last mark
_SPEAKERS = {"smtp-in": (CLIENT, SERVER), "smtp-out": (SERVER, CLIENT), "pop3": (CLIENT, SERVER)}


class House(Protocol):
    """Where recordings hand over what they heard: `Transcripts`."""

    enabled: bool
    now: Callable[[], float]

    def hand_over(self, recording: Recording) -> None: ...


class Recording:
    """One conversation being recorded: a `Tap` (protocol/chat.py), and notes. Made by `Transcripts.open`."""

    __slots__ = (
        "_ended", "_fault", "_heard", "_house", "_kept", "_local", "_mark_at", "_marks", "_now",
        "_opening", "_peer", "_said", "_since", "_verdict", "entries", "id", "kind", "number", "started",
    )  # fmt: skip

    def __init__(self, house: House, number: int, kind: str, local: str, peer: str) -> None:
        self.number = number
        self.id = write_id("c", number)
        self.kind = kind
        self._house = house
        self._now = house.now
        self._heard, self._said = _SPEAKERS[kind]
        self._local = local
        self._peer = peer
        self.started = self._now()
        self._ended = 0.0
        self._verdict = ""
        self._fault = b""
        self._kept = 0  # octets handed over so far
        self.entries: list[Entry] = []  # not handed over yet
        self._since: list[Entry] = []  # handed over, since the last mark
        self._mark_at = 0  # where in `entries` the last mark is
        self._opening: list[Entry] | None = None
        self._marks = 0

    # --- the tap ----------------------------------------------------------------------------------------------

    def heard(self, line: bytes) -> None:
        """The other side said this line."""
        entries = self.entries
        entries.append((self._now(), self._heard, line))
        if len(entries) >= HANDOVER_LINES:
            self._house.hand_over(self)

    def said(self, text: bytes) -> None:
        """We said these lines. Whoever says goes on hearing: there the list is bounded."""
        self.entries.append((self._now(), self._said, text))

    # --- what the drivers know --------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A fact that was not on the wire. May come after `close`, too."""
        self.entries.append((self._now(), NOTE, text.encode("utf-8", "surrogateescape")))
        if self._ended or len(self.entries) >= HANDOVER_LINES:
            self._house.hand_over(self)

    def mention(self, queue_id: str) -> None:
        """This conversation is about that message: `conversations show q0...` and `queue show` will find it."""
        self.entries.append((0.0, MENTION, queue_id.encode()))
        if self._ended or len(self.entries) >= HANDOVER_LINES:
            self._house.hand_over(self)

    def header(self, scan: HeaderScan) -> None:
        """What the message at hand says of itself: put down as it stands, made readable in the background."""
        limit = HEADER_VALUE_LIMIT
        values = (scan.message_id[:limit], scan.author[:limit], scan.addressees[:limit], scan.subject[:limit])
        self.entries.append((self._now(), HEADER, b"\n".join(values)))

    def mark(self) -> None:
        """A new message's part begins here."""
        if self._opening is None:
            self._opening = bounded(self._since + self.entries, OPENING_LIMIT)
        self._marks += 1
        self._since = []
        self._mark_at = len(self.entries)
        if not self._house.enabled:
            self.entries = []
            self._mark_at = 0

    def excerpt(self) -> str:
        """The talk so far, as a bounce shows it: the opening up to the first mark (at most 4 KB), and all since the
        last mark (at most 32 KB), without times. Whole only for "smtp-out": of other kinds no bounce ever
        tells, and only what was not handed over yet is still known."""
        recent = bounded(self._since + self.entries[self._mark_at :], EXCERPT_LIMIT)
        gap = ""
        if self._marks > 1:
            gap = print_line(NOTE, b"earlier messages of this connection are left out here") + "\n"
        return print_entries(self._opening or []) + gap + print_entries(recent)

    def close(self, verdict: str = "") -> None:
        """The conversation is over. `verdict`: how it ended, in a few words. Idempotent."""
        if self._ended:
            return
        if verdict:
            self.entries.append((self._now(), NOTE, b"end: " + verdict.encode("utf-8", "surrogateescape")))
        self._verdict = verdict
        self._ended = self._now()
        self._house.hand_over(self)

    # --- for Transcripts --------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return self._ended > 0

    def take(self) -> list[Entry]:
        """All entries not handed over yet; an excerpt keeps what it needs of them."""
        taken = self.entries
        self.entries = []
        if self.kind == "smtp-out":  # only what we send is ever shown in a bounce
            fresh = taken[self._mark_at :] if self._mark_at else taken
            self._since = bounded(self._since + fresh, EXCERPT_LIMIT)
        self._mark_at = 0
        return taken

    def row(self) -> tuple[Any, ...]:
        """The conversation as it stands, for its row in the store."""
        return (
            self.number, self.kind, self.started, self._ended, self._local, self._peer, self._verdict
        )  # fmt: skip

    def first_fault(self, fault: bytes) -> bool:
        """Whether `fault` is not the one that was noted last: one note for a whole run of lost lines will do."""
        first = fault != self._fault
        self._fault = fault
        return first

    def count(self, octets: int) -> int:
        """Add to what was kept of this conversation; returns the sum."""
        self._kept += octets
        return self._kept
