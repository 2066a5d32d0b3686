"""What is found in pasted texts: bounces for machines and for people, log lines, conversations (explain/finder.py).

Every case is a text as programs write it, with names of documentation; the table says who and what must be found.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from glasspost.explain.finder import find
from glasspost.explain.reply_text import read

PASTES = Path(__file__).parent / "pastes"


def found(text: str) -> list[tuple[str, str]]:
    """(recipient, reply in one line) of everything found."""
    return [(one.recipient, read(one.text).line) for one in find(text)]


LOG_LINES = [
    (
        "postfix: refused by the next hop",
        "Nov 23 10:00:00 mail postfix/smtp[4242]: 4Abc123: to=<ann@example.org>, relay=mx.example.org[192.0.2.25]:25, "
        "delay=1.2, delays=0.1/0/0.5/0.6, dsn=5.1.1, status=bounced (host mx.example.org[192.0.2.25] said: 550 5.1.1 "
        "<ann@example.org>: Recipient address rejected: User unknown (in reply to RCPT TO command))",
        ("ann@example.org", "550 5.1.1 <ann@example.org>: Recipient address rejected: User unknown"),
    ),
    (
        "postfix: a reply of many lines is one line in the log",
        "2026-11-23T10:00:00.123456+00:00 mail postfix/smtp[1]: 4Abc: to=<ann@example.org>, "
        "relay=mx.example.org[192.0.2.25]:25, delay=2, dsn=5.7.26, status=bounced (host mx.example.org[192.0.2.25] "
        "said: 550-5.7.26 Your email has been blocked 550-5.7.26 because the sender is unauthenticated. 550 5.7.26 "
        "See the page. x1-20si.1 - gsmtp (in reply to end of DATA command))",
        (
            "ann@example.org",
            "550 5.7.26 Your email has been blocked because the sender is unauthenticated. See the page. x1-20si.1 - "
            "gsmtp",
        ),
    ),
    (
        "postfix: nobody answers",
        "Nov 23 10:00:00 mail postfix/smtp[1]: 4Abc: to=<ann@example.org>, relay=none, delay=30, delays=0/0/30/0, "
        "dsn=4.4.1, status=deferred (connect to mx.example.org[192.0.2.25]:25: Connection timed out)",
        ("ann@example.org", "connect to mx.example.org[192.0.2.25]:25: Connection timed out"),
    ),
    (
        "postfix: the name does not exist",
        "Nov 23 10:00:00 mail postfix/smtp[1]: 4Abc: to=<ann@example.invalid>, orig_to=<ann>, relay=none, delay=0, "
        "dsn=5.4.4, status=bounced (Host or domain name not found. Name service error for name=example.invalid "
        "type=AAAA: Host not found)",
        (
            "ann@example.invalid",
            "Host or domain name not found. Name service error for name=example.invalid type=AAAA: Host not found",
        ),
    ),
    (
        "postfix: cut off after the message",
        "Nov 23 10:00:00 mail postfix/smtp[1]: 4Abc: to=<ann@example.org>, relay=mx.example.org[192.0.2.25]:25, "
        "delay=600, dsn=4.4.2, status=deferred (conversation with mx.example.org[192.0.2.25] timed out while sending "
        "end of data -- message may be sent more than once)",
        (
            "ann@example.org",
            "conversation with mx.example.org[192.0.2.25] timed out while sending end of data -- message may be sent "
            "more than once",
        ),
    ),
    (
        "postfix: refused to talk",
        "Nov 23 10:00:00 mail postfix/smtp[1]: 4Abc: to=<ann@example.org>, relay=mx.example.org[192.0.2.25]:25, "
        "delay=1, dsn=4.0.0, status=deferred (host mx.example.org[192.0.2.25] refused to talk to me: 554 "
        "mx.example.org Your access to this mail system has been rejected)",
        ("ann@example.org", "554 mx.example.org Your access to this mail system has been rejected"),
    ),
    (
        "postfix: delivered",
        "Nov 23 10:00:00 mail postfix/smtp[1]: 4Abc: to=<ann@example.org>, relay=mx.example.org[192.0.2.25]:25, "
        "delay=1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4Def)",
        ("ann@example.org", "250 2.0.0 Ok: queued as 4Def"),
    ),
    (
        "postfix: a refusal of its own",
        "Nov 23 10:00:00 mail postfix/smtpd[1]: NOQUEUE: reject: RCPT from client.example.net[192.0.2.7]: 554 5.7.1 "
        "<ann@example.org>: Relay access denied; from=<bob@example.net> to=<ann@example.org> proto=ESMTP helo=<x>",
        ("ann@example.org", "554 5.7.1 <ann@example.org>: Relay access denied"),
    ),
    (
        "exim: refused by the next hop",
        "2026-11-23 10:00:00 1tExYz-0001AB-2C ** ann@example.org R=dnslookup T=remote_smtp H=mx.example.org "
        "[192.0.2.25] X=TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256 CV=yes: SMTP error from remote mail "
        "server after RCPT TO:<ann@example.org>: 550 5.1.1 No such user",
        ("ann@example.org", "550 5.1.1 No such user"),
    ),
    (
        "exim: deferred by the next hop, command pipelined",
        "2026-11-23 10:00:00 1tExYz-0001AB-2C == ann@example.org R=dnslookup T=remote_smtp defer (-44) "
        "H=mx.example.org [192.0.2.25]: SMTP error from remote mail server after pipelined RCPT TO:<ann@example.org>: "
        "451 4.7.1 Greylisting in action, please come back later",
        ("ann@example.org", "451 4.7.1 Greylisting in action, please come back later"),
    ),
    (
        "exim: after the end of data",
        "2026-11-23 10:00:00 1tExYz-0001AB-2C ** ann@example.org R=dnslookup T=remote_smtp H=mx.example.org "
        "[192.0.2.25]: SMTP error from remote mail server after end of data: 554 5.7.1 Spam message rejected",
        ("ann@example.org", "554 5.7.1 Spam message rejected"),
    ),
    (
        "exim: nobody answers",
        "2026-11-23 10:00:00 1tExYz-0001AB-2C == ann@example.org R=dnslookup T=remote_smtp defer (110): Connection "
        "timed out",
        ("ann@example.org", "Connection timed out"),
    ),
    (
        "exim: no way",
        "2026-11-23 10:00:00 1tExYz-0001AB-2C ** ann@example.invalid: Unrouteable address",
        ("ann@example.invalid", "Unrouteable address"),
    ),
    (
        "exim: a refusal of its own",
        "2026-11-23 10:00:00 H=(client.example.net) [192.0.2.7] F=<bob@example.net> rejected RCPT <ann@example.org>: "
        "relay not permitted",
        ("ann@example.org", "relay not permitted"),
    ),
    (
        "sendmail: refused",
        "Nov 23 10:00:00 mail sendmail[1]: 5ANA00: to=<ann@example.org>, ctladdr=<bob@example.net> (1001/1001), "
        "delay=00:00:02, xdelay=00:00:01, mailer=esmtp, pri=120345, relay=mx.example.org. [192.0.2.25], dsn=5.1.1, "
        "stat=User unknown",
        ("ann@example.org", "User unknown"),
    ),
    (
        "sendmail: deferred",
        "Nov 23 10:00:00 mail sm-mta[1]: 5ANA00: to=<ann@example.org>, delay=00:30:00, xdelay=00:00:30, mailer=esmtp, "
        "pri=300000, relay=mx.example.org. [192.0.2.25], dsn=4.0.0, stat=Deferred: Connection timed out with "
        "mx.example.org.",
        ("ann@example.org", "Deferred: Connection timed out with mx.example.org."),
    ),
    (
        "sendmail: a refusal of its own",
        "Nov 23 10:00:00 mail sendmail[1]: 5ANA00: ruleset=check_rcpt, arg1=<ann@example.org>, "
        "relay=client.example.net [192.0.2.7], reject=550 5.7.1 <ann@example.org>... Relaying denied",
        ("ann@example.org", "550 5.7.1 <ann@example.org>... Relaying denied"),
    ),
    (
        "opensmtpd: refused",
        "Nov 23 10:00:00 mail smtpd[1]: 5f1b2c3d4e5f6a7b mta delivery evpid=0123456789abcdef from=<bob@example.net> "
        'to=<ann@example.org> rcpt=<-> source="192.0.2.7" relay="192.0.2.25 (mx.example.org)" delay=2s '
        'result="PermFail" stat="550 5.1.1 <ann@example.org>: no such user"',
        ("ann@example.org", "550 5.1.1 <ann@example.org>: no such user"),
    ),
    (
        "qmail: refused",
        "@400000006742a1b20c8e5d14 delivery 7: failure: 192.0.2.25_does_not_like_recipient./Remote_host_said:_550_"
        "5.1.1_no_such_user/Giving_up_on_192.0.2.25./",
        ("", "550 5.1.1 no such user"),
    ),
    (
        "any program: a dated line that repeats what was said",
        "2026-11-23T10:00:00Z worker-3 delivery failed: mx.example.org answered 552 5.2.2 mailbox full",
        ("", "552 5.2.2 mailbox full"),
    ),
]


@pytest.mark.parametrize(("line", "expected"), [case[1:] for case in LOG_LINES], ids=[case[0] for case in LOG_LINES])
def test_a_log_line_tells_who_was_refused_and_in_which_words(line: str, expected: tuple[str, str]) -> None:
    assert found(line) == [expected]


def test_the_code_that_a_log_tells_beside_the_words_is_kept() -> None:
    (one,) = find(LOG_LINES[14][1])
    assert (one.status, one.server, one.place) == ("5.1.1", "mx.example.org", "log")


@pytest.mark.parametrize("path", sorted(PASTES.glob("*.txt")), ids=lambda path: path.stem)
def test_a_paste_tells_what_stands_in_its_first_lines(path: Path) -> None:
    """Each file opens with the expected findings, `recipient | reply in one line`, ended by a line of dashes."""
    head, _, paste = path.read_text(encoding="utf-8").partition("\n=====\n")
    expected = [tuple(part.strip() for part in line.split("|", 1)) for line in head.splitlines()]
    assert found(paste) == expected


def test_one_reply_is_taken_as_it_is() -> None:
    assert found("550-5.1.1 first\n550 5.1.1 second") == [("", "550 5.1.1 first second")]
    assert found("4.4.2") == [("", "4.4.2")]
    assert found("EHLO") == [("", "EHLO")]


def test_an_error_of_pythons_smtplib_is_understood() -> None:
    text = "smtplib.SMTPRecipientsRefused: {'ann@example.org': (550, b'5.1.1 <ann@example.org>: User unknown')}"
    assert found(text) == [("", "550 5.1.1 <ann@example.org>: User unknown")]


def test_a_conversation_tells_only_its_refusals() -> None:
    talk = "S: 220 mx ESMTP\nC: EHLO a\nS: 250-mx\nS: 250 SIZE 1\nC: RCPT TO:<x@example.org>\nS: 550 5.1.1 no such\n"
    assert found(talk) == [("", "550 5.1.1 no such")]
