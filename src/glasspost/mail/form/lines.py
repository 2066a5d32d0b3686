"""A message's lines, judged: their ends, their length, and the octets in them.

Lives here: RFC 5321 §2.3.8 and RFC 5322 §2.1; cutting a message into lines.
Does not live here: what the lines mean (header.py, body.py).

Many findings of one kind become one, with the first place and a count: a file with ten thousand bare LF has one fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from glasspost.mail.form.finding import Finding, finding

LINE_LIMIT = 998  # octets without CRLF (RFC 5322 §2.1.1)
HEADER_LINE = 78

_BARE_LF = re.compile(rb"(?<!\r)\n")
_BARE_CR = re.compile(rb"\r(?!\n)")


def cut(data: bytes) -> list[bytes]:
    """The lines without their ends; an unfinished last line counts, an empty one behind the last end does not. A bare
    LF ends a line here: whoever reads a file sees it so, and findings name lines as an editor does."""
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    if lines and not lines[-1]:
        lines.pop()
    return lines


def judge_lines(data: bytes, lines: list[bytes], body_at: int) -> Iterator[Finding]:
    """What is wrong with line ends, lengths and octets. `body_at`: the number of the body's first line."""
    bare = _BARE_LF.findall(data)
    if bare and b"\r\n" not in data:
        yield finding("unix-lines", 0)
    elif bare:
        yield finding("bare-lf", _line_of(data, _BARE_LF), len(bare))
    alone = len(_BARE_CR.findall(data))
    if alone:
        yield finding("bare-cr", _line_of(data, _BARE_CR), alone)
    zeros = [number for number, line in enumerate(lines, 1) if b"\0" in line]
    if zeros:
        yield finding("nul", zeros[0], len(zeros))
    long = [(number, len(line)) for number, line in enumerate(lines, 1) if len(line) > LINE_LIMIT]
    if long:
        yield finding("line-too-long", long[0][0], len(long), octets=long[0][1])
    wide = [(n, len(line)) for n, line in enumerate(lines[: body_at - 1], 1) if HEADER_LINE < len(line) <= LINE_LIMIT]
    if wide:
        yield finding("header-line-long", wide[0][0], len(wide), octets=wide[0][1])


def _line_of(data: bytes, pattern: re.Pattern[bytes]) -> int:
    found = pattern.search(data)
    return data.count(b"\n", 0, found.start()) + 1 if found else 0
