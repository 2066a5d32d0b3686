"""The header, judged: which fields there are and how often, and whether dates, addresses and ids can be read.

Lives here: RFC 5322 §3.6 and what it says of each field; 8-bit octets in the header; encoded words.
Does not live here: fields about the body (body.py), a subject's manners (looks.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from email.policy import default as _policy
from email.utils import parsedate_to_datetime

from glasspost.mail.form.finding import Field, Finding, Section, finding

ONCE = (
    "date", "from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to", "references", "subject",
    "mime-version", "content-type", "content-transfer-encoding",
)  # fmt: skip
ADDRESSES = ("from", "sender", "reply-to", "to", "cc", "bcc")
RECEIVED_LIMIT = 50
AHEAD = 86_400.0  # seconds; a clock in the wrong time zone is less than a day off
OLD = 30 * 86_400.0

_MESSAGE_ID = re.compile(r"<[^<>@\s]+@[^<>@\s]+>(?:\s*\([^()]*\))?")
_ENCODED = re.compile(r"=\?[^?\s]*\?[^?\s]*\?[^?\s]*\?=")
_LOOKS_ENCODED = re.compile(r"=\?[\w-]+\?[BbQq]\?.*?(?:\?=|$)")


def judge_header(message: Section, now: float) -> Iterator[Finding]:
    """All that is wrong with a message's own header. `now` in seconds since the epoch."""
    if not message.fields:
        yield finding("no-header", 1)
        return
    if message.stray:
        yield finding("no-blank-line", message.stray, text=message.stray_text)
    for one in message.fields:
        yield from _as_written(one)
    yield from _counts(message)
    yield from _people(message)
    date = message.first("date")
    if date is not None:
        yield from _date(date, now)
    name = message.first("message-id")
    if name is not None and not _MESSAGE_ID.fullmatch(name.value):
        yield finding("bad-message-id", name.line, text=name.value)


def _as_written(one: Field) -> Iterator[Finding]:
    if one.spaced:
        yield finding("space-before-colon", one.line, name=one.name)
    for number, line in enumerate(one.lines[1:], 1):
        if not line.strip():
            yield finding("blank-continuation", one.line + number, name=one.name)
            break
    if not one.raw.isascii():
        try:
            one.raw.decode()
        except UnicodeDecodeError:
            yield finding("header-8bit", one.line, name=one.name)
        else:
            yield finding("header-utf8", one.line, name=one.name)
    for word in _ENCODED.findall(one.value):
        if len(word) > 75:
            yield finding("encoded-word-long", one.line, name=one.name)
            break
    for word in _LOOKS_ENCODED.findall(one.value):
        if not _ENCODED.fullmatch(word) or _undecodable(word):
            yield finding("encoded-word-broken", one.line, name=one.name, text=word)
            break


def _undecodable(word: str) -> bool:
    try:
        for octets, charset in decode_header(word):
            if isinstance(octets, bytes):
                octets.decode(charset or "ascii")
    except (HeaderParseError, LookupError, ValueError):
        return True
    return False


def _counts(message: Section) -> Iterator[Finding]:
    for name in ONCE:
        found = message.all(name)
        if len(found) > 1:
            yield finding("doubled", found[1].line, name=found[1].name, times=len(found))
    if not message.all("date"):
        yield finding("missing-date", 0)
    if not message.all("from"):
        yield finding("missing-from", 0)
    if not message.all("message-id"):
        yield finding("missing-message-id", 0)
    if not message.all("to") and not message.all("cc"):
        yield finding("missing-to", 0)
    received = message.all("received")
    if len(received) > RECEIVED_LIMIT:
        yield finding("many-received", received[0].line, times=len(received))
    for bcc in message.all("bcc")[:1]:
        if bcc.value:
            yield finding("bcc", bcc.line)


def _people(message: Section) -> Iterator[Finding]:
    for name in ADDRESSES:
        for one in message.all(name)[:1]:
            if not one.value and name != "bcc":
                yield finding("empty-address", one.line, name=one.name)
                continue
            addresses = read_addresses(one)
            if addresses is None:
                yield finding("bad-address", one.line, name=one.name, text=one.text)
                continue
            for address in addresses:
                host = address.rpartition("@")[2]
                if "." not in host and not host.startswith("["):
                    yield finding("address-without-domain", one.line, name=one.name, text=address)
                    break
            if name == "from" and len(addresses) > 1 and not message.all("sender"):
                yield finding("sender-wanted", one.line, people=len(addresses))


def read_addresses(one: Field) -> list[str] | None:
    """The addresses of a field (RFC 5322 §3.4), as local@domain; None where it cannot be read."""
    try:
        header = _policy.header_factory(one.name, one.value)
    except Exception:  # the library's parser breaks on some of what strangers write; that is an answer as well
        return None
    if any("obsolete" not in type(defect).__name__.lower() for defect in header.defects):
        return None
    found = [f"{address.username}@{address.domain}" for address in header.addresses]
    return None if any(text.startswith("@") or text == "@" for text in found) else found


def _date(date: Field, now: float) -> Iterator[Finding]:
    try:
        when = parsedate_to_datetime(date.value).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        yield finding("bad-date", date.line, text=date.value)
        return
    if when > now + AHEAD:
        yield finding("date-ahead", date.line, period=_days(when - now))
    elif when < now - OLD:
        yield finding("date-old", date.line, period=_days(now - when))


def _days(seconds: float) -> str:
    return f"{max(1, round(seconds / 86_400))} d"
