"""Explaining one text: which knowledge is given, and that it is said which it was (explain/explainer.py)."""

from __future__ import annotations

from glasspost.explain.explainer import Explainer, explain
from glasspost.explain.finding import Finding


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


def test_a_servers_refusal_is_no_closed_port() -> None:
    """Failures count only for what the client's own side tells, or a reply about network or encryption."""
    assert explain("connect to mx.example.org: Connection refused").by == "failure"
    assert explain("451 4.4.1 mx.example.org does not answer: connection refused").by == "failure"
    assert explain("550 5.7.1 Connection refused, see our page").name == "enhanced-not-authorized"
    assert explain("554 Connection refused").name == "reply-554"


def test_the_more_specific_failure_wins() -> None:
    assert explain("lost connection with mx.example.org").name == "failure-lost"
    assert explain("lost connection with mx.example.org while sending RCPT TO").name == "failure-lost-rcpt"
    assert explain("certificate verify failed").name == "failure-certificate"
    assert explain("certificate verify failed: certificate has expired").name == "failure-certificate-expired"


def test_a_code_told_beside_the_words_helps_where_the_words_are_not_known() -> None:
    explainer = Explainer()
    told = explainer.explain_finding(Finding("no idea", "log", status="5.1.1"))
    assert (told.by, told.name, told.text) == ("enhanced", "enhanced-no-such-mailbox", "no idea")
    told = explainer.explain_finding(Finding("550 no idea", "log", status="5.1.1"))
    assert (told.by, told.code, told.enhanced) == ("enhanced", "550", "5.1.1")
    told = explainer.explain_finding(Finding("550 no idea", "log", status="4.1.1"))
    assert told.by == "basic", "a code of another class does not belong to it"
