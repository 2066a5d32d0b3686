"""Python's poplib reads a mailbox: what RFC 1939, 2449 and 6856 promise, kept over restarts."""

from __future__ import annotations

import poplib
import re
import smtplib
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from letters import EIGHT_BIT, PLAIN, PRICKLY, UTF8_HEADER, put_on_top
from node_process import PASSWORD, NodeProcess

ON_TOP = ["Return-Path", "Delivered-To", "Received"]


def deliver(node: NodeProcess, address: str, *contents: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", node.mx, local_hostname="client.test", timeout=20) as client:
        for content in contents:
            utf8 = ["SMTPUTF8", "BODY=8BITMIME"] if b"zo\xc3\xab" in content else []
            client.sendmail("bob@src.test", address, content, mail_options=utf8)


def unique_ids(session: poplib.POP3) -> list[str]:
    return [line.decode().split()[1] for line in session.uidl()[1]]


def test_capabilities(house: NodeProcess, mailbox: str) -> None:
    session = poplib.POP3("127.0.0.1", house.pop3, timeout=20)
    before = session.capa()
    session.user(mailbox)
    session.pass_(PASSWORD)
    after = session.capa()
    session.quit()

    assert set(before) >= {"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8", "USER", "SASL", "STLS"}
    assert before["UTF8"] == ["USER"]
    assert set(after) >= {"TOP", "UIDL", "EXPIRE"}


def test_retr_gives_every_octet_and_list_its_size(house: NodeProcess, mailbox: str) -> None:
    deliver(house, mailbox, PRICKLY, EIGHT_BIT, PLAIN)
    session = house.sign_in(mailbox)
    sizes = [int(line.split()[1]) for line in session.list()[1]]
    total = session.stat()[1]
    session.quit()

    arrived = house.messages(mailbox)
    assert [put_on_top(*pair) for pair in zip(arrived, [PRICKLY, EIGHT_BIT, PLAIN], strict=True)] == [ON_TOP] * 3
    assert [len(message) for message in arrived] == sizes
    assert sum(sizes) == total


def test_top_gives_the_header_and_as_many_lines_as_asked(house: NodeProcess, mailbox: str) -> None:
    deliver(house, mailbox, PRICKLY)
    session = house.sign_in(mailbox)
    none, two, all_of_it = (session.top(1, count)[1] for count in (0, 2, 10_000))
    whole = session.retr(1)[1]
    session.quit()

    assert none[-1] == b"" and none[:-1] == whole[: len(none) - 1]
    assert two == [*none, b".one dot in front", b"..two dots"]
    assert all_of_it == whole


def test_dele_counts_at_quit_only(house: NodeProcess, mailbox: str) -> None:
    deliver(house, mailbox, PLAIN, PRICKLY, EIGHT_BIT)
    session = house.sign_in(mailbox)
    session.dele(1)
    with pytest.raises(poplib.error_proto, match="-ERR"):
        session.retr(1)
    session.close()  # without QUIT: nothing happened
    assert house.count(mailbox) == 3

    session = house.sign_in(mailbox)
    before = unique_ids(session)
    session.dele(1)
    session.dele(2)
    assert session.stat()[0] == 1
    session.rset()
    assert session.stat()[0] == 3
    session.dele(2)
    session.quit()

    session = house.sign_in(mailbox)
    assert unique_ids(session) == [before[0], before[2]]
    assert session.stat()[0] == 2
    session.quit()


def test_one_session_at_a_time(house: NodeProcess, mailbox: str) -> None:
    first = house.sign_in(mailbox)
    with pytest.raises(poplib.error_proto, match=r"-ERR \[IN-USE\]"):
        house.sign_in(mailbox)
    first.quit()
    house.sign_in(mailbox).quit()


def test_a_session_that_was_cut_gives_the_mailbox_free(house: NodeProcess, mailbox: str) -> None:
    house.sign_in(mailbox).close()
    house.sign_in(mailbox).quit()


def test_unknown_user_and_wrong_password_look_the_same(house: NodeProcess, mailbox: str) -> None:
    def refusal(login: tuple[str, str]) -> str:
        with pytest.raises(poplib.error_proto) as refused:
            house.sign_in(*login)
        return re.sub(r"\(c\w+\)", "(c...)", str(refused.value))

    with ThreadPoolExecutor() as two:  # at once, as each is made to wait
        said = list(two.map(refusal, [(mailbox, "wrong"), ("nobody@here.test", PASSWORD)]))
    assert said == ["b'-ERR [AUTH] User name or password is wrong (c...)'"] * 2


def test_stls(house: NodeProcess, mailbox: str) -> None:
    deliver(house, mailbox, PRICKLY)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    session = poplib.POP3("127.0.0.1", house.pop3, timeout=20)
    session.stls(context)
    assert "STLS" not in session.capa()
    session.user(mailbox)
    session.pass_(PASSWORD)
    arrived = b"".join(line + b"\r\n" for line in session.retr(1)[1])
    session.quit()

    assert put_on_top(arrived, PRICKLY) == ON_TOP


def test_utf8(house: NodeProcess) -> None:
    address = house.add_account("用户@utf8.test")
    with smtplib.SMTP("127.0.0.1", house.mx, local_hostname="client.test", timeout=20) as client:
        client.sendmail("zoë@src.test", address, UTF8_HEADER, mail_options=["SMTPUTF8", "BODY=8BITMIME"])

    (arrived,) = house.messages(address)
    assert put_on_top(arrived, UTF8_HEADER) == ON_TOP


def test_a_utf8_header_is_kept_from_a_reader_who_did_not_ask_where_so_configured(
    new_node: Callable[..., NodeProcess],
) -> None:
    node = new_node('[pop3]\nheaders_in_utf8 = "refuse"')
    address = node.new_mailbox()
    deliver(node, address, UTF8_HEADER, PLAIN)
    session = node.sign_in(address)
    with pytest.raises(poplib.error_proto, match=r"-ERR \[UTF8\]"):
        session.retr(1)
    assert session.retr(2)[1][-1] == b"A line."
    session.quit()

    session = poplib.POP3("127.0.0.1", node.pop3, timeout=20)
    session.utf8()
    session.user(address)
    session.pass_(PASSWORD)
    assert session.retr(1)[1][-1] == "Grüße.".encode()
    session.quit()


def test_unique_ids_are_the_same_after_restarts_and_never_come_again(new_node: Callable[..., NodeProcess]) -> None:
    node = new_node()
    address = node.new_mailbox()
    deliver(node, address, PLAIN, PRICKLY)
    session = node.sign_in(address)
    first = unique_ids(session)
    session.quit()

    node.stop()
    node.start()
    session = node.sign_in(address)
    assert unique_ids(session) == first
    session.dele(2)
    session.quit()

    deliver(node, address, PRICKLY)
    node.kill()
    node.start()
    session = node.sign_in(address)
    third = unique_ids(session)
    session.quit()
    assert third[0] == first[0]
    assert third[1] not in first
