"""What `glasspost send` is to send: from the options to an envelope and the octets of a message.

Lives here: reading files and standard input, what goes with what, and the envelope.
Does not live here: composing (mail/compose.py), where it goes (send_way.py).
"""

from __future__ import annotations

import getpass
import secrets
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glasspost.cli.directory import Mistyped
from glasspost.errors import GlasspostError
from glasspost.mail.address import Address, a_label
from glasspost.mail.compose import Attachment, ComposeError, Letter, Mailbox, compose, read_field, read_mailbox
from glasspost.mail.envelope import BodyType, Envelope, Notify, Recipient
from glasspost.mail.message import scan_headers
from glasspost.node.values import read_size

TEXT = "This is a test message from glasspost send.\n"


@dataclass(frozen=True, slots=True)
class Given:
    """The options about the message, as they were typed. None: not given."""

    to: Sequence[str]
    cc: Sequence[str]
    bcc: Sequence[str]
    sender: str | None
    subject: str | None
    body: str | None
    html: str | None
    attach: Sequence[Path]
    header: Sequence[str]
    message: str
    size: str
    eight_bit: bool
    utf8: bool
    dsn: str


@dataclass(frozen=True, slots=True)
class Post:
    """What is sent. `facts` are for JSON."""

    envelope: Envelope
    content: bytes = field(repr=False)
    facts: dict[str, object]


def post(given: Given) -> Post:
    """The message, and whom it is for. Raises Mistyped, and GlasspostError where a file cannot be used."""
    try:
        return _post(given)
    except ComposeError as error:
        raise Mistyped(str(error)) from None


def _post(given: Given) -> Post:
    sender = _sender(given.sender)
    to, cc, bcc = ([read_mailbox(one) for one in some] for some in (given.to, given.cc, given.bcc))
    if not (to or cc or bcc):
        raise Mistyped("to whom? Name at least one recipient with --to")
    mailboxes = [*to, *cc, *bcc]
    notify, ret = _wishes(given.dsn)
    # An address that only UTF-8 can write makes the header international as well (RFC 6532).
    utf8 = given.utf8 or any(not one.address.local.isascii() for one in (*to, *cc, *([sender] if sender else [])))
    content = _whole(given) if given.message else _composed(given, sender, to, cc, utf8)
    envelope = Envelope(
        sender.address if sender is not None else None,
        [Recipient(one.address, notify) for one in mailboxes],
        body=BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT,
        smtputf8=utf8,
        declared_size=len(content),
        ret=ret,
    )
    scan = scan_headers(content)
    facts: dict[str, object] = {
        "from": str(envelope.reverse_path or ""),
        "message_id": scan.message_id.decode("utf-8", "replace").strip(),
        "size": len(content),
        "eight_bit": not content.isascii(),
        "utf8": utf8,
    }
    return Post(envelope, content, facts)


def _sender(text: str | None) -> Mailbox | None:
    if text is None:
        return Mailbox(Address(getpass.getuser(), socket.gethostname()))
    return None if text.strip() in ("", "<>") else read_mailbox(text)


def _wishes(text: str) -> tuple[Notify, str]:
    """When the sender wants to hear, and how much (RFC 3461 §4.1, §4.3)."""
    notify, ret = Notify.UNSET, ""
    for word in filter(None, (word.strip().upper() for word in text.split(","))):
        if word in ("FULL", "HDRS"):
            ret = word
        elif word in ("NEVER", "SUCCESS", "FAILURE", "DELAY"):
            notify |= Notify[word]
        else:
            raise Mistyped(f"--dsn takes success, failure, delay or never, and full or hdrs; not {word.lower()}")
    if Notify.NEVER in notify and notify != Notify.NEVER:
        raise Mistyped("--dsn never goes with no other wish")
    return notify, ret


# --- the message ------------------------------------------------------------------------------------------------


def _composed(given: Given, sender: Mailbox | None, to: list[Mailbox], cc: list[Mailbox], utf8: bool) -> bytes:
    now = time.time()
    domain = a_label(sender.address.domain) if sender is not None else socket.gethostname()
    subject = f"glasspost send, {time.strftime('%Y-%m-%d %H:%M:%S')}" if given.subject is None else given.subject
    text = TEXT if given.body is None and given.html is None else _text(given.body or "", "--body")
    letter = Letter(
        sender=sender,
        to=tuple(to),
        cc=tuple(cc),
        when=now,
        message_id=f"<{int(now)}.{secrets.token_hex(8)}@{domain}>",
        subject=subject,
        text=text,
        html=_text(given.html or "", "--html"),
        attachments=tuple(Attachment(path.name, _read(path)) for path in given.attach),
        fields=tuple(read_field(one) for one in given.header),
        eight_bit=given.eight_bit or utf8,
        utf8=utf8,
        size=_octets(given.size),
    )
    return compose(letter)


def _whole(given: Given) -> bytes:
    """A message that is there already. It goes as it is; only a file with the line ends of Unix gets those of mail."""
    for name, value in (
        ("--cc", given.cc), ("--subject", given.subject), ("--body", given.body), ("--html", given.html),
        ("--attach", given.attach), ("--header", given.header), ("--size", given.size),
    ):  # fmt: skip
        if value:
            raise Mistyped(f"--message sends a message as it is; {name} would change it")
    octets = sys.stdin.buffer.read() if given.message == "-" else _read(Path(given.message))
    if b"\r\n" not in octets:
        octets = octets.replace(b"\n", b"\r\n")
    if b"\n" in octets.replace(b"\r\n", b"") or b"\r" in octets.replace(b"\r\n", b""):
        raise GlasspostError(f"{given.message} has both CR LF and bare CR or LF: no server takes that; make them one")
    head = octets[: scan_headers(octets).body_at].lower()
    if head.startswith(b"bcc:") or b"\nbcc:" in head:
        raise GlasspostError(f"{given.message} has a Bcc field, which every recipient would see; remove it, use --bcc")
    return octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"


def _text(given: str, option: str) -> str:
    """A text from the command line, from a file (@FILE), or from standard input (-)."""
    if given == "-":
        octets = sys.stdin.buffer.read()
    elif given.startswith("@"):
        octets = _read(Path(given[1:]))
    else:
        return given + "\n" if given and not given.endswith("\n") else given
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise GlasspostError(f"{option} {given} is not text in UTF-8; send it with --attach") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GlasspostError(f"{path} cannot be read: {error.strerror}") from None


def _octets(text: str) -> int:
    if not text:
        return 0
    try:
        return read_size(int(text) if text.isdecimal() else text)
    except ValueError as error:
        raise Mistyped(f"--size: {error}") from None
