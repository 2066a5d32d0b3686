"""Explaining one text: which knowledge is given, and that it is said which it was (explain/explainer.py)."""

from __future__ import annotations

from glasspost.explain.explainer import explain


def test_a_basic_code_is_explained_in_both_languages() -> None:
    english, chinese = explain("550 no"), explain("550 no", "zh")
    assert (english.by, english.name, english.code) == ("basic", "reply-550", "550")
    assert "refused" in english.what
    assert "拒绝" in chinese.what
    assert chinese.act_words == "发件人"


def test_an_unknown_code_is_explained_by_its_kind_and_says_so() -> None:
    assert (explain("599 odd").by, explain("599 odd").name) == ("class", "class-5")
    assert explain("459 5.9.9").by == "basic", "an enhanced code of another class does not count"


def test_nothing_is_claimed_about_a_text_that_nothing_is_known_of() -> None:
    nothing = explain("hello world")
    assert (nothing.by, nothing.name, nothing.act, nothing.retry) == ("nothing", "", "nobody", "")
