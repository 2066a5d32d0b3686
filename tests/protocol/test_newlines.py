"""The CRLF law for content, against references of one line each."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glasspost.protocol.newlines import NewlineRepair, NewlineWatch

PIECES = st.lists(
    st.one_of(
        st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a"]), max_size=6).map(b"".join), st.binary(max_size=4)
    ),
    max_size=8,
)


def is_bare(pieces: list[bytes]) -> bool:
    watch = NewlineWatch()
    for piece in pieces:
        watch.look(piece)
    watch.end()
    return watch.bare


def repaired(pieces: list[bytes]) -> bytes:
    repair = NewlineRepair()
    return b"".join([repair.feed(piece) for piece in pieces]) + repair.end()


@given(PIECES)
@example([b"\r", b"\n"])
@example([b"\r", b"", b"\n"])
@example([b"\r", b"\r\n"])
@example([b"a\r"])
@example([b"\n\r"])
@example([b"\r", b"\n\r", b"\n"])
def test_the_watch_sees_what_a_pattern_sees(pieces: list[bytes]) -> None:
    assert is_bare(pieces) == bool(re.search(rb"\r(?!\n)|(?<!\r)\n", b"".join(pieces)))


@given(PIECES)
@example([b"\r", b"\n"])
@example([b"a\r", b"", b"b"])
def test_the_repair_makes_what_a_pattern_makes(pieces: list[bytes]) -> None:
    assert repaired(pieces) == re.sub(rb"\r\n|\r|\n", b"\r\n", b"".join(pieces))


@given(PIECES)
def test_what_is_repaired_is_sound_and_stays_as_it_is(pieces: list[bytes]) -> None:
    once = repaired(pieces)
    assert not is_bare([once])
    assert repaired([once]) == once


@pytest.mark.parametrize("content", [b"", b"\r\n", b"a\r\nb\r\n", b"no end", b"\r\n" * 1000])
def test_sound_content_is_left_alone(content: bytes) -> None:
    assert not is_bare([content])
    assert repaired([content]) == content


def test_a_fault_is_not_forgotten() -> None:
    watch = NewlineWatch()
    for piece in (b"\n", b"\r\n", b"fine\r\n"):
        watch.look(piece)
        assert watch.bare
