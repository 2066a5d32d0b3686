"""Sign-in exchanges: every mechanism, right and wrong (protocol/sasl.py and those beside it)."""

from __future__ import annotations

import base64
import contextlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient

from glasspost.protocol.sasl import (
    Bearer,
    Challenge,
    Credentials,
    Digest,
    Exchange,
    Malformed,
    Proof,
    ScramKeys,
    Step,
    Terms,
    WantsKeys,
)
from glasspost.protocol.sasl_mechanisms import MECHANISMS, exchange, possible
from glasspost.protocol.sasl_scram import MOST_KEYS, fitting
from glasspost.storage.scram import ITERATIONS, keys_of

TERMS = Terms("mail.example.test", b"e" * 32)
SALT = b"s" * 16


def keys(*passwords: str) -> ScramKeys:
    pairs = [keys_of(password, SALT) for password in passwords]
    return ScramKeys(SALT, ITERATIONS, tuple(pair for pair in pairs if pair is not None))


KEYS = keys("tulip")


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
    for result in (exchange("PLAIN", TERMS).begin(b64(message)), asked(exchange("PLAIN", TERMS), b64(message))):
        assert result == Credentials("PLAIN", username, password)


def asked(begun: Exchange, line: str) -> Step:
    assert begun.begin(None) == Challenge("")
    return begun.go_on(line)


@pytest.mark.parametrize(
    "message",
    ["", "tim", "\0tim", "\0\0x", "\0tim\0x\0", "\0tim\0x\0y", "kurt\0xipj3plmq\0x", b"\0tim\0\xff", b"\xff\0\xff\0x"],
)  # the seventh is RFC 4616 §4: in somebody else's name, which nobody may here
def test_plain_that_is_not_plain(message: str | bytes) -> None:
    with pytest.raises(Malformed) as fault:
        exchange("PLAIN", TERMS).begin(b64(message))
    assert fault.value.base64 is False


def test_login() -> None:
    login = exchange("LOGIN", TERMS)
    assert login.begin(None) == Challenge(b64("Username:"))
    assert login.go_on(b64("tim")) == Challenge(b64("Password:"))
    assert login.go_on(b64("tulip")) == Credentials("LOGIN", "tim", "tulip")


def test_login_with_the_name_at_once() -> None:
    login = exchange("LOGIN", TERMS)
    assert login.begin(b64("tim")) == Challenge(b64("Password:"))
    assert login.go_on(b64("tulip")) == Credentials("LOGIN", "tim", "tulip")


def test_an_equals_sign_is_an_empty_response() -> None:
    """RFC 4954 §4."""
    assert exchange("LOGIN", TERMS).begin("=") == Challenge(b64("Password:"))


@pytest.mark.parametrize("line", ["!", "abc", "a===", "YQ==YQ==", "YQ ==", "é", "\ufffd", "YQ==\n"])
def test_what_is_not_base64(line: str) -> None:
    for begun in (exchange("PLAIN", TERMS), exchange("LOGIN", TERMS)):
        with pytest.raises(Malformed) as fault:
            begun.begin(line)
        assert fault.value.base64 is True


@given(st.sampled_from(sorted(MECHANISMS)), st.lists(st.one_of(st.text(), st.binary().map(b64)), max_size=4))
def test_nothing_else_is_raised(mechanism: str, lines: list[str]) -> None:
    begun = exchange(mechanism, TERMS)
    with contextlib.suppress(Malformed):
        step = begun.begin(lines[0] if lines else None)
        for line in lines[1:]:
            if isinstance(step, WantsKeys):
                step = begun.keys(KEYS)
            if not isinstance(step, Challenge):
                break
            step = begun.go_on(line)


def test_a_password_is_not_shown() -> None:
    assert "tulip" not in repr(Credentials("PLAIN", "tim", "tulip"))


# --- SCRAM ---------------------------------------------------------------------------------------------------------


def unb64(text: str) -> str:
    return base64.b64decode(text).decode()


def scram(client: ScramClient, known: ScramKeys, terms: Terms = TERMS, mechanism: str = "") -> Step:
    """An exchange with a client that somebody else has written, up to the end."""
    server = exchange(mechanism or client.mechanism_name, terms)
    step = server.begin(b64(client.get_client_first()))
    if not isinstance(step, WantsKeys):
        return step
    step = server.keys(known)
    assert isinstance(step, Challenge) and step.secret
    client.set_server_first(unb64(step.text))
    step = server.go_on(b64(client.get_client_final()))
    if isinstance(step, Challenge):
        assert step.secret
        client.set_server_final(unb64(step.text))  # raises where the server has not proved itself
        step = server.go_on("")
    return step


BOUND = ("tls-server-end-point", b"e" * 32)


@pytest.mark.parametrize(("mechanism", "binding"), [("SCRAM-SHA-256", None), ("SCRAM-SHA-256-PLUS", BOUND)])
def test_scram(mechanism: str, binding: tuple[str, bytes] | None) -> None:
    client = ScramClient([mechanism], "tim", "tulip", channel_binding=binding)
    assert scram(client, KEYS) == Proof(mechanism, "tim", 0)


def test_scram_with_any_of_several_passwords() -> None:
    several = keys("tulip", "doorbell", "printer")
    found = [scram(ScramClient(["SCRAM-SHA-256"], "tim", word), several) for word in ("tulip", "doorbell", "printer")]
    assert found == [Proof("SCRAM-SHA-256", "tim", number) for number in range(3)]


def test_scram_with_a_wrong_password_proves_nothing() -> None:
    assert scram(ScramClient(["SCRAM-SHA-256"], "tim", "rose"), KEYS) == Proof("SCRAM-SHA-256", "tim", None)


def test_scram_through_somebody_elses_tls_proves_nothing() -> None:
    """The client sees another certificate than ours: somebody stands in between."""
    client = ScramClient(["SCRAM-SHA-256-PLUS"], "tim", "tulip", channel_binding=("tls-server-end-point", b"x" * 32))
    assert scram(client, KEYS) == Proof("SCRAM-SHA-256-PLUS", "tim", None)


def test_scram_asks_for_keys_by_the_name_only_and_escapes_are_read() -> None:
    server = exchange("SCRAM-SHA-256", TERMS)
    assert server.begin(b64("n,,n=a=2Cb=3Dc,r=nonce")) == WantsKeys("SCRAM-SHA-256", "a,b=c")


@pytest.mark.parametrize(
    "first",
    [
        "",
        "n,,",
        "n,a=kurt,n=tim,r=x",
        "n,,n=tim",
        "n,,r=x,n=tim",
        "y,,n=tim,r=x",
        "p=tls-unique,,n=tim,r=x",
        "x,,n=tim,r=x",
    ],
)  # somebody else's name; and `y`: somebody has removed -PLUS from what we offered (RFC 5802 §6)
def test_scram_that_is_not_scram(first: str) -> None:
    with pytest.raises(Malformed):
        exchange("SCRAM-SHA-256", TERMS).begin(b64(first))


@pytest.mark.parametrize("final", ["", "c=biws", "c=biws,r=x,p=eHg=", "c=biws,r=x,p=!", "p=", ",p=" + "A" * 44])
def test_a_last_message_that_is_nonsense_proves_nothing(final: str) -> None:
    server = exchange("SCRAM-SHA-256", Terms())
    server.begin(b64("n,,n=tim,r=nonce"))
    server.keys(KEYS)
    assert server.go_on(b64(final)) == Proof("SCRAM-SHA-256", "tim", None)


@pytest.mark.parametrize("count", [1, 5, MOST_KEYS])
def test_finding_the_password_takes_the_same_work_however_many_there_are(count: int, monkeypatch) -> None:
    computed = []
    digest = hmac.digest
    monkeypatch.setattr(hmac, "digest", lambda *arguments: computed.append(1) or digest(*arguments))
    fitting(ScramKeys(SALT, ITERATIONS, ((b"x" * 32, b"y" * 32),) * count), "a,b", "c=biws,r=x,p=" + "A" * 43 + "=")
    assert len(computed) == MOST_KEYS


# --- tokens, CRAM-MD5 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mechanism", "message", "username"),
    [
        (
            "OAUTHBEARER",
            "n,a=user@example.com,\x01host=h.example\x01port=143\x01auth=Bearer vF9=\x01\x01",
            "user@example.com",
        ),
        ("OAUTHBEARER", "n,,\x01auth=Bearer vF9=\x01\x01", ""),  # RFC 7628 §4.1, §3.1
        ("OAUTHBEARER", "n,a=a=2Cb,\x01auth=bearer vF9=\x01\x01", "a,b"),
        ("XOAUTH2", "user=someuser@example.com\x01auth=Bearer vF9=\x01\x01", "someuser@example.com"),
    ],
)
def test_tokens(mechanism: str, message: str, username: str) -> None:
    step = exchange(mechanism, TERMS).begin(b64(message))
    assert isinstance(step, Bearer)
    assert (step.mechanism, step.username, step.token) == (mechanism, username, "vF9=")
    assert "vF9" not in repr(step)
    assert unb64(step.complaint.text) == '{"status":"invalid_token"}'


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("OAUTHBEARER", ""),
        ("OAUTHBEARER", "n,,\x01\x01"),
        ("OAUTHBEARER", "n,,\x01auth=Basic dGVzdDp0ZXN0\x01\x01"),
        ("OAUTHBEARER", "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01"),
        ("OAUTHBEARER", "p=tls-exporter,,\x01auth=Bearer a\x01\x01"),
        ("OAUTHBEARER", "n,,\x01auth=Bearer a b\x01\x01"),
        ("XOAUTH2", "auth=Bearer a\x01\x01"),
        ("XOAUTH2", "user=\x01auth=Bearer a\x01\x01"),
        ("XOAUTH2", "user=tim"),
    ],
)
def test_tokens_that_are_none(mechanism: str, message: str) -> None:
    with pytest.raises(Malformed):
        exchange(mechanism, TERMS).begin(b64(message))


def test_cram_md5() -> None:
    server = exchange("CRAM-MD5", TERMS)
    challenge = server.begin(None)
    assert isinstance(challenge, Challenge) and challenge.secret
    assert unb64(challenge.text).endswith("@mail.example.test>")
    assert exchange("CRAM-MD5", TERMS).begin(None) != challenge
    answer = "tim b913a602c7eda7a495b4e6e7334d3890"  # RFC 2195 §2
    question = server.go_on(b64(answer))
    assert question == Digest("CRAM-MD5", "tim", unb64(challenge.text).encode(), bytes.fromhex(answer[4:]))


def test_without_a_certificate_to_bind_to_there_is_no_plus() -> None:
    assert possible(("SCRAM-SHA-256-PLUS", "PLAIN"), Terms()) == ("PLAIN",)
    assert possible(("SCRAM-SHA-256-PLUS", "PLAIN"), TERMS) == ("SCRAM-SHA-256-PLUS", "PLAIN")
