"""Which addresses are our own.

Lives here: knowing whether a connection to some address and port would come back to this node: mail must not be sent
in a circle (RFC 5321 §5.1).
Does not live here: what to do about it (outbound/routes.py).
"""

from __future__ import annotations

import ipaddress
import socket


class OwnAddresses:
    """The doors of this node, by address and port."""

    def __init__(self) -> None:
        self._doors: set[tuple[str, int]] = set()
        self._on_this_machine: dict[str, bool] = {}

    def add(self, address: str, port: int) -> None:
        """A listener was opened."""
        self._doors.add((address, port))

    def contains(self, address: str, port: int) -> bool:
        """Whether a connection to `address` and `port` ends at one of our doors."""
        if (address, port) in self._doors:
            return True
        wildcard = "::" if ":" in address else "0.0.0.0"
        open_everywhere = (wildcard, port) in self._doors or ("::", port) in self._doors
        return open_everywhere and self._is_here(address)

    def _is_here(self, address: str) -> bool:
        """Whether the machine has this address: only then can a socket be bound to it."""
        known = self._on_this_machine.get(address)
        if known is None:
            known = self._on_this_machine[address] = _can_bind(address)
        return known


def _can_bind(address: str) -> bool:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True
