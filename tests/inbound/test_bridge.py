"""The bridge's verdicts, and what it does to a device's message: by itself, without a conversation.

Does not live here: conversations (tests/talks/device_*.talk), the whole journey (tests/node/test_device_bridge.py).
"""

from __future__ import annotations

import hmac
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.inbound.bridge import Bridge, Device
from glasspost.inbound.client import Client
from glasspost.inbound.device_content import HEADER_LIMIT, DeviceContent
from glasspost.mail.address import Address
from glasspost.mail.envelope import Envelope
from glasspost.mail.message import header_values, scan_headers
from glasspost.protocol.sasl import Digest
from glasspost.protocol.smtp_leniency import hello_name, with_brackets

OFFICE = Address("office", "example.org")


def device(name: str = "printer", *networks: str, **more: object) -> Device:
    return Device(name, OFFICE, tuple(map(ipaddress.ip_network, networks)), **more)  # type: ignore[arg-type]


# --- who it is ----------------------------------------------------------------------------------------------------


def test_the_narrowest_network_around_a_client_says_which_device_it_is() -> None:
    bridge = Bridge([device("all", "192.0.2.0/24", "2001:db8::/32"), device("one", "192.0.2.7/32")])
    names = {ip: found.name if (found := bridge.by_network(ip)) else "" for ip in (
        "192.0.2.7", "192.0.2.8", "::ffff:192.0.2.7", "2001:db8::1", "198.51.100.1", "")}  # fmt: skip
    assert list(names.values()) == ["one", "all", "one", "all", "", ""]


def test_credentials_are_right_as_a_pair() -> None:
    bridge = Bridge([device("a", username="a", password="x"), device("b", username="b", password="y")])
    assert bridge.sign_in("a", "x") is not None
    for pair in (("a", "y"), ("a", ""), ("c", ""), ("", ""), ("A", "x")):
        assert bridge.sign_in(*pair) is None
    assert "'x'" not in repr(bridge.sign_in("a", "x"))


def test_whoever_is_no_device_sends_nothing_even_from_a_relay_network() -> None:
    stranger = Client("device", "198.51.100.1", trusted=True)
    assert Bridge([device()]).judge_sender(stranger, Envelope(None)).code == 550
    assert Bridge([device(username="a", password="x")]).judge_sender(stranger, Envelope(None)).code == 530


@pytest.mark.parametrize(
    ("sender", "as_whom"),
    [
        (OFFICE, OFFICE),
        (Address("Alarm", "Example.NET"), Address("Alarm", "Example.NET")),
        (Address("any", "sub.test"), Address("any", "sub.test")),
        (Address("any", "deeper.sub.test"), OFFICE),
        (Address("other", "example.net"), OFFICE),
        (None, OFFICE),
    ],
)
def test_a_device_sends_as_what_it_may_be(sender: Address | None, as_whom: Address) -> None:
    client, envelope = Client("device", "192.0.2.7"), Envelope(sender)
    client.device = device(allowed=frozenset({"alarm@example.net", "@sub.test"}))
    assert Bridge([]).judge_sender(client, envelope).positive
    assert envelope.reverse_path == as_whom


# --- its message --------------------------------------------------------------------------------------------------


def passed(message: bytes, piece: int = 0, *, completes: bool = True) -> tuple[bytes, bytes]:
    """What goes on top of a message, and the message as it is stored."""
    stored = bytearray()
    content = DeviceContent(device(), stored.extend, lambda note: None, completes=completes)
    for start in range(0, len(message), piece or len(message) or 1):
        content.feed(message[start : start + (piece or len(message))])
    content.end()
    top = content.on_top(bytes(stored)[:HEADER_LIMIT], len(stored), hostname="b.example.org", queue_id="q1", now=0)
    return top, bytes(stored)


COMPLETE = b"From: office@example.org\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nFrom: text\r\n"
TOP = (
    b"From: <office@example.org>\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <q1@b.example.org>\r\n"
)  # fmt: skip


@pytest.mark.parametrize("piece", [0, 1, 7])
def test_a_message_that_has_all_passes_as_it_came(piece: int) -> None:
    assert passed(COMPLETE, piece) == (b"", COMPLETE)


@pytest.mark.parametrize(
    ("message", "top"),
    [
        (b"Just text\r\n", TOP + b"\r\n"),
        (b"", TOP + b"\r\n"),
        (b"\r\nText\r\n", TOP),
        (b"Subject: x\r\n\r\nText\r\n", TOP),
        (b"Subject: only a header\r\n", TOP),
        (b"http://example.org is up\r\n", TOP),  # who could tell that this is no header?
    ],
)
@pytest.mark.parametrize("piece", [0, 1])
def test_what_is_missing_goes_on_top_and_the_rest_stays(message: bytes, top: bytes, piece: int) -> None:
    assert passed(message, piece) == (top, message)


@pytest.mark.parametrize(
    ("fields", "author"),
    [
        (b"From: root\r\n", "<office@example.org>"),
        (b"From: Door 1 <root@localhost>\r\n", "Door 1 <office@example.org>"),
        (b'From: "Door, left" <root@localhost>\r\n', '"Door, left" <office@example.org>'),
        (b'From: "x\\"" <root@localhost>\r\n', "<office@example.org>"),
        (b"From: office@example.org, root@localhost\r\n", "<office@example.org>"),
        (b"From: office@example.org\r\nfrom: office@example.org\r\n", "<office@example.org>"),
        (b"From : root@localhost\r\n", "<office@example.org>"),
        (b'From: "<a@b.test>" <root@localhost>\r\n', '"<a@b.test>" <office@example.org>'),
        (b"From: office@example.org\r\nSender: root@localhost\r\n", "<office@example.org>"),
        (b"FROM:\r\n root@localhost\r\n", "<office@example.org>"),
        (b"From:\r\n", "<office@example.org>"),
    ],
)
def test_a_from_that_is_not_allowed_is_renamed_and_there_is_one_from(fields: bytes, author: str) -> None:
    top, stored = passed(b"Date: x\r\nMessage-ID: <1@x>\r\n" + fields + b"Subject: x\r\n\r\nFrom: text\r\n")
    whole = top + stored
    assert header_values(whole, "From") == [author]
    assert header_values(whole, "Sender") == []
    assert whole.lower().count(b"\nx-device-") == fields.lower().count(b"from") + fields.count(b"Sender")
    assert stored.endswith(b"Subject: x\r\n\r\nFrom: text\r\n")


def test_renaming_is_done_also_where_nothing_is_completed() -> None:
    assert passed(b"From: root\r\n\r\n", completes=False) == (
        b"From: <office@example.org>\r\n",
        b"X-Device-From: root\r\n\r\n",
    )
    assert passed(b"Text\r\n", completes=False) == (b"", b"Text\r\n")


def test_a_header_beyond_the_limit_is_not_waited_for() -> None:
    message = b"From: root\r\n" + b"X: y\r\n" * 12_000
    stored = bytearray()
    content = DeviceContent(device(), stored.extend, lambda note: None, completes=True)
    content.feed(message)
    assert bytes(stored) == b"X-Device-" + message


@given(
    st.lists(st.sampled_from([b"From: a\r\n", b"Sender: b@c\r\n", b"\r\n", b"\r", b"\n", b" x", b":", b"text\r\n"])),
    st.integers(1, 5),
)
def test_octets_are_only_ever_added(parts: list[bytes], piece: int) -> None:
    """However a message is cut, the same is stored; and without the added names it is what came."""
    message = b"".join(parts)
    top, stored = passed(message, piece)
    assert (top, stored) == passed(message)
    assert stored.replace(b"X-Device-", b"") == message
    assert scan_headers(top).has_from or header_values(stored, "From")


# --- single commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "mended"),
    [
        ("FROM:a@b.test", "FROM:<a@b.test>"),
        ("from: a@b.test SIZE=9 BODY=8BITMIME", "from:<a@b.test> SIZE=9 BODY=8BITMIME"),
        ("FROM:", "FROM:<>"),
        ("FROM <a@b.test>", "FROM:<a@b.test>"),
        ("TO:<a@b.test", "TO:<a@b.test>"),
        ("TO : a@b.test>", "TO:<a@b.test>"),
        ("TO:<a@b.test>", None),
        ("FROM:<>", None),
        ("FROM:<a@b.test><c@d.test>", None),
        ('FROM:"a b"@c.test', None),
        ("FROMa@b.test", None),
        ("", None),
    ],
)
def test_brackets_are_put_where_they_belong(argument: str, mended: str | None) -> None:
    assert with_brackets(argument) == mended


@given(st.text())
def test_what_a_device_calls_itself_is_always_printable(text: str) -> None:
    name = hello_name(text)
    assert name.isascii() and name.isprintable() and " " not in name and 0 < len(name) <= 255


def test_a_cram_md5_answer_is_as_good_as_the_password() -> None:
    """RFC 2195 §2, its own example."""
    tim = device("d", username="tim", password="tanstaaftanstaaf")
    bridge, challenge = Bridge([tim]), b"<1896.697170952@postoffice.reston.mci.net>"
    digest = bytes.fromhex("b913a602c7eda7a495b4e6e7334d3890")
    assert bridge.answered(Digest("CRAM-MD5", "tim", challenge, digest)) == tim
    for name, sent in (("tim", b"\0" * 16), ("tom", digest), ("", hmac.digest(b"", challenge, "md5"))):
        assert bridge.answered(Digest("CRAM-MD5", name, challenge, sent)) is None
