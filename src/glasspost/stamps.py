"""Stamps of files: whether a file that somebody else writes is still the one that was read.

Lives here: taking a stamp.
Does not live here: when it is looked at, and what becomes of a change (net/shown.py, inbound/rules.py,
inbound/hooks.py).

Take the stamp before the file is read: what is written meanwhile is then a change at the next look.
"""

from __future__ import annotations

from pathlib import Path

Stamp = tuple[int, int, int] | None  # when it was changed, in nanoseconds; its size; which file it is


def stamp_of(path: Path) -> Stamp:
    """What changes when a file does; None where it is not there, or not to be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
