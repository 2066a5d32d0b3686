"""Trace fields on top, and the quick look at a header section (mail/message.py)."""

from __future__ import annotations

import email
import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.mail.address import Address
from glasspost.mail.message import (
    SCAN_LIMIT,
    date_text,
    header_text,
    header_values,
    received_header,
    return_path_header,
    scan_headers,
    split_header,
)

WHEN = 1795428000.25  # Mon, 23 Nov 2026 10:00:00 UTC and a quarter
BOB = Address("bob", "example.org")


def received(**said: object) -> bytes:
    words: dict[str, object] = {
        "helo": "client.example",
        "peer_name": "",
        "peer_ip": "192.0.2.7",
        "hostname": "mx.example.org",
        "protocol": "ESMTP",
        "tls": "",
        "queue_id": "q0c5jz0k3w1a",
        "recipient": None,
        "when": WHEN,
    }
    return received_header(**(words | said))  # type: ignore[arg-type]


# --- dates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (WHEN, "Mon, 23 Nov 2026 10:00:00 +0000"),
        (1709164799.999, "Wed, 28 Feb 2024 23:59:59 +0000"),
        (1709164800, "Thu, 29 Feb 2024 00:00:00 +0000"),
    ],
)
def test_date(when: float, text: str) -> None:
    assert date_text(when) == text


@given(st.integers(0, 4102444800))
def test_dates_read_back_as_themselves(when: int) -> None:
    assert email.utils.parsedate_to_datetime(date_text(when)).timestamp() == when


# --- Received -----------------------------------------------------------------------------------------------------


def test_received_in_full() -> None:
    header = received(
        peer_name="client.example", protocol="ESMTPS", tls="TLSv1.3 TLS_AES_256_GCM_SHA384", recipient=BOB
    )
    assert header == (
        b"Received: from client.example (client.example [192.0.2.7])\r\n"
        b"\tby mx.example.org with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
        b"\tid q0c5jz0k3w1a for <bob@example.org>;\r\n"
        b"\tMon, 23 Nov 2026 10:00:00 +0000\r\n"
    )


def test_received_at_its_shortest() -> None:
    assert received() == (
        b"Received: from client.example ([192.0.2.7])\r\n"
        b"\tby mx.example.org with ESMTP\r\n"
        b"\tid q0c5jz0k3w1a;\r\n"
        b"\tMon, 23 Nov 2026 10:00:00 +0000\r\n"
    )


def test_received_names_an_ipv6_peer_as_a_literal_without_its_scope() -> None:
    assert b"from a.example ([IPv6:fe80::1])\r\n" in received(helo="a.example", peer_ip="fe80::1%eth0")


@pytest.mark.parametrize(
    ("helo", "written"),
    [
        ("[192.0.2.7]", b"[192.0.2.7]"),
        ("[IPv6:2001:db8::1]", b"[IPv6:2001:db8::1]"),
        ("my_printer", b"my_printer"),
        ("", b"unknown"),
        ("a\r\nBcc: victim@example.org", b"a??Bcc??victim?example.org"),
        ("a) (b", b"a???b"),
        ('a"b\\c', b"a?b?c"),
        ("[[[", b"???"),
        ("a;b", b"a?b"),
        ("bücher.example", b"xn--bcher-kva.example"),
        ("\u2028", b"?"),
    ],
)
def test_a_hostile_helo_stays_one_word(helo: str, written: bytes) -> None:
    assert received(helo=helo).startswith(b"Received: from " + written + b" ([192.0.2.7])\r\n")


@given(helo=st.text(max_size=600), name=st.text(max_size=300), ip=st.text(max_size=50), tls=st.text(max_size=90))
def test_whatever_strangers_say_it_remains_one_field(helo: str, name: str, ip: str, tls: str) -> None:
    header = received(helo=helo, peer_name=name, peer_ip=ip, tls=tls)
    assert header.isascii()
    assert header.endswith(b"\r\n")
    lines = header[:-2].split(b"\r\n")
    assert lines[0].startswith(b"Received: from ")
    assert all(line.startswith(b"\t") for line in lines[1:])
    assert all(len(line) <= 998 for line in lines)
    assert header.count(b"(") == header.count(b")") == bool(ip) + bool(tls)
    assert header.count(b";") == 1
    assert b"\n" not in header.replace(b"\r\n", b"")


def test_received_is_folded_where_names_are_long() -> None:
    header = received(helo="h" * 50 + ".example", peer_name="p" * 40 + ".example", recipient=Address("b" * 60, "x.org"))
    assert max(map(len, header.split(b"\r\n"))) <= 78


def test_utf8_recipient_is_named_only_where_the_header_may_be_utf8() -> None:
    who = Address("用户", "例子.example")
    assert b" for " not in received(recipient=who)
    assert " for <用户@例子.example>;".encode() in received(recipient=who, protocol="UTF8SMTPS")


def test_recipient_with_a_line_end_is_not_named() -> None:
    assert b"evil" not in received(recipient=Address("a\r\nevil", "example.org"))


def test_date_changes_although_the_rest_is_remembered() -> None:
    assert received()[:-10] != received(when=WHEN + 3600)[:-10]
    assert received(when=WHEN + 3600).endswith(b"11:00:00 +0000\r\n")


@pytest.mark.parametrize(
    ("path", "header"),
    [
        (None, b"Return-Path: <>\r\n"),
        (BOB, b"Return-Path: <bob@example.org>\r\n"),
        (Address("a b", "example.org"), b'Return-Path: <"a b"@example.org>\r\n'),
        (Address("用户", "x.example"), "Return-Path: <用户@x.example>\r\n".encode()),
    ],
)
def test_return_path(path: Address | None, header: bytes) -> None:
    assert return_path_header(path) == header


# --- reading ------------------------------------------------------------------------------------------------------

MESSAGE = (
    b"Received: from a\r\n\tby b; date\r\n"
    b"RECEIVED: from c by d; date\r\n"
    b"X-Received: not one\r\n"
    b"Subject: lunch\r\n on Friday\r\n"
    b"From: Alice <alice@example.net>\r\n"
    b"Message-ID: <1@example.net>\r\n"
    b"\r\n"
    b"Received: in the body\r\n\r\nDate: too\r\n"
)


def test_scan_of_a_usual_message() -> None:
    scan = scan_headers(MESSAGE)
    assert scan.received == 2
    assert scan.subject == b"lunch on Friday"
    assert scan.message_id == b"<1@example.net>"
    assert scan.has_from
    assert not scan.has_date
    assert scan.ended
    assert scan.separated
    assert MESSAGE[scan.body_at :].startswith(b"Received: in the body")


@pytest.mark.parametrize(
    ("head", "ended", "separated", "body_at"),
    [
        (b"", False, False, 0),
        (b"\r\nbody", True, True, 2),
        (b"just some text\r\nmore\r\n", True, False, 0),
        (b"Subject: x\r\n", False, False, 12),
        (b"Subject: x\r\nFro", False, False, 12),
        (b"Subject: x\r\n\r", False, False, 12),
        (b"Subject: x\r\n\r\n", True, True, 14),
        (b"Subject: x\r\nno field here\r\n\r\n", True, False, 12),
        (b" leading space\r\nSubject: x\r\n\r\n", True, False, 0),
        (b"From bob Mon Nov 23\r\nSubject: x\r\n\r\n", True, False, 0),
        (b"Subject: x\n\nbody", True, True, 12),
        (b"X y: z\r\n\r\n", True, False, 0),
        (b"Subject : x\r\n\r\n", True, True, 15),
        (b"\xff\xfe\x00\r\n", True, False, 0),
    ],
)
def test_where_a_header_ends(head: bytes, ended: bool, separated: bool, body_at: int) -> None:
    scan = scan_headers(head)
    assert (scan.ended, scan.separated, scan.body_at) == (ended, separated, body_at)


def test_first_of_two_subjects_counts() -> None:
    assert scan_headers(b"Subject: one\r\nSubject: two\r\n\r\n").subject == b"one"


def test_value_at_the_very_end() -> None:
    assert scan_headers(b"Subject: one\r\n").subject == b"one"
    assert scan_headers(b"Subject:\r\n\r\n").subject == b""


def test_nothing_behind_the_limit_is_read() -> None:
    scan = scan_headers(b"X: y\r\n" * 20000 + b"Received: x\r\n\r\n")
    assert scan.received == 0
    assert not scan.ended
    assert scan.body_at <= SCAN_LIMIT


@pytest.mark.parametrize("hostile", [b"a" * 10**6, b"a:\n " * 10**5, b"a :" * 10**5, b"\n" * 10**6, b"a " * 10**5])
def test_garbage_costs_one_pass(hostile: bytes) -> None:
    started = time.process_time()
    scan_headers(hostile)
    split_header(hostile)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("head", "optional"),
    [
        (b"TLS-Required: No\r\n", True),
        (b"Subject: x\r\ntls-required:NO\r\n", True),
        (b"TLS-Required:\r\n No\r\n", True),
        (b"TLS-Required: Yes\r\n", False),
        (b"TLS-Required: No\r\nTLS-Required: No\r\n", False),  # RFC 8689 §3: not more than one
        (b"Subject: x\r\n\r\nTLS-Required: No\r\n", False),
        (b"X-TLS-Required: No\r\n", False),
    ],
)
def test_the_wish_to_go_without_tls(head: bytes, optional: bool) -> None:
    assert scan_headers(head).tls_optional is optional


@given(st.binary(max_size=300) | st.text("Ra:x \r\n\t", max_size=80).map(str.encode))
def test_split_loses_nothing_and_agrees_with_the_scan(data: bytes) -> None:
    header, body = split_header(data)
    assert header + body == data
    scan = scan_headers(data)
    if scan.ended:
        assert scan.body_at == len(header)
    header_values(data, "R")


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (MESSAGE, MESSAGE[: MESSAGE.index(b"\r\n\r\n") + 4]),
        (b"no header at all", b""),
        (b"Subject: only", b"Subject: only"),
        (b"Subject: x\r\nY: z", b"Subject: x\r\nY: z"),
        (b"\r\n", b"\r\n"),
        (b"", b""),
    ],
)
def test_split(data: bytes, header: bytes) -> None:
    assert split_header(data)[0] == header


def test_values_of_a_repeated_field() -> None:
    assert header_values(MESSAGE, "received") == ["from a by b; date", "from c by d; date"]
    assert header_values(MESSAGE, "Date") == []
    assert header_values(MESSAGE, "ject") == []


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        ("grüße".encode(), "grüße"),
        ("grüße".encode("latin-1"), "grüße"),
        (b"=?utf-8?B?w6TDtg==?= and =?iso-8859-1?Q?=FC?=", "äö and ü"),
        (b"=?utf-8?B?5Y2I?= =?utf-8?B?6aSQ?=", "午餐"),
        (b"=?no-such-charset?Q?x?=", "=?no-such-charset?Q?x?="),
        (b"=?utf-8?B?!!!?=", "=?utf-8?B?!!!?="),
        (b"=?utf-8?Q?a=0D=0ABcc:_evil?=", "a Bcc: evil"),
        (b"=?base64?Q?abc?=", "=?base64?Q?abc?="),
        (b"nul\x00bel\x07", "nul bel"),
    ],
)
def test_values_for_people(raw: bytes, text: str) -> None:
    assert header_text(raw) == text


@given(st.binary(max_size=100).map(lambda tail: b"=?utf-8?" + tail) | st.binary(max_size=100))
def test_any_value_can_be_shown(raw: bytes) -> None:
    text = header_text(raw)
    assert "\n" not in text
    text.encode()


def test_received_is_understood_by_others() -> None:
    parsed = email.message_from_bytes(received(recipient=BOB) + MESSAGE)
    assert len(parsed.get_all("Received", [])) == 3
    assert parsed["Subject"].replace("\r\n", "") == "lunch on Friday"
