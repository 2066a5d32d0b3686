"""What an SMTP client conversation tells the courier above it.

Lives here: the events of `SmtpClient.next_event`, the steps that are waited for, and the client's settings.
Does not live here: any behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from glasspost.mail.envelope import Outcome
from glasspost.mail.reply import Reply


class Step(Enum):
    """What is being waited for; the value says when, as reports put it: "the server was lost after MAIL"."""

    GREETING = "before its greeting"
    EHLO = "after EHLO"
    HELO = "after HELO"
    LHLO = "after LHLO"
    STARTTLS = "after STARTTLS"
    AUTH = "during sign-in"
    RSET = "after RSET"
    MAIL = "after MAIL"
    RCPT = "after RCPT"
    DATA = "after DATA"
    CONTENT = "while the message was being sent"  # nothing is awaited: it is our turn
    CHUNK = "after BDAT"
    DOT = "after the final dot"
    LONE_DOT = "after a final dot without a message"
    QUIT = "after QUIT"


@dataclass(frozen=True, slots=True)
class SmtpClientSettings:
    """How this client speaks.

    `hostname`: what EHLO names, ASCII. `recipients`: most RCPTs in one transaction (RFC 5321 §4.5.3.1.8 lets every
    server take 100). `chunking`: BDAT wherever it is offered, not only where BINARYMIME needs it. `send_eight_bit`:
    send 8-bit content also where 8BITMIME is not offered. `lmtp`: speak LMTP (RFC 2033): LHLO, and after the message a
    reply for each recipient; content goes by DATA then, never in chunks.
    """

    hostname: str
    recipients: int = 100
    pipelining: bool = True
    chunking: bool = False
    send_eight_bit: bool = False
    lmtp: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """A step outside a transaction has its reply."""

    step: Step
    reply: Reply


@dataclass(frozen=True, slots=True)
class BodyWanted:
    """The server waits for content: call `body`."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A transaction is over. Outcomes stand in the envelope's order; None: this recipient did not fit, send again,
    or, in a transaction that was to end before the message, it was not refused until then.

    `unanswered`: the server was lost, or closed with 421, before it said anything to MAIL.
    """

    outcomes: list[Outcome | None]
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """The conversation is over. `said`: the reply is the server's own (421), not ours."""

    reply: Reply
    said: bool = False


Event = Answered | BodyWanted | Finished | Broken
