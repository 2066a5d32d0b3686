"""What a person sees of a conversation held by hand.

Lives here: lines of client and server, explanations under them, in colours where the terminal has some. Without
colours what is printed is itself a talk (docs/talks.md): `C:`, `S:`, and `#` for everything else.
Does not live here: typing (talk_prompt.py), what is kept (talk_notebook.py).

Whatever a server says is escaped before it is shown: no stranger moves anybody's cursor.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from glasspost.cli.record import columns_of
from glasspost.cli.send_words import say
from glasspost.explain.explainer import explain
from glasspost.explain.notes import noted
from glasspost.explain.typography import wrapped
from glasspost.protocol.answers import Answer
from glasspost.protocol.by_hand import ServerLine
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, escape, print_line

LINE_SHOWN = 1000  # characters of a line
LINES_SHOWN = 200  # lines of an answer
_ENTRY = 36  # columns of an entry's word

_COLOURS = {CLIENT: "36", NOTE: "2", "2": "32", "3": "32", "+": "32", "4": "33", "5": "31", "-": "31", "warning": "33"}


class Screen:
    """Prints to `out`. `colours`: whether it takes them; found out where None. `lang`: of explanations; empty: none."""

    def __init__(self, out: TextIO | None = None, *, colours: bool | None = None, lang: str = "en") -> None:
        self._out = out
        self.lang = lang
        stream = self.out
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("dumb", "unknown")
        self.colours = (stream.isatty() and not plain) if colours is None else colours
        self._lines = 0  # of the answer that is being shown
        self._told: set[str] = set()
        self._hint = ""
        self.answers = 0  # shown so far

    @property
    def out(self) -> TextIO:
        return self._out or sys.stdout  # prompt-toolkit exchanges it while somebody types

    def client(self, line: bytes) -> None:
        """We said this."""
        self._print(CLIENT, _shown(line), _COLOURS[CLIENT])

    def server(self, line: ServerLine) -> None:
        """The server said this."""
        self._lines += 1
        if self._lines > LINES_SHOWN:
            return
        colour = "" if line.body else _COLOURS.get(chr(line.octets[0]) if line.octets else "", "")
        self._print(SERVER, _shown(line.octets), colour)
        if line.fault:
            self.note(line.fault)

    def answer(self, answer: Answer, *, pop3: bool, verb: str = "", argument: str = "") -> None:
        """A whole answer was shown: what it means. `verb` and `argument` are what it answers: a yes means what was
        asked for."""
        hidden, self._lines = self._lines - LINES_SHOWN, 0
        self.answers += 1
        if hidden > 0:
            self.note(f"{hidden} further lines are not shown")
        if not answer.code:
            self.note(f"That is no answer in {'POP3' if pop3 else 'SMTP'}.")
        elif self.lang and not answer.challenge:
            words = yes_words(answer, verb, argument, self.lang) if answer.positive and not pop3 else ""
            if words:
                self.note(words)
            else:
                self.meaning(answer.text)

    def meaning(self, text: str) -> None:
        """What a reply or a failure means, where anything is known of it."""
        found = explain(text, self.lang or "en")
        if found.by == "nothing":
            return
        words = ("" if self.lang == "zh" else " ").join(part for part in (found.what, found.next) if part)
        if found.name in self._told and found.retry == "":
            words = _first_sentence(found.what)  # it was said before, and nothing failed
        self._told.add(found.name)
        self.note(words)

    def note(self, text: str, *, warning: bool = False) -> None:
        """Anything that was not on the wire."""
        for line in wrapped(noted(text, self.lang), self.width - 2):
            self._print(NOTE, line, _COLOURS["warning" if warning else NOTE])

    def entry(self, word: str, text: str) -> None:
        """One entry of a list: a word, and what it means beside it."""
        lines = wrapped(text, max(20, self.width - _ENTRY - 3))
        for number, line in enumerate(lines):
            self._print(NOTE, f"{word if not number else '':<{_ENTRY}} {line}", _COLOURS[NOTE])

    def hint(self, text: str) -> None:
        """The hint line, where there is no place for one at the bottom: printed when it changes."""
        if text != self._hint:
            self._hint = text
            self.note(text)

    @property
    def width(self) -> int:
        """In columns. What is not a terminal gets whole lines."""
        return columns_of(self.out)

    def _print(self, who: str, text: str, colour: str) -> None:
        line = print_line(who, text.encode("utf-8", "surrogateescape")) if who == NOTE else f"{who}: {text}".rstrip()
        if self.colours and colour:
            line = f"\x1b[{colour}m{line}\x1b[0m"
        print(line, file=self.out, flush=True)


_YES = {
    (220, ""): "greeting", (220, "STARTTLS"): "starttls", (250, "RSET"): "rset", (250, "MAIL"): "mail",
    (250, "HELO"): "ehlo-bare", (354, "DATA"): "data", (250, "."): "content", (235, "AUTH"): "auth",
    (221, "QUIT"): "quit",
}  # fmt: skip


def yes_words(answer: Answer, verb: str, argument: str, lang: str) -> str:
    """What a yes of SMTP means where it was said; empty where its code says as much."""
    if not answer.code.isdigit():
        return ""
    if verb == "EHLO" and answer.code == "250":
        from glasspost.cli.send_meaning import offers_words
        from glasspost.mail.reply import read_reply

        return offers_words(read_reply(answer.text.split("\n")), lang)
    if verb == "RCPT" and answer.code == "250" and "<" in argument:
        return say("rcpt", lang, who=argument.partition("<")[2].partition(">")[0])
    if verb == "BDAT" and answer.code == "250":
        return say("content" if argument.upper().endswith("LAST") else "chunk", lang)
    key = _YES.get((int(answer.code), verb), "")
    return say(key, lang) if key and (key != "greeting" or argument == "greeting") else ""


def _shown(octets: bytes) -> str:
    text = escape(octets)
    return text if len(text) <= LINE_SHOWN else f"{text[:LINE_SHOWN]} [and {len(text) - LINE_SHOWN} characters more]"


def _first_sentence(text: str) -> str:
    for mark in (". ", "。"):
        if mark in text:
            return text[: text.index(mark) + 1]
    return text
