"""Bounces as they are written for people: by Postfix, Exim, Sendmail, qmail, Exchange, Gmail and others.

Lives here: going through the paragraphs of a pasted bounce, whose recipient each is about, and what a server said.
Does not live here: the fields for machines (report_fields.py), which are better where they are there.

No two programs write bounces alike, but nearly all do one of four things: they put the recipient in front of the
words, they say "said:", "returned" or "response was:" in front of them, they put the code in front of them, or they
end them with "(#5.1.1)".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from glasspost.explain.finding import LONGEST, Finding

_QUOTED = re.compile(r"^(?:> ?)+")
_END = re.compile(
    r"^-+ ?(?:This is a copy of the message|Below this line is a copy|Original message|Message header|"
    r"Unsent message|The header of the original|The following is|Message headers follow)|^Original message headers:|"
    r"^-{5,} .*\bheaders?\b",
    re.IGNORECASE,
)
_HEAD = re.compile(r"^(\s*)<?([^\s<>:;,()\"]+@[^\s<>:;,()\"]+)>?(?:<mailto:[^>]*>)?(?:\s*\([^)]*\))?(:?)\s*(.*)$")
_ALONE = re.compile(r" {0,2}<?[^\s<>:;,()\"]+@[^\s<>:;,()\"]+>?:?")
_ABOUT = re.compile(
    r"(?:(?:wasn't|was not|couldn't be|could not be) (?:delivered|sent) to:?|"
    r"无法(?:发送|投递|送达)(?:到|至)?[：:]?|^收件人[：:])\s*<?([^\s<>]+@[^\s<>]+?)[>.。]?(?=\s)",
    re.IGNORECASE,
)

_SAID = tuple(
    re.compile(rule, re.IGNORECASE)
    for rule in (
        r"\b(?:host|server) \S+(?: \S+)? (?:said|says|refused to talk to me): (?P<text>.+)",
        r"Remote host said:\s*(?P<text>.+)",
        r"SMTP error from remote (?:mail server|mailer) after [^:]+(?::\s*<[^>]*>[^:]*)?:\s*(?P<text>.+)",
        r"\breturned '(?P<text>.+)'",
        r"\(reason: (?P<text>.+?)\)(?:\s|$)",
        r"gave this error:\s*(?P<text>.+)",
        r"(?:other|remote|recipient) (?:mail )?server (?:returned|responded|said|replied)(?: was| with)?:?\s*"
        r"(?P<text>[45]\d\d.+)",
        r"#(?:<[^>]*?smtp;)?(?P<text>[45]\d\d .+?)>?(?: #SMTP#|##|$)",
        r"\b(?:error|response|reason|answer|reply|diagnostic)\b[^:]{0,60}:\s*(?P<text>[45]\d\d[ :-].+)",
    )
)
_NEXT = re.compile(
    r"(?:(?:response|error|reason|reply)\b.*\b(?:was|is|returned was)|responded with|gave this error):$", re.I
)
_CODE = re.compile(r"^(?:<<<\s*|[SR<]:\s*|<[-~*]+\s+|<\s+)?(?P<text>[245]\d\d(?:[ -].*|:\s.*|))$")
_MARKED = re.compile(r"\(#[45]\.\d\.\d{1,3}\)")
_ASKED = re.compile(r"^(?:>>>|->|~>|=>|C:)\s")


def in_bounce(text: str) -> list[Finding]:
    """A finding for each refusal that a bounce for people, or a pasted conversation, tells of."""
    found: list[Finding] = []
    recipient, expected = "", False
    for number, lines in _paragraphs(text):
        recipient = _recipient(lines) or recipient
        some = list(_said(number, lines, recipient, expected))
        found += some
        expected = not some and bool(_NEXT.search(" ".join(line.strip() for line in lines)[-300:]))
    return found


def _paragraphs(text: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, lines) of what stands between blank lines, or begins with an address on a
    line of its own; up to the copy of the message."""
    start, lines = 0, list[str]()
    for number, raw in enumerate(text.splitlines(), 1):
        line = _QUOTED.sub("", raw) if raw.startswith(">") and not raw.startswith(">>>") else raw
        if _END.match(line.strip()):
            break
        if lines and _ALONE.fullmatch(line.rstrip()):
            yield start, lines
            start, lines = 0, []
        if line.strip():
            start = start or number
            lines.append(line.rstrip())
        elif lines:
            yield start, lines
            start, lines = 0, []
    if lines:
        yield start, lines


def _recipient(lines: list[str]) -> str:
    """Whom a paragraph is about, where it says so."""
    head = _HEAD.match(lines[0])
    if head and (not head[4] or head[3]):
        return head[2]
    about = _ABOUT.search(" ".join(lines) + " ")
    return about[1] if about else ""


def _said(number: int, lines: list[str], recipient: str, expected: bool) -> Iterator[Finding]:
    """What a server said in a paragraph. `expected`: the paragraph before announced it."""
    coded = list(_coded(number, lines))
    joined = " ".join(line.strip() for line in lines)[:LONGEST]
    for rule in _SAID:
        found = rule.search(joined)
        if found and not any(_ASKED.match(line.strip()) for line in lines):
            yield Finding(found["text"], "bounce", number, recipient).bare()
            return
    if coded:
        for at, text in coded:
            yield Finding(text, "bounce", at, recipient).bare()
        return
    head = _HEAD.match(lines[0])
    rest = " ".join([head[4], *(line.strip() for line in lines[1:])]).strip() if head else ""
    told = head is not None and (bool(head[3]) or head[1].startswith("  ") or _MARKED.search(joined) is not None)
    if told and rest:
        yield Finding(rest, "bounce", number, recipient).bare()
    elif expected or _MARKED.search(joined):
        yield Finding(joined, "bounce", number, recipient).bare()


def _coded(number: int, lines: list[str]) -> Iterator[tuple[int, str]]:
    """Replies that begin on a line of their own: (line, text); lines that go on with "550-" or without a code belong
    to the reply before them."""
    at, reply = 0, list[str]()
    conversation = any(_ASKED.match(line.strip()) for line in lines)
    for offset, line in enumerate(lines):
        found = _CODE.match(line.strip())
        if found:
            same = reply and reply[-1][3:4] == "-" and reply[-1][:3] == found["text"][:3]
            if reply and not same:
                yield at, "\n".join(reply)
                reply = []
            at = at if reply else number + offset
            reply.append(found["text"])
        elif reply and (conversation or line.lstrip().startswith("...")):
            yield at, "\n".join(reply)
            reply = []
        elif reply:
            reply.append(line.strip())
    if reply:
        yield at, "\n".join(reply)
