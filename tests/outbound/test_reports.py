"""Reports: who is told what (RFC 3461 §5), and how the report itself goes out."""

from __future__ import annotations

import asyncio
import email
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from email.message import Message as Mail
from pathlib import Path

import pytest

from glasspost.mail.envelope import Notify, Outcome, Recipient, Verdict
from glasspost.mail.reply import Reply
from glasspost.outbound.reports import Reports, ReportSettings, Result, report_wanted
from glasspost.storage.accounts import Directory
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Intake, Queued
from glasspost.testing import ManualClock
from stores import BODY, HEAD, NOW, Store, accepted, address, intake_for

REFUSED = Outcome(Verdict.FAILED, Reply(550, "5.1.1", "No such user"), "mx.away.test", said_by_remote=True)
RELAYED = Outcome(Verdict.RELAYED, Reply(250, "2.0.0", "OK"), "mx.away.test", said_by_remote=True)
DEFERRED = Outcome(Verdict.DEFERRED, Reply(451, "4.3.0", "Later"))
DEPOSITED = Outcome(Verdict.DELIVERED, Reply(250, "2.1.5", "in the mailbox"), deposits=((1, address("a@b")),))
EVE, ZOE = Recipient(address("eve@x.test")), Recipient(address("zoe@x.test"))
SINGLE_ALIAS = Outcome(Verdict.DELIVERED, Reply(250, "2.1.5", ""), forwards=(EVE,))
ALIAS = Outcome(Verdict.DELIVERED, Reply(250, "2.1.5", ""), forwards=(EVE, ZOE))
BOTH = Outcome(Verdict.DELIVERED, Reply(250, "2.1.5", ""), deposits=((1, address("a@b")),), forwards=(EVE,))
ONWARD = Outcome(Verdict.RELAYED, Reply(250, "2.0.0", "OK"), reports_onward=True)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    store = Store(tmp_path)
    yield store.node()
    async with asyncio.timeout(10):
        await store.close()


@pytest.fixture
def speaking(tmp_path: Path, furniture: Path, spool: Spool) -> Iterator[Callable[..., Reports]]:
    """Makes reports in these languages."""
    shutil.copy(furniture, tmp_path / "directory.db")
    directory = Directory(tmp_path / "directory.db")
    settings = ReportSettings("mail.example.test", full_limit=1000)
    clock = ManualClock(NOW + 60)
    yield lambda *languages: Reports(replace(settings, languages=languages), spool, directory, clock)
    directory.close()


@pytest.fixture
def reports(speaking: Callable[..., Reports]) -> Reports:
    return speaking("en")


async def queued_for(spool: Spool, *to: str, **given: object) -> list[Queued]:
    await accepted(spool, intake_for(spool, *to, **given))  # type: ignore[arg-type]
    return await spool.claim(NOW, 100)


def letter(report: Intake) -> Mail:
    return email.message_from_bytes(report.draft.in_one())


def parts(report: Intake) -> dict[str, str]:
    return {part.get_content_type(): part.as_string() for part in letter(report).walk()}


# --- who is told --------------------------------------------------------------------------------------------

UNSET, NEVER, SUCCESS, FAILURE, DELAY = Notify(0), Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY


@pytest.mark.parametrize(
    ("outcome", "notify", "kind"),
    [
        (REFUSED, UNSET, "failed"),
        (REFUSED, FAILURE, "failed"),
        (REFUSED, SUCCESS | FAILURE, "failed"),
        (REFUSED, NEVER, None),
        (REFUSED, SUCCESS | DELAY, None),
        (RELAYED, UNSET, None),
        (RELAYED, SUCCESS, "relayed"),
        (RELAYED, FAILURE | DELAY, None),
        (ONWARD, SUCCESS, None),  # the next server took the wish along, and owes the report
        (DEPOSITED, SUCCESS, "delivered"),
        (DEPOSITED, UNSET, None),
        (ALIAS, SUCCESS, "expanded"),
        (BOTH, SUCCESS, "expanded"),
        (SINGLE_ALIAS, SUCCESS, None),
        (DEFERRED, UNSET, None),
        (DEFERRED, SUCCESS | FAILURE | DELAY, None),
    ],
)
async def test_what_an_outcome_calls_for(spool: Spool, outcome: Outcome, notify: Notify, kind: str | None) -> None:
    (queued,) = await queued_for(spool, "bob@away.test", notify=notify)
    assert report_wanted(queued, outcome) == kind


async def test_the_null_sender_is_never_told(spool: Spool, reports: Reports) -> None:
    (queued,) = await queued_for(spool, "bob@away.test", sender="")
    assert await reports.compose(queued.message, [Result(queued, REFUSED, "failed")]) == []


async def test_nothing_to_tell(spool: Spool, reports: Reports) -> None:
    (queued,) = await queued_for(spool, "bob@away.test")
    assert await reports.compose(queued.message, [Result(queued, REFUSED)]) == []


# --- how it goes out ----------------------------------------------------------------------------------------


async def test_a_report_is_mail_from_nobody_to_the_sender(spool: Spool, reports: Reports) -> None:
    (queued,) = await queued_for(spool, "bob@away.test")
    (report,) = await reports.compose(queued.message, [Result(queued, REFUSED, "failed", NOW)])
    assert report.envelope.reverse_path is None
    assert [str(one.address) for one in report.recipients] == ["anna@example.org"]
    assert (report.claim, report.deposits, report.arrived, report.due) == (True, [], NOW + 60, NOW + 60)
    mail = letter(report)
    assert mail.get_content_type() == "multipart/report"
    assert "anna@example.org" in mail["To"]
    assert "5.1.1" in parts(report)["message/delivery-status"]
    assert "bob@away.test" in parts(report)["message/delivery-status"]


async def test_a_sender_who_lives_here_gets_it_into_the_mailbox(spool: Spool, reports: Reports) -> None:
    (queued,) = await queued_for(spool, "bob@away.test", sender="alice@example.test")
    (report,) = await reports.compose(queued.message, [Result(queued, REFUSED, "failed")])
    assert [str(path) for _, path in report.deposits] == ["alice@example.test"]
    assert (report.recipients, report.claim) == ([], False)


async def test_a_sender_who_is_an_alias(spool: Spool, reports: Reports) -> None:
    (queued,) = await queued_for(spool, "bob@away.test", sender="team@example.test")
    (report,) = await reports.compose(queued.message, [Result(queued, REFUSED, "failed")])
    assert len(report.deposits) == 2
    assert [str(one.address) for one in report.recipients] == ["eve@elsewhere.test"]


async def test_a_sender_who_does_not_exist_is_not_told(spool: Spool, reports: Reports) -> None:
    (queued,) = await queued_for(spool, "bob@away.test", sender="nobody@example.test")
    assert await reports.compose(queued.message, [Result(queued, REFUSED, "failed")]) == []


async def test_one_report_for_each_kind_of_fate(spool: Spool, reports: Reports) -> None:
    a, b, c = await queued_for(spool, "a@away.test", "b@away.test", "c@away.test", notify=SUCCESS | FAILURE)
    results = [Result(a, REFUSED, "failed"), Result(b, RELAYED, "relayed"), Result(c, REFUSED, "failed")]
    failed, relayed = await reports.compose(a.message, results)
    assert [name in parts(failed)["message/delivery-status"] for name in ("a@", "b@", "c@")] == [True, False, True]
    assert [name in parts(relayed)["message/delivery-status"] for name in ("a@", "b@", "c@")] == [False, True, False]


@pytest.mark.parametrize(
    ("ret", "octets", "returned"),
    [("", 500, "message/rfc822"), ("FULL", 500, "message/rfc822"), ("HDRS", 500, "text/rfc822-headers"),
     ("", 5000, "text/rfc822-headers"), ("FULL", 600_000, "text/rfc822-headers")],
)  # fmt: skip
async def test_what_comes_back_of_the_original(
    spool: Spool, reports: Reports, ret: str, octets: int, returned: str
) -> None:
    body = BODY + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * (octets // 72)
    (queued,) = await queued_for(spool, "bob@away.test", body=body, ret=ret)
    (report,) = await reports.compose(queued.message, [Result(queued, REFUSED, "failed")])
    whole = report.draft.in_one()
    assert f"Content-Type: {returned}".encode() in whole
    assert HEAD in whole and b"Subject: one" in whole
    assert (b"x" * 70 in whole) is (returned == "message/rfc822")
    assert len(whole) < 20_000


async def test_a_delay_says_until_when(spool: Spool, reports: Reports) -> None:
    (queued,) = await queued_for(spool, "bob@away.test")
    result = Result(queued, DEFERRED, "delayed", NOW, retry_until=NOW + 5 * 86_400)
    (report,) = await reports.compose(queued.message, [result])
    status = parts(report)["message/delivery-status"]
    assert "Action: delayed" in status
    assert "Will-Retry-Until: Wed, 20 Jan 2027" in status


async def test_a_report_on_mail_that_demands_tls_repeats_the_header_only_and_demands_it_too(
    spool: Spool, reports: Reports
) -> None:
    """RFC 8689 §5, whatever RET says."""
    intake = intake_for(spool, "bob@away.test", ret="FULL")
    intake.envelope.requiretls = True
    await accepted(spool, intake)
    (queued,) = await spool.claim(NOW, 100)
    (report,) = await reports.compose(queued.message, [Result(queued, REFUSED, "failed")])
    assert b"Content-Type: text/rfc822-headers" in report.draft.in_one()
    assert report.envelope.requiretls


# --- in words -------------------------------------------------------------------------------------------------

GREYLISTED = Reply(450, "4.2.0", "<bob@away.test>: Recipient address rejected: Greylisted")
UNAUTHENTICATED = Reply(550, "5.7.26", "This mail has been blocked because the sender is unauthenticated.")


def text_of(report: Intake) -> str:
    part = next(one for one in letter(report).walk() if one.get_content_type() == "text/plain")
    return bytes(part.get_payload(decode=True)).decode().replace("\r\n", "\n")


async def test_what_the_other_server_said_is_explained_above_it(spool: Spool, reports: Reports) -> None:
    (queued,) = await queued_for(spool, "bob@away.test")
    outcome = Outcome(Verdict.FAILED, UNAUTHENTICATED, remote_mta="mx.away.test", said_by_remote=True)
    (report,) = await reports.compose(queued.message, [Result(queued, outcome, "failed", NOW)])
    text = text_of(report)
    meaning = text.index("What that means:\n\n    Neither SPF nor DKIM passed for this message;")
    assert meaning < text.index("What the other mail server (mx.away.test) said:")
    assert max(map(len, text.splitlines())) <= 78


async def test_in_chinese_and_in_both(spool: Spool, speaking: Callable[..., Reports]) -> None:
    (queued,) = await queued_for(spool, "bob@away.test")
    outcome = Outcome(Verdict.FAILED, UNAUTHENTICATED, remote_mta="mx.away.test", said_by_remote=True)
    (chinese,) = await speaking("zh").compose(queued.message, [Result(queued, outcome, "failed", NOW)])
    assert "SPF" in text_of(chinese) and "。" in text_of(chinese) and "Neither SPF" not in text_of(chinese)
    (both,) = await speaking("en", "zh").compose(queued.message, [Result(queued, outcome, "failed", NOW)])
    text = text_of(both)
    assert 0 < text.index("Neither SPF") < text.index("。") < text.index("What the other mail server")


async def test_a_delay_is_explained_without_asking_anybody_to_act(spool: Spool, reports: Reports) -> None:
    (queued,) = await queued_for(spool, "bob@away.test")
    outcome = Outcome(Verdict.DEFERRED, GREYLISTED, said_by_remote=True)
    (report,) = await reports.compose(queued.message, [Result(queued, outcome, "delayed", NOW, NOW + 9000)])
    assert "Greylisting: the server sees this sender" in text_of(report)
    assert "Nothing" not in text_of(report)  # what to do next


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Verdict.FAILED, Reply(550, "5.1.1", "xyzzy"), said_by_remote=True),  # the code alone is known
        Outcome(Verdict.FAILED, UNAUTHENTICATED, doubtful=True),
    ],
    ids=["only-a-code", "in-doubt"],
)
async def test_nothing_is_explained_that_is_not_known(spool: Spool, reports: Reports, outcome: Outcome) -> None:
    (queued,) = await queued_for(spool, "bob@away.test")
    (report,) = await reports.compose(queued.message, [Result(queued, outcome, "failed", NOW)])
    assert "What that means" not in text_of(report)
