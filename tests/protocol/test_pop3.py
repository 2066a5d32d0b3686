"""The POP3 conversation, without a wire: talks, the table, what must stay secret, and any cutting of the input."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.mail import pop3_reply
from glasspost.protocol.pop3_content import Outgoing
from glasspost.protocol.pop3_events import Event, Fetch, Pop3Settings, SignIn, StartTls, Update
from glasspost.protocol.pop3_server import LINE_LIMIT, Pop3Server
from glasspost.protocol.pop3_table import VERBS, Asks, State
from glasspost.protocol.sasl import Credentials
from glasspost.protocol.talk import Line, parse_talk, print_talk

SETTINGS = Pop3Settings(hostname="mail.example.org", headers_in_utf8="refuse")
MESSAGES = (
    b"Subject: one\r\n\r\nHello\r\n.\r\n..two dots\r\nend\r\n",
    "Subject: grüße\r\nFrom: a@b\r\n\r\nHello\r\n".encode(),
    b"Subject: f\xfcr alle\r\n\r\nold and faulty: \xff\r\n",
    b"Subject: no last line end\r\n\r\na\r\nb",
)
PLAIN = base64.b64encode(b"\0bob\0tulip").decode()


@dataclass(frozen=True)
class Deposit:
    uid: str
    octets: int
    content: bytes = b""


BOX = tuple(Deposit(f"uid{number}", len(text), text) for number, text in enumerate(MESSAGES, 1))


class Record:
    """A tap that keeps what it heard."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def heard(self, line: bytes) -> None:
        self.lines.append(Line("C", line))

    def said(self, text: bytes) -> None:
        self.lines.extend(Line("S", line) for line in text.split(b"\r\n")[:-1])

    @property
    def text(self) -> str:
        return print_talk(self.lines)


class House:
    """Bob's password is tulip; ann's maildrop is in use; nothing else is here. Content comes in pieces of `piece`."""

    def __init__(self, core: Pop3Server, box: tuple[Deposit, ...] = BOX, piece: int = 7) -> None:
        self.core = core
        self.box = box
        self.piece = piece
        self.removed: list[Deposit] = []

    def hear(self, data: bytes) -> bytes:
        """Give the server these octets, answer what it asks, and return what it says."""
        self.core.receive(data)
        said = b""
        while True:
            event = self.core.next_event()
            if event is not None:
                self.answer(event)
            said += self.core.take_output()
            if event is None and not self.core.unfinished:
                return said

    def answer(self, event: Event) -> None:
        core = self.core
        if isinstance(event, SignIn):
            question = event.question
            assert isinstance(question, Credentials)
            if (question.username, question.password) == ("bob", "tulip"):
                core.opened(self.box)
            elif question.username == "ann":
                core.answer(pop3_reply.IN_USE)
            else:
                core.refuse_sign_in()
        elif isinstance(event, Fetch):
            content = event.deposit.content  # type: ignore[attr-defined]
            for start in range(0, len(content), self.piece):
                if not core.send_piece(content[start : start + self.piece]):
                    break
            core.end_message()
        elif isinstance(event, Update):
            self.removed = list(event.doomed)  # type: ignore[arg-type]
            core.answer(pop3_reply.BYE)
        else:
            assert isinstance(event, StartTls)
            core.answer(pop3_reply.TLS_READY)
            core.secured()


def house(settings: Pop3Settings = SETTINGS, *, tap: Record | None = None, box: tuple[Deposit, ...] = BOX) -> House:
    core = Pop3Server(settings, tap or Record(), stls=True, from_loopback=True)
    return House(core, box)


def signed_in(settings: Pop3Settings = SETTINGS, box: tuple[Deposit, ...] = BOX) -> House:
    here = house(settings, box=box)
    assert b"+OK Welcome" in here.hear(b"USER bob\r\nPASS tulip\r\n")
    return here


# --- talks ------------------------------------------------------------------------------------------------------

TALKS = {
    "a whole session": """
        S: +OK mail.example.org POP3 glasspost
        C: user bob
        S: +OK Go on with PASS
        C: PASS tulip
        S: +OK Welcome; messages: 4
        C: STAT
        S: +OK 4 154
        C: LIST
        S: +OK Messages: 4
        S: 1 43
        S: 2 38
        S: 3 40
        S: 4 33
        S: .
        C: LIST 4
        S: +OK 4 33
        C: UIDL 2
        S: +OK 2 uid2
        C: RETR 1
        S: +OK 43 octets
        S: Subject: one
        S:
        S: Hello
        S: ..
        S: ...two dots
        S: end
        S: .
        C: TOP 1 2
        S: +OK The top follows
        S: Subject: one
        S:
        S: Hello
        S: ..
        S: .
        C: NOOP
        S: +OK Here
        C: DELE 1
        S: +OK Message 1 will be removed at QUIT
        C: STAT
        S: +OK 3 111
        C: UIDL
        S: +OK Messages: 3
        S: 2 uid2
        S: 3 uid3
        S: 4 uid4
        S: .
        C: RETR 1
        S: -ERR Message 1 is marked for removal
        C: RSET
        S: +OK No message is marked; messages: 4
        C: STAT
        S: +OK 4 154
        C: QUIT
        S: +OK Bye
    """,
    "nobody knows that number": """
        S: +OK mail.example.org POP3 glasspost
        C: USER bob
        S: +OK Go on with PASS
        C: PASS tulip
        S: +OK Welcome; messages: 4
        C: RETR 5
        S: -ERR No message 5; the last is 4
        C: DELE 0
        S: -ERR No message 0; the last is 4
        C: LIST -1
        S: -ERR Messages have numbers, from 1 to 4
        C: UIDL 99999999999999999999
        S: -ERR Messages have numbers, from 1 to 4
        C: TOP 1 some
        S: -ERR Syntax: TOP message lines
        C: TOP 1
        S: -ERR Syntax: TOP message lines
        C: RETR
        S: -ERR Syntax: RETR message
        C: STAT 1
        S: -ERR Syntax: STAT
    """,
    "the end of a message": """
        # The last line has no line end: one is put behind it, as the end mark needs it.
        S: +OK mail.example.org POP3 glasspost
        C: USER bob
        S: +OK Go on with PASS
        C: PASS tulip
        S: +OK Welcome; messages: 4
        C: RETR 4
        S: +OK 33 octets
        S: Subject: no last line end
        S:
        S: a
        S: b
        S: .
        C: TOP 4 0
        S: +OK The top follows
        S: Subject: no last line end
        S:
        S: .
        C: TOP 4 100
        S: +OK The top follows
        S: Subject: no last line end
        S:
        S: a
        S: b
        S: .
    """,
    "headers in UTF-8, for whom has not said UTF8": """
        S: +OK mail.example.org POP3 glasspost
        C: USER bob
        S: +OK Go on with PASS
        C: PASS tulip
        S: +OK Welcome; messages: 4
        C: RETR 2
        S: -ERR [UTF8] This message has a header in UTF-8: say UTF8 before signing in to fetch it
        C: TOP 2 0
        S: -ERR [UTF8] This message has a header in UTF-8: say UTF8 before signing in to fetch it
        C: UTF8
        S: -ERR UTF8 comes before signing in; you are signed in
        # Not UTF-8 at all: no UTF8 could help, it is sent as it came.
        C: RETR 3
        S: +OK 40 octets
        S: Subject: f\\xfcr alle
        S:
        S: old and faulty: \\xff
        S: .
    """,
    "headers in UTF-8, for whom has said UTF8": """
        S: +OK mail.example.org POP3 glasspost
        C: UTF8
        S: +OK UTF-8 from here on
        C: STLS
        S: -ERR STLS comes before UTF8
        C: USER bob
        S: +OK Go on with PASS
        C: PASS tulip
        S: +OK Welcome; messages: 4
        C: RETR 2
        S: +OK 38 octets
        S: Subject: grüße
        S: From: a@b
        S:
        S: Hello
        S: .
    """,
    "SASL PLAIN in one line": f"""
        S: +OK mail.example.org POP3 glasspost
        C: AUTH
        S: +OK Sign-in mechanisms
        S: SCRAM-SHA-256
        S: PLAIN
        S: LOGIN
        S: .
        C: AUTH plain {PLAIN}
        S: +OK Welcome; messages: 4
    """,
    "SASL PLAIN in two lines": f"""
        S: +OK mail.example.org POP3 glasspost
        C: AUTH PLAIN
        S: +\\x20
        C: {PLAIN}
        S: +OK Welcome; messages: 4
    """,
    "SASL going wrong": f"""
        S: +OK mail.example.org POP3 glasspost
        C: AUTH CRAM-MD5
        S: -ERR Sign-in mechanism not offered; see CAPA
        C: AUTH PLAIN
        S: +\\x20
        C: *
        S: -ERR Sign-in cancelled
        C: AUTH PLAIN
        S: +\\x20
        C: not base64!
        S: -ERR That is not base64
        C: AUTH PLAIN =
        S: -ERR [AUTH] That is not a message of PLAIN
        C: AUTH PLAIN {base64.b64encode(b"ann" + bytes(1) + b"bob" + bytes(1) + b"tulip").decode()}
        S: -ERR [AUTH] That is not a message of PLAIN
        C: AUTH PLAIN {PLAIN} more
        S: -ERR Syntax: AUTH [mechanism [response]]
        C: NOOP
        S: -ERR Sign in first, with USER and PASS or with AUTH
    """,
    "three wrong passwords, the same words for all, then out": """
        S: +OK mail.example.org POP3 glasspost
        C: PASS tulip
        S: -ERR Say USER first
        C: USER bob
        S: +OK Go on with PASS
        C: PASS rose
        S: -ERR [AUTH] User name or password is wrong
        C: PASS tulip
        S: -ERR Say USER first
        C: USER nobody
        S: +OK Go on with PASS
        C: PASS tulip
        S: -ERR [AUTH] User name or password is wrong
        C: USER bob
        S: +OK Go on with PASS
        C: PASS  tulip
        S: -ERR [AUTH] User name or password is wrong
        C: USER bob
    """,
    "the maildrop is in use": """
        S: +OK mail.example.org POP3 glasspost
        C: USER ann
        S: +OK Go on with PASS
        C: PASS with blanks in it
        S: -ERR [IN-USE] Another session has this maildrop open; try again later
        C: QUIT
        S: +OK Bye
    """,
    "what this server can do": """
        S: +OK mail.example.org POP3 glasspost
        C: CAPA
        S: +OK What this server can do
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: UTF8 USER
        S: EXPIRE NEVER
        S: USER
        S: SASL SCRAM-SHA-256 PLAIN LOGIN
        S: STLS
        S: IMPLEMENTATION glasspost
        S: .
        C: USER bob
        S: +OK Go on with PASS
        C: PASS tulip
        S: +OK Welcome; messages: 4
        C: CAPA
        S: +OK What this server can do
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: UTF8 USER
        S: EXPIRE NEVER
        S: USER
        S: SASL SCRAM-SHA-256 PLAIN LOGIN
        S: IMPLEMENTATION glasspost
        S: .
    """,
    "slips of the finger": """
        S: +OK mail.example.org POP3 glasspost
        C: REST
        S: -ERR Unknown command; did you mean RSET?
        C: USR bob
        S: -ERR Unknown command; did you mean USER?
        C: HELO there
        S: -ERR Unknown command
        C: APOP bob 0123456789abcdef
        S: -ERR Unknown command
        C:
        S: -ERR Unknown command
        C: USER
        S: -ERR Syntax: USER name
        C: USER b\\xff
        S: -ERR That line is not text in UTF-8
        C: USER b\\x00b
        S: -ERR That line is not text in UTF-8
    """,
}


def read(talk: str) -> tuple[bytes, bytes]:
    """What the client says in a talk, and what the server says."""
    lines = parse_talk("\n".join(line.strip() for line in talk.splitlines()))
    return tuple(b"".join(line.octets + b"\r\n" for line in lines if line.who == who) for who in "CS")  # type: ignore[return-value]


@pytest.mark.parametrize("name", TALKS)
def test_talk_whole(name: str) -> None:
    """Everything at once, as PIPELINING allows: answered in order."""
    client, server = read(TALKS[name])
    assert house().hear(client).decode("latin-1") == server.decode("latin-1")


@pytest.mark.parametrize("name", TALKS)
def test_talk_byte_by_byte(name: str) -> None:
    client, server = read(TALKS[name])
    here = house()
    here.piece = 1
    said = here.hear(b"") + b"".join(here.hear(bytes([octet])) for octet in client)
    assert said.decode("latin-1") == server.decode("latin-1")


@given(st.sampled_from(sorted(TALKS)), st.lists(st.integers(0, 2000), max_size=12), st.integers(1, 50))
def test_any_cutting_of_the_input_gives_the_same_conversation(name: str, cuts: list[int], piece: int) -> None:
    client, server = read(TALKS[name])
    here = house()
    here.piece = piece
    edges = [0, *sorted(min(cut, len(client)) for cut in cuts), len(client)]
    assert b"".join(here.hear(client[start:end]) for start, end in itertools.pairwise(edges)) == server


@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([b"\r\n", b"USER bob", b"PASS tulip", b"RETR 1", b"AUTH PLAIN"]))
)
def test_whatever_comes_the_server_answers_in_whole_lines_or_not_at_all(pieces: list[bytes]) -> None:
    here = house(replace(SETTINGS, max_errors=10_000))
    for piece in pieces:
        said = here.hear(piece)
        assert not said or said.endswith(b"\r\n")


# --- the table --------------------------------------------------------------------------------------------------

ARGUMENTS = {"USER": b" bob", "PASS": b" tulip", "AUTH": b" PLAIN", "RETR": b" 1", "TOP": b" 1 1", "DELE": b" 1"}


@pytest.mark.parametrize("state", [State.AUTHORIZATION, State.TRANSACTION])
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_in_every_state(verb: str, state: State) -> None:
    """The table is the law: out of its states a verb is refused without effect, in them it asks whom the row names."""
    row = VERBS[verb]
    here = signed_in() if state is State.TRANSACTION else house()
    if verb == "PASS" and state is State.AUTHORIZATION:
        here.hear(b"USER bob\r\n")
    here.core.take_output()
    here.core.receive(verb.encode() + ARGUMENTS.get(verb, b"") + b"\r\n")
    event = here.core.next_event()
    said = here.core.take_output()
    if state not in row.states:
        assert event is None and said.startswith(b"-ERR ") and here.core.state is state and not here.core.finished
    elif row.asks is Asks.NOBODY or (verb == "QUIT" and state is State.AUTHORIZATION):
        assert event is None and said.startswith(b"+OK")
    elif verb == "AUTH":  # asks once the exchange is over
        assert event is None and said == b"+ \r\n"
    else:
        kinds = {Asks.DIRECTORY: SignIn, Asks.WIRE: StartTls, Asks.STORAGE: (Fetch, Update)}
        assert isinstance(event, kinds[row.asks]) and said == b""  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", [verb for verb, row in VERBS.items() if not row.whole])
def test_every_verb_with_too_many_arguments(verb: str) -> None:
    row = VERBS[verb]
    here = house() if State.AUTHORIZATION in row.states else signed_in()
    said = here.hear(verb.encode() + b" 1" * (row.most + 1) + b"\r\n")
    assert said.endswith(f"-ERR Syntax: {row.syntax}\r\n".encode())


def test_while_an_answer_is_owed_no_further_line_is_parsed() -> None:
    here = house()
    here.core.receive(b"USER bob\r\nPASS tulip\r\nSTAT\r\nQUIT\r\n")
    event = here.core.next_event()
    assert event == SignIn(Credentials("USER", "bob", "tulip"))
    assert here.core.next_event() is None
    assert b"154" not in here.core.take_output()
    here.core.opened(BOX)
    assert here.core.next_event() == Update([], 4)
    assert here.core.take_output() == b"+OK Welcome; messages: 4\r\n+OK 4 154\r\n"


def test_dele_takes_effect_at_quit_and_only_what_is_marked_goes() -> None:
    here = signed_in()
    here.hear(b"DELE 3\r\nDELE 1\r\nDELE 1\r\n")
    assert here.removed == []
    assert here.hear(b"QUIT\r\nNOOP\r\n") == b"+OK Bye\r\n"
    assert here.removed == [BOX[0], BOX[2]]
    assert here.core.finished and here.core.state is State.UPDATE


def test_quit_without_signing_in_updates_nothing() -> None:
    here = house()
    assert here.hear(b"QUIT\r\n").endswith(b"+OK Bye\r\n")
    assert here.core.finished and here.core.state is State.AUTHORIZATION


# --- secrets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["PASS tulip"], "C: PASS [masked]"),
        (["pass tulip bulb"], "C: pass [masked]"),
        (["USER bob tulip"], "C: USER bob [masked]"),
        (["AUTH PLAIN tulip"], "C: AUTH PLAIN [masked]"),
        (["AUTH tulip"], "C: AUTH [masked]"),
        (["AUTH PLAIN", "tulip"], "C: [masked]"),
        (["AUTH PLAIN", "*"], "C: *"),
        (["AUTH NTLM", "tulip"], "C: [masked]"),
        (["USER bob", "tulip"], "C: [masked]"),
        (["USER bob", "tulip bulb"], "C: [masked]"),
        (["USER bob", "PASStulip"], "C: [masked]"),
        (["PASSWORD tulip"], "C: PASS[masked]"),
        (["PAS tulip"], "C: PAS[masked]"),
        (["PSAS tulip"], "C: PSAS [masked]"),
        (["APOP bob tulip"], "C: APOP[masked]"),
        (["a1 LOGIN bob tulip"], "C: a1 LOGIN[masked]"),
        ([" PASS tulip"], "C: PASS [masked]"),
        (["PASS\\x09tulip"], "C: PASS [masked]"),
        (["PASS tu\\x0dlip"], "C: PASS [masked]"),
        (["PASS \\xff tulip"], "C: PASS [masked]"),
        (["GET / HTTP/1.1"], "C: GET / HTTP/1.1"),
        (["QUIT"], "C: QUIT"),
    ],
)
@pytest.mark.parametrize("from_loopback", [True, False])
def test_no_secret_reaches_the_tap(lines: list[str], shown: str, from_loopback: bool) -> None:
    """Also where signing in is refused in the clear: the client says it all the same."""
    tap = Record()
    here = House(Pop3Server(SETTINGS, tap, stls=True, from_loopback=from_loopback))
    client, _ = read("\n".join(f"C: {line}" for line in lines))
    here.hear(client)
    assert "tulip" not in tap.text
    if from_loopback or lines != ["AUTH PLAIN", "*"]:
        assert shown in tap.text.splitlines()


def test_a_line_ended_by_a_lone_lf_is_never_obeyed_and_still_masked() -> None:
    tap = Record()
    here = house(tap=tap)
    assert here.hear(b"USER bob\r\nPASS tulip\nNOOP\r\n").count(b"-ERR Lines end with CR LF") == 1
    assert here.core.state is State.AUTHORIZATION
    assert "tulip" not in tap.text


def test_the_tap_hears_the_conversation_but_not_the_mail() -> None:
    tap = Record()
    house(tap=tap).hear(b"USER bob\r\nPASS tulip\r\nRETR 1\r\nUIDL\r\nQUIT\r\n")
    assert tap.text == print_talk(
        parse_talk(
            "S: +OK mail.example.org POP3 glasspost\nC: USER bob\nS: +OK Go on with PASS\nC: PASS [masked]\n"
            "S: +OK Welcome; messages: 4\nC: RETR 1\nS: +OK 43 octets\nC: UIDL\nS: +OK Messages: 4\n"
            "S: 1 uid1\nS: 2 uid2\nS: 3 uid3\nS: 4 uid4\nS: .\nC: QUIT\nS: +OK Bye\n"
        )
    )


def test_a_password_is_not_in_the_event_text() -> None:
    assert "tulip" not in repr(SignIn(Credentials("USER", "bob", "tulip")))


@pytest.mark.parametrize(
    ("choice", "loopback", "allowed"),
    [
        ("never", True, False),
        ("loopback", True, True),
        ("loopback", False, False),
        ("always", False, True),
    ],
)
def test_passwords_in_the_clear(choice: str, loopback: bool, allowed: bool) -> None:
    settings = replace(SETTINGS, cleartext_auth=choice)  # type: ignore[arg-type]
    core = Pop3Server(settings, Record(), stls=True, from_loopback=loopback)
    here = House(core)
    capabilities = here.hear(b"CAPA\r\n").split(b"\r\n")
    assert (b"USER" in capabilities) is (b"SASL SCRAM-SHA-256 PLAIN LOGIN" in capabilities) is allowed
    said = here.hear(b"USER bob\r\nPASS tulip\r\n")
    assert (b"Welcome" in said) is allowed
    if not allowed:
        assert said.count(b"-ERR [AUTH] Say STLS first") == 2
        assert here.hear(f"AUTH PLAIN {PLAIN}\r\n".encode()).startswith(b"-ERR [AUTH] Say STLS first")
        assert here.hear(b"AUTH\r\n") == b"+OK Sign-in mechanisms\r\n.\r\n"
        assert here.hear(b"STLS\r\n") == b"+OK Begin TLS\r\n"
        assert b"Welcome" in here.hear(b"USER bob\r\nPASS tulip\r\n")


# --- TLS --------------------------------------------------------------------------------------------------------


def test_cleartext_never_crosses_stls() -> None:
    """A command behind STLS in the same segment would be obeyed as if it had come encrypted."""
    here = house()
    said = here.hear(b"STLS\r\nUSER bob\r\n")
    assert said.endswith(b"-ERR Bytes came behind STLS before TLS began; closing\r\n")
    assert here.core.finished
    assert here.hear(b"PASS tulip\r\n") == b""


def test_cleartext_that_comes_during_the_handshake_does_not_cross_either() -> None:
    here = house()
    here.core.receive(b"STLS\r\n")
    assert here.core.next_event() == StartTls()
    here.core.answer(pop3_reply.TLS_READY)
    here.core.receive(b"USER bob\r\n")
    assert here.core.next_event() is None
    assert here.core.secured() is False
    assert here.core.finished and b"Go on" not in here.core.take_output()


def test_what_was_said_before_tls_is_forgotten() -> None:
    here = house()
    here.hear(b"USER bob\r\nSTLS\r\n")
    assert here.hear(b"PASS tulip\r\n") == b"-ERR Say USER first\r\n"
    assert here.hear(b"STLS\r\n") == b"-ERR TLS is in use already\r\n"
    assert b"STLS" not in here.hear(b"CAPA\r\n")


def test_stls_is_not_offered_without_a_certificate() -> None:
    here = House(Pop3Server(SETTINGS, Record()))
    assert b"STLS" not in here.hear(b"CAPA\r\n")
    assert here.hear(b"STLS\r\n") == b"-ERR TLS is not offered here\r\n"


# --- bounds -----------------------------------------------------------------------------------------------------


def test_refusals_end_with_the_conversation_and_fit_the_grammar() -> None:
    """RFC 2449 §3: a text without a response code has no opening bracket."""
    here = House(Pop3Server(SETTINGS, Record(), conversation="c0abc"))
    assert here.hear(b"NOPE\r\n").endswith(b"-ERR Unknown command; did you mean NOOP? (c0abc)\r\n")
    for name, reply in vars(pop3_reply).items():
        if isinstance(reply, pop3_reply.Pop3Reply) and name.isupper():
            assert "[" not in reply.text.replace("{syntax}", "") and str(reply).isascii(), name


def test_strangers_who_get_nothing_right_are_not_to_stay() -> None:
    here = house()
    said = here.hear(b"NONSENSE\r\n" * 100)
    assert said.count(b"-ERR Unknown") == SETTINGS.max_errors
    assert said.endswith(b"-ERR Too many errors; closing\r\n")
    assert here.core.finished


def test_a_line_of_the_limit_is_taken_and_one_octet_more_is_not() -> None:
    longest = b"USER " + b"b" * (LINE_LIMIT - 7) + b"\r\n"
    assert house().hear(longest).endswith(b"+OK Go on with PASS\r\n")
    said = house().hear(longest.replace(b"bb", b"bbb", 1) + b"QUIT\r\n")
    assert said.endswith(b"-ERR Line too long; at most 2048 octets\r\n+OK Bye\r\n")


def test_an_answer_to_a_challenge_may_be_longer_than_a_command() -> None:
    password = b"x" * 6000
    said = house().hear(b"AUTH PLAIN\r\n" + base64.b64encode(b"\0bob\0" + password) + b"\r\n")
    assert said.endswith(b"-ERR [AUTH] User name or password is wrong\r\n")


def test_a_maildrop_of_a_hundred_thousand_is_listed_slice_by_slice() -> None:
    tap = Record()
    box = tuple(Deposit(f"uid{number}", 1000) for number in range(1, 100_001))
    here = house(tap=tap, box=box)
    here.hear(b"USER bob\r\nPASS tulip\r\nDELE 2\r\n")
    here.core.receive(b"UIDL\r\nSTAT\r\n")
    assert here.core.next_event() is None
    slices = [here.core.take_output()]
    while here.core.unfinished:
        assert here.core.next_event() is None
        slices.append(here.core.take_output())
    assert max(map(len, slices)) < 64 * 1024
    lines = b"".join(slices).split(b"\r\n")
    assert lines[:3] == [b"+OK Messages: 99999", b"1 uid1", b"3 uid3"]
    assert lines[-4:] == [b"100000 uid100000", b".", b"+OK 99999 99999000", b""]
    assert len(lines) == 99_999 + 4
    assert "S: [99999 lines]\nS: .\n" in tap.text and len(tap.lines) < 20


def test_many_small_commands_at_once_do_not_pile_up_output() -> None:
    here = signed_in()
    here.core.receive(b"CAPA\r\n" * 5000)
    here.core.next_event()
    assert here.core.unfinished
    assert len(here.core.take_output()) < 64 * 1024
    assert here.hear(b"").count(b"+OK") > 4000


# --- content ----------------------------------------------------------------------------------------------------


def fetch(content: bytes, command: bytes, piece: int, settings: Pop3Settings = SETTINGS) -> bytes:
    here = signed_in(settings, box=(Deposit("uid", len(content), content),))
    here.piece = piece
    return here.hear(command + b"\r\n")


def unstuffed(said: bytes) -> bytes:
    """The content as a client reads it from a multi-line answer."""
    status, _, rest = said.partition(b"\r\n")
    assert status.startswith(b"+OK") and rest.endswith(b".\r\n")
    return (b"\r\n" + rest[:-3]).replace(b"\r\n.", b"\r\n")[2:]


LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b".x", b"text", b"\r", b"a\nb", b"Subject: x", b"\xff"]), max_size=12
)


@given(LINES, st.integers(1, 40))
def test_retr_is_byte_exact(lines: list[bytes], piece: int) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    assert unstuffed(fetch(content, b"RETR 1", piece)) == content


@given(LINES, st.integers(0, 5), st.integers(1, 40))
def test_top_is_the_header_and_so_many_lines(lines: list[bytes], wanted: int, piece: int) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    split = content.split(b"\r\n")[:-1]
    header = split.index(b"") + 1 if b"" in split else len(split)
    expected = b"".join(line + b"\r\n" for line in split[: header + wanted])
    assert unstuffed(fetch(content, b"TOP 1 %d" % wanted, piece)) == expected


@pytest.mark.parametrize("piece", [1, 100])
def test_top_keeps_a_lone_cr_at_the_very_end(piece: int) -> None:
    content = b"Subject: x\r\n\r\none\r"
    assert fetch(content, b"TOP 1 5", piece) == b"+OK The top follows\r\n" + content + b"\r\n.\r\n"


def test_top_asks_for_no_more_content_than_it_needs() -> None:
    here = signed_in()
    here.core.receive(b"TOP 1 1\r\n")
    assert isinstance(here.core.next_event(), Fetch)
    assert here.core.send_piece(b"Subject: x\r\n\r\none\r") is True
    assert here.core.send_piece(b"\ntwo\r\nthree\r\n") is False
    assert here.core.end_message() == len(b"Subject: x\r\n\r\none\r\n")


def test_the_switch_that_sends_headers_in_utf8_to_everyone() -> None:
    content = "Subject: grüße\r\n\r\n".encode()
    assert fetch(content, b"RETR 1", 5).startswith(b"-ERR [UTF8]")
    assert unstuffed(fetch(content, b"RETR 1", 5, replace(SETTINGS, headers_in_utf8="send"))) == content


def test_a_body_of_8_bits_is_sent_as_ever() -> None:
    content = "Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngrüße\r\n".encode()
    assert unstuffed(fetch(content, b"RETR 1", 3)) == content


def test_a_header_without_end_is_not_held_back_for_ever() -> None:
    here = signed_in()
    here.core.receive(b"RETR 1\r\n")
    here.core.next_event()
    here.core.send_piece(b"X: " + b"y" * 200_000)
    assert here.core.take_output() == b""
    here.core.send_piece(b"y" * 200_000)
    assert len(here.core.take_output()) > 400_000


def test_content_that_cannot_be_read() -> None:
    here = signed_in()
    here.core.receive(b"RETR 1\r\nNOOP\r\n")
    here.core.next_event()
    here.core.fail_message(pop3_reply.MESSAGE_LATER)
    assert here.hear(b"") == b"-ERR [SYS/TEMP] The message cannot be read just now; try again later\r\n+OK Here\r\n"


def test_content_that_breaks_off_never_looks_complete() -> None:
    here = signed_in()
    here.core.receive(b"RETR 1\r\nNOOP\r\n")
    here.core.next_event()
    here.core.send_piece(b"Subject: x\r\n\r\nhalf of it\r\n")
    here.core.fail_message(pop3_reply.MESSAGE_LATER)
    assert here.core.finished
    assert not here.hear(b"").endswith(b".\r\n")


def test_an_answer_nobody_asked_for_is_a_bug() -> None:
    with pytest.raises(RuntimeError):
        house().core.answer(pop3_reply.BYE)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_no_lone_lf_brings_the_end_of_a_message(size: int) -> None:
    """Who takes LF for a line end finds no end of the message, and no answer of ours, in what a stranger wrote."""
    stored = b"Subject: x\r\n\r\nhello\n.\n+OK not ours\r\n.\n.\r\nend\r\n"
    outgoing = Outgoing(None, False)
    pieces = [outgoing.feed(stored[at : at + size]) for at in range(0, len(stored), size)]
    sent = b"".join([*pieces, outgoing.end()])
    assert sent == b"Subject: x\r\n\r\nhello\n..\n+OK not ours\r\n..\n..\r\nend\r\n.\r\n"
    assert b".\n" not in sent[:-3].replace(b"\r\n", b"\n").split(b"\n")
