"""Two answers compared: what a talk says a server said, and what one says now.

Lives here: what counts as the same. Codes always count; text counts by pattern, or octet for octet.
Does not live here: who asks for it (cli/replay.py), which answer belongs to which line (talk_script.py).

By pattern means: `...` in the talk stands for anything, and what a server makes anew each time stands for itself:
the table below has those. EHLO's keywords, POP3's listings and the like are compared line by line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from glasspost.protocol.answers import code_of
from glasspost.protocol.talk import escape

# What is another one each time, and does not make an answer another answer.
_MADE_ANEW: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("id", re.compile(r"\b[cq][0-9a-hjkmnp-tv-z]{11}\b")),  # ids.py: our own messages and conversations
    ("id", re.compile(r"(?<=queued as )[\w.-]+|(?<=\bid=)[\w.-]+", re.IGNORECASE)),  # Postfix and many others; Exim
    ("id", re.compile(r"(?<= )[\w.-]+(?= Message accepted for delivery)")),  # Sendmail
    ("stamp", re.compile(r"<[^<>@\s]*\d[^<>@\s]*@[^<>\s]+>(?=\s*$)")),  # POP3's greeting for APOP, RFC 1939 §7
    ("date", re.compile(r"(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d(?: [+-]\d{4})?(?: \(\w+\))?")),
    ("date", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")),
)


class How(Enum):
    """How exactly answers are compared."""

    CODES = "codes"
    TEXT = "text by pattern"
    EXACT = "octet for octet"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first line that differs: as it stands in the talk, as it was said now. `line` counts from 0 within the
    answer. An empty text stands for no line at all."""

    line: int
    expected: str
    said: str


def difference(expected: Sequence[bytes], said: Sequence[bytes], how: How, *, whole: bool = True) -> Difference | None:
    """Where an answer differs from what was expected; None where it does not. Not `whole`: only the first line of what
    was expected is known."""
    if code_of(expected[0]) != code_of(said[0]) or how is How.CODES:
        if code_of(expected[0]) == code_of(said[0]) and (code_of(said[0]) or _same(expected[0], said[0], How.TEXT)):
            return None
        return Difference(0, escape(expected[0]), escape(said[0]))
    for number in range(max(len(expected), len(said)) if whole else 1):
        one = expected[number] if number < len(expected) else None
        other = said[number] if number < len(said) else None
        if one is None or other is None or not _same(one, other, how):
            return Difference(number, "" if one is None else escape(one), "" if other is None else escape(other))
    return None


def _same(expected: bytes, said: bytes, how: How) -> bool:
    if expected == said:
        return True
    if how is How.EXACT:
        return False
    parts, text = _text(expected).split("..."), _text(said)
    return _fits(parts, text) or _fits([_without_the_new(part) for part in parts], _without_the_new(text))


def _fits(parts: list[str], text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _without_the_new(text: str) -> str:
    for name, pattern in _MADE_ANEW:
        text = pattern.sub(f"<{name}>", text)
    return text
