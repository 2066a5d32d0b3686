"""Greylisting: whom we do not know yet is asked to come again (RFC 6647).

Lives here: the gate, and whom it leaves alone.
Does not live here: what is remembered, and for how long (storage/greylist.py).

A real server tries again, much of what sends spam does not. The price is a delay for the first message from a new
sender, which is why this is off by default, and why whoever is known in any other way is not asked: known networks,
allowed clients and recipients, what DNS lists speak for, networks that have come through often enough. The client is
taken by its network, because large senders try again from a neighbouring address.
"""

from __future__ import annotations

from glasspost.inbound.buckets import wait_words
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Step
from glasspost.inbound.rules import is_postmaster
from glasspost.ip import counted_as, surroundings
from glasspost.mail import reply as say
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.storage.greylist import Greylist
from glasspost.storage.resolution import fold


class Greylisting(Gate):
    """The gate of the greylist."""

    def __init__(self, greylist: Greylist) -> None:
        self._greylist = greylist

    def recipient(self, client: Client, envelope: Envelope, recipient: Recipient) -> Step:
        if not client.is_stranger or client.facts.get("allowed recipient") or is_postmaster(recipient):
            return None
        key = counted_as(client.ip)
        network = key if ":" in key else surroundings(key)
        if passes := self._greylist.knows(network):
            client.spared = f"greylist: {network} has come through {passes} times"
            client.note(client.spared)
            return None
        path = envelope.reverse_path
        sender = "" if path is None else f"{fold(path.local)}@{path.route}"
        address = recipient.address
        seconds = self._greylist.wait(network, sender, f"{fold(address.local)}@{address.route}")
        if seconds <= 0:
            client.note(f"greylist: {network} came again, and passes")
            return None
        return say.GREYLISTED.saying(wait=wait_words(seconds)).because(f"greylist: {network}, <{sender}>, <{address}>")
