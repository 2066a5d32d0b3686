"""Every entry of the knowledge base: well formed, complete in both languages, found by its own example or key."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from glasspost.explain.entry import KINDS, Entry, read_entries
from glasspost.explain.explainer import explain
from glasspost.explain.explanation import LANGUAGES
from glasspost.explain.pattern import alternatives
from glasspost.explain.reply_text import read
from glasspost.explain.shelf import DATA, cards, cut

FILES = sorted(DATA.rglob("*.toml"))
CARDS = list(cards())
ENTRIES = [card.entry for card in CARDS]
WITH_PATTERN = [entry for entry in ENTRIES if KINDS[entry.kind] == "pattern"]
CHINESE = re.compile(r"[一-鿿]")


def name_of(entry: Entry) -> str:
    return entry.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_cut_quickly_gives_what_a_toml_reader_gives(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [card.entry for card in cut(text, path.name)] == list(read_entries(text, path.name))


def test_names_are_unique() -> None:
    assert [name for name, times in Counter(entry.name for entry in ENTRIES).items() if times > 1] == []


def test_codes_and_words_are_unique() -> None:
    keys = Counter((entry.kind, entry.key.upper()) for entry in ENTRIES)
    assert [key for key, times in keys.items() if times > 1] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_an_entry_says_everything_in_both_languages(entry: Entry) -> None:
    assert set(entry.words) == set(LANGUAGES)
    english, chinese = entry.words["en"], entry.words["zh"]
    for part in ("what", "next", "later", "done"):
        ours, theirs = getattr(english, part), getattr(chinese, part)
        assert bool(ours) == bool(theirs), f"{part} is there in one language only"
        assert not CHINESE.search(ours.replace("用户@例子.中国", "")), "Chinese among the English words"
        assert not theirs or CHINESE.search(theirs), f"{part} is not Chinese"
        assert not ours or ours.endswith((".", "?")), f"{part} does not end as a sentence does"
        assert not theirs or theirs.endswith(("。", "？")) or part == "next", part
    assert entry.source


@pytest.mark.parametrize("entry", WITH_PATTERN, ids=name_of)
def test_an_entry_with_a_pattern_wins_for_its_own_example(entry: Entry) -> None:
    assert entry.example, "there is no example"
    told = explain(entry.example)
    assert (told.name, told.by) == (entry.name, entry.kind)


@pytest.mark.parametrize("entry", WITH_PATTERN, ids=name_of)
def test_a_failure_tells_what_to_do_and_an_entry_can_be_passed_over_quickly(entry: Entry) -> None:
    assert entry.words["en"].next
    for part in alternatives(entry.key):
        assert part.needles, f"nothing in {part.text} is sure: it would be compiled for every text"
    assert entry.retry, "does trying again help?"


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if KINDS[entry.kind] in ("code", "word")], ids=name_of)
def test_an_entry_with_a_key_is_found_by_it(entry: Entry) -> None:
    asked = entry.key.replace("X", "5") if entry.kind == "enhanced" else entry.key
    if entry.kind == "response" and not entry.key.startswith(("+", "-")):
        asked = f"-ERR [{entry.key}] sorry"
    if entry.kind == "class" and len(entry.key) == 1:
        asked = f"{entry.key}99"
    elif entry.kind == "class":
        asked = f"5{entry.key[1:]}.999" if "." in entry.key else f"5{entry.key[1]}9"
    assert explain(asked).name == entry.name


def test_examples_name_nobody_real() -> None:
    """Names of documentation only: example.*, 192.0.2.0/24 and its like, in our own files; wordings are as seen."""
    for entry in WITH_PATTERN:
        if entry.kind == "failure":
            for address in re.findall(r"\d+\.\d+\.\d+\.\d+", entry.example):
                assert address.startswith(("192.0.2.", "198.51.100.", "203.0.113.")), entry.name
            assert "@" not in entry.example or "example." in entry.example, entry.name


def test_an_example_is_one_reply() -> None:
    for entry in WITH_PATTERN:
        assert read(entry.example).line, entry.name
