"""The spool: what was accepted, until every recipient has had its end.

Lives here: accepting (law 1: the commit that makes the 250 true), claiming what is due, settling what was tried.
Does not live here: when to try again (outbound/retry.py), what a postmaster does by hand (queue.py), maildrops
(mailboxes.py). A recipient's life stands as a table in sql/sqlite/spool.schema.sql and docs/queue.md.

Everything here is a job for the database's writer, done in one commit with whatever else waits (spool_jobs.py has
the two busiest).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import Any

import apsw

from glasspost.ids import IdSource
from glasspost.mail.address import address_from_text, path_from_text, path_text
from glasspost.mail.envelope import BodyType, Notify
from glasspost.storage.bodies import (
    CHUNK_BITS,
    PIECE,
    Content,
    Draft,
    MemoryContent,
    StoredContent,
    clear_away,
    discard_drafts,
    queries,
)
from glasspost.storage.database import Database
from glasspost.storage.spool_jobs import Acceptance, Settling, renew_all
from glasspost.storage.spooled import (
    CLAIMED,
    HELD,
    WAITING,
    Intake,
    Message,
    Queued,
    Rest,
    Settlement,
    deposit_header,
    flags_of,
)
from glasspost.storage.sqlite import row, rows

DOUBT_KEPT = 30 * 86_400.0  # seconds
_LEASE_RAN_OUT = "the lease of {} ran out while it may have been under way"
_NO_RECIPIENT = (None,) * 9
_NO_DEPOSIT = (None,) * 4
LARGE = 32 * 1024  # octets of a message from which it lets others go first on its way to the disk
MEMORY_BUDGET = 64 * 1024 * 1024  # octets of content kept in memory between acceptance and delivery


class Spool:
    """The spool of one node over its database. Start with `recover` before anything is accepted."""

    def __init__(self, database: Database, node: str, lease: float) -> None:
        """`node` names this node in claims; `lease` is how long a claim lasts, in seconds."""
        self.database = database
        self.node = node
        self.lease = lease
        self.in_memory = 0  # octets of content held for recipients that were handed over in memory
        self.ids = IdSource(row(database.reader, queries.last_id)[0])

    def recover(self, now: float) -> None:
        """Before the node starts: take back what a dead predecessor had claimed, drop what never was acknowledged."""

        def job(connection: apsw.Connection) -> None:
            connection.execute(queries.doubt_claimed, (now,))
            connection.execute(queries.forget_doubts, (now - DOUBT_KEPT,))
            connection.execute(queries.recover, (now,))
            discard_drafts(connection)

        self.database.apply(job)

    def new_draft(self, on_room: Callable[[], None] | None = None) -> Draft:
        return Draft(self.database, self.ids.next(), on_room)

    # --- accepting --------------------------------------------------------------------------------------------

    def accept(self, intake: Intake, now: float, done: Callable[[Exception | None], None]) -> None:
        """Make a message durable; `done(None)` comes on the loop after the commit, `done(error)` where it failed.

        With `intake.claim` the recipients are claimed by this node in the same commit and `intake.queued` is filled:
        they can be delivered from memory at once.
        """

        def told(_result: object, error: Exception | None) -> None:
            if error is not None:
                self._take_back(intake)
            done(error)

        job = self._accepting(intake, now)
        is_large = job.streamed or intake.size > LARGE
        self.database.write(job, told, max(1, intake.draft.held) if is_large else 0)

    def _accepting(self, intake: Intake, now: float) -> Acceptance:
        """The job for the writer: everything is worked out here, so that only SQL is left for it."""
        envelope, draft = intake.envelope, intake.draft
        number = draft.id
        size = intake.size
        flags = flags_of(envelope, draft.eight_bit)
        refs = len(intake.recipients) + len(intake.deposits)
        chunks = draft.rest()
        streamed = draft.pieces_stored
        data = chunks.pop()[1] if chunks and not streamed else None
        state, due, node, generation = HELD if intake.hold else WAITING, intake.due, "", 0
        if intake.claim:
            state, due, node, generation = CLAIMED, now + self.lease, self.node, 1
            intake.queued = self._hand_over(intake)
        recipients = [
            (
                number << CHUNK_BITS | index, str(recipient.address), recipient.address.route, int(recipient.notify),
                recipient.orcpt, state, due, node, generation, intake.stranded,
            )
            for index, recipient in enumerate(intake.recipients)
        ]  # fmt: skip
        deposits = [
            (account, number, str(path), size + len(deposit_header(envelope.reverse_path, path)))
            for account, path in intake.deposits
        ]
        recipient = recipients[0][1:] if recipients else _NO_RECIPIENT
        account, _, path, octets = deposits[0] if deposits else _NO_DEPOSIT
        arrival = (
            number, intake.arrived, path_text(envelope.reverse_path), envelope.body.value, flags, envelope.ret,
            envelope.envid, size, intake.head, intake.conversation, refs, data, *recipient, account, path, octets,
        )  # fmt: skip
        return Acceptance(number, arrival, chunks, recipients[1:], deposits[1:], streamed)

    def _hand_over(self, intake: Intake) -> list[Queued]:
        """The recipients as the scheduler wants them, content in memory where the budget allows."""
        draft, envelope = intake.draft, intake.envelope
        content: Content
        if draft.in_memory and self.in_memory < MEMORY_BUDGET:
            content = MemoryContent(intake.head + draft.in_one())
            self.in_memory += content.size
        else:
            content = StoredContent(self.database, draft.id, intake.head, intake.size)
        message = Message(
            draft.id, envelope.reverse_path, envelope.body, envelope.smtputf8, draft.eight_bit, envelope.ret,
            envelope.envid, intake.size, intake.arrived, intake.conversation, content,
            requiretls=envelope.requiretls, tls_optional=envelope.tls_optional,
        )  # fmt: skip
        base = draft.id << CHUNK_BITS
        return [
            Queued(base | index, message, recipient.address, recipient.notify, recipient.orcpt)
            for index, recipient in enumerate(intake.recipients)
        ]

    def _take_back(self, intake: Intake) -> None:
        """It was not stored: nobody has it in hand."""
        if intake.queued:
            self.let_go(intake.queued[0].message)
            intake.queued = []

    def let_go(self, message: Message) -> None:
        """A message that was handed over is out of this node's hands: its content counts no more. Called once."""
        if isinstance(message.content, MemoryContent):
            self.in_memory -= message.content.size

    # --- claiming ---------------------------------------------------------------------------------------------

    async def claim(self, now: float, limit: int, held: Container[int] = ()) -> list[Queued]:
        """Claim up to `limit` recipients that are due, the longest waiting first.

        One that another node had claimed, and whose lease has run out, is taken over; that is put on record as doubt.
        One that this node has in hand (`held`) is not claimed anew, although its lease has run out: it is renewed. A
        second claim would overtake the settlement that may be on its way, which would then find nothing of its own.
        """

        def job(connection: apsw.Connection) -> list[Queued]:
            due = rows(connection, queries.due, (now, limit))
            ours = {one[0]: one[5] for one in due if one[10] == CLAIMED and one[11] == self.node and one[0] in held}
            renew_all(connection, [(now + self.lease, number, generation) for number, generation in ours.items()])
            return self._claim(connection, [one for one in due if one[0] not in ours], now)

        return await self.database.written(job)

    async def put_behind(self, now: float, limit: int, resting: Mapping[str, Rest]) -> tuple[int, int]:
        """Of the first `limit` that are due: put those whose destination rests behind its rest. They are not claimed
        and not tried. Returns how many were looked at, and how many put behind."""

        def job(connection: apsw.Connection) -> tuple[int, int]:
            due = rows(connection, queries.due_for_a_rest, (now, limit))
            behind: dict[str, list[int]] = {}
            for number, stranded, notify, told, arrived, wished in due:
                rest = resting.get(stranded)
                if rest is None or arrived <= rest.expire_by or wished >= rest.since:
                    continue
                if told or arrived > rest.notice_by or not Notify(notify).wants_delay:
                    behind.setdefault(stranded, []).append(number)
            for stranded, numbers in behind.items():
                rest = resting[stranded]
                connection.execute(queries.put_behind, (rest.due, rest.reply, json.dumps(numbers)))
            return len(due), sum(map(len, behind.values()))

        return await self.database.written(job)

    async def claim_stranded(self, destination: str, now: float, limit: int) -> list[Queued]:
        """Claim up to `limit` recipients that wait for a destination to come back, due or not, the oldest first."""
        return await self.database.written(
            lambda connection: self._claim(connection, rows(connection, queries.stranded, (destination, limit)), now)
        )

    def has_stranded(self, destination: str) -> bool:
        """Whether anybody waits for this destination to come back."""
        return row(self.database.reader, queries.has_stranded, (destination,)) is not None

    def _claim(self, connection: apsw.Connection, found: list[Any], now: float) -> list[Queued]:
        """The rows of `due` or `stranded`, claimed by this node: all of them in three statements, because each has to
        get the interpreter back from a busy loop thread."""
        taken_over = {one[0] for one in found if one[10] == CLAIMED and one[11] != self.node}
        for one in found:
            if one[0] in taken_over:
                connection.execute(queries.doubt_one, (one[0], one[1], now, _LEASE_RAN_OUT.format(one[11])))
        plain = [one[0] for one in found if one[0] not in taken_over]
        for query, claimed in ((queries.claim, plain), (queries.claim_in_doubt, list(taken_over))):
            if claimed:
                connection.execute(query, (now + self.lease, self.node, json.dumps(claimed)))
        messages = self._load(connection, {one[0] >> CHUNK_BITS for one in found})
        return [
            Queued(
                one[0], messages[one[0] >> CHUNK_BITS], address_from_text(one[1]), Notify(one[2]), one[3], one[4],
                one[5] + 1, one[6], bool(one[7]), one[8], one[9] + (one[0] in taken_over), due=one[12],
            )
            for one in found
        ]  # fmt: skip

    def next_due(self) -> float | None:
        """When the next waiting recipient falls due (or a lease ends); None where nothing waits."""
        due = row(self.database.reader, queries.next_due)[0]
        return None if due is None else float(due)

    async def renew(self, held: Iterable[Queued], now: float) -> None:
        """Keep the claims of recipients that are still in this node's hands."""
        renewed = [(now + self.lease, queued.id, queued.generation) for queued in held]
        await self.database.written(lambda connection: renew_all(connection, renewed))

    def _load(self, connection: apsw.Connection, numbers: Collection[int]) -> dict[int, Message]:
        found = rows(connection, queries.messages, (json.dumps(list(numbers)),))
        assert len(found) == len(numbers), "a recipient without its message"
        return {one[0]: self._message(one) for one in found}

    def _message(self, found: Any) -> Message:
        content = StoredContent(self.database, found[0], found[8], found[7])
        return Message(
            found[0], path_from_text(found[2]), BodyType(found[3]), bool(found[4] & 1), bool(found[4] & 2), found[5],
            found[6], found[7], found[1], found[9], content,
            requiretls=bool(found[4] & 4), tls_optional=bool(found[4] & 8),
        )  # fmt: skip

    # --- settling ---------------------------------------------------------------------------------------------

    def settle(
        self,
        settlements: Sequence[Settlement],
        reports: Sequence[Intake],
        now: float,
        done: Callable[[Collection[int], Exception | None], None],
    ) -> None:
        """Record what an attempt came to, and put the reports it calls for into the spool, in one commit.

        `done(void, None)`: `void` has the ids of recipients that were not this node's any more, and for which nothing
        was changed. Where all are void the reports are not sent either: their `queued`, `deposits` and `recipients`
        are empty then. `done((), error)`: nothing was recorded, and may be said again.
        """
        job = Settling(settlements, [self._accepting(report, now) for report in reports])

        def told(_result: object, error: Exception | None) -> None:
            if error is not None or not job.told:
                for report in reports:
                    self._take_back(report)
            if error is None and not job.told:
                for report in reports:
                    report.deposits, report.recipients = [], []
            if error is None:
                clear_away(self.database, job.remains)
            done(job.void, error)

        behind_pieces = any(report.streamed for report in job.reports)
        self.database.write(job, told, PIECE if behind_pieces else 0)
