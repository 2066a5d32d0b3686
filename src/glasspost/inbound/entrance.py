"""What all sessions of one listener share.

Lives here: the listener's settings, and the rooms its sessions turn to.
Does not live here: any behaviour (session.py), where the settings come from (node/wiring.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from glasspost.clock import Clock
from glasspost.inbound.bridge import Bridge
from glasspost.inbound.gates import Gates
from glasspost.inbound.limits import Burden, ConnectionLimits
from glasspost.inbound.policy import Policy
from glasspost.ip import IpNetwork, is_within
from glasspost.net.handshakes import FailedHandshakes
from glasspost.protocol.smtp_offer import ServerSettings
from glasspost.storage.sign_in import Desk
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Intake
from glasspost.storage.transcripts import Transcripts

if TYPE_CHECKING:
    from glasspost.inbound.visit import Visit


@dataclass(slots=True)
class InboundSettings:
    """What one listener's sessions need beside the conversation's settings. Times in seconds."""

    role: str
    offer: ServerSettings
    greeting_timeout: float = 300
    command_timeout: float = 300
    data_timeout: float = 180
    max_received: int = 100
    cleartext_auth: str = "loopback"  # "loopback", "never", "always"
    xclient_networks: Sequence[IpNetwork] = ()  # of proxies that may say on whose behalf they speak

    def offer_to(self, ip: str, *, brought: bool = False) -> ServerSettings:
        """The listener's offer; where signing in in the clear depends on the address, as it is for this one.
        `brought`: a proxy speaks on behalf of it, and may go on to the next."""
        offer = self.offer
        if self.cleartext_auth == "loopback" and offer.mechanisms:
            offer = offer.in_the_clear(ip.startswith("127.") or ip in ("::1", "::ffff:127.0.0.1"))
        if self.xclient_networks and (brought or is_within(ip, self.xclient_networks)):
            offer = replace(offer, xclient=True)
        return offer


@dataclass(slots=True)
class Entrance:
    """Everything the sessions of one listener share."""

    settings: InboundSettings
    policy: Policy
    desk: Desk
    spool: Spool
    transcripts: Transcripts
    limits: ConnectionLimits
    clock: Clock
    accepted: Callable[[Intake], None]  # told after the commit: the scheduler's and the mailboxes' ear
    may_claim: Callable[[Intake], bool]  # asked before it: is there room to deliver these recipients at once?
    tls_context: ssl.SSLContext | None
    sessions: set[Visit]
    gates: Gates = field(default_factory=Gates)
    bridge: Bridge | None = None  # who comes here are devices, and it knows them
    burden: Burden = field(default_factory=Burden)
    handshakes: FailedHandshakes = field(default_factory=FailedHandshakes)
