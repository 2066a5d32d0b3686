"""Where a table goes on a page: between its two marks, everything else stays.

Lives here: finding the marks, replacing what is between them.
Does not live here: what a table says (report.py, profile.py).

    <!-- bench: accept -->
    ... replaced ...
    <!-- end: accept -->
"""

from __future__ import annotations

from pathlib import Path


class NoMarks(Exception):
    """The page has no place for it."""


def put(page: Path, name: str, text: str) -> None:
    """Replaces what stands between the marks of `name`. A page that does not exist yet is begun; one without these
    marks is left alone. Raises NoMarks."""
    begin, end = marks(name)
    old = page.read_text(encoding="utf-8") if page.exists() else f"# Bench\n\n{begin}\n{end}\n"
    if begin not in old and page.exists() and old.startswith("# Bench\n"):
        old += f"\n{begin}\n{end}\n"  # a page of the bench's own
    head, found, rest = old.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise NoMarks(f"{page} has no {begin} ... {end}")
    page.write_text(f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}", encoding="utf-8")


def marks(name: str) -> tuple[str, str]:
    return f"<!-- bench: {name} -->", f"<!-- end: {name} -->"
