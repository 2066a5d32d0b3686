"""Submission at the wire: in whose name an account may send, what is completed, and that Bcc never leaks."""

from __future__ import annotations

import base64
import time

import pytest
from test_abuse import Caller

from entrances import PASSWORD, House
from glasspost.mail.originators import fields_named, mailboxes

ACCOUNT = "alice@example.test"
AUTH = b"AUTH PLAIN " + base64.b64encode(f"\0{ACCOUNT}\0{PASSWORD}".encode()) + b"\r\n"


async def signed_in(house: House, ip: str = "127.0.0.1") -> Caller:
    caller = Caller(house, ip)
    await caller.say(b"EHLO client.example\r\n")
    assert (await caller.say(AUTH)).startswith("235")
    return caller


async def submitted(caller: Caller, message: bytes, sender: str = ACCOUNT) -> str:
    await caller.say(f"MAIL FROM:<{sender}>\r\n".encode())
    await caller.say(b"RCPT TO:<bob@example.test>\r\n")
    assert (await caller.say(b"DATA\r\n")).startswith("354")
    before = len(caller.replies())
    caller.wire.feed(message + b".\r\n")
    return await caller.hear(before + 1)


@pytest.mark.parametrize(
    ("sender", "taken"),
    [
        (ACCOUNT, True),
        ("Alice+lists@EXAMPLE.test", True),
        ("team@example.test", True),  # an alias that leads to her, too
        ("", True),
        ("sales@shop.example", True),  # by send_as
        ("anybody@whole.example", True),
        ("bob@example.test", False),
        ("nobody@example.test", False),
        ("dave@client.example", False),
        ("carol@example.test", False),
    ],
)
async def test_an_account_sends_only_as_its_own_addresses(entrance, sender: str, taken: bool) -> None:
    more = f'submission.send_as = ["{ACCOUNT} sales@shop.example", "{ACCOUNT} whole.example"]'
    house: House = await entrance(more, role="submission")
    caller = await signed_in(house)
    said = await caller.say(f"MAIL FROM:<{sender}>\r\n".encode())
    assert said.startswith("250" if taken else f"550 5.7.1 <{sender}>: your account may not send from this address")
    if sender:
        said = await submitted(await signed_in(house), f"From: X <{sender}>\r\n\r\nHi\r\n".encode())
        assert said.startswith("250" if taken else f"550 5.7.1 From: <{sender}>: your account may not write")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"From: alice@example.test\r\nFrom: boss@bank.example\r\n", "550 5.6.0 The From field cannot be read: there"),
        (b"From: <boss@bank.example> <alice@example.test>\r\n", "550 5.6.0"),
        (b"From: alice@example.test, boss@bank.example\r\n", "550 5.7.1 From: <boss@bank.example>"),
        (b"From: alice\r\n", "550 5.6.0"),
        (b"From: =?utf-8?q?boss=40bank.example?= <alice@example.test>\r\n", "250"),
        (b"From : Boss\r\n <boss@bank.example>\r\n", "550 5.7.1"),
        (b"From: alice@example.test\r\n" + b"Sender: alice@example.test\r\n" * 2, "550 5.6.0"),
        (b"Subject: x\r\nno field\r\nFrom: boss@bank.example\r\n", "550 5.6.0 The header is broken: From stands"),
        (b"Subject: x\r\n\xef\xbb\xbfFrom: boss@bank.example\r\n", "550 5.6.0 The header is broken: From stands"),
        (b"From: alice@example.test\r\n: x\r\nsender\xc2\xa0: b@bank.example\r\n", "550 5.6.0 The header is broken"),
        (b"From: alice@example.test\r\nno field\r\nBcc: x@bank.example\r\n", "550 5.6.0 The header is broken: Bcc"),
        (b"From: alice@example.test\r\nno field\r\nfromage: brie\r\n\r\nFrom: me\r\n", "250"),
        (b'From: "a, b" <alice@example.test>\r\nSender: boss@bank.example\r\n', "550 5.7.1 From: <boss@bank.example>"),
    ],
)
async def test_the_author_is_read_for_certain_or_not_at_all(entrance, header: bytes, said: str) -> None:
    house: House = await entrance(role="submission")
    assert (await submitted(await signed_in(house), header + b"\r\nHi\r\n")).startswith(said)


async def test_no_author_hides_behind_a_cr_in_the_header(entrance) -> None:
    """BINARYMIME lets it through, in the text for good reason; some readers take it for a line end."""
    house: House = await entrance(role="submission")
    for head, said in (
        (b"Subject: x\rFrom: boss@bank.example\r\n", "550 5.6.0 The header is broken"),
        (b"Subject: x\r\n", "250"),
    ):
        message = head + b"\r\na\rFrom: text\r\n"
        caller = await signed_in(house)
        await caller.say(b"MAIL FROM:<alice@example.test> BODY=BINARYMIME\r\nRCPT TO:<bob@example.test>\r\n")
        before = len(caller.replies())
        caller.wire.feed(b"BDAT %d LAST\r\n" % len(message) + message)
        assert (await caller.hear(before + 1)).startswith(said)


async def test_a_message_without_any_header_is_text_from_its_first_line_on(entrance) -> None:
    house: House = await entrance(role="submission")
    for text in (b"Hello there\r\nFrom: nobody, in the text\r\n", b" begins with a blank\r\n"):
        assert (await submitted(await signed_in(house), text)).startswith("250")
        head = house.accepted[-1].head
        assert head.endswith(b" +0000\r\n\r\n"), "a blank line between what we put on top and the text"
    assert (await submitted(await signed_in(house), b"Subject: x\r\n\r\nHello\r\n")).startswith("250")
    assert not house.accepted[-1].head.endswith(b"\r\n\r\n")


async def test_the_check_of_names_can_be_turned_off_and_then_the_sender_is_named(entrance) -> None:
    house: House = await entrance("submission.own_addresses = false", role="submission")
    caller = await signed_in(house)
    assert (await submitted(caller, b"From: boss@bank.example\r\n\r\nHi\r\n", "x@bank.example")).startswith("250")
    assert b"\r\nSender: <alice@example.test>\r\nReceived: " in house.accepted[0].head


async def test_what_is_missing_is_completed_and_only_then(entrance) -> None:
    house: House = await entrance(role="submission")
    caller = await signed_in(house)
    await submitted(caller, b"Subject: bare\r\n\r\nHi\r\n")
    whole = b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@x>\r\nFrom: alice@example.test\r\n\r\nHi\r\n"
    await submitted(caller, whole)
    bare, complete = house.accepted
    assert complete.head.startswith(b"Received: ")
    assert house.content(complete) == whole
    lines = bare.head.split(b"\r\n")
    assert lines[0].startswith(b"Date: ") and lines[0].endswith(b" +0000")
    assert lines[1] == f"Message-ID: <{bare.queue_id}@mail.example.test>".encode()
    assert lines[2] == b"From: <alice@example.test>"
    assert "completed: Date, Message-ID, From" in caller.notes


@pytest.mark.parametrize(
    "octets", [10, 262_020, 700_000], ids=["in memory", "just over one piece before", "three pieces"]
)
async def test_bcc_never_leaves_the_house_and_nothing_else_changes(entrance, octets: int) -> None:
    house: House = await entrance(role="submission")
    caller = await signed_in(house)
    head = b"From: alice@example.test\r\nDate: x\r\nMessage-ID: <1@x>\r\n"
    body = b"\r\nBcc: this is text\r\n" + b"0123456789abcdef0123456789ab\r\n" * (octets // 30)
    blind = b"bcc: secret@example.org,\r\n\tmore@example.org\r\n"
    said = await submitted(caller, blind + head + b"Subject: x\r\n" + b"Resent-Bcc : y@example.org\r\n" + body)
    assert said.startswith("250")
    await house.written()
    (intake,) = house.accepted
    expected = head + b"Subject: x\r\n" + body
    assert house.content(intake) == expected
    assert intake.draft.size == len(expected)
    assert house.rows("chunk") == -(-len(expected) // (256 * 1024)), "as many rows as its size says: readers rely on it"
    assert len(intake.head) + len(expected) == house.database.reader.execute("SELECT size FROM message").get
    assert any(note.startswith("Bcc taken out, ") for note in caller.notes)


async def test_a_message_from_another_server_keeps_its_octets(entrance) -> None:
    house: House = await entrance()
    caller = Caller(house)
    await caller.say(b"EHLO client.example\r\n")
    await submitted(caller, b"Bcc: x@example.org\r\n\r\nHi\r\n", "dave@client.example")
    assert house.content(house.accepted[0]) == b"Bcc: x@example.org\r\n\r\nHi\r\n"


async def test_accounts_have_rates_with_clear_words(entrance) -> None:
    rates = ('limits.account_messages = "2/h"', 'limits.account_recipients = "1/h"', "checks.known = []")
    house: House = await entrance(*rates, role="submission")
    caller = await signed_in(house)
    await caller.say(b"MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n")
    said = await caller.say(b"RCPT TO:<alice@example.test>\r\n")
    assert said.startswith(
        "452 4.5.3 Your account has written to as many recipients as it may for now; try again in 60 m"
    )
    another = await signed_in(house)
    assert (await another.say(b"MAIL FROM:<alice@example.test>\r\n")).startswith("250")
    said = await another.say(b"RSET\r\nMAIL FROM:<alice@example.test>\r\n")
    assert said.startswith("450 4.7.1 Your account has sent as many messages as it may for now; try again in 30 min")


def test_mailboxes_are_read_or_the_reason_is_told() -> None:
    assert mailboxes(b' "Smith, J\\"o" <j@x.example>\r\n') == [("j", "x.example")]
    assert mailboxes("Zoë <zoë@例子.example>".encode()) == [("zoë", "例子.example")]
    assert mailboxes(b"a@x.example, B <b@y.example>") == [("a", "x.example"), ("b", "y.example")]
    for wrong in (b"", b"x", b"\xff@x.example", b"a@x.example b@y.example", b"a@x.example\x00", b"undisclosed:;"):
        assert isinstance(mailboxes(wrong), str), wrong
    head = b"A: 1\r\nBCC: x\r\n y\r\nB: 2\r\nbcc :z\r\n"
    assert [(start, end) for start, end, _ in fields_named(head, b"bcc")] == [(6, 18), (24, 32)]


@pytest.mark.parametrize("piece", [" ", "\t", '"', '""', "\\", "\u00a0", "a.", "=?a?b?YQ==?= ", "a@b, "])
@pytest.mark.parametrize("octets", [1_990, 60_000])
def test_no_from_field_takes_long_to_read(piece: str, octets: int) -> None:
    """Two thousand blanks once stood still for sixteen seconds, and the node with them."""
    value = (piece * octets)[:octets].encode()
    began = time.process_time()
    mailboxes(value)
    assert time.process_time() - began < 2
