"""Dot-stuffed bodies: writer and reader are inverse, whatever the cuts; and only CR LF . CR LF ends one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glasspost.protocol.dots import DotReader, DotWriter

# Octets that matter here come often.
BODIES = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n.\r", b"a", b"\0"]), max_size=20).map(
    b"".join
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted(min(place, len(data)) for place in places)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def read(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """What a reader makes of these pieces: the content, and what stood behind the end."""
    reader, content = DotReader(), b""
    for number, piece in enumerate(pieces):
        part, rest = reader.feed(piece)
        content += part
        if rest is not None:
            return content, rest + b"".join(pieces[number + 1 :])
    return content, None


def write(pieces: list[bytes]) -> bytes:
    writer = DotWriter()
    return b"".join([writer.feed(piece) for piece in pieces]) + writer.end()


@given(BODIES, st.lists(st.integers(0, 60), max_size=6), st.lists(st.integers(0, 90), max_size=6))
@example(b"\r\n.\r\n", [2], [3])
@example(b"", [], [])
@example(b".", [], [1])
@example(b"\r", [1], [1])
def test_what_was_written_is_read_again(body: bytes, cuts: list[int], others: list[int]) -> None:
    wire = write(cut(body, cuts))
    ended = body == b"" or body.endswith(b"\r\n")
    assert read(cut(wire + b"NOOP\r\n", others)) == (body if ended else body + b"\r\n", b"NOOP\r\n")


@given(BODIES, st.lists(st.integers(0, 60), max_size=6))
def test_cutting_changes_nothing_for_the_writer(body: bytes, cuts: list[int]) -> None:
    assert write(cut(body, cuts)) == write([body])


@given(st.one_of(BODIES, st.binary()), st.lists(st.integers(0, 60), max_size=6))
def test_the_reader_agrees_with_one_line_of_python(wire: bytes, cuts: list[int]) -> None:
    """The end is the first CR LF . CR LF, with an imaginary CR LF in front; behind any other CR LF a dot goes."""
    content, end, rest = (b"\r\n" + wire).partition(b"\r\n.\r\n")
    got, behind = read(cut(wire, cuts))
    if end:
        assert (got, behind) == ((content + b"\r\n").replace(b"\r\n.", b"\r\n")[2:], rest)
    else:
        assert behind is None
        assert content.replace(b"\r\n.", b"\r\n")[2:].startswith(got)


@pytest.mark.parametrize(
    "ending",
    [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\n\r.\r\n", b"\r\n.\r\r\n", b"\r\n.\0\r\n",
     b"\r\n\0.\r\n", b"\r\n. \r\n", b"\r\n..\r\n", b"\n.\r", b"\r\r\n.\n", b"\x0b.\x0b", b"\x85.\x85",
     b"\xe2\x80\xa8.\xe2\x80\xa8"],
)  # fmt: skip
def test_nothing_else_ends_a_body(ending: bytes) -> None:
    wire = b"text" + ending + b"MAIL FROM:<evil@client.example>\r\n"
    for pieces in ([wire], [wire[at : at + 1] for at in range(len(wire))]):
        assert read(pieces)[1] is None


@pytest.mark.parametrize("size", range(1, 12))
def test_at_most_four_octets_are_held_back(size: int) -> None:
    wire = (b"x\r\n.\r" * 40)[: 40 * size]
    reader, out = DotReader(), 0
    for start in range(0, len(wire), size):
        out += len(reader.feed(wire[start : start + size])[0])
        taken_off = wire[: start + size].count(b"\r\n.")
        assert min(start + size, len(wire)) - out - taken_off <= 4
