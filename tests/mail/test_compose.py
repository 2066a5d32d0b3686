"""Composing: what a person gives becomes a correct message, read back by the standard library (mail/compose.py)."""

from __future__ import annotations

import dataclasses
import email
import email.policy
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.mail.address import Address
from glasspost.mail.compose import Attachment, ComposeError, Letter, Mailbox, compose, read_field, read_mailbox

ANN = Mailbox(Address("ann", "example.org"), "Ann")
BOB = Mailbox(Address("bob", "example.net"))
LETTER = Letter(ANN, (BOB,), 1_795_428_000.0, "<1.a@example.org>", subject="hello", text="One line.\n")


def made(**parts: object) -> bytes:
    return compose(dataclasses.replace(LETTER, **parts))  # type: ignore[arg-type]


def read(octets: bytes) -> EmailMessage:
    return cast(EmailMessage, email.message_from_bytes(octets, policy=email.policy.SMTP))


def addresses(octets: bytes, field: str) -> list[str]:
    header = read(octets)[field]
    assert isinstance(header, AddressHeader)
    return [one.addr_spec for one in header.addresses]


def test_a_plain_message_reads_as_one_would_write_it() -> None:
    assert made().decode() == (
        "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        "From: Ann <ann@example.org>\r\n"
        "To: bob@example.net\r\n"
        "Subject: hello\r\n"
        "Message-ID: <1.a@example.org>\r\n"
        'Content-Type: text/plain; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: 7bit\r\n"
        "MIME-Version: 1.0\r\n"
        "\r\n"
        "One line.\r\n"
    )


def test_what_is_not_ascii_goes_in_encoded_words_and_quoted_printable() -> None:
    octets = made(subject="Grüße, 你好 " * 12, text="Schöne Grüße\n", sender=Mailbox(ANN.address, 'Zoë "Z", the one'))
    assert octets.isascii()
    message = read(octets)
    assert str(message["Subject"]) == ("Grüße, 你好 " * 12)
    assert message["From"].addresses[0].display_name == 'Zoë "Z", the one'
    assert message.get_content() == "Schöne Grüße\r\n"


def test_no_line_is_longer_than_78_where_it_can_be_helped() -> None:
    many = tuple(Mailbox(Address(f"someone.number{number}", "example.org"), "Some One") for number in range(40))
    octets = made(to=many, subject="word " * 60 + "end")
    assert max(len(line) for line in octets.split(b"\r\n")) <= 78
    assert len(addresses(octets, "To")) == 40


def test_long_names_that_are_not_ascii_lose_no_address() -> None:
    """The standard library's own folding loses one here, which is why these fields are written by hand."""
    many = tuple(
        Mailbox(Address(f"user{number}", "example.org"), "Very Long Nämé, with, commas and (parens) " * 3)
        for number in range(4)
    )
    assert addresses(made(to=many), "To") == [f"user{number}@example.org" for number in range(4)]


def test_international_addresses_need_utf8_and_domains_do_not() -> None:
    domain = Mailbox(Address("bob", "例子.test"))
    assert addresses(made(to=(domain,)), "To") == ["bob@xn--fsqu00a.test"]
    local = Mailbox(Address("小明", "例子.test"))
    with pytest.raises(ComposeError, match="--utf8"):
        made(to=(local,))
    assert "To: 小明@例子.test\r\nSubject: 你好\r\n".encode() in made(to=(local,), subject="你好", utf8=True)


def test_eight_bit_text_goes_as_it_is() -> None:
    octets = made(text="Grüße\n", eight_bit=True)
    assert b"Content-Transfer-Encoding: 8bit" in octets
    assert octets.endswith("\r\nGrüße\r\n".encode())


def test_a_line_of_over_998_octets_is_never_sent() -> None:
    octets = made(text="x" * 5000 + "\n", html="<p>" + "é" * 3000, eight_bit=True)
    assert max(len(line) for line in octets.split(b"\r\n")) <= 998
    assert read(octets).get_body(("plain",)).get_content() == "x" * 5000 + "\r\n"  # type: ignore[union-attr]


def test_text_html_and_attachments_arrive_as_they_are() -> None:
    files = (
        Attachment("日本 1.bin", bytes(range(256))),
        Attachment("old.eml", b"From: x\n\nhi"),
        Attachment("a.txt", b"a\n"),
    )
    message = read(made(html="<b>hé</b>\n", attachments=files))
    assert [part.get_filename() for part in message.iter_attachments()] == ["日本 1.bin", "old.eml", "a.txt"]
    assert [part.get_payload(decode=True) for part in message.iter_attachments()] == [one.octets for one in files]
    assert message.get_body(("html",)).get_content() == "<b>hé</b>\r\n"  # type: ignore[union-attr]
    assert message.get_body(("plain",)).get_content() == "One line.\r\n"  # type: ignore[union-attr]


def test_given_fields_come_on_top_or_instead_but_never_bcc_and_mime() -> None:
    octets = made(fields=(("X-Colour", "blue"), ("subject", "mine"), ("Date", "yesterday")))
    assert b"X-Colour: blue\r\n" in octets
    assert b"Subject: hello" not in octets and b"subject: mine\r\n" in octets
    assert octets.lower().count(b"\r\ndate:") + octets.lower().startswith(b"date:") == 1
    for name in ("Bcc", "content-type"):
        with pytest.raises(ComposeError, match="Bcc"):
            made(fields=((name, "x"),))


@pytest.mark.parametrize("text", ["a\r\nBcc: eve@example.org", "a\nb", "a\x00b", "a\rb"])
def test_nothing_gets_a_line_of_its_own_by_stealth(text: str) -> None:
    with pytest.raises(ComposeError):
        made(subject=text)
    with pytest.raises(ComposeError):
        read_field(f"X-A: {text}")
    with pytest.raises(ComposeError):
        read_mailbox(f"{text} <bob@example.org>")


@given(st.integers(0, 3000), st.booleans(), st.booleans())
def test_a_message_is_filled_up_to_the_octet(size: int, html: bool, accents: bool) -> None:
    parts = {"html": "<p>hi</p>" if html else "", "text": "Grüße\n" if accents else "hi\n"}
    least = len(made(**parts))
    octets = made(**parts, size=size)
    # The boundary of parts is made anew each time, and may be a digit shorter or longer.
    assert len(octets) == size or (size < least + 8 and abs(len(octets) - least) < 8)
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert max(len(line) for line in octets.split(b"\r\n")) <= 100


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("bob@example.org", "", "bob@example.org"),
        ("<bob@example.org>", "", "bob@example.org"),
        ("Bob B. <bob@example.org>", "Bob B.", "bob@example.org"),
        ('"B, \\"the\\" one" <bob@example.org>', 'B, "the" one', "bob@example.org"),
        ("小明 <xm@例子.test>", "小明", "xm@例子.test"),
        ('"a b"@example.org', "", '"a b"@example.org'),
    ],
)
def test_mailboxes_are_read_as_people_write_them(text: str, name: str, address: str) -> None:
    found = read_mailbox(text)
    assert (found.name, str(found.address)) == (name, address)


@pytest.mark.parametrize("text", ["", "bob@", "bob example@x", "Bob <>", "a@b <c@d", "x\n@example.org"])
def test_what_is_no_mailbox_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ComposeError):
        read_mailbox(text)
