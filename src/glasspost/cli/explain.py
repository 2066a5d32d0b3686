"""`glasspost explain`: what a reply, a code, a command, a log line or a whole bounce means.

Lives here: what is typed, which language and which entries of one's own hold, and how explanations are laid out.
Does not live here: the knowledge and the search in it (explain/).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.cli.directory import AsJson, Mistyped
from glasspost.errors import Exit, GlasspostError

if TYPE_CHECKING:
    from glasspost.explain.explainer import Explained, Explainer
    from glasspost.explain.explanation import Explanation

_COLUMNS = 80
_LABELS = {
    "en": {
        "what": "What happened",
        "act": "Who must act",
        "next": "What to do",
        "retry": "Try again?",
        "by": "Known by",
        "source": "Source",
        "is": "What it is",
        "how": "How to use",
        "offers": "It offers:",
        "line": "line {}",
        "whose": "{} ({})",
        "stop": ". ",
    },
    "zh": {
        "what": "发生了什么",
        "act": "应由谁处理",
        "next": "怎么处理",
        "retry": "重试有用吗",
        "by": "判断依据",
        "source": "来源",
        "is": "这是什么",
        "how": "怎么使用",
        "offers": "它提供的功能：",
        "line": "第 {} 行",
        "whose": "{}（{}）",
        "stop": "。",
    },
}
_ACTIONS = {
    "en": {},
    "zh": {"failed": "失败", "delayed": "延迟", "delivered": "已送达", "relayed": "已转交", "expanded": "已展开转发"},
}


class _Unknown(GlasspostError):
    exit_code = Exit.NOT_FOUND


def explain(
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT...", help="A reply, code, command, keyword or log line; none: standard input."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Read a bounce, a log or a conversation from a file.")
    ] = None,
    lang: Annotated[
        str, typer.Option("--lang", metavar="LANG", help="en or zh; else as explain.language or LANG has it.")
    ] = "",
    data_file: Annotated[
        list[Path] | None,
        typer.Option("--data-file", metavar="PATH", help="Entries of your own: a .toml file, or a folder of them."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Take explain.folder and explain.language from it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a mail server's answer means, who must act, and what to do next.

    Takes one reply ("550 5.1.1 ..."), a code (4.4.2), a command or keyword (STARTTLS), or whole pasted texts: bounces,
    log lines of Postfix, Exim, Sendmail and OpenSMTPD, conversations.
    """
    from glasspost.explain.explainer import Explainer

    asked = _asked(text or [], file)
    folder, language = _settings(config)
    chosen = _language(lang or language)
    explainer = Explainer([*([folder] if folder else []), *(data_file or [])])
    found = explainer.explain_all(asked, chosen)
    if as_json:
        print(json.dumps([_facts(one) for one in found], indent=2, ensure_ascii=False))
    else:
        print("\n\n".join("\n".join(_shown(one, explainer, chosen, alone=len(found) == 1)) for one in found))
    if all(one.explanation.by == "nothing" for one in found):
        raise typer.Exit(Exit.NOT_FOUND)


def _asked(words: list[str], file: Path | None) -> str:
    """The text that was asked about."""
    slips = [word for word in words if word.startswith("--")]
    if slips:
        raise Mistyped(f"There is no option {slips[0]}. Try --help.")
    if words and file:
        raise Mistyped("Give a text or --file, not both.")
    if words:
        return _harmless(" ".join(words))
    try:
        data = sys.stdin.buffer.read() if file is None or str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise _Unknown(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    asked = _harmless(data.decode(errors="replace"))
    if not asked.strip():
        raise Mistyped('Nothing was asked: glasspost explain "550 5.1.1 ...", or --file, or standard input.')
    return asked


def _harmless(text: str) -> str:
    """A text that may come from a stranger, without what a terminal would obey when it is shown again."""
    return "".join(letter if letter.isprintable() or letter in "\r\n\t\f\u3000" else " " for letter in text)


def _settings(config: Path | None) -> tuple[Path | None, str]:
    """explain.folder and explain.language. The configuration is opened only where something may stand in it."""
    if config is None and not any(name.startswith("GLASSPOST_EXPLAIN__") for name in os.environ):
        return None, "auto"
    from glasspost.node.config import load

    settings = load(config, os.environ).explain
    return settings.folder, settings.language


def _language(wanted: str) -> str:
    from glasspost.explain.explanation import LANGUAGES, known_language

    if wanted in LANGUAGES:
        return wanted
    if wanted != "auto":
        raise Mistyped(f'"{wanted}" is no language spoken here; there are {", ".join(LANGUAGES)}')
    said = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return known_language(said)


# --- for people ---------------------------------------------------------------------------------------------------


def _shown(one: Explained, explainer: Explainer, lang: str, alone: bool) -> Iterator[str]:
    """One finding and its meaning, in lines of at most 80 columns."""
    from glasspost.explain.typography import wrapped

    labels, finding, meaning = _LABELS[lang], one.finding, one.explanation
    facts = [
        finding.recipient,
        _ACTIONS[lang].get(finding.action, finding.action),
        finding.server,
        "" if alone else labels["line"].format(finding.line),
    ]
    if head := " · ".join(fact for fact in facts if fact):
        yield from wrapped(head, _COLUMNS)
        yield ""
    for line in filter(str.strip, finding.text.splitlines()):
        yield from (f"  {part}" for part in wrapped(line, _COLUMNS - 2))
    yield ""
    yield from _laid_out(_rows(meaning, labels))
    offered = explainer.offered(finding.text, lang)
    if offered:
        yield f"\n  {labels['offers']}\n"
        yield from _laid_out([(keyword.text.split()[0], keyword.what) for keyword in offered])


def _rows(meaning: Explanation, labels: dict[str, str]) -> list[tuple[str, str]]:
    known = labels["whose"].format(meaning.by_words, meaning.server) if meaning.server else meaning.by_words
    if meaning.by in ("command", "keyword"):
        rows = [(labels["is"], meaning.what), (labels["how"], meaning.next), (labels["source"], meaning.source)]
    else:
        acting = "" if meaning.by == "nothing" else meaning.act_words
        rows = [
            (labels["what"], meaning.what),
            (labels["act"], acting),
            (labels["next"], meaning.next),
            (labels["retry"], "" if meaning.by == "nothing" else meaning.retry_words),
            (labels["by"], known),
            (labels["source"], meaning.source),
        ]
    return [row for row in rows if row[1]]


def _laid_out(rows: list[tuple[str, str]]) -> Iterator[str]:
    """Two columns, the second wrapped under itself; as many columns for a Chinese label as for a Latin one."""
    from glasspost.explain.typography import padded, width, wrapped

    first = max(width(label) for label, _ in rows) + 2
    for label, words in rows:
        lines = wrapped(words, _COLUMNS - first - 2)
        yield f"  {padded(label, first)}{lines[0]}"
        yield from (f"  {'':{first}}{line}" for line in lines[1:])


# --- for programs -------------------------------------------------------------------------------------------------


def _facts(one: Explained) -> dict[str, object]:
    finding, meaning = one.finding, one.explanation
    return {
        "recipient": finding.recipient,
        "action": finding.action,
        "status": finding.status,
        "remote": finding.server,
        "place": finding.place,
        "line": finding.line,
        **asdict(meaning),
        "retry_words": meaning.retry_words,
        "by_words": meaning.by_words,
    }
