"""An entry of the knowledge base: its form, and what a file of entries may hold.

Lives here: the `Entry`, reading it from the TOML of a data file, and saying what is wrong with one.
Does not live here: which files there are (shelf.py), which entry fits a text (wordings.py, explainer.py).

The form is documented for administrators in docs/explain.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from glasspost.errors import ConfigurationError, Problem
from glasspost.explain.explanation import ACTORS, LANGUAGES, RETRIES

# What a file is about, and by which key its entries are found.
KINDS = {
    "wording": "pattern",
    "failure": "pattern",
    "enhanced": "code",
    "basic": "code",
    "class": "code",
    "command": "word",
    "keyword": "word",
    "response": "word",
}
_CODES = {
    "enhanced": re.compile(r"[X245]\.\d{1,3}\.\d{1,3}"),
    "basic": re.compile(r"[2-5]\d\d"),
    "class": re.compile(r"[2-5]|X\d|[X245]\.\d{1,3}"),
}
_NAME = re.compile(r"[a-z0-9]+(?:[-.][a-z0-9]+)*")
_TEXTS = ("name", "server", "pattern", "code", "word", "example", "act", "act_later", "retry", "source")
_WORDS = ("what", "next", "later", "done")


class BrokenEntry(Exception):
    """An entry that cannot be used: its name, and why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Words:
    """What an entry says in one language. `later` stands in the place of `next` for transient codes (4xx), `done` in
    that of `what` for positive ones (2xx); both may be empty."""

    what: str
    next: str
    later: str = ""
    done: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `key` is its pattern, code or word, as its kind has it. `act_later` is who must act where an entry
    for a code meets it as a transient one (4xx): mostly nobody, as the sending server tries again by itself."""

    kind: str
    name: str
    key: str
    server: str
    example: str
    act: str
    retry: str
    source: str
    words: Mapping[str, Words]
    act_later: str = "nobody"

    def said(self, lang: str) -> Words:
        """Its words in a language; in English for one that it does not speak."""
        return self.words.get(lang) or self.words.get("en") or next(iter(self.words.values()))


def read_entries(text: str, file: str) -> Iterator[Entry]:
    """All entries of a data file. Raises ConfigurationError that names file, entry and reason."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([Problem(file, 0, "TOML", f"Cannot be read: {error}.")]) from None
    kind = tree.pop("kind", "wording")
    if kind not in KINDS:
        raise ConfigurationError([Problem(file, 0, "kind", f'"{kind}" is none of {", ".join(KINDS)}.')])
    raw = tree.pop("entry", [])
    problems = [Problem(file, 0, key, "A file has kind and [[entry]], nothing else.") for key in tree]
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        raise ConfigurationError([*problems, Problem(file, 0, "entry", "Each entry begins with [[entry]].")])
    found: list[Entry] = []
    names: set[str] = set()
    for number, one in enumerate(raw, 1):
        try:
            entry = entry_from(kind, one)
            if entry.name in names:
                raise BrokenEntry(entry.name, "There is another entry of this name.")
            names.add(entry.name)
            found.append(entry)
        except BrokenEntry as broken:
            line = _line_of(text, number)
            problems.append(Problem(file, line, f"entry {broken.name or number}", broken.reason))
    if problems:
        raise ConfigurationError(problems)
    yield from found


def entry_from(kind: str, raw: Mapping[str, Any]) -> Entry:
    """An entry from its TOML table. Raises BrokenEntry."""
    name = raw.get("name", "")
    name = name if isinstance(name, str) else ""
    if not _NAME.fullmatch(name):
        raise BrokenEntry(name, "name is missing, or not like this: small-letters-and-digits.")
    for key, value in raw.items():
        if key in LANGUAGES:
            continue
        if key not in _TEXTS:
            raise BrokenEntry(name, f'"{key}" is no part of an entry.')
        if not isinstance(value, str):
            raise BrokenEntry(name, f"{key} is not a text.")
    by = KINDS[kind]
    key = raw.get(by, "")
    if not key:
        raise BrokenEntry(name, f"{by} is missing.")
    _check_key(kind, name, key)
    act, retry = raw.get("act", "nobody"), raw.get("retry", "")
    for who in (act, raw.get("act_later", "nobody")):
        if who not in ACTORS:
            raise BrokenEntry(name, f'act is "{who}", and not one of {", ".join(ACTORS)}.')
    if retry not in RETRIES:
        raise BrokenEntry(name, f'retry is "{retry}", and not one of no, later, changed.')
    words = {lang: _words(name, lang, raw[lang]) for lang in LANGUAGES if lang in raw}
    if not words:
        raise BrokenEntry(name, "It says nothing: [entry.en] or [entry.zh] is missing.")
    server, example, source = (raw.get(one, "") for one in ("server", "example", "source"))
    return Entry(kind, name, key, server, example, act, retry, source, words, raw.get("act_later", "nobody"))


def _check_key(kind: str, name: str, key: str) -> None:
    if kind in _CODES and not _CODES[kind].fullmatch(key):
        raise BrokenEntry(name, f'code "{key}" is not a code of this kind.')
    if KINDS[kind] == "pattern":
        if "(?(" in key or re.search(r"\(\?[a-z]*x", key):
            raise BrokenEntry(name, "pattern has a condition or is verbose; neither can be used here.")
        try:
            matches_nothing = re.compile(key, re.IGNORECASE).search("")
        except re.error as error:
            raise BrokenEntry(name, f"pattern is no regular expression: {error}.") from None
        if matches_nothing:
            raise BrokenEntry(name, "pattern fits everything, even nothing.")


def _words(name: str, lang: str, raw: Any) -> Words:
    if not isinstance(raw, dict):
        raise BrokenEntry(name, f"{lang} is not a table; write [entry.{lang}].")
    for key, value in raw.items():
        if key not in _WORDS:
            raise BrokenEntry(name, f'"{key}" is no part of [entry.{lang}].')
        if not isinstance(value, str):
            raise BrokenEntry(name, f"{lang}.{key} is not a text.")
    if not raw.get("what"):
        raise BrokenEntry(name, f"what is missing in [entry.{lang}].")
    return Words(**{"next": "", **{key: " ".join(value.split()) for key, value in raw.items()}})


def _line_of(text: str, number: int) -> int:
    """On which line the entry of this number begins; 0 where that cannot be told."""
    starts = [at for at, line in enumerate(text.splitlines(), 1) if line.strip() == "[[entry]]"]
    return starts[number - 1] if number <= len(starts) else 0
