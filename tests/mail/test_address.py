"""Addresses: text forms, the need for UTF-8, the comparable form of a domain (mail/address.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.mail.address import Address, a_label, address_from_text, path_from_text, path_text

# local part as its owner means it, domain, text on the wire
MAILBOXES = [
    ("bob", "example.org", "bob@example.org"),
    ("Bob.Smith+news", "Example.ORG", "Bob.Smith+news@Example.ORG"),
    ("a b", "example.org", '"a b"@example.org'),
    ("a@b", "example.org", '"a@b"@example.org'),
    ('say "hi"', "example.org", r'"say \"hi\""@example.org'),
    ("back\\slash", "example.org", r'"back\\slash"@example.org'),
    ("two..dots", "example.org", '"two..dots"@example.org'),
    (".dot", "example.org", '".dot"@example.org'),
    ("dot.", "example.org", '"dot."@example.org'),
    ("", "example.org", '""@example.org'),
    ("a,b<c>", "example.org", '"a,b<c>"@example.org'),
    ("user", "[192.0.2.1]", "user@[192.0.2.1]"),
    ("user", "[IPv6:2001:db8::1]", "user@[IPv6:2001:db8::1]"),
    ("用户", "例子.example", "用户@例子.example"),
    ("Postmaster", "", "Postmaster"),
    ("!#$%&'*+/=?^_`{|}~-", "example.org", "!#$%&'*+/=?^_`{|}~-@example.org"),
]


@pytest.mark.parametrize(("local", "domain", "text"), MAILBOXES)
def test_text_form_and_back(local: str, domain: str, text: str) -> None:
    assert str(Address(local, domain)) == text
    assert address_from_text(text) == Address(local, domain)


@pytest.mark.parametrize(
    "text", ["a b@example.org", "bob@", "a@b@example.org", "", "@example.org", '"open@example.org']
)
def test_text_that_is_no_mailbox(text: str) -> None:
    with pytest.raises(ValueError, match="not a mailbox"):
        address_from_text(text)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64))
def test_every_local_part_survives_its_own_quoting(local: str) -> None:
    assert address_from_text(str(Address(local, "example.org"))).local == local


def test_null_path_is_empty_text() -> None:
    assert path_text(None) == ""
    assert path_from_text("") is None
    assert path_from_text("bob@example.org") == Address("bob", "example.org")
    assert path_text(Address("bob", "example.org")) == "bob@example.org"


@pytest.mark.parametrize(
    ("domain", "comparable"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("例子.example", "xn--fsqu00a.example"),
        ("例子。example", "xn--fsqu00a.example"),  # the ideographic full stop is a dot
        ("例子。example．", "xn--fsqu00a.example"),  # at the end, too
        ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
        ("", ""),
        ("ü..example", "ü..example"),  # IDNA refuses it: left for the resolver to fail
        ("\udcff", "\udcff"),
        ("ü" * 300, "ü" * 300),
    ],
)
def test_domains_compare_as_a_labels(domain: str, comparable: str) -> None:
    assert a_label(domain) == comparable
    assert Address("x", domain).route == comparable


@given(st.text(max_size=80))
def test_any_text_has_a_comparable_form(domain: str) -> None:
    a_label(domain)


@pytest.mark.parametrize(
    ("address", "needed"),
    [
        (Address("bob", "example.org"), False),
        (Address("böb", "example.org"), True),
        (Address("bob", "bücher.example"), True),
        (Address("bob", "xn--bcher-kva.example"), False),
    ],
)
def test_what_only_smtputf8_can_carry(address: Address, needed: bool) -> None:
    assert address.needs_utf8 is needed


def test_local_parts_keep_their_case_and_form() -> None:
    # RFC 5321 §2.4; composed and decomposed letters are different mailboxes until the final host says otherwise.
    assert Address("Bob", "example.org") != Address("bob", "example.org")
    assert Address("é", "example.org") != Address("e\u0301", "example.org")
