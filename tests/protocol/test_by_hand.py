"""A conversation led by hand: what goes out, what is understood of what comes in, and what nobody may ever see."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.protocol.by_hand import LINE_LIMIT, Answered, ByHand, Crossed, Event, NotNow, ServerLine, TlsDue, WentOn
from glasspost.protocol.smtp_course import SmtpCourse
from glasspost.protocol.smtp_replies import NOTHING_OFFERED
from glasspost.protocol.smtp_table import TABLE, State
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, Line, print_talk

GREETING = b"220 mail.example.org\r\n"
HELLO = b"250-mail.example.org\r\n250-STARTTLS\r\n250-CHUNKING\r\n250-XCLIENT ADDR\r\n250 AUTH PLAIN LOGIN\r\n"


class Record:
    def __init__(self) -> None:
        self.lines: list[Line] = []

    def heard(self, line: bytes) -> None:
        self.lines.append(Line(SERVER, line))

    def said(self, text: bytes) -> None:
        self.lines.append(Line(CLIENT, text.removesuffix(b"\r\n")))

    def note(self, text: str) -> None:
        self.lines.append(Line(NOTE, text.encode()))

    @property
    def text(self) -> str:
        return print_talk(self.lines)


class Table:
    """One end of a conversation: `hears` feeds the server's octets, `says` types a line."""

    def __init__(self, greeting: bytes = GREETING) -> None:
        self.record = Record()
        self.hand = ByHand(self.record)
        self.hears(greeting)

    def hears(self, data: bytes) -> list[Event]:
        self.hand.receive(data)
        events = []
        while (event := self.hand.next_event()) is not None:
            events.append(event)
        return events

    def says(self, line: bytes, **how: bool) -> bytes:
        self.hand.say(line, **how)
        return self.hand.take_output()

    @property
    def smtp(self) -> SmtpCourse:
        assert isinstance(self.hand.course, SmtpCourse)
        return self.hand.course

    def greeted(self) -> Table:
        self.says(b"EHLO me.example")
        self.hears(HELLO)
        return self

    def in_message(self) -> Table:
        self.greeted()
        for line, reply in ((b"MAIL FROM:<>", b"250"), (b"RCPT TO:<a@b.example>", b"250"), (b"DATA", b"354")):
            self.says(line)
            self.hears(reply + b" ok\r\n")
        return self


# --- what goes out -------------------------------------------------------------------------------------------


def test_a_line_goes_out_with_its_crlf() -> None:
    assert Table().says(b"EHLO me.example") == b"EHLO me.example\r\n"


def test_a_dot_gets_another_one_within_a_message_and_the_lone_one_ends_it() -> None:
    table = Table().in_message()
    assert [table.says(line) for line in (b"a", b".b", b"..", b".")] == [b"a\r\n", b"..b\r\n", b"...\r\n", b".\r\n"]
    assert table.smtp.state is State.READY
    assert table.says(b".x") == b".x\r\n"


def test_a_chunk_is_as_long_as_it_was_announced() -> None:
    table = Table().greeted()
    assert table.says(b"BDAT 7 LAST") == b"BDAT 7 LAST\r\n"
    assert table.says(b"ab") == b"ab\r\n"
    assert table.smtp.chunk_left == 3
    assert table.says(b"cdefg") == b"cde"
    assert table.says(b"NOOP") == b"NOOP\r\n"
    assert table.record.text.endswith("C: BDAT 7 LAST\nC: ab\nC: cde\n# no line end\nC: NOOP\n")


# --- TLS -----------------------------------------------------------------------------------------------------


def test_nothing_is_said_until_starttls_is_answered() -> None:
    table = Table().greeted()
    table.says(b"STARTTLS")
    with pytest.raises(NotNow):
        table.says(b"EHLO me.example")
    events = table.hears(b"220 go\r\n")
    assert isinstance(events[-1], TlsDue)
    with pytest.raises(NotNow):
        table.says(b"EHLO me.example")
    table.hand.secured()
    assert table.smtp.state is State.FRESH
    assert not table.smtp.keywords
    assert table.says(b"EHLO me.example")


@pytest.mark.parametrize("behind", [b"250 injected\r\n", b"2"])
def test_octets_behind_the_yes_to_tls_never_cross(behind: bytes) -> None:
    table = Table().greeted()
    table.says(b"STARTTLS")
    events = table.hears(b"220 go\r\n" + behind)
    assert events[-1] == Crossed(len(behind))
    assert not table.hears(b"")


def test_a_no_to_tls_changes_nothing() -> None:
    table = Table().greeted()
    table.says(b"STARTTLS")
    table.hears(b"454 not now\r\n250 late\r\n")
    assert table.smtp.state is State.READY
    assert table.says(b"NOOP")


# --- secrets -------------------------------------------------------------------------------------------------

SECRET = b"tulip-secret-7"
FORMS = (SECRET, base64.b64encode(SECRET), base64.b64encode(b"\0bob\0" + SECRET))


def public_parts(table: Table, events: list[Event]) -> bytes:
    shown = [event.octets for event in events if isinstance(event, (ServerLine, WentOn))]
    told = [line for event in events if isinstance(event, Answered) for line in event.answer.lines]
    return b"\n".join([table.record.text.encode(), *shown, *told])


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_sign_in_is_masked_even_where_the_server_repeats_it(mechanism: str) -> None:
    table = Table().greeted()
    table.hand.sign_in(mechanism, "bob", SECRET.decode())
    sent = table.hand.take_output()
    events: list[Event] = []
    for reply in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n") if mechanism == "LOGIN" else ():
        events += table.hears(reply)
        sent += table.hand.take_output()
    events += table.hears(b"535 5.7.8 not " + b" nor ".join(FORMS) + b"\r\n")
    assert any(form in sent for form in FORMS)
    assert not any(form in public_parts(table, events) for form in FORMS)
    assert b"535 5.7.8 not [masked] nor" in public_parts(table, events)
    assert table.smtp.state is State.READY


def test_a_server_that_asks_for_more_than_there_is_gets_a_star() -> None:
    table = Table().greeted()
    table.hand.sign_in("PLAIN", "bob", "secret")
    table.hand.take_output()
    table.hears(b"334 \r\n")
    assert table.hand.take_output() == b"*\r\n"
    table.hears(b"501 cancelled\r\n")
    assert table.says(b"NOOP") == b"NOOP\r\n"


def test_a_long_response_has_a_line_of_its_own() -> None:
    table = Table().greeted()
    table.hand.sign_in("PLAIN", "bob", "x" * 500)
    assert table.hand.take_output() == b"AUTH PLAIN\r\n"
    table.hears(b"334 \r\n")
    assert len(table.hand.take_output()) > 500


def test_user_and_pass_of_pop3() -> None:
    table = Table(b"+OK pop\r\n")
    table.hand.sign_in("USER", "bob", SECRET.decode())
    assert table.hand.take_output() == b"USER bob\r\n"
    events = table.hears(b"+OK\r\n")
    assert table.hand.take_output() == b"PASS " + SECRET + b"\r\n"
    events += table.hears(b"-ERR " + SECRET + b"\r\n")
    assert SECRET not in public_parts(table, events)


@pytest.mark.parametrize("typed", [b"AUTH PLAIN " + FORMS[2], b"AUTH LOGIN\r\n" + FORMS[1]])
def test_what_a_person_types_openly_is_masked_in_the_record(typed: bytes) -> None:
    table = Table().greeted()
    for line in typed.split(b"\r\n"):
        table.says(line)
        table.hears(b"334 UGFzc3dvcmQ6\r\n")
    assert not any(form.decode() in table.record.text for form in FORMS)


# --- what comes in -------------------------------------------------------------------------------------------


def test_the_greeting_tells_the_protocol() -> None:
    assert not Table().hand.course.pop3
    assert Table(b"+OK ready\r\n").hand.course.pop3


def test_a_line_of_100_kilobytes_is_counted_not_kept() -> None:
    table = Table(b"")
    for _ in range(100):
        table.hears(b"a" * 1000)
    events = table.hears(b"\r\n")
    line = events[0]
    assert isinstance(line, ServerLine)
    assert len(line.octets) == LINE_LIMIT
    assert line.fault == f"and {100_000 - LINE_LIMIT} octets more"
    assert isinstance(events[1], Answered)
    assert not events[1].answer.code


def test_lf_alone_ends_a_line_but_is_called_wrong() -> None:
    line = Table(b"").hears(b"220 hi\n")[0]
    assert isinstance(line, ServerLine)
    assert "LF alone" in line.fault


def test_nonsense_is_an_answer_without_a_code() -> None:
    table = Table(b"")
    events = table.hears(b"HTTP/1.1 400 Bad Request\r\n")
    assert isinstance(events[1], Answered)
    assert events[1].answer.code == ""
    assert not events[1].answer.positive
    assert table.hand.course.owed == 0


def test_an_answer_without_an_end_is_bounded() -> None:
    table = Table(b"")
    table.hears(b"220-line\r\n" * 5000)
    events = table.hears(b"220 end\r\n")
    assert isinstance(events[-1], Answered)
    assert events[-1].answer.count == 5001
    assert len(events[-1].answer.lines) == 512


def test_421_ends_the_conversation_at_any_point() -> None:
    table = Table().greeted()
    table.hears(b"421 too slow\r\n")
    assert table.smtp.over
    assert table.smtp.warning(b"NOOP")


def test_a_fetched_message_is_shown_and_not_recorded() -> None:
    table = Table(b"+OK pop\r\n")
    for line, reply in ((b"USER bob", b"+OK\r\n"), (b"PASS x", b"+OK\r\n")):
        table.says(line)
        table.hears(reply)
    table.says(b"RETR 1")
    events = table.hears(b"+OK 9 octets\r\nSubject: x\r\n\r\n..y\r\n.\r\n")
    assert [event.octets for event in events if isinstance(event, ServerLine) and event.body] == [
        b"Subject: x",
        b"",
        b"..y",
        b".",
    ]
    assert "Subject" not in table.record.text


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(1, 9))
def test_any_octets_are_taken_calmly_and_however_they_are_cut(pieces: list[bytes], size: int) -> None:
    data = b"\r\n".join(pieces) + b"\r\n"
    whole, cut = Table(b""), Table(b"")
    events = whole.hears(data)
    slowly = [event for at in range(0, len(data), size) for event in cut.hears(data[at : at + size])]
    assert slowly == events
    assert cut.record.text == whole.record.text


# --- what may be said ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in State if state not in (State.BODY, State.SIGNING_IN)])
@pytest.mark.parametrize("verb", [verb for verb in TABLE if verb != "LHLO"])  # LMTP has ports of its own
def test_what_is_legal_is_what_the_table_says(state: State, verb: str) -> None:
    table = Table().greeted()
    table.smtp.state = state
    legal = verb in {row.verb for row in table.smtp.legal()}
    assert legal == (state in TABLE[verb].states)
    refused = "cannot come now" in table.smtp.warning(verb.encode()) or state is State.CLOSED
    assert refused == (state not in TABLE[verb].states)


def test_what_only_proxies_may_say_is_hinted_at_only_where_it_is_offered() -> None:
    stranger = Table().greeted()
    stranger.smtp.offered = NOTHING_OFFERED
    assert "XCLIENT" not in {row.verb for row in stranger.smtp.legal()}
    assert "XCLIENT is for proxies" in stranger.smtp.warning(b"XCLIENT ADDR=192.0.2.1")


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        (b"MALI FROM:<a@b.example>", "MALI is no command of SMTP. Did you mean MAIL?"),
        (b"MAIL FROM:a@b.example", "it must stand in angle brackets"),
        (b"MAIL TO:<a@b.example>", "FROM:<address>"),
        (b"EHLO", "EHLO domain"),
        (b"DATA now", "DATA cannot come now"),
        (b"AUTH CRAM-MD5", "This server offers AUTH PLAIN LOGIN."),
        (b"MAIL FROM:<a@b.example> SIZE=many", "it must be a number of octets"),
        ("NOOP grüß".encode(), "SMTPUTF8"),
        (b"NOOP " + b"x" * 600, "at most 512 octets"),
        (b"MAIL FROM:<a@b.example>", ""),
        (b"NOOP", ""),
    ],
)
def test_a_warning_says_what_is_wrong(line: bytes, warning: str) -> None:
    said = Table().greeted().smtp.warning(line)
    assert warning in said
    assert bool(warning) == bool(said)


def test_what_is_not_offered_is_not_legal_and_warned_about() -> None:
    table = Table()
    table.says(b"EHLO me.example")
    table.hears(b"250 mail.example.org\r\n")
    assert {"STARTTLS", "AUTH", "BDAT"}.isdisjoint(row.verb for row in table.smtp.legal())
    assert "does not stand in the reply to EHLO" in table.smtp.warning(b"STARTTLS")


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        (b"STAT", "Sign in first"),
        (b"USER", "It is written: USER name."),
        (b"PASSS x", "Did you mean PASS?"),
        (b"PASS a b c", ""),
        (b"UTF8", "does not stand in the answer to CAPA"),
    ],
)
def test_warnings_of_pop3(line: bytes, warning: str) -> None:
    table = Table(b"+OK pop\r\n")
    table.says(b"CAPA")
    table.hears(b"+OK\r\nUSER\r\nSTLS\r\n.\r\n")
    said = table.hand.course.warning(line)
    assert warning in said
    assert bool(warning) == bool(said)
