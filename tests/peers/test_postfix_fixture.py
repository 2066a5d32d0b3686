"""The Postfix that other tests stand on does what they take for granted: shown with Python's own smtplib."""

from __future__ import annotations

import smtplib
from collections.abc import Callable

import pytest
from postfix import Postfix

Start = Callable[..., Postfix]
MESSAGE = b"Subject: hello\r\n\r\nA line.\r\n.A line with a dot.\r\n"


async def test_next_hop_delivers_one_copy_for_each_recipient(postfix: Start) -> None:
    next_hop = postfix("next hop")
    next_hop.submit("a@src.test", ["b@example.org", "c@example.net"], MESSAGE)

    delivered = await next_hop.wait_for(2)

    assert {mail.recipient for mail in delivered} == {"b@example.org", "c@example.net"}
    for mail in delivered:
        assert mail.sender == "a@src.test"
        assert mail.content.startswith(b"Received: from client.test ")
        assert mail.content.endswith(MESSAGE.replace(b"\r\n", b"\n"))
    await next_hop.wait_until_idle()


async def test_next_hop_refuses_and_defers_what_the_test_names(postfix: Start) -> None:
    next_hop = postfix("next hop", refuse=["gone@example.org", "left@example.org"], defer=["busy@example.org"])
    with smtplib.SMTP("127.0.0.1", next_hop.port) as client:
        client.ehlo("client.test")
        client.mail("a@src.test")
        answers = [client.rcpt(f"{name}@example.org") for name in ("b", "gone", "left", "busy")]
        elsewhere = client.rcpt("b@elsewhere.test")

    assert [code for code, _ in answers] == [250, 550, 550, 450]
    assert answers[1][1].startswith(b"5.1.1") and answers[3][1].startswith(b"4.2.0")
    assert elsewhere[0] == 554, "a next hop is no open relay"


async def test_next_hop_announces_what_glasspost_uses(postfix: Start) -> None:
    with smtplib.SMTP("127.0.0.1", postfix("next hop").port) as client:
        client.ehlo("client.test")
        extensions = set(client.esmtp_features)
        size = int(client.esmtp_features["size"])

    assert extensions >= {"pipelining", "8bitmime", "smtputf8", "dsn", "chunking", "enhancedstatuscodes"}
    assert size == 60 * 1024 * 1024


async def test_sender_relays_everything_to_the_port_it_is_given(postfix: Start) -> None:
    next_hop = postfix("next hop")
    sender = postfix("sender", relay_to=next_hop.port)
    sender.submit("a@src.test", [f"user{number}@example.org" for number in range(50)], MESSAGE)

    delivered = await next_hop.wait_for(50)
    await sender.wait_until_idle()

    assert len({mail.recipient for mail in delivered}) == 50
    assert "status=sent" in sender.log


async def test_addresses_and_headers_in_utf_8_pass(postfix: Start) -> None:
    next_hop = postfix("next hop")
    sender = postfix("sender", relay_to=next_hop.port)
    message = "Subject: 你好\r\n\r\ngrüße\r\n".encode()
    sender.submit("ä@src.test", ["用户@example.org"], message)

    (mail,) = await next_hop.wait_for(1)

    assert (mail.sender, mail.recipient) == ("ä@src.test", "用户@example.org")
    assert mail.content.endswith(message.replace(b"\r\n", b"\n"))


async def test_a_large_message_passes(postfix: Start) -> None:
    next_hop = postfix("next hop")
    body = (b"x" * 70 + b"\r\n") * 360_000  # 25 MB
    next_hop.submit("a@src.test", ["b@example.org"], b"Subject: large\r\n\r\n" + body)

    (mail,) = await next_hop.wait_for(1)

    assert mail.content.endswith(body.replace(b"\r\n", b"\n"))


async def test_mail_waits_for_a_next_hop_that_is_down_and_leaves_when_it_comes_up(postfix: Start) -> None:
    first = postfix("next hop")
    first.stop()
    sender = postfix("sender", relay_to=first.port)
    sender.submit("a@src.test", ["b@example.org"], MESSAGE)
    await sender.wait_for_log("status=deferred")
    assert sender.queue_length == 1

    second = postfix("next hop", port=first.port)

    assert len(await second.wait_for(1)) == 1


def test_a_role_it_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="role is"):
        Postfix("bystander")
