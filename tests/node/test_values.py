"""Sizes, durations, names and addresses, as an operator writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.node.values import (
    read_domain_pattern,
    read_duration,
    read_host,
    read_name,
    read_name_server,
    read_network,
    read_size,
    write_duration,
    write_size,
)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (0, 0), (1000, 1000), ("1000", 1000), ("512 octets", 512), ("512B", 512), ("1 KB", 1024),
        ("25 MB", 26_214_400),
        ("25mb", 26_214_400), ("25 MiB", 26_214_400), ("25M", 26_214_400),
        ("1.5 GB", 1_610_612_736), (" 2 TB ", 2 << 40),
    ],
)  # fmt: skip
def test_sizes(text: object, octets: int) -> None:
    assert read_size(text) == octets


@pytest.mark.parametrize(
    "text", ["", "MB", "-1", -1, "25 XB", "25 MBit", True, 1.5, "1e6", [25], None, "0x10", "1,5 MB"]
)
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match=r'is no size\. Write "25 MB" \(KB, MB, GB, TB\), or a number of octets\.'):
        read_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0), (30, 30), (0.5, 0.5), ("30", 30), ("30 s", 30), ("5 min", 300), ("5m", 300), ("4h", 14400),
        ("4 hours", 14400),
        ("1 h 30 min", 5400), ("1h30m", 5400), ("250 ms", 0.25), ("1.5 h", 5400), ("5 days", 432000), ("1 Day", 86400),
        ("2 weeks", 1209600),
    ],
)  # fmt: skip
def test_durations(text: object, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-1 s", -1, True, "5 minuets", "min", "5 min later", float("nan"), [5], None]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no duration\. Write \"5 min\" \(ms, s, min, h, days, weeks\)"):
        read_duration(text)


@given(st.integers(0, 1 << 50))
def test_a_size_that_is_written_reads_back_the_same(octets: int) -> None:
    assert read_size(write_size(octets)) == octets


@given(st.floats(0, 1e9, allow_nan=False) | st.integers(0, 10**9))
def test_a_duration_that_is_written_reads_back_the_same(seconds: float) -> None:
    assert read_duration(write_duration(seconds)) == seconds


def test_sizes_and_durations_are_written_with_their_largest_exact_unit() -> None:
    assert [write_size(octets) for octets in (0, 1000, 1024, 1536, 50 << 20)] == [0, 1000, "1 KB", 1536, "50 MB"]
    assert [write_duration(seconds) for seconds in (0, 0.25, 90, 3600, 86400, 432000)] == [
        0, 0.25, "90 s", "1 h", "1 day", "5 days",
    ]  # fmt: skip


def test_names_come_in_the_form_they_are_compared_in() -> None:
    assert read_name("Mail.Bücher.Example.") == "mail.xn--bcher-kva.example"
    assert read_domain_pattern("*") == "*"
    assert read_domain_pattern(".Example.org") == ".example.org"
    assert read_host("MX.example.org") == "mx.example.org"
    assert read_host("2001:DB8:0::1") == "2001:db8::1"


@pytest.mark.parametrize(
    "text", ["", ".", "a b", "a..b", "-a.b", "a_b", "a@b", "x" * 64, ".".join(["abc"] * 70), 3, "[::1]"]
)
def test_what_is_no_name(text: object) -> None:
    with pytest.raises(ValueError, match="is no domain name"):
        read_name(text)


@pytest.mark.parametrize("text", ["*.example.org", "..a", ".", 5])
def test_what_is_no_destination(text: object) -> None:
    with pytest.raises(ValueError, match="is no destination"):
        read_domain_pattern(text)


@pytest.mark.parametrize(
    "text", ["", "dns.example.org", "192.0.2.1:0", "192.0.2.1:99999", "192.0.2.1:x", "[::1", "::1:x", 53]
)
def test_what_is_no_dns_server(text: object) -> None:
    with pytest.raises(ValueError, match="is no DNS server"):
        read_name_server(text)


@pytest.mark.parametrize("address", ["192.0.2.1:53", "[2001:db8::1]:5353"])
def test_a_dns_server_is_written_as_it_is_read(address: str) -> None:
    assert str(read_name_server(address)) == address


def test_a_network_with_bits_behind_its_prefix_is_a_slip() -> None:
    with pytest.raises(ValueError, match="It has bits set behind its prefix"):
        read_network("192.0.2.1/24")
