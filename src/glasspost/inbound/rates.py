"""Limits on how much comes: per address, per network, per account.

Lives here: three gates and what each counts: `ClientRates` and `MailRates` for strangers, `AccountRates` for who has
signed in.
Does not live here: the arithmetic (buckets.py), how many may be here at once (limits.py), limits within one
conversation (protocol/smtp_server.py), wrong passwords.

All refusals are for now, never for good: 421 where the visit ends, 450 for one message too many, 452 for one
recipient too many. Each names the time after which it is worth trying again.
"""

from __future__ import annotations

from dataclasses import dataclass

from glasspost.clock import Clock
from glasspost.inbound.buckets import Buckets, Rate, wait_words
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Step
from glasspost.ip import counted_as, surroundings
from glasspost.mail import reply as say
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.reply import Reply

NONE: Rate = (0, 60.0)
# What tells a stranger who does not exist here, and so, whoever is not told it, who does.
_NOBODY = frozenset((say.NO_SUCH_USER.enhanced, say.SENDER_UNKNOWN_HERE.enhanced))


@dataclass(frozen=True, slots=True)
class ClientRateSettings:
    """How often one address (an IPv6 /64) may come and err. `network_connections` is for its surroundings: an IPv4
    /24, an IPv6 /48."""

    connections: Rate = NONE
    network_connections: Rate = NONE
    unknown: Rate = NONE  # recipients, and senders of ours, that do not exist
    mistakes: Rate = NONE  # commands refused as wrong


@dataclass(frozen=True, slots=True)
class MailRateSettings:
    """How much one address, or one account, may send."""

    messages: Rate = NONE
    recipients: Rate = NONE

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return bool(self.messages[0] or self.recipients[0])


class ClientRates(Gate):
    """Limits on strangers, by where they come from. One for all listeners of a node."""

    def __init__(self, settings: ClientRateSettings, clock: Clock) -> None:
        self._connections = Buckets(settings.connections, clock)
        self._network = Buckets(settings.network_connections, clock)
        self._unknown = Buckets(settings.unknown, clock)
        self._mistakes = Buckets(settings.mistakes, clock)

    def connected(self, client: Client) -> Step:
        if not client.is_stranger:
            return None
        key = counted_as(client.ip)
        if seconds := max(self._unknown.wait(key), self._mistakes.wait(key)):
            return say.TOO_MANY_MISTAKES.saying(wait=wait_words(seconds)).because(
                f"{key} has used up its errors or its unknown recipients"
            )
        if seconds := self._connections.take(key):
            return say.CONNECTIONS_TOO_FAST.saying(wait=wait_words(seconds)).because(f"connections of {key}")
        network = surroundings(client.ip)
        if seconds := self._network.take(network):
            return say.NETWORK_TOO_FAST.saying(wait=wait_words(seconds)).because(f"connections of {network}")
        return None

    def refused(self, client: Client, step: str, reply: Reply) -> Step:
        """Who guesses at addresses is told so for a while, and then nothing more."""
        if reply.enhanced not in _NOBODY or not client.is_stranger:
            return None
        key = counted_as(client.ip)
        if seconds := self._unknown.take(key):
            return say.TOO_MANY_UNKNOWN.saying(wait=wait_words(seconds)).because(f"unknown recipients of {key}")
        return None

    def left(self, client: Client) -> None:
        if client.is_stranger:
            self._mistakes.spend(counted_as(client.ip), client.mistakes())


class MailRates(Gate):
    """Limits on what strangers send, by their address. One for all listeners of a node."""

    def __init__(self, settings: MailRateSettings, clock: Clock) -> None:
        self._messages = Buckets(settings.messages, clock)
        self._recipients = Buckets(settings.recipients, clock)

    def sender(self, client: Client, envelope: Envelope) -> Step:
        if not client.is_stranger:
            return None
        key = counted_as(client.ip)
        if seconds := self._messages.take(key):
            return say.MESSAGES_TOO_FAST.saying(wait=wait_words(seconds)).because(f"messages of {key}")
        return None

    def recipient(self, client: Client, envelope: Envelope, recipient: Recipient) -> Step:
        if not client.is_stranger:
            return None
        key = counted_as(client.ip)
        if seconds := self._recipients.take(key):
            return say.RECIPIENTS_TOO_FAST.saying(wait=wait_words(seconds)).because(f"recipients of {key}")
        return None


class AccountRates(Gate):
    """Limits on accounts, and on devices that have a password: what a stolen one can do in an hour. Not for known
    networks, where tests and newsletters come from."""

    def __init__(self, settings: MailRateSettings, clock: Clock) -> None:
        self._messages = Buckets(settings.messages, clock)
        self._recipients = Buckets(settings.recipients, clock)

    def sender(self, client: Client, envelope: Envelope) -> Step:
        who = _who_sends(client)
        if who and (seconds := self._messages.take(who)):
            return say.ACCOUNT_MESSAGES_TOO_FAST.saying(wait=wait_words(seconds)).because(who)
        return None

    def recipient(self, client: Client, envelope: Envelope, recipient: Recipient) -> Step:
        who = _who_sends(client)
        if who and (seconds := self._recipients.take(who)):
            return say.ACCOUNT_RECIPIENTS_TOO_FAST.saying(wait=wait_words(seconds)).because(who)
        return None


def _who_sends(client: Client) -> str:
    """Whose password could have been stolen, as it is counted; empty: nobody's."""
    if client.spared:
        return ""
    if client.account is not None:
        return client.account.address
    device = client.device
    return f"device {device.name}" if device is not None and device.username else ""
