"""What a submission server does for its own users, and what it does not let them do (RFC 6409).

Lives here: two gates. `OwnAddresses` lets an account send and write only in its own names; `Completion` adds the fields
that a message must have where they are missing (RFC 6409 §8), and takes the Bcc field out.
Does not live here: that they sign in (policy.py), how much they may send (rates.py), reading addresses
(mail/originators.py).

An address is an account's own if mail to it comes to that account: its address, that with a detail, its aliases, its
catch-all. Clients of relay networks, who have no account, are not asked.

Octets are not changed, with one exception: docs/decisions/0014-bcc.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from glasspost.clock import Clock
from glasspost.ids import write_id
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Arrival, Gate, Step
from glasspost.mail import reply as say
from glasspost.mail.address import Address, a_label, address_from_text
from glasspost.mail.envelope import Envelope
from glasspost.mail.message import date_text
from glasspost.mail.originators import fields_named, hidden_field, mailboxes
from glasspost.mail.reply import Reply
from glasspost.storage.accounts import Directory
from glasspost.storage.resolution import Account, Local, fold

LOOKED_AT = 65_536  # octets in which the header must end
_BARE_CR = re.compile(rb"\r(?!\n)")
SendAs = Mapping[str, frozenset[str]]  # an account's address -> what else it may send as: addresses and domains


class OwnAddresses(Gate):
    """MAIL FROM, From and Sender of an account are its own, or among what it may `send_as`."""

    def __init__(self, directory: Directory, separator: str, send_as: SendAs) -> None:
        self._directory = directory
        self._separator = separator
        self._send_as = send_as

    def sender(self, client: Client, envelope: Envelope) -> Step:
        # RFC 6409 §6.1
        account, path = client.account, envelope.reverse_path
        if account is None or path is None or self.owns(account, path):
            return None
        return say.SENDER_NOT_YOURS.saying(address=path).because(f"signed in as {account.address}")

    def message(self, client: Client, envelope: Envelope, arrival: Arrival) -> Step:
        account = client.account
        if account is None:
            return None
        head = header_of(arrival)
        if head is None:
            return say.HEADER_TOO_LARGE.saying(limit=LOOKED_AT)
        if _BARE_CR.search(head):  # only BINARYMIME brings one; some readers take it for a line end
            return say.HEADER_BROKEN.saying(fault="a CR stands alone in it")
        if hidden := _hidden(arrival, b"from", b"sender"):
            return hidden
        found, senders = fields_named(head, b"from"), fields_named(head, b"sender")
        if len(found) > 1 or len(senders) > 1:  # a reader would show one of them; and each costs time to read
            return say.AUTHOR_UNREADABLE.saying(fault="there are several")
        for _, _, value in [*found, *senders]:
            refusal = self._author_refusal(account, value)
            if refusal is not None:
                return refusal
        return None

    def _author_refusal(self, account: Account, value: bytes) -> Reply | None:
        authors = mailboxes(value)
        if isinstance(authors, str):
            return say.AUTHOR_UNREADABLE.saying(fault=_plain(authors))
        for author in authors:
            if not self.owns(account, author):
                named = author if not author.needs_utf8 else "another"
                return say.AUTHOR_NOT_YOURS.saying(address=named).because(f"signed in as {account.address}")
        return None

    def owns(self, account: Account, address: Address) -> bool:
        """Whether an account may send as this address."""
        more = self._send_as.get(account.address, frozenset())
        if more and (f"{fold(address.local)}@{address.route}" in more or address.route in more):
            return True
        found = self._directory.resolve(address, separator=self._separator)
        return isinstance(found, Local) and any(one.id == account.id for one in found.accounts)


class Completion(Gate):
    """Adds Date, Message-ID and From where there are none, and Sender where From is several people or somebody else
    than the account (`owns` tells); takes Bcc out."""

    def __init__(self, hostname: str, clock: Clock, owns: Callable[[Account, Address], bool]) -> None:
        self._hostname = a_label(hostname)
        self._clock = clock
        self._owns = owns

    def message(self, client: Client, envelope: Envelope, arrival: Arrival) -> Step:
        head = header_of(arrival)
        if head is None:
            return say.HEADER_TOO_LARGE.saying(limit=LOOKED_AT)
        if hidden := _hidden(arrival, b"bcc", b"resent-bcc"):
            return hidden
        scan, added = arrival.scan, []
        arrival.without_header = not (scan.body_at or scan.separated)
        if not scan.has_date:
            added.append(f"Date: {date_text(self._clock.now())}\r\n")
        if not scan.message_id:
            number = write_id("q", arrival.queue_number)
            added.append(f"Message-ID: <{number}@{self._hostname}>\r\n")
        if client.account is not None:
            added += self._originators(client.account, head, envelope)
        arrival.fields += [field.encode() for field in added]
        if added:
            names = ", ".join(field.partition(":")[0] for field in added)
            client.note(f"completed: {names}")
        blind = fields_named(head, b"bcc", b"resent-bcc")
        for start, end, _ in reversed(blind):
            arrival.cut(start, min(end, arrival.size))
        if blind:
            client.note(f"Bcc taken out, {sum(end - start for start, end, _ in blind)} octets: nobody else may read it")
        return None

    def _originators(self, account: Account, head: bytes, envelope: Envelope) -> list[str]:
        own = address_from_text(account.address)
        if own.needs_utf8 and not envelope.smtputf8:
            return []
        found = fields_named(head, b"from")
        if not found:
            return [f"From: <{own}>\r\n"]
        authors = mailboxes(found[0][2])
        if isinstance(authors, str) or fields_named(head, b"sender"):
            return []
        # RFC 5322 §3.6.2: with several authors there must be a Sender.
        several = len(authors) > 1
        return [f"Sender: <{own}>\r\n"] if several or not self._owns(account, authors[0]) else []


def header_of(arrival: Arrival) -> bytes | None:
    """The header section, without the blank line; None where it does not end within what is looked at."""
    scan = arrival.scan
    opening = arrival.opening(LOOKED_AT)
    if not scan.ended and len(opening) < arrival.size:
        return None
    head = opening[: scan.body_at] if scan.ended else opening  # BDAT may bring a last field without a line end
    return head if head.endswith(b"\n") or not head else head + b"\n"


def _hidden(arrival: Arrival, *names: bytes) -> Reply | None:
    """The refusal of a message with such a field behind a line that is no field: our reading ends there, others' does
    not. A message without any header is text from its first line on."""
    scan = arrival.scan
    if scan.separated or not scan.ended or not scan.body_at:
        return None
    name = hidden_field(arrival.opening(LOOKED_AT)[scan.body_at :], *names)
    return say.HEADER_BROKEN.saying(fault=f"{name} stands behind a line that is no field") if name else None


def _plain(text: str) -> str:
    return text.encode("ascii", "replace").decode()[:120]
