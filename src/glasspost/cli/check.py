"""`glasspost check`: would a strict server take this message, and does it look like spam by its form?

Lives here: what is typed, and the judgement as text and JSON.
Does not live here: the judging (mail/form/).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glasspost.cli.directory import AsJson, Mistyped
from glasspost.errors import Exit, NotFound

if TYPE_CHECKING:
    from glasspost.mail.form.finding import Finding
    from glasspost.mail.form.judgement import Judgement

_WORDS = {
    "en": {
        "error": "error", "warning": "warning", "spam": "spam", "note": "note", "line": "line {line}",
        "whole": "message", "times": " ({count} times)",
        "good": "A strict server takes it.", "bad": "A strict server refuses it.",
        "clean": "Nothing in its form looks like spam.", "spammy": "{count} things in its form look like spam.",
        "spammy-one": "One thing in its form looks like spam.",
    },
    "zh": {
        "error": "错误", "warning": "警告", "spam": "像垃圾邮件", "note": "提示", "line": "第 {line} 行",
        "whole": "整封邮件", "times": "（共 {count} 处）",
        "good": "严格的服务器会接收。", "bad": "严格的服务器会拒收。",
        "clean": "形式上没有像垃圾邮件之处。", "spammy": "形式上有 {count} 处像垃圾邮件。",
        "spammy-one": "形式上有 1 处像垃圾邮件。",
    },
}  # fmt: skip


def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A message (.eml); none, or -: standard input.")
    ] = None,
    max_size: Annotated[str, typer.Option("--max-size", metavar="SIZE", help="The largest message allowed.")] = "25MB",
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail for warnings and for what looks like spam as well.")
    ] = False,
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="en or zh; else as LANG has it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Judge a message by its form: line ends, header fields, addresses, MIME, and what filters take for spam.

    Each finding has its place, its rule, and a cure. Nothing is sent, and nothing in the file is changed. Exit code 1:
    a strict server would refuse it.
    """
    from glasspost.cli.dialogue import language
    from glasspost.mail.form.judgement import judge
    from glasspost.node.values import read_size

    try:
        limit = read_size(max_size)
    except ValueError as error:
        raise Mistyped(str(error)) from None
    chosen = language(lang)
    judgement = judge(_octets(file), time.time(), limit)
    if as_json:
        print(json.dumps(_facts(judgement, chosen), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_told(judgement, chosen)))
    counts = judgement.counts
    if counts["error"] or (strict and (counts["warning"] or counts["spam"])):
        raise typer.Exit(Exit.FAILED)


def _octets(file: Path | None) -> bytes:
    try:
        data = sys.stdin.buffer.read() if file is None or str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not data:
        raise Mistyped("There is no message: glasspost check FILE, or a message on standard input.")
    return data


def _told(judgement: Judgement, lang: str) -> Iterator[str]:
    from glasspost.explain.typography import wrapped

    words = _WORDS[lang]
    for one in judgement.findings:
        place = words["line"].format(line=one.line) if one.line else words["whole"]
        times = words["times"].format(count=one.count) if one.count > 1 else ""
        yield f"{words[one.rule.severity]}  {place}{times}  {one.rule.name}  {one.rule.section}".rstrip()
        for text in (one.what(lang), one.cure(lang)):
            yield from (f"    {line}" for line in wrapped(text, 76, cut=True))
        yield ""
    spam = judgement.counts["spam"]
    looks = "clean" if not spam else "spammy-one" if spam == 1 else "spammy"
    gap = "" if lang == "zh" else " "
    yield words["good" if judgement.acceptable else "bad"] + gap + words[looks].format(count=spam)


def _facts(judgement: Judgement, lang: str) -> dict[str, Any]:
    return {
        "octets": judgement.octets,
        "acceptable": judgement.acceptable,
        "counts": judgement.counts,
        "findings": [_finding_facts(one, lang) for one in judgement.findings],
    }


def _finding_facts(one: Finding, lang: str) -> dict[str, Any]:
    return {
        "rule": one.rule.name,
        "severity": one.rule.severity,
        "section": one.rule.section,
        "line": one.line,
        "count": one.count,
        "what": one.what(lang),
        "cure": one.cure(lang),
        "facts": one.facts,
    }
