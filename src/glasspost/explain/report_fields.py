"""Delivery reports as machines write them: the fields of message/delivery-status (RFC 3464 §2).

Lives here: finding the recipients of a report in a pasted text, whole message or a part of it, quoted or not.
Does not live here: what is written for people beside it (bounce_text.py); our own reports (mail/dsn_fields.py).

The text is read line by line, not as MIME: who pastes a bounce often pastes a part of it, and the fields are never
encoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from glasspost.explain.finding import Finding

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*)")
_QUOTED = re.compile(r"^(?:> ?)+")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
# Where the fields do not repeat what a server said, other programs put it here.
_SAID = ("diagnostic-code", "x-glasspost-finding", "x-display-name-reason", "x-supplementary-info")


def in_report(text: str) -> list[Finding]:
    """A finding for each recipient of a delivery report; empty where the text is none."""
    return [found for line, fields in _blocks(text) if (found := _recipient(line, fields)) is not None]


def _blocks(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Groups of fields that stand together: (line of the first, name in small letters -> value, unfolded)."""
    start, fields, last = 0, dict[str, str](), ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = _QUOTED.sub("", raw).rstrip()
        field = _FIELD.match(line)
        if field and not line.startswith((" ", "\t")):
            last = field[1].lower()
            start = start or number
            if last in ("final-recipient", "original-recipient") and last in fields:
                yield start, fields  # a blank line was lost between two recipients
                start, fields = number, {}
            fields.setdefault(last, field[2])
        elif line.startswith((" ", "\t")) and line.strip() and last:
            fields[last] = f"{fields[last]}\n{line.strip()}"
        else:
            if fields:
                yield start, fields
            start, fields, last = 0, {}, ""
    if fields:
        yield start, fields


def _recipient(line: int, fields: dict[str, str]) -> Finding | None:
    """What a group of fields says about a recipient; None where it is about something else."""
    named = fields.get("original-recipient") or fields.get("final-recipient") or fields.get("x-actual-recipient", "")
    if not named or not ("action" in fields or "status" in fields or "diagnostic-code" in fields):
        return None
    status = _STATUS.search(fields.get("status", ""))
    said = next((fields[name] for name in _SAID if fields.get(name)), "")
    words = " ".join(re.sub(r"^[A-Za-z0-9-]+;\s*", "", said.strip()).split())
    return Finding(
        text=words or (status[0] if status else ""),
        place="report",
        line=line,
        recipient=_after_type(named),
        action=fields.get("action", "").strip().split(" ")[0].lower(),
        status=status[0] if status else "",
        server=_after_type(fields.get("remote-mta", "")),
    ).bare()


def _after_type(value: str) -> str:
    """`rfc822; <a@example.org>` -> `a@example.org`."""
    return value.rpartition(";")[2].split("(")[0].strip().strip("<>")
