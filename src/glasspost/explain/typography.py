"""Lines of text for a terminal, in a language whose letters take one column and in one whose letters take two.

Lives here: how wide a text is, and breaking it into lines.
Does not live here: what is printed (cli/explain.py and whoever else shows explanations).

English breaks at blanks. Chinese breaks between any two characters, but no line begins with a closing mark (，。；）)
and none ends with an opening one (（“).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from unicodedata import category, east_asian_width

_NOT_FIRST = "，。；：！？、）》」』”’】…,.;:!?)]}%"
_NOT_LAST = "（《「『“‘【([{"


def width(text: str) -> int:
    """How many columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if category(letter) in ("Mn", "Me", "Cf") else 2 if east_asian_width(letter) in "WF" else 1 for letter in text
    )


def padded(text: str, columns: int) -> str:
    """A text with blanks behind it, `columns` wide; longer ones stay as they are."""
    return text + " " * max(0, columns - width(text))


def fitted(text: str, columns: int) -> str:
    """A text in one line of at most `columns` columns: what has no room is cut, and an ellipsis says so."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 1:
        text = text[: min(len(text) - 1, columns)]
    return text.rstrip() + "…"


def wrapped(text: str, columns: int) -> list[str]:
    """A text as lines of at most `columns` columns; what cannot be broken may stand out. Blanks at line ends go."""
    lines, line, used = list[str](), "", 0
    for piece in _pieces(text):
        wide = width(piece)
        if line and used + width(piece.rstrip()) > columns:
            lines.append(line.rstrip())
            line, used = "", 0
            piece = piece.lstrip()
            wide = width(piece)
        line += piece
        used += wide
    if line.strip():
        lines.append(line.rstrip())
    return lines


def _pieces(text: str) -> Iterator[str]:
    """What may not be broken: a word with the blank behind it, or a Chinese character with the marks that cling."""
    piece = ""
    for letter in " ".join(text.split()):
        if piece and _may_break(piece[-1], letter):
            yield piece
            piece = ""
        piece += letter
    if piece:
        yield piece


def _may_break(before: str, after: str) -> bool:
    if after in _NOT_FIRST or before in _NOT_LAST or after == " ":
        return False
    return before == " " or _WIDE.match(before) is not None or _WIDE.match(after) is not None


_WIDE = re.compile(r"[⺀-鿿豈-﫿\uff00-\uff60，。；：！？、）》」』”’】…]")
