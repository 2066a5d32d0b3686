"""What an outcome means: gone, again at a time, or given up; and who is told.

Lives here: the decision on one recipient after one attempt, and whether a failure concerns the way or the message.
Does not live here: the arithmetic of waiting (retry.py), RFC 3461's rules of telling (reports.py), recording it
(scheduler.py, storage/spool.py).
"""

from __future__ import annotations

import structlog

from glasspost.mail import reply as say
from glasspost.mail.envelope import Outcome, Verdict
from glasspost.outbound.lanes import Ending
from glasspost.outbound.reports import Result, report_wanted
from glasspost.outbound.retry import Schedule, period
from glasspost.storage.spooled import Queued, Settlement

REPLY_KEPT = 500  # characters of a reply that the queue shows

log = structlog.get_logger("scheduler")


def decide(
    schedule: Schedule, queued: Queued, outcome: Outcome, ending: Ending, now: float
) -> tuple[Settlement, Result]:
    """What is recorded for one recipient of an ending, and what is told."""
    attempted, original = ending.attempted, outcome
    if outcome.verdict is Verdict.DEFERRED and queued.wish == "bounce":  # wished while the attempt was under way
        outcome = Outcome(
            Verdict.FAILED, say.BOUNCED_BY_OPERATOR, doubtful=outcome.doubtful, conversation=outcome.conversation
        )
    result = Result(queued, outcome, report_wanted(queued, outcome), attempted)
    settlement = Settlement(queued, attempted=attempted, deposits=outcome.deposits, forwards=outcome.forwards)
    if outcome.verdict is not Verdict.DEFERRED:
        if outcome.doubtful:
            settlement.doubtful, settlement.reply = True, str(original.reply)[:REPLY_KEPT]
        return settlement, result
    arrived = queued.message.arrived
    settlement.doubtful = outcome.doubtful
    settlement.reply = str(outcome.reply)[:REPLY_KEPT]
    if schedule.expired(now, arrived):
        limit = period(schedule.expire)
        log.info("given up", queue_id=queued.message.queue_id, after=limit)
        result.kind = "failed" if queued.notify.wants_failure else None
        return settlement, result
    last = schedule.last_attempt_by(arrived)
    due = ending.turn or schedule.next_attempt(now, queued.attempts + 1)
    settlement.due = min(due, max(now, last))
    settlement.stranded = ending.lane if unreachable(outcome) else ""
    settlement.host = outcome.remote_mta
    settlement.conversation = outcome.conversation
    if queued.notify.wants_delay and schedule.should_tell(now, arrived, queued.delay_told):
        settlement.delay_told = True
        result.kind = "delayed"
        result.retry_until = last
    return settlement, result


def unreachable(outcome: Outcome) -> bool:
    """Whether an outcome is about the way there (RFC 3463: x.4.x network, x.7.x security), not about the message."""
    return (
        outcome.verdict is Verdict.DEFERRED
        and not outcome.said_by_remote
        and not outcome.doubtful
        and outcome.reply.enhanced.startswith(("4.4.", "4.7."))
    )
