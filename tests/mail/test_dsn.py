"""Delivery reports, read back by the standard library's email package (mail/dsn.py, dsn_fields.py, dsn_text.py)."""

from __future__ import annotations

import base64
import email
import email.policy
import re
from email.message import EmailMessage
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasspost.mail.address import Address
from glasspost.mail.dsn import Kind, ReportedRecipient, compose_report
from glasspost.mail.dsn_fields import fold, status_of
from glasspost.mail.dsn_text import period_text
from glasspost.mail.envelope import Notify, Outcome, Verdict
from glasspost.mail.reply import NO_ANSWER, Reply
from glasspost.mail.xtext import from_unitext, from_xtext, unitext, xtext

NOW = 1795428000.0  # Mon, 23 Nov 2026 10:00:00 +0000
HOUR, DAY = 3600, 86400
ALICE = Address("alice", "example.net")
BOB = Address("bob", "example.org")
HEAD = (
    b"From: Alice <alice@example.net>\r\nTo: bob@example.org\r\nSubject: Lunch on Friday\r\n"
    b"Message-ID: <lunch@example.net>\r\n\r\n"
)
TALK = (
    "S: 220 mx1.example.org ESMTP\n"
    "C: MAIL FROM:<alice@example.net>\n"
    "S: 250 2.1.0 OK\n"
    "C: RCPT TO:<bob@example.org>\n"
    "S: 550 5.1.1 <bob@example.org>: nobody here has this address\n"
)
REFUSED = Outcome(
    Verdict.FAILED,
    Reply(550, "5.1.1", "<bob@example.org>: nobody here has this address"),
    remote_mta="mx1.example.org [192.0.2.1]:25",
    said_by_remote=True,
    conversation="c0c5jz0k3w1b",
    evidence=TALK,
)
UNREACHABLE = Outcome(
    Verdict.DEFERRED, NO_ANSWER.saying(server="mx1.example.org", fault="connection refused"), evidence="# no connection"
)
TAKEN = Outcome(Verdict.DELIVERED, Reply(250, "2.1.5", "Recipient OK"))
KINDS: dict[Kind, Outcome] = {
    "failed": REFUSED,
    "delayed": UNREACHABLE,
    "delivered": TAKEN,
    "relayed": TAKEN,
    "expanded": TAKEN,
}


def refused(address: Address = BOB, **changed: Any) -> ReportedRecipient:
    return ReportedRecipient(address, **({"outcome": REFUSED, "last_attempt": NOW - 5} | changed))


def compose(kind: Kind = "failed", *recipients: ReportedRecipient, **changed: Any) -> bytes:
    given_words: dict[str, Any] = {
        "reporting_mta": "post.example.net",
        "reverse_path": ALICE,
        "envid": "",
        "arrived": NOW - 10,
        "queue_id": "q0c5jz0k3w1a",
        "recipients": recipients or [refused(outcome=KINDS[kind])],
        "original_head": HEAD,
        "original": None,
        "smtputf8": False,
        "when": NOW,
        "report_id": "q0c5jz0k3w2a",
    }
    return compose_report(kind, **(given_words | changed))


def read(report: bytes) -> EmailMessage:
    """Parse, and hold every report to what any report must be."""
    assert b"\n" not in report.replace(b"\r\n", b"")
    assert b"\r" not in report.replace(b"\r\n", b"")
    assert max(map(len, report.split(b"\r\n"))) <= 998
    message = cast(EmailMessage, email.message_from_bytes(report, policy=email.policy.SMTP))
    assert not message.defects
    for part in message.walk():
        if not part.get_content_type().startswith(("message/rfc822", "message/global")):
            assert not part.defects, part.defects
    assert message.get_content_type() == "multipart/report"
    assert len(parts(message)) == 3  # RFC 6522 §3
    assert report.isascii() or message["Content-Transfer-Encoding"] == "8bit"
    return message


def parts(message: EmailMessage) -> list[EmailMessage]:
    return cast(list[EmailMessage], message.get_payload())


def words(message: EmailMessage) -> str:
    """The text for people, on one line, so that wrapping does not matter."""
    first = parts(message)[0]
    return " ".join(cast(str, (parts(first)[0] if first.is_multipart() else first).get_content()).split())


def conversation(message: EmailMessage) -> str:
    part = parts(parts(message)[0])[1]
    assert part.get_filename() == "conversation.txt"
    assert part.get_content_type() == "text/plain"
    assert part.get_content_disposition() == "inline"
    return cast(str, part.get_content()).replace("\r\n", "\n")


def status_groups(message: EmailMessage) -> list[EmailMessage]:
    """The groups of fields: first the message's, then one for each recipient."""
    part = parts(message)[1]
    assert part.get_content_type() == "message/delivery-status"
    return cast(list[EmailMessage], part.get_payload())


# --- what a report looks like -------------------------------------------------------------------------------------

GOLDEN = """\
From: Mail Delivery System <MAILER-DAEMON@post.example.net>
To: alice@example.net
Subject: Not delivered: your message to bob@example.org
Date: Mon, 23 Nov 2026 10:00:00 +0000
Message-ID: <q0c5jz0k3w2a@post.example.net>
In-Reply-To: <lunch@example.net>
References: <lunch@example.net>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="=_report_q0c5jz0k3w2a_0_"

This is a report about a message you sent, in MIME format.

--=_report_q0c5jz0k3w2a_0_
Content-Type: multipart/mixed; boundary="=_words_q0c5jz0k3w2a_0_"


--=_words_q0c5jz0k3w2a_0_
Content-Type: text/plain; charset=utf-8
Content-Description: What happened

Your message could not be delivered to:

    bob@example.org

Why: There is no such address there.

What you can do: Look for a typing error in the address, and send the
message again.

We will not try again.

What the other mail server (mx1.example.org) said:

    550 5.1.1 <bob@example.org>: nobody here has this address

The message this is about:

    Subject:  Lunch on Friday
    Taken in: Mon, 23 Nov 2026 09:59:50 +0000
    Our name: q0c5jz0k3w1a

Below this text is the conversation our mail server had with the other
one, word for word. Whoever looks after the mail will find in it what went
wrong.

Written without human help by the mail server post.example.net. A person
can be reached at postmaster@post.example.net.

--=_words_q0c5jz0k3w2a_0_
Content-Type: text/plain; charset=utf-8
Content-Description: The conversation between the mail servers
Content-Disposition: inline; filename="conversation.txt"

S: 220 mx1.example.org ESMTP
C: MAIL FROM:<alice@example.net>
S: 250 2.1.0 OK
C: RCPT TO:<bob@example.org>
S: 550 5.1.1 <bob@example.org>: nobody here has this address

--=_words_q0c5jz0k3w2a_0_--

--=_report_q0c5jz0k3w2a_0_
Content-Type: message/delivery-status
Content-Description: Delivery report

Original-Envelope-Id: QQ314159
Reporting-MTA: dns; post.example.net
Received-From-MTA: dns; laptop.example.net (192.0.2.50)
Arrival-Date: Mon, 23 Nov 2026 09:59:50 +0000

Original-Recipient: rfc822; Bob@example.org
Final-Recipient: rfc822; bob@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx1.example.org
Diagnostic-Code: smtp; 550 5.1.1 <bob@example.org>: nobody here has this
 address
Last-Attempt-Date: Mon, 23 Nov 2026 09:59:55 +0000
Final-Log-ID: q0c5jz0k3w1a c0c5jz0k3w1b

--=_report_q0c5jz0k3w2a_0_
Content-Type: message/rfc822
Content-Description: Your message

From: Alice <alice@example.net>
To: bob@example.org
Subject: Lunch on Friday
Message-ID: <lunch@example.net>

At noon?

--=_report_q0c5jz0k3w2a_0_--
"""


def test_a_bounce_to_be_read() -> None:
    report = compose(
        "failed",
        refused(orcpt="rfc822;Bob@example.org"),
        envid="QQ314159",
        original=HEAD + b"At noon?\r\n",
        received_from="laptop.example.net (192.0.2.50)",
    )
    assert report.decode().replace("\r\n", "\n") == GOLDEN
    read(report)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_well_formed_report(kind: Kind) -> None:
    report = compose(kind)
    message = read(report)
    assert report.isascii()
    assert message["To"] == "alice@example.net"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@post.example.net>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    group = status_groups(message)[1]
    assert group["Action"] == kind
    assert group["Status"][0] in {"failed": "45", "delayed": "4"}.get(kind, "2")
    assert "bob@example.org" in words(message)
    assert max(map(len, report.split(b"\r\n"))) <= 78
    assert report == compose(kind), "the same report comes out twice the same"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "failed"])
def test_only_a_failure_returns_the_whole_message(kind: Kind) -> None:
    message = read(compose(kind, original=HEAD + b"At noon?\r\n"))
    assert parts(message)[2].get_content_type() == "text/rfc822-headers"
    assert "At noon?" not in message.as_string()


@pytest.mark.parametrize("kind", ["delivered", "relayed", "expanded"])
def test_good_news_carries_no_conversation_and_no_diagnosis(kind: Kind) -> None:
    message = read(
        compose(kind, refused(outcome=Outcome(Verdict.RELAYED, REFUSED.reply, said_by_remote=True, evidence=TALK)))
    )
    assert parts(message)[0].get_content_type() == "text/plain"
    group = status_groups(message)[1]
    assert group["Diagnostic-Code"] is None
    assert group["Status"] == "2.0.0"  # whatever the reply was: good news has a good status


def test_without_recipients_there_is_nothing_to_report() -> None:
    with pytest.raises(ValueError, match="recipient"):
        compose("failed", recipients=[])


# --- the words ----------------------------------------------------------------------------------------------------


def test_a_delay_notice_says_that_nothing_needs_to_be_done() -> None:
    message = read(compose("delayed", refused(outcome=UNREACHABLE, will_retry_until=NOW + 5 * DAY)))
    text = words(message)
    assert "You need not do anything." in text
    assert "We keep trying by ourselves until Sat, 28 Nov 2026 10:00:00 +0000." in text
    assert "we will write to you again" in text
    assert "nothing to do" in message["Subject"]
    assert "What you can do" not in text
    assert status_groups(message)[1]["Will-Retry-Until"] == "Sat, 28 Nov 2026 10:00:00 +0000"


def test_a_delay_notice_promises_no_report_that_was_not_wanted() -> None:
    text = words(read(compose("delayed", refused(outcome=UNREACHABLE, notify=Notify.DELAY))))
    assert "we will write to you again" not in text
    assert "we will not write again" in text


def test_giving_up_says_how_long_it_was_tried() -> None:
    given_up = Reply(554, "5.4.7", "Not delivered within 5 days; giving up")
    for outcome in (UNREACHABLE, Outcome(Verdict.FAILED, given_up)):
        message = read(compose("failed", refused(outcome=outcome, attempts=42), arrived=NOW - 5 * DAY))
        assert "We tried 42 times over 5 days, and have now given up." in words(message)
    assert status_groups(message)[1]["Status"] == "5.4.7"


def test_doubt_is_said_as_doubt() -> None:
    lost = Outcome(Verdict.DEFERRED, Reply(451, "4.4.2", "mx1.example.org was lost"), "mx1.example.org", doubtful=True)
    message = read(compose("failed", refused(outcome=lost)))
    assert "It is not certain whether your message reached: bob@example.org" in words(message)
    assert "could not be delivered" not in words(message)
    assert "Ask the recipient" in words(message)
    assert message["Subject"] == "Not certain to have arrived: your message to bob@example.org"
    assert status_groups(message)[1]["X-Glasspost-Doubtful"]


def test_what_we_found_is_not_put_into_the_other_servers_mouth() -> None:
    message = read(compose("failed", refused(outcome=UNREACHABLE)))
    group = status_groups(message)[1]
    assert group["Diagnostic-Code"] is None
    assert group["Remote-MTA"] is None
    assert group["X-Glasspost-Finding"] == "451 4.4.1 mx1.example.org does not answer: connection refused"
    assert "What we found: 451 4.4.1" in words(message)
    assert "said:" not in words(message)


def test_recipients_of_one_fate_are_told_together() -> None:
    full = Outcome(Verdict.FAILED, Reply(552, "5.2.2", "full"), "mx2.example.org", said_by_remote=True, evidence="S: x")
    carol, dave = Address("carol", "example.org"), Address("dave", "example.org")
    message = read(compose("failed", refused(), refused(carol, outcome=full), refused(dave)))
    text = words(message)
    assert message["Subject"] == "Not delivered: your message to 3 recipients"
    assert "bob@example.org dave@example.org Why: There is no such address" in text
    assert text.count("There is no such address") == 1
    assert "carol@example.org Why: The recipient's mailbox is full." in text
    assert [group["Final-Recipient"] for group in status_groups(message)[1:]] == [
        "rfc822; bob@example.org",
        "rfc822; carol@example.org",
        "rfc822; dave@example.org",
    ]
    assert conversation(message) == (
        f"# --- the conversation with mx1.example.org ---\n{TALK}\n"
        "# --- the conversation with mx2.example.org ---\nS: x\n"
    )


def test_thousands_of_recipients_are_all_reported_but_not_all_listed() -> None:
    many = [refused(Address(f"user{number}", "example.org")) for number in range(2000)]
    message = read(compose("failed", *many))
    assert len(status_groups(message)) == 2001
    assert "(and 1950 more;" in words(message)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"),
        (-5, "less than a minute"),
        (60, "1 minute"),
        (4 * HOUR + 5 * 60, "4 hours 5 minutes"),
        (5 * DAY + 59, "5 days"),
        (DAY + HOUR + 60, "1 day 1 hour"),
        (2 * DAY + 300, "2 days"),
    ],
)
def test_periods(seconds: float, text: str) -> None:
    assert period_text(seconds) == text


# --- the fields ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "enhanced", "status"),
    [
        ("failed", 550, "5.1.1", "5.1.1"),
        ("failed", 550, "", "5.0.0"),
        ("failed", 553, "", "5.1.3"),
        ("failed", 556, "", "5.1.10"),
        ("failed", 571, "", "5.0.0"),
        ("failed", 451, "4.4.1", "4.4.1"),  # given up after deferrals: RFC 3464 §2.3.3
        ("failed", 250, "2.0.0", "5.0.0"),
        ("failed", 550, "5.1.1111", "5.0.0"),
        ("failed", 0, "", "5.0.0"),
        ("delayed", 452, "", "4.3.1"),
        ("delayed", 421, "", "4.3.2"),
        ("delayed", 471, "", "4.0.0"),
        ("delayed", 550, "5.7.1", "4.0.0"),
        ("delivered", 250, "", "2.0.0"),
        ("relayed", 250, "2.6.0", "2.6.0"),
    ],
)
def test_status(kind: Kind, code: int, enhanced: str, status: str) -> None:
    assert status_of(kind, Reply(code, enhanced, "x")) == status


def test_a_long_reply_is_folded_and_bounded() -> None:
    said = Reply(550, "5.7.1", "word " * 40 + "\n" + "w" * 1500 + "\n" + "tail " * 400)
    report = compose("failed", refused(outcome=Outcome(Verdict.FAILED, said, "mx", said_by_remote=True)))
    group = status_groups(read(report))[1]
    assert group["Diagnostic-Code"].startswith("smtp; 550 5.7.1 word word")
    assert group["Diagnostic-Code"].endswith("[...]")


@given(st.text(max_size=400), st.integers(20, 100))
def test_folding_keeps_words_and_width(value: str, width: int) -> None:
    lines = fold("Name", value, width).split("\r\n")
    assert " ".join("".join(lines).split()) == " ".join(f"Name: {value}".split())
    assert all(line.startswith(" ") and line.strip() for line in lines[1:])
    assert all(len(line) <= width or len(line.split()) <= 2 for line in lines)


# --- strangers' words ---------------------------------------------------------------------------------------------


def test_evidence_cannot_end_the_part_it_stands_in() -> None:
    evil = TALK + "\n".join(f"--=_{name}_q0c5jz0k3w2a_{n}_--" for name in ("report", "words") for n in (0, 1, 3))
    message = read(compose("failed", refused(outcome=Outcome(Verdict.FAILED, REFUSED.reply, evidence=evil))))
    assert conversation(message) == evil + "\n"
    assert message.get_boundary() == "=_report_q0c5jz0k3w2a_2_"


def test_a_returned_message_cannot_end_its_part_either() -> None:
    inside = compose("failed", original=HEAD)
    message = read(compose("failed", original=inside))  # a report about a report with the same id
    returned = parts(message)[2].get_payload(0)
    assert isinstance(returned, EmailMessage)
    assert returned["Subject"] == "Not delivered: your message to bob@example.org"
    assert len(parts(returned)) == 3


@pytest.mark.parametrize(
    "evidence",
    ["S: 550 nö\n", "S: " + "x" * 5000, "S: a\x00b\x1b[31mc", "S: \udcff", "S: a\r\nC: b\r", "S: \u2028x", ".\n..\n"],
)
@pytest.mark.parametrize("smtputf8", [False, True])
def test_odd_conversations_stay_readable(evidence: str, smtputf8: bool) -> None:
    outcome = Outcome(Verdict.FAILED, REFUSED.reply, evidence=evidence)
    report = compose("failed", refused(outcome=outcome), smtputf8=smtputf8)
    text = conversation(read(report))
    assert report.isascii() or smtputf8
    visible = evidence.translate({0: "?", 0x1B: "?", 0xDCFF: "?", 0x2028: " ", 13: None})
    assert text == visible.rstrip("\n") + "\n"


def test_a_very_long_conversation_is_cut_in_the_middle() -> None:
    evidence = "".join(f"S: line {number}\n" for number in range(5000))
    outcome = Outcome(Verdict.FAILED, REFUSED.reply, conversation="c0abc", evidence=evidence)
    lines = conversation(read(compose("failed", refused(outcome=outcome)))).splitlines()
    assert len(lines) == 401
    assert (lines[0], lines[-1]) == ("S: line 0", "S: line 4999")
    assert "4600 lines are left out" in lines[200]
    assert "c0abc" in lines[200]


def test_no_value_begins_a_new_field() -> None:
    evil = "x\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; mallory@example.org"
    outcome = Outcome(Verdict.FAILED, Reply(550, "", evil), f"mx {evil}", said_by_remote=True, conversation=evil)
    message = read(
        compose(
            "failed",
            ReportedRecipient(Address(evil, "example.org"), outcome, orcpt=f"rfc822;{evil}"),
            envid=evil,
            queue_id=evil,
            received_from=evil,
            report_id=evil,
            original_head=b"Subject: =?utf-8?Q?a=0D=0ABcc:_x?=\r\nMessage-ID: <a\r\n Bcc: x@y>\r\n\r\n",
        )
    )
    assert len(status_groups(message)) == 2
    assert [group.get_all("Action") for group in status_groups(message)] == [None, ["failed"]]
    assert message["Bcc"] is None
    assert message["In-Reply-To"] is None


def test_quoted_addresses_stay_quoted() -> None:
    odd = Address('odd "one" <b>', "example.org")
    message = read(compose("failed", refused(odd), reverse_path=Address("a b", "example.net")))
    assert status_groups(message)[1]["Final-Recipient"] == r'rfc822; "odd \"one\" <b>"@example.org'
    assert message["To"].addresses[0].addr_spec == '"a b"@example.net'


@settings(max_examples=40)
@given(
    said=st.text(max_size=300),
    evidence=st.text(max_size=600),
    head=st.binary(max_size=300),
    local=st.text(min_size=1, max_size=64),
    smtputf8=st.booleans(),
)
def test_whatever_comes_in_a_report_comes_out(
    said: str, evidence: str, head: bytes, local: str, smtputf8: bool
) -> None:
    outcome = Outcome(Verdict.FAILED, Reply(550, "", said), "mx", said_by_remote=True, evidence=evidence)
    recipient = ReportedRecipient(Address(local, "example.org"), outcome)
    report = compose("failed", recipient, original_head=head, original=head + b"\r\n\r\nx", smtputf8=smtputf8)
    assert b"\n" not in report.replace(b"\r\n", b"")
    assert max(map(len, report.split(b"\r\n"))) <= 998
    assert len(parts(cast(EmailMessage, email.message_from_bytes(report, policy=email.policy.SMTP)))) == 3


# --- what comes back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"At noon?\r\n", b"no line end", b"", "Grüße\r\n".encode(), b"\r\n\r\n"])
def test_the_whole_message_comes_back_byte_for_byte(body: bytes) -> None:
    report = compose("failed", original=HEAD + body)
    message = read(report)
    assert parts(message)[2].get_content_type() == "message/rfc822"
    start = report.index(b"\r\n\r\n", report.index(b"Content-Description: Your message")) + 4
    assert report[start:] == HEAD + body + b"\r\n--=_report_q0c5jz0k3w2a_0_--\r\n"
    assert (b"Content-Transfer-Encoding: 8bit" in report) is not body.isascii()


@pytest.mark.parametrize("body", [b"nul \x00\r\n", b"x" * 999 + b"\r\n", b"bare \n", b"bare \r", b"\r\r\n"])
def test_a_message_that_cannot_be_returned_whole_returns_its_header(body: bytes) -> None:
    part = parts(read(compose("failed", original=HEAD + body)))[2]
    assert part.get_content_type() == "text/rfc822-headers"
    assert "Lunch on Friday" in part.get_content()


@pytest.mark.parametrize(
    ("head", "kind", "encoding"),
    [
        (HEAD, "text/rfc822-headers", None),
        (b"Subject: \xff\r\n\r\n", "text/rfc822-headers", "quoted-printable"),
        (b"X: " + b"y" * 2000 + b"\r\n\r\n", "text/rfc822-headers", "quoted-printable"),
        (b"X: bare\ny\r\n\r\n", "text/rfc822-headers", "base64"),
        ("Subject: Grüße\r\n\r\n".encode(), "message/global-headers", "quoted-printable"),
        (b"", "text/rfc822-headers", None),
    ],
)
def test_headers_come_back(head: bytes, kind: str, encoding: str | None) -> None:
    report = compose(original_head=head)
    part = parts(read(report))[2]
    assert report.isascii()
    assert part.get_content_type() == kind
    assert part["Content-Transfer-Encoding"] == encoding
    if kind.startswith("text"):
        assert part.get_payload(decode=True) == head.removesuffix(b"\r\n\r\n") + b"\r\n"


# --- international addresses (RFC 6533) ---------------------------------------------------------------------------

YONGHU = Address("用户", "例子.example")


def test_a_report_in_ascii_names_utf8_addresses_in_their_7bit_form() -> None:
    report = compose("failed", refused(YONGHU, orcpt="utf-8;用户@例子.example"))
    message = read(report)
    assert report.isascii()
    group = status_groups(message)[1]
    seven_bit = r"utf-8; \x{7528}\x{6237}@\x{4F8B}\x{5B50}.example"
    assert group["Final-Recipient"] == seven_bit
    assert group["Original-Recipient"] == seven_bit
    assert "用户@例子.example" in words(message)
    assert message["Subject"] == "Not delivered: your message to 用户@例子.example"


def test_a_report_in_utf8_names_them_as_they_are() -> None:
    head = "From: Alice\r\nSubject: 午餐\r\n\r\n".encode()
    report = compose(
        "failed",
        refused(YONGHU, orcpt=r"utf-8;\x{7528}\x{6237}@\x{4F8B}\x{5B50}.example"),
        reverse_path=Address("爱丽丝", "example.net"),
        smtputf8=True,
        original_head=head,
        original=head + "正午?\r\n".encode(),
    )
    message = read(report)
    assert [part.get_content_type() for part in parts(message)] == [
        "multipart/mixed",
        "message/global-delivery-status",
        "message/global",
    ]
    assert message["Content-Type"].params["report-type"] == "global-delivery-status"
    text = report.decode()
    assert "To: 爱丽丝@example.net\r\n" in text
    assert "Original-Recipient: utf-8; 用户@例子.example\r\nFinal-Recipient: utf-8; 用户@例子.example\r\n" in text
    assert "正午?\r\n" in text
    assert re.search("Subject: +午餐", words(message))


def test_an_international_message_comes_back_encoded_where_the_way_is_ascii() -> None:
    head = "Subject: 午餐\r\n\r\n".encode()
    report = compose("failed", original_head=head, original=head + b"x\r\n")
    assert report.isascii()
    # The standard library reads a message/global without decoding it first, so this looks at the bytes.
    fields, encoded = report.split(b"--=_report_q0c5jz0k3w2a_0_")[3].split(b"\r\n\r\n", 1)
    assert b"Content-Type: message/global\r\n" in fields
    assert fields.endswith(b"Content-Transfer-Encoding: base64")
    assert base64.b64decode(encoded) == head + b"x\r\n"


def test_an_ascii_report_stays_traditional_also_where_utf8_may_travel() -> None:
    message = read(compose("failed", smtputf8=True))
    assert status_groups(message)
    assert parts(message)[2].get_content_type() == "text/rfc822-headers"


# --- xtext, unitext -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [("QQ314159", "QQ314159"), ("a+b=c d", "a+2Bb+3Dc+20d"), ("", ""), ("~!", "~!"), ("rfc822;b@x", "rfc822;b@x")],
)
def test_xtext(plain: str, encoded: str) -> None:
    assert xtext(plain) == encoded
    assert from_xtext(encoded) == plain


@pytest.mark.parametrize("text", ["a=b", "a b", "+", "+2", "+GG", "+2b", "+09", "+0D+0A", "+00", "+FF", "ü", "+7F"])
def test_what_is_no_xtext(text: str) -> None:
    assert from_xtext(text) is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_xtext_and_back(text: str) -> None:
    assert from_xtext(xtext(text)) == text


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"])))
def test_unitext_and_back(text: str) -> None:
    assert unitext(text).isascii()
    assert from_unitext(unitext(text)) == text


@pytest.mark.parametrize("text", ["a\\b", r"\x{}", r"\x{D800}", r"\x{110000}", r"\x{0A}", "a\nb", r"\x{1234567}"])
def test_what_is_no_unitext(text: str) -> None:
    assert from_unitext(text) is None
