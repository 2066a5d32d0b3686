"""The message itself: what is put on top of it, and what is read from its head.

Lives here: trace fields (Received, Return-Path), dates, and a quick look at a header section.
Does not live here: storing content (storage/bodies.py), composing reports (mail/dsn.py), any rewriting: message bytes
are never re-serialised (DESIGN law 7), because signatures depend on every one of them.

This is the hot path: every message gets a Received field and one scan. No Python loop runs over bytes, and what
stays the same for a connection or for a second is made once.
"""

from __future__ import annotations

import re
import time
from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache
from typing import NamedTuple

from glasspost.mail.address import Address, a_label, path_text

SCAN_LIMIT = 65536  # octets of a message that `scan_headers` looks at; more of a header is nobody's business here

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# --- what is put on top -----------------------------------------------------------------------------------------

_date: tuple[int, str] = (-1, "")  # the second last asked for, and its text; one name, so threads see both or neither


def date_text(when: float) -> str:
    """A moment (seconds since the epoch) as a date-time of RFC 5322 §3.3, in UTC: `Mon, 23 Nov 2026 10:00:00 +0000`.

    Not strftime: its names of days depend on the locale.
    """
    global _date
    second = int(when)
    known, text = _date
    if known != second:
        at = time.gmtime(second)
        text = (
            f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04d} "
            f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0000"
        )
        _date = (second, text)
    return text


_NAME_LIKE = re.compile(r"[A-Za-z0-9._-]{1,255}")
_LITERAL_LIKE = re.compile(r"\[[A-Za-z0-9.:]{1,64}\]")
_NOT_NAME = re.compile(r"[^A-Za-z0-9._-]")
_NOT_ADDRESS = re.compile(r"[^0-9A-Fa-f.:]")
_NOT_TLS_TEXT = re.compile(r"[^A-Za-z0-9._ -]")


def _safe_name(name: str) -> str:
    """A name a stranger gave, so that it can stand in a header: no line end, space, bracket or quote survives."""
    if _NAME_LIKE.fullmatch(name) or _LITERAL_LIKE.fullmatch(name):
        return name
    name = name[:255]
    if not name.isascii():
        name = a_label(name)[:255]
    return _NOT_NAME.sub("?", name) or "unknown"


@lru_cache(maxsize=4096)
def _opening(helo: str, peer_name: str, peer_ip: str, hostname: str, protocol: str, tls: str) -> str:
    """The part of a Received field that is the same for all messages of a connection."""
    line = f"Received: from {_safe_name(helo)}"
    if peer_ip:
        bare = peer_ip.partition("%")[0]  # a scope (`%eth0`) is true only on this machine
        literal = f"[{'IPv6:' if ':' in bare else ''}{_NOT_ADDRESS.sub('?', bare)}]"
        tcp_info = f"({_safe_name(peer_name)} {literal})" if peer_name else f"({literal})"
        line += (" " if len(line) + len(tcp_info) < 78 else "\r\n\t") + tcp_info
    with_tls = f" ({_NOT_TLS_TEXT.sub('?', tls[:60])})" if tls else ""
    return f"{line}\r\n\tby {a_label(hostname)} with {protocol}{with_tls}\r\n\tid "


def received_header(
    *,
    helo: str,
    peer_name: str,
    peer_ip: str,
    hostname: str,
    protocol: str,
    tls: str,
    queue_id: str,
    recipient: Address | None,
    when: float,
) -> bytes:
    """The Received field for a message that came in (RFC 5321 §4.4), folded, ending in CRLF.

    `helo` is what the client called itself, `peer_name` what DNS calls it (empty where unknown), `protocol` the
    registered word (`ESMTPS` and the like: RFC 3848, RFC 6531 §4.3), `tls` version and cipher for people to read.
    `recipient` only where there is a single one: more in a header would betray blind copies (RFC 5321 §7.2).
    """
    clause = ""
    # A UTF-8 address may only stand in the header of a message that travels as SMTPUTF8 (RFC 6531 §3.7.3).
    if recipient is not None and (protocol[:4] == "UTF8" or not recipient.needs_utf8):
        path = str(recipient)
        if path.isprintable():
            clause = f" for <{path}>" if len(path) < 50 else f"\r\n\tfor <{path}>"
    opening = _opening(helo, peer_name, peer_ip, hostname, protocol, tls)
    return f"{opening}{queue_id}{clause};\r\n\t{date_text(when)}\r\n".encode()


def return_path_header(path: Address | None) -> bytes:
    """The Return-Path field of final delivery (RFC 5321 §4.4), ending in CRLF. None is the null path `<>`."""
    return f"Return-Path: <{path_text(path)}>\r\n".encode()


# --- what is read from the head ---------------------------------------------------------------------------------

# RFC 5322 §2.2: field = field-name *WSP ":" body, lines that begin with white space continue it (§2.2.3). Runs are
# possessive, so that garbage costs one pass; groups are not: Debian 12's Python (3.11.2) gets those wrong (gh-106052).
# LF alone is tolerated as a line end here: this is reading, not relaying.
_FIELDS = re.compile(rb"(?:[!-9;-~]++[ \t]*+:.*+\n(?:[ \t].*+\n)*)*")
_VALUE = re.compile(rb".*+(?:\n[ \t].*+)*")
_LOOKED_FOR = re.compile(rb"\n(?:received|message-id|subject|date|from|to|tls-required):")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
DECODED_LIMIT = 4_000  # characters of a value whose encoded words are decoded: punycode's time grows with their square
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class HeaderScan(NamedTuple):
    """What one look at the beginning of a message found.

    `message_id`, `subject`, `author` (From) and `addressees` (To) are raw values, unfolded; `header_text` makes them
    readable. `ended` is true where the
    end of the header section was seen; `body_at` is the offset of what follows it (behind the blank line, if there is
    one), or of the end of what could be read. `separated` is false where the header does not end in a blank line:
    then whoever puts a header on a message without any (`body_at == 0`) must add that line.
    """

    received: int
    message_id: bytes
    subject: bytes
    has_date: bool
    has_from: bool
    ended: bool
    separated: bool
    body_at: int
    author: bytes = b""
    addressees: bytes = b""
    tls_optional: bool = False  # TLS-Required: No (RFC 8689 §3), once


def scan_headers(head: bytes) -> HeaderScan:
    """Look at the beginning of a message: its first chunk, of which at most 64 KB are read.

    Anything is accepted: a header section ends at the first line that is neither field nor continuation, be it blank
    or garbage. `Received` is counted for loop detection (RFC 5321 §6.3).
    """
    end = _end_of_fields(head, SCAN_LIMIT)
    received = tls_required = 0
    seen: dict[bytes, int] = {}
    # Each name is matched behind the line feed that precedes it; one more is put in front, so offsets fit `head`
    # behind the colon.
    for found in _LOOKED_FOR.finditer(b"\n" + head[:end].lower()):
        name = found.group()
        if name == b"\nreceived:":
            received += 1
            continue
        tls_required += name == b"\ntls-required:"
        seen.setdefault(name, found.end() - 1)
    separated, body_at = _behind_blank(head, end)
    # A rest without a line end may be half of a field: the header may go on in what was not shown to us.
    ended = separated or head.find(b"\n", end, SCAN_LIMIT) >= 0
    return HeaderScan(
        received,
        _value_from(head, seen[b"\nmessage-id:"]) if b"\nmessage-id:" in seen else b"",
        _value_from(head, seen[b"\nsubject:"]) if b"\nsubject:" in seen else b"",
        b"\ndate:" in seen,
        b"\nfrom:" in seen,
        ended,
        separated,
        body_at,
        _value_from(head, seen[b"\nfrom:"]) if b"\nfrom:" in seen else b"",
        _value_from(head, seen[b"\nto:"]) if b"\nto:" in seen else b"",
        tls_required == 1 and _value_from(head, seen[b"\ntls-required:"]).lower() == b"no",
    )


def split_header(data: bytes) -> tuple[bytes, bytes]:
    """A whole message as (header, body), so that `header + body == data`, always.

    The blank line between them, where there is one, belongs to the header.
    """
    end = _end_of_fields(data, len(data))
    if end < len(data) and data.find(b"\n", end) < 0 and data.find(b":", end) >= 0:
        # The last line has no line end. If it looks like a field, it is one.
        whole = _FIELDS.match(data[end:] + b"\n")
        end = len(data) if whole and whole.end() else end
    at = _behind_blank(data, end)[1]
    return data[:at], data[at:]


def header_values(head: bytes, name: str) -> list[str]:
    """All values of a header field in order of appearance, readable: unfolded and decoded (RFC 2047)."""
    end = _end_of_fields(head, len(head))
    names = b"\n" + head[:end].lower()
    wanted = b"\n" + name.lower().encode("ascii", "replace") + b":"
    values = []
    at = names.find(wanted)
    while at >= 0:
        values.append(header_text(_value_from(head, at + len(wanted) - 1)))
        at = names.find(wanted, at + len(wanted))
    return values


def header_text(raw: bytes) -> str:
    """A header value for people: UTF-8 (RFC 6532), or Latin-1 where it is not; encoded words decoded (RFC 2047).

    What cannot be decoded stays as it is. No control character or line end survives, so the result can stand in a
    report, a list or a log.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if "=?" in text and len(text) <= DECODED_LIMIT:
        text = _decode_words(text)
    return _CONTROL.sub(" ", text).strip()


def _decode_words(text: str) -> str:
    try:
        decoded = "".join(
            part if isinstance(part, str) else part.decode(charset or "latin-1", "replace")
            for part, charset in decode_header(text)
        )
        return decoded or text
    except (HeaderParseError, LookupError, ValueError):  # bad base64, unknown charset, or a charset that is no text
        return text


def _end_of_fields(head: bytes, limit: int) -> int:
    found = _FIELDS.match(head, 0, limit)
    return found.end() if found else 0


def _behind_blank(head: bytes, end: int) -> tuple[bool, int]:
    """Whether a blank line stands at `end`, and the offset behind it."""
    if head.startswith(b"\r\n", end):
        return True, end + 2
    if head.startswith(b"\n", end):
        return True, end + 1
    return False, end


def _value_from(head: bytes, at: int) -> bytes:
    end = head.find(b"\n", at)
    if head[end + 1 : end + 2] not in (b" ", b"\t"):  # the usual case: one line
        return head[at:end].strip() if end >= 0 else head[at:].strip()
    found = _VALUE.match(head, at)
    return _FOLD.sub(b"", found.group()).strip() if found else b""
