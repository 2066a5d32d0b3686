"""IP addresses of whoever is at the other end: read as what they are, and counted as whose they are.

Lives here: reading an address as it comes from a socket, whether it is of this machine or within a network, and in
which units clients are counted.
Does not live here: addresses as people configure them (node/values.py), which addresses are our own
(net/addresses.py), what is counted (inbound/limits.py, inbound/rates.py, storage/guesses.py).

IPv4 dressed as IPv6 (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2) is what a socket for both families says of an IPv4
client. It is taken for what it is, or it would be a stranger to every rule about IPv4. A zone (`%eth0`) is no part
of an address: it says by which interface it is reached.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_ip(text: str) -> Ip:
    """An address as it is: without its zone, and IPv4 dressed as IPv6 undressed. Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_loopback(text: str) -> bool:
    """Whether an address is of this machine; what is no address is not."""
    try:
        return read_ip(text).is_loopback
    except ValueError:
        return False


def is_within(text: str, networks: Sequence[IpNetwork]) -> bool:
    """Whether an address is in one of the networks; what is no address is in none."""
    if not networks:
        return False
    try:
        address = read_ip(text)
    except ValueError:
        return False
    return any(address in network for network in networks)


def counted_as(text: str) -> str:
    """The unit in which clients are counted: an IPv4 address, or the /64 that one IPv6 customer has, by its first
    address. What is no address stays as it is."""
    if ":" not in text:
        return text
    try:
        address = read_ip(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)


def surroundings(text: str) -> str:
    """The network around an address, which is often one owner's: its IPv4 /24 or IPv6 /48. What is no address stays
    as it is."""
    try:
        address = read_ip(text)
    except ValueError:
        return text
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))
