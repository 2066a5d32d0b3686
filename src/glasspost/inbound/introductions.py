"""What a client calls itself, and what the DNS calls it.

Lives here: two gates. `HelloName` looks at the name in EHLO or HELO, `ReverseName` asks for the client's name in the
DNS and whether that name leads back to its address.
Does not live here: the resolver (net/dns.py), lists of bad addresses (dns_lists.py).

Both may only note what they see, which is the default: many an honest server is badly set up, and RFC 5321 §4.1.4
forbids refusing mail because the name in EHLO is not that of the address. What may be refused is a name that cannot be
right: no name at all, or ours. A name server that does not answer says nothing about a client.
"""

from __future__ import annotations

import asyncio
import ipaddress

from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Step
from glasspost.ip import read_ip
from glasspost.mail import reply as say
from glasspost.mail.address import a_label
from glasspost.mail.reply import Reply
from glasspost.net.dns import Found, Resolver, Trouble
from glasspost.storage.accounts import Directory

NAMES_TRIED = 5  # names of one address that are looked up: some have hundreds


class HelloName(Gate):
    """Whether the name a client gives itself can be right. `refuses`: say so to it; otherwise only note it."""

    def __init__(self, directory: Directory, *, refuses: bool) -> None:
        self._directory = directory
        self._refuses = refuses

    def greeted(self, client: Client) -> Step:
        if not client.is_stranger:
            return None
        fault = self._fault(client)
        if not fault:
            return None
        if self._refuses:
            return say.HELLO_REFUSED.saying(fault=fault).because(f"hello {client.hello}")
        client.note(f"hello: {fault}")
        return None

    def _fault(self, client: Client) -> str:
        """What is wrong with the name; empty: nothing."""
        name = a_label(client.hello)
        if name.startswith("["):
            return _literal_fault(name, client.ip)
        if is_ip(name):
            return "an address stands in brackets: [192.0.2.1]"
        if "." not in name:
            return "a full name has a dot in it"
        if name == a_label(client.hostname) or name in self._directory.local_domains():
            return "that name is ours"
        return ""


def _literal_fault(literal: str, ip: str) -> str:
    text = literal.strip("[]").removeprefix("ipv6:")
    try:
        same = read_ip(text) == read_ip(ip)
    except ValueError:
        return "that is no address in brackets"
    return "" if same else "that is not your address"


def is_ip(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class ReverseName(Gate):
    """Whether the client's address has a name that leads back to it. `verdict`: "note", "defer" or "refuse".

    It leaves the confirmed name in `facts["reverse name"]`. Only noting, it never lets a client wait: the answer comes
    into the transcript when it is there.
    """

    def __init__(self, resolver: Resolver, verdict: str, timeout: float) -> None:
        self._resolver = resolver
        self._verdict = verdict
        self._timeout = timeout
        self._asking: set[asyncio.Task[Reply | None]] = set()

    def connected(self, client: Client) -> Step:
        if not client.is_stranger:
            return None
        task = asyncio.get_running_loop().create_task(self._ask(client))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        if self._verdict == "note":
            client.facts["reverse lookup"] = task
            return None
        return task

    def left(self, client: Client) -> None:
        task: asyncio.Task[Reply | None] | None = client.facts.pop("reverse lookup", None)
        if task is not None:
            task.cancel()

    async def _ask(self, client: Client) -> Reply | None:
        try:
            async with asyncio.timeout(self._timeout):
                name, fault, later = await confirmed_name(self._resolver, client.ip)
        except TimeoutError:
            name, fault, later = "", f"no answer within {self._timeout:g} s", True
        if name:
            client.facts["reverse name"] = name
            client.note(f"reverse DNS: {name}, confirmed")
            return None
        if self._verdict == "note":
            client.note(f"reverse DNS: {fault}")
            return None
        # Nobody is refused for good because a name server is down.
        final = self._verdict == "refuse" and not later
        return (say.REVERSE_NAME_REFUSED if final else say.REVERSE_NAME_LATER).saying(fault=fault)


async def confirmed_name(resolver: Resolver, ip: str) -> tuple[str, str, bool]:
    """The name of an address that leads back to it; else why there is none, and whether that may change soon."""
    address = read_ip(ip)
    found = await resolver.reverse(str(address))
    if isinstance(found, Trouble):
        return "", found.reason, True
    if not isinstance(found, Found):
        return "", "the address has no name", False
    names = [name for name in found.records if name][:NAMES_TRIED]
    answers = await asyncio.gather(
        *(resolver.addresses(name, v4=address.version == 4, v6=address.version == 6) for name in names)
    )
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, Found) and any(ipaddress.ip_address(one) == address for one in answer.records):
            return name, "", False
    later = any(isinstance(answer, Trouble) for answer in answers)
    return "", f"the name {names[0] if names else ''} does not lead back to the address", later
