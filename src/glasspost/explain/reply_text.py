"""Reading a reply as somebody pasted it: its codes, and its text in one line.

Lives here: `read`, from one reply, of one or more lines, to the form that patterns are searched in.
Does not live here: finding replies in a bounce or a log (finder.py), what they mean (explainer.py), replies off the
wire (mail/reply.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BASIC = re.compile(r"([2-5][0-9]{2})(?:[ -]|:\s|$)")
_ENHANCED = re.compile(r"#?([245]\.[0-9]{1,3}\.[0-9]{1,3})(?=[\s:;,)\]-]|$)\s*")
# Where it does not stand at the front: "(#5.1.1)", "relay denied 5.7.1"; not within an IP address or a version.
_ANYWHERE = re.compile(r"(?<![\w.])([245]\.[0-9]\.[0-9]{1,3})(?![\w.]*\d|\.\d)")
_SAID_BY = re.compile(r"^(?:[SR<]:|<<<|<-|<~|smtp;|SMTP;|x-\w+;)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReplyText:
    """A reply as it was pasted. `code` and `enhanced` are empty where there is none; `line` is the whole in one line:
    codes at its front, once, then the text of all lines joined by one blank."""

    code: str
    enhanced: str
    line: str

    @property
    def has_words(self) -> bool:
        """More was said than codes."""
        return bool(self.line.removeprefix(self.code).strip().removeprefix(self.enhanced).strip())


def read(text: str) -> ReplyText:
    """The reply in a text. A "550-5.7.26 " that is repeated in front of each line is said once.

    An enhanced code counts only where its class agrees with the basic code, as RFC 2034 §4 demands; without a basic
    code, any does.
    """
    lines = [_SAID_BY.sub("", line.strip()) for line in text.splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        return ReplyText("", "", "")
    code, enhanced, first = _front(lines[0])
    words = re.sub(
        r"\s+", " ", _once(" ".join([first, *(_continued(line, code) for line in lines[1:])]), code, enhanced)
    ).strip()
    if not enhanced:
        found = _ANYWHERE.search(words)
        mark = found[1] if found and (not code or found[1][0] == code[0]) else ""
        return ReplyText(code, mark, " ".join(part for part in (code, words) if part))
    return ReplyText(code, enhanced, " ".join(part for part in (code, enhanced, words) if part))


def _front(line: str) -> tuple[str, str, str]:
    """Basic code, enhanced code, and what follows them."""
    found = _BASIC.match(line)
    code = found[1] if found else ""
    rest = line[found.end() :].lstrip() if found else line
    mark = _ENHANCED.match(rest)
    if mark and (not code or mark[1][0] == code[0]):
        return code, _plain(mark[1]), rest[mark.end() :].strip()
    return code, "", rest.strip()


def _continued(line: str, code: str) -> str:
    """A further line without the basic code in front of it."""
    return line[4:] if code and line.startswith(code) and line[3:4] in ("", " ", "-") else line


def _once(words: str, code: str, enhanced: str) -> str:
    """The text of all lines without the codes that are repeated in front of each.

    Logs join the lines by blanks, so they are looked for everywhere; a basic code alone only with "-" behind it.
    """
    if not code:
        return words
    if enhanced:
        words = re.sub(rf"(?:(?<=\s)|^)(?:{code}[ -])?{re.escape(enhanced)}(?=\s|$)", " ", words)
    return re.sub(rf"(?:(?<=\s)|^){code}-", " ", words)


def _plain(enhanced: str) -> str:
    """Without leading zeros: 5.01.001 is 5.1.1."""
    return ".".join(str(int(part)) for part in enhanced.split("."))
