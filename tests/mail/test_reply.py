"""Replies: written, read, and each of the named ones as it goes over the wire (mail/reply.py)."""

from __future__ import annotations

import re

import pytest

from glasspost.mail import reply as say
from glasspost.mail.reply import Reply, read_reply

NAMED = {name: value for name, value in vars(say).items() if isinstance(value, Reply)}

# RFC 5321 §4.2.1: Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
REPLY_LINES = re.compile(rb"(?:([2-5]\d\d)-[\t -~]*\r\n)*([2-5]\d\d)(?: [\t -~]+)?\r\n")


@pytest.mark.parametrize("name", NAMED)
def test_named_reply_is_well_formed(name: str) -> None:
    reply = NAMED[name]
    wire = reply.encode()
    assert REPLY_LINES.fullmatch(wire)
    assert all(len(line) <= 510 for line in wire.split(b"\r\n"))  # RFC 5321 §4.5.3.1.5
    assert not reply.reason, "a private reason belongs to an occasion, not to a name"


@pytest.mark.parametrize("name", NAMED)
def test_enhanced_code_agrees_with_the_code(name: str) -> None:
    reply = NAMED[name]
    if not reply.enhanced:
        # RFC 2034 §3: not in the greeting, nor in the reply to HELO and EHLO, nor in 3xx.
        assert reply.code in (220, 250, 334, 354)
        return
    assert re.fullmatch(r"[245]\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})", reply.enhanced)
    assert reply.enhanced[0] == str(reply.code)[0]


def test_one_line() -> None:
    assert say.OK.encode() == b"250 2.0.0 OK\r\n"
    assert say.GO_AHEAD.encode().startswith(b"354 Go ahead")
    assert Reply(250, "", "").encode() == b"250\r\n"


def test_what_was_encoded_once_is_not_what_another_says() -> None:
    greeting = say.GREETING.saying(hostname="a.example.org")
    assert greeting.encode() is greeting.encode()
    assert greeting == say.GREETING.saying(hostname="a.example.org")  # whether or not it was encoded
    assert greeting.tagged("c0abc").encode() == b"220 a.example.org ESMTP glasspost [c0abc]\r\n"
    assert greeting.because("why").encode() == greeting.encode()


def test_several_lines_carry_code_and_enhanced_code_each() -> None:
    assert Reply(550, "5.7.1", "No.\nReally not.").encode() == b"550-5.7.1 No.\r\n550 5.7.1 Really not.\r\n"


@pytest.mark.parametrize(
    ("code", "positive", "transient", "permanent"),
    [
        (220, True, False, False),
        (354, True, False, False),
        (421, False, True, False),
        (499, False, True, False),
        (550, False, False, True),
    ],
)
def test_class_follows_from_the_code(code: int, positive: bool, transient: bool, permanent: bool) -> None:
    reply = Reply(code, "", "x")
    assert (reply.positive, reply.transient, reply.permanent) == (positive, transient, permanent)


def test_saying_because_and_tagged_leave_the_name_alone() -> None:
    said = say.NO_SUCH_USER.saying(address="bob@example.org").because("no account").tagged("c0abc")
    assert said.encode() == b"550 5.1.1 <bob@example.org>: nobody here has this address [c0abc]\r\n"
    assert said.reason == "no account"
    assert b"account" not in said.encode()  # the private reason never travels
    assert "{address}" in say.NO_SUCH_USER.text


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        (["250 OK"], Reply(250, "", "OK")),
        (["250"], Reply(250, "", "")),
        (["250-"], Reply(250, "", "")),
        (["550 5.1.1 No such user"], Reply(550, "5.1.1", "No such user")),
        (["550-5.1.1 No", "550 5.1.1 such user"], Reply(550, "5.1.1", "No\nsuch user")),
        (["550-5.1.1 No", "550 such user"], Reply(550, "5.1.1", "No\nsuch user")),
        (["550 5.1.1"], Reply(550, "5.1.1", "")),
        (["550 5.1.10 null MX"], Reply(550, "5.1.10", "null MX")),
        (["550-5.1.1 No", "550 5.1.10 other"], Reply(550, "5.1.1", "No\n5.1.10 other")),  # another code is text
        (["550 05.1.1 x"], Reply(550, "", "05.1.1 x")),
        (["550 4.1.1 x"], Reply(550, "", "4.1.1 x")),  # its class contradicts the code (RFC 2034 §4)
        (["550 5.1.1x"], Reply(550, "", "5.1.1x")),
        (["550 5.01.001 x"], Reply(550, "5.1.1", "x")),
        (["550 5.1.1\tx"], Reply(550, "5.1.1", "x")),
    ],
)
def test_reading(lines: list[str], reply: Reply) -> None:
    assert read_reply(lines) == reply


@pytest.mark.parametrize("name", [name for name, value in NAMED.items() if "{" not in value.text])
def test_what_is_written_is_read_back(name: str) -> None:
    reply = NAMED[name]
    assert read_reply(reply.encode().decode().splitlines()) == reply


def test_text_for_people_is_one_line() -> None:
    assert str(Reply(550, "5.7.1", "No.\nReally not.")) == "550 5.7.1 No. / Really not."
    assert str(Reply(250, "", "OK")) == "250 OK"
