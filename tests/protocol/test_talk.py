"""The talk: what it looks like, and that nothing is lost or made up on the way through it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.protocol.talk import Line, TalkError, parse_talk, print_talk

TALKS = sorted((Path(__file__).parent.parent / "talks").glob("*.talk"))
MOMENTS = st.none() | st.integers(0, 10_000_000).map(lambda milliseconds: milliseconds / 1000)
OCTETS = (
    st.binary(max_size=40)
    | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.sampled_from([b"0.012: x", b"1.000:", b" ", b"\\x41", b"C: x", b"# x", b"a\r\nb", b"0.012:x", b"  x  "])
)
LINES = st.lists(st.builds(Line, st.sampled_from(["C", "S", "#"]), OCTETS, MOMENTS), max_size=8)


@given(LINES)
def test_what_is_printed_is_read_back_to_the_very_octets(lines: list[Line]) -> None:
    assert parse_talk(print_talk(lines, times=True)) == lines
    assert parse_talk(print_talk(lines)) == [Line(line.who, line.octets) for line in lines]


@given(LINES)
def test_a_talk_is_one_shown_line_for_each_line(lines: list[Line]) -> None:
    talk = print_talk(lines, times=True)
    assert talk.count("\n") == len(lines) == len(talk.splitlines())
    assert all(line.isprintable() and not line.endswith(" ") for line in talk.splitlines())


@given(st.text(alphabet="CS#: .0123\\x4\n", max_size=60))
def test_any_text_is_read_or_refused_and_reading_is_stable(text: str) -> None:
    try:
        lines = parse_talk(text)
    except TalkError:
        return
    assert parse_talk(print_talk(lines, times=True)) == lines


@given(LINES)
def test_what_was_printed_is_printed_again_to_the_letter(lines: list[Line]) -> None:
    for times in (False, True):
        talk = print_talk(lines, times=times)
        assert print_talk(parse_talk(talk), times=True) == talk


@pytest.mark.parametrize("path", TALKS, ids=[path.stem for path in TALKS])
def test_the_talks_of_the_tests_are_printed_as_they_were_written(path: Path) -> None:
    talk = path.read_text("utf-8").replace("\\x2e", ".")  # somebody wrote a dot in the long way, to make it seen
    assert print_talk(parse_talk(talk), times=True) == talk


def test_a_talk_as_a_person_writes_it() -> None:
    lines = parse_talk(
        "# a greeting\nS: 220 mail.example.org\n\nC 1.250: EHLO x\r\n"
        "C:NOOP\nC:\n#\n# 0.500: queued\nS: gr\u00fc\\xff\\\\\n"
    )
    assert lines == [
        Line("#", b"a greeting"),
        Line("S", b"220 mail.example.org"),
        Line("C", b"EHLO x", 1.25),
        Line("C", b"NOOP"),
        Line("C", b""),
        Line("#", b""),
        Line("#", b"queued", 0.5),
        Line("S", "gr\u00fc".encode() + b"\xff\\"),
    ]


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"MAIL FROM:<a@b.test>", "MAIL FROM:<a@b.test>"),
        ("gr\u00fc\u00df".encode(), "gr\u00fc\u00df"),
        (b"gr\xfc", r"gr\xfc"),
        (b"a\x00\x1b[31m\r", r"a\x00\x1b[31m\x0d"),
        ("\u202e\u2028\x85".encode(), r"\xe2\x80\xae\xe2\x80\xa8\xc2\x85"),
        (b"\\x41", r"\\x41"),
        (b"end ", r"end\x20"),
    ],
)
def test_what_cannot_be_shown_is_escaped(octets: bytes, shown: str) -> None:
    assert print_talk([Line("C", octets)]) == f"C: {shown}\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("C: x\nEHLO y", 'line 2: a line begins with "C:", "S:" or "#": EHLO y'),
        (r"C: a\q", r"line 1: a backslash begins \\ or \xNN: C: a\q"),
        ("C 1.5: x", 'line 1: a line begins with "C:", "S:" or "#": C 1.5: x'),
    ],
)
def test_what_is_no_talk_is_refused_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(TalkError) as caught:
        parse_talk(text)
    assert str(caught.value) == fault
