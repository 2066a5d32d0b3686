"""Postfix -> glasspost -> mailbox -> fetchmail and mpop: a real server hands us its mail, real readers fetch it."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest
from letters import EIGHT_BIT, PRICKLY, UTF8_HEADER, large, put_on_top, unix
from node_process import NodeProcess, until
from postfix import Postfix
from readers import fetchmail, mpop
from reports import facts, read_report

StartPostfix = Callable[..., Postfix]
READERS = {"fetchmail": fetchmail, "mpop": mpop}
Read = Callable[..., list[bytes]]
# Postfix's two Received: it took the message from smtplib by SMTP.
ON_TOP = ["Received", "Received"]


@pytest.fixture
def sender(postfix: StartPostfix, house: NodeProcess) -> Postfix:
    return postfix("sender", relay_to=house.mx)


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest, program: Callable[..., str], tmp_path: Path, house: NodeProcess) -> Read:
    path = program(request.param)

    def once(*addresses: str) -> list[bytes]:
        return [unix(message) for message in READERS[request.param](path, tmp_path, house.pop3, addresses)]

    return once


def on_top(arrived: bytes, content: bytes) -> list[str]:
    """What was put on top by the servers; the readers take Return-Path away, or leave it."""
    return [name for name in put_on_top(arrived, unix(content)) if name == "Received"]


async def test_one_recipient(house: NodeProcess, sender: Postfix, mailbox: str, read: Read) -> None:
    sender.submit("bob@src.test", [mailbox], PRICKLY)
    sender.submit("bob@src.test", [mailbox], EIGHT_BIT)
    await sender.wait_until_idle()

    fetched = sorted(read(mailbox), key=len)

    assert [on_top(*pair) for pair in zip(fetched, sorted([PRICKLY, EIGHT_BIT], key=len), strict=True)] == [ON_TOP] * 2
    assert f"for <{mailbox}>".encode() in fetched[0]


async def test_fifty_recipients(house: NodeProcess, sender: Postfix, fifty: list[str], read: Read) -> None:
    read(*fifty)  # what other tests have left there
    sender.submit("bob@src.test", fifty, PRICKLY)
    await sender.wait_until_idle()

    fetched = read(*fifty)

    assert len(fetched) == 50
    assert all(on_top(arrived, PRICKLY) == ON_TOP for arrived in fetched)
    assert sender.log.count("status=sent (250 2.0.0 Safe on disk as q") == 50


async def test_twenty_five_megabytes(house: NodeProcess, sender: Postfix, mailbox: str, read: Read) -> None:
    sender.submit("bob@src.test", [mailbox], large())
    await sender.wait_until_idle()

    (fetched,) = read(mailbox)

    assert on_top(fetched, large()) == ON_TOP


async def test_addresses_in_utf_8(
    house: NodeProcess, sender: Postfix, read: Read, request: pytest.FixtureRequest
) -> None:
    reader = request.node.callspec.params["read"]
    address = house.add_account(f"用户{reader}@例子.test")
    sender.submit("zoë@src.test", [address], UTF8_HEADER)
    await sender.wait_until_idle()
    assert "status=sent" in sender.log, sender.log

    (fetched,) = read(address)

    assert on_top(fetched, UTF8_HEADER) == ON_TOP
    assert b"with UTF8SMTP" in fetched


async def test_the_original_recipient_in_utf_8_comes_back_in_a_report(
    house: NodeProcess, sender: Postfix, mailbox: str
) -> None:
    """Postfix 3.7 writes it as ORCPT=rfc822 with the UTF-8 in xtext, which RFC 3461 does not know."""
    address = house.add_account("收件人@例子.test")
    with smtplib.SMTP("127.0.0.1", sender.port, local_hostname="client.test") as client:
        client.sendmail(mailbox, address, UTF8_HEADER, ["SMTPUTF8", "BODY=8BITMIME"], ["NOTIFY=SUCCESS"])

    report = read_report(house.wait_for_mail(mailbox)[0])

    assert facts(report)[address]["Action"] == "delivered"


async def test_a_refused_recipient_comes_back_from_postfix_with_our_words(
    house: NodeProcess, sender: Postfix, mailbox: str
) -> None:
    """The null reverse-path, and the id of our conversation in somebody else's bounce."""
    sender.submit(mailbox, ["nobody@here.test"], PRICKLY)

    (bounce,) = house.wait_for_mail(mailbox)

    assert bounce.startswith(b"Return-Path: <>\r\n")
    flat = b" ".join(bounce.split())
    assert b"550 5.1.1 <nobody@here.test>: nobody here has this address" in flat
    conversation = flat.partition(b"nobody here has this address [")[2].partition(b"]")[0].decode()
    talk = house.talks_about(conversation, 1)[0]["talk"]
    assert "C: RCPT TO:<nobody@here.test>" in talk


async def test_postfix_waits_while_we_are_down_and_sends_when_we_are_up(
    postfix: StartPostfix, new_node: Callable[..., NodeProcess]
) -> None:
    node = new_node()
    address = node.new_mailbox()
    node.stop()
    sender = postfix("sender", relay_to=node.mx)
    sender.submit("bob@src.test", [address], PRICKLY)
    await sender.wait_for_log("status=deferred")

    node.start()
    (arrived,) = node.wait_for_mail(address)

    assert put_on_top(arrived, PRICKLY).count("Received") == 2


async def test_a_mailbox_that_is_full_for_now_makes_postfix_wait(
    postfix: StartPostfix, new_node: Callable[..., NodeProcess]
) -> None:
    node = new_node()
    address = node.new_mailbox()
    node.tell("account", "quota", address, "10KB")
    sender = postfix("sender", relay_to=node.mx)
    sender.submit("bob@src.test", [address], large(1))
    await sender.wait_for_log("452 4.2.2")

    node.tell("account", "quota", address, "0")
    assert len(node.wait_for_mail(address)) == 1


async def test_tls_from_postfix(postfix: StartPostfix, house: NodeProcess, mailbox: str) -> None:
    sender = postfix("sender", relay_to=house.mx, settings={"smtp_tls_security_level": "encrypt"})
    sender.submit("bob@src.test", [mailbox], PRICKLY)

    (arrived,) = house.wait_for_mail(mailbox)

    assert b" with ESMTPS (TLSv1.3 " in arrived
    put_on_top(arrived, PRICKLY)


def test_many_messages_over_one_connection(postfix: StartPostfix, house: NodeProcess, mailbox: str) -> None:
    settings = {"smtp_connection_cache_on_demand": "yes", "smtp_destination_concurrency_limit": "1"}
    sender = postfix("sender", relay_to=house.mx, settings=settings)
    with smtplib.SMTP("127.0.0.1", sender.port, local_hostname="client.test") as client:
        for number in range(100):
            client.sendmail("bob@src.test", mailbox, b"Subject: %d\r\n\r\n.\r\n" % number)

    until(lambda: house.count(mailbox) == 100, "100 messages", 30)
    subjects = {message.partition(b"Subject: ")[2].split()[0] for message in house.messages(mailbox)}
    assert len(subjects) == 100
