"""The part of a delivery report that machines read: message/delivery-status (RFC 3464 §2).

Lives here: what is known about each recipient of a report, the status code that stands for it, and the fields.
Does not live here: the words for people (mail/dsn_text.py), the report as a whole (mail/dsn.py).

Everything a stranger chose (addresses, ENVID, ORCPT, other servers' replies) passes `printable` on its way in, so no
value can begin a new line, and thereby a new field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from glasspost.mail.address import Address
from glasspost.mail.envelope import Notify, Outcome
from glasspost.mail.message import date_text
from glasspost.mail.reply import Reply
from glasspost.mail.xtext import ascii_only, from_unitext, unitext

Kind = Literal["failed", "delayed", "delivered", "relayed", "expanded"]  # action-value of RFC 3464 §2.3.3

_STATUS = re.compile(r"[245]\.(?:0|[1-9]\d{0,2})\.(?:0|[1-9]\d{0,2})")

# Where a server gave no enhanced code, and its basic code leaves no doubt (RFC 5321 §4.2.2, RFC 5248 §2.4, RFC 7504).
_STATUS_OF_CODE = {
    421: "4.3.2",
    450: "4.2.0",
    451: "4.3.0",
    452: "4.3.1",
    454: "4.7.0",
    455: "4.5.4",
    500: "5.5.2",
    501: "5.5.4",
    502: "5.5.1",
    503: "5.5.1",
    504: "5.5.4",
    521: "5.3.2",
    530: "5.7.0",
    535: "5.7.8",
    538: "5.7.11",
    551: "5.1.6",
    553: "5.1.3",
    555: "5.5.4",
    556: "5.1.10",
}
_CLASS_OF_KIND = {"failed": "5", "delayed": "4", "delivered": "2", "relayed": "2", "expanded": "2"}
_CLASSES_OF_KIND = {"failed": "45", "delayed": "4", "delivered": "2", "relayed": "2", "expanded": "2"}

_LINE_LIMIT = 998  # octets without CRLF, RFC 5322 §2.1.1
DIAGNOSTIC_LIMIT = 2000  # characters of a reply that a report repeats; the conversation has all of it


@dataclass(slots=True)
class ReportedRecipient:
    """One recipient of the original message, and what the report has to say about it.

    `outcome` is the last attempt's, unchanged, also where the report is about giving up: that is how the reader
    learns what stood in the way. Times are seconds since the epoch; `last_attempt` 0 where there was none. `meaning`
    is what the last answer means, as lines for people, in whatever language; empty where nothing more is known.
    """

    address: Address
    outcome: Outcome
    orcpt: str = ""  # "rfc822;Bob@example.org", decoded from xtext
    notify: Notify = Notify.UNSET
    attempts: int = 1
    last_attempt: float = 0.0
    will_retry_until: float | None = None
    meaning: tuple[str, ...] = ()


def status_of(kind: Kind, reply: Reply) -> str:
    """The status code (RFC 3463) of a recipient. A given-up message keeps its 4.x.x, as RFC 3464 §2.3.3 explains."""
    status = reply.enhanced if _STATUS.fullmatch(reply.enhanced) else _STATUS_OF_CODE.get(reply.code, "")
    if not status and 200 <= reply.code < 600:
        status = f"{reply.code // 100}.0.0"
    return status if status and status[0] in _CLASSES_OF_KIND[kind] else f"{_CLASS_OF_KIND[kind]}.0.0"


def delivery_status(
    kind: Kind,
    *,
    reporting_mta: str,
    received_from: str,
    envid: str,
    arrived: float,
    queue_id: str,
    recipients: Sequence[ReportedRecipient],
    utf8: bool,
) -> str:
    """All the fields, lines ending in CRLF: one group for the message, then one for each recipient.

    `utf8` gives the form of message/global-delivery-status (RFC 6533 §4.1); without it the result is ASCII.
    """
    fields = []
    if envid:
        fields.append(f"Original-Envelope-Id: {printable(envid)}")  # never folded: its spelling is its meaning
    fields.append(f"Reporting-MTA: dns; {printable(reporting_mta)}")
    if received_from:
        fields.append(fold("Received-From-MTA", f"dns; {printable(received_from)}"))
    fields.append(f"Arrival-Date: {date_text(arrived)}")
    groups = [fields, *(_recipient_fields(kind, recipient, queue_id, utf8) for recipient in recipients)]
    text = "\r\n\r\n".join("\r\n".join(group) for group in groups) + "\r\n"
    return text if utf8 else ascii_only(text)


def _recipient_fields(kind: Kind, recipient: ReportedRecipient, queue_id: str, utf8: bool) -> list[str]:
    """One group of RFC 3464 §2.3, in the order of its grammar."""
    outcome = recipient.outcome
    finding = said(outcome.reply) if utf8 else ascii_only(said(outcome.reply))
    fields = []
    if recipient.orcpt:
        fields.append(one_line("Original-Recipient", _original_recipient(recipient.orcpt, utf8)))
    fields.append(one_line("Final-Recipient", _final_recipient(recipient.address, utf8)))
    fields.append(f"Action: {kind}")
    fields.append(f"Status: {status_of(kind, outcome.reply)}")
    if outcome.remote_mta:
        name = remote_name(outcome.remote_mta)
        kind_of_name = "x-unix" if name.startswith("/") else "dns"
        fields.append(fold("Remote-MTA", f"{kind_of_name}; {name if utf8 else ascii_only(name)}"))
    # A Diagnostic-Code is what a server said. Our own finding must not look as if the other side had said it.
    troubled = kind in ("failed", "delayed")
    if troubled and outcome.said_by_remote:
        fields.append(fold("Diagnostic-Code", f"smtp; {finding}"))
    if recipient.last_attempt:
        fields.append(f"Last-Attempt-Date: {date_text(recipient.last_attempt)}")
    log_ids = " ".join(name for name in (queue_id, outcome.conversation) if name)
    fields.append(fold("Final-Log-ID", printable(log_ids)))
    if kind == "delayed" and recipient.will_retry_until is not None:
        fields.append(f"Will-Retry-Until: {date_text(recipient.will_retry_until)}")
    if troubled and not outcome.said_by_remote:
        fields.append(fold("X-Glasspost-Finding", finding))
    if outcome.doubtful:
        fields.append("X-Glasspost-Doubtful: yes; the message may have arrived")
    return fields


def _final_recipient(address: Address, utf8: bool) -> str:
    text = printable(str(address))
    if text.isascii():
        return f"rfc822; {text}"
    return f"utf-8; {text if utf8 else unitext(text)}"


def _original_recipient(orcpt: str, utf8: bool) -> str:
    """What the sender gave as ORCPT, in the form this kind of report may carry (RFC 6533 §3)."""
    kind, semicolon, value = printable(orcpt).partition(";")
    if not semicolon:
        return f"unknown; {kind}"
    if kind.strip().lower() == "utf-8":
        plain = from_unitext(value.strip())
        if plain is not None:  # otherwise it is copied without alteration
            value = printable(plain) if utf8 else unitext(plain)
    return f"{kind.strip()}; {value.strip()}"


def said(reply: Reply) -> str:
    """A reply on one line, as reports repeat it: code, enhanced code, the texts of all its lines."""
    words = printable(f"{reply.code} {reply.enhanced} {reply.text}").split()
    text = " ".join(words)
    return text if len(text) <= DIAGNOSTIC_LIMIT else text[:DIAGNOSTIC_LIMIT] + " [...]"


def remote_name(remote_mta: str) -> str:
    """The name alone of `mx1.example.org [192.0.2.1]:25`, or the literal where there is no name."""
    return (printable(remote_mta).split() or ["unknown"])[0]


def printable(text: str) -> str:
    """`text` on one line, without anything that could steer a terminal or a parser."""
    if text.isascii() and text.isprintable():
        return text
    # The joiners are invisible too, but some scripts need them.
    return "".join(
        letter if letter.isprintable() or letter in "\u200c\u200d" else " " if letter.isspace() else "?"
        for letter in text
    )


def fold(name: str, value: str, width: int = 78) -> str:
    """A header field, folded at spaces to `width` columns (RFC 5322 §2.2.3). Runs of spaces become one.

    A word too long for any line (998 octets, §2.1.1) is cut.
    """
    lines = [f"{name}:"]
    for word in value.split():
        for piece in _pieces(word):
            if len(lines[-1]) + 1 + len(piece) <= width or lines[-1] == f"{name}:":
                lines[-1] += f" {piece}"
            else:
                lines.append(f" {piece}")
    return "\r\n".join(lines)


def one_line(name: str, value: str) -> str:
    """A header field whose value is not to be folded: an address, whose blanks may be quoted ones. One that no line
    can hold (998 octets, RFC 5322 §2.1.1) is folded and cut all the same."""
    line = f"{name}: {value}"
    return line if len(line.encode(errors="replace")) <= _LINE_LIMIT else fold(name, value)


def _pieces(word: str) -> list[str]:
    if len(word.encode(errors="replace")) <= 900:
        return [word]
    return [word[at : at + 225] for at in range(0, len(word), 225)]
