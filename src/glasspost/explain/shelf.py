"""The shelf of data files: which entries there are, each opened only when it is wanted.

Lives here: finding the files of data/ and of an operator's own folder, and cutting ours into entries without reading
them through. There is half a megabyte of entries; a TOML reader takes a second for it, cutting takes milliseconds.
Does not live here: the form of an entry and what is wrong with one (entry.py), which entry fits (wordings.py).

What may be cut so quickly is held by a test: every file of data/ cut here gives what a TOML reader gives. An operator's
files are read through and checked when they are loaded.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from glasspost.errors import ConfigurationError, Problem
from glasspost.explain.entry import KINDS, BrokenEntry, Entry, entry_from, read_entries

DATA = Path(__file__).parent / "data"

_ENTRY = re.compile(r"^\[\[entry\]\]\n", re.MULTILINE)
_KIND = re.compile(r'^kind = "(\w+)"$', re.MULTILINE)
_VALUE = r"""^{} = (?:'''(.*)'''|'(.*)'|"([^"\\]*)")$"""
_KEYS = {by: re.compile(_VALUE.format(by), re.MULTILINE) for by in ("pattern", "code", "word")}


class Card:
    """An entry on the shelf: its kind and key at once, the rest when it is wanted."""

    __slots__ = ("__dict__", "_file", "_text", "key", "kind", "own")

    def __init__(self, kind: str, key: str, file: str, text: str) -> None:
        self.kind = kind
        self.key = key
        self.own = False
        self._file = file
        self._text = text

    @classmethod
    def of(cls, entry: Entry) -> Card:
        """A card for an entry of an operator's own."""
        card = cls(entry.kind, entry.key, "", "")
        card.own = True
        card.__dict__["entry"] = entry
        return card

    @cached_property
    def entry(self) -> Entry:
        """The entry itself."""
        try:
            (raw,) = tomllib.loads(self._text)["entry"]
            return entry_from(self.kind, raw)
        except (tomllib.TOMLDecodeError, BrokenEntry) as error:
            raise ConfigurationError([Problem(self._file, 0, f"entry {self.key}", str(error))]) from None


def cards() -> Iterator[Card]:
    """Every entry that glasspost brings along."""
    for path in sorted(DATA.rglob("*.toml")):
        yield from cut(path.read_text(encoding="utf-8"), path.name)


def cut(text: str, file: str) -> Iterator[Card]:
    """The entries of one of our files, cut apart."""
    head, *pieces = _ENTRY.split(text)
    found = _KIND.search(head)
    kind = found[1] if found else "wording"
    for piece in pieces:
        match = _KEYS[KINDS[kind]].search(piece)
        if match is None:
            raise ConfigurationError([Problem(file, 0, "entry", f"{KINDS[kind]} is missing: {piece[:60]!r}")])
        key = next(group for group in match.groups() if group is not None)
        yield Card(kind, key, file, f"[[entry]]\n{piece}")


def own_cards(places: Iterable[Path]) -> Iterator[Card]:
    """Every entry of an operator's own files, or of the .toml files of folders. Raises ConfigurationError."""
    paths = [path for place in places for path in (sorted(place.glob("*.toml")) if place.is_dir() else [place])]
    problems: list[Problem] = []
    files: dict[str, str] = {}
    for path in paths:
        try:
            entries = list(read_entries(_text_of(path), str(path)))
        except ConfigurationError as error:
            problems += error.problems
            continue
        for entry in entries:
            if entry.name in files:
                reason = f"There is another entry of this name in {files[entry.name]}."
                problems.append(Problem(str(path), 0, f"entry {entry.name}", reason))
            files[entry.name] = str(path)
            yield Card.of(entry)
    if problems:
        raise ConfigurationError(problems)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = f"Cannot be read: {(error.strerror or str(error)).lower()}."
        raise ConfigurationError([Problem(str(path), 0, "file", reason)]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([Problem(str(path), 0, "file", "Is not UTF-8.")]) from None
