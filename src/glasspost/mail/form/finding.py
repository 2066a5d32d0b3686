"""What was found in a message, and its fields as they stand in its lines.

Lives here: the values that the judges hand each other: a finding, a header field, a part with its lines.
Does not live here: the rules' words (rules.py), the looking (lines.py, header.py, body.py, looks.py).

A message is looked at as it is, also where it is broken: nothing here raises because of what a stranger wrote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from glasspost.mail.form.rules import RULES, Rule
from glasspost.mail.message import header_text

TEXT_LIMIT = 80  # characters of a stranger's text that a finding repeats

_NAME = re.compile(rb"([!-9;-~]+)([ \t]*):")


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that a message breaks. `line` counts from 1; 0: the message as a whole. `count`: how often."""

    rule: Rule
    line: int
    facts: dict[str, str] = field(default_factory=dict)
    count: int = 1

    def what(self, lang: str = "en") -> str:
        return self.rule.what[lang].format(**self.facts)

    def cure(self, lang: str = "en") -> str:
        return self.rule.cure[lang].format(**self.facts)


def finding(name: str, line: int, count: int = 1, /, **facts: object) -> Finding:
    """A finding by its rule's name. Facts are cut to what a line can show, and stripped of control characters."""
    return Finding(RULES[name], line, {key: _short(str(value)) for key, value in facts.items()}, count)


def _short(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= TEXT_LIMIT else shown[: TEXT_LIMIT - 1] + "…"


@dataclass(frozen=True, slots=True)
class Field:
    """A header field. `raw` is its unfolded value, `text` the same decoded for people (RFC 2047)."""

    name: str
    raw: bytes
    line: int
    lines: Sequence[bytes]
    spaced: bool = False

    @property
    def text(self) -> str:
        return header_text(self.raw)

    @property
    def value(self) -> str:
        """As it stands, encoded words and all."""
        return self.raw.decode("utf-8", "replace").strip()


@dataclass(frozen=True, slots=True)
class Section:
    """A header and what follows it: a message, or a part of one. `line` is where `body` begins; `stray` the line that
    ended the header although it was not empty, 0 where there was none."""

    fields: tuple[Field, ...]
    body: tuple[bytes, ...]
    line: int
    stray: int = 0
    stray_text: str = ""

    def all(self, name: str) -> list[Field]:
        return [one for one in self.fields if one.name.lower() == name]

    def first(self, name: str) -> Field | None:
        found = self.all(name)
        return found[0] if found else None


def read_section(lines: Sequence[bytes], first: int) -> Section:
    """A header section and its body, from lines without their ends; `first` is the number of the first line."""
    fields: list[Field] = []
    pending: list[bytes] = []
    start = 0

    def close() -> None:
        if pending:
            found = _NAME.match(pending[0])
            assert found is not None
            raw = b"".join([pending[0][found.end() :], *pending[1:]])
            fields.append(Field(found[1].decode("ascii"), raw, first + start, tuple(pending), bool(found[2])))

    for number, line in enumerate(lines):
        if not line:
            close()
            return Section(tuple(fields), tuple(lines[number + 1 :]), first + number + 1)
        if line[:1] in (b" ", b"\t") and pending:
            pending.append(line)
        elif _NAME.match(line):
            close()
            pending, start = [line], number
        else:
            close()
            text = line.decode("utf-8", "replace")
            return Section(tuple(fields), tuple(lines[number:]), first + number, first + number, text)
    close()
    return Section(tuple(fields), (), first + len(lines))
