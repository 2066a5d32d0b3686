"""What a pattern demands: never more than every match has (explain/pattern.py)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.explain.pattern import alternatives


@pytest.mark.parametrize(
    ("pattern", "weight", "needles"),
    [
        (r"5\.7\.26 .*unauthenticated", 19, ("unauthenticated",)),
        (r"5\.7\.", 2, ("5.7.",)),
        (r"(?:blocked|rejected) using zen\.spamhaus\.org", 26, (" using zen.spamhaus.org",)),
        (r"Mailbox (?:is )?full", 11, ("mailbox ",)),
        (r"(a|bb(c)?d)", 1, ("a", "bb")),
        (r"abc\s+def{2,3}?", 6, ("abc",)),
        (r"\b(?:foo|bar)x?y", 4, ("foo", "bar")),
        (r"(?P<why>abc)d", 4, ("abc",)),
        (r"(?!abc)d(?<=d)", 1, ("d",)),
        (r"[^]x]y", 1, ("y",)),
        (r"\x41bc", 2, ("bc",)),
        (r"(x*|yes)", 0, ()),
        (r"(?i:loud)", 0, ()),
        (r"收件人不存在", 6, ("收件人不存在",)),
    ],
)
def test_weight_and_needles(pattern: str, weight: int, needles: tuple[str, ...]) -> None:
    (found,) = alternatives(pattern)
    assert (found.text, found.weight, found.needles) == (pattern, weight, needles)


def test_alternatives_at_the_top_count_each_for_itself() -> None:
    found = alternatives(r"mailbox full|over (?:quota|limit)|x|")
    assert [(one.text, one.weight) for one in found] == [
        ("mailbox full", 11), ("over (?:quota|limit)", 9), ("x", 1), ("", 0)
    ]  # fmt: skip


PIECES = st.sampled_from(["a", "B", "5", r"\.", " ", ".", ".*", "a?", "b+", "c{2}", "d{0,1}", "[xyz]", r"\d", r"\s*"])
PATTERNS = st.recursive(
    st.lists(PIECES, min_size=1, max_size=4).map("".join),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("|".join).map("(?:{})".format),
        st.tuples(inner, st.sampled_from(["", "?", "*", "{2}"])).map(lambda pair: f"({pair[0]}){pair[1]}"),
        st.tuples(inner, inner).map("".join),
    ),
    max_leaves=6,
)


@given(PATTERNS, st.data())
def test_every_match_has_what_is_demanded(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(pattern, re.IGNORECASE | re.ASCII)))
    fitting = [one for one in alternatives(pattern) if re.search(one.text, text, re.IGNORECASE | re.ASCII)]
    assert fitting, "no alternative matches what the whole matches"
    for found in fitting:
        assert not found.needles or any(needle in text.lower() for needle in found.needles)
        assert sum(letter.isalnum() for letter in text) >= found.weight
