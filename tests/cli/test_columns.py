"""Text in columns: no line is wider than it may be, in any script, and nothing is lost (cli/columns.py)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.cli.columns import width_of, wrapped

TEXTS = st.text(st.sampled_from("ab -.,:/@中文，。（）「」é\u0301😀xyz  "), max_size=200)


@given(TEXTS, st.integers(4, 80))
def test_every_line_fits_and_nothing_is_lost_but_spaces(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert lines
    assert all(width_of(line) <= width or len(line) == 1 for line in lines)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 10, [""]),
        ("one two three", 9, ["one two", "three"]),
        ("a-word-without-end", 8, ["a-word-w", "ithout-e", "nd"]),
        ("服务器没有收下这封邮件", 10, ["服务器没有", "收下这封邮", "件"]),
        ("没有收下，请再试", 8, ["没有收", "下，请再", "试"]),  # no line begins with a comma
        ("答复是（五五零）", 8, ["答复是", "（五五", "零）"]),  # and none ends with an opening bracket
        ("用 --tls none 试试", 10, ["用 --tls", "none 试试"]),
    ],
)
def test_lines_break_where_a_reader_would_break_them(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width) == lines
