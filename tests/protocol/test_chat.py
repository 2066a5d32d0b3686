"""The line chat: where lines end, what is a fault, and what the tap hears."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.protocol.chat import Chat, LineFault, Silence

LIMIT = 16


class Ear:
    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def heard(self, line: bytes) -> None:
        self.lines.append(b"<" + line)

    def said(self, text: bytes) -> None:
        self.lines.append(b">" + text)


def lines_of(pieces: list[bytes], limit: int = LIMIT) -> list[bytes | LineFault]:
    chat, found = Chat(Silence(), limit), []
    for piece in pieces:
        chat.receive(piece)
        while (line := chat.take_line()) is not None:
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"NOOP", []),
        (b"NOOP\r", []),
        (b"NOOP\r\n", [b"NOOP"]),
        (b"\r\n", [b""]),
        (b"a\r\nb\r\nc", [b"a", b"b"]),
        (b"NOOP\n", [LineFault.BARE_NEWLINE]),
        (b"\n", [LineFault.BARE_NEWLINE]),
        (b"a\rb\r\n", [LineFault.BARE_NEWLINE]),
        (b"a\r\r\n", [LineFault.BARE_NEWLINE]),
        (b"\nQUIT\r\n", [LineFault.BARE_NEWLINE, b"QUIT"]),
        (b"x" * 14 + b"\r\n", [b"x" * 14]),
        (b"x" * 15 + b"\r\n", [LineFault.TOO_LONG]),
        (b"x" * 15 + b"\n", [LineFault.BARE_NEWLINE]),
        (b"x" * 1000 + b"\r\nNOOP\r\n", [LineFault.TOO_LONG, b"NOOP"]),
        (b"x\x00\xff\x85\xe2\x80\xa8y\r\n", [b"x\x00\xff\x85\xe2\x80\xa8y"]),  # to others these end a line
    ],
)
def test_only_cr_lf_ends_a_line(data: bytes, lines: list[bytes | LineFault]) -> None:
    assert lines_of([data]) == lines
    assert lines_of([data[at : at + 1] for at in range(len(data))]) == lines


@given(
    st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"x" * 13, b"x" * 20]), max_size=30).map(b"".join),
    st.lists(st.integers(0, 120), max_size=8),
)
def test_any_cutting_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    places = sorted(min(place, len(data)) for place in cuts)
    pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    assert lines_of(pieces) == lines_of([data])


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_line_or_a_fault(data: bytes) -> None:
    """Lines that are no faults are just those that a split at CRLF gives, and hold no CR or LF."""
    found = lines_of([data], limit=10_000)
    sound = [line for line in found if isinstance(line, bytes)]
    assert all(b"\r" not in line and b"\n" not in line for line in sound)
    if LineFault.BARE_NEWLINE not in found:
        assert sound == data.split(b"\r\n")[: len(sound)]


def test_an_endless_line_is_dropped_as_it_comes() -> None:
    chat = Chat(Silence(), LIMIT)
    for _ in range(1000):
        chat.receive(b"x" * 100)
        assert chat.take_line() is None
        assert chat.unread <= LIMIT
    chat.receive(b"\r\n")
    assert chat.take_line() is LineFault.TOO_LONG
    assert chat.take_line() is None


def test_bytes_for_a_body_are_taken_and_given_back() -> None:
    chat = Chat(Silence(), LIMIT)
    chat.receive(b"DATA\r\none two NOOP\r\n")
    assert chat.take_line() == b"DATA"
    assert chat.take_bytes(4) == b"one "
    chat.give_back(b"one ")
    assert chat.take_bytes(4) == b"one "
    assert chat.take_bytes() == b"two NOOP\r\n"
    assert chat.take_bytes() == b""
    chat.give_back(b"NOOP\r\n")
    chat.receive(b"QUIT\r\n")
    assert [chat.take_line(), chat.take_line()] == [b"NOOP", b"QUIT"]
    assert chat.unread == 0


def test_the_tap_hears_each_line_once_and_only_in_public_form() -> None:
    ear = Ear()
    chat = Chat(ear, LIMIT, lambda line: line.replace(b"tulip", b"*****"))
    chat.receive(b"PASS tulip\r\ntulip\n" + b"tulip" * 9 + b"\r\nraw tulip\r\n")
    for _ in range(3):
        chat.take_line()
    chat.take_bytes()
    chat.say(b"+OK tulip\r\n", public=b"+OK\r\n")
    chat.say(b"+OK\r\n")
    chat.pour(b"body tulip")
    assert chat.take_output() == b"+OK tulip\r\n+OK\r\nbody tulip"
    assert ear.lines == [b"<PASS *****", b"<*****", b"<[a line that is too long]", b">+OK\r\n", b">+OK\r\n"]


def test_output_is_given_once() -> None:
    chat = Chat(Silence(), LIMIT)
    assert chat.take_output() == b""
    chat.say(b"220 x\r\n")
    chat.say(b"250 y\r\n")
    assert chat.take_output() == b"220 x\r\n250 y\r\n"
    assert chat.take_output() == b""


def test_many_lines_in_one_segment_are_cut_in_proportion_to_their_number() -> None:
    """A megabyte of empty lines: with a copy of the rest for each it would be 500 thousand megabytes."""
    chat = Chat(Silence(), LIMIT)
    chat.receive(b"\r\n" * 500_000)
    began = time.perf_counter()
    count = 0
    while chat.take_line() is not None:
        count += 1
    assert count == 500_000
    assert time.perf_counter() - began < 5
