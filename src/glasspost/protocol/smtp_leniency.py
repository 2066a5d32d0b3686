"""What a listener for devices forgives in an SMTP client, each thing by name.

Lives here: the names, and the repairs of single commands. Each repair that is used becomes a note in the transcript:
`repaired: brackets: ...`.
Does not live here: who may have any of it: only role device (node/device_wiring.py). Newlines are repaired where
they are judged (chat.py, smtp_content.py), a message's header where it is read (inbound/device_content.py).

None of this touches the end of a message: it is CR LF . CR LF for everyone (DESIGN law 5;
docs/decisions/0012-no-lenient-end.md).
"""

from __future__ import annotations

import re
from enum import StrEnum


class Leniency(StrEnum):
    """One thing that is forgiven. The value is its name in the configuration and in the transcript."""

    BRACKETS = "brackets"  # MAIL FROM:user@example.org
    NO_HELLO = "no-hello"  # MAIL, AUTH or STARTTLS without HELO or EHLO before it
    HELLO_NAME = "hello-name"  # HELO without a name, or with something that is none
    LINE_END = "line-end"  # a command that ends with LF, or with CR CR LF
    BODY_LINE_END = "body-line-end"  # a CR or LF alone in a message
    HEADER = "header"  # no Date, Message-ID or From
    OLD_TLS = "old-tls"  # TLS 1.0 and 1.1, and the ciphers that go with them


EVERYTHING = frozenset(Leniency)

# A path with a bracket or the colon missing: FROM:a@b, TO:<a@b, TO:a@b>, FROM a@b. No quoted local parts: where such
# a one ends cannot be told without its bracket.
_LOOSE = re.compile(
    r"(?P<word>FROM|TO)(?P<colon>[ \t]*:|(?=[ \t]))[ \t]*"
    r"(?P<open><?)(?P<path>[^<>\s\"]*)(?P<close>>?)(?P<rest>(?:\s.*)?)",
    re.IGNORECASE,
)
_NOT_IN_NAMES = re.compile(r"[^\x21-\x7e]+")
NAME_LIMIT = 255  # characters of what a client calls itself


def with_brackets(argument: str) -> str | None:
    """The argument of MAIL or RCPT as RFC 5321 §4.1.2 writes it; None where there is nothing to repair, or no way."""
    found = _LOOSE.fullmatch(argument)
    if found is None or (found["colon"] == ":" and found["open"] and found["close"]):
        return None
    return f"{found['word']}:<{found['path']}>{found['rest']}"


def hello_name(argument: str) -> str:
    """What a client calls itself, so that it can be said back and stand in a header."""
    return _NOT_IN_NAMES.sub("?", argument.strip())[:NAME_LIMIT] or "unknown"
