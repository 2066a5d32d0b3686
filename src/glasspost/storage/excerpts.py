"""Entries of a recording: what the tap put down, and how it becomes text.

Lives here: the entry, printing entries as a talk, keeping the beginning and the end of too many.
Does not live here: who records (transcripts.py), the form of a line (protocol/talk.py).

An entry may be several lines (a reply, a pipelined group, a message's header): they are parted here, in the
background, not by the tap.
"""

from __future__ import annotations

from collections.abc import Sequence

from glasspost.mail.message import header_text
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, escape, is_plain, print_line

# When (seconds since the epoch), who (talk.CLIENT, SERVER, NOTE; HEADER; anything else is not a line), what.
Entry = tuple[float, str, bytes]

MENTION = "@"  # an entry that is a queue id
HEADER = "H"  # an entry that is some fields of a message's header: the raw values of HEADER_FIELDS, one a line
HEADER_VALUE_LIMIT = 1_000  # octets of a field that are kept
HEADER_FIELDS = ("Message-ID", "From", "To", "Subject")
_LINES = frozenset((CLIENT, SERVER, NOTE))
_COST = 16  # octets an entry counts beside its text, so that empty lines are not free


def print_entries(entries: Sequence[Entry], started: float | None = None, line_limit: int = 4_096) -> str:
    """The entries as a talk; with times since `started`, where that is given. Longer lines are cut, and say so."""
    return "\n".join([*print_lines(entries, started, line_limit), ""])


def print_lines(
    entries: Sequence[Entry], started: float | None = None, line_limit: int = 4_096, *, subjects: bool = True
) -> list[str]:
    """The lines of the entries' talk, without their LF. Without `subjects` no message's Subject is among them.

    Every line of every message comes through here: a plain line with a time, which is nearly every one, takes the
    short way, to the same text as `print_line` gives.
    """
    printed: list[str] = []
    last_millisecond: int | None = None
    stamp = ""
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
                if who != NOTE and "\r\n" in text:  # a reply of several lines, a pipelined group
                    lines = text.split("\r\n")
                    if len(text) <= line_limit and all(map(_ends_well, lines)) and is_plain("".join(lines)):
                        printed.extend([who + stamp + line for line in lines])
                        continue
        if who in _LINES:
            at = float(stamp[1:-2]) if timed else None
            _print_slowly(printed, who, body, at, line_limit)
        elif who is HEADER:
            _print_header(printed, what, f"#{stamp}" if timed else "# ", subjects)
    return printed


def _ends_well(line: str) -> bool:
    return line[-1:] > " "


def _print_slowly(printed: list[str], who: str, body: bytes, at: float | None, line_limit: int) -> None:
    """One entry of any kind: several lines, too long, or with octets that cannot be shown."""
    for line in body.split(b"\n" if who == NOTE else b"\r\n"):
        if len(line) > line_limit:
            line = line[:line_limit] + b" [and %d octets more]" % (len(line) - line_limit)
        printed.append(print_line(who, line, at))


def _print_header(printed: list[str], what: bytes, opening: str, subjects: bool) -> None:
    """The fields that a message has, each as a note."""
    for name, text in header_values(what, subjects):
        printed.append(f"{opening}{name}: {text}")


def header_values(what: bytes, subjects: bool) -> list[tuple[str, str]]:
    """The fields in a HEADER entry, readable and as a talk has them; encoded words are decoded (RFC 2047)."""
    values = []
    for name, raw in zip(HEADER_FIELDS, what.split(b"\n"), strict=True):
        if not raw or (name == "Subject" and not subjects):
            continue
        if len(raw) == HEADER_VALUE_LIMIT:
            raw = raw.rpartition(b" ")[0] or raw  # not half of an encoded word or of a character
        text = raw.decode("ascii") if raw.isascii() and b"=?" not in raw else header_text(raw)
        values.append((name, text if is_plain(text) else escape(text.encode())))
    return values


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
