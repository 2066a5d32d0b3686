"""swaks -> glasspost -> mailbox -> curl: what is sent is what is fetched, octet by octet, below the added fields.

swaks is a client written by somebody who breaks mail servers for a living: what it says about an answer is what a
postmaster sees who tries us out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from letters import EIGHT_BIT, HALF_ANSI, PLAIN, PRICKLY, large, put_on_top
from node_process import PASSWORD, NodeProcess

Swaks = Callable[..., str]
Fetch = Callable[..., bytes]
ON_TOP = ["Return-Path", "Delivered-To", "Received"]


@pytest.mark.parametrize("content", [PLAIN, PRICKLY, EIGHT_BIT, HALF_ANSI], ids=["plain", "prickly", "8bit", "octets"])
def test_one_recipient(house: NodeProcess, mailbox: str, swaks: Swaks, fetch: Fetch, content: bytes) -> None:
    said = swaks(house.mx, mailbox, content)

    arrived = fetch(mailbox)

    assert put_on_top(arrived, content) == ON_TOP
    assert arrived.startswith(f"Return-Path: <bob@src.test>\r\nDelivered-To: {mailbox}\r\n".encode())
    queue_id = re.search(r"250 2\.0\.0 Safe on disk as (q\w+)", said)
    assert queue_id is not None
    assert queue_id.group(1).encode() in arrived, "the id in the reply is the id in the Received field"


def test_fifty_recipients(house: NodeProcess, fifty: list[str], swaks: Swaks) -> None:
    content = b"Subject: to fifty\r\n\r\nhello all\r\n"
    said = swaks(house.mx, fifty, content)

    assert said.count("250 2.1.5 ") == 50
    assert said.count("250 2.0.0 Safe on disk") == 1
    for address in fifty:
        (arrived,) = [message for message in house.messages(address) if message.endswith(content)]
        assert put_on_top(arrived, content) == ON_TOP
        assert f"Delivered-To: {address}\r\n".encode() in arrived
        others = [other for other in fifty if other != address and f"{other}>".encode() in arrived]
        assert not others, "blind copies stay blind"


def test_twenty_five_megabytes(house: NodeProcess, mailbox: str, swaks: Swaks, fetch: Fetch) -> None:
    swaks(house.mx, mailbox, large())

    assert put_on_top(fetch(mailbox), large()) == ON_TOP


@pytest.mark.parametrize("content", [PRICKLY, large(2)], ids=["prickly", "2 MB"])
def test_pipelining(house: NodeProcess, mailbox: str, swaks: Swaks, fetch: Fetch, content: bytes) -> None:
    swaks(house.mx, [mailbox, "nobody@here.test"], content, "--pipeline")

    assert put_on_top(fetch(mailbox), content) == ON_TOP


@pytest.mark.parametrize("content", [PRICKLY, large(2)], ids=["prickly", "2 MB"])
def test_starttls(house: NodeProcess, mailbox: str, swaks: Swaks, fetch: Fetch, content: bytes) -> None:
    said = swaks(house.mx, mailbox, content, "-tls", "--pipeline")

    assert "TLS started with cipher" in said
    arrived = fetch(mailbox)
    assert put_on_top(arrived, content) == ON_TOP
    assert b" with ESMTPS (TLSv1.3 " in arrived


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_submission_signs_in_over_tls(
    house: NodeProcess, mailbox: str, swaks: Swaks, fetch: Fetch, mechanism: str
) -> None:
    said = swaks(house.submission, mailbox, PLAIN, "-tls", "-a", mechanism, "-au", mailbox, "-ap", PASSWORD)

    assert f" ~> AUTH {mechanism}" in said
    arrived = fetch(mailbox)
    first, second, *completed, received = put_on_top(arrived, PLAIN)
    assert [first, second, received] == ON_TOP
    assert completed == ["Date", "Sender"], "what Bob's letter lacks, and who really sent it"
    assert b" with ESMTPSA (TLSv1.3 " in arrived
    talk = house.tell("conversations", "list", "--kind", "smtp-in", "--limit", "1").split()[0]
    assert PASSWORD not in house.tell("conversations", "show", talk)


def test_a_wrong_password_is_refused(house: NodeProcess, mailbox: str, swaks: Swaks) -> None:
    sign_in = ("-tls", "-a", "PLAIN", "-au", mailbox, "-ap", "wrong")
    said = swaks(house.submission, mailbox, PLAIN, *sign_in, expect=(28,))

    assert re.search(r"<~\* 535 5\.7\.8 User name or password is wrong \[c\w+\]", said)
    assert house.count(mailbox) == 0


def test_submission_takes_nothing_from_strangers(house: NodeProcess, mailbox: str, swaks: Swaks) -> None:
    said = swaks(house.submission, mailbox, PLAIN, expect=(23,))

    assert re.search(r"<\*\* 530 5\.7\.0 ", said)


@pytest.mark.parametrize(
    ("recipient", "refusal"),
    [
        ("somebody@elsewhere.test", r"550 5\.7\.1 <somebody@elsewhere\.test>: .*\[c\w+\]"),
        ("nobody@here.test", r"550 5\.1\.1 <nobody@here\.test>: .*\[c\w+\]"),
        ("somebody%elsewhere.test@here.test", r"550 5\.1\.1 "),
        ("@here.test:somebody@elsewhere.test", r"550 5\.7\.1 "),
    ],
    ids=["relaying", "unknown user", "percent hack", "source route"],
)
def test_refused_recipients(house: NodeProcess, mailbox: str, swaks: Swaks, recipient: str, refusal: str) -> None:
    said = swaks(house.mx, recipient, PLAIN, expect=(24,))

    assert re.search(r"<\*\* " + refusal, said)
    assert "-> DATA" not in said


def test_one_refused_recipient_does_not_spoil_the_others(
    house: NodeProcess, mailbox: str, swaks: Swaks, fetch: Fetch
) -> None:
    swaks(house.mx, ["nobody@here.test", mailbox, "somebody@elsewhere.test"], PLAIN)

    assert put_on_top(fetch(mailbox), PLAIN) == ON_TOP
