"""Lines of mail logs: what a server said, as Postfix, Exim, Sendmail and OpenSMTPD write it down.

Lives here: one rule for each kind of line.
Does not live here: bounces (bounce_text.py), what it means (explainer.py).

A rule is a regular expression with the groups `text` (what was said), and `to`, `status`, `server`, where the line
tells them. A line that no rule knows is not a log line here, even where it has a date in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from glasspost.explain.finding import LONGEST, Finding

_TO = r"to=<?(?P<to>[^>,\s]*)>?"
_EXIM = (
    r"<?(?P<to>[^\s>]+@[^\s>]+)>?(?: <[^>]*>)?.*?(?: H=(?P<server>\S+)(?: \[[^\]]*\](?::\d+)?)?)?"
    r"(?: (?:[A-Z]\w*=\S+|\"[^\"]*\"))*(?: defer \(-?\d+\))?(?: DT=\S+)?: (?P<text>.+)$"
)

# What a line must have at least for its rule to be tried, and the rule.
_RULES = tuple(
    (mark, re.compile(rule, re.IGNORECASE))
    for mark, rule in (
        (  # Postfix, a delivery: to=<a@example.org>, relay=mx[192.0.2.1]:25, ..., dsn=5.1.1, status=bounced (...)
            "status=",
            rf"{_TO},.*?(?:relay=(?P<server>[^,\s]+),.*?)?(?:dsn=(?P<status>[245]\.\d+\.\d+), )?status=\w+ "
            r"\((?P<text>.*)\)\s*$",
        ),
        (  # Postfix, a refusal of its own: NOQUEUE: reject: RCPT from client[192.0.2.1]: 554 5.7.1 ...; ... to=<a@...>
            "]: ",
            r"(?:reject|reject_warning|milter-reject|hold|discard): \S+ from (?P<server>\S+\]): "
            r"(?P<text>[2345]\d\d .*?)(?:; (?:from=<[^>]*>)?(?:.*?to=<(?P<to>[^>]*)>)?.*)?$",
        ),
        (  # OpenSMTPD: mta delivery evpid=... to=<a@example.org> ... relay="mx" ... result="PermFail" stat="550 ..."
            'result="',
            rf"{_TO} .*?(?:relay=\"(?P<server>[^\"]*)\".*?)?result=\"\w+\".*?stat=\"(?P<text>.*)\"\s*$",
        ),
        (  # Sendmail: to=<a@example.org>, ..., relay=mx. [192.0.2.1], dsn=5.1.1, stat=User unknown
            "stat=",
            rf"{_TO},.*?(?:relay=(?P<server>[^,\s]+).*?)?(?:dsn=(?P<status>[245]\.\d+\.\d+), )stat=(?P<text>.*)$",
        ),
        (  # Sendmail, a refusal of its own: ruleset=check_rcpt, arg1=<a@example.org>, ..., reject=550 5.7.1 ...
            "ruleset=",
            r"ruleset=\w+, arg1=<?(?P<to>[^>,\s]*)>?,.*?relay=(?P<server>[^,]+), reject=(?P<text>[45]\d\d .*)$",
        ),
        (  # Exim, failed: ** a@example.org ... H=mx [192.0.2.1]...: SMTP error from ...
            " ** ",
            rf" \*\* {_EXIM}",
        ),
        (  # Exim, deferred: == a@example.org ... defer (-44) H=mx [192.0.2.1]: SMTP error from ...
            " == ",
            rf" == {_EXIM}",
        ),
        (  # Exim, a refusal of its own: H=(client) [192.0.2.1] F=<...> rejected RCPT <a@example.org>: ...
            "rejected ",
            r"H=(?P<server>.+?) (?:F=<[^>]*> )?(?:temporarily )?rejected "
            r"(?:RCPT|MAIL|after DATA|EHLO or HELO|connection)\b(?: <?(?P<to>[^>:\s]*)>?)?[^:]*: (?P<text>.+)$",
        ),
        (  # qmail: delivery 1: failure: 192.0.2.1_does_not_like_recipient./Remote_host_said:_550_...
            "delivery ",
            r"delivery \d+: (?:failure|deferral): (?P<text>\S+)$",
        ),
    )
)
_DATED = re.compile(r"^(?:<\d+>)?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\d\d:\d\d|@[0-9a-f]{24})")
_SAID_SOMEWHERE = re.compile(r"(?<![\d.:])(?P<text>[45]\d\d[ -][45]\.\d{1,3}\.\d{1,3} .*)$")


def in_logs(text: str) -> list[Finding]:
    """A finding for each line of a mail log that tells what was said; empty where there is none."""
    return list(_findings(text))


def _findings(text: str) -> Iterator[Finding]:
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole[:LONGEST]
        for mark, rule in _RULES:
            found = rule.search(line) if mark in line else None
            if found:
                yield _finding(number, found, underscored=mark == "delivery ")
                break
        else:
            said = _SAID_SOMEWHERE.search(line) if _DATED.match(line) else None
            if said:
                yield Finding(said["text"], "log", number)


def _finding(number: int, found: re.Match[str], underscored: bool) -> Finding:
    parts = found.groupdict()
    text = parts["text"]
    if underscored:  # qmail writes blanks as _ and line ends as /
        text = text.replace("_", " ").replace("/", " ")
    return Finding(
        text=text,
        place="log",
        line=number,
        recipient=parts.get("to") or "",
        status=parts.get("status") or "",
        server=(parts.get("server") or "").rstrip("."),
    ).bare()
