"""Replies of real servers (real_replies.toml): nearly all are known by their wording, and none is taken for another.

Each was judged before it was explained: whose wording it is, and who must act. An entry that names no server claims
less than it might, which is not wrong. Where it names another actor or server, the list says why that is right as well.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from glasspost.explain.explainer import explain
from glasspost.explain.explanation import ACTORS

REPLIES = tomllib.loads((Path(__file__).parent / "real_replies.toml").read_text(encoding="utf-8"))["reply"]
DOCUMENTATION = re.compile(r"(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d+")
NOT_ADDRESSES = {"4.16.55.1"}  # Yahoo's number of a rule


def test_there_are_many_and_each_once() -> None:
    assert len({reply["text"] for reply in REPLIES}) == len(REPLIES) >= 150


def test_nearly_all_are_explained_by_an_entry_of_their_own() -> None:
    known = [reply for reply in REPLIES if explain(reply["text"]).by in ("wording", "failure")]
    assert len(known) >= 0.95 * len(REPLIES)


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply["text"][:60].encode("ascii", "replace").decode())
def test_none_is_taken_for_another(reply: dict[str, str]) -> None:
    told = explain(reply["text"])
    agrees = told.act == reply["act"] and told.server in (reply.get("server", ""), "")
    if "differs" in reply:
        assert not agrees, "the judgement is the entry's by now: take the reason out"
    elif told.by in ("wording", "failure"):
        assert (told.act, told.server or reply.get("server", "")) == (reply["act"], reply.get("server", ""))


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply["text"][:60].encode("ascii", "replace").decode())
def test_it_is_explained_in_chinese_as_well(reply: dict[str, str]) -> None:
    english, chinese = explain(reply["text"]), explain(reply["text"], "zh")
    assert (english.name, english.act) == (chinese.name, chinese.act)
    assert re.search(r"[一-鿿]", chinese.what)


def test_the_list_can_be_read_without_meeting_anybody() -> None:
    for reply in REPLIES:
        assert reply["act"] in ACTORS and reply["seen"]
        shown = set(re.findall(r"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.]*\d)", reply["text"])) - NOT_ADDRESSES
        assert [address for address in shown if not DOCUMENTATION.fullmatch(address)] == []
