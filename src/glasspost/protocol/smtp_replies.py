"""What another server says: replies read off the wire, and the extensions it offers.

Lives here: the strict grammar of replies (RFC 5321 §4.2) with its limits, and the reading of an EHLO reply.
Does not live here: what a reply means for a message (smtp_client.py), or how our own replies are written
(mail/reply.py).

A reply that breaks the grammar is a value, `Nonsense`, never an exception: strangers' bytes are business as
usual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from glasspost.mail.reply import Reply, read_reply
from glasspost.protocol.chat import Chat, LineFault

# Reply-line = Reply-code ( SP / "-" ) [ textstring ]   (RFC 5321 §4.2)
# The second digit may be any, not only 0 to 5: codes such as 571 are in use, and a refusal must stay a refusal.
_REPLY_LINE = re.compile(rb"[2-5][0-9][0-9](?:[ -].*)?", re.DOTALL)

LINE_LIMIT = 4096  # octets with CRLF; RFC 5321 §4.5.3.1.5 asks for 512, real servers write more
REPLY_LIMIT = 65536  # octets of one reply, all lines together
LINES_LIMIT = 512


@dataclass(frozen=True, slots=True)
class Nonsense:
    """The other side does not speak SMTP. After this nothing it says can be trusted to answer anything."""

    fault: str


class ReplyReader:
    """Takes whole replies out of a chat, however they were cut into segments."""

    __slots__ = ("_chat", "_lines", "_octets")

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._lines: list[str] = []
        self._octets = 0

    @property
    def within_reply(self) -> bool:
        """Whether a reply has begun and not ended: lines of it, or a part of its first line, are here."""
        return bool(self._lines) or self._chat.unread > 0

    def take(self) -> Reply | Nonsense | None:
        """The next whole reply, `Nonsense`, or None where more must come first."""
        while True:
            line = self._chat.take_line()
            if line is None:
                return None
            if not self._lines and line.__class__ is bytes and line[3:4] == b" ":  # nearly every reply
                return _single(line)
            if isinstance(line, LineFault):
                return Nonsense(f"a line with {line.value}" if line is LineFault.BARE_NEWLINE else "a line too long")
            verdict = self._gather(line)
            if verdict is not None:
                return verdict

    def _gather(self, line: bytes) -> Reply | Nonsense | None:
        """One more line of a reply of several; the reply once it is whole."""
        if _REPLY_LINE.fullmatch(line) is None:
            return Nonsense(_quoted(line))
        text = _text(line)
        if self._lines and text[:3] != self._lines[0][:3]:
            return Nonsense(f"a reply that begins with {self._lines[0][:3]} and goes on with {text[:3]}")
        self._lines.append(text)
        self._octets += len(line) + 2
        if self._octets > REPLY_LIMIT or len(self._lines) > LINES_LIMIT:
            return Nonsense(f"a reply of over {REPLY_LIMIT} octets or {LINES_LIMIT} lines")
        if text[3:4] == "-":
            return None
        lines, self._lines, self._octets = self._lines, [], 0
        return read_reply(lines)


@lru_cache(maxsize=256)
def _single(line: bytes) -> Reply | Nonsense:
    """A reply of one line. Remembered, as servers say the same thing again and again."""
    if _REPLY_LINE.fullmatch(line) is None:
        return Nonsense(_quoted(line))
    return read_reply([_text(line)])


def _text(line: bytes) -> str:
    """A line as text that may be shown: whatever is no UTF-8 (RFC 6531 §3.7.4) or no text is made visible."""
    text = line.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " if letter == "\t" else "\ufffd" for letter in text)


def _quoted(line: bytes) -> str:
    shown = _text(line[:60])
    return f'"{shown}..."' if len(line) > 60 else f'"{shown}"'


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server offers, as its EHLO reply says; all off after HELO.

    `size`: most octets of a message, 0 where no limit is named (RFC 1870). `mail_max`, `rcpt_max`: transactions
    per connection and recipients per transaction, 0 where no limit is named (RFC 9422).
    """

    extended: bool = False
    size_offered: bool = False
    size: int = 0
    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    chunking: bool = False
    binary: bool = False
    starttls: bool = False
    enhanced: bool = False
    auth: tuple[str, ...] = ()
    mail_max: int = 0
    rcpt_max: int = 0
    requiretls: bool = False
    xclient: bool = False


NOTHING_OFFERED = Capabilities()


def read_capabilities(reply: Reply) -> Capabilities:
    """The extensions named in a positive EHLO reply (RFC 5321 §4.1.1.1): one keyword a line, after the first.

    Keywords in any case; what is not known is passed over; a parameter that cannot be read counts as absent.
    """
    offered: dict[str, list[str]] = {}
    for line in reply.text.split("\n")[1:]:
        line = line.upper()
        if line.startswith("AUTH="):  # how servers from before RFC 2554 wrote it, and some still do
            line = line.replace("=", " ", 1)
        words = line.split()
        if words:
            offered.setdefault(words[0], []).extend(words[1:])
    limits = dict(word.split("=", 1) for word in offered.get("LIMITS", ()) if "=" in word)
    return Capabilities(
        extended=True,
        size_offered="SIZE" in offered,
        size=_number("".join(offered.get("SIZE", ())[:1])),
        pipelining="PIPELINING" in offered,
        eight_bit="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        dsn="DSN" in offered,
        chunking="CHUNKING" in offered,
        # RFC 3030 §3: BINARYMIME is only of use, and only allowed, together with CHUNKING.
        binary="BINARYMIME" in offered and "CHUNKING" in offered,
        starttls="STARTTLS" in offered,
        enhanced="ENHANCEDSTATUSCODES" in offered,
        auth=tuple(dict.fromkeys(offered.get("AUTH", ()))),
        mail_max=_number(limits.get("MAILMAX", "")),
        rcpt_max=_number(limits.get("RCPTMAX", "")),
        requiretls="REQUIRETLS" in offered,
        xclient="XCLIENT" in offered,
    )


def _number(text: str) -> int:
    """A parameter's number; RFC 1870 allows 20 digits, RFC 9422 six. 0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
