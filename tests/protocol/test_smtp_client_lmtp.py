"""The SMTP client core where a message has another end than usual: LMTP (RFC 2033), and transactions that only ask."""

from __future__ import annotations

import pytest
from test_smtp_client import ANN, Talk

from glasspost.mail.address import Address
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.reply import Reply
from glasspost.protocol.smtp_client_events import Answered, Finished, Step


def lmtp() -> Talk:
    """Past LHLO."""
    talk = Talk(lmtp=True)
    talk.hear("220 lmtp.example.org LMTP")
    talk.client.hello()
    assert talk.said() == b"LHLO client.example.com\r\n"
    talk.hear("250-lmtp.example.org", "250 PIPELINING")
    talk.events.clear()
    return talk


def ask(talk: Talk, until: Step, *names: str) -> None:
    recipients = [Recipient(Address(name, "example.org")) for name in names]
    talk.client.send(Envelope(ANN, recipients), eight_bit=False, until=until)


def test_each_recipient_has_a_reply_of_its_own_after_the_message() -> None:
    talk = lmtp()
    talk.send("bob", "eve", "carol")
    talk.hear("250 ok", "250 ok", "550 5.1.1 nobody", "250 ok", "354 go", "250 2.0.0 bob has it")
    assert not any(isinstance(event, Finished) for event in talk.events)
    talk.hear("452 4.2.2 carol is full")
    assert talk.verdicts == [
        ("relayed", "250 2.0.0 bob has it"),
        ("failed", "550 5.1.1 nobody"),
        ("deferred", "452 4.2.2 carol is full"),
    ]
    assert talk.client.usable


def test_a_server_lost_between_its_replies_leaves_doubt_about_those_it_did_not_speak_of() -> None:
    talk = lmtp()
    talk.send("bob", "carol")
    talk.hear("250 ok", "250 ok", "250 ok", "354 go", "250 2.0.0 bob has it")
    talk.client.lost()
    talk.pull()
    bob, carol = talk.outcomes
    assert bob and bob.verdict == "relayed"
    assert carol and carol.verdict == "deferred" and carol.doubtful


def test_a_server_that_does_not_know_lhlo_is_not_asked_with_helo() -> None:
    talk = Talk(lmtp=True)
    talk.hear("220 mx.example.org ESMTP")
    talk.client.hello()
    talk.said()
    talk.events.clear()
    assert talk.hear("500 what") == [Answered(Step.LHLO, Reply(500, "", "what"))]
    assert talk.said() == b""


@pytest.mark.parametrize("keyword", ["PIPELINING", "HELP"])
def test_a_transaction_can_end_before_the_message(keyword: str) -> None:
    talk = Talk.ready(keyword)
    ask(talk, Step.RCPT, "bob", "eve")
    for line in ("250 ok", "250 ok", "550 5.1.1 nobody"):
        talk.hear(line)
    assert b"DATA" not in talk.said()
    assert talk.verdicts == [None, ("failed", "550 5.1.1 nobody")]
    talk.client.quit()
    assert talk.said() == b"QUIT\r\n"


def test_only_mail_can_be_asked_and_the_next_transaction_begins_with_rset() -> None:
    talk = Talk.ready("PIPELINING")
    ask(talk, Step.MAIL, "bob")
    assert talk.said() == b"MAIL FROM:<ann@example.com>\r\n"
    talk.hear("250 ok")
    assert talk.verdicts == [None]
    ask(talk, Step.MAIL, "bob")
    assert talk.said().startswith(b"RSET\r\n")
