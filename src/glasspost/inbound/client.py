"""Who is at the other end of a visit, as far as rules care.

Lives here: `Client`, what policy.py and the gates (gates.py) know of a visitor.
Does not live here: the connection (session.py), the rules themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glasspost.protocol.smtp_xclient import NOBODYS_ADDRESS, Brought
from glasspost.storage.resolution import Account

if TYPE_CHECKING:
    from glasspost.inbound.bridge import Device


def _unheard(text: str) -> None:
    """Notes of a client whom nobody records."""


def _nothing() -> int:
    return 0


@dataclass(slots=True)
class Client:
    """A visitor. `facts` is where one gate leaves what another may want to know (a score, a name); it lives as long as
    the visit."""

    role: str  # the listener's: "mx", "submission" or "device"
    ip: str
    port: int = 0
    trusted: bool = False  # in one of the relay networks
    account: Account | None = None
    device: Device | None = None  # known by its network or its credentials, on a listener for devices
    conversation: str = ""  # its id
    hello: str = ""  # what it calls itself; empty before EHLO or HELO
    extended: bool = False  # it said EHLO
    tls: str = ""  # version and cipher; empty in the clear
    hostname: str = ""  # what we call ourselves to it
    listener: str = ""  # where it came in, host:port
    note: Callable[[str], None] = _unheard  # puts a fact into the transcript
    unread: Callable[[], int] = _nothing  # octets it has sent and nobody has looked at yet
    mistakes: Callable[[], int] = _nothing  # of its own, against the protocol, since its last message
    spared: str = ""  # why the checks for strangers leave it alone; empty: they do not
    brought_by: str = ""  # the address of the proxy that speaks on its behalf (XCLIENT)
    vouched: Account | None = None  # whom that proxy says to have let in
    facts: dict[str, Any] = field(default_factory=dict)

    def leave(self) -> None:
        """The visit is over: let go of whom it asks, which is its session, so that the two do not keep each other in
        memory until the collector comes."""
        self.unread = self.mistakes = _nothing

    @property
    def may_relay(self) -> bool:
        return self.trusted or self.account is not None or self.device is not None

    @property
    def is_stranger(self) -> bool:
        """Whether nothing speaks for it: neither its network, nor a sign-in, nor a rule."""
        return not (self.spared or self.may_relay)


def brought_client(before: Client, brought: Brought, peer: tuple[str, int]) -> Client:
    """Whom a proxy brings in place of the client it was or brought before. `peer` is that one's address and port: what
    a proxy does not say stays. Nothing else of the one before does."""
    ip = peer[0] if brought.address is None else brought.address or NOBODYS_ADDRESS
    client = Client(before.role, ip, peer[1] if brought.port is None else brought.port)
    client.brought_by = before.brought_by or peer[0]
    host, _, port = before.listener.rpartition(":")
    client.listener = f"{brought.local_address or host}:{brought.local_port or port}"
    return client
