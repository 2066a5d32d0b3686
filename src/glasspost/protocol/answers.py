"""An answer, as a person at the client's side of SMTP or POP3 sees it.

Lives here: which lines belong together, and whether that is a yes, a no, or no answer at all. Strangers say all kinds
of things to a person who tries them out, so everything is taken, and what is not of the protocol is called so.
Does not live here: the strict reader that our own courier uses (smtp_replies.py), what an answer does to the
conversation (smtp_course.py, pop3_course.py), what it means (explain/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Reply-line = Reply-code ( SP / "-" ) [ textstring ]   (RFC 5321 §4.2); any second digit, as codes like 571 are in use
_SMTP_LINE = re.compile(rb"([2-5][0-9][0-9])([ -].*)?", re.DOTALL)
_POP3_LINE = re.compile(rb"(\+OK|-ERR|\+)(?: .*)?", re.DOTALL)  # RFC 1939 §3, RFC 5034 §4

LINES_KEPT = 512  # of one answer; further ones are counted


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `code`: "250", "+OK", "-ERR", "+"; empty where the line is none of this protocol.

    `lines` are the first LINES_KEPT of it, without CRLF; `count` is how many there were.
    """

    code: str
    lines: tuple[bytes, ...]
    count: int = 1

    @property
    def positive(self) -> bool:
        """Done, or go on."""
        return self.code[:1] in ("2", "3", "+")

    @property
    def challenge(self) -> bool:
        """Go on with the sign-in: 334 (RFC 4954 §4), + (RFC 5034 §4)."""
        return self.code in ("334", "+")

    @property
    def text(self) -> str:
        """All of it, a line each, made fit to be shown."""
        return "\n".join(line.decode("utf-8", "replace") for line in self.lines)


def code_of(line: bytes) -> str:
    """The code that a line of either protocol begins with; empty where there is none."""
    found = _SMTP_LINE.fullmatch(line) or _POP3_LINE.fullmatch(line)
    return found[1].decode() if found is not None else ""


def is_pop3(greeting: bytes) -> bool:
    """Whether this is how a POP3 server greets."""
    return code_of(greeting) in ("+OK", "-ERR")


class Gatherer:
    """Puts lines together to answers. `pop3`: which protocol; for POP3 somebody must say when an answer has a body."""

    __slots__ = ("_code", "_count", "_lines", "pop3")

    def __init__(self) -> None:
        self.pop3 = False
        self._code = ""
        self._lines: list[bytes] = []
        self._count = 0

    @property
    def within(self) -> bool:
        """Whether an answer has begun and not ended."""
        return self._count > 0

    def take(self, line: bytes, *, has_body: bool = False) -> Answer | None:
        """One more line. The answer, once it is whole. `has_body`: a +OK to what was asked is followed by lines, the
        last of them a dot (RFC 1939 §3)."""
        return self._pop3(line, has_body) if self.pop3 else self._smtp(line)

    def _smtp(self, line: bytes) -> Answer | None:
        found = _SMTP_LINE.fullmatch(line)
        if found is None:
            # Within an answer it is one more of its lines: some servers wrap. Alone it is an answer to nobody's liking.
            if self.within:
                self._keep(line)
                return None
            return Answer("", (line,))
        if not self.within:
            self._code = found[1].decode()
        self._keep(line)
        return None if (found[2] or b"")[:1] == b"-" else self._done()

    def _pop3(self, line: bytes, has_body: bool) -> Answer | None:
        if self.within:
            self._keep(line)
            return self._done() if line == b"." else None
        code = code_of(line)
        if code != "+OK" or not has_body:
            return Answer(code if code in ("+OK", "-ERR", "+") else "", (line,))
        self._code = code
        self._keep(line)
        return None

    def _keep(self, line: bytes) -> None:
        self._count += 1
        if len(self._lines) < LINES_KEPT:
            self._lines.append(line)

    def _done(self) -> Answer:
        answer = Answer(self._code, tuple(self._lines), self._count)
        self._lines = []
        self._count = 0
        return answer
