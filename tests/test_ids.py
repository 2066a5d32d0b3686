"""The names of things: they grow with time, come never twice, and can be read over the telephone."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.ids import IdSource, read_id, write_id

NUMBERS = st.integers(0, (1 << 55) - 1)


@given(NUMBERS, st.sampled_from("qc"))
def test_what_is_written_is_read(number: int, letter: str) -> None:
    text = write_id(letter, number)
    assert len(text) == 12
    assert read_id(text) == read_id(f" {text.upper()}\n") == (letter, number)
    assert not set(text[1:]) & set("ilou")


@given(NUMBERS, NUMBERS)
def test_texts_are_in_the_order_of_their_numbers(one: int, other: int) -> None:
    assert (write_id("q", one) < write_id("q", other)) == (one < other)


def test_an_example() -> None:
    assert write_id("q", 1) == "q00000000001"
    assert read_id("q0000000000O") == ("q", 0)  # taken for a nought, as a person may write it
    assert read_id("cLI000000000") == ("c", (1 << 50) + (1 << 45))


@pytest.mark.parametrize(
    "text", ["", "q", "q0000000000", "q000000000001", "x00000000001", "q0000000000u", "q-0000000001"]
)
def test_what_is_no_id(text: str) -> None:
    assert read_id(text) is None


def test_ids_grow_and_none_comes_twice() -> None:
    source = IdSource()
    ids = [source.next() for _ in range(10_000)]
    assert all(one < other for one, other in pairwise(ids))


def test_an_id_is_the_time() -> None:
    before = time.time_ns() // 1000
    number = IdSource().next()
    assert before <= number + 1_704_067_200_000_000 <= time.time_ns() // 1000


def test_a_clock_set_back_makes_no_old_id_again(monkeypatch: pytest.MonkeyPatch) -> None:
    source = IdSource()
    last = source.next()
    monkeypatch.setattr(time, "time_ns", lambda: 1_704_067_200_000_000_000 + 5_000)
    assert source.next() == last + 1
    assert IdSource(floor=last).next() == last + 1
    assert IdSource().next() == 5
