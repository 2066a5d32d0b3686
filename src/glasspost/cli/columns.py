"""Text in columns: broken into lines by the room it takes on a terminal, where a Chinese character takes two columns.

Lives here: measuring and breaking.
Does not live here: colours, and what is printed (send_view.py).
"""

from __future__ import annotations

import re

from rich.cells import cell_len

# What may not begin a line, and what may not end one, where lines can break between any two characters.
_NOT_FIRST = "、。，．：；？！）」』】》〉”’…"
_NOT_LAST = "（「『【《〈“‘"
_WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6"
_PIECE = re.compile(
    rf"[{_NOT_LAST}]*(?:[{_WIDE}]|[^\s{_WIDE}{_NOT_FIRST}{_NOT_LAST}]+|[{_NOT_FIRST}])[{_NOT_FIRST}]*|\s+|."
)


def width_of(text: str) -> int:
    """How many columns a text takes."""
    return cell_len(text)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns: broken at spaces, and between characters that are written without
    them; a word that is wider than a line is cut. At least one line."""
    lines: list[str] = []
    line = ""
    for found in _PIECE.finditer(text):
        piece = found.group()
        if cell_len(line) + cell_len(piece.rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line = ""
            piece = piece.lstrip()
        while cell_len(piece) > width and piece.strip():
            cut = _fitting(piece, width - cell_len(line))
            lines.append(line + piece[:cut])
            line, piece = "", piece[cut:]
        line += piece
    if line.strip() or not lines:
        lines.append(line.rstrip())
    return lines


def _fitting(text: str, width: int) -> int:
    """How many characters of a text fit, at least one."""
    taken = 0
    for at, letter in enumerate(text):
        taken += cell_len(letter)
        if taken > width:
            return max(1, at)
    return len(text)
