"""Composing a message: from what a person gives to the octets that DATA carries.

Lives here: a `Letter` and how it becomes a message of RFC 5322 and MIME: header fields in encoded words or UTF-8, text
and HTML, attachments, Date, Message-ID, and a size to fill it up to.
Does not live here: reading files (cli/), delivery reports (dsn.py), messages on their way, which are never re-made.

The MIME part is the standard library's work. The fields above it are not: its folding of long address lists can lose an
address (a long display name that is not ASCII swallows the next one), so here a fold comes only between addresses,
between words, or between encoded words.
"""

from __future__ import annotations

import mimetypes
import re
from base64 import b64encode
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP

from glasspost.mail.address import Address, a_label, address_from_text
from glasspost.mail.message import date_text

LINE_GOAL, LINE_LIMIT = 78, 998  # RFC 5322 §2.1.1, without CRLF

_FIELD_NAME = re.compile(r"[!-9;-~]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_WORD_OCTETS = 45  # of UTF-8 in one encoded word: 60 characters of base64, 75 with what stands around them
_FILLER = b"This line is filler." + b"." * 56 + b"\r\n"


class ComposeError(ValueError):
    """Something given for a message cannot stand in one. The message says what, in a few words."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name that people see."""

    address: Address
    name: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes along: its octets arrive as they are."""

    name: str
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Letter:
    """What a person gives. Blind copies are no part of it: they stand in the envelope only.

    `fields` come on top of the usual ones, or instead of one of the same name. `when` is in seconds since the epoch.
    `eight_bit`: text goes as it is, not in quoted-printable (RFC 6152). `utf8`: header fields do as well (RFC 6532).
    `size`: octets to fill the message up to; 0 for none.
    """

    sender: Mailbox | None
    to: tuple[Mailbox, ...]
    when: float
    message_id: str  # with its angle brackets
    cc: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str = ""
    html: str = ""
    attachments: tuple[Attachment, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    eight_bit: bool = False
    utf8: bool = False
    size: int = 0


def compose(letter: Letter) -> bytes:
    """The message: lines end in CRLF, none is longer than 998 octets. Raises ComposeError."""
    content = _content(letter)
    message = _head(letter) + content
    missing = letter.size - len(message)
    if missing > 0:
        # Behind a single text it is more text, behind the last boundary it is read by nobody (RFC 2046 §5.1.1).
        message += (_FILLER * (missing // len(_FILLER) + 1))[: max(0, missing - 2)].rstrip(b"\r\n")
        message += b"." * (letter.size - len(message) - 2) + b"\r\n" if missing >= 2 else b" " * missing
    return message


def read_mailbox(text: str) -> Mailbox:
    """`bob@example.org`, or `Bob <bob@example.org>`. Raises ComposeError."""
    text = text.strip()
    name = ""
    if text.endswith(">") and "<" in text:
        name, _, text = text[:-1].rpartition("<")
        name = name.strip()
        if len(name) >= 2 and name[0] == name[-1] == '"':
            name = re.sub(r"\\(.)", r"\1", name[1:-1])
    try:
        address = address_from_text(text)
    except ValueError:
        raise ComposeError(f"{text} is not an address") from None
    if not _is_line(text):
        raise ComposeError("an address with a line end or a control in it")
    return Mailbox(address, _line("the name", name))


def read_field(text: str) -> tuple[str, str]:
    """`Name: value`. Raises ComposeError."""
    name, colon, value = text.partition(":")
    name = name.rstrip()
    if not colon or not _FIELD_NAME.fullmatch(name):
        raise ComposeError(f'"{text}" is not a header field; it looks like this: "X-Colour: blue"')
    return name, _line(name, value.strip())


# --- the header section -----------------------------------------------------------------------------------------


def _head(letter: Letter) -> bytes:
    """All fields but those of MIME, in the order in which people read them."""
    fields: list[tuple[str, str]] = [("Date", date_text(letter.when))]
    if letter.sender is not None:
        fields.append(("From", _mailboxes((letter.sender,), letter.utf8)))
    if letter.to:
        fields.append(("To", _mailboxes(letter.to, letter.utf8)))
    if letter.cc:
        fields.append(("Cc", _mailboxes(letter.cc, letter.utf8)))
    if letter.subject:
        fields.append(("Subject", _unstructured(_line("the subject", letter.subject), letter.utf8)))
    fields.append(("Message-ID", letter.message_id))
    given = {name.lower() for name, _ in letter.fields}
    if given & {"bcc", "mime-version", "content-type", "content-transfer-encoding"}:
        raise ComposeError("Bcc and the fields of MIME cannot be given: who is on blind copy stands in no header")
    fields = [(name, value) for name, value in fields if name.lower() not in given]
    fields += [(name, _unstructured(value, letter.utf8)) for name, value in letter.fields]
    return b"".join(_fold(name, value) for name, value in fields)


def _mailboxes(mailboxes: tuple[Mailbox, ...], utf8: bool) -> str:
    """An address list (RFC 5322 §3.4), with the folds between addresses marked by line feeds."""
    return ",\n".join(_mailbox(mailbox, utf8) for mailbox in mailboxes)


def _mailbox(mailbox: Mailbox, utf8: bool) -> str:
    address = mailbox.address
    if not utf8:
        address = address._replace(domain=a_label(address.domain) if not address.domain.isascii() else address.domain)
        if address.needs_utf8:
            raise ComposeError(f"{address} can only be written with --utf8: a local part has no other form")
    name = mailbox.name
    if not name:
        return str(address)
    if not utf8 and (not name.isascii() or "=?" in name or len(name) > LINE_GOAL):
        return f"{_encoded_words(name)} <{address}>"
    if not _ATOMS.fullmatch(name):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{name} <{address}>"


def _unstructured(value: str, utf8: bool) -> str:
    if utf8 or (value.isascii() and "=?" not in value and max(map(len, value.split(" "))) < LINE_GOAL - 20):
        return value
    return _encoded_words(value)


def _encoded_words(text: str) -> str:
    """Encoded words (RFC 2047 §2), no character cut in two, with folds between them marked by line feeds."""
    words, piece = [], b""
    for letter in text:
        octets = letter.encode()
        if len(piece) + len(octets) > _WORD_OCTETS:
            words.append(piece)
            piece = b""
        piece += octets
    words.append(piece)
    return "\n".join(f"=?utf-8?B?{b64encode(word).decode()}?=" for word in words)


def _fold(name: str, value: str) -> bytes:
    """One field. A line feed in `value` is a place to fold at; so is each space where the line gets too long."""
    lines = [f"{name}:"]
    for piece in value.split("\n"):
        for word in piece.split(" "):
            if len((lines[-1] + " " + word).encode()) > LINE_GOAL and lines[-1].strip() and lines[-1] != f"{name}:":
                lines.append("")
            lines[-1] += f" {word}"
    if any(len(line.encode()) > LINE_LIMIT for line in lines):
        raise ComposeError(f"{name} has a word of over {LINE_LIMIT} octets, more than a line may have")
    return "\r\n".join(lines).encode() + b"\r\n"


def _line(what: str, text: str) -> str:
    if not _is_line(text):
        raise ComposeError(f"{what} has a line end or a control in it")
    return text


def _is_line(text: str) -> bool:
    return not re.search(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", text)


# --- the content ------------------------------------------------------------------------------------------------


def _content(letter: Letter) -> bytes:
    """The MIME fields, the blank line, and the body."""
    message = EmailMessage(policy=SMTP)
    if letter.text or not letter.html:
        message.set_content(letter.text, cte=_encoding(letter.text, letter.eight_bit))
        if letter.html:
            message.add_alternative(letter.html, subtype="html", cte=_encoding(letter.html, letter.eight_bit))
    else:
        message.set_content(letter.html, subtype="html", cte=_encoding(letter.html, letter.eight_bit))
    for attachment in letter.attachments:
        kind, packed = mimetypes.guess_type(attachment.name)
        # A message in a message may not be in base64 (RFC 2046 §5.2.1), and nothing else keeps its octets.
        if kind is None or packed or kind.startswith(("message/", "multipart/")):
            kind = "application/octet-stream"
        main, _, sub = kind.partition("/")
        name = _line("a file name", attachment.name)
        message.add_attachment(attachment.octets, maintype=main, subtype=sub, filename=name)
    return message.as_bytes()


def _encoding(text: str, eight_bit: bool) -> str:
    """The transfer encoding that harms the text least: none where it is short lines of ASCII."""
    text = text.replace("\r\n", "\n")
    short = all(len(line.encode("utf-8", "replace")) <= LINE_LIMIT for line in text.split("\n"))
    if not short or "\r" in text or "\x00" in text:
        return "quoted-printable"
    if text.isascii():
        return "7bit"
    return "8bit" if eight_bit else "quoted-printable"
