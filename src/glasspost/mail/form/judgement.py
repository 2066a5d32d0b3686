"""A message's form, judged: all that is wrong with it, in the order of its lines.

Lives here: `judge`, which asks each judge in turn, and what their findings come to.
Does not live here: any judging (lines.py, header.py, body.py, looks.py), the words (rules.py).

The whole message is in memory, several times over: this is for looking at one, not for a server's way in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from glasspost.mail.form.body import Body
from glasspost.mail.form.finding import Finding, finding, read_section
from glasspost.mail.form.header import judge_header
from glasspost.mail.form.lines import cut, judge_lines
from glasspost.mail.form.looks import judge_looks
from glasspost.mail.form.rules import SEVERITIES

DEFAULT_LIMIT = 25_000_000  # octets; what Gmail and most others take


@dataclass(frozen=True, slots=True)
class Judgement:
    """`findings` in the order of their lines, those about the whole message first. `octets`: the message's size."""

    findings: tuple[Finding, ...]
    octets: int

    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each severity."""
        told = [one.rule.severity for one in self.findings]
        return {severity: told.count(severity) for severity in SEVERITIES}

    @property
    def acceptable(self) -> bool:
        """Whether a strict server would take it."""
        return not self.counts["error"]


def judge(data: bytes, now: float, limit: int = DEFAULT_LIMIT) -> Judgement:
    """Judge a message as it is in `data`, header and body. `now`: seconds since the epoch, for its Date; `limit`: the
    largest size in octets. Never raises because of what is in the message."""
    found = sorted(_all(data, now, limit), key=lambda one: (one.line, SEVERITIES.index(one.rule.severity)))
    return Judgement(tuple(found), len(data))


def _all(data: bytes, now: float, limit: int) -> Iterator[Finding]:
    if len(data) > limit:
        yield finding("too-large", 0, octets=len(data), limit=limit)
    lines = cut(data)
    message = read_section(_without_envelope(lines), 1)
    yield from judge_lines(data, lines, message.line)
    yield from judge_header(message, now)
    body = Body(message)
    yield from body.findings
    yield from judge_looks(message, body)


def _without_envelope(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Without the line that a Unix mailbox puts before a message; it keeps its place, so that the lines' numbers are
    right."""
    return [b"X-Unix-From: " + lines[0][5:], *lines[1:]] if lines and lines[0].startswith(b"From ") else lines
