"""What somebody sees who watches a conversation of ours: the sights, from the call to the last word.

Lives here: the values only; each says what happened, and when.
Does not live here: who makes them (watching.py, trial.py), how they look on a terminal or in JSON (cli/).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from glasspost.mail.reply import Reply
from glasspost.net.certificate import TlsFacts
from glasspost.protocol.smtp_client_events import Step


class Phase(StrEnum):
    """How far a conversation came, or is to come, in its order."""

    NAME = "name"  # finding out whom to call
    CONNECT = "connect"
    GREETING = "greeting"
    HELLO = "hello"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"  # from the first octet of the message to the verdict on it


_PHASES = {
    Step.GREETING: Phase.GREETING,
    Step.EHLO: Phase.HELLO,
    Step.HELO: Phase.HELLO,
    Step.LHLO: Phase.HELLO,
    Step.STARTTLS: Phase.TLS,
    Step.AUTH: Phase.AUTH,
    Step.RSET: Phase.MAIL,
    Step.MAIL: Phase.MAIL,
    Step.RCPT: Phase.RCPT,
    Step.DATA: Phase.DATA,
}


def phase_of(step: Step | None) -> Phase:
    """The phase that a step of the client belongs to; None, between messages, is the way to the next MAIL."""
    return Phase.MAIL if step is None else _PHASES.get(step, Phase.CONTENT)


@dataclass(frozen=True, slots=True)
class Sight:
    """Something that happened. `at` is in seconds since the first call began."""

    at: float


@dataclass(frozen=True, slots=True)
class Calling(Sight):
    """A server is being called."""

    name: str
    port: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connected(Sight):
    """The connection stands. `server` is "mx.example.org [192.0.2.1]:25", `ours` our end of it."""

    server: str
    ours: str
    took: float


@dataclass(frozen=True, slots=True)
class Said(Sight):
    """Commands went out, in one piece: whole lines in their public form, without CRLF."""

    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Heard(Sight):
    """A whole reply came, `took` seconds after what it answers went out.

    `lines` as they were on the wire. `command` is the line it answers; empty for the greeting and after the message.
    """

    lines: tuple[bytes, ...]
    reply: Reply
    step: Step | None
    command: str
    took: float


@dataclass(frozen=True, slots=True)
class Secured(Sight):
    """TLS stands. `name`: who was meant to be there."""

    name: str
    facts: TlsFacts
    took: float


@dataclass(frozen=True, slots=True)
class Moving(Sight):
    """The message is on its way: so many of its octets have left."""

    octets: int
    size: int


@dataclass(frozen=True, slots=True)
class Gone(Sight):
    """The whole message has left, `took` seconds after its first octet."""

    octets: int
    took: float


@dataclass(frozen=True, slots=True)
class Noted(Sight):
    """Something of our own that is worth a word: a reply that nobody said, and what it is about.

    `phase` is what could not be done. `given_up` is false where we go on all the same.
    """

    phase: Phase
    reply: Reply
    given_up: bool = True


@dataclass(frozen=True, slots=True)
class Closed(Sight):
    """The connection is gone, as was meant."""


Watch = Callable[[Sight], None]
