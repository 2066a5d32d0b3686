"""What a device's message needs before a strict server takes it: a From that is allowed, a Date, a Message-ID.

Lives here: the look at the header while it comes in, the renaming of its sender fields, and the fields for the top.
Does not live here: newlines (protocol/smtp_content.py), the sender of the envelope (bridge.py).

Elsewhere in this house a message's octets are never changed (DESIGN law 7). Here they are, once and as little as can
be: a From or Sender that is not the device's to use is renamed to X-Device-From or X-Device-Sender where it stands,
and the allowed From goes on top. Providers who want a sign-in compare From with it, and refuse what differs; two From
fields are refused by everyone (RFC 5322 §3.6). A message whose From is allowed passes as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from glasspost.inbound.bridge import Device
from glasspost.mail.address import Address
from glasspost.mail.message import date_text, header_values, scan_headers, split_header

HEADER_LIMIT = 65_536  # octets in which the end of the header is waited for; a longer one passes as it is
_SENDERS = re.compile(rb"(?<![^\n])(From|Sender)(?=[ \t]*:)", re.IGNORECASE)
_HEADER_IS_OVER = re.compile(rb"\n\r\n")
_MAILBOX = re.compile(
    r'(?P<phrase>"[^"\\]*" *|[^<>,"]*)<\s*(?P<inside>[^<>@\s]+@[^<>@\s]+)\s*>|(?P<plain>[^<>@\s,]+@[^<>@\s,]+)'
)
_PHRASE = re.compile(r'[A-Za-z0-9 _.!?=*/+-]{1,60}|"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,60}"')


class DeviceContent:
    """One message of a device on its way to its draft. `feed` pieces, then `end`; `note` is told of repairs."""

    __slots__ = ("_add", "_completes", "_device", "_held", "_note", "_passing", "_phrase", "_renamed")

    def __init__(
        self, device: Device, add: Callable[[bytes], None], note: Callable[[str], None], *, completes: bool
    ) -> None:
        """`add` takes the content. `completes`: missing fields are added (leniency `header`)."""
        self._device = device
        self._add = add
        self._note = note
        self._completes = completes
        self._held = bytearray()
        self._passing = False  # the header is behind us
        self._renamed = False
        self._phrase = ""  # the name that stood before the address in From

    def feed(self, data: bytes) -> None:
        """The next octets as they came: held until the header is there whole."""
        if self._passing:
            self._add(data)
            return
        held = self._held
        seen = max(0, len(held) - 3)  # a byte at a time must not be searched from the front each time
        held += data
        if _HEADER_IS_OVER.search(held, seen) or held[:2] == b"\r\n" or len(self._held) > HEADER_LIMIT:
            self._let_go()

    def end(self) -> None:
        """The message is here whole. Callable again."""
        if not self._passing:
            self._let_go()

    def _let_go(self) -> None:
        held, self._held, self._passing = bytes(self._held), bytearray(), True
        header, body = split_header(held)
        if not self._all_allowed(header):
            header, count = _SENDERS.subn(rb"X-Device-\1", header)
            self._renamed = True
            self._note(f"{count} sender fields of the header renamed: not an address of device {self._device.name}")
        if header or body:
            self._add(header + body)

    def _all_allowed(self, header: bytes) -> bool:
        """Whether From, where there is one, is one address that the device may use; and so with Sender."""
        authors = header_values(header, "From")
        if authors:
            found = _MAILBOX.match(authors[0])
            phrase = (found["phrase"] or "").strip() if found else ""
            self._phrase = phrase if _PHRASE.fullmatch(phrase) else ""
        named = [*authors, *header_values(header, "Sender")]
        odd = len(named) != len(_SENDERS.findall(header))  # a blank before the colon hides a field from most readers
        return not odd and len(authors) <= 1 and all(map(self._is_allowed, named))

    def _is_allowed(self, value: str) -> bool:
        found = _MAILBOX.fullmatch(value)
        if found is None:
            return False
        local, _, domain = (found["inside"] or found["plain"]).rpartition("@")
        return self._device.may_be(Address(local, domain))

    def on_top(self, opening: bytes, size: int, *, hostname: str, queue_id: str, now: float) -> bytes:
        """The fields that go on top, below our Received: what a message must have and this one has not (RFC 5321 §6.4).

        `opening` is its beginning as it is stored, `size` all its octets, `now` in seconds since the epoch.
        """
        scan = scan_headers(opening)
        whole = scan.ended or size <= len(opening)
        fields, missing = [], []
        if self._renamed or (self._completes and whole and not scan.has_from):
            fields.append(f"From: {self._phrase} <{self._device.sender}>" if self._phrase else self._from())
            missing.append("From")
        if self._completes and whole and not scan.has_date:
            fields.append(f"Date: {date_text(now)}")
            missing.append("Date")
        if self._completes and whole and not scan.message_id:
            fields.append(f"Message-ID: <{queue_id}@{hostname}>")
            missing.append("Message-ID")
        if not fields:
            return b""
        self._note(f"repaired: header: {', '.join(missing)} put on top")
        blank = b"" if scan.separated or scan.body_at else b"\r\n"  # it had no header at all: all of it is text
        return "".join(f"{field}\r\n" for field in fields).encode() + blank

    def _from(self) -> str:
        return f"From: <{self._device.sender}>"
