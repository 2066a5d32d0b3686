"""The table of SMTP: every verb in every state, and the core does what the table says."""

from __future__ import annotations

import re

import pytest

from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.protocol import smtp_events as events
from glasspost.protocol.chat import Silence
from glasspost.protocol.smtp_offer import ServerSettings
from glasspost.protocol.smtp_server import SmtpServer
from glasspost.protocol.smtp_table import TABLE, State, advice, help_overview, help_page, nearest

OFFER = ServerSettings(
    "mail.example.test",
    tls_available=True,
    mechanisms=("PLAIN", "LOGIN"),
    cleartext_auth=True,
    max_errors=1000,
    xclient=True,
)

LMTP = ServerSettings("mail.example.test", max_errors=1000, lmtp=True)

# How a client comes to each state in which it may say a verb.
WAYS = {
    State.FRESH: b"",
    State.READY: b"EHLO client.example\r\n",
    State.SENDER: b"EHLO client.example\r\nMAIL FROM:<>\r\n",
    State.RECIPIENTS: b"EHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n",
    State.CHUNKS: b"EHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nBDAT 2\r\nhi",
}
# Each verb as it is right; every test says it in every state.
RIGHT = {
    "EHLO": b"EHLO client.example", "HELO": b"HELO client.example", "LHLO": b"LHLO client.example",
    "MAIL": b"MAIL FROM:<a@b.example>",
    "RCPT": b"RCPT TO:<c@d.example>", "DATA": b"DATA", "BDAT": b"BDAT 0", "RSET": b"RSET", "NOOP": b"NOOP",
    "QUIT": b"QUIT", "VRFY": b"VRFY a", "EXPN": b"EXPN a", "HELP": b"HELP", "STARTTLS": b"STARTTLS",
    "AUTH": b"AUTH PLAIN AGEAYg==", "XCLIENT": b"XCLIENT ADDR=192.0.2.7",
}  # fmt: skip
YES: dict[str, Reply] = {
    "EHLO": say.HELLO.saying(hostname="h", client="c"), "HELO": say.HELLO.saying(hostname="h", client="c"),
    "LHLO": say.HELLO.saying(hostname="h", client="c"),
    "MAIL": say.SENDER_OK, "RCPT": say.RECIPIENT_OK, "DATA": say.GO_AHEAD, "VRFY": say.VERIFY_NOT_SAID,
    "EXPN": say.EXPANDED.saying(members="<a@b.example>"), "STARTTLS": say.TLS_READY, "AUTH": say.AUTH_OK,
    "XCLIENT": OFFER.greeting,
}  # fmt: skip
NO: dict[str, Reply] = {
    "EHLO": say.LOCAL_ERROR, "HELO": say.LOCAL_ERROR, "LHLO": say.LOCAL_ERROR,
    "MAIL": say.AUTH_REQUIRED, "RCPT": say.NO_SUCH_USER,
    "DATA": say.LOCAL_ERROR, "VRFY": say.NO_SUCH_USER, "EXPN": say.EXPAND_NOT_SAID, "STARTTLS": say.TLS_NOT_AVAILABLE,
    "AUTH": say.AUTH_FAILED, "XCLIENT": say.XCLIENT_NOBODY,
}  # fmt: skip


def run(core: SmtpServer, data: bytes, answers: dict[str, Reply]) -> tuple[list[events.Event], str]:
    """Give the core these octets and answers; returns what it asked or told, and said."""
    core.receive(data)
    happened = []
    while (event := core.next_event()) is not None:
        happened.append(event)
        if core.owed is not None:
            core.answer(answers[event.verb])
    return happened, core.take_output().decode()


def core_in(state: State, verb: str = "") -> SmtpServer:
    """A conversation in this state, with a listener that offers the verb."""
    lmtp = verb == "LHLO"
    core = SmtpServer(LMTP if lmtp else OFFER, Silence(), "c1")
    run(core, WAYS[state].replace(b"EHLO", b"LHLO") if lmtp else WAYS[state], YES)
    assert core.state is state
    return core


EVERYWHERE = [
    (state, verb) for state in WAYS for verb in TABLE
    if (state, verb) != (State.CHUNKS, "LHLO")  # where there is the one, there is not the other
]  # fmt: skip


def test_the_sweep_leaves_nothing_out() -> None:
    assert RIGHT.keys() == TABLE.keys()
    assert WAYS.keys() | {State.BODY, State.SIGNING_IN, State.CLOSED} == set(State)
    assert YES.keys() == NO.keys() == {row.verb for row in TABLE.values() if row.asks} - {"BDAT"}


@pytest.mark.parametrize(("state", "verb"), EVERYWHERE, ids=lambda one: getattr(one, "name", one))
def test_every_verb_in_every_state_accepted(state: State, verb: str) -> None:
    """Where the table lets it come, it is asked about where the table says so, and leads where the table says."""
    core = core_in(state, verb)
    row = TABLE[verb]
    happened, said = run(core, RIGHT[verb] + b"\r\n", YES)
    if state not in row.states:
        assert not happened, "nobody is asked about what may not come"
        assert re.fullmatch(r"503 5\.5\.1 .* \[c1\]\r\n", said)
        assert core.state is state
        return
    assert said[0] in "23"
    asked = [event for event in happened if event.verb]
    if verb != "BDAT":  # asks behind its last chunk, not at the command
        assert [event.verb for event in asked] == ([verb] if row.asks else [])
    expected = row.then or state
    if verb == "RSET" and state is not State.FRESH:
        expected = State.READY  # there is no transaction any more, but the greeting stands
    if verb == "STARTTLS":
        core.secured()
    if verb == "XCLIENT":
        assert said == "220 mail.example.test ESMTP glasspost\r\n"
    assert core.state is expected


@pytest.mark.parametrize(
    ("state", "verb"), [(s, v) for s, v in EVERYWHERE if v in NO and s in TABLE[v].states],
    ids=lambda one: getattr(one, "name", one),
)  # fmt: skip
def test_every_verb_in_every_state_refused(state: State, verb: str) -> None:
    """A refusal never changes the state, and carries the conversation's id."""
    core = core_in(state, verb)
    _, said = run(core, RIGHT[verb] + b"\r\n", NO)
    assert said.endswith("[c1]\r\n")
    assert core.state is state


@pytest.mark.parametrize(("state", "verb"), EVERYWHERE, ids=lambda one: getattr(one, "name", one))
def test_an_argument_that_is_wrong_changes_nothing(state: State, verb: str) -> None:
    wrong = {
        "EHLO": b"",
        "HELO": b"",
        "LHLO": b"",
        "NOOP": None,
        "HELP": b" nonsense",
        "VRFY": b"",
        "EXPN": b"",
        "AUTH": b"",
    }
    argument = wrong.get(verb, b" <nonsense")
    if argument is None:
        return
    core = core_in(state, verb)
    happened, said = run(core, verb.encode() + argument + b"\r\n", {})
    assert not happened
    assert said[0] == "5"
    assert core.state is state


@pytest.mark.parametrize("verb", TABLE)
def test_in_a_body_no_verb_is_one(verb: str) -> None:
    core = core_in(State.RECIPIENTS)
    run(core, b"DATA\r\n", YES)
    assert core.state is State.BODY
    happened, said = run(core, RIGHT[verb] + b"\r\n", {})
    assert (b"".join(event.data for event in happened if isinstance(event, events.Body)), said) == (RIGHT[verb], "")


@pytest.mark.parametrize("verb", TABLE)
def test_in_a_sign_in_no_verb_is_one(verb: str) -> None:
    core = core_in(State.READY)
    run(core, b"AUTH LOGIN\r\n", {})
    assert core.state is State.SIGNING_IN
    happened, said = run(core, RIGHT[verb] + b"\r\n", {})
    assert not happened
    # RSET, QUIT and the like are base64, too
    assert said.startswith(("501 5.5.2 ", "334 UGFzc3dvcmQ6", "535 5.7.8 "))


@pytest.mark.parametrize("verb", TABLE)
def test_behind_goodbye_no_verb_is_heard(verb: str) -> None:
    core = core_in(State.READY)
    run(core, b"QUIT\r\n", {})
    assert core.state is State.CLOSED
    assert run(core, RIGHT[verb] + b"\r\n", {}) == ([], "")


# --- the page ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.verb)
def test_a_row_says_what_it_is_and_where_that_is_written(row) -> None:
    written = r"Postfix XCLIENT_README" if row.verb == "XCLIENT" else r"RFC \d{4} §\d+(\.\d+)*"
    assert re.fullmatch(written, row.section)
    assert row.syntax.split()[0] == row.verb
    assert row.purpose and row.purpose[0].islower() and not row.purpose.endswith(".")
    assert row.states
    assert not row.states & {State.BODY, State.SIGNING_IN, State.CLOSED}


def test_help_lists_every_verb_on_a_line_of_its_own() -> None:
    lines = help_overview(lambda verb: True).split("\n")[1:-1]
    assert [line.split()[0] for line in lines] == list(TABLE)


@pytest.mark.parametrize("verb", TABLE)
def test_every_verb_has_its_page(verb: str) -> None:
    page = help_page(verb).split("\n")
    assert page[0] == TABLE[verb].syntax
    assert page[-1].startswith("(Postfix " if verb == "XCLIENT" else "(RFC ")
    assert all(len(line) < 100 and line.isascii() for line in page)  # with 214-2.0.0 within RFC 5321 §4.5.3.1.5


@pytest.mark.parametrize(
    ("state", "verb"), [(s, v) for s, v in EVERYWHERE if s not in TABLE[v].states],
    ids=lambda one: getattr(one, "name", one),
)  # fmt: skip
def test_advice_names_a_command_that_may_come(state: State, verb: str) -> None:
    """Whoever does as he is told gets further."""
    text = advice(verb, state)
    named = [word.strip(";,") for word in text.split() if word.strip(";,") in TABLE and word.strip(";,") != verb]
    if text.startswith("This message is being sent with BDAT"):
        named = ["BDAT", "RSET"]
    assert named
    assert state in TABLE[named[0]].states


@pytest.mark.parametrize(
    ("word", "verb"),
    [("REST", "RSET"), ("rest", "RSET"), ("HELLO", "HELO"), ("MIAL", "MAIL"), ("QUTI", "QUIT"),
     ("STARTTLSS", "STARTTLS"), ("RCTP", "RCPT"), ("X" * 100_000, ""), ("", ""), ("GET", ""), ("Subject:", "")],
)  # fmt: skip
def test_a_slip_leads_to_the_verb_that_was_meant(word: str, verb: str) -> None:
    assert nearest(TABLE, word) == verb
