"""Delivery reports: bounces, delay notices, confirmations (RFC 3464 in the multipart/report of RFC 6522).

Lives here: the report as a message: its header, its parts, how each part is encoded.
Does not live here: the sentences (mail/dsn_text.py), the fields (mail/dsn_fields.py), whether and when a report is
due (outbound/scheduler.py). A pure function: no clock, no randomness; the same report comes out twice the same.

RFC 6522 §3 allows three parts and no fourth: words, fields, the original. The conversation that failed belongs to the
words, so the first part is a multipart/mixed of the two where there is one.

A report is plain ASCII as far as it can be. Only two things make it 8-bit: an original message that is 8-bit itself,
returned whole (its way back is the way it came), and the sender's own wish for SMTPUTF8 (RFC 6533).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from glasspost.mail import dsn_text
from glasspost.mail.address import Address, a_label
from glasspost.mail.dsn_fields import Kind, ReportedRecipient, delivery_status, fold, one_line, printable, remote_name
from glasspost.mail.message import date_text, header_values

__all__ = ["Kind", "ReportedRecipient", "compose_report"]

HEADER_LIMIT = 65536  # octets of the original's header that a report returns
EVIDENCE_LIMIT = 400  # lines of one conversation: the first and the last half of that are kept
CONVERSATIONS_LIMIT = 20  # conversations in one report

# What a 7bit or 8bit part may hold (RFC 2045 §2.7, §2.8): lines of at most 998 octets, CRLF only, no NUL. So many at a
# time, so that megabytes cost one pass and no memory.
_LEGAL_LINES = re.compile(rb"(?:[^\r\n\x00]{0,998}+\r\n){1,500}")
_LEGAL_REST = re.compile(rb"[^\r\n\x00]{0,998}")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,200}@[!-;=?-~]{1,200}>")


@dataclass(slots=True)
class _Part:
    """One body part: its header fields and its content as it stands in the report."""

    fields: list[str]
    content: bytes

    def encode(self) -> bytes:
        return "\r\n".join([*self.fields, "", ""]).encode() + self.content


def compose_report(
    kind: Kind,
    *,
    reporting_mta: str,
    reverse_path: Address,
    envid: str,
    arrived: float,
    queue_id: str,
    recipients: Sequence[ReportedRecipient],
    original_head: bytes,
    original: bytes | None,
    smtputf8: bool,
    when: float,
    report_id: str,
    received_from: str = "",
) -> bytes:
    """A whole report, ready for the spool, to be sent from `<>` to `reverse_path`. Lines end in CRLF.

    `recipients` share one fate (`kind`). `original_head` is the original's header section; `original` the whole
    message where RET=FULL asks for it and its size permits; looked at for failures only (RFC 3461 §6.2).
    `smtputf8`: the report may travel as SMTPUTF8, as it must where `reverse_path` has UTF-8. `report_id` must not
    come twice: Message-ID and boundaries derive from it. `received_from`: who brought the original, if known:
    `client.example (192.0.2.7)`.
    Raises ValueError where there is no recipient to report on.
    """
    if not recipients:
        raise ValueError("a report needs a recipient")
    utf8 = smtputf8 or reverse_path.needs_utf8
    host = a_label(printable(reporting_mta))
    conversation = _conversation(recipients) if kind in ("failed", "delayed") else ""
    words = dsn_text.report_text(
        kind,
        host=host,
        arrived=arrived,
        when=when,
        queue_id=queue_id,
        subject=next(iter(header_values(original_head, "subject")), ""),
        recipients=recipients,
        conversation_follows=bool(conversation),
    )
    fields = delivery_status(
        kind,
        reporting_mta=host,
        received_from=received_from,
        envid=envid,
        arrived=arrived,
        queue_id=queue_id,
        recipients=recipients,
        utf8=utf8,
    )
    whole = original if kind == "failed" and original is not None and _is_legal(original) else None
    parts = [
        _words_part(words, conversation, report_id, utf8),
        _fields_part(fields),
        _headers_part(original_head, utf8) if whole is None else _message_part(whole, original_head, utf8),
    ]
    return _assembled(
        parts,
        _report_header(kind, host, reverse_path, recipients, original_head, when, report_id, utf8),
        report_id,
        global_fields=not fields.isascii(),
    )


def _report_header(
    kind: Kind,
    host: str,
    reverse_path: Address,
    recipients: Sequence[ReportedRecipient],
    original_head: bytes,
    when: float,
    report_id: str,
    utf8: bool,
) -> list[str]:
    lines = [
        fold("From", f"Mail Delivery System <MAILER-DAEMON@{host}>"),
        one_line("To", printable(str(reverse_path))),
        fold("Subject", _header_words(dsn_text.report_subject(kind, recipients), utf8)),
        f"Date: {date_text(when)}",
        f"Message-ID: <{_word(report_id)}@{host}>",
    ]
    answered = next(iter(header_values(original_head, "message-id")), "")
    if _MESSAGE_ID.fullmatch(answered):
        lines += [f"In-Reply-To: {answered}", f"References: {answered}"]
    return [*lines, "Auto-Submitted: auto-replied", "MIME-Version: 1.0"]  # RFC 3834 §5


def _assembled(parts: list[_Part], header: list[str], report_id: str, *, global_fields: bool) -> bytes:
    """Header and parts as one message. 8-bit anywhere inside is declared at the top (RFC 2045 §6.4)."""
    encoded = [part.encode() for part in parts]
    boundary = _boundary("report", report_id, encoded)
    # RFC 6522 §3: report-type is the subtype of the second part.
    report_type = "global-delivery-status" if global_fields else "delivery-status"
    header += [f'Content-Type: multipart/report; report-type={report_type};\r\n\tboundary="{boundary}"']
    if not all(piece.isascii() for piece in encoded):
        header += ["Content-Transfer-Encoding: 8bit"]
    return "\r\n".join([*header, "", dsn_text.PREAMBLE, ""]).encode() + _joined(encoded, boundary)


# --- the parts --------------------------------------------------------------------------------------------------


def _words_part(words: str, conversation: str, report_id: str, utf8: bool) -> _Part:
    told = _text_part(words, [f"Content-Description: {dsn_text.DESCRIPTION_WORDS}"], utf8)
    if not conversation:
        return told
    named = [
        f"Content-Description: {dsn_text.DESCRIPTION_CONVERSATION}",
        'Content-Disposition: inline; filename="conversation.txt"',
    ]
    encoded = [told.encode(), _text_part(conversation, named, utf8).encode()]
    boundary = _boundary("words", report_id, encoded)
    fields = [f'Content-Type: multipart/mixed; boundary="{boundary}"']
    if not all(piece.isascii() for piece in encoded):
        fields.append("Content-Transfer-Encoding: 8bit")
    return _Part(fields, _joined(encoded, boundary))


def _text_part(text: str, fields: list[str], utf8: bool) -> _Part:
    content = "".join(f"{line}\r\n" for line in text.splitlines()).encode(errors="replace")
    encoding, content = _encoded(content, eight_bit=utf8)
    return _Part(["Content-Type: text/plain; charset=utf-8", *fields, *_encoding_field(encoding)], content)


def _fields_part(fields: str) -> _Part:
    content = fields.encode(errors="replace")
    described = f"Content-Description: {dsn_text.DESCRIPTION_FIELDS}"
    if content.isascii():
        return _Part(["Content-Type: message/delivery-status", described], content)
    encoding = "Content-Transfer-Encoding: 8bit"
    return _Part(["Content-Type: message/global-delivery-status", described, encoding], content)


def _headers_part(head: bytes, utf8: bool) -> _Part:
    """The original's header section alone, up to its blank line and to a limit."""
    head = head.partition(b"\r\n\r\n")[0][:HEADER_LIMIT].rstrip(b"\r\n") + b"\r\n"
    kind = "message/global-headers" if _is_utf8(head) else "text/rfc822-headers"
    encoding, content = _encoded(head, eight_bit=utf8 and _is_utf8(head))
    described = f"Content-Description: {dsn_text.DESCRIPTION_HEADERS}"
    return _Part([f"Content-Type: {kind}", described, *_encoding_field(encoding)], content)


def _message_part(original: bytes, head: bytes, utf8: bool) -> _Part:
    """The original message byte for byte. A message/rfc822 may not be encoded (RFC 2046 §5.2.1); a message/global
    may (RFC 6532 §3.7), and must be where the report does not travel as SMTPUTF8 (RFC 6533 §4.5)."""
    described = f"Content-Description: {dsn_text.DESCRIPTION_MESSAGE}"
    if not _is_utf8(head):
        encoding = [] if original.isascii() else ["Content-Transfer-Encoding: 8bit"]
        return _Part(["Content-Type: message/rfc822", described, *encoding], original)
    name, content = ("8bit", original) if utf8 else ("base64", _base64(original))
    return _Part(["Content-Type: message/global", described, *_encoding_field(name)], content)


def _conversation(recipients: Sequence[ReportedRecipient]) -> str:
    """The talks of the attempts, each once, named by the server where there are several."""
    talks = {recipient.outcome.evidence: recipient.outcome for recipient in recipients if recipient.outcome.evidence}
    shown = []
    for talk, outcome in list(talks.items())[:CONVERSATIONS_LIMIT]:
        lines = [printable(line.rstrip("\r")) for line in talk.rstrip("\r\n").split("\n")]
        left_out = len(lines) - EVIDENCE_LIMIT
        if left_out > 0:
            half = EVIDENCE_LIMIT // 2
            cut = dsn_text.CONVERSATION_CUT.format(count=left_out, conversation=outcome.conversation)
            lines[half : half + left_out] = [cut]
        if len(talks) > 1:
            lines.insert(0, dsn_text.CONVERSATION_WITH.format(server=remote_name(outcome.remote_mta)))
        shown.append("\n".join(lines))
    return "\n\n".join(shown)


# --- encodings --------------------------------------------------------------------------------------------------


def _encoded(content: bytes, *, eight_bit: bool) -> tuple[str, bytes]:
    """Text content and its transfer encoding: none where none is needed, else one that people can still read."""
    if _is_legal(content) and (content.isascii() or eight_bit):
        return ("7bit" if content.isascii() else "8bit"), content
    if b"\r" in content.replace(b"\r\n", b"") or content.count(b"\n") != content.count(b"\r\n"):
        return "base64", _base64(content)  # quoted-printable would have to guess what is a line end
    return "quoted-printable", binascii.b2a_qp(content, istext=True)


def _is_legal(content: bytes) -> bool:
    """Whether it may stand in a report without an encoding, as far as its lines go."""
    at = 0
    while lines := _LEGAL_LINES.match(content, at):
        at = lines.end()
    return _LEGAL_REST.fullmatch(content, at) is not None


def _base64(content: bytes) -> bytes:
    return base64.encodebytes(content).replace(b"\n", b"\r\n")


def _encoding_field(encoding: str) -> list[str]:
    return [] if encoding == "7bit" else [f"Content-Transfer-Encoding: {encoding}"]


def _is_utf8(head: bytes) -> bool:
    """Whether a header section is an international one (RFC 6532): not ASCII, and really UTF-8."""
    if head.isascii():
        return False
    try:
        head.decode()
    except UnicodeDecodeError:
        return False
    return True


def _header_words(text: str, utf8: bool) -> str:
    """Text for a header: as it is where that is allowed, else as encoded words (RFC 2047 §2: 75 columns each)."""
    if utf8 or text.isascii():
        return text
    words, taken = [], b""
    for letter in text:
        octets = letter.encode(errors="replace")
        if len(taken) + len(octets) > 42:
            words.append(taken)
            taken = b""
        taken += octets
    return " ".join(f"=?utf-8?B?{base64.b64encode(word).decode()}?=" for word in [*words, taken])


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", text)[:40]


def _boundary(purpose: str, report_id: str, encoded: list[bytes]) -> str:
    """A boundary that occurs nowhere in the parts: the first free number. It ends in `_`, so that none is the
    beginning of another (RFC 2046 §5.1.1 compares only as far as the boundary goes)."""
    stem = f"=_{purpose}_{_word(report_id)}_"
    used = {number for piece in encoded for number in re.findall(re.escape(stem.encode()) + rb"(\d+)_", piece)}
    number = 0
    while str(number).encode() in used:
        number += 1
    return f"{stem}{number}_"


def _joined(encoded: list[bytes], boundary: str) -> bytes:
    delimiter = f"\r\n--{boundary}".encode()
    return b"".join(delimiter + b"\r\n" + piece for piece in encoded) + delimiter + b"--\r\n"
