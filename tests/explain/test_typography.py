"""Lines for a terminal, where a Chinese character takes two columns (explain/typography.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.explain.typography import padded, width, wrapped


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("中文", 4), ("a中", 3), ("，", 2), ("e\u0301", 1), ("", 0), ("§ö", 2)]
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


def test_padding_counts_columns() -> None:
    assert padded("中文", 6) == "中文  "
    assert padded("toolong", 3) == "toolong"


def test_english_breaks_at_blanks() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("  a\n b ", 7) == ["a b"]
    assert wrapped("unbreakable", 4) == ["unbreakable"]


def test_chinese_breaks_anywhere_but_not_before_a_mark_nor_behind_an_opening_one() -> None:
    assert wrapped("收件人不存在。", 12) == ["收件人不存", "在。"]
    assert wrapped("服务器（TLS）不可用", 8) == ["服务器", "（TLS）", "不可用"]


def test_latin_words_stay_whole_within_chinese() -> None:
    assert wrapped("请检查STARTTLS设置", 10) == ["请检查", "STARTTLS设", "置"]


@given(st.text(st.sampled_from("ab 中文，。（）-1"), max_size=60), st.integers(4, 30))
def test_nothing_is_lost_and_lines_are_not_too_long(text: str, columns: int) -> None:
    lines = wrapped(text, columns)
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:
        assert line == line.strip()
        assert width(line) <= columns or len(wrapped(line, columns)) == 1, "only what cannot be broken stands out"
