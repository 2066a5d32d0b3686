"""What a pattern demands, read off its text without compiling it.

Lives here: `demands`, which finds in a regular expression the letters that any match must have. Two things rest on it:
how specific an entry is, and which entries need not be compiled for a text because they cannot match it.
Does not live here: compiling and searching (wordings.py).

It reads the plain part of the syntax and is careful elsewhere: what it does not understand demands nothing. So it may
think an entry less specific than it is, but never passes over one that matches.
"""

from __future__ import annotations

from dataclasses import dataclass

_MORE_OF_ESCAPE = {"x": 2, "u": 4, "U": 8}  # hexadecimal digits behind it


@dataclass(frozen=True, slots=True)
class Demands:
    """`weight`: how many letters and digits any match has at least. `needles`: lower-case texts, of which every match
    has at least one; empty where nothing is sure."""

    weight: int
    needles: tuple[str, ...]


@dataclass(slots=True)
class _Branch:
    """One alternative being read: its finished runs of literal letters, and the run at its end."""

    weight: int = 0
    longest: str = ""
    run: str = ""
    inner: tuple[str, ...] = ()  # the best needles of a group inside

    def end_run(self) -> None:
        self.weight += sum(1 for letter in self.run if letter.isalnum())
        if len(self.run) > len(self.longest):
            self.longest = self.run
        self.run = ""

    def needles(self) -> tuple[str, ...]:
        shortest = min(map(len, self.inner), default=0)
        if shortest > len(self.longest):
            return self.inner
        return (self.longest,) if self.longest else ()


def demands(pattern: str) -> Demands:
    """What any match of the pattern must have. The pattern is one that `re` takes, used with IGNORECASE."""
    found, _ = _alternatives(pattern, 0)
    return found


def _alternatives(pattern: str, at: int) -> tuple[Demands, int]:
    """Read alternatives up to the closing parenthesis or the end; (what they demand, where they ended)."""
    branches = [_Branch()]
    while at < len(pattern) and pattern[at] != ")":
        branch = branches[-1]
        letter = pattern[at]
        if letter == "|":
            branch.end_run()
            branches.append(_Branch())
            at += 1
            continue
        literal, group, end = _atom(pattern, at)
        at, optional, repeated = _quantifier(pattern, end)
        if group is not None:
            branch.end_run()
            if not optional:
                branch.weight += group.weight
                if min(map(len, group.needles), default=0) > min(map(len, branch.inner), default=0):
                    branch.inner = group.needles
        elif not literal or optional:
            branch.end_run()
        else:
            branch.run += literal
            if repeated:
                branch.end_run()
    for branch in branches:
        branch.end_run()
    each = [branch.needles() for branch in branches]
    needles = tuple(needle for some in each for needle in some) if all(each) else ()
    return Demands(min(branch.weight for branch in branches), needles), at


def _atom(pattern: str, at: int) -> tuple[str, Demands | None, int]:
    """One atom: (its letter in lower case, or "" where it may be several; a group's demands; where it ends)."""
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


def _group(pattern: str, at: int) -> tuple[str, Demands | None, int]:
    start = at + 1
    demanding = True
    if pattern.startswith("?", start):
        demanding = pattern.startswith(("?:", "?P<"), start)  # a look-around demands nothing here
        start = pattern.index(">", start) + 1 if pattern.startswith("?P<", start) else start + 2
    found, end = _alternatives(pattern, start)
    return "", found if demanding else Demands(0, ()), end + 1


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
