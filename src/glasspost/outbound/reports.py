"""The reports an attempt calls for: who is told what, and how the report itself goes out.

Lives here: RFC 3461 §5's rules of when to report, and turning a report into mail from the null reverse-path.
Does not live here: how a report reads (mail/dsn.py), what an answer means (explain/), when an attempt is made
(scheduler.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glasspost.clock import Clock
from glasspost.explain.explainer import Explainer
from glasspost.explain.explanation import Explanation
from glasspost.explain.typography import wrapped
from glasspost.ids import write_id
from glasspost.mail.dsn import compose_report
from glasspost.mail.dsn_fields import Kind, ReportedRecipient
from glasspost.mail.envelope import BodyType, Envelope, Outcome, Recipient, Verdict
from glasspost.mail.message import split_header
from glasspost.storage.accounts import Directory
from glasspost.storage.resolution import Local, NotLocal
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Intake, Message, Queued

MEANING_WIDTH = 70  # columns
HEAD_LIMIT = 64 * 1024  # octets of the original's header that a report repeats


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """`full_limit`: the largest original, in octets, that comes back whole. `languages`: in which the other server's
    answer is explained."""

    hostname: str
    full_limit: int = 100_000
    detail_separator: str = "+"
    languages: tuple[str, ...] = ("en",)


@dataclass(slots=True)
class Result:
    """One recipient's outcome, with what the schedule made of it."""

    queued: Queued
    outcome: Outcome
    kind: Kind | None = None  # the report it calls for
    attempted: float = 0.0
    retry_until: float | None = None
    report: str = ""  # the queue id of the report that was made of it


def report_wanted(queued: Queued, outcome: Outcome) -> Kind | None:
    """The report that an outcome calls for by the sender's wishes; delays are the schedule's matter."""
    match outcome.verdict:
        case Verdict.FAILED if queued.notify.wants_failure:
            return "failed"
        case Verdict.DELIVERED if queued.notify.wants_success:
            if not outcome.forwards:
                return "delivered"
            # An alias with one target passes the wish on instead (RFC 3461 §5.2.7.2).
            return "expanded" if outcome.deposits or len(outcome.forwards) > 1 else None
        case Verdict.RELAYED if queued.notify.wants_success and not outcome.reports_onward:
            return "relayed"
        case _:
            return None


class Reports:
    """Makes reports ready for the spool."""

    def __init__(
        self,
        settings: ReportSettings,
        spool: Spool,
        directory: Directory,
        clock: Clock,
        explainer: Explainer | None = None,
    ) -> None:
        """`explainer`: who explains other servers' answers; none: by what glasspost brings along."""
        self._settings = settings
        self._explainer = explainer or Explainer()
        self._spool = spool
        self._directory = directory
        self._clock = clock

    async def compose(self, message: Message, results: Sequence[Result]) -> list[Intake]:
        """The reports on one message: one for each kind of fate, none about mail from the null reverse-path."""
        if message.reverse_path is None:
            return []
        by_kind: dict[Kind, list[Result]] = {}
        for result in results:
            if result.kind is not None:
                by_kind.setdefault(result.kind, []).append(result)
        if not by_kind:
            return []
        original = await self._original(message)
        intakes = []
        for kind, group in by_kind.items():
            intake = self._compose(message, kind, group, original)
            if intake is not None:
                intakes.append(intake)
                for result in group:
                    result.report = intake.queue_id
        return intakes

    async def _original(self, message: Message) -> bytes:
        """The original, or as much of its beginning as a report may need."""
        limit = 0 if message.returns_header_only else self._settings.full_limit
        gathered = b""
        async for piece in message.content.chunks():
            gathered += piece
            if len(gathered) > max(limit, HEAD_LIMIT):
                break
        return gathered

    def _compose(self, message: Message, kind: Kind, results: Sequence[Result], original: bytes) -> Intake | None:
        sender = message.reverse_path
        assert sender is not None
        now = self._clock.now()
        draft = self._spool.new_draft()
        whole = not message.returns_header_only and len(original) == message.size <= self._settings.full_limit
        utf8 = message.smtputf8
        draft.add(
            compose_report(
                kind,
                reporting_mta=self._settings.hostname,
                reverse_path=sender,
                envid=message.envid,
                arrived=message.arrived,
                queue_id=message.queue_id,
                recipients=[_reported(result, self._meaning(kind, result.outcome)) for result in results],
                original_head=split_header(original[:HEAD_LIMIT])[0],
                original=original if whole else None,
                smtputf8=utf8,
                when=now,
                report_id=write_id("q", draft.id),
            )
        )
        body = BodyType.EIGHT_BIT if draft.eight_bit else BodyType.SEVEN_BIT
        envelope = Envelope(None, body=body, smtputf8=utf8 and (sender.needs_utf8 or draft.eight_bit))
        envelope.requiretls = message.requiretls  # RFC 8689 §5: a report is protected like what it is about
        intake = Intake(draft, envelope, b"", now, message.conversation, due=now)
        found = self._directory.resolve(sender, separator=self._settings.detail_separator)
        if isinstance(found, Local):
            intake.deposits = [(account.id, sender) for account in found.accounts]
            intake.recipients = [Recipient(path) for path in found.forwards]
        elif isinstance(found, NotLocal):
            intake.recipients = [Recipient(sender)]
        else:
            return None  # a sender of a domain of ours who does not exist: there is nobody to tell
        intake.claim = bool(intake.recipients)
        return intake

    def _meaning(self, kind: Kind, outcome: Outcome) -> tuple[str, ...]:
        """What the last answer means, as lines. In English only where its very wording is known: what its codes mean
        the report says anyhow. Nothing where it is in doubt what became of the message."""
        if kind not in ("failed", "delayed") or outcome.doubtful:
            return ()
        reply = outcome.reply
        asked = " ".join(part for part in (str(reply.code), reply.enhanced, reply.text) if part)
        lines: list[str] = []
        for lang in self._settings.languages:
            told = self._explainer.explain(asked, lang)
            if told.by in ("wording", "failure") or (lang != "en" and told.by != "nothing"):
                lines += [""] if lines else []
                lines += wrapped(_words(kind, told), MEANING_WIDTH)
        return tuple(lines)


def _words(kind: Kind, told: Explanation) -> str:
    """An explanation for a report. While a message is only delayed nobody need do anything."""
    gap = "" if told.lang == "zh" else " "
    return gap.join(part for part in (told.what, told.next if kind == "failed" else "") if part)


def _reported(result: Result, meaning: tuple[str, ...]) -> ReportedRecipient:
    queued = result.queued
    return ReportedRecipient(
        queued.address,
        result.outcome,
        orcpt=queued.orcpt,
        notify=queued.notify,
        attempts=queued.attempts + (1 if result.attempted else 0),
        last_attempt=result.attempted,
        will_retry_until=result.retry_until,
        meaning=meaning,
    )
