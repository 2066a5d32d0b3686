"""Sign-in exchanges: PLAIN and LOGIN, right and wrong."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.protocol.sasl import Challenge, Credentials, Exchange, Malformed


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


@pytest.mark.parametrize(
    ("message", "username", "password"),
    [
        ("\0tim\0tanstaaftanstaaf", "tim", "tanstaaftanstaaf"),  # RFC 4616 §4
        ("tim\0tim\0x", "tim", "x"),
        ("\0tim\0", "tim", ""),
        ("\0grüße@example.test\0schöne Grüße", "grüße@example.test", "schöne Grüße"),
    ],
)
def test_plain(message: str, username: str, password: str) -> None:
    for result in (Exchange("PLAIN").begin(b64(message)), asked(Exchange("PLAIN"), b64(message))):
        assert result == Credentials("PLAIN", username, password)


def asked(exchange: Exchange, line: str) -> Challenge | Credentials:
    assert exchange.begin(None) == Challenge("")
    return exchange.go_on(line)


@pytest.mark.parametrize(
    "message",
    ["", "tim", "\0tim", "\0\0x", "\0tim\0x\0", "\0tim\0x\0y", "kurt\0xipj3plmq\0x", b"\0tim\0\xff", b"\xff\0\xff\0x"],
)  # the seventh is RFC 4616 §4: in somebody else's name, which nobody may here
def test_plain_that_is_not_plain(message: str | bytes) -> None:
    with pytest.raises(Malformed) as fault:
        Exchange("PLAIN").begin(b64(message))
    assert fault.value.base64 is False


def test_login() -> None:
    exchange = Exchange("LOGIN")
    assert exchange.begin(None) == Challenge(b64("Username:"))
    assert exchange.go_on(b64("tim")) == Challenge(b64("Password:"))
    assert exchange.go_on(b64("tulip")) == Credentials("LOGIN", "tim", "tulip")


def test_login_with_the_name_at_once() -> None:
    exchange = Exchange("LOGIN")
    assert exchange.begin(b64("tim")) == Challenge(b64("Password:"))
    assert exchange.go_on(b64("tulip")) == Credentials("LOGIN", "tim", "tulip")


def test_an_equals_sign_is_an_empty_response() -> None:
    """RFC 4954 §4."""
    assert Exchange("LOGIN").begin("=") == Challenge(b64("Password:"))


@pytest.mark.parametrize("line", ["!", "abc", "a===", "YQ==YQ==", "YQ ==", "é", "\ufffd", "YQ==\n"])
def test_what_is_not_base64(line: str) -> None:
    for exchange in (Exchange("PLAIN"), Exchange("LOGIN")):
        with pytest.raises(Malformed) as fault:
            exchange.begin(line)
        assert fault.value.base64 is True


@given(st.sampled_from(["PLAIN", "LOGIN"]), st.lists(st.one_of(st.text(), st.binary().map(b64)), max_size=4))
def test_nothing_else_is_raised(mechanism: str, lines: list[str]) -> None:
    exchange = Exchange(mechanism)
    with contextlib.suppress(Malformed):
        exchange.begin(lines[0] if lines else None)
        for line in lines[1:]:
            exchange.go_on(line)


def test_a_password_is_not_shown() -> None:
    assert "tulip" not in repr(Credentials("PLAIN", "tim", "tulip"))
