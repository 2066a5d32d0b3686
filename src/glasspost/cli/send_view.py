"""`glasspost send` for people: the conversation as it happens, what each answer means, and the verdict.

Lives here: how it looks. Three columns: how long the server took, who spoke, what was said; below a reply, set in
further, what it means. Good at 80 columns, without colours, and in Chinese.
Does not live here: what is said (send_words.py), what it means (send_meaning.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.text import Text

from glasspost.cli.send_meaning import (
    Meaning,
    exit_code,
    meaning_of_answer,
    meaning_of_finding,
    meaning_of_ours,
    proof_words,
    status_of,
)
from glasspost.cli.send_words import say, seconds
from glasspost.explain.notes import noted
from glasspost.explain.typography import width, wrapped
from glasspost.outbound.sights import Calling, Closed, Connected, Gone, Heard, Moving, Noted, Said, Secured, Sight
from glasspost.outbound.trial import Finding
from glasspost.protocol.talk import escape

_GUTTER = 8  # columns: "999 ms" and a space on either side
_TEXT = _GUTTER + 3  # where lines begin, behind "C: "
_MEANING = _TEXT + 2
_LARGE = 256 * 1024  # octets from which a message gets a bar
_COLOURS = {
    "accepted": "bold green",
    "asked": "bold green",
    "refused": "bold red",
    "stopped": "bold red",
    "not-now": "bold yellow",
    "in-doubt": "bold yellow",
}


class View:
    """Shows sights on a console, in `lang`. `lmtp`: the answers after a message are for one recipient each."""

    def __init__(self, console: Console, lang: str, lmtp: bool = False) -> None:
        self._console = console
        self._lang = lang
        self._lmtp = lmtp
        # A line that fills the last column makes some terminals show an empty one.
        self._width = max(40, console.width - 1)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._explained: set[str] = set()  # refusals whose meaning stands above
        self._begun = False

    def show(self, sight: Sight) -> None:
        """Whatever happened."""
        if isinstance(sight, Moving):
            self._move(sight)
            return
        self._end_bar()
        if isinstance(sight, Said):
            for line in sight.lines:
                self._line("", "C:", escape(line), "cyan")
        elif isinstance(sight, Heard):
            self._heard(sight)
        elif isinstance(sight, Noted):
            if sight.given_up:
                self._fact("", noted(sight.reply.text, self._lang), "red")
                meaning = meaning_of_ours(sight.reply, sight.phase, self._lang).what
                self._explained.add(meaning)
                self._mean(meaning)
        else:
            self._fact_of(sight)

    def close(self) -> None:
        """Leave the terminal in order, whatever happened."""
        self._end_bar()

    # --- as it happens ----------------------------------------------------------------------------------------

    def _fact_of(self, sight: Sight) -> None:
        """What was not on the wire."""
        lang = self._lang
        if isinstance(sight, Calling):
            if self._begun:
                self._console.print()
            self._begun = True
            self._fact("", say("calling", lang, server=f"{sight.name}:{sight.port}"))
        elif isinstance(sight, Connected):
            self._fact(seconds(sight.took), say("connected-from", lang, server=sight.server, ours=sight.ours))
        elif isinstance(sight, Secured):
            self._secured(sight)
        elif isinstance(sight, Gone):
            self._fact("", say("sent", lang, octets=sight.octets, took=seconds(sight.took)))
        elif isinstance(sight, Closed):
            self._fact("", say("closed", lang))

    def _heard(self, heard: Heard) -> None:
        code = heard.reply.code
        colour = "green" if 200 <= code < 400 else "yellow" if 400 <= code < 500 else "red"
        for number, line in enumerate(heard.lines):
            self._line("" if number else seconds(heard.took), "S:", escape(line), colour)
        meaning = meaning_of_answer(heard, self._lang, self._lmtp).what
        if code >= 400 and meaning in self._explained:
            meaning = say("as-above", self._lang)
        self._explained.add(meaning)
        self._mean(meaning)

    def _secured(self, sight: Secured) -> None:
        facts, lang = sight.facts, self._lang
        self._fact(seconds(sight.took), say("tls", lang, version=facts.version, cipher=facts.cipher))
        if facts.subject:
            ends = time.strftime("%Y-%m-%d", time.gmtime(facts.ends))
            days = int((facts.ends - time.time()) // 86400)
            left = say("days-left", lang, days=days) if 0 <= days <= 400 else ""  # beyond that nobody counts
            words = {"subject": facts.subject, "issuer": facts.issuer, "ends": ends, "left": left}
            self._fact("", say("certificate", lang, **words))
            if facts.names:
                self._fact("", say("certificate-names", lang, names=", ".join(facts.names[:6])))
        self._fact("", proof_words(facts, lang, sight.name), "yellow" if facts.fault else "green")

    def _fact(self, left: str, text: str, colour: str = "") -> None:
        self._line(left, "#", text, colour)

    def _mean(self, text: str) -> None:
        for line in wrapped(text, self._width - _MEANING, cut=True):
            self._print(Text(" " * _MEANING + line, "italic"))

    def _line(self, left: str, who: str, text: str, colour: str) -> None:
        for number, line in enumerate(wrapped(text, self._width - _TEXT, cut=True)):
            row = Text().append(f"{left if not number else '':>{_GUTTER - 1}} ", "dim")
            row.append(f"{who if not number else '':<3}", f"bold {colour}".strip())
            row.append(line, colour)
            self._print(row)

    def _print(self, row: Text) -> None:
        row.rstrip()
        self._console.print(row, soft_wrap=True)

    def _move(self, moving: Moving) -> None:
        """A bar, on a terminal, for a message that is large."""
        if moving.size < _LARGE or not self._console.is_terminal:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn(" " * _TEXT + say("sending", self._lang)),
                BarColumn(bar_width=24),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=moving.size)
        self._bar.update(self._task, completed=moving.octets)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    # --- the end ----------------------------------------------------------------------------------------------

    def verdict(self, findings: Sequence[Finding], took: float) -> None:
        """What became of each recipient, those of the same fate together; what to do; and the sum of it."""
        self._console.print()
        self._print(Text(say("verdicts", self._lang), "bold"))
        for fate in _fates(findings, self._lang):
            self._fate(fate)
        self._console.print()
        code = exit_code(findings)
        for line in wrapped(self._sum(findings, took, code), self._width, cut=True):
            self._print(Text(line, "bold green" if not code else "bold red"))

    def _fate(self, findings: Sequence[Finding]) -> None:
        lang, status = self._lang, status_of(findings[0])
        meaning = meaning_of_finding(findings[0], lang)
        label = say(status, lang)
        left = f" {label}{' ' * max(1, _TEXT - 1 - width(label))}"
        said = [_said(one, self._lang) or meaning.what for one in findings]
        for number, finding in enumerate(findings):
            self._print(Text().append(left, _COLOURS[status]).append(str(finding.recipient.address), "bold"))
            left = " " * width(left)
            if said[number] not in said[number + 1 :]:
                self._wrap("", said[number])
        if status not in ("accepted", "asked"):
            self._advise(meaning)

    def _advise(self, meaning: Meaning) -> None:
        """What it means, where that does not stand above already, and what to do."""
        lang = self._lang
        if meaning.what not in self._explained:
            self._wrap("", meaning.what, "italic")
        for key, text in (("who", meaning.who), ("retry", meaning.retry), ("next", meaning.next)):
            if text:
                self._wrap(say(key, lang), text)

    def _wrap(self, title: str, text: str, style: str = "") -> None:
        """A paragraph below a recipient; a title hangs out of it."""
        indent = _TEXT + width(title)
        for number, line in enumerate(wrapped(text, self._width - indent, cut=True)):
            row = Text(" " * (indent if number else _TEXT))
            if title and not number:
                row.append(title, "bold")
            self._print(row.append(line, style))

    def _sum(self, findings: Sequence[Finding], took: float, code: int) -> str:
        lang, count, span = self._lang, len(findings), seconds(took)
        bad = [one for one in findings if status_of(one) not in ("accepted", "asked")]
        if not bad:
            asked = any(one.outcome is None for one in findings)
            return say("sum-asked" if asked else "sum-ok", lang, count=count, took=span)
        if len(bad) < count or any(status_of(one) == "in-doubt" for one in bad):
            return say("sum-some", lang, refused=len(bad), count=count, took=span, code=code)
        phase = say(f"phase-{bad[-1].phase}", lang)
        return say("sum-none", lang, phase=phase, took=span, code=code)


def _said(finding: Finding, lang: str) -> str:
    """The reply that decided; without its codes where it is our own, as nobody said them."""
    outcome = finding.outcome
    if outcome is None:
        return ""
    return str(outcome.reply) if outcome.said_by_remote else noted(outcome.reply.text, lang)


def _fates(findings: Sequence[Finding], lang: str) -> list[list[Finding]]:
    """Recipients of the same fate together, whose replies mean the same, in the order of the first of each; those who
    were said the same side by side."""
    fates: dict[tuple[str, Meaning], dict[str, list[Finding]]] = {}
    for one in findings:
        fate = fates.setdefault((status_of(one), meaning_of_finding(one, lang)), {})
        fate.setdefault(_said(one, lang), []).append(one)
    return [[one for same in fate.values() for one in same] for fate in fates.values()]
