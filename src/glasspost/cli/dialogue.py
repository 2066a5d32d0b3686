"""Recorded lines for a terminal: cut to its width, each refusal with what it means below it.

Lives here: how a talk's lines are laid out where they are explained, and which of them are explained.
Does not live here: the talk's form (protocol/talk.py), the meanings (explain/), whole stories (why_text.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from glasspost.cli.directory import Mistyped
from glasspost.protocol.episodes import CONSEQUENCES, fact_said

if TYPE_CHECKING:
    from glasspost.explain.explanation import Explanation

COLUMNS = 80
LINES_SHOWN = 40  # of one transaction: the first and the last half of that

_TIMED = re.compile(r"([CS]) \d+\.\d{3}:(?: |$)|(#) \d+\.\d{3}:(?: |$)")
_REPLY = re.compile(r"S: (\d{3})([ -]?)")
_OURS = re.compile(r"# (?:end: )?([45]\d\d \d\.\d+\.\d+ .*)")  # a reply of ours about a server that said nothing
_WORDS = {
    "en": {
        "means": "means",
        "who": "who",
        "next": "next",
        "left": "{} lines left out: {}",
        "known": "means the same as before",
    },
    "zh": {"means": "含义", "who": "处理者", "next": "怎么办", "left": "省略了 {} 行：{}", "known": "含义与前面相同"},
}


def language(wanted: str) -> str:
    """The language of explanations: as wanted ("zh", also "zh_CN.UTF-8"), else as LANG has it. Raises Mistyped."""
    from glasspost.explain.explanation import LANGUAGES, known_language

    if wanted and known_language(wanted) != wanted[:2].lower():
        raise Mistyped(f'there is no language "{wanted}"; there are {", ".join(LANGUAGES)}')
    return (
        known_language(wanted)
        if wanted
        else ("zh" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("zh") else "en")
    )


def without_time(line: str) -> str:
    """A talk's line without when it was said."""
    found = _TIMED.match(line)
    if found is None:
        return line
    rest = line[found.end() :]
    return f"{found[1]}: {rest}".rstrip() if found[1] else f"# {rest}".rstrip()


def explained(lines: Iterable[str], lang: str, *, everything: bool = False) -> Iterator[tuple[str, Explanation | None]]:
    """Each line (without time), with an explanation where it ends a refusal; with `everything`, where it ends any
    reply."""
    from glasspost.explain.explainer import explain

    reply: list[str] = []
    before = False  # something was refused already
    for timed in lines:
        line = without_time(timed)
        found = _REPLY.match(line)
        ours = _OURS.match(line)
        if found is None:
            yield line, explain(ours[1], lang) if ours else None
            continue
        reply.append(line[3:])
        if found[2] == "-":
            yield line, None
            continue
        codes = fact_said("S", reply[-1])
        refused = codes is not None
        follows = before and codes is not None and codes[1] in CONSEQUENCES
        yield line, explain("\n".join(reply), lang) if (refused and not follows) or everything else None
        before = before or refused
        reply = []


def laid_out(
    lines: Iterable[str],
    lang: str,
    indent: str = "",
    *,
    everything: bool = False,
    name: str = "",
    known: set[str] | None = None,
) -> Iterator[str]:
    """The lines as they are printed. Too many are cut in the middle, which is said with the `name` to ask for. What is
    among the `known` meanings is not told at length again; what is told joins them."""
    from glasspost.explain.notes import noted

    shown = list(explained(lines, lang, everything=everything))
    if len(shown) > LINES_SHOWN and name:
        half = LINES_SHOWN // 2
        left = _WORDS[lang]["left"].format(len(shown) - 2 * half, f"glasspost conversations show {name}")
        shown = [*shown[:half], (f"# {left}", None), *shown[-half:]]
    told: set[str] = set()
    for line, meaning in shown:
        yield from broken(f"# {noted(line[2:], lang)}" if line[:2] == "# " else line, indent, indent + "   ")
        if meaning is None or meaning.by == "nothing" or meaning.what in told:
            continue  # the same refusal for each recipient is explained once
        told.add(meaning.what)
        if known is not None and meaning.what in known:
            yield from broken(_WORDS[lang]["known"], f"{indent}   ", f"{indent}   ")
            continue
        if known is not None:
            known.add(meaning.what)
        yield from meant(meaning, lang, indent + "   ")


def meant(meaning: Explanation, lang: str, indent: str) -> Iterator[str]:
    """What a reply means, in two or three short paragraphs."""
    from glasspost.explain.typography import width

    words = _WORDS[lang]
    whose = f"{meaning.server}{'：' if lang == 'zh' else ': '}" if meaning.server else ""
    parts = [("means", whose + meaning.what)]
    if meaning.code[:1] in ("4", "5", "") and meaning.act:
        parts.append(("who", meaning.act_words))
    if meaning.next:
        parts.append(("next", meaning.next))
    wide = max(width(words[name]) for name, _ in parts)
    for name, text in parts:
        label = words[name] + " " * (wide - width(words[name]))
        yield from broken(text, f"{indent}{label}  ", indent + " " * (wide + 2))


def broken(text: str, first: str, others: str) -> Iterator[str]:
    """A text in lines of the terminal's width, each behind its margin."""
    from glasspost.explain.typography import width, wrapped

    lines = wrapped(text, COLUMNS - width(first))
    yield (first + lines[0]).rstrip()
    for line in lines[1:]:
        yield others + line
