"""The scheduler: every recipient comes to an end, at the right time, and never more is in hand than was meant.

The store and the directory are real; the clock is the test's, the way and the courier play a script.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from glasspost.errors import StoreFull
from glasspost.mail import reply as say
from glasspost.mail.envelope import Notify, Outcome, Verdict
from glasspost.mail.reply import Reply
from glasspost.outbound import claims
from glasspost.outbound.local import LocalCourier
from glasspost.outbound.reports import Reports, ReportSettings
from glasspost.outbound.retry import Schedule
from glasspost.outbound.routes import Host, Route
from glasspost.outbound.scheduler import Scheduler, SchedulerSettings
from glasspost.storage import mailboxes, queue
from glasspost.storage.accounts import Directory
from glasspost.storage.bodies import PIECE
from glasspost.storage.database import Connection
from glasspost.storage.mailboxes import Mailboxes
from glasspost.storage.spooled import Intake, Message, Queued
from glasspost.testing import ManualClock
from stores import BODY, HEAD, NOW, Store, accepted, address, intake_for, read

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
WAITS = (1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR)
LIMIT = 20  # seconds of real time that nothing here may take

TAKEN = Outcome(Verdict.RELAYED, Reply(250, "2.0.0", "OK"), "mx.away.test", said_by_remote=True)
TAKEN_WITH_WISHES = Outcome(Verdict.RELAYED, TAKEN.reply, "mx.away.test", said_by_remote=True, reports_onward=True)
BUSY = Outcome(Verdict.DEFERRED, Reply(451, "4.3.0", "Later, please"), "mx.away.test", said_by_remote=True)
REFUSED = Outcome(Verdict.FAILED, Reply(550, "5.1.1", "No such user"), "mx.away.test", said_by_remote=True)
SILENT = Outcome(Verdict.DEFERRED, say.NO_ANSWER.saying(server="mx.away.test", fault="connection refused"))
DOUBTFUL = Outcome(Verdict.DEFERRED, say.LOST_AFTER_DOT.saying(server="mx.away.test"), doubtful=True)

Answer = Outcome | Exception


@dataclass
class Attempt:
    """One call of the courier."""

    when: float
    key: str
    queue_id: str
    recipients: list[str]
    content: bytes


class Road:
    """A router: every domain has a lane of its own, unless the test says something else of it."""

    def __init__(self) -> None:
        self.answers: dict[str, Route | Reply | Exception] = {}
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None

    async def route(self, domain: str) -> Route | Reply:
        self.asked.append(domain)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.get(domain) or Route(
            f"mx:{domain}", (Host(f"mx.{domain}", 25, ("127.0.0.1",)),), "may", False, "", ""
        )
        if isinstance(answer, Exception):
            raise answer
        return answer


class Carrier:
    """A courier: takes everything, unless the test says something else of an address or a domain."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.attempts: list[Attempt] = []
        self.gate: asyncio.Event | None = None
        self.under_way: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.most_in_all = 0

    async def deliver(self, message: Message, recipients: Sequence[Queued], route: Route) -> list[Outcome]:
        to = [str(queued.address) for queued in recipients]
        data = message.content.data
        content = data if data is not None else await read(recipients[0])
        self.attempts.append(Attempt(self.clock.now(), route.key, message.queue_id, to, content))
        self.under_way[route.key] += 1
        self.most[route.key] = max(self.most[route.key], self.under_way[route.key])
        self.most_in_all = max(self.most_in_all, self.under_way.total())
        try:
            if self.gate is not None:
                await self.gate.wait()
            return [self._outcome(queued) for queued in recipients]
        finally:
            self.under_way[route.key] -= 1

    def _outcome(self, queued: Queued) -> Outcome:
        answer = self.answers.get(str(queued.address), self.answers.get(queued.address.route, TAKEN))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def times(self) -> list[float]:
        return [attempt.when - NOW for attempt in self.attempts]

    @property
    def brought(self) -> list[str]:
        return [to for attempt in self.attempts for to in attempt.recipients]


@dataclass
class Office:
    """A node's way out, with what is around it."""

    folder: Path
    store: Store
    clock: ManualClock
    settings: SchedulerSettings = field(default_factory=SchedulerSettings)
    jitter: float = 0.0
    lease: float = 300.0
    recover: bool = False

    def __post_init__(self) -> None:
        self.road, self.carrier = Road(), Carrier(self.clock)
        self.spool = self.store.node(lease=self.lease, recover_at=self.clock.now() if self.recover else 0)
        self.boxes = Mailboxes(self.spool.database)
        self.directory = Directory(self.folder / "directory.db", look_again=0)
        self.reports = Reports(ReportSettings("mail.example.test"), self.spool, self.directory, self.clock)
        self.scheduler = Scheduler(
            self.settings,
            spool=self.spool,
            mailboxes=self.boxes,
            directory=self.directory,
            router=self.road,
            remote=self.carrier,
            local=LocalCourier(self.directory, self.boxes, "+", 0),
            schedule=Schedule(WAITS, self.jitter, chance=random.Random(7)),
            reports=self.reports,
            clock=self.clock,
        )
        self.stopped = False

    async def take(self, *to: str, wait: bool = False, **given: Any) -> Intake:
        """Accept a message as a session does. `wait`: it waits on the disk, as if the window had been full."""
        given.setdefault("sender", "alice@example.test")
        intake = intake_for(self.spool, *to, now=self.clock.now(), **given)
        intake.claim = not wait and bool(intake.recipients) and self.scheduler.may_claim(intake)
        await accepted(self.spool, intake, self.clock.now())
        self.scheduler.accepted(intake)
        return intake

    async def turns(self) -> None:
        """Whatever can happen without time passing and without a gate being opened has a chance to."""
        for _ in range(6):
            await self.spool.database.written(lambda _connection: None)
            await self.spool.database.read(lambda _connection: None)
            for _ in range(10):
                await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await self.turns()

    async def quiet(self) -> None:
        """All that was in hand has come to an end, for now."""
        await self.turns()
        await self.until(lambda: self.scheduler.idle)
        await self.turns()
        await self.until(lambda: self.scheduler.idle)

    async def passes(self, seconds: float) -> None:
        """Time passes, and at each moment that somebody waited for, everything comes to rest."""
        end = self.clock.now() + seconds
        while (alarm := self.clock.next_alarm) is not None and alarm <= end:
            self.clock.advance(alarm - self.clock.now())
            await self.quiet()
        self.clock.advance(end - self.clock.now())
        await self.quiet()

    async def later(self, seconds: float) -> None:
        """Time passes while something is kept from coming to rest."""
        await self.clock.passed(seconds)
        await self.turns()

    async def passes_to(self, moment: float) -> None:
        await self.passes(NOW + moment - self.clock.now())

    def letters(self, name: str = "alice") -> list[str]:
        """What is in a mailbox here."""
        account = self.directory.account_at(address(f"{name}@example.test")).id
        database = self.spool.database
        return [
            mailboxes.read_whole(database, held).decode("ascii", "replace")
            for held in mailboxes.listed(database.reader, account)
        ]

    def actions(self, name: str = "alice") -> list[str]:
        """The Action fields of the reports in a mailbox, as `bob@away.test: failed`, in order."""
        found = []
        for letter in self.letters(name):
            recipient = ""
            for line in letter.splitlines():
                if line.startswith("Final-Recipient:"):
                    recipient = line.partition(";")[2].strip()
                elif line.startswith("Action:"):
                    found.append(f"{recipient}: {line.partition(':')[2].strip()}")
        return found

    @property
    def waiting(self) -> list[queue.Entry]:
        return queue.entries(self.spool.database.reader)

    def by_hand(self, verb: Callable[[Connection], int]) -> int:
        """As `glasspost queue` does it, from another process."""
        return self.store.by_hand().apply(verb)

    async def stop(self, patience: float = 5.0) -> None:
        if not self.stopped:
            self.stopped = True
            async with asyncio.timeout(LIMIT):
                await self.scheduler.stop(patience)

    async def close(self) -> None:
        if self.carrier.gate is not None:
            self.carrier.gate.set()
        await self.stop()
        self.directory.close()
        await self.store.close()


OpenOffice = Callable[..., Office]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
async def opened(tmp_path: Path, furniture: Path, clock: ManualClock) -> AsyncIterator[OpenOffice]:
    """Opens offices; each begins to work at once unless it is told otherwise."""
    offices: list[Office] = []

    def opened(store: Store | None = None, *, started: bool = True, **given: Any) -> Office:
        folder = tmp_path / f"office{len(offices)}"
        folder.mkdir()
        shutil.copy(furniture, folder / "directory.db")
        limits = {key: given.pop(key) for key in ("paused", "concurrency", "max_active", "window") if key in given}
        office = Office(folder, store or Store(folder), clock, SchedulerSettings(**limits), **given)
        offices.append(office)
        if started:
            office.scheduler.start()
        return office

    yield opened
    async with AsyncExitStack() as closing:
        for office in offices:
            closing.push_async_callback(office.close)


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days pass quicker where nobody looks around each second."""
    monkeypatch.setattr(claims, "LOOK_AROUND", 600.0)


# --- at once ------------------------------------------------------------------------------------------------


async def test_what_was_just_accepted_is_brought_from_memory(opened: OpenOffice) -> None:
    office = opened()
    intake = await office.take("bob@away.test")
    assert office.spool.in_memory == intake.size
    await office.quiet()
    (attempt,) = office.carrier.attempts
    assert (attempt.key, attempt.recipients, attempt.content) == ("mx:away.test", ["bob@away.test"], HEAD + BODY)
    assert office.scheduler.idle and office.scheduler.in_hand == 0
    assert office.spool.in_memory == 0
    assert office.store.counts() == {}


async def test_recipients_of_one_destination_travel_together(opened: OpenOffice) -> None:
    office = opened()
    await office.take("a@one.test", "b@two.test", "c@ONE.test", "d@one.test")
    await office.quiet()
    assert sorted(attempt.recipients for attempt in office.carrier.attempts) == [
        ["a@one.test", "c@ONE.test", "d@one.test"],
        ["b@two.test"],
    ]
    assert sorted(office.road.asked) == ["one.test", "two.test"]


async def test_a_thousand_recipients(opened: OpenOffice) -> None:
    office = opened()
    await office.take(*(f"r{number}@away{number % 10}.test" for number in range(1000)))
    await office.quiet()
    assert len(office.carrier.attempts) == 10
    assert len(set(office.carrier.brought)) == 1000
    assert office.spool.in_memory == 0
    assert office.store.counts() == {}


async def test_a_large_message_is_brought_from_the_store(opened: OpenOffice) -> None:
    office = opened()
    body = bytes(range(256)) * (2 * PIECE // 256 + 1)
    await office.take("bob@away.test", body=body)
    assert office.spool.in_memory == 0
    await office.quiet()
    assert office.carrier.attempts[0].content == HEAD + body


async def test_one_that_waits_on_the_disk_is_claimed(opened: OpenOffice) -> None:
    office = opened()
    await office.take("bob@away.test", wait=True)
    await office.quiet()
    assert office.carrier.brought == ["bob@away.test"]
    assert office.store.counts() == {}


async def test_while_paused_everything_waits(opened: OpenOffice) -> None:
    office = opened(paused=True)
    await office.take("bob@away.test")
    await office.passes(HOUR / 60)
    assert office.carrier.attempts == []
    assert [entry.state for entry in office.waiting] == ["waiting"]


async def test_local_recipients_are_delivered_here(opened: OpenOffice) -> None:
    office = opened()
    await office.take("bob@example.test", "team@example.test", sender="anna@example.org")
    await office.quiet()
    assert [letter.splitlines()[1] for letter in office.letters("bob")] == ["Delivered-To: bob@example.test"]
    assert office.carrier.brought == ["eve@elsewhere.test"]
    used = office.boxes.octets_used(office.directory.account_at(address("bob@example.test")).id)
    assert used == len(office.letters("bob")[0])


# --- again --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("calm")
async def test_the_schedule_is_kept_to_the_second(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.answers["away.test"] = BUSY
    await office.take("bob@away.test")
    await office.quiet()
    await office.passes_to(12 * HOUR)
    minutes = [0, 1, 6, 21, 51, 111, 231, 471, 711]  # 1, 5, 15, 30, 60, 120, 240, 240 after the one before
    assert [time / 60 for time in office.carrier.times] == minutes
    (entry,) = office.waiting
    assert (entry.attempts, entry.state, entry.due - NOW) == (9, "waiting", 951 * MINUTE)
    assert entry.last_reply == "451 4.3.0 Later, please"
    assert entry.last_host == "mx.away.test"


async def test_nothing_is_tried_before_its_time(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.answers["away.test"] = [BUSY, TAKEN]
    await office.take("bob@away.test")
    await office.quiet()
    await office.passes(59.9)
    assert office.carrier.times == [0]
    await office.passes(0.1)
    assert office.carrier.times == [0, 60]
    assert office.store.counts() == {}


@pytest.mark.usefixtures("calm")
async def test_jitter_keeps_those_apart_that_failed_together(opened: OpenOffice) -> None:
    office = opened(jitter=0.1)
    office.carrier.answers["away.test"] = BUSY
    for number in range(20):
        await office.take(f"r{number}@away.test")
    await office.quiet()
    dues = [entry.due - NOW for entry in office.waiting]
    assert len(set(dues)) == 20
    assert all(54 <= due <= 66 for due in dues)


async def test_each_recipient_has_an_end_of_its_own(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.answers |= {"b@away.test": BUSY, "c@away.test": REFUSED}
    await office.take("a@away.test", "b@away.test", "c@away.test")
    await office.quiet()
    assert [entry.recipient for entry in office.waiting] == ["b@away.test"]
    assert office.actions() == ["c@away.test: failed"]
    office.carrier.answers["b@away.test"] = TAKEN
    await office.passes(MINUTE)
    assert office.carrier.attempts[-1].recipients == ["b@away.test"]
    assert office.carrier.attempts[-1].content == HEAD + BODY  # now from the store


async def test_doubt_is_recorded(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.answers["away.test"] = DOUBTFUL
    await office.take("bob@away.test")
    await office.quiet()
    assert [entry.doubtful for entry in office.waiting] == [1]
    assert [doubt.recipient for doubt in queue.doubts(office.spool.database.reader)] == ["bob@away.test"]


async def test_an_exception_in_the_courier_defers(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.answers["away.test"] = [RuntimeError("a bug"), TAKEN]
    await office.take("bob@away.test", "eve@away.test")
    await office.quiet()
    assert [entry.last_reply for entry in office.waiting] == [str(say.LOCAL_ERROR)] * 2
    assert office.actions() == []
    await office.passes(MINUTE)
    assert office.store.counts() == {}


async def test_an_exception_in_the_router_defers(opened: OpenOffice) -> None:
    office = opened()
    office.road.answers["away.test"] = RuntimeError("a bug")
    await office.take("bob@away.test")
    await office.quiet()
    assert [entry.attempts for entry in office.waiting] == [1]
    del office.road.answers["away.test"]
    await office.passes(MINUTE)
    assert office.store.counts() == {}


# --- reports ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("calm")
async def test_after_five_days_it_is_given_up_and_the_sender_told(opened: OpenOffice) -> None:
    office = opened(lease=DAY)
    office.carrier.answers["away.test"] = BUSY
    await office.take("bob@away.test")
    await office.quiet()
    await office.passes_to(5 * DAY - 1)
    assert office.actions() == ["bob@away.test: delayed"]
    assert [entry.due for entry in office.waiting] == [NOW + 5 * DAY]  # the last attempt is at the last moment
    await office.passes(1)
    assert office.carrier.times[-1] == 5 * DAY
    assert office.waiting == []
    assert office.actions() == ["bob@away.test: delayed", "bob@away.test: failed"]
    assert "451 4.3.0 Later, please" in office.letters()[-1]
    assert office.spool.in_memory == 0


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(
    ("notify", "told"),
    [
        (Notify.UNSET, ["delayed", "failed"]),
        (Notify.NEVER, []),
        (Notify.SUCCESS, []),
        (Notify.FAILURE, ["failed"]),
        (Notify.DELAY, ["delayed"]),
        (Notify.SUCCESS | Notify.FAILURE | Notify.DELAY, ["delayed", "failed"]),
    ],
)
async def test_who_wants_to_hear_of_delay_and_failure(opened: OpenOffice, notify: Notify, told: list[str]) -> None:
    office = opened(lease=DAY)
    office.carrier.answers["away.test"] = BUSY
    await office.take("bob@away.test", notify=notify)
    await office.quiet()
    await office.passes_to(3 * HOUR)
    assert office.actions() == []
    await office.passes_to(12 * HOUR)
    assert office.actions() == [f"bob@away.test: {action}" for action in told if action == "delayed"]
    await office.passes_to(5 * DAY)
    assert office.actions() == [f"bob@away.test: {action}" for action in told]
    assert office.waiting == []


@pytest.mark.parametrize(
    ("to", "answer", "notify", "told"),
    [
        ("bob@away.test", TAKEN, Notify.SUCCESS, "relayed"),
        ("bob@away.test", TAKEN_WITH_WISHES, Notify.SUCCESS, ""),
        ("bob@away.test", TAKEN, Notify.UNSET, ""),
        ("bob@away.test", REFUSED, Notify.UNSET, "failed"),
        ("bob@away.test", REFUSED, Notify.NEVER, ""),
        ("bob@away.test", REFUSED, Notify.SUCCESS, ""),
        ("bob@example.test", TAKEN, Notify.SUCCESS, "delivered"),
        ("bob@example.test", TAKEN, Notify.FAILURE, ""),
        ("nobody@example.test", TAKEN, Notify.UNSET, "failed"),
    ],
)
async def test_who_wants_to_hear_of_an_end(
    opened: OpenOffice, to: str, answer: Outcome, notify: Notify, told: str
) -> None:
    office = opened()
    office.carrier.answers["away.test"] = answer
    await office.take(to, notify=notify)
    await office.quiet()
    assert office.actions() == ([f"{to}: {told}"] if told else [])
    assert office.waiting == []


async def test_an_alias_is_expanded_once(opened: OpenOffice) -> None:
    office = opened()
    await office.take("team@example.test", notify=Notify.SUCCESS, sender="bob@example.test")
    await office.quiet()
    assert office.actions("bob") == ["team@example.test: expanded"]
    assert office.carrier.brought == ["eve@elsewhere.test"]


@pytest.mark.parametrize("answer", [REFUSED, BUSY])
@pytest.mark.usefixtures("calm")
async def test_nobody_reports_to_nobody(opened: OpenOffice, answer: Outcome) -> None:
    office = opened(lease=DAY)
    office.carrier.answers["away.test"] = answer
    await office.take("bob@away.test", sender="", notify=Notify.SUCCESS | Notify.FAILURE | Notify.DELAY)
    await office.quiet()
    await office.passes_to(5 * DAY)
    assert office.store.counts() == {}
    assert set(office.carrier.brought) == {"bob@away.test"}


async def test_a_report_to_a_sender_elsewhere_is_mail_like_any_other(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.answers |= {"away.test": REFUSED, "anna@example.org": [BUSY, REFUSED]}
    await office.take("bob@away.test", sender="anna@example.org")
    await office.quiet()
    report = office.carrier.attempts[-1]
    assert report.recipients == ["anna@example.org"]
    assert b"5.1.1" in report.content
    assert [(entry.recipient, entry.sender) for entry in office.waiting] == [("anna@example.org", "")]
    await office.passes(MINUTE)  # it is refused for good: nobody is told of that
    assert office.store.counts() == {}
    assert office.spool.in_memory == 0


async def test_a_thousand_refused_are_one_report(opened: OpenOffice) -> None:
    office = opened()
    office.road.answers["gone.test"] = say.NO_SUCH_DOMAIN.saying(domain="gone.test")
    await office.take(*(f"r{number}@gone.test" for number in range(1000)))
    await office.quiet()
    assert len(office.letters()) == 1
    assert len(office.actions()) == 1000
    assert office.road.asked == ["gone.test"]


async def test_a_report_that_cannot_be_made_is_made_later(opened: OpenOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    office = opened()
    office.carrier.answers["away.test"] = REFUSED
    compose = office.reports.compose

    async def failing(*_: object) -> list[Intake]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(office.reports, "compose", failing)
    await office.take("bob@away.test")
    await office.turns()
    assert not office.scheduler.idle
    assert len(office.waiting) == 1
    monkeypatch.setattr(office.reports, "compose", compose)
    await office.later(5.0)
    await office.quiet()
    assert office.actions() == ["bob@away.test: failed"]
    assert office.waiting == []


# --- ways ---------------------------------------------------------------------------------------------------


async def test_no_way_for_good_and_no_way_for_now(opened: OpenOffice) -> None:
    office = opened()
    office.road.answers["gone.test"] = say.NO_SUCH_DOMAIN.saying(domain="gone.test")
    office.road.answers["dark.test"] = say.DNS_UNREADABLE.saying(domain="dark.test", fault="SERVFAIL")
    await office.take("a@gone.test", "b@dark.test")
    await office.quiet()
    assert office.actions() == ["a@gone.test: failed"]
    (entry,) = office.waiting
    assert (entry.recipient, entry.attempts, entry.due - NOW) == ("b@dark.test", 1, 60)
    assert entry.last_reply == "451 4.4.3 The name servers for dark.test do not answer usefully: SERVFAIL"
    assert office.carrier.attempts == []
    del office.road.answers["dark.test"]
    await office.passes(MINUTE)
    assert office.carrier.brought == ["b@dark.test"]


async def test_the_way_is_asked_once_for_all_and_again_after_a_while(opened: OpenOffice) -> None:
    office = opened()
    office.road.gate = asyncio.Event()
    for number in range(50):
        await office.take(f"r{number}@away.test")
    await office.turns()
    assert office.road.asked == ["away.test"]
    office.road.gate.set()
    await office.quiet()
    assert len(office.carrier.brought) == 50
    await office.passes(29)
    await office.take("x@away.test")
    await office.quiet()
    assert office.road.asked == ["away.test"]
    await office.passes(2)
    await office.take("y@away.test")
    await office.quiet()
    assert office.road.asked == ["away.test"] * 2


# --- destinations that cannot be reached --------------------------------------------------------------------


async def test_a_silent_destination_rests_and_is_not_tried_for_each_message(opened: OpenOffice) -> None:
    office = opened(concurrency=2)
    office.carrier.answers["away.test"] = SILENT
    for number in range(50):
        await office.take(f"r{number}@away.test", wait=True)
    await office.quiet()
    assert len(office.carrier.attempts) <= 2
    assert len(office.waiting) == 50
    assert min(entry.due for entry in office.waiting) == NOW + 60
    assert sum(entry.attempts for entry in office.waiting) == len(office.carrier.attempts)  # rest is no attempt
    assert all(entry.last_reply == str(SILENT.reply) for entry in office.waiting)


async def test_mail_for_a_resting_destination_waits_on_the_disk(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.answers["away.test"] = SILENT
    await office.take("a@away.test")
    await office.quiet()
    later = await office.take("b@away.test")
    assert (later.claim, later.due, later.stranded) == (False, NOW + 60, "mx:away.test")
    mixed = await office.take("c@away.test", "d@else.test")
    assert mixed.claim
    await office.quiet()
    assert office.carrier.brought == ["a@away.test", "d@else.test"]
    office.carrier.answers["away.test"] = TAKEN
    await office.passes(MINUTE)
    assert sorted(office.carrier.brought[2:]) == ["a@away.test", "b@away.test", "c@away.test"]
    assert office.store.counts() == {}


@pytest.mark.usefixtures("calm")
async def test_the_rest_grows_to_a_quarter_of_an_hour_and_ends_with_a_word(opened: OpenOffice) -> None:
    """Mail that comes each minute finds out how long the destination is left alone."""
    office = opened()
    office.carrier.answers["away.test"] = SILENT
    for minute in range(60):
        await office.passes_to(minute * MINUTE)
        await office.take(f"r{minute}@away.test", wait=True)
        await office.quiet()
    tried = sorted(set(office.carrier.times))
    rests = [(later - earlier) / 60 for earlier, later in pairwise(tried)]
    assert rests == [1, 5, 15, 15, 15]
    office.carrier.answers["away.test"] = BUSY  # it speaks: no rest, whatever it says
    await office.passes_to(66 * MINUTE)
    before = len(office.carrier.attempts)
    for number in range(5):
        await office.take(f"x{number}@away.test")
    await office.quiet()
    assert len(office.carrier.attempts) == before + 5


async def test_many_attempts_that_fail_together_are_one_setback(opened: OpenOffice) -> None:
    office = opened(concurrency=20)
    office.carrier.answers["away.test"] = SILENT
    office.carrier.gate = asyncio.Event()
    for number in range(20):
        await office.take(f"r{number}@away.test")
    await office.until(lambda: len(office.carrier.attempts) == 20)
    office.carrier.gate.set()
    await office.quiet()
    later = await office.take("b@away.test")
    assert later.due == NOW + 60


async def test_a_refusal_by_word_is_no_reason_to_rest(opened: OpenOffice) -> None:
    office = opened()
    refusal = Outcome(Verdict.DEFERRED, Reply(450, "4.7.1", "Greylisted"), "mx.away.test", said_by_remote=True)
    office.carrier.answers["away.test"] = refusal
    for number in range(5):
        await office.take(f"r{number}@away.test")
        await office.quiet()
    assert len(office.carrier.attempts) == 5


# --- how much at a time -------------------------------------------------------------------------------------


async def test_at_most_so_many_to_one_and_so_many_to_all(opened: OpenOffice) -> None:
    office = opened(concurrency=3, max_active=7)
    office.carrier.gate = asyncio.Event()
    for number in range(60):
        await office.take(f"r{number}@away{number % 6}.test")
    await office.until(lambda: len(office.carrier.attempts) >= 7)
    await office.turns()
    assert len(office.carrier.attempts) == 7
    office.carrier.gate.set()
    await office.quiet()
    assert len(office.carrier.brought) == len(set(office.carrier.brought)) == 60
    assert office.carrier.most_in_all == 7
    assert max(office.carrier.most.values()) <= 3
    assert office.store.counts() == {}


async def test_a_long_queue_for_one_does_not_keep_others_waiting(opened: OpenOffice) -> None:
    office = opened(concurrency=2, max_active=2)
    office.carrier.gate = asyncio.Event()
    for number in range(100):
        await office.take(f"r{number}@crowded.test")
    await office.take("bob@quiet.test")
    await office.turns()
    office.carrier.gate.set()
    await office.quiet()
    assert len(office.carrier.brought) == 101
    assert office.carrier.brought.index("bob@quiet.test") < 10


async def test_local_mail_needs_no_connection(opened: OpenOffice) -> None:
    office = opened(concurrency=1, max_active=1)
    office.carrier.gate = asyncio.Event()
    await office.take("a@away.test")
    await office.until(lambda: office.carrier.attempts)
    await office.take("bob@example.test")
    await office.until(lambda: office.letters("bob"))


async def test_a_deep_queue_goes_through_a_small_window(opened: OpenOffice) -> None:
    office = opened(window=100, started=False)
    waiting = [intake_for(office.spool, f"r{n}@away{n % 50}.test") for n in range(5_000)]
    await asyncio.gather(*(accepted(office.spool, intake) for intake in waiting))
    most = 0
    office.scheduler.start()
    async with asyncio.timeout(LIMIT):
        while office.store.counts():
            most = max(most, office.scheduler.in_hand)
            assert office.scheduler.in_hand <= 100
            await asyncio.sleep(0)
    await office.quiet()
    assert most == 100
    assert len(office.carrier.brought) == len(set(office.carrier.brought)) == 5_000


@pytest.mark.parametrize("window", [1, 2])
async def test_a_tiny_window_drains_without_a_clock(opened: OpenOffice, window: int) -> None:
    office = opened(window=window)
    for number in range(10):
        await office.take(f"r{number}@away.test", wait=True)
    await office.until(lambda: len(office.carrier.brought) == 10)


async def test_what_does_not_fit_into_the_window_waits_on_the_disk(opened: OpenOffice) -> None:
    office = opened(window=3)
    office.carrier.gate = asyncio.Event()
    first = await office.take("a@away.test", "b@away.test")
    second = await office.take("c@away.test", "d@away.test")
    assert (first.claim, second.claim) == (True, False)
    await office.until(lambda: office.scheduler.in_hand == 3)
    await office.turns()
    assert office.scheduler.in_hand == 3
    office.carrier.gate.set()
    await office.until(lambda: not office.waiting)
    assert sorted(office.carrier.brought) == ["a@away.test", "b@away.test", "c@away.test", "d@away.test"]


# --- leases -------------------------------------------------------------------------------------------------


async def test_a_long_attempt_keeps_its_claim(opened: OpenOffice) -> None:
    one = opened(lease=30.0)
    one.carrier.gate = asyncio.Event()
    await one.take("slow@away.test")
    await one.until(lambda: one.carrier.attempts)
    other = opened(one.store, lease=30.0)
    for _ in range(120):
        await one.clock.passed(1.0)
        await one.turns()
        await other.turns()
        assert one.waiting[0].due > one.clock.now() + 15  # renewed long before it ends
    one.carrier.gate.set()
    await one.quiet()
    assert (len(one.carrier.attempts), other.carrier.attempts) == (1, [])
    assert one.store.counts() == {}


async def test_a_clock_that_jumps_makes_no_second_attempt(opened: OpenOffice, clock: ManualClock) -> None:
    """All leases seem to be over at once; what this node has in hand it goes on with, and settles."""
    office = opened(concurrency=1)
    office.carrier.gate = asyncio.Event()
    await office.take("tried@away.test")
    await office.take("next@away.test")
    await office.until(lambda: office.carrier.attempts)
    clock.jump(DAY)
    await office.take("other@else.test", wait=True)  # has it look for due work
    await office.turns()
    office.carrier.gate.set()
    await office.quiet()
    assert sorted(office.carrier.brought) == ["next@away.test", "other@else.test", "tried@away.test"]
    assert office.store.counts() == {}
    assert office.spool.in_memory == 0


async def test_a_clock_that_jumps_while_an_attempt_is_settled_makes_no_second_one(
    opened: OpenOffice, clock: ManualClock
) -> None:
    """The look for due work and the settlement come into one commit, and the settlement is the second."""
    office = opened()
    office.carrier.gate = asyncio.Event()
    await office.take("tried@away.test")
    await office.until(lambda: office.carrier.attempts)
    clock.jump(DAY)
    other = intake_for(office.spool, "other@else.test", sender="alice@example.test", now=clock.now())
    await accepted(office.spool, other, clock.now())
    release = threading.Event()
    busy = asyncio.ensure_future(office.spool.database.written(lambda _connection: release.wait(LIMIT)))
    await asyncio.sleep(0)
    office.scheduler.accepted(other)  # has it look for due work
    for _ in range(10):
        await asyncio.sleep(0)
    office.carrier.gate.set()
    for _ in range(10):
        await asyncio.sleep(0)
    release.set()
    await busy
    await office.quiet()
    assert sorted(office.carrier.brought) == ["other@else.test", "tried@away.test"]
    await office.passes(2 * office.lease)  # nor when the second claim's lease is over
    assert sorted(office.carrier.brought) == ["other@else.test", "tried@away.test"]
    assert office.store.counts() == {}
    assert office.spool.in_memory == 0


async def test_two_nodes_share_one_queue(opened: OpenOffice) -> None:
    one = opened(window=20, started=False)
    other = opened(one.store, window=20, started=False)
    for number in range(200):
        await accepted(one.spool, intake_for(one.spool, f"r{number}@away{number % 9}.test"))
    one.scheduler.start()
    other.scheduler.start()
    await one.until(lambda: not one.waiting)
    await asyncio.gather(one.quiet(), other.quiet())
    assert Counter(one.carrier.brought + other.carrier.brought) == Counter(
        f"r{number}@away{number % 9}.test" for number in range(200)
    )


# --- the postmaster -----------------------------------------------------------------------------------------


async def with_two_in_hand(opened: OpenOffice) -> tuple[Office, Intake, Intake]:
    """One is under way, one waits in the lane behind it."""
    office = opened(concurrency=1)
    office.carrier.gate = asyncio.Event()
    under_way, behind = await office.take("first@away.test"), await office.take("behind@away.test")
    await office.until(lambda: office.carrier.attempts)
    return office, under_way, behind


def whole(intake: Intake) -> tuple[int, int]:
    within = queue.span(intake.queue_id)
    assert within is not None
    return within


async def noticed(office: Office) -> None:
    """One look around."""
    await office.later(1.0)


async def test_a_hold_is_noticed(opened: OpenOffice) -> None:
    office, _, behind = await with_two_in_hand(opened)
    office.by_hand(lambda connection: queue.hold(connection, whole(behind)))
    await noticed(office)
    assert office.carrier.gate is not None
    office.carrier.gate.set()
    await office.quiet()
    assert office.carrier.brought == ["first@away.test"]
    assert [(entry.recipient, entry.state) for entry in office.waiting] == [("behind@away.test", "held")]
    assert office.spool.in_memory == 0
    office.by_hand(lambda connection: queue.release(connection, whole(behind), office.clock.now()))
    await noticed(office)
    await office.quiet()
    assert office.carrier.brought == ["first@away.test", "behind@away.test"]
    assert office.store.counts() == {}


async def test_a_hold_that_is_thought_better_of(opened: OpenOffice) -> None:
    office, under_way, behind = await with_two_in_hand(opened)
    for intake in (under_way, behind):
        within = whole(intake)
        office.by_hand(lambda connection, within=within: queue.hold(connection, within))
    await noticed(office)
    for intake in (under_way, behind):
        within, now = whole(intake), office.clock.now()
        office.by_hand(lambda connection, within=within, now=now: queue.release(connection, within, now))
    await noticed(office)
    assert office.carrier.gate is not None
    office.carrier.gate.set()
    await office.quiet()
    assert office.carrier.brought == ["first@away.test", "behind@away.test"]  # each once
    assert office.store.counts() == {}


async def test_a_hold_while_under_way_holds_what_is_deferred(opened: OpenOffice) -> None:
    office, under_way, _ = await with_two_in_hand(opened)
    office.carrier.answers["first@away.test"] = [BUSY, TAKEN]
    office.by_hand(lambda connection: queue.hold(connection, whole(under_way)))
    await noticed(office)
    assert office.carrier.gate is not None
    office.carrier.gate.set()
    await office.quiet()
    await office.passes(2 * MINUTE)
    assert [(entry.recipient, entry.state) for entry in office.waiting] == [("first@away.test", "held")]
    office.by_hand(lambda connection: queue.release(connection, whole(under_way), office.clock.now()))
    await noticed(office)
    await office.quiet()
    assert office.carrier.brought.count("first@away.test") == 2  # it is not taken for held any more
    assert office.store.counts() == {}


async def test_a_removal_is_noticed(opened: OpenOffice) -> None:
    office, under_way, behind = await with_two_in_hand(opened)
    for intake in (under_way, behind):
        within = whole(intake)
        office.by_hand(lambda connection, within=within: queue.remove(connection, within))
    await noticed(office)
    assert office.carrier.gate is not None
    office.carrier.gate.set()
    await office.quiet()
    assert office.carrier.brought == ["first@away.test"]
    assert office.store.counts() == {}
    assert office.spool.in_memory == 0


async def test_a_removal_between_claim_and_attempt_sends_no_empty_message(opened: OpenOffice) -> None:
    """Not noticed yet, and the content has to be read from the store: there is none."""
    office = opened(concurrency=1)
    office.carrier.gate = asyncio.Event()
    await office.take("first@away.test", wait=True)
    behind = await office.take("behind@away.test", wait=True)
    await office.until(lambda: office.scheduler.in_hand == 2 and office.carrier.attempts)
    office.by_hand(lambda connection: queue.remove(connection, whole(behind)))
    office.carrier.gate.set()
    await office.quiet()
    assert [attempt.recipients for attempt in office.carrier.attempts] == [["first@away.test"]]
    assert office.store.counts() == {}


async def test_a_bounce_is_noticed(opened: OpenOffice) -> None:
    office, _, behind = await with_two_in_hand(opened)
    office.by_hand(lambda connection: queue.bounce(connection, whole(behind), office.clock.now()))
    await noticed(office)
    await office.until(office.actions)
    assert office.carrier.gate is not None
    office.carrier.gate.set()
    await office.quiet()
    assert office.carrier.brought == ["first@away.test"]
    assert office.actions() == ["behind@away.test: failed"]
    assert "The postmaster returned this message" in office.letters()[0]
    assert office.waiting == []
    assert office.spool.in_memory == 0


@pytest.mark.parametrize(("answer", "told"), [(TAKEN, []), (BUSY, ["first@away.test: failed"])])
async def test_a_bounce_while_under_way_waits_for_the_end_of_the_attempt(
    opened: OpenOffice, answer: Outcome, told: list[str]
) -> None:
    """Who was delivered to is not told that he was not."""
    office, under_way, _ = await with_two_in_hand(opened)
    office.carrier.answers["first@away.test"] = answer
    office.by_hand(lambda connection: queue.bounce(connection, whole(under_way), office.clock.now()))
    await noticed(office)
    assert office.carrier.gate is not None
    office.carrier.gate.set()
    await office.quiet()
    assert office.actions() == told
    assert office.waiting == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [(TAKEN, []), (BUSY, ["first@away.test: failed"]), (SILENT, ["first@away.test: failed"])],
)
async def test_a_bounce_that_the_node_has_not_noticed_when_the_attempt_ends(
    opened: OpenOffice, answer: Outcome, told: list[str]
) -> None:
    """The command came within the second before the answer: the same end."""
    office, under_way, _ = await with_two_in_hand(opened)
    office.carrier.answers["first@away.test"] = answer
    office.by_hand(lambda connection: queue.bounce(connection, whole(under_way), office.clock.now()))
    assert office.carrier.gate is not None
    office.carrier.gate.set()
    await office.until(lambda: all(entry.recipient != "first@away.test" for entry in office.waiting))
    await noticed(office)
    await office.quiet()
    assert office.actions() == told
    assert office.carrier.brought.count("first@away.test") == 1


async def test_a_bounce_after_an_answer_that_was_lost_keeps_the_doubt(opened: OpenOffice) -> None:
    office, under_way, _ = await with_two_in_hand(opened)
    office.carrier.answers["first@away.test"] = DOUBTFUL
    office.by_hand(lambda connection: queue.bounce(connection, whole(under_way), office.clock.now()))
    await noticed(office)
    assert office.carrier.gate is not None
    office.carrier.gate.set()
    await office.quiet()
    assert office.actions() == ["first@away.test: failed"]
    assert "X-Glasspost-Doubtful" in office.letters()[0]
    (doubt,) = queue.doubts(office.store.by_hand().reader)
    assert (doubt.recipient, doubt.reason) == ("first@away.test", str(DOUBTFUL.reply))


async def test_a_second_look_does_not_try_what_is_to_be_bounced(opened: OpenOffice) -> None:
    office, under_way, behind = await with_two_in_hand(opened)
    for intake in (behind, under_way):  # each is a change by somebody else
        within, now = whole(intake), office.clock.now()
        office.by_hand(lambda connection, within=within, now=now: queue.bounce(connection, within, now))
        await noticed(office)
    assert office.carrier.gate is not None
    office.carrier.gate.set()
    await office.quiet()
    assert office.carrier.brought == ["first@away.test"]
    assert office.actions() == ["behind@away.test: failed"]


async def test_a_held_one_can_be_bounced(opened: OpenOffice) -> None:
    office = opened(paused=True)
    intake = await office.take("bob@away.test")
    office.by_hand(lambda connection: queue.hold(connection, whole(intake)))
    await office.stop()
    successor = opened(office.store, recover=True)
    office.by_hand(lambda connection: queue.bounce(connection, whole(intake), successor.clock.now()))
    await noticed(successor)
    await successor.quiet()
    assert successor.actions() == ["bob@away.test: failed"]


async def test_a_retry_is_noticed(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.answers["away.test"] = [BUSY, TAKEN]
    intake = await office.take("bob@away.test")
    await office.quiet()
    office.by_hand(lambda connection: queue.retry(connection, whole(intake), office.clock.now()))
    await noticed(office)
    await office.quiet()
    assert office.carrier.times == [0, 1]
    assert office.store.counts() == {}


async def test_a_retry_does_not_wait_for_a_rest_to_end(opened: OpenOffice) -> None:
    """Who says so has just repaired what was broken."""
    office = opened()
    office.carrier.answers["away.test"] = SILENT
    intake = await office.take("bob@away.test")
    await office.quiet()
    office.carrier.answers["away.test"] = TAKEN
    office.by_hand(lambda connection: queue.retry(connection, whole(intake), office.clock.now()))
    await noticed(office)
    await office.quiet()
    assert office.carrier.times == [0, 1]
    assert office.road.asked == ["away.test"] * 2


# --- stopping, and a store in trouble -----------------------------------------------------------------------


async def test_stopping_puts_back_what_was_not_tried(opened: OpenOffice) -> None:
    office = opened(concurrency=1)
    office.carrier.answers["tried@away.test"] = BUSY
    await office.take("tried@away.test")
    await office.quiet()
    tried_before = office.waiting[0]
    office.carrier.gate = asyncio.Event()
    office.road.answers["lost.test"] = RuntimeError("never asked")
    await office.take("first@away.test")
    await office.until(lambda: len(office.carrier.attempts) == 2)
    await office.take("second@away.test", "third@away.test")
    await office.turns()
    office.by_hand(lambda connection: queue.retry(connection, queue.EVERYTHING, office.clock.now()))
    await noticed(office)
    asyncio.get_running_loop().call_soon(office.carrier.gate.set)
    await office.stop()
    assert office.carrier.brought == ["tried@away.test", "first@away.test"]
    for entry in office.waiting:
        assert (entry.state, entry.doubtful) == ("waiting", 0)
        assert entry.due <= office.clock.now()
    again, *untried = office.waiting
    assert [(entry.recipient, entry.attempts) for entry in untried] == [("second@away.test", 0), ("third@away.test", 0)]
    kept = ("attempts", "last_attempt", "last_reply", "last_host", "last_conversation")
    assert [getattr(again, name) for name in kept] == [getattr(tried_before, name) for name in kept]
    assert set(office.store.look("SELECT claimed_by FROM recipient")) == {""}
    assert office.scheduler.in_hand == 0
    assert office.spool.in_memory == 0


async def test_stopping_while_the_way_is_asked(opened: OpenOffice) -> None:
    office = opened()
    office.road.gate = asyncio.Event()
    await office.take("bob@away.test")
    await office.turns()
    await office.stop(patience=0.01)
    assert [(entry.state, entry.attempts, entry.doubtful) for entry in office.waiting] == [("waiting", 0, 0)]
    assert office.store.look("SELECT claimed_by FROM recipient") == [""]


async def test_an_attempt_cut_short_is_in_doubt(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.gate = asyncio.Event()
    await office.take("bob@away.test")
    await office.until(lambda: office.carrier.attempts)
    await office.stop(patience=0.01)
    successor = opened(office.store, started=False, recover=True)
    assert [(entry.state, entry.doubtful) for entry in successor.waiting] == [("waiting", 1)]
    successor.scheduler.start()
    await successor.quiet()
    assert successor.carrier.brought == ["bob@away.test"]


async def test_a_report_made_while_stopping_is_not_lost_and_not_in_doubt(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.gate = asyncio.Event()
    office.carrier.answers["away.test"] = REFUSED
    await office.take("bob@away.test", sender="anna@example.org")
    await office.until(lambda: office.carrier.attempts)
    asyncio.get_running_loop().call_soon(office.carrier.gate.set)
    await office.stop()
    assert [(entry.recipient, entry.state) for entry in office.waiting] == [("anna@example.org", "waiting")]
    assert office.road.asked == ["away.test"]  # nothing new is begun
    assert office.store.look("SELECT claimed_by FROM recipient") == [""]


async def fill_the_disk(office: Office, pages: int = 1) -> None:
    await office.spool.database.written(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def test_what_cannot_be_settled_is_settled_later(opened: OpenOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    office = opened()
    office.carrier.answers["no@away.test"] = REFUSED
    settle, refused = office.spool.settle, []

    def full(settlements: Any, reports: Any, now: float, done: Callable[[Any, Exception], None]) -> None:
        refused.append(len(settlements))
        asyncio.get_running_loop().call_soon(done, (), StoreFull("no room left"))

    monkeypatch.setattr(office.spool, "settle", full)
    await office.take("yes@away.test", "no@away.test", sender="anna@example.org")
    await office.until(lambda: refused)
    for _ in range(3):
        await office.later(5.0)
    assert len(refused) == 4
    assert not office.scheduler.idle
    assert len(office.waiting) == 2
    monkeypatch.setattr(office.spool, "settle", settle)
    await office.later(5.0)
    await office.quiet()
    assert office.carrier.brought == ["yes@away.test", "no@away.test", "anna@example.org"]  # each once
    assert office.store.counts() == {}
    assert office.spool.in_memory == 0


async def test_a_real_full_disk(opened: OpenOffice) -> None:
    """The report does not fit. When there is room it comes, and the budget of memory is in order."""
    office = opened()
    office.carrier.gate = asyncio.Event()
    office.carrier.answers |= {"no@away.test": REFUSED, "later@away.test": BUSY}
    await office.take("no@away.test", "later@away.test", sender="anna@example.org", body=BODY + b"x" * 40_000)
    await fill_the_disk(office)
    office.carrier.gate.set()
    await office.until(lambda: office.carrier.attempts)
    await office.later(5.0)
    assert office.carrier.brought == ["no@away.test", "later@away.test"]
    assert [entry.attempts for entry in office.waiting] == [0, 0]
    await fill_the_disk(office, 100_000)
    await office.later(5.0)
    await office.quiet()
    assert office.carrier.brought == ["no@away.test", "later@away.test", "anna@example.org"]
    assert [entry.attempts for entry in office.waiting] == [1]
    assert office.spool.in_memory == 0


async def test_what_could_not_be_settled_is_said_once_more_before_the_end(
    opened: OpenOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = opened()
    settle, refused = office.spool.settle, []

    def full(settlements: Any, reports: Any, now: float, done: Callable[[Any, Exception], None]) -> None:
        refused.append(len(settlements))
        asyncio.get_running_loop().call_soon(done, (), StoreFull("no room left"))

    monkeypatch.setattr(office.spool, "settle", full)
    await office.take("bob@away.test")
    await office.until(lambda: refused)
    monkeypatch.setattr(office.spool, "settle", settle)
    await office.stop()
    assert office.store.counts() == {}


# --- after a crash ------------------------------------------------------------------------------------------


async def test_after_a_crash_everything_acknowledged_comes_to_an_end(opened: OpenOffice) -> None:
    office = opened(concurrency=2)
    office.carrier.gate = asyncio.Event()
    for number in range(10):
        await office.take(f"r{number}@away.test", "bob@example.test", deposits=[(1, "alice@example.test")])
    await office.until(lambda: len(office.carrier.attempts) == 2)
    successor = opened(office.store.killed(), started=False, recover=True)
    found = defaultdict(list)
    for entry in successor.waiting:
        found[entry.queue_id].append(entry.recipient)
    assert len(found) == 10
    successor.scheduler.start()
    await successor.quiet()
    assert sorted(successor.carrier.brought) == [f"r{number}@away.test" for number in range(10)]
    assert len(successor.letters("bob")) == len(successor.letters("alice")) == 10
    assert set(successor.store.counts()) == {"message", "chunk", "deposit"}
