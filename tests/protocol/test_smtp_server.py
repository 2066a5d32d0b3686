"""The SMTP server's core, without a wire: any cutting of the input, secrets, STARTTLS, and who may be asked what."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.protocol import smtp_events as events
from glasspost.protocol.smtp_offer import ServerSettings
from glasspost.protocol.smtp_server import SmtpServer
from glasspost.protocol.smtp_table import State

TAG = "c0b62hq4z8rk"
SETTINGS = ServerSettings("mail.example.test", max_size=60, max_errors=40, line_limit=120)
SUBMISSION = replace(SETTINGS, mechanisms=("PLAIN", "LOGIN"), cleartext_auth=True)
STARTTLS = replace(SUBMISSION, tls_available=True, cleartext_auth=False)


class Ear:
    """A tap that keeps everything."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def heard(self, line: bytes) -> None:
        self.lines.append(b"C: " + line)

    def said(self, text: bytes) -> None:
        self.lines.append(b"S: " + text)

    @property
    def all(self) -> bytes:
        return b"\n".join(self.lines)


class House:
    """Answers the core: nobody@ is not taken, dave@ may not send, the password is tulip. Keeps what happened."""

    def __init__(self, offer: ServerSettings = SETTINGS) -> None:
        self.ear = Ear()
        self.core = SmtpServer(offer, self.ear, TAG)
        self.happened: list[tuple[object, ...]] = []
        self.body = b""
        self.said = b""

    def hear(self, data: bytes) -> bytes:
        """These octets come; returns what is said to them."""
        self.core.receive(data)
        while (event := self.core.next_event()) is not None:
            reply = self._reply(event)
            if reply is not None:
                assert self.core.owed is not None
                assert self.core.next_event() is None, "nothing is parsed while an answer is owed"
                self.core.answer(reply)
            assert self.core.owed is None
        said = self.core.take_output()
        self.said += said
        return said

    def _reply(self, event: events.Event) -> Reply | None:
        happened: tuple[object, ...] = (type(event).__name__, event.verb)
        reply: Reply | None = None
        match event:
            case events.Hello():
                self.body = b""
                reply = say.HELLO.saying(hostname="mail.example.test", client=event.name)
            case events.Mail():
                envelope = event.envelope
                happened += (envelope.reverse_path, envelope.body, envelope.declared_size)
                refused = envelope.reverse_path is not None and envelope.reverse_path.local == "dave"
                reply = say.AUTH_REQUIRED if refused else say.SENDER_OK
            case events.Rcpt():
                happened += (event.recipient.address,)
                refused = event.recipient.address.local == "nobody"
                reply = say.NO_SUCH_USER.saying(address=event.recipient.address) if refused else say.RECIPIENT_OK
            case events.Data():
                reply = say.GO_AHEAD
            case events.Body():
                self.body += event.data
                return None
            case events.BodyEnded():
                happened += (event.octets, self.body)
                assert len(self.body) == event.octets
                self.body = b""
                reply = say.QUEUED.saying(queue_id="q1")
            case events.SignIn():
                happened += (event.question.username, event.question.password)
                reply = say.AUTH_OK if event.question.password == "tulip" else say.AUTH_FAILED
            case events.StartTls():
                reply = say.TLS_READY
            case events.Verify():
                reply = say.VERIFY_NOT_SAID
            case events.Expand():
                reply = say.EXPAND_NOT_SAID
            case events.Forgotten():
                self.body = b""
        self.happened.append(happened)
        return reply


def greeted(offer: ServerSettings = SETTINGS) -> House:
    house = House(offer)
    house.hear(b"EHLO client.example\r\n")
    return house


# --- any cutting ------------------------------------------------------------------------------------------------

PLAIN = base64.b64encode(b"\0bob\0tulip")
PHRASES = [
    b"EHLO x\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<> BODY=BINARYMIME SIZE=9\r\n",
    b"MAIL FROM:<dave@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n", b"RCPT TO:<nobody@d.example>\r\n", b"DATA\r\n",
    b"BDAT 5\r\n", b"BDAT 7 LAST\r\n", b"BDAT 0 LAST\r\n", b"BDAT 70\r\n", b"RSET\r\n", b"NOOP x\r\n", b"QUIT\r\n",
    b"VRFY c\r\n", b"EXPN c\r\n", b"HELP RCPT\r\n", b"AUTH LOGIN\r\n", b"AUTH PLAIN " + PLAIN + b"\r\n",
    b"AUTH PLAIN\r\n", PLAIN + b"\r\n", b"*\r\n", b"dHVsaXA=\r\n", b"Subject: x\r\n", b".\r\n", b"..\r\n", b"\r\n.\r\n",
    b"\r", b"\n", b".", b"\r\n", b"x" * 50, b"x" * 130, b"\xff\x00", b"\n.\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r",
]  # fmt: skip
GREETED = b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
INPUT = st.builds(
    lambda start, parts: start + b"".join(parts),
    st.sampled_from([b"", GREETED, GREETED + b"DATA\r\n", GREETED + b"BDAT 9\r\n"]),
    st.lists(st.one_of(st.sampled_from(PHRASES), st.binary(max_size=12)), max_size=30),
)
OFFERS = st.sampled_from([SETTINGS, SUBMISSION, replace(SUBMISSION, repair_newlines=True, max_errors=3)])


@settings(max_examples=400, deadline=None)
@given(INPUT, OFFERS, st.data())
@example(GREETED + b"DATA\r\n" + b"x" * 58 + b"\r\n.\r\nQUIT\r\n", SETTINGS, None)
@example(GREETED + b"DATA\r\n..\r\n.\r\nQUIT\r\n", SETTINGS, None)
def test_any_cutting_of_any_input_is_the_same_conversation(data: bytes, offer: ServerSettings, draw) -> None:
    whole = House(offer)
    whole.hear(data)
    if draw is None:
        cuts = list(range(len(data)))
    else:
        cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=12)))
    for places in (cuts, list(range(len(data)))):
        pieces = House(offer)
        for start, end in zip([0, *places], [*places, len(data)], strict=True):
            if end > start:
                pieces.hear(data[start:end])
        assert pieces.happened == whole.happened
        assert pieces.said == whole.said
        assert pieces.ear.lines == whole.ear.lines
        assert pieces.core.state is whole.core.state


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20), st.sampled_from([SETTINGS, SUBMISSION, STARTTLS]))
def test_arbitrary_octets_never_raise_and_are_answered_line_by_line(pieces: list[bytes], offer: ServerSettings) -> None:
    house = House(offer)
    for piece in pieces:
        house.hear(piece)
    assert all(line[:3].isdigit() and line[3:4] in b"- " for line in house.said.split(b"\r\n") if line)
    assert house.said.count(b"\n") == house.said.count(b"\r\n")


def test_a_long_line_costs_no_memory_while_it_comes() -> None:
    house = House()
    for _ in range(100):
        house.hear(b"x" * 1000)
        assert house.core.chat.unread <= SETTINGS.line_limit
    assert (
        house.hear(b"\r\nNOOP\r\n")
        == f"500 5.5.6 Line too long; at most 120 octets [{TAG}]\r\n250 2.0.0 OK\r\n".encode()
    )


def test_a_message_too_large_is_not_handed_out_while_it_comes() -> None:
    house = greeted()
    house.hear(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    for _ in range(100):
        house.hear(b"x" * 50)
    assert len(house.body) <= SETTINGS.max_size
    assert house.hear(b"\r\n.\r\n").startswith(b"552 5.3.4 ")


# --- what is forgotten, and what is left -------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [b"RSET\r\n", b"EHLO again\r\n", b"HELO again\r\n"])
@pytest.mark.parametrize("begun", [b"", b"RCPT TO:<c@d.example>\r\n", b"RCPT TO:<c@d.example>\r\nBDAT 3\r\nabc"])
def test_a_transaction_that_is_ended_leaves_nothing(begun: bytes, ending: bytes) -> None:
    house = greeted()
    house.hear(b"MAIL FROM:<a@b.example> BODY=BINARYMIME\r\n" + begun)
    house.hear(ending)
    assert house.core.envelope is None
    assert house.core.state is State.READY
    assert house.core.in_message is False
    assert b"503 5.5.1 Say MAIL first" in house.hear(b"RCPT TO:<c@d.example>\r\n")
    # and the next one begins with nothing of the last
    house.hear(b"MAIL FROM:<>\r\nRCPT TO:<e@d.example>\r\nDATA\r\nok\r\n.\r\n")
    assert house.happened[-1] == ("BodyEnded", "DATA", 4, b"ok\r\n")


def test_rset_tells_the_session_only_where_there_was_something_to_forget() -> None:
    house = greeted()
    house.hear(b"RSET\r\n")
    assert ("Forgotten", "") not in house.happened
    house.hear(b"MAIL FROM:<>\r\nRSET\r\n")
    assert house.happened.count(("Forgotten", "")) == 1


def test_rset_before_a_greeting_does_not_stand_for_one() -> None:
    house = House()
    assert house.hear(b"RSET\r\nMAIL FROM:<>\r\n").endswith(f"503 5.5.1 Say EHLO or HELO first [{TAG}]\r\n".encode())


def test_a_refused_sender_begins_no_transaction() -> None:
    house = greeted()
    house.hear(b"MAIL FROM:<dave@b.example>\r\n")
    assert house.core.envelope is None
    assert b"503" in house.hear(b"RCPT TO:<c@d.example>\r\n")


def test_a_refused_message_is_over_and_the_next_may_come() -> None:
    house = greeted()
    house.core.receive(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n")
    for reply in (say.SENDER_OK, say.RECIPIENT_OK, say.GO_AHEAD):
        house.core.next_event()
        house.core.answer(reply)
    assert isinstance(house.core.next_event(), events.Body)
    assert isinstance(house.core.next_event(), events.BodyEnded)
    house.core.answer(say.SYSTEM_FULL)
    assert house.core.next_event() is None
    assert house.core.take_output().endswith(f"452 4.3.1 {say.SYSTEM_FULL.text} [{TAG}]\r\n250 2.0.0 OK\r\n".encode())
    assert house.core.state is State.READY


def test_a_pipelined_group_is_answered_in_one_write() -> None:
    house = greeted()
    said = house.hear(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<nobody@d.example>\r\nDATA\r\n")
    assert [line[:3] for line in said.split(b"\r\n")[:-1]] == [b"250", b"250", b"550", b"354"]


def test_after_goodbye_nothing_is_heard() -> None:
    house = greeted()
    house.hear(b"QUIT\r\nNOOP\r\n")
    assert house.hear(b"NOOP\r\n") == b""
    assert house.said.endswith(b"221 2.0.0 Bye\r\n")
    house.core.receive(b"x" * 10_000)
    assert house.core.chat.unread < 100


def test_too_many_errors_close_in_the_middle_of_a_segment() -> None:
    house = greeted(replace(SETTINGS, max_errors=2))
    said = house.hear(b"ONE\r\nTWO\r\nMAIL FROM:<>\r\n")
    assert said.endswith(f"421 4.7.0 Too many errors; closing [{TAG}]\r\n".encode())
    assert said.count(b"\r\n") == 3
    assert house.core.state is State.CLOSED


def test_a_flawed_message_that_is_the_last_straw_ends_the_conversation() -> None:
    house = greeted(replace(SETTINGS, max_errors=1))
    said = house.hear(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\na\nb\r\n.\r\nNOOP\r\n")
    assert said.endswith(f"421 4.7.0 Too many errors; closing [{TAG}]\r\n".encode())
    assert house.core.state is State.CLOSED
    assert house.happened[-1] == ("Forgotten", "")


# --- STARTTLS ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [b"E", b"\r\n", b"EHLO evil\r\n", b"\x16\x03\x01", b"x" * 5000])
def test_octets_behind_the_starttls_line_end_the_conversation(behind: bytes) -> None:
    house = greeted(STARTTLS)
    said = house.hear(b"STARTTLS\r\n" + behind)
    assert said == f"421 4.7.0 Bytes came behind STARTTLS before TLS began; closing [{TAG}]\r\n".encode()
    assert house.core.state is State.CLOSED
    assert house.happened[-1] == ("Left", "")
    assert ("StartTls", "STARTTLS") not in house.happened


@pytest.mark.parametrize("between", [b"E", b"EHLO evil\r\nMAIL FROM:<>\r\n"])
def test_octets_between_the_220_and_tls_end_the_conversation(between: bytes) -> None:
    house = greeted(STARTTLS)
    assert house.hear(b"STARTTLS\r\n") == b"220 2.0.0 Ready to start TLS\r\n"
    assert house.hear(between) == b""
    assert house.core.state is State.CLOSED
    with pytest.raises(AssertionError):
        house.core.secured()


def test_after_starttls_nothing_is_parsed_before_tls() -> None:
    house = greeted(STARTTLS)
    house.hear(b"STARTTLS\r\n")
    assert house.core.next_event() is None
    assert house.core.chat.unread == 0


def test_tls_makes_everything_forgotten() -> None:
    house = greeted(replace(STARTTLS, cleartext_auth=True))
    house.hear(b"AUTH PLAIN " + PLAIN + b"\r\n")
    assert house.core.signed_in
    house.hear(b"STARTTLS\r\n")
    house.core.secured()
    assert (house.core.state, house.core.hello, house.core.extended) == (State.FRESH, "", False)
    assert not house.core.signed_in
    assert house.hear(b"MAIL FROM:<>\r\n") == f"503 5.5.1 Say EHLO or HELO first [{TAG}]\r\n".encode()
    said = house.hear(b"EHLO client.example\r\n")
    assert b"STARTTLS" not in said
    assert b"250-AUTH PLAIN LOGIN\r\n" in said
    assert house.hear(b"STARTTLS\r\n") == f"503 5.5.1 TLS is already on [{TAG}]\r\n".encode()


def test_requiretls_is_offered_and_taken_under_tls_only() -> None:
    """RFC 8689 §2."""
    house = House(STARTTLS)
    assert b"REQUIRETLS" not in house.hear(b"EHLO client.example\r\n")
    assert house.hear(b"MAIL FROM:<a@b.example> REQUIRETLS\r\n").startswith(b"555 5.5.4 ")
    house.hear(b"STARTTLS\r\n")
    house.core.secured()
    assert b"250-REQUIRETLS\r\n" in house.hear(b"EHLO client.example\r\n")
    assert house.hear(b"MAIL FROM:<a@b.example> REQUIRETLS=YES\r\n").startswith(b"501 5.5.4 REQUIRETLS: it takes no")
    house.hear(b"MAIL FROM:<a@b.example>\r\n")
    assert house.core.envelope is not None and not house.core.envelope.requiretls
    house.hear(b"RSET\r\nMAIL FROM:<a@b.example> requiretls SIZE=5\r\n")
    assert house.core.envelope is not None and house.core.envelope.requiretls


def test_auth_is_offered_only_where_it_is_taken() -> None:
    house = House(STARTTLS)
    said = house.hear(b"EHLO client.example\r\n")
    assert b"AUTH" not in said
    assert b"250-STARTTLS\r\n" in said
    assert house.hear(b"AUTH PLAIN " + PLAIN + b"\r\n").startswith(b"538 5.7.11 ")
    assert not any(what[0] == "SignIn" for what in house.happened)


# --- secrets ----------------------------------------------------------------------------------------------------

SECRET = "Zq9~tulip"  # nothing that is said by itself
SPELLINGS = [
    SECRET.encode(),
    base64.b64encode(SECRET.encode()),
    base64.b64encode(f"\0bob\0{SECRET}".encode()),
    base64.b64encode(f"bob\0bob\0{SECRET}".encode()),
]
AUTH_LINES = [
    b"AUTH PLAIN ", b"auth plain ", b"AUTH LOGIN ", b"AUTH  PLAIN ", b"AUTH PLAIN\t", b"AUTH\tPLAIN ", b"AUTH ",
    b"AUTH", b"AUTH=PLAIN ", b" AUTH PLAIN ", b"AUHT PLAIN ", b"ATH ", b"AUTHPLAIN ", b"AUTH XYZ ", b"AUTH CRAM-MD5 ",
    b"PASS ", b"PLAIN ", b"\xffAUTH PLAIN ",
]  # fmt: skip
PLACES = [b"", *AUTH_LINES]


def test_there_is_a_secret_to_be_found() -> None:
    house = greeted(SUBMISSION)
    house.hear(b"NOOP " + SPELLINGS[2] + b"\r\n")
    assert SPELLINGS[2] in house.ear.all


@pytest.mark.parametrize("offer", [SETTINGS, SUBMISSION, STARTTLS], ids=["mx", "submission", "only with TLS"])
@pytest.mark.parametrize("ending", [b"\r\n", b"\n", b"\rx\r\n"], ids=["CRLF", "LF", "CR"])
@pytest.mark.parametrize("line", AUTH_LINES)
@pytest.mark.parametrize("spelling", SPELLINGS[1:])
def test_a_secret_behind_whatever_looks_like_auth_is_not_recorded(line, spelling, ending, offer) -> None:
    house = greeted(offer)
    house.hear(line + spelling + ending)
    assert spelling not in house.ear.all
    assert b"masked" in house.ear.all


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([SUBMISSION, STARTTLS, replace(SUBMISSION, max_errors=3)]),
    st.sampled_from([b"AUTH LOGIN\r\n", b"AUTH PLAIN\r\n", b"AUTH CRAM-MD5\r\n", b"AUTH\r\n", b"AUTH LOGIN !\r\n"]),
    st.lists(
        st.one_of(
            st.builds(
                lambda place, secret, end: place + secret + end,
                st.sampled_from(PLACES),
                st.sampled_from(SPELLINGS),
                st.sampled_from([b"\r\n", b"\n", b"\r\r\n", b" \r\n"]),
            ),
            st.sampled_from([b"*\r\n", b"Ym9i\r\n", b"=\r\n", b"\r\n", b"AUTH LOGIN Ym9i\r\n", b"AUTH PLAIN =\r\n"]),
        ),
        max_size=8,
    ),
)
def test_once_a_sign_in_began_no_form_of_the_password_is_recorded(offer, begin: bytes, lines: list[bytes]) -> None:
    """Until somebody is signed in: whatever the client does with its password, also behind a refusal."""
    house = greeted(offer)
    house.hear(begin + b"".join(lines))
    for spelling in SPELLINGS:
        assert spelling not in house.ear.all


@pytest.mark.parametrize("line", [b"cGFzcw==", b"YWI=", b"dHVsaXA=", b"AGEAYg==", b"dHVsaXAtdHVsaXA", b"AUHT AGEAYg=="])
def test_what_looks_like_a_secret_is_masked_before_any_sign_in(line: bytes) -> None:
    house = greeted()
    house.hear(line + b"\r\n")
    assert line.split()[-1] not in house.ear.all


def test_credentials_do_not_show_their_password() -> None:
    house = greeted(SUBMISSION)
    house.core.receive(b"AUTH PLAIN " + PLAIN + b"\r\n")
    event = house.core.next_event()
    assert isinstance(event, events.SignIn)
    assert "tulip" not in repr(event.question)
    house.core.answer(say.AUTH_OK)


def test_lines_that_are_no_secret_are_recorded_as_they_are() -> None:
    house = greeted(SUBMISSION)
    house.hear(b"REST\r\nMAIL FROM:<dave@b.example> SIZE=12345678\r\nAUTH LOGIN\r\n*\r\nNOOP abcdefghijkl\r\n")
    heard = [line for line in house.ear.lines if line.startswith(b"C: ")][1:]
    assert heard == [
        b"C: REST", b"C: MAIL FROM:<dave@b.example> SIZE=12345678", b"C: AUTH LOGIN", b"C: *", b"C: NOOP abcdefghijkl",
    ]  # fmt: skip
