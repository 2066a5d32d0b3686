"""IP addresses: read as what they are, and counted as whose they are (glasspost/ip.py)."""

from __future__ import annotations

import ipaddress

import pytest

from glasspost.ip import counted_as, is_loopback, is_within, read_ip, surroundings


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_read_as_what_it_is(text: str, address: str) -> None:
    assert read_ip(text) == ipaddress.ip_address(address)


def test_what_is_no_address_is_an_error() -> None:
    for text in ("", "nonsense", "192.0.2.256", "[2001:db8::1]"):
        with pytest.raises(ValueError, match="does not appear to be"):
            read_ip(text)


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_who_is_near(host: str, near: bool) -> None:
    assert is_loopback(host) is near


def test_networks() -> None:
    networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
    assert is_within("192.0.2.9", networks)
    assert is_within("::ffff:192.0.2.9", networks)
    assert is_within("2001:db8::1%eth0", networks)
    assert not is_within("198.51.100.1", networks)
    assert not is_within("", networks)


@pytest.mark.parametrize(
    ("ip", "unit"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("nonsense:", "nonsense:"),
    ],
)
def test_a_client_is_counted_as_one_customer(ip: str, unit: str) -> None:
    assert counted_as(ip) == unit


@pytest.mark.parametrize(
    ("ip", "around"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1::/48"),
        ("nonsense", "nonsense"),
    ],
)
def test_surroundings(ip: str, around: str) -> None:
    assert surroundings(ip) == around
