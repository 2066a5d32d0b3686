"""What was said, on record: the tap's other end.

Lives here: `Transcripts`, which gathers what all recordings heard and stores it in the background; retention.
Does not live here: listening (recording.py), the text form (protocol/talk.py), making talks and storing them
(transcript_jobs.py), reading what was stored (talks.py).

The listening side is on the path of every line of every message, so it does nothing but put a tuple on a list. About
once a second all lists go, as one job, to the writer thread, which makes talks of them, compresses and stores them
without waiting for the disk. A reply never waits for its transcript; after a crash the last second of it may be
missing, the message never (DESIGN, Transcripts).

Memory is bounded on the way: a conversation hands over at the latest after `HANDOVER_LINES` lines; what waits for
the writer is at most `BEHIND_LIMIT` octets, beyond which lines are dropped, and a note says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

from glasspost.clock import Alarm, Clock, SystemClock
from glasspost.errors import StoreError, StoreFull
from glasspost.ids import IdSource
from glasspost.protocol.talk import NOTE
from glasspost.storage.backlog import put_aside, write_all_out, write_out
from glasspost.storage.database import Connection, Database
from glasspost.storage.excerpts import MENTION
from glasspost.storage.fates import Fate
from glasspost.storage.masking import Pseudonyms
from glasspost.storage.recording import Recording
from glasspost.storage.sql import Queries
from glasspost.storage.transcript_jobs import Archive, Part, drop_oldest

__all__ = ["Recording", "Transcripts"]

_QUERIES = Queries("sqlite", "transcripts")

FLUSH_SECONDS = 1.0
SOON_SECONDS = 0.05  # after the end of a conversation, where there is little to do: who asks for it then finds it
SOON_OCTETS = 40_000  # heard since the last look, beyond which that is not little
BUSY_FLUSH_SECONDS = 0.25  # after a flush of more than FLUSH_OCTETS
FLUSH_OCTETS = 2_000_000  # handed over: flush now
BEHIND_LIMIT = 32_000_000  # octets in flushes that the writer has not stored yet
FATE_OCTETS = 500  # what a recipient's fate counts, about
RETENTION_SECONDS = 60.0
RETENTION_STEP = 1_000  # conversations removed in one transaction

BUSY_OCTETS = 400_000  # heard within a second, about 500 messages: the node has more urgent things to do
BACKLOG_LIMIT = 100  # lots of about FLUSH_OCTETS put aside; then one is written out for each that comes
BACKLOG_SECONDS = 30.0  # that a load may last before what it put aside is written out all the same

_WORDS = itemgetter(2)  # of an entry
_INTERRUPTED = "interrupted: the node stopped"


class Transcripts:
    """The record of all conversations."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        enabled: bool = True,
        keep_seconds: float = 14 * 86_400.0,
        max_octets: int = 2_000_000_000,
        conversation_octets: int = 64_000_000,
        pseudonyms: Pseudonyms | None = None,
        subjects: bool = True,
    ) -> None:
        """Opens or creates the file; raises StoreError. Where not `enabled` there is no file, and recordings keep
        only what a bounce needs.

        `keep_seconds`, `max_octets`: what is older, or the oldest where there is more, is removed; 0: no limit.
        `conversation_octets`: of lines of one conversation; later ones are not kept. 0: no limit. `pseudonyms`:
        addresses are stored under these; `subjects`: whether messages' subjects are stored.
        """
        self.enabled = enabled
        self._clock = clock or SystemClock()
        self.now: Callable[[], float] = self._clock.now
        self._keep_seconds = keep_seconds
        self._max_octets = max_octets
        self._conversation_octets = conversation_octets
        self._database = Database(path, "transcripts", durable=False) if enabled else None
        self._archive = Archive(pseudonyms, subjects=subjects)
        self._may_wait = pseudonyms is None and subjects  # unmasked on the disk, also for a moment
        self._backlog = 0  # lots put aside
        floor = 0
        if self._database is not None:
            self._database.apply(lambda connection: write_all_out(connection, self._archive))
            self._database.apply(lambda c: c.execute(_QUERIES.end_orphans, (_INTERRUPTED,)).fetchall())
            self._shrink(self._database)
            floor = self._database.reader.execute(_QUERIES.largest_id).get or 0
        self._ids = IdSource(floor)
        self._open: dict[int, Recording] = {}
        self._ready: dict[int, Part] = {}
        self._fates: list[Fate] = []
        self._ready_octets = 0
        self._heard_octets = 0  # since the last tick
        self._ticked = self._calm = self.now()  # when it was last seen that nothing had to be put off
        self._behind = 0
        self._alarm: Alarm | None = None
        self._soon: Alarm | None = None
        self._retained = float("-inf")
        self._retaining = False
        self.lost_lines = 0  # not stored: the disk was full, broken or too slow

    @staticmethod
    def _shrink(database: Database) -> None:
        """What retention has emptied is given back to the disk; where there is no room for that, later."""
        with suppress(StoreFull):
            database.shrink()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start storing in the background."""
        if self._database is not None:
            self._database.start(loop)
            self._tick()

    async def close(self) -> None:
        """Store what was heard until now, and close the file. Recordings that are still open end here."""
        for alarm in (self._alarm, self._soon):
            if alarm is not None:
                alarm.cancel()
        for recording in list(self._open.values()):
            recording.close(_INTERRUPTED)
        if self._database is not None:
            if self._database.runs:  # not where the node's start came to an end before it did
                self._flush()
                with suppress(StoreError):  # what cannot be written out now is there at the next start
                    await self._database.written(lambda connection: write_all_out(connection, self._archive))
            await self._database.close()
            self._database = None
        self.enabled = False

    def open(self, kind: str, local: str, peer: str) -> Recording:
        """Listen to a new conversation. `kind`: "smtp-in", "smtp-out" or "pop3"; the ends are host:port."""
        recording = Recording(self, self._ids.next(), kind, local, peer)
        if self.enabled:
            self._open[recording.number] = recording
        return recording

    def tell(self, fates: Sequence[Fate]) -> None:
        """Put on record what became of recipients."""
        if self.enabled and self._behind + self._ready_octets < BEHIND_LIMIT:
            self._fates += fates
            self._ready_octets += FATE_OCTETS * len(fates)

    async def flush(self) -> None:
        """Store now what was heard until now: for whoever wants to read it at once."""
        if self._database is not None:
            for recording in list(self._open.values()):
                self.hand_over(recording)
            self._flush()
            self._backlog = 0
            await self._database.written(lambda connection: write_all_out(connection, self._archive))

    # --- gathering --------------------------------------------------------------------------------------------

    def hand_over(self, recording: Recording) -> None:
        """Take what a recording has heard, and let it go when it is over."""
        entries = recording.take()
        if not self.enabled:
            return
        over = recording.is_over and self._open.pop(recording.number, None) is not None
        if not entries and not over:
            return
        octets = sum(map(len, map(_WORDS, entries))) + 50 * len(entries)
        self._heard_octets += octets
        fault = self._why_not_kept(recording, octets)
        if fault:
            self.lost_lines += len(entries)
            at = entries[0][0] or self.now()
            # The messages they were about are remembered all the same.
            entries = [entry for entry in entries if entry[1] is MENTION]
            if recording.first_fault(fault):
                entries.append((at, NOTE, fault))
            octets = 0
        else:
            recording.first_fault(b"")
        part = self._ready.get(recording.number)
        if part is None:
            self._ready[recording.number] = Part(recording.row(), entries)
        else:
            part.entries.extend(entries)
            part.row = recording.row()
        self._ready_octets += octets
        if self._ready_octets >= FLUSH_OCTETS:
            self._flush(busy=True)
        elif over and self._soon is None and self._alarm is not None and self._heard_octets < SOON_OCTETS:
            self._soon = self._clock.call_in(SOON_SECONDS, self._store_what_ended)

    def _why_not_kept(self, recording: Recording, octets: int) -> bytes:
        """Empty where these octets of a conversation can be kept."""
        kept = recording.count(octets)
        if octets and self._conversation_octets and kept > self._conversation_octets:
            return b"further lines not kept: this conversation is too long"
        if octets and self._behind + self._ready_octets + octets > BEHIND_LIMIT:
            return b"lines not kept here: the store is behind"
        return b""

    def _store_what_ended(self) -> None:
        self._soon = None
        if self._heard_octets < SOON_OCTETS:
            self._flush()

    def _tick(self) -> None:
        """About once a second: gather from everybody, send it to the writer, look at what is too old."""
        for recording in [one for one in self._open.values() if one.entries]:  # few of thousands, so it is quick
            self.hand_over(recording)
        now = self.now()
        busy = self._heard_octets > BUSY_OCTETS * max(now - self._ticked, BUSY_FLUSH_SECONDS)
        self._heard_octets = 0
        self._ticked = now
        self._flush(busy=busy)
        if not (busy and self._backlog):
            self._calm = now
        if self._backlog and (not busy or now - self._calm > BACKLOG_SECONDS):
            self._write_out()
        self._retain()
        self._alarm = self._clock.call_in(BUSY_FLUSH_SECONDS if busy or self._backlog else FLUSH_SECONDS, self._tick)

    def _flush(self, *, busy: bool = False) -> None:
        """One job for all that was handed over. While the node is `busy`, and until what was put aside before is
        written out, it is put aside."""
        if not (self._ready or self._fates) or self._database is None:
            return
        parts, fates = list(self._ready.values()), self._fates
        octets = self._ready_octets
        self._fates = []
        self._ready = {}
        self._ready_octets = 0
        self._behind += octets

        def done(_: object, error: Exception | None) -> None:
            self._behind -= octets
            if error is not None:
                self._say_lost(parts, error)

        if self._may_wait and (busy or self._backlog):
            self._backlog += 1
            self._database.write(lambda connection: put_aside(connection, parts, fates), done)
            if self._backlog > BACKLOG_LIMIT:
                self._write_out()
        else:
            self._database.write(lambda connection: self._archive.store(connection, parts, fates), done)

    def _write_out(self) -> None:
        """One lot of what was put aside; the next with the next tick."""
        if self._database is not None:
            self._backlog -= 1
            self._database.write(lambda connection: write_out(connection, self._archive), self._written_out)

    def _written_out(self, _result: object, error: Exception | None) -> None:
        if error is not None:
            self._backlog += 1  # it is still there, and comes with a later tick

    def _say_lost(self, parts: list[Part], error: Exception) -> None:
        """A flush was not stored: say so in the conversations that go on."""
        for part in parts:
            self.lost_lines += len(part.entries)
            recording = self._open.get(part.row[0])
            if recording is not None:
                recording.note(f"{len(part.entries)} lines before this one were not kept: {error}")

    # --- retention --------------------------------------------------------------------------------------------

    def _retain(self) -> None:
        """Once a minute, and at start: remove what is too old or too much, in steps of one short transaction."""
        now = self.now()
        if self._database is None or self._retaining or 0 <= now - self._retained < RETENTION_SECONDS:
            return
        self._retained = now
        self._retaining = True
        cutoff = now - self._keep_seconds if self._keep_seconds else 0.0
        database = self._database

        def job(connection: Connection) -> int:
            return drop_oldest(connection, cutoff, self._max_octets, RETENTION_STEP)

        def done(dropped: int | None, error: Exception | None) -> None:
            if error is None and dropped == RETENTION_STEP and self._database is not None:
                database.write(job, done)
            else:
                self._retaining = False

        database.write(job, done)
