"""Lists in the DNS of addresses that are known for spam, or for being honest (RFC 5782).

Lives here: `DnsLists`, a gate that asks several lists at once, adds up their scores, and refuses from a threshold on,
with the list's name and its own words.
Does not live here: the resolver with its memory (net/dns.py), greylisting, which spares who is listed as honest.

The lists are asked at the first RCPT, not at the door: a client that leaves before costs no question, the transcript
knows what it wanted, and the postmaster stays reachable. All of them together have one time limit; a list that does
not answer counts nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Step
from glasspost.inbound.rules import is_postmaster
from glasspost.ip import IpNetwork, read_ip
from glasspost.mail import reply as say
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.reply import Reply
from glasspost.net.dns import Found, Resolver, Trouble

ERRORS = ipaddress.ip_network("127.255.255.0/24")  # what lists answer to who may not ask: no word about the client
TEXT_LIMIT = 200  # octets of a list's text in a reply
_NOT_PLAIN = re.compile(r"[^ -~]+")


@dataclass(frozen=True, slots=True)
class DnsList:
    """A list. `score` above 0 speaks against a client, below 0 for it. `answers`: which of its answers count."""

    domain: str
    score: int = 1
    answers: tuple[IpNetwork, ...] = (ipaddress.ip_network("127.0.0.0/8"),)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the lists say of one client."""

    score: int
    hits: tuple[DnsList, ...]


class DnsLists(Gate):
    """The gate of the lists. It leaves `facts["listing"]`; at a score of `spare_at` or less the client is spared what
    comes behind. Resolver and clock are the node's; answers are remembered by their TTLs."""

    def __init__(
        self, lists: Sequence[DnsList], resolver: Resolver, *, refuse_at: int, spare_at: int, timeout: float
    ) -> None:
        self._lists = tuple(lists)
        self._resolver = resolver
        self._refuse_at = refuse_at
        self._spare_at = spare_at
        self._timeout = timeout

    def recipient(self, client: Client, envelope: Envelope, recipient: Recipient) -> Step:
        if not client.is_stranger or client.facts.get("allowed recipient") or is_postmaster(recipient):
            return None
        if "listing" not in client.facts:
            return self._ask(client)
        refusal: Reply | None = client.facts.get("listing refusal")
        return refusal

    async def _ask(self, client: Client) -> Reply | None:
        listing = await self._listing(client)
        client.facts["listing"] = listing
        if listing.score <= self._spare_at:
            client.spared = f"DNS lists give it {listing.score}"
        if listing.score < self._refuse_at:
            return None
        worst = max(listing.hits, key=lambda one: one.score)
        text = await self._text(worst, client.ip)
        refusal = say.LISTED.saying(client=client.ip, server=worst.domain, text=text).because(
            f"DNS lists: {listing.score}, refused from {self._refuse_at} on"
        )
        client.facts["listing refusal"] = refusal
        return refusal

    async def _listing(self, client: Client) -> Listing:
        ends = asyncio.get_running_loop().time() + self._timeout
        hits = await asyncio.gather(*(self._hit(one, client, ends) for one in self._lists))
        found = tuple(one for one in hits if one is not None)
        return Listing(sum(one.score for one in found), found)

    async def _hit(self, one: DnsList, client: Client, ends: float) -> DnsList | None:
        try:
            async with asyncio.timeout_at(ends):
                answer = await self._resolver.addresses(query_name(client.ip, one.domain), v6=False)
        except TimeoutError:
            client.note(f"DNS list {one.domain}: no answer within {self._timeout:g} s")
            return None
        if isinstance(answer, Trouble):
            client.note(f"DNS list {one.domain}: {answer.reason}")
        if not isinstance(answer, Found):
            return None
        addresses = [ipaddress.ip_address(text) for text in answer.records]
        if any(address in ERRORS for address in addresses):
            client.note(f"DNS list {one.domain} does not answer us: {', '.join(answer.records)}")
            return None
        if not any(address in network for address in addresses for network in one.answers):
            return None
        client.note(f"DNS list {one.domain}: {', '.join(answer.records)}, score {one.score:+d}")
        return one

    async def _text(self, one: DnsList, ip: str) -> str:
        """The list's own words (RFC 5782 §2.1), as far as they fit into a reply."""
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._resolver.txt(query_name(ip, one.domain))
        except TimeoutError:
            return "it gives no reason"
        if not isinstance(answer, Found):
            return "it gives no reason"
        text = _NOT_PLAIN.sub(" ", answer.records[0].decode("ascii", "replace")).strip()
        return text[:TEXT_LIMIT].rstrip(". ") or "it gives no reason"


def query_name(ip: str, domain: str) -> str:
    """What a list is asked for: the address backwards, below the list's name (RFC 5782 §2.1, §2.4)."""
    address = read_ip(ip)
    backwards = address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    return f"{backwards}.{domain}"
