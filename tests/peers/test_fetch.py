"""Mailboxes read by fetchmail and mpop, with their habits: pipelining, STLS, unique ids to know what is new."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest
from letters import EIGHT_BIT, PLAIN, PRICKLY, put_on_top, unix
from node_process import NodeProcess
from readers import Reader, fetchmail, mpop

READERS = {"fetchmail": fetchmail, "mpop": mpop}
Read = Callable[..., list[bytes]]


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest, program: Callable[..., str], tmp_path: Path, house: NodeProcess) -> Read:
    """`read(addresses)`: what the program found in these mailboxes; line ends are those of files."""
    reader: Reader = READERS[request.param]
    path = program(request.param)

    def once(*addresses: str, tls: bool = False, keep: bool = False) -> list[bytes]:
        return [unix(message) for message in reader(path, tmp_path, house.pop3, addresses, tls=tls, keep=keep)]

    return once


def deliver(node: NodeProcess, recipients: str | list[str], *contents: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", node.mx, local_hostname="client.test", timeout=20) as client:
        for content in contents:
            client.sendmail("bob@src.test", recipients, content)


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "stls"])
def test_messages_are_fetched_whole_and_removed(house: NodeProcess, mailbox: str, read: Read, tls: bool) -> None:
    letters = [PLAIN, PRICKLY, EIGHT_BIT]
    deliver(house, mailbox, *letters)

    fetched = sorted(read(mailbox, tls=tls), key=len)

    for content, arrived in zip(sorted(letters, key=len), fetched, strict=True):
        assert put_on_top(arrived, unix(content))[-1] == "Received"
    assert house.count(mailbox) == 0


def test_many_messages(house: NodeProcess, mailbox: str, read: Read) -> None:
    letters = [b"Subject: %d\r\n\r\n%s" % (number, b"line\r\n" * number) for number in range(200)]
    deliver(house, mailbox, *letters)

    fetched = read(mailbox)

    assert {arrived.partition(b"Subject: ")[2] for arrived in fetched} == {
        unix(letter).partition(b"Subject: ")[2] for letter in letters
    }
    assert house.count(mailbox) == 0


def test_mail_that_is_kept_is_fetched_once_by_its_unique_id(
    house: NodeProcess, mailbox: str, program: Callable[..., str], tmp_path: Path
) -> None:
    path = program("mpop")
    deliver(house, mailbox, PLAIN, PRICKLY)
    assert len(mpop(path, tmp_path, house.pop3, [mailbox], keep=True)) == 2
    deliver(house, mailbox, EIGHT_BIT)
    (new,) = mpop(path, tmp_path, house.pop3, [mailbox], keep=True)

    assert new.endswith(unix(EIGHT_BIT))
    assert house.count(mailbox) == 3
