"""What an operator can choose about a POP3 conversation, and what it asks the house.

Lives here: the settings, and the events of `Pop3Server.next_event`. Each event is a question: an answer is owed.
Does not live here: any behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from glasspost.protocol.pop3_listing import Deposit
from glasspost.protocol.sasl import Question
from glasspost.protocol.sasl_mechanisms import BY_PASSWORD


@dataclass(frozen=True, slots=True)
class Pop3Settings:
    """Times in seconds."""

    hostname: str = "localhost"
    idle_seconds: float = 600  # RFC 1939 §3: at least ten minutes
    # From whom passwords are taken without TLS. Behind a proxy on this machine everybody comes from loopback.
    cleartext_auth: Literal["never", "loopback", "always"] = "loopback"
    # What happens to a message with UTF-8 in its header where the client has not said UTF8 (RFC 6856 §2.1).
    # "refuse" is the RFC's way; fetchmail then leaves the message here, mpop ends its whole session. "send" gives it
    # to every client as it is, as most servers do.
    headers_in_utf8: Literal["refuse", "send"] = "send"
    max_failed_sign_ins: int = 3  # then the connection is closed
    mechanisms: tuple[str, ...] = BY_PASSWORD  # of AUTH, in the order they are offered
    complaint: str = '{"status":"invalid_token"}'  # the JSON that refused tokens are answered with (RFC 7628 §3.2.2)
    max_errors: int = 20  # commands that break the protocol; with one more the connection is closed


@dataclass(frozen=True, slots=True)
class SignIn:
    """PASS or AUTH: are they who they say, and may they have the maildrop? Where the question is for keys, the answer
    is `sign_in_keys`, and the exchange goes on."""

    question: Question


@dataclass(frozen=True, slots=True)
class StartTls:
    """STLS: shall the connection go over to TLS? No octet is left unread, so none can cross (DESIGN law 6)."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """RETR or TOP: the content of a message is wanted, all of it, or its header and `lines` lines."""

    number: int
    deposit: Deposit
    lines: int | None


@dataclass(frozen=True, slots=True)
class Update:
    """QUIT in a maildrop: remove the doomed, release the lock, say how it went (RFC 1939 §6)."""

    doomed: list[Deposit]
    left: int


Event = SignIn | StartTls | Fetch | Update
