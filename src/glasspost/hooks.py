"""What a hook sees and says: the types for a file of your own rules.

Lives here: `Visit`, `Envelope`, `Message`, `Fate`, and the verdicts `refuse`, `defer` and `hold`. This is all that a
hooks file needs to import (docs/hooks.md).
Does not live here: loading and calling such a file (inbound/hook_script.py, inbound/hook_runner.py, inbound/hooks.py).

    from glasspost.hooks import Envelope, Verdict, Visit, refuse

    def rcpt(visit: Visit, envelope: Envelope, recipient: str) -> Verdict | None:
        if recipient.startswith("old.") and not visit.account:
            return refuse("This address is closed", reason="old. addresses")
        return None
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from glasspost.mail.message import header_values

NAMES = ("connect", "helo", "mail", "rcpt", "data", "accepted", "delivered", "failed")  # the functions of a hooks file
ARITY = {"connect": 1, "helo": 1, "mail": 2, "rcpt": 3, "data": 3, "accepted": 3, "delivered": 1, "failed": 1}

_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 §2.2
_TEXT_LIMIT = 400  # characters of a public text


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a hook says against something. Made by `refuse`, `defer` and `hold`; None is "nothing against it"."""

    code: int  # 4xx or 5xx; 0 for hold
    enhanced: str
    text: str  # public: the client reads it, and perhaps a worried person in a bounce; of hold, why
    reason: str = ""  # private: for the transcript
    held: bool = False


def refuse(text: str, *, code: int = 550, enhanced: str = "5.7.1", reason: str = "") -> Verdict:
    """Never: the client must not try again. `code` is 5xx, `enhanced` 5.x.y (RFC 3463). Raises ValueError."""
    return _verdict(5, code, enhanced, text, reason)


def defer(text: str, *, code: int = 451, enhanced: str = "4.7.1", reason: str = "") -> Verdict:
    """Not now: the client may try again. `code` is 4xx, `enhanced` 4.x.y (RFC 3463). Raises ValueError."""
    return _verdict(4, code, enhanced, text, reason)


def hold(reason: str) -> Verdict:
    """Take the message, and keep it for the postmaster (`glasspost queue release`). Only `data` may say so."""
    if not reason.strip():
        raise ValueError("hold needs a reason: the postmaster will wonder")
    return Verdict(0, "", _one_line(reason), held=True)


def _verdict(kind: int, code: int, enhanced: str, text: str, reason: str) -> Verdict:
    if code // 100 != kind:
        raise ValueError(f"{code} is no {kind}xx code")
    if not re.fullmatch(rf"{kind}\.\d{{1,3}}\.\d{{1,3}}", enhanced):
        raise ValueError(f"{enhanced} is no {kind}.x.y code")
    if not text.strip() or not text.isascii():
        raise ValueError("the text that a client reads is ASCII, and not empty")
    return Verdict(code, enhanced, _one_line(text)[:_TEXT_LIMIT], _one_line(reason))


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


@dataclass(slots=True)
class Visit:
    """A client's visit, as it stands when a hook is called. The same object from `connect` to the end."""

    role: str  # the listener's: "mx", "submission"
    ip: str
    port: int
    listener: str  # where it came in, host:port
    hostname: str  # what we call ourselves to it
    conversation: str  # its id: `glasspost conversations show ID`
    trusted: bool = False  # in one of the relay networks
    hello: str = ""  # what it calls itself; empty before EHLO or HELO
    extended: bool = False  # it said EHLO
    tls: str = ""  # version and cipher; empty in the clear
    account: str = ""  # who signed in; empty: nobody
    facts: dict[str, Any] = field(default_factory=dict)  # your own memory, for as long as the visit lasts
    notes: list[str] = field(default_factory=list)  # said by `note`, and not in the transcript yet

    def note(self, text: str) -> None:
        """Put a fact into the transcript."""
        self.notes.append(_one_line(text))


@dataclass(frozen=True, slots=True)
class Envelope:
    """What MAIL and RCPT said. Addresses without brackets; the null sender is empty."""

    sender: str
    recipients: tuple[str, ...] = ()  # those accepted so far
    size: int = 0  # SIZE=, in octets; 0 where not given
    smtputf8: bool = False
    body: str = "7BIT"  # or "8BITMIME", "BINARYMIME" (RFC 6152, RFC 3030)


@dataclass(slots=True)
class Message:
    """A message that is here whole and not accepted yet. Its octets stay as they came; fields can be put on top."""

    queue_id: str
    size: int  # octets of all of it
    octets: bytes  # the message; of one larger than hooks.message_limit only its beginning
    fields: list[bytes] = field(default_factory=list)  # added by `add_field`

    @property
    def whole(self) -> bool:
        """Whether `octets` is all of it."""
        return len(self.octets) == self.size

    def header(self, name: str) -> list[str]:
        """All values of a header field in order of appearance, unfolded and decoded (RFC 2047)."""
        return header_values(self.octets, name)

    def add_field(self, name: str, value: str) -> None:
        """Put a header field on top. Raises ValueError where it would not be one."""
        text = _one_line(value)
        if not _FIELD_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no field name")
        if not text.isascii() or len(name) + len(text) > 990:
            raise ValueError(f"the value of {name} is ASCII, and fits into a line (RFC 5322 §2.1.1)")
        self.fields.append(f"{name}: {text}\r\n".encode())


@dataclass(frozen=True, slots=True)
class Fate:
    """The end of one recipient's journey, told to `delivered` and `failed`."""

    queue_id: str
    recipient: str
    what: str  # "delivered" into a mailbox, "relayed" to the next server, "failed", "given up"
    at: float  # seconds since the epoch
    reply: str = ""  # what the next server said; empty for a mailbox of ours
    host: str = ""  # the next server
    conversation: str = ""  # the id of the conversation with it
