"""Lines for a terminal, where a Chinese character takes two columns: no line is too wide, in any script, and nothing is
lost (explain/typography.py)."""

from __future__ import annotations

import re
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.explain.typography import padded, shortened, visible, width, wrapped


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


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("", 10, [""]),
        ("a few words", 80, ["a few words"]),
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 9, ["one two", "three"]),
        ("unbreakablewordindeed x", 5, ["unbreakablewordindeed", "x"]),
        ("a  b", 10, ["a  b"]),
        ("see .config then", 8, ["see", ".config", "then"]),
        ("服务器接受了这条命令。好", 8, ["服务器接", "受了这条", "命令。好"]),
        ("服务器没有收下这封邮件", 10, ["服务器没有", "收下这封邮", "件"]),
        ("没有收下，请再试", 8, ["没有收", "下，请再", "试"]),  # no line begins with a comma
        ("答复是（五五零）", 8, ["答复是", "（五五", "零）"]),  # and none ends with an opening bracket
        ("用 --tls none 试试", 10, ["用 --tls", "none 试试"]),
    ],
)
def test_lines_break_where_a_reader_would_break_them(text: str, columns: int, lines: list[str]) -> None:
    assert wrapped(text, columns) == lines


def test_what_is_wider_than_a_line_is_cut_where_that_is_wanted() -> None:
    assert wrapped("a-word-without-end", 8, cut=True) == ["a-word-w", "ithout-e", "nd"]
    assert wrapped("one unbreakable", 8, cut=True) == ["one", "unbreaka", "ble"]


@given(st.text(st.sampled_from("ab 中文，。（）-1"), max_size=60), st.integers(4, 30))
def test_nothing_is_lost_and_lines_are_not_too_long(text: str, columns: int) -> None:
    lines = wrapped(text, columns)
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:
        assert line == line.strip()
        assert width(line) <= columns or len(wrapped(line, columns)) == 1, "only what cannot be broken stands out"


@given(st.text(st.sampled_from("ab -.,:/@中文，。（）「」é\u0301😀xyz  "), max_size=200), st.integers(4, 80))
def test_with_cutting_every_line_fits_and_nothing_is_lost_but_blanks(text: str, columns: int) -> None:
    lines = wrapped(text, columns, cut=True)
    assert lines
    assert all(width(line) <= columns for line in lines)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("eve\u202eknab@example.org", r"eve\xe2\x80\xaeknab@example.org"),
        ("\x1b[2Jgone\x07", r"\x1b[2Jgone\x07"),
        ("one\ntwo", r"one\x0atwo"),
        ("\u200b\ufeff", r"\xe2\x80\x8b\xef\xbb\xbf"),
        ("lone \udcff octet, lone \ud800 half", r"lone \xff octet, lone \xed\xa0\x80 half"),
        ("a\\b 中文　é 😀", "a\\b 中文　é 😀"),
    ],
)
def test_what_a_terminal_would_obey_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


@given(st.text())
def test_nothing_that_a_terminal_would_obey_is_in_any_line(text: str) -> None:
    for line in [visible(text), *wrapped(text, 20)]:
        assert all(letter.isprintable() or category(letter) == "Zs" for letter in line)


def test_what_is_too_long_ends_in_an_ellipsis() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"
    assert shortened("中文中文", 6) == "中文…"
