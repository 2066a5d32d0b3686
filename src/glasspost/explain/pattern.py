"""What a pattern demands, read off its text without compiling it.

Lives here: `alternatives`, which finds in a regular expression the letters that any match must have. Two things rest on
it: how specific an entry is, and which entries need not be compiled for a text because they cannot match it.
Does not live here: compiling and searching (wordings.py).

It reads the plain part of the syntax and is careful elsewhere: what it does not understand demands nothing. So it may
think an entry less specific than it is, but never passes over one that matches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Letters that stand for themselves, up to the last before a quantifier, which may belong to it.
_PLAIN = re.compile(r"[\w \-:;,<>@/'\"!#%&=~`]+(?![?*+{])")
_MORE_OF_ESCAPE = {"x": 2, "u": 4, "U": 8}  # hexadecimal digits behind it


@dataclass(frozen=True, slots=True)
class Alternative:
    """A pattern, or one of its parts that "|" divides at the top. `weight`: how many letters and digits any match has
    at least. `needles`: lower-case texts, of which every match has at least one; empty where nothing is sure."""

    text: str
    weight: int
    needles: tuple[str, ...]


@dataclass(slots=True)
class _Branch:
    """An alternative being read: its finished runs of literal letters, and the run at its end."""

    start: int
    stop: int = 0
    weight: int = 0
    longest: str = ""
    run: str = ""
    inner: tuple[str, ...] = ()  # the best needles of a group inside

    def end_run(self) -> None:
        if self.run:
            self.weight += sum(map(str.isalnum, self.run))
            if len(self.run) > len(self.longest):
                self.longest = self.run
            self.run = ""

    def needles(self) -> tuple[str, ...]:
        if self.inner and min(map(len, self.inner)) > len(self.longest):
            return self.inner
        return (self.longest,) if self.longest else ()


def alternatives(pattern: str) -> list[Alternative]:
    """The alternatives at the top of a pattern that `re` takes, used with IGNORECASE; at least one."""
    branches, _ = _branches(pattern, 0)
    return [Alternative(pattern[one.start : one.stop], one.weight, one.needles()) for one in branches]


def as_one(pattern: str, found: list[Alternative]) -> Alternative:
    """The alternatives of a pattern taken together: the one that demands least counts."""
    needles = tuple(needle for one in found for needle in one.needles) if all(one.needles for one in found) else ()
    return Alternative(pattern, min(one.weight for one in found), needles)


def _branches(pattern: str, at: int) -> tuple[list[_Branch], int]:
    """Read alternatives up to the closing parenthesis or the end; (the alternatives, where they ended)."""
    branch = _Branch(at)
    branches = [branch]
    size = len(pattern)
    while at < size and pattern[at] != ")":
        plain = _PLAIN.match(pattern, at)
        if plain:
            branch.run += plain[0].lower()
            at = plain.end()
            continue
        if pattern[at] == "|":
            branch.end_run()
            branch.stop = at
            at += 1
            branch = _Branch(at)
            branches.append(branch)
            continue
        at = _take(pattern, at, branch)
    branch.end_run()
    branch.stop = at
    return branches, at


def _take(pattern: str, at: int, branch: _Branch) -> int:
    """Read one atom with its quantifier into a branch; where it ended."""
    literal, group, end = _atom(pattern, at)
    at, optional, repeated = _quantifier(pattern, end)
    if group is not None:
        branch.end_run()
        if not optional:
            branch.weight += min(one.weight for one in group)
            each = [one.needles() for one in group]
            needles = tuple(needle for some in each for needle in some) if all(each) else ()
            if min(map(len, needles), default=0) > min(map(len, branch.inner), default=0):
                branch.inner = needles
    elif not literal or optional:
        branch.end_run()
    else:
        branch.run += literal
        if repeated:
            branch.end_run()
    return at


def _atom(pattern: str, at: int) -> tuple[str, list[_Branch] | None, int]:
    """One atom: (its letter in lower case, or "" where it may be several; a group's alternatives; where it ends)."""
    letter = pattern[at]
    if letter == "(":
        return _group(pattern, at)
    if letter == "[":
        return "", None, _end_of_set(pattern, at)
    if letter == "\\":
        escaped = pattern[at + 1 : at + 2]
        if not escaped.isalnum():
            return escaped, None, at + 2
        return "", None, at + 2 + _MORE_OF_ESCAPE.get(escaped, 0)
    if letter in ".^$":
        return "", None, at + 1
    return letter.lower(), None, at + 1


def _group(pattern: str, at: int) -> tuple[str, list[_Branch] | None, int]:
    start = at + 1
    demanding = True
    if pattern.startswith("?", start):
        demanding = pattern.startswith(("?:", "?P<"), start)  # a look-around demands nothing here
        start = pattern.index(">", start) + 1 if pattern.startswith("?P<", start) else start + 2
    found, end = _branches(pattern, start)
    return "", found if demanding else None, end + 1


def _end_of_set(pattern: str, at: int) -> int:
    end = at + 1
    if pattern.startswith("^", end):
        end += 1
    if pattern.startswith("]", end):
        end += 1
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end + 1


def _quantifier(pattern: str, at: int) -> tuple[int, bool, bool]:
    """What stands behind an atom: (where it ends, it may be missing, it may come again)."""
    if at >= len(pattern) or pattern[at] not in "?*+{":
        return at, False, False
    optional = pattern[at] in "?*" or pattern.startswith(("{0", "{,"), at)
    end = pattern.index("}", at) + 1 if pattern[at] == "{" else at + 1
    if pattern[end : end + 1] in ("?", "+"):
        end += 1  # lazy or possessive
    return end, optional, True
