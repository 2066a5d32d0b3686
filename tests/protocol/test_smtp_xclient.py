"""XCLIENT's argument: what a proxy says of its client, as Postfix documents it, and what is no such thing."""

from __future__ import annotations

import pytest

from glasspost.protocol.grammar import Fault
from glasspost.protocol.smtp_xclient import Brought, read_xclient


@pytest.mark.parametrize(
    ("argument", "brought"),
    [
        ("ADDR=192.0.2.7", Brought(address="192.0.2.7")),
        ("addr=192.0.2.7 Port=4711", Brought(address="192.0.2.7", port=4711)),
        ("ADDR=IPV6:2001:db8::1", Brought(address="2001:db8::1")),
        ("ADDR=ipv6:2001:DB8:0::1", Brought(address="2001:db8::1")),
        ("NAME=spike.example.org PROTO=esmtp", Brought(name="spike.example.org", proto="ESMTP")),
        ("NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL] PORT=[unavailable]", Brought(name="", address="", port=0)),
        ("HELO=a+20nonsensical+3Dname", Brought(hello="a nonsensical=name")),
        ("LOGIN=alice@example.test", Brought(login="alice@example.test")),
        ("DESTADDR=198.51.100.1 DESTPORT=25", Brought(local_address="198.51.100.1", local_port=25)),
    ],
)
def test_what_a_proxy_says_is_read(argument: str, brought: Brought) -> None:
    assert read_xclient(argument) == brought


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("", "no attribute"),
        ("ADDR", "NAME=value"),
        ("ADDR=", "NAME=value"),
        ("ADDR=192.0.2.7 ADDR=192.0.2.8", "twice"),
        ("ADDR=192.0.2.700", "no IP address"),
        ("ADDR=spike.example.org", "no IP address"),
        ("ADDR=IPV6:192.0.2.7", "no IP address"),
        ("ADDR=IPV6:fe80::1+25eth0", "no IP address"),
        ("PORT=70000", "no port"),
        ("PORT=-1", "no port"),
        ("PROTO=LMTP", "SMTP or ESMTP"),
        ("HELO=a+0D+0AMAIL", "printable"),
        ("HELO=a+zz", "xtext"),
        ("NAME=" + "a" * 256, "longer than 255"),
        ("COLOUR=red", "COLOUR is no attribute"),
        ("\x7f\x1b=red", "is no attribute"),
    ],
)
def test_anything_else_is_refused_in_words(argument: str, words: str) -> None:
    found = read_xclient(argument)
    assert isinstance(found, Fault)
    assert words in found.reason
    assert found.reason.isprintable()
