"""The scheduler: what is tried now, where, how many at a time, and how it ends.

Lives here: taking over what was just accepted or claimed, asking the way, attempts, settling them.
Does not live here: claiming (claims.py), what an outcome means (decisions.py), conversations (remote.py), routes
(routes.py), SQL.

Only a window of the queue is in memory, whatever its length on disk. A destination that does not answer rests: what
comes for it meanwhile is not tried but put behind the rest, so a dead neighbour costs one attempt, not thousands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import structlog

from glasspost.clock import Clock
from glasspost.errors import StoreError
from glasspost.mail import reply as say
from glasspost.mail.envelope import Outcome, Verdict
from glasspost.mail.reply import Reply
from glasspost.outbound.chronicle import fates_of, reports_told
from glasspost.outbound.claims import Claims
from glasspost.outbound.decisions import decide, unreachable
from glasspost.outbound.lanes import Ending, Job, Lane, Lanes, Sorting
from glasspost.outbound.local import LocalCourier
from glasspost.outbound.reports import Reports
from glasspost.outbound.retry import Schedule
from glasspost.outbound.returning import Returning
from glasspost.outbound.routes import Route
from glasspost.outbound.ways import Guide, Ways
from glasspost.storage.accounts import Directory
from glasspost.storage.bodies import ContentGone
from glasspost.storage.fates import Fate
from glasspost.storage.mailboxes import Mailboxes
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Intake, Message, Queued, Settlement, deposit_header

SETTLE_AGAIN = 5.0  # seconds until a settlement that could not be stored is tried again

log = structlog.get_logger("scheduler")


class Courier(Protocol):
    """Whoever brings mail to other servers (outbound/remote.py)."""

    async def deliver(self, message: Message, recipients: Sequence[Queued], route: Route) -> list[Outcome]: ...


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How much at a time. `window`: recipients held in memory."""

    paused: bool = False
    concurrency: int = 20  # attempts at a time to one destination
    max_active: int = 100  # and to all of them
    window: int = 20_000


class Scheduler:
    """Brings the spool's mail on its way. `start` after the spool's recovery, `stop` before the store is closed."""

    def __init__(
        self,
        settings: SchedulerSettings,
        *,
        spool: Spool,
        mailboxes: Mailboxes,
        directory: Directory,
        router: Guide,
        remote: Courier,
        local: LocalCourier,
        schedule: Schedule,
        reports: Reports,
        clock: Clock,
        tell: Callable[[Sequence[Fate]], None] = lambda fates: None,
        tell_relayed: bool = False,
    ) -> None:
        """`tell` hears what became of recipients; of those whom the next server took only with `tell_relayed`."""
        self.settings, self._tell, self._tell_relayed = settings, tell, tell_relayed
        self._spool = spool
        self._mailboxes = mailboxes
        self.ways = Ways(router, directory, clock)
        self._remote = remote
        self.local = local
        self.schedule = schedule
        self.reports = reports
        self._clock = clock
        self._lanes = Lanes(settings.concurrency)
        self._asking: dict[str, list[Queued]] = {}  # recipients by the domain whose route is being found out
        self._waiting: deque[Lane] = deque()  # lanes with work, but no connection free
        self._active = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled = 0
        self._unrecorded: list[Ending] = []  # could not be stored: to be said again
        self._running = False
        self._claims = Claims(
            spool, clock, settings.window, self._take, self._put_back, self._run, self._lanes, schedule
        )
        self._returning = Returning(self._claims, take=self._take, run=self._run)

    # --- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._running = True
        self._claims.start(claiming=not self.settings.paused)

    async def stop(self, patience: float) -> None:
        """Begin nothing more; give what is under way `patience` seconds; put the rest back."""
        loop = asyncio.get_running_loop()
        self._running = False
        self._claims.stop()
        end = loop.time() + patience
        while self._tasks and (left := end - loop.time()) > 0:
            await asyncio.wait(list(self._tasks), timeout=left)
        for task in list(self._tasks):
            task.cancel()  # its recipients stay claimed: the next node to come notes them as doubtful
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for ending in self._unrecorded[:]:
            await self._settle(ending)
        await self._all_told()
        self._put_back([queued for queued in self._claims.in_hand.values() if not queued.begun])
        await self._all_told()

    async def _all_told(self) -> None:
        """Until the writer has done, and told, all that it was given."""
        with suppress(StoreError):
            await asyncio.gather(*(self._spool.database.written(lambda _connection: None, large) for large in (0, 1)))

    @property
    def idle(self) -> bool:
        """Nothing in hand and nothing on its way into the store."""
        return not self._claims.in_hand and not self._unsettled and not self._claims.claiming

    @property
    def in_hand(self) -> int:
        return len(self._claims.in_hand)

    # --- what was just accepted -------------------------------------------------------------------------------

    def may_claim(self, intake: Intake) -> bool:
        """Before the commit: can these recipients be handed over in memory? Otherwise they wait on disk, until the
        rest of their destination is over where it rests."""
        if not self._running or self.settings.paused:
            return False
        if not self._claims.room_for(len(intake.recipients)):
            return False
        ways = [self.ways.known(recipient.address.route) for recipient in intake.recipients]
        resting = self._lanes.at_rest([way[0] if way else None for way in ways], self._clock.now())
        if resting:
            intake.due = max(lane.rest_until for lane in resting)
            if len(resting) == 1:
                intake.due, intake.stranded = resting[0].turn(self.schedule), resting[0].key
        return not resting

    def accepted(self, intake: Intake) -> None:
        """After the commit: what was handed over goes on its way at once; mailboxes are counted."""
        size = intake.size
        for account_id, path in intake.deposits:
            self._mailboxes.deposited(account_id, size + len(deposit_header(intake.envelope.reverse_path, path)))
        if intake.queued:
            self._take(intake.queued)
        elif intake.recipients:
            self._claims.expect(intake.due)

    def _take(self, queued: Iterable[Queued]) -> None:
        """Recipients have come into this node's hands: sort them into lanes."""
        held = [one for one in queued if self._claims.hold(one)]
        if not self._running:
            return  # they are put back with the rest
        sorting = Sorting(self._clock.now())
        for one in held:
            if one.wish == "bounce":
                sorting.end(one, Outcome(Verdict.FAILED, say.BOUNCED_BY_OPERATOR), 0.0)
                continue
            domain = one.address.route
            if one.wish == "retry":
                self.ways.forget(domain)
            known = self.ways.known(domain)
            if known is not None:
                self._sort(one, known[0], sorting)
            elif domain in self._asking:
                self._asking[domain].append(one)
            else:
                self._asking[domain] = [one]
                self._run(self._ask_way(domain))
        self._end(sorting)

    def _sort(self, queued: Queued, route: Route | Reply | None, sorting: Sorting) -> None:
        """One recipient into its lane, or to its end where there is no way."""
        if isinstance(route, Reply):
            verdict = Verdict.FAILED if route.permanent else Verdict.DEFERRED
            sorting.end(queued, Outcome(verdict, route), sorting.now)
            return
        lane = self._lanes.lane(route)
        if queued.wish == "retry" and queued.due >= lane.failed:
            lane.rest_until = 0.0  # who says "now" means now; but not what was tried since, for each of thousands
        job = sorting.jobs.get((queued.message.id, lane.key))
        if job is None and lane.jobs and lane.jobs[-1].message.id == queued.message.id:
            job = lane.jobs[-1]  # its recipients in another domain, which goes the same way, came just before
        if job is None:
            job = sorting.jobs[queued.message.id, lane.key] = Job(queued.message, [])
            lane.jobs.append(job)
            # The attempt starts in the next round of the loop, when the message's other recipients are here too.
            asyncio.get_running_loop().call_soon(self._serve, lane)
        job.recipients.append(queued)

    def _end(self, sorting: Sorting) -> None:
        for ending in sorting.endings.values():
            self._run(self._settle(ending))

    async def _ask_way(self, domain: str) -> None:
        """One question for all that wait for its answer."""
        route = await self.ways.ask(domain)
        sorting = Sorting(self._clock.now())
        for queued in self._asking.pop(domain):
            self._sort(queued, route, sorting)
        self._end(sorting)

    # --- attempts ---------------------------------------------------------------------------------------------

    def _serve(self, lane: Lane) -> None:
        """Start as many attempts as the lane and the node allow."""
        if not self._running:
            return
        while lane.active < lane.width and lane.jobs:
            if lane.route is not None and self._active >= self.settings.max_active:
                self._queue_up(lane)
                return
            lane.active += 1
            self._active += lane.route is not None
            self._run(self._work(lane, lane.jobs.popleft()))

    def _queue_up(self, lane: Lane) -> None:
        """All of the node's connections are in use: wait for one, behind the lanes that wait already."""
        if not lane.queued_up:
            lane.queued_up = True
            self._waiting.append(lane)

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, lane: Lane, job: Job | None) -> None:
        """One worker of a lane: job after job, until there is none, or another lane waits for the connection."""
        try:
            while job is not None:
                await self._attempt(lane, job)
                go_on = lane.jobs and self._running and (not self._waiting or lane.route is None)
                go_on = go_on and lane.active <= lane.width
                job = lane.jobs.popleft() if go_on else None
        finally:
            lane.active -= 1
            self._active -= lane.route is not None
            if lane.jobs and lane.route is not None:
                self._queue_up(lane)
            while self._waiting and self._active < self.settings.max_active:
                other = self._waiting.popleft()
                other.queued_up = False
                self._serve(other)

    async def _attempt(self, lane: Lane, job: Job) -> None:
        try:
            await self._claims.make_certain()
        except StoreError as error:
            log.error("not tried, because the store does not tell whose it is", error=str(error))
            self._put_back(job.recipients)
            return
        recipients = [queued for queued in job.recipients if not queued.withdrawn]
        if len(recipients) < len(job.recipients):
            self._put_back([queued for queued in job.recipients if queued.withdrawn])
            if not recipients:
                return
        for queued in recipients:
            queued.begun = True
        now = self._clock.now()
        if lane.rests(now) and lane.rest_reply is not None:
            outcomes = [Outcome(Verdict.DEFERRED, lane.rest_reply)] * len(recipients)
            turn = lane.turn(self.schedule)
            await self._settle(Ending(job.message, 0.0, turn, lane.key, recipients, outcomes))
            return
        try:
            if lane.route is None:
                outcomes = await self.local.deliver(job.message, recipients)
            else:
                outcomes = await self._remote.deliver(job.message, recipients, lane.route)
        except ContentGone:
            outcomes = [Outcome(Verdict.DEFERRED, say.LOCAL_ERROR)] * len(recipients)  # nobody waits for it any more
        except Exception as error:
            log.exception("an attempt broke", queue_id=job.message.queue_id, lane=lane.key)
            outcomes = [Outcome(Verdict.DEFERRED, say.LOCAL_ERROR.because(repr(error)))] * len(recipients)
        self._learn(lane, outcomes)
        await self._settle(Ending(job.message, now, 0.0, lane.key, recipients, outcomes))

    def _learn(self, lane: Lane, outcomes: Sequence[Outcome]) -> None:
        """A destination that cannot be reached rests; one that takes mail gets what waited for it, too."""
        if lane.route is None:
            return
        if all(unreachable(outcome) for outcome in outcomes):
            lane.fail(self._clock.now(), self.schedule, outcomes[0].reply)
            return
        took = any(outcome.verdict is not Verdict.DEFERRED for outcome in outcomes)
        if lane.answer(took=took, most=self.settings.concurrency):
            self._serve(lane)
        if took and lane.stranded:
            self._returning.fetch(lane)

    # --- settling ---------------------------------------------------------------------------------------------

    async def _settle(self, ending: Ending) -> None:
        """Record what an attempt came to, with the reports it calls for."""
        now = self._clock.now()
        settlements, results = [], []
        for queued, outcome in zip(ending.recipients, ending.outcomes, strict=True):
            settlement, result = decide(self.schedule, queued, outcome, ending, now)
            settlements.append(settlement)
            results.append(result)
        intakes = []
        if any(result.kind is not None for result in results):
            try:
                intakes = await self.reports.compose(ending.message, results)
            except ContentGone:
                pass  # the postmaster removed it: there is nothing to settle any more
            except Exception:
                log.exception("no report could be made, trying again", queue_id=ending.message.queue_id)
                self._settle_later(ending)
                return
        fates = fates_of(settlements, results, ending.turn, now, relayed=self._tell_relayed)
        self._record(settlements, intakes, ending, fates + reports_told(intakes, ending.message.queue_id, now))

    def _record(
        self, settlements: Sequence[Settlement], intakes: Sequence[Intake], ending: Ending | None, fates: Sequence[Fate]
    ) -> None:
        self._unsettled += 1

        def done(void: Collection[int], error: Exception | None) -> None:
            self._unsettled -= 1
            if error is None:
                self._recorded(settlements, intakes, void)
                if len(void) < len(settlements):
                    self._tell(fates)
                return
            if ending is None or not self._unrecorded:  # one line for all that the same trouble stops
                log.error("not settled", error=str(error), again=ending is not None)
            for intake in intakes:
                intake.draft.discard()
            if ending is not None:  # the claims still stand: say it again before they run out
                self._settle_later(ending)
                return
            for settlement in settlements:
                self._claims.let_go(settlement.queued)

        self._spool.settle(settlements, intakes, self._clock.now(), done)

    def _recorded(self, settlements: Sequence[Settlement], intakes: Sequence[Intake], void: Collection[int]) -> None:
        due = inf
        for settlement in settlements:
            queued = settlement.queued
            if settlement.forwards or queued.wish:
                due = 0.0
            elif settlement.due is not None:
                due = min(due, settlement.due)
            if queued.id not in void:
                for account_id, path in settlement.deposits:
                    size = queued.message.size + len(deposit_header(queued.message.reverse_path, path))
                    self._mailboxes.deposited(account_id, size)
            self._claims.let_go(queued)
        for intake in intakes:
            self.accepted(intake)
        self._returning.let_go()
        if due < inf:
            self._claims.expect(due)
        else:
            self._claims.wake_if_room()

    def _settle_later(self, ending: Ending) -> None:
        self._unrecorded.append(ending)
        if self._running:
            self._clock.call_in(SETTLE_AGAIN, self._settle_again)

    def _settle_again(self) -> None:
        if self._running:
            while self._unrecorded:
                self._run(self._settle(self._unrecorded.pop(0)))

    def _put_back(self, untried: Sequence[Queued]) -> None:
        """Not tried, and not this node's any more: held and removed ones, and what is left when the node stops."""
        if untried:
            due = self._clock.now()
            self._record([Settlement(queued, due=due, reply=queued.last_reply) for queued in untried], [], None, [])
