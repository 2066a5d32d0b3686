"""On which line each key of a TOML text stands.

Lives here: a walk over TOML text that is already known to be valid (tomllib has read it), noting lines only.
Does not live here: what the values are (tomllib), and whether they are right (config.py).

tomllib keeps no lines, and an operator needs them. Because the text is valid, the walk has to find ends, not
faults: it knows keys, strings, arrays, tables and comments, and takes everything else as it comes. TOML v1.0.0.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'')
_SCALAR = re.compile(r"[^,\]}\n#]+")
_BASIC = re.compile(r'"(?:\\.|[^"\\])*"')
# Two more quotes may stand inside, right before the closing three.
_LONG_BASIC = re.compile(r'"""(?:\\.|[^\\])*?"""(?:"{0,2})', re.DOTALL)
_LITERAL = re.compile(r"'[^']*'")
_LONG_LITERAL = re.compile(r"'''.*?'''(?:'{0,2})", re.DOTALL)


def key_lines(text: str) -> dict[Path, int]:
    """The line, counted from 1, of every key and every element of every array in valid TOML.

    Paths are as pydantic writes them: `("listener", 0, "port")`. A table that is named more than once, in headers
    or dotted keys, has the line where it was first named.
    """
    return _Walk(text.replace("\r\n", "\n")).run()


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._feeds = [number for number, letter in enumerate(text) if letter == "\n"]
        self._counts: dict[Path, int] = {}  # how many elements each array of tables has so far

    def run(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip(_BLANK)
        return self.lines

    def _header(self) -> Path:
        """`[table]` or `[[array of tables]]`: the path that following keys belong to."""
        start = self.at
        double = self.text.startswith("[[", start)
        self.at += 2 if double else 1
        *parents, last = self._keys()
        self.at += 2 if double else 1  # the closing brackets
        path: Path = ()
        for key in parents:
            path = self._latest(self._note((*path, key), start), start)
        path = self._note((*path, last), start)
        if not double:
            return self._latest(path, start)
        self._counts[path] = self._counts.get(path, 0) + 1
        return self._latest(path, start)

    def _latest(self, path: Path, start: int) -> Path:
        """The last element, where the path is an array of tables (TOML v1.0.0, "Array of Tables")."""
        count = self._counts.get(path)
        return path if count is None else self._note((*path, count - 1), start)

    def _assignment(self, table: Path) -> None:
        start = self.at
        path = table
        for key in self._keys():
            path = self._note((*path, key), start)
        self.at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> list[str]:
        """A dotted key and the blanks around it."""
        keys = []
        while True:
            self._skip(_SPACE)
            found = _KEY.match(self.text, self.at)
            assert found is not None, "the text is valid TOML, so a key stands here"
            self.at = found.end()
            raw = found.group()
            keys.append(tomllib.loads(f"key = {raw}")["key"] if raw[0] in "\"'" else raw)
            self._skip(_SPACE)
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _value(self, path: Path) -> None:
        """Pass over a value; note the lines of what is in it."""
        letter = self.text[self.at]
        if letter == "[":
            self._array(path)
        elif letter == "{":
            self._inline_table(path)
        elif letter == '"':
            self._skip(_LONG_BASIC if self.text.startswith('"""', self.at) else _BASIC)
        elif letter == "'":
            self._skip(_LONG_LITERAL if self.text.startswith("'''", self.at) else _LITERAL)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        count = 0
        while self._next_is_not("]"):
            self._value(self._note((*path, count), self.at))
            count += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while self._next_is_not("}"):
            self._assignment(path)
        self.at += 1

    def _next_is_not(self, closing: str) -> bool:
        """Pass over blanks and a comma; whether another element follows."""
        self._skip(_BLANK)
        if self.text[self.at] == ",":
            self.at += 1
            self._skip(_BLANK)
        return self.text[self.at] != closing

    def _note(self, path: Path, position: int) -> Path:
        self.lines.setdefault(path, bisect_right(self._feeds, position - 1) + 1)
        return path

    def _skip(self, what: re.Pattern[str]) -> None:
        found = what.match(self.text, self.at)
        assert found is not None, "the text is valid TOML, so this stands here"
        self.at = found.end()
