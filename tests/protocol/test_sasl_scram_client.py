"""Signing in elsewhere with SCRAM: our client core against our server core, and against servers that lie."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import pytest
from scramp import ScramMechanism

from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.protocol import sasl
from glasspost.protocol import smtp_events as events
from glasspost.protocol.chat import Silence
from glasspost.protocol.sasl_client import by_password, password_mechanism
from glasspost.protocol.smtp_client import SmtpClient
from glasspost.protocol.smtp_client_events import Answered, Broken, SmtpClientSettings, Step
from glasspost.protocol.smtp_offer import ServerSettings
from glasspost.protocol.smtp_server import SmtpServer
from glasspost.storage.scram import ITERATIONS, keys_of

PASSWORD = "tulip-7"
SALT = b"0123456789abcdef"
CERTIFICATE, OTHER = b"c" * 32, b"o" * 32
PLUS, SCRAM = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"


@dataclass
class Ear:
    """What a transcript would hear."""

    lines: list[bytes] = field(default_factory=list)

    def heard(self, line: bytes) -> None:
        self.lines.append(line)

    def said(self, text: bytes) -> None:
        self.lines += text.split(b"\r\n")[:-1]


def greeted(*offered: str, end_point: bytes = b"") -> tuple[SmtpClient, Ear]:
    """A client that has been greeted, and offered these mechanisms."""
    ear = Ear()
    client = SmtpClient(SmtpClientSettings("c.test"), ear, "mx.test")
    client.end_point = end_point
    client.receive(b"220 mx\r\n")
    client.next_event()
    client.hello()
    client.receive(f"250-mx\r\n250 AUTH {' '.join(offered)}\r\n".encode())
    client.next_event()
    client.take_output()
    return client, ear


def house(*mechanisms: str, end_point: bytes = b"") -> SmtpServer:
    """A server of ours behind EHLO, which knows PASSWORD."""
    offer = ServerSettings("mx.test", mechanisms=mechanisms)
    server = SmtpServer(offer, Silence(), "c1", tls=True, end_point=end_point)
    server.receive(b"EHLO c.test\r\n")
    server.next_event()
    server.answer(say.HELLO.saying(hostname="mx", client="c"))
    server.take_output()
    return server


def converse(client: SmtpClient, server: SmtpServer, stored: str = PASSWORD) -> Reply:
    """Let them sign in; the answer that the client has in the end. `stored`: the password that the server knows."""
    pair = keys_of(stored, SALT)
    assert pair is not None
    client.sign_in("alice", PASSWORD)
    while True:
        server.receive(client.take_output())
        while (event := server.next_event()) is not None:
            assert isinstance(event, events.SignIn)
            question = event.question
            if isinstance(question, sasl.WantsKeys):
                server.sign_in_keys(sasl.ScramKeys(SALT, ITERATIONS, (pair,)))
            else:
                assert isinstance(question, sasl.Proof)
                server.answer(say.AUTH_FAILED if question.key is None else say.AUTH_OK)
        client.receive(server.take_output())
        happened = client.next_event()
        if happened is not None:
            assert isinstance(happened, Answered | Broken)
            return happened.reply


def test_the_strongest_that_is_offered_is_chosen() -> None:
    offered = ("LOGIN", "PLAIN", SCRAM, PLUS)
    assert password_mechanism(offered, CERTIFICATE) == PLUS
    assert password_mechanism(offered) == SCRAM, "nothing to bind to"
    assert password_mechanism(("LOGIN", "PLAIN")) == "PLAIN"
    assert password_mechanism((PLUS,)) == ""


@pytest.mark.parametrize("offered", [(PLUS, SCRAM, "PLAIN"), (SCRAM, "PLAIN")], ids=["bound", "not bound"])
@pytest.mark.parametrize("user", ["alice", "a,l=ice", "a" * 400])
def test_it_signs_in_at_our_own_server_and_nothing_is_on_record(offered: tuple[str, ...], user: str) -> None:
    end_point = CERTIFICATE if PLUS in offered else b""
    client, ear = greeted(*offered, end_point=end_point)
    reply = converse(client, house(*offered, end_point=end_point))
    assert reply.code == 235
    said = b"\n".join(ear.lines)
    assert f"AUTH {offered[0]} [masked]".encode() in said
    assert said.count(b"334 [masked]") == 2
    assert said.count(b"[masked]") == 5


def test_a_wrong_password_is_refused_in_the_servers_words() -> None:
    client, _ = greeted(SCRAM)
    assert converse(client, house(SCRAM), stored="another").code == 535
    assert client.broken is None


def test_somebody_between_us_who_shows_another_certificate_gets_nothing() -> None:
    client, _ = greeted(PLUS, SCRAM, "PLAIN", end_point=OTHER)
    assert converse(client, house(PLUS, SCRAM, "PLAIN", end_point=CERTIFICATE)).code == 535


def test_somebody_between_us_who_takes_plus_out_is_found_out() -> None:
    """The server did offer it; the client, which could have bound, was told that it did not (RFC 5802 §6)."""
    client, _ = greeted(SCRAM, "PLAIN", end_point=CERTIFICATE)
    reply = converse(client, house(PLUS, SCRAM, "PLAIN", end_point=CERTIFICATE))
    assert reply.code in (501, 535)


def test_a_password_that_scram_cannot_carry_goes_by_plain() -> None:
    """SASLprep knows no characters younger than 2002; no server can have keys of such a password."""
    assert by_password((SCRAM, "PLAIN"), "alice", "tulip \N{GRINNING FACE}").name == "PLAIN"


# --- servers that lie -----------------------------------------------------------------------------------------


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def begun() -> tuple[SmtpClient, str]:
    """A sign-in begun with a server of the test's own, and the client's nonce."""
    client, _ = greeted(SCRAM, "PLAIN")
    client.sign_in("alice", PASSWORD)
    first = base64.b64decode(client.take_output().split()[2]).decode()
    return client, first.partition(",r=")[2]


def outcome(client: SmtpClient, *lines: str) -> Reply:
    """What comes of it when the server says this."""
    for line in lines:
        client.receive(line.encode() + b"\r\n")
        event = client.next_event()
        if event is not None:
            assert isinstance(event, Answered | Broken)
            return event.reply
    raise AssertionError("nothing came of it")


def challenge(nonce: str, iterations: int = 4096) -> str:
    return "334 " + b64(f"r={nonce}server,s={base64.b64encode(SALT).decode()},i={iterations}")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("235 come in",), "did not prove"),
        (("{first}", "235 come in"), "did not prove"),
        (("{first}", "334 " + b64("v=" + base64.b64encode(b"x" * 32).decode())), "is wrong"),
        (("{first}", "334 !"), "is wrong"),
        (("{first}", "334 " + b64("e=other-error"), "235 come in"), "did not prove"),
        (("334 !",), "none of SCRAM"),
        (("334 " + b64("r=other,s=MDEyMzQ1Njc4OWFi,i=4096"),), "none of SCRAM"),
        (("{weak}",), "none of SCRAM"),
        (("{endless}",), "more than 600000"),
    ],
)
def test_a_server_that_cannot_prove_itself_is_left(lines: tuple[str, ...], words: str) -> None:
    client, nonce = begun()
    texts = {"first": challenge(nonce), "weak": challenge(nonce, 1), "endless": challenge(nonce, 9_000_000)}
    reply = outcome(client, *(line.format(**texts) for line in lines))
    assert (reply.code, reply.enhanced) == (451, "4.7.0")
    assert words in reply.text
    assert reply is client.broken and not client.broken_by_server


def test_a_server_that_knows_the_password_is_believed() -> None:
    """The counterpart of the test above, with the library's own server."""
    mechanism = ScramMechanism(SCRAM)
    kept = mechanism.make_auth_info(PASSWORD, salt=SALT)
    client, _ = greeted(SCRAM)
    client.sign_in("alice", PASSWORD)
    server = mechanism.make_server(lambda name: kept)
    server.set_client_first(base64.b64decode(client.take_output().split()[2]).decode())
    client.receive(f"334 {b64(server.get_server_first())}\r\n".encode())
    assert client.next_event() is None
    server.set_client_final(base64.b64decode(client.take_output()).decode())
    client.receive(f"334 {b64(server.get_server_final())}\r\n".encode())
    assert client.next_event() is None
    assert client.take_output() == b"\r\n"
    client.receive(b"235 welcome\r\n")
    assert client.next_event() == Answered(Step.AUTH, Reply(235, "", "welcome"))
