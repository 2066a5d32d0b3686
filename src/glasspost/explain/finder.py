"""Finding what was said in whatever somebody pasted: a report, a bounce, a log, a conversation, a reply.

Lives here: `find`, which asks the readers of each kind in turn, and drops what is said twice.
Does not live here: the readers (report_fields.py, log_lines.py, bounce_text.py), the meaning (explainer.py).
"""

from __future__ import annotations

import re

from glasspost.explain.bounce_text import in_bounce
from glasspost.explain.finding import Finding
from glasspost.explain.log_lines import in_logs
from glasspost.explain.reply_text import read
from glasspost.explain.report_fields import in_report

_PYTHON = re.compile(r"\((?P<code>[2-5]\d\d), b?(?P<quote>['\"])(?P<text>.*?)(?P=quote)", re.DOTALL)
_ONE_REPLY = re.compile(r"\s*(?:[2-5]\d\d(?:[ -].*)?(?:\n|$)\s*)+", re.IGNORECASE)

_COMPARED = 300  # findings of one bounce that are compared each with each


def find(text: str) -> list[Finding]:
    """What a pasted text says about mail that was refused, delayed or delivered; in the order in which it stands there.

    Fields for machines go before words for people, as they say the same more exactly. Where nothing is found, the text
    itself is what was asked about.
    """
    text = text.replace("\r\n", "\n").strip("\n")
    if _ONE_REPLY.fullmatch(text) and len({line[:3] for line in text.splitlines() if line.strip()}) == 1:
        return [Finding(text, "text")]
    for reader in (in_report, in_logs, _in_python, in_bounce):
        found = reader(text)
        if found:
            return _once(found)
    return [Finding(text.strip(), "text")]


def _in_python(text: str) -> list[Finding]:
    """Errors of Python's smtplib: (550, b'5.1.1 ...')."""
    return [
        Finding(f"{found['code']} {found['text']}".replace("\\n", "\n"), "text", text.count("\n", 0, found.start()) + 1)
        for found in _PYTHON.finditer(text)
    ]


def _once(found: list[Finding]) -> list[Finding]:
    """Without what is told twice, and without successes beside refusals in a conversation."""
    refused = [one for one in found if read(one.text).code[:1] in ("4", "5")]
    if refused and all(one.place == "bounce" for one in found):
        found = [one for one in found if one in refused or not read(one.text).code]
    kept: dict[tuple[str, str], Finding] = {}
    for one in found:
        kept.setdefault((one.recipient, read(one.text).line), one)
    if len(kept) > _COMPARED or all(one.place == "log" for one in found):
        return list(kept.values())  # lines of a log are about one attempt each
    return [one for key, one in kept.items() if not any(_says_more(other, key) for other in kept)]


def _says_more(other: tuple[str, str], one: tuple[str, str]) -> bool:
    """The other names the recipient too, or has the code in front of the same words."""
    if other == one or one[0] not in ("", other[0]):
        return False
    return other[1] == one[1] or other[1].endswith(f" {one[1]}")
