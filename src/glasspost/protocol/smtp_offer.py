"""What an SMTP listener offers: its settings, and the EHLO lines they make.

Lives here: one value per listener, shared by all its conversations, and the list of extensions (RFC 5321 §4.1.1.1).
Does not live here: what each extension does (smtp_server.py, smtp_parameters.py), where the settings come from (node/).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.protocol.smtp_leniency import Leniency
from glasspost.protocol.smtp_xclient import KEYWORD

# Verbs of the table that a listener may not offer.
OPTIONAL = frozenset(("AUTH", "STARTTLS", "LHLO", "EHLO", "HELO", "BDAT", "XCLIENT"))


@dataclass(slots=True)
class ServerSettings:
    """What one listener's conversations are like. Sizes in octets."""

    hostname: str
    max_size: int = 50_000_000
    max_recipients: int = 1000
    max_transactions: int = 0  # 0: no limit
    max_errors: int = 10
    line_limit: int = 2048
    repair_newlines: bool = False
    smtputf8: bool = True
    tls_available: bool = False
    mechanisms: tuple[str, ...] = ()  # of AUTH; empty: not offered
    cleartext_auth: bool = False
    lmtp: bool = False  # RFC 2033: LHLO instead of EHLO, and a reply for each recipient behind the message
    lenient: frozenset[Leniency] = frozenset()  # what is forgiven: only a listener for devices forgives anything
    complaint: str = '{"status":"invalid_token"}'  # the JSON that refused tokens are answered with (RFC 7628 §3.2.2)

    xclient: bool = False  # this client is a proxy, and may say on whose behalf it speaks

    @property
    def greeting(self) -> Reply:
        """The 220 of a listener."""
        return _greeting(self.hostname, self.lmtp)

    def offers(self, verb: str, *, tls: bool) -> bool:
        """Whether a verb of the table is anything to this listener."""
        if verb in ("EHLO", "HELO", "BDAT"):
            return not self.lmtp
        if verb == "LHLO":
            return self.lmtp
        if verb == "AUTH":
            return bool(self.mechanisms)
        if verb == "XCLIENT":
            return self.xclient
        return verb != "STARTTLS" or self.tls_available or tls

    def in_the_clear(self, allowed: bool) -> ServerSettings:
        """The same offer with or without sign-in in the clear: it may depend on where the client is."""
        return self if self.cleartext_auth == allowed else replace(self, cleartext_auth=allowed)


@cache
def _greeting(hostname: str, lmtp: bool) -> Reply:
    return (say.LMTP_GREETING if lmtp else say.GREETING).saying(hostname=hostname)


def keywords(offer: ServerSettings, *, tls: bool, mechanisms: tuple[str, ...]) -> str:
    """The lines of the EHLO reply behind the first. Sign-in and STARTTLS depend on whether TLS is on; `mechanisms` are
    those of the offer's that this connection can carry."""
    chunking = () if offer.lmtp else ("BINARYMIME", "CHUNKING")
    lines = ["PIPELINING", f"SIZE {offer.max_size}", "8BITMIME", *chunking, "DSN"]
    lines.append("ENHANCEDSTATUSCODES")
    if offer.smtputf8:
        lines.append("SMTPUTF8")
    mailmax = f" MAILMAX={offer.max_transactions}" if offer.max_transactions else ""
    lines.append(f"LIMITS RCPTMAX={offer.max_recipients}{mailmax}")
    if offer.tls_available and not tls:
        lines.append("STARTTLS")
    if tls:
        lines.append("REQUIRETLS")  # RFC 8689 §2: it means nothing in the clear
    if mechanisms and (tls or offer.cleartext_auth):
        lines.append(f"AUTH {' '.join(mechanisms)}")
    if offer.xclient:
        lines.append(KEYWORD)
    return "\n".join([*lines, "HELP"])
