"""LMTP (RFC 2033): mail for Dovecot's mailboxes goes there by socket or TCP, and each recipient has an end of its own;
and mail that somebody brings to an LMTP port of ours."""

from __future__ import annotations

import os
import smtplib
import socket
from collections.abc import Callable, Iterator

import pytest
from dovecot import Dovecot
from letters import PLAIN
from node_process import NodeProcess, until

NewNode = Callable[..., NodeProcess]
ALICE, BOB, BROKEN = "alice@boxes.test", "bob@boxes.test", "broken@boxes.test"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot must be started by root")


@pytest.fixture
def boxes(program: Callable[..., str]) -> Iterator[Dovecot]:
    path = program("dovecot", "dovecot-lmtpd")
    with Dovecot(path, ALICE, BOB, BROKEN) as dovecot:
        dovecot.break_mailbox(BROKEN)
        yield dovecot


def front(new_node: NewNode, way: str) -> NodeProcess:
    """A node that takes mail for Dovecot's mailboxes and brings it there."""
    return new_node(
        f'[[smarthost]]\ndomain = "boxes.test"\nprotocol = "lmtp"\n{way}',
        'drain = 5\n[smtp]\nrelay_domains=["boxes.test"]',
    )


def send(node: NodeProcess, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", node.mx, "client.test", 20) as client:
        assert client.sendmail("", recipients, PLAIN) == {}


@pytest.mark.parametrize("by", ["socket", "tcp"])
def test_each_recipient_has_an_end_of_its_own(new_node: NewNode, boxes: Dovecot, by: str) -> None:
    way = f'socket = "{boxes.socket}"' if by == "socket" else f'host = "127.0.0.1"\nport = {boxes.port}\ntls = "none"'
    node = front(new_node, way)
    send(node, ALICE, BROKEN, BOB)
    until(lambda: bool(boxes.mails(ALICE) and boxes.mails(BOB)), f"mail at Dovecot: {boxes.log}", 30)
    until(lambda: [one["state"] for one in node.ask("queue", "list")] == ["waiting"], "settled queue", 30)
    (left,) = node.ask("queue", "list")
    assert left["recipient"] == BROKEN, left
    assert left["last_reply"].startswith("451 4.2.0 <broken@boxes.test>"), left
    said = ""

    def recorded() -> bool:
        nonlocal said
        said = node.tell("conversations", "show", "last")
        return "LHLO glass.test" in said

    until(recorded, "conversation with Dovecot on record", 20)
    assert said.count("250 2.0.0 <") == 2
    for user in (ALICE, BOB):
        (mail,) = boxes.mails(user)
        assert mail.endswith(PLAIN.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n")


def test_an_unknown_mailbox_is_refused_alone_and_a_second_message_takes_the_same_connection(
    new_node: NewNode, boxes: Dovecot
) -> None:
    node = front(new_node, f'socket = "{boxes.socket}"')
    send(node, "nobody@boxes.test", ALICE)
    until(lambda: len(boxes.mails(ALICE)) == 1, "mail at Dovecot", 30)
    send(node, ALICE)
    until(lambda: len(boxes.mails(ALICE)) == 2, "second mail at Dovecot", 30)

    def both_in_one() -> bool:
        out = node.ask("conversations", "search", "kind:smtp-out", "reply:5.1.1")
        return len(out) == 1 and node.tell("conversations", "show", out[0]["id"]).count("MAIL FROM:") == 2

    until(both_in_one, "one conversation with both messages", 30)
    assert not node.ask("queue", "list")  # the null sender gets no bounce


def test_while_dovecot_is_away_mail_waits(new_node: NewNode, boxes: Dovecot) -> None:
    node = front(new_node, f'socket = "{boxes.folder}/not-there"')
    send(node, ALICE)
    until(lambda: "there is no such socket" in node.tell("queue", "list"), "deferred mail", 30)


def test_mail_for_our_own_lmtp_port(new_node: NewNode) -> None:
    node = new_node('[[listener]]\nrole = "lmtp"\nport = 0\ntls = "none"')
    mailbox = node.new_mailbox()
    port = next(port for role, port in node.doors if role == "lmtp")
    with socket.create_connection(("127.0.0.1", port), 20) as talk, talk.makefile("rb") as lines:
        assert lines.readline() == b"220 glass.test LMTP glasspost\r\n"
        talk.sendall(b"LHLO front.test\r\n")
        while lines.readline()[3:4] == b"-":
            pass
        talk.sendall(
            b"MAIL FROM:<bob@src.test>\r\n" + f"RCPT TO:<{mailbox}>\r\nRCPT TO:<none@here.test>\r\nDATA\r\n".encode()
        )
        assert [lines.readline()[:3] for _ in range(4)] == [b"250", b"250", b"550", b"354"]
        talk.sendall(PLAIN + b"\r\n.\r\nQUIT\r\n")
        assert [line[:3] for line in lines] == [b"250", b"221"]
    (mail,) = node.messages(mailbox)
    assert b" with LMTP\r\n\tid " in mail
