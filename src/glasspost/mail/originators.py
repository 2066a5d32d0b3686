"""Who says to have written a message, and who is copied blindly: the fields that a submission server must read.

Lives here: addresses of From and Sender (RFC 5322 §3.6.2), and where fields of a name stand in a header.
Does not live here: whether somebody may write in a name (inbound/submission.py), reading a header for people
(message.py), changing anything.

A name that cannot be read for certain is not read at all: whoever guesses here lets somebody write as another.
"""

from __future__ import annotations

import re
from email import policy
from typing import Any

from glasspost.mail.address import Address, a_label

# The shapes that nearly all mail has: an address alone, or behind a name without anything that has a meaning.
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_SPEC = rf"({_ATEXT}(?:\.{_ATEXT})*)@({_ATEXT}(?:\.{_ATEXT})*)"
_PLAIN = re.compile(_SPEC)
# Runs are possessive, and a blank fits in one place only: a field of nothing but blanks costs one pass.
_NAMED = re.compile(rf'(?:"[^"\\]*+(?:\\.[^"\\]*+)*"[ \t]*+|[^"<>(),:;@\\\[\]]*+)<{_SPEC}>')
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*\n(?:[ \t].*\n)*)")
_BLANK_LINE = re.compile(rb"\n\r?\n")

PARSED_LIMIT = 2_000  # characters of a field that is not simple: the parser's time grows with their square


def fields_named(head: bytes, *names: bytes) -> list[tuple[int, int, bytes]]:
    """Where fields of these names (lower case) stand in a header section: start, end, raw value. `head` ends where the
    header ends; lines end in LF, with CR before it or not."""
    found = []
    at = 0
    while (field := _FIELD.match(head, at)) is not None:
        if field[1].lower() in names:
            found.append((field.start(), field.end(), field[2]))
        at = field.end()
    return found


def hidden_field(rest: bytes, *names: bytes) -> str:
    """A field of one of these names (lower case) that readers might still find where the header has ended for us:
    behind a line that is no field, and before the first blank line; empty where there is none. `rest` begins with that
    line."""
    pattern = rb"^[^a-z\r\n]{0,8}(" + b"|".join(names) + rb")[^a-z0-9\r\n:]{0,8}:"
    found = re.compile(pattern, re.IGNORECASE | re.MULTILINE).search(_BLANK_LINE.split(rest, 1)[0])
    return found[1].decode().title() if found is not None else ""


def mailboxes(value: bytes) -> list[Address] | str:
    """The addresses of a From or Sender field in their order; where they cannot be read for certain, why not."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "it is neither ASCII nor UTF-8"
    text = re.sub(r"\r?\n(?=[ \t])", "", text).strip("\r\n \t")
    simple = _PLAIN.fullmatch(text) or _NAMED.fullmatch(text)
    if simple is not None:
        return [Address(simple[1], simple[2])]
    if any(ord(letter) < 32 and letter != "\t" for letter in text):
        return "it has control characters in it"
    if len(text) > PARSED_LIMIT:
        return f"it is longer than {PARSED_LIMIT} characters"
    return _parsed(text)


def _parsed(text: str) -> list[Address] | str:
    """The standard library's reading of what is not simple; it must have nothing to object to."""
    try:
        header: Any = policy.SMTPUTF8.header_factory("from", text)
        read = [Address(one.username, one.domain) for one in header.addresses]
        defects = [str(defect) for defect in header.defects]
    except Exception as error:  # its parser breaks in many ways on what is no address list
        return f"it is no list of addresses ({type(error).__name__})"
    if defects:
        return defects[0]
    if not read or not all(address.local and a_label(address.domain) for address in read):
        return "it has no address in it"
    return read
