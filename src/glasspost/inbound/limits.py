"""How many may be in the house at once.

Lives here: counting open connections, over all and per address.
Does not live here: limits within one conversation (protocol/smtp_server.py), what mail is taken (policy.py).
"""

from __future__ import annotations

import ipaddress

from glasspost.mail import reply as say
from glasspost.mail.reply import Reply


class ConnectionLimits:
    """Open connections of a kind of listener. 0 means no limit. IPv6 clients are counted by their /64."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._open: dict[str, int] = {}
        self.count = 0

    def change(self, total: int, per_address: int) -> None:
        """Other limits, for those who come from now on."""
        self._total = total
        self._per_address = per_address

    def admit(self, ip: str) -> Reply | None:
        """Count a connection in; None, or the reply to turn it away with (it is then not counted)."""
        key = counted_as(ip)
        here = self._open.get(key, 0)
        if self._total and self.count >= self._total:
            return say.TOO_MANY_CONNECTIONS
        if self._per_address and here >= self._per_address:
            return say.TOO_MANY_CONNECTIONS_FROM_YOU
        self.count += 1
        self._open[key] = here + 1
        return None

    def leave(self, ip: str) -> None:
        """A connection that was admitted is gone."""
        key = counted_as(ip)
        self.count -= 1
        left = self._open.get(key, 0) - 1
        if left > 0:
            self._open[key] = left
        else:
            self._open.pop(key, None)


def counted_as(ip: str) -> str:
    """The unit in which clients are counted: an IPv4 address, or the /64 that one IPv6 customer has."""
    if ":" not in ip:
        return ip
    try:
        address = ipaddress.IPv6Address(ip.partition("%")[0])
    except ValueError:
        return ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
