"""A talk as a script: which line is sent, awaited, made up, or left out; and when two answers are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from glasspost.protocol.comparison import How, difference
from glasspost.protocol.talk import Line, parse_talk
from glasspost.protocol.talk_script import Fill, Hear, Say, Script, Secret, read_script

TALKS = sorted((Path(__file__).parent.parent / "talks").glob("*.talk"))

ENVELOPE = """\
S: 220 mail.example.org ESMTP
C: EHLO me.example
S: 250-mail.example.org
S: 250 SIZE 1000
C: MAIL FROM:<a@b.example>{size}
S: 250 ok
C: RCPT TO:<c@d.example>
S: 250 ok
C: DATA
S: 354 go
"""


def script_of(text: str) -> Script:
    return read_script(parse_talk(text))


def fills(text: str) -> list[Fill]:
    return [move for move in script_of(text).moves if isinstance(move, Fill)]


def secrets(text: str) -> list[Secret]:
    return [move.secret for move in script_of(text).moves if isinstance(move, Say) and move.secret is not Secret.NONE]


@pytest.mark.parametrize("path", TALKS, ids=[path.stem for path in TALKS])
def test_every_talk_of_the_tests_is_a_script_that_needs_nothing_made_up(path: Path) -> None:
    lines = parse_talk(path.read_text("utf-8"))
    script = read_script(lines)
    assert not [move for move in script.moves if isinstance(move, Fill)]
    assert not script.needs_secret
    assert [move.octets for move in script.moves if isinstance(move, Say)] == [
        line.octets for line in lines if line.who == "C"
    ]
    heard = [line for move in script.moves if isinstance(move, Hear) for line in move.lines]
    assert heard == [line.octets for line in lines if line.who == "S"]


# --- bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "notes", "made"),
    [
        (" SIZE=117", "# safe on disk as q02k353f7kn0: 258 octets, 1 into mailboxes, 0 queued", (117, True)),
        ("", "# safe on disk as q02k353f7kn0: 258 octets, 1 into mailboxes, 0 queued", (258, False)),
        ("", "# 0.500: message: 99 octets", (0, False)),  # a note from somewhere else
        ("", "", (0, False)),
    ],
)
def test_a_message_that_was_not_kept_is_made_up_in_its_size(size: str, notes: str, made: tuple[int, bool]) -> None:
    fill = fills(ENVELOPE.format(size=size) + f"{notes}\nS: 250 ok\nC: QUIT\nS: 221 bye")
    assert [(one.size, one.sure, one.chunk) for one in fill] == [(*made, False)]


def test_a_message_of_ours_on_its_way_out_has_its_exact_size() -> None:
    talk = """\
# q02k353f7kn0, 258 octets, recipients: 1
S: 220 next.example.net
C: EHLO mail.example.org
S: 250 PIPELINING
# q02k353f7kn0, 258 octets, recipients: 1
C: MAIL FROM:<a@b.example>
C: RCPT TO:<c@d.example>
C: DATA
S: 250 ok
S: 250 ok
S: 354 go
S: 250 stored
C: QUIT
S: 221 bye
"""
    script = script_of(talk)
    fill = next(at for at, move in enumerate(script.moves) if isinstance(move, Fill))
    before, after = script.moves[fill - 1], script.moves[fill + 1]
    assert script.moves[fill] == Fill(11, 258, True, False)
    assert isinstance(before, Hear)
    assert isinstance(after, Hear)
    assert (before.verb, after.asked, after.lines) == ("DATA", b".", [b"250 stored"])


def test_a_message_in_the_talk_is_sent_as_it_stands() -> None:
    talk = ENVELOPE.format(size="") + "C: Subject: x\nC:\nC: ..dot\nC: .\nS: 250 ok\nC: QUIT\nS: 221 bye"
    assert not fills(talk)
    hear = [move for move in script_of(talk).moves if isinstance(move, Hear)]
    assert [one.asked for one in hear[-2:]] == [b".", b"QUIT"]


def test_chunks_are_made_up_where_the_octets_behind_them_are_not_just_as_many() -> None:
    head = "S: 220 x\nC: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<a@b.example>\nS: 250 ok\n"
    assert [one.size for one in fills(head + "C: BDAT 70000\nC: BDAT 12 LAST\nS: 250 ok\nS: 250 ok")] == [70000, 12]
    assert not fills(head + "C: BDAT 5 LAST\nC: one\nS: 250 ok")
    assert not fills(head + "C: BDAT 3 LAST\nC: one\n# no line end\nS: 250 ok")


# --- secrets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("C: AUTH PLAIN [masked]\nS: 235 ok", [Secret.PLAIN]),
        ("C: AUTH PLAIN\nS: 334\nC: [masked]\nS: 235 ok", [Secret.PLAIN]),
        ("C: AUTH LOGIN\nS: 334 x\nC: [masked]\nS: 334 y\nC: [masked]\nS: 235 ok", [Secret.USER, Secret.PASSWORD]),
        ("C: auth login [masked]\nS: 334 y\nC: [masked]\nS: 235 ok", [Secret.USER, Secret.PASSWORD]),
        ("C: AUTH LOGIN\nS: 334 x\nC: *\nS: 501 ok", []),
        ("C: AUTH XOAUTH2 [masked]\nS: 235 ok", [Secret.UNKNOWN]),
        ("C: [masked]\nS: 500 what", [Secret.UNKNOWN]),
    ],
)
def test_what_stands_behind_a_mask(lines: str, expected: list[Secret]) -> None:
    assert secrets(f"S: 220 x\n{lines}\nC: QUIT\nS: 221 bye") == expected


def test_a_sign_in_without_its_password_is_left_out_whole_and_nothing_else_is() -> None:
    script = script_of(
        "S: 220 x\nC: AUTH LOGIN\nS: 334 x\nC: [masked]\nS: 334 y\nC: [masked]\nS: 235 ok\nC: QUIT\nS: 221"
    )
    left = script.unplayable(secret_known=False)
    kept = [move for move in script.moves if not (move.exchange and move.exchange in left)]
    assert [move.octets if isinstance(move, Say) else move.lines for move in kept if not isinstance(move, Fill)] == [
        [b"220 x"],
        b"QUIT",
        [b"221"],
    ]
    assert not script.unplayable(secret_known=True)


def test_who_signed_in_stands_in_a_note() -> None:
    note = "# signed in as bob@example.org; messages: 3"
    talk = f"S: +OK\nC: USER bob\nS: +OK\nC: PASS [masked]\nS: +OK\n{note}\nC: QUIT\nS: +OK"
    assert script_of(talk).users == ["bob@example.org"]
    assert secrets(talk) == [Secret.CLEAR]


# --- answers of several lines --------------------------------------------------------------------------------


def test_a_listing_of_pop3_belongs_to_its_answer_and_a_message_need_not() -> None:
    head = "S: +OK\nC: USER bob\nS: +OK\nC: PASS x\nS: +OK\n"
    moves = script_of(
        head + "C: LIST\nS: +OK 2\nS: 1 10\nS: 2 20\nS: .\nC: RETR 1\nS: +OK 10 octets\nC: QUIT\nS: +OK bye"
    ).moves
    heard = [(move.verb, len(move.lines), move.whole) for move in moves if isinstance(move, Hear)]
    assert heard[-3:] == [("LIST", 4, True), ("RETR", 1, False), ("QUIT", 1, True)]


def test_a_talk_in_which_nobody_answers_is_no_script() -> None:
    with pytest.raises(ValueError, match="both sides"):
        script_of("C: EHLO x")
    with pytest.raises(ValueError, match="both sides"):
        read_script([Line("#", b"nothing")])


# --- when answers are the same -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "said", "same"),
    [
        ("250 OK", "250 OK", "codes text exact"),
        ("250 OK", "250 Fine", "codes"),
        ("250 OK", "251 OK", ""),
        ("250 ...", "250 whatever", "codes text"),
        ("250 a...z", "250 a to z", "codes text"),
        ("250 a...z", "250 a to y", "codes"),
        ("250 1+1 (x) [y]", "250 1+1 (x) [y]", "codes text exact"),
        ("250 Safe on disk as q02k3bjwtgjm", "250 Safe on disk as q02k3bk00aaa", "codes text"),
        ("550 no [c02k3bjwtgjm]", "550 no [c02k3bk00aaa]", "codes text"),
        ("250 Ok: queued as 4XYZ", "250 Ok: queued as 5ABCD", "codes text"),
        ("250 OK id=1abc-000-XY", "250 OK id=1abd-001-ZZ", "codes text"),
        ("220 x ESMTP Mon, 23 Nov 2026 13:56:29 +0000", "220 x ESMTP Tue, 24 Nov 2026 01:00:00 +0100", "codes text"),
        ("+OK ready <12.34@mail.example.org>", "+OK ready <56.78@mail.example.org>", "codes text"),
        ("+OK", "-ERR", ""),
        ("HTTP/1.1 400", "HTTP/1.1 400", "codes text exact"),
        ("HTTP/1.1 400", "nonsense", ""),
    ],
)
def test_what_counts_as_the_same(expected: str, said: str, same: str) -> None:
    for word, how in (("codes", How.CODES), ("text", How.TEXT), ("exact", How.EXACT)):
        assert (difference([expected.encode()], [said.encode()], how) is None) == (word in same.split()), how


def test_the_first_line_that_differs_is_named() -> None:
    hello = [b"250-mail", b"250-SIZE 1", b"250 HELP"]
    found = difference(hello, [b"250-mail", b"250 HELP"], How.TEXT)
    assert found is not None
    assert (found.line, found.expected, found.said) == (1, "250-SIZE 1", "250 HELP")
    missing = difference(hello[:2], hello, How.TEXT)
    assert missing is not None
    assert (missing.line, missing.expected, missing.said) == (2, "", "250 HELP")
    assert difference(hello, [b"250 mail"], How.CODES) is None
    assert difference([b"+OK 1"], [b"+OK 1", b"text", b"."], How.TEXT, whole=False) is None
