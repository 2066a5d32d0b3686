"""Senders that could not be told: reports nobody can deliver would hit somebody else, or nobody.

Lives here: two gates of role mx. `Reports` keeps the null sender (RFC 5321 §4.5.5) to what it is for, and refuses
strangers who claim to be somebody of ours who does not exist. `SenderDomain` asks whether a sender's domain can
take mail.
Does not live here: making reports (outbound/reports.py), SPF and its kin.

The soundest rule against backscatter needs no gate: who does not exist is refused at RCPT, so the sender's own server
makes the report. What is left are messages that are taken and fail later: those of relay domains and forwarding
aliases. For them the sender must be somebody.
"""

from __future__ import annotations

import asyncio

from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Step
from glasspost.mail import reply as say
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.reply import Reply
from glasspost.net.dns import Found, NoSuchName, Resolver, Trouble
from glasspost.storage.accounts import Directory
from glasspost.storage.resolution import NoSuchUser


class Reports(Gate):
    """`single`: a message from the null sender has one recipient. `own`: a stranger's sender at a domain of ours
    exists. Both answer at once."""

    def __init__(self, directory: Directory, separator: str, *, single: bool, own: bool) -> None:
        self._directory = directory
        self._separator = separator
        self._single = single
        self._own = own

    def sender(self, client: Client, envelope: Envelope) -> Step:
        path = envelope.reverse_path
        if path is None or not self._own or not client.is_stranger:
            return None
        if path.route in self._directory.local_domains() and isinstance(
            self._directory.resolve(path, separator=self._separator), NoSuchUser
        ):
            return say.SENDER_UNKNOWN_HERE.saying(address=path).because("a domain of ours, and nobody of that name")
        return None

    def recipient(self, client: Client, envelope: Envelope, recipient: Recipient) -> Step:
        if envelope.reverse_path is None and envelope.recipients and self._single and client.is_stranger:
            return say.ONE_RECIPIENT_OF_REPORTS.because("a report goes to the one who sent the message")
        return None


class SenderDomain(Gate):
    """Whether mail could be sent back: the sender's domain has an MX that is not null (RFC 7505 §4.2), or an address.
    `refuses`: say so; otherwise only note it. A name server that does not answer means "later"."""

    def __init__(self, resolver: Resolver, timeout: float, *, refuses: bool) -> None:
        self._resolver = resolver
        self._timeout = timeout
        self._refuses = refuses

    def sender(self, client: Client, envelope: Envelope) -> Step:
        path = envelope.reverse_path
        if path is None or not client.is_stranger or not path.domain or path.domain.startswith("["):
            return None
        return self._ask(client, envelope)

    async def _ask(self, client: Client, envelope: Envelope) -> Reply | None:
        path = envelope.reverse_path
        assert path is not None
        try:
            async with asyncio.timeout(self._timeout):
                fault, later = await self._fault(path.route)
        except TimeoutError:
            fault, later = f"no answer within {self._timeout:g} s", True
        if not fault:
            return None
        if not self._refuses:
            client.note(f"sender's domain {path.route}: {fault}")
            return None
        named = say.SENDER_DOMAIN_LATER if later else say.SENDER_DOMAIN_REFUSED
        return named.saying(address=path, fault=fault)

    async def _fault(self, domain: str) -> tuple[str, bool]:
        """Why mail cannot go there, and whether that may change soon; empty: it can."""
        found = await self._resolver.mx(domain)
        if isinstance(found, Found):
            return ("it takes no mail (null MX)", False) if all(not mx.host for mx in found.records) else ("", False)
        if isinstance(found, Trouble):
            return found.reason, True
        if isinstance(found, NoSuchName):
            return "it does not exist", False
        addresses = await self._resolver.addresses(domain)
        if isinstance(addresses, Trouble):
            return addresses.reason, True
        return ("", False) if isinstance(addresses, Found) else ("it has no mail server", False)
