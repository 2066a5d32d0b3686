"""The envelope: what was said about a message in MAIL and RCPT, and what became of each recipient.

Lives here: values that travel from the SMTP server through the spool to the SMTP client and into reports.
Does not live here: the message itself (mail/message.py), its durable life (storage/spool.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag, StrEnum

from glasspost.mail.address import Address
from glasspost.mail.reply import Reply


class Notify(IntFlag):
    """When the sender wants to hear (RFC 3461 §4.1). UNSET is not NEVER: it means the default, failures and delays."""

    UNSET = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8

    @property
    def wants_failure(self) -> bool:
        return self == Notify.UNSET or bool(self & Notify.FAILURE)

    @property
    def wants_delay(self) -> bool:
        return self == Notify.UNSET or bool(self & Notify.DELAY)

    @property
    def wants_success(self) -> bool:
        return bool(self & Notify.SUCCESS)

    def __str__(self) -> str:
        """The value as a NOTIFY parameter carries it: `SUCCESS,DELAY`; empty for UNSET."""
        return ",".join(flag.name or "" for flag in Notify if flag and flag in self)


class BodyType(StrEnum):
    """The BODY parameter of MAIL (RFC 6152, RFC 3030)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"
    BINARY = "BINARYMIME"


@dataclass(slots=True)
class Recipient:
    """One forward-path of the envelope with its delivery-report wishes (RFC 3461 §4.1, §4.2)."""

    address: Address
    notify: Notify = Notify.UNSET
    orcpt: str = ""  # "rfc822;Bob@example.org", decoded from xtext; empty where not given


@dataclass(slots=True)
class Envelope:
    """One mail transaction's MAIL command and its accepted recipients."""

    reverse_path: Address | None
    recipients: list[Recipient] = field(default_factory=list)
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    declared_size: int = 0  # SIZE=, 0 where not given
    ret: str = ""  # "FULL", "HDRS" or empty (RFC 3461 §4.3)
    envid: str = ""  # decoded from xtext (RFC 3461 §4.4)
    requiretls: bool = False  # only over proved TLS, here and on all further hops (RFC 8689 §4.1)
    tls_optional: bool = False  # its header says TLS-Required: No (RFC 8689 §3), and MAIL did not say REQUIRETLS


class Verdict(StrEnum):
    """What one attempt did for one recipient."""

    DELIVERED = "delivered"  # into a mailbox of ours: the end of the journey
    RELAYED = "relayed"  # the next server took it
    DEFERRED = "deferred"  # try again later
    FAILED = "failed"  # never again


@dataclass(slots=True)
class Outcome:
    """One recipient's result of one attempt, from either courier (outbound/local.py, outbound/remote.py).

    `reply` is what the other side said, or a reply of ours where nobody said anything (refused connection, timeout).
    `doubtful` marks an attempt whose reply after the final dot was lost: the message may have arrived.
    `reports_onward` is true where the next server took the DSN wishes along (RFC 3461 §5.2.1), so that it, not we,
    owes the success report.
    """

    verdict: Verdict
    reply: Reply
    remote_mta: str = ""  # "mx1.example.org [192.0.2.1]:25", as reports name it; empty for local delivery
    said_by_remote: bool = False  # whether `reply` was really spoken by the remote server
    doubtful: bool = False
    reports_onward: bool = False
    conversation: str = ""  # id of the recorded conversation
    evidence: str = ""  # that conversation's talk, as far as it concerns this message; for the bounce
    deposits: tuple[tuple[int, Address], ...] = ()  # accounts (by id) that the settling commit delivers to
    forwards: tuple[Recipient, ...] = ()  # addresses it goes on to instead
