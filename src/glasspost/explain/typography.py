"""Lines of text for a terminal, in a language whose letters take one column and in one whose letters take two.

Lives here: how wide a text is, breaking it into lines, and making visible what a terminal would obey.
Does not live here: what is printed (cli/explain.py and whoever else shows text).

English breaks at blanks. Chinese breaks between any two characters, but no line begins with a closing mark (，。；）)
and none ends with an opening one (（“).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from unicodedata import category, east_asian_width

_NOT_FIRST = "，。；：！？、．）》」』】〉”’…,.;:!?)]}%"
_NOT_LAST = "（《「『“‘【〈([{"
_CLING = "”’…"  # marks of Chinese that are not always wide: a line may end behind them all the same


def width(text: str) -> int:
    """How many columns a text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def visible(text: str) -> str:
    """A line as it may be printed, whoever wrote it: controls, characters without a shape and those that turn the
    direction of writing around stand as `\\xNN`, octet by octet, as in talks. All else stays as it is."""
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(letter: str) -> str:
    if letter.isprintable() or category(letter) == "Zs":
        return letter
    lone = "\udc80" <= letter <= "\udcff"  # an octet that was no UTF-8
    octets = letter.encode("utf-8", "surrogateescape" if lone else "surrogatepass")
    return "".join(f"\\x{octet:02x}" for octet in octets)


def shortened(text: str, columns: int) -> str:
    """A line of at most `columns` columns; where something was left out, an ellipsis ends it."""
    return text if width(text) <= columns else text[: _fitting(text, columns - 1)] + "…"


def padded(text: str, columns: int) -> str:
    """A text with blanks behind it, `columns` wide; longer ones stay as they are."""
    return text + " " * max(0, columns - width(text))


def wrapped(text: str, columns: int, *, cut: bool = False) -> list[str]:
    """A text as lines of at most `columns` columns, at least one. What cannot be broken stands out; with `cut` it is
    cut. Line ends and tabs in the text count as a blank; what else cannot be seen is made visible. Blanks stay as they
    are, but go at the ends of lines."""
    lines, line, used = list[str](), "", 0
    for piece in _pieces(visible(_OTHER_BLANKS.sub(" ", text.strip()))):
        wide = width(piece.rstrip())
        if line and used + wide > columns:
            lines.append(line.rstrip())
            line, used = "", 0
        while cut and wide > columns:
            at = _fitting(piece, columns)
            lines.append(piece[:at])
            piece = piece[at:]
            wide = width(piece.rstrip())
        line += piece
        used += width(piece)
    if line.strip() or not lines:
        lines.append(line.rstrip())
    return lines


def _pieces(text: str) -> Iterator[str]:
    """What may not be broken: a word with the blanks behind it, or a Chinese character with the marks that cling."""
    piece = ""
    for letter in text:
        if piece and _may_break(piece[-1], letter):
            yield piece
            piece = ""
        piece += letter
    if piece:
        yield piece


def _may_break(before: str, after: str) -> bool:
    if before == " " or after == " ":
        return after != " "
    if after in _NOT_FIRST or before in _NOT_LAST or not _columns_of(after):
        return False
    return _is_wide(before) or _is_wide(after)


def _is_wide(letter: str) -> bool:
    return _columns_of(letter) == 2 or letter in _CLING


def _columns_of(letter: str) -> int:
    if letter.isascii():
        return 1
    return 0 if category(letter) in ("Mn", "Me", "Cf") else 2 if east_asian_width(letter) in "WF" else 1


def _fitting(text: str, columns: int) -> int:
    """How many characters of a text fit, at least one."""
    taken = 0
    for at, letter in enumerate(text):
        taken += _columns_of(letter)
        if taken > columns:
            return max(1, at)
    return len(text)


_OTHER_BLANKS = re.compile(r"\s*[^\S ]\s*")
