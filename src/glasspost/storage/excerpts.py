"""Entries of a recording: what the tap put down, and how it becomes text.

Lives here: the entry, printing entries as a talk, keeping the beginning and the end of too many.
Does not live here: who records (transcripts.py), the form of a line (protocol/talk.py).

An entry may be several lines (a reply, a pipelined group): they are parted here, in the background, not by the tap.
"""

from __future__ import annotations

from collections.abc import Sequence

from glasspost.protocol.talk import CLIENT, NOTE, SERVER, print_line

# When (seconds since the epoch), who (talk.CLIENT, SERVER, NOTE; anything else is not a line), what.
Entry = tuple[float, str, bytes]

_LINES = frozenset((CLIENT, SERVER, NOTE))
_COST = 16  # octets an entry counts beside its text, so that empty lines are not free


def print_entries(entries: Sequence[Entry], started: float | None = None, line_limit: int = 4_096) -> str:
    """The entries as a talk; with times since `started`, where that is given. Longer lines are cut, and say so.

    Every line of every message comes through here: a plain line with a time, which is nearly every one, takes the
    short way, to the same text as `print_line` gives.
    """
    printed = []
    last_millisecond, stamp = -1, ""
    timed = started is not None
    since = started or 0.0
    for moment, who, what in entries:
        body = what[:-2] if what[-2:] == b"\r\n" else what
        if timed:
            millisecond = int((moment - since) * 1000 + 0.5)
            if millisecond != last_millisecond:
                last_millisecond = millisecond
                millisecond = max(0, millisecond)  # the wall clock may have been set back
                stamp = f" {millisecond // 1000}.{millisecond % 1000:03d}: "
            if body.isascii() and who in _LINES:
                text = body.decode("ascii")
                if text.isprintable() and "\\" not in text and text[-1:] > " " and len(text) <= line_limit:
                    printed.append(who + stamp + text)
                    continue
        if who in _LINES:
            at = float(stamp[1:-2]) if timed else None
            _print_slowly(printed, who, body, at, line_limit)
    printed.append("")
    return "\n".join(printed)


def _print_slowly(printed: list[str], who: str, body: bytes, at: float | None, line_limit: int) -> None:
    """One entry of any kind: several lines, too long, or with octets that cannot be shown."""
    for line in body.split(b"\n" if who == NOTE else b"\r\n"):
        if len(line) > line_limit:
            line = line[:line_limit] + b" [and %d octets more]" % (len(line) - line_limit)
        printed.append(print_line(who, line, at))


def bounded(entries: list[Entry], limit: int) -> list[Entry]:
    """The entries, or, where they are more than `limit` octets, a quarter of that from the beginning and the rest from
    the end, which matters most: the last reply is there."""
    total = sum(len(entry[2]) for entry in entries) + _COST * len(entries)
    if total <= limit:
        return entries
    head, size = 0, 0
    while size + len(entries[head][2]) + _COST <= limit // 4:
        size += len(entries[head][2]) + _COST
        head += 1
    tail, size = len(entries), 0
    while tail > head and size + len(entries[tail - 1][2]) + _COST <= limit - limit // 4 - 64:
        tail -= 1
        size += len(entries[tail][2]) + _COST
    return [*entries[:head], (entries[head][0], NOTE, b"some lines are left out here"), *entries[tail:]]
