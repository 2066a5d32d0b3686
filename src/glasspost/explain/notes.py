"""What this house notes itself, in Chinese: the # lines of a talk, verdicts, and replies of ours about a silent server.

Lives here: finding which wording of the house a line is. The wordings with their Chinese: notes.toml beside this file.
Does not live here: what other servers say, which stays as they said it (explainer.py says what it means); the record,
which is English throughout: it is put into a language where it is shown.

A wording has places in braces. `{x}` is taken over as it stands, `{x*}` is a wording itself and is translated, too. The
first wording that a line is as a whole wins, so the exact ones come first. A line that is none of them stays English.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files

_HOLE = re.compile(r"\{(\w+)(\*?)\}")
_SENTENCE = re.compile(r"[A-Z]|\{server\}")
_CODED = re.compile(r"([245]\d\d(?: [245]\.\d{1,3}\.\d{1,3})?:?) (?=\S)")


def noted(text: str, lang: str) -> str:
    """A note, a verdict or a reply of this house's own in a language. What is not known stays as it is."""
    if lang != "zh":
        return text
    code = _CODED.match(text)
    if code is not None:
        rest = text[code.end() :]
        told = _worded(rest, lang, replies=not code[1].endswith(":"))
        return text if told is None else f"{code[1].rstrip(':')} {told}"
    told = _worded(text, lang)
    if told is None and "; " in text:
        parts = [_worded(part, lang) for part in text.split("; ")]
        if any(parts):
            return "；".join(part or original for part, original in zip(parts, text.split("; "), strict=True))
    return text if told is None else told


def _worded(text: str, lang: str, *, replies: bool = False) -> str | None:
    """The text in Chinese; None where it is no wording of ours. `replies`: only what a reply of ours says: another
    server's may look like a note."""
    for pattern, translated, chinese, is_reply in _patterns():
        found = pattern.fullmatch(text) if is_reply or not replies else None
        if found is not None:
            parts = found.groupdict()
            return chinese.format(
                **{name: noted(parts[name], lang) if name in translated else parts[name] for name in parts}
            )
    return None


def wordings() -> dict[str, str]:
    """Each wording of the house, and its Chinese."""
    found: dict[str, str] = tomllib.loads(files(__package__).joinpath("notes.toml").read_text("utf-8"))
    return found


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], frozenset[str], str, bool], ...]:
    return tuple(_pattern(english, chinese) for english, chinese in wordings().items())


def _pattern(english: str, chinese: str) -> tuple[re.Pattern[str], frozenset[str], str, bool]:
    """A wording as an expression, with the names of the places that are wordings themselves, and whether it is one of
    a reply: those are sentences, or begin with a server."""
    expression, at = "", 0
    for hole in _HOLE.finditer(english):
        expression += f"{re.escape(english[at : hole.start()])}(?P<{hole[1]}>.+?)"
        at = hole.end()
    translated = frozenset(hole[1] for hole in _HOLE.finditer(english) if hole[2])
    return (
        re.compile(expression + re.escape(english[at:]), re.DOTALL),
        translated,
        chinese,
        _SENTENCE.match(english) is not None,
    )
