"""The bridge for devices: who they are, and as whom their mail goes out.

Lives here: `Device`, knowing one by its network or its credentials, and the verdict on MAIL that makes its sender an
address that the next server takes.
Does not live here: what is forgiven in its protocol (protocol/smtp_leniency.py), what is done to its message
(device_content.py), the way on (outbound/, a smarthost), the settings (node/device_settings.py), counting wrong
passwords (storage/guesses.py).

Devices have no accounts and no mailboxes: a thief who reads a password out of a camera can send as that camera, to
whomever it may write to, and read nothing.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from glasspost.errors import StoreError
from glasspost.inbound.client import Client
from glasspost.ip import IpNetwork, read_ip
from glasspost.mail import reply as say
from glasspost.mail.address import Address
from glasspost.mail.envelope import Envelope
from glasspost.mail.reply import Reply
from glasspost.protocol.sasl import Credentials, Digest, Question
from glasspost.storage.guesses import Guesses


@dataclass(frozen=True, slots=True)
class Device:
    """One device, or several that are treated alike. `allowed`: addresses, or domains as `@example.org`, that it may
    use as they are, in comparable form; everything else becomes `sender`."""

    name: str
    sender: Address
    networks: tuple[IpNetwork, ...] = ()
    username: str = ""
    password: str = field(default="", repr=False)
    allowed: frozenset[str] = frozenset()

    def may_be(self, address: Address | None) -> bool:
        """Whether it may send as this address. Never as nobody (`<>`): next servers that want a sign-in refuse that."""
        if address is None:
            return False
        if address == self.sender:
            return True
        domain = address.route
        return f"@{domain}" in self.allowed or f"{address.local.lower()}@{domain}" in self.allowed


class Bridge:
    """The devices of a listener. All methods answer at once."""

    guesses: Guesses | None = None  # where wrong passwords are counted, over all doors of the node

    def __init__(self, devices: Iterable[Device]) -> None:
        self._secret = os.urandom(32)
        self._devices = tuple(devices)
        self._by_name = {device.username: device for device in self._devices if device.username}

    @property
    def signs_in(self) -> bool:
        """Whether any device has credentials."""
        return bool(self._by_name)

    def by_network(self, ip: str) -> Device | None:
        """The device that an address belongs to: the one with the narrowest network around it."""
        try:
            address = read_ip(ip)
        except ValueError:
            return None
        found = [
            (network.prefixlen, device)
            for device in self._devices
            for network in device.networks
            if network.version == address.version and address in network
        ]
        return max(found, key=lambda one: one[0])[1] if found else None

    def password_of(self, username: str) -> str:
        """A device's password, for mechanisms that need it readable; empty for a name that nobody has."""
        device = self._by_name.get(username)
        return device.password if device is not None else ""

    def sign_in(self, username: str, password: str) -> Device | None:
        """The device with these credentials. Takes as long for a name that nobody has."""
        known = self._by_name.get(username)
        expected, given = self.password_of(username), password
        right = hmac.compare_digest(sha256(expected.encode()).digest(), sha256(given.encode()).digest())
        return known if right and known is not None and known.password else None

    def answered(self, question: Digest) -> Device | None:
        """The device that answered a CRAM-MD5 challenge (RFC 2195). Takes as long for a name that nobody has."""
        known = self._by_name.get(question.username)
        password = self.password_of(question.username)
        right = hmac.compare_digest(hmac.digest(password.encode(), question.challenge, "md5"), question.digest)
        return known if right and password else None

    def arrive(self, client: Client) -> None:
        """A visitor has come, or everything known of it was forgotten: what its address alone tells."""
        client.device = self.by_network(client.ip)
        if client.device is not None:
            client.note(f"device {client.device.name}, by its network")

    def judge_sign_in(self, client: Client, question: Question) -> Reply:
        """AUTH: the device with these credentials, whatever its network says. Wrong ones are counted, and shut out for
        a while: not who is a device by its network already, and could do no more with a password."""
        guesses = self.guesses if client.device is None else None
        counted = self._counted_as(question.username)
        if guesses is not None and (by := guesses.standing(client.ip, counted).shut_out):
            client.note(f"sign-in of a device not checked: shut out after too many failures ({by})")
            return say.AUTH_TOO_MANY_FAILURES
        match question:
            case Credentials():
                device = self.sign_in(question.username, question.password)
            case Digest():
                device = self.answered(question)
            case _:
                device = None  # nothing else is offered to devices
        if device is None:
            return self._refused(client, counted, guesses)
        if guesses is not None:
            with suppress(StoreError):  # a full disk keeps nobody out
                guesses.right(client.ip, counted)
        client.device = device
        client.note(f"device {device.name}, by its credentials")
        return say.AUTH_OK

    def _refused(self, client: Client, counted: str, guesses: Guesses | None) -> Reply:
        try:
            shut = guesses.wrong(client.ip, counted) if guesses is not None else []
        except StoreError as error:
            client.note(f"sign-in refused: no device with this name and password; not counted: {error}")
            return say.AUTH_TRY_LATER
        if shut:
            by = ", ".join(shut)
            client.note(f"sign-in refused: no device with this name and password; shut out for a while: {by}")
        else:
            client.note("sign-in refused: no device with this name and password")
        return say.AUTH_FAILED

    def _counted_as(self, username: str) -> str:
        """The name under which failures are counted. One that no device has may be a password typed in the wrong
        place: a digest of it."""
        if username in self._by_name:
            return username
        return f"unknown-{hmac.digest(self._secret, username.encode(), 'sha256').hex()[:16]}"

    def judge_sender(self, client: Client, envelope: Envelope) -> Reply:
        """MAIL: only known devices send; a sender that theirs may not be becomes one that may, so that failures
        come to somebody who reads them."""
        device = client.device
        if device is None:
            return say.AUTH_REQUIRED if self.signs_in else say.NOT_A_DEVICE.because(f"no [[device]] has {client.ip}")
        if not device.may_be(envelope.reverse_path):
            was = f"<{envelope.reverse_path or ''}>"
            envelope.reverse_path = device.sender
            client.note(f"sender {was} is now <{device.sender}>, as device {device.name} sends")
        return say.SENDER_OK
