"""What is looked at once a message has come in whole.

Lives here: loops, what a full store or a full house means for the client, and the trace field on top, with which it
goes to the spool (RFC 5321 §4.4, §6.3).
Does not live here: anything that changes the message. Its octets stay as they came (DESIGN law 7).
"""

from __future__ import annotations

import ssl

from glasspost.errors import StoreFull
from glasspost.inbound.limits import TooMuchAtOnce
from glasspost.mail import reply as say
from glasspost.mail.message import HeaderScan, received_header
from glasspost.mail.reply import Reply
from glasspost.net.certificate import version_and_cipher
from glasspost.protocol.smtp_server import SmtpServer
from glasspost.storage.bodies import Draft
from glasspost.storage.spooled import Intake

HEADER_LIMIT = 65_536  # octets of a message in which its header is looked for


def judge_message(scan: HeaderScan, max_received: int) -> Reply | None:
    """Why a message is refused after all; None where it is not. `scan`: what its first octets say."""
    if scan.received >= max_received:
        return say.MAIL_LOOP.saying(hops=max_received)
    return None


def store_refusal(error: Exception) -> Reply:
    """What a client is told when its message could not be stored: try again, here or later."""
    if isinstance(error, TooMuchAtOnce):
        return say.TOO_MUCH_AT_ONCE
    reply = say.SYSTEM_FULL if isinstance(error, StoreFull) else say.LOCAL_ERROR
    return reply.because(str(error))


def transmission(*, extended: bool, tls: bool, signed_in: bool, utf8: bool, lmtp: bool = False) -> str:
    """The protocol word of a Received field (RFC 3848, RFC 6531 §4.3)."""
    if not extended and not utf8:
        return "SMTP"
    word = ("UTF8LMTP" if utf8 else "LMTP") if lmtp else ("UTF8SMTP" if utf8 else "ESMTP")
    return word + ("S" if tls else "") + ("A" if signed_in else "")


def traced_intake(core: SmtpServer, draft: Draft, ip: str, tls: ssl.SSLObject | None, now: float) -> Intake:
    """The message that a conversation has just brought from `ip`, with its Received field on top. Where it goes is
    not filled in yet. `now` in seconds since the epoch."""
    envelope = core.envelope
    assert envelope is not None
    intake = Intake(draft, envelope, b"", now, core.tag, due=now)
    intake.head = received_header(
        helo=core.hello,
        peer_name="",
        peer_ip=ip,
        hostname=core.settings.hostname,
        protocol=transmission(
            extended=core.extended,
            tls=core.tls,
            signed_in=core.signed_in,
            utf8=envelope.smtputf8,
            lmtp=core.settings.lmtp,
        ),
        tls=tls_words(tls),
        queue_id=intake.queue_id,
        recipient=envelope.recipients[0].address if len(envelope.recipients) == 1 else None,
        when=now,
    )
    return intake


def tls_words(tls: ssl.SSLObject | None) -> str:
    """Version and cipher for people to read; empty in the clear."""
    return " ".join(version_and_cipher(tls)) if tls is not None else ""
