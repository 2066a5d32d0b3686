"""Explaining: from a text to the entry that says what it means.

Lives here: `explain`, and the order in which knowledge is asked: the wording or failure, the enhanced code, the basic
code, the kind of code; for what is no reply, the command or keyword.
Does not live here: finding replies in a bounce or a log (finder.py), the words (data/).

Precision first: the most specific knowledge that fits is given, it is said which it was, and a text that nothing is
known about gets no meaning invented. Enhanced codes: RFC 3463, RFC 5248.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path

from glasspost.explain.entry import Entry
from glasspost.explain.explanation import Explanation, words
from glasspost.explain.finder import find
from glasspost.explain.finding import Finding
from glasspost.explain.reply_text import ReplyText, read
from glasspost.explain.shelf import Card, cards, own_cards
from glasspost.explain.wordings import Wordings

_COMMAND = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)(?:[ =:].*)?$", re.DOTALL)
_POP3 = re.compile(r"(\+OK|-ERR)(?:\s+\[([A-Za-z0-9/-]+)\])?(?=\s|$)", re.IGNORECASE)


def explain(text: str, lang: str = "en") -> Explanation:
    """What a reply, a code, a command, a keyword or a failure means, by what glasspost brings along.

    `text` is one reply (of one or more lines), one code, one word. `lang` is "en" or "zh".
    """
    return _ours().explain(text, lang)


@cache
def _ours() -> Explainer:
    return Explainer()


@dataclass(frozen=True, slots=True)
class Explained:
    """What was found in a pasted text, and what it means."""

    finding: Finding
    explanation: Explanation


class Explainer:
    """The knowledge base, and an operator's own entries before it. Making one takes milliseconds; keep it."""

    def __init__(self, own: Sequence[Path] = ()) -> None:
        """`own` are files of entries, or folders of .toml files. Raises ConfigurationError where one is wrong."""
        patterns: list[Card] = []
        self._by_key: dict[tuple[str, str], Card] = {}
        for card in chain(cards(), own_cards(own)):
            if card.kind in ("wording", "failure"):
                patterns.append(card)
            else:
                self._by_key[card.kind, card.key.upper()] = card
        self._wordings = Wordings(patterns)

    def explain(self, text: str, lang: str = "en") -> Explanation:
        """Like the function of this name."""
        reply = read(text)
        entry = self._wordings.find(reply.line, failures=_tells_failure(reply)) if reply.line else None
        if entry is not None:
            return _explanation(text, reply, entry, entry.kind, lang)
        pop3 = _POP3.match(reply.line)
        if pop3:
            return self._pop3(text, reply, pop3, lang)
        found = self._by_code(reply)
        if found is not None:
            entry, by = found
            return _explanation(text, reply, entry, by, lang)
        if not reply.code and not reply.enhanced:
            word = _COMMAND.match(reply.line)
            for kind in ("command", "keyword", "response") if word else ():
                entry = self._entry(kind, word[1]) if word else None
                if entry is not None:
                    by = "keyword" if kind == "response" else kind
                    return _explanation(text, reply, entry, by, lang)
        return self._nothing(text, reply, lang)

    def explain_all(self, text: str, lang: str = "en") -> list[Explained]:
        """Everything that is told in a pasted report, bounce, log or conversation, each with its meaning."""
        return [Explained(one, self.explain_finding(one, lang)) for one in find(text)]

    def explain_finding(self, finding: Finding, lang: str = "en") -> Explanation:
        """The meaning of what was found. A status code told beside the words helps where the words are not known."""
        told = self.explain(finding.text, lang)
        status = finding.status
        if not status or status.endswith(".0.0") or told.by in ("wording", "failure", "enhanced"):
            return told
        if told.code and told.code[0] != status[0]:
            return told
        reply = read(finding.text)
        helped = self.explain(f"{told.code} {status} {reply.line.removeprefix(told.code).strip()}".strip(), lang)
        better = helped.by in ("wording", "enhanced") or told.by == "nothing"
        return replace(helped, text=finding.text) if better else told

    def offered(self, text: str, lang: str = "en") -> list[Explanation]:
        """What each further line of an answer to EHLO offers; empty where the text is no such answer."""
        lines = [line.strip() for line in text.strip().splitlines()]
        if len(lines) < 2 or not all(re.match(r"250[ -]", line) for line in lines):
            return []
        found = []
        for line in lines[1:]:
            offer = line[4:].strip()
            word = re.split(r"[ =]", offer)[0]
            if word and (entry := self._entry("keyword", word) or self._entry("command", word)):
                found.append(_explanation(offer, read(offer), entry, "keyword", lang))
        return found

    def _by_code(self, reply: ReplyText) -> tuple[Entry, str] | None:
        """The entry for a reply's codes, the most exact one there is, and how exact that is."""
        code, enhanced = reply.code, reply.enhanced
        if enhanced:
            exact = self._entry("enhanced", enhanced) or self._entry("enhanced", f"X{enhanced[1:]}")
            if exact and (enhanced[0] != "2" or exact.said("en").done):
                return exact, "enhanced"
        if code and (basic := self._entry("basic", code)):
            return basic, "basic"
        wider = [enhanced.rpartition(".")[0]] if enhanced and enhanced[0] != "2" else []
        wider += [f"X{one[1:]}" for one in wider]
        wider += [f"X{code[1]}"] if code and code[0] in "45" else []
        wider += [(code or enhanced)[0]] if code or enhanced else []
        for key in wider:
            if entry := self._entry("class", key):
                return entry, "class"
        return None

    def _pop3(self, text: str, reply: ReplyText, found: re.Match[str], lang: str) -> Explanation:
        """A POP3 reply: by its response code (RFC 2449 §8) where it has a known one, else as a yes or a no."""
        code = (found[2] or "").upper()
        wider = code.partition("/")[0]
        for key in (code, wider) if code else ():
            if entry := self._entry("response", key):
                return _explanation(text, reply, entry, "enhanced", lang)
        entry = self._entry("response", found[1])
        return _explanation(text, reply, entry, "basic", lang) if entry else self._nothing(text, reply, lang)

    def _entry(self, kind: str, key: str) -> Entry | None:
        card = self._by_key.get((kind, key.upper()))
        return card.entry if card else None

    @staticmethod
    def _nothing(text: str, reply: ReplyText, lang: str) -> Explanation:
        what, then = words("unknown", lang), words("unknown-next", lang)
        return Explanation(
            text, "nothing", "", "", what, "nobody", words("nobody", lang), then, "", "",
            reply.code, reply.enhanced, lang,
        )  # fmt: skip


def _tells_failure(reply: ReplyText) -> bool:
    """Whether it may be a failure told by the client's own side: no server's reply, or one about network or TLS."""
    if not reply.code:
        return True
    return reply.enhanced[1:].startswith(".4.") or reply.enhanced[1:] in (".7.4", ".7.5")


def _explanation(text: str, reply: ReplyText, entry: Entry, by: str, lang: str) -> Explanation:
    said = entry.said(lang)
    what, then, act, retry = said.what, said.next, entry.act, entry.retry
    by_code = entry.kind in ("enhanced", "class")
    leading = (reply.enhanced or reply.code)[:1]
    if by_code and leading == "4":
        then, act, retry = said.later or then, entry.act_later, "later"
    elif by_code and leading == "2":
        what, then, act, retry = said.done or what, "", "nobody", ""
    return Explanation(
        text, by, entry.name, entry.server, what, act, words(act, lang), then, retry, entry.source,
        reply.code, reply.enhanced, lang,
    )  # fmt: skip
