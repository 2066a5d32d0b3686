"""What is put on record of an attempt beside its conversation: what became of each recipient, and why then.

Lives here: turning settlements into fates.
Does not live here: deciding them (decisions.py), keeping them (storage/fates.py, transcripts.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from glasspost.mail.envelope import Outcome, Verdict
from glasspost.outbound.reports import Result
from glasspost.outbound.retry import period
from glasspost.storage.fates import Fate
from glasspost.storage.spooled import Intake, Settlement


def fates_of(
    settlements: Sequence[Settlement], results: Sequence[Result], rest: float, now: float, *, relayed: bool = False
) -> list[Fate]:
    """The fates that an attempt came to. None of those whom the next server took (unless `relayed`), or whom nobody
    tried to reach: the talk tells of the first, the queue of the others. `rest`: until when the destination is left
    alone."""
    told = []
    for settlement, result in zip(settlements, results, strict=True):
        outcome = result.outcome
        if (outcome.verdict is Verdict.RELAYED and not relayed) or (
            settlement.due is not None and not settlement.attempted
        ):
            continue
        told.append(_fate(settlement, result, outcome, rest, now))
    return told


def _fate(settlement: Settlement, result: Result, outcome: Outcome, rest: float, now: float) -> Fate:
    queued = settlement.queued
    reply = str(outcome.reply) if not outcome.doubtful else f"{outcome.reply} (it may have arrived)"
    due = settlement.due or 0.0
    if outcome.verdict in (Verdict.DELIVERED, Verdict.RELAYED):
        what = str(outcome.verdict)
    elif outcome.verdict is Verdict.FAILED:
        what = "failed"
    else:
        what = "deferred" if settlement.due is not None else "given up"
    return Fate(
        queued.message.queue_id, now, str(queued.address), what, reply, outcome.remote_mta, outcome.conversation,
        due, _why(settlement, rest, now) if due else "", result.report,
    )  # fmt: skip


def _why(settlement: Settlement, rest: float, now: float) -> str:
    """Why the next attempt comes when it does."""
    due = settlement.due or now
    attempts = settlement.queued.attempts + 1
    if rest and due <= rest:
        return "until then its destination, which could not be reached, is left alone"
    return f"after {attempts} attempt{'' if attempts == 1 else 's'} the schedule waits {period(max(1.0, due - now))}"


def reports_told(intakes: Sequence[Intake], original: str, now: float) -> list[Fate]:
    """That reports went out, and where to: their own stories begin with it."""
    told = []
    for intake in intakes:
        addresses = [str(path) for _, path in intake.deposits] + [str(one.address) for one in intake.recipients]
        where = "into the sender's mailbox" if intake.deposits else "queued for the sender"
        told.append(Fate(intake.queue_id, now, next(iter(addresses), ""), "report", where, other=original))
    return told
