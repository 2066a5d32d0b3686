"""The settings of the bridge for devices: what is forgiven, who they are, as whom their mail goes out.

Lives here: one class per section, a field per setting, as in settings.py.
Does not live here: what is done with them (device_wiring.py, inbound/bridge.py), where the mail goes on to (a
smarthost: relay_settings.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from glasspost.mail.address import Address, address_from_text
from glasspost.node.secret_sources import SecretSource
from glasspost.node.values import File, Kind, Network, Secret, Section, Text, read_name

Forgiven = Literal["brackets", "no-hello", "hello-name", "line-end", "body-line-end", "header", "old-tls"]


def read_address(value: object) -> Address:
    """`user@example.org`, in ASCII: what every next server takes."""
    if isinstance(value, Address):
        return value
    try:
        found = address_from_text(value if isinstance(value, str) else "")
        if found.needs_utf8 or not str(found).isprintable():
            raise ValueError
        return Address(found.local, read_name(found.domain))
    except ValueError:
        raise ValueError(f'"{value}" is no address. Write it like "user@example.org".') from None


def read_allowed(value: object) -> str:
    """An address, or a domain as `@example.org`, in comparable form."""
    if isinstance(value, str) and value.startswith("@"):
        return f"@{read_name(value[1:])}"
    address = read_address(value)
    return f"{address.local.lower()}@{address.domain}"


Mailbox = Annotated[Address, BeforeValidator(read_address), Kind("address", str)]
AllowedSender = Annotated[str, BeforeValidator(read_allowed), Kind("address, or @domain")]


class Bridge(Section):
    """What listeners of role device forgive, and the certificate they show. Listeners of other roles forgive none
    of this, whatever stands here (docs/devices.md)."""

    lenient: tuple[Forgiven, ...] = Field(
        default=("brackets", "no-hello", "hello-name", "line-end", "body-line-end", "header", "old-tls"),
        description="What is forgiven; each use is a note in the transcript. brackets: MAIL and RCPT without < and >. "
        "no-hello: no HELO. hello-name: HELO with nonsense. line-end: commands that end with LF. body-line-end: CR or "
        "LF alone in a message, made CR LF; never an end of it. header: no Date, Message-ID or From, put on top. "
        "old-tls: TLS 1.0 and 1.1.",
    )
    cleartext_auth: Literal["loopback", "never", "always"] = Field(
        default="always",
        description='Which devices may sign in without TLS: those on this machine ("loopback"), none ("never"), or '
        'all ("always": their passwords can be read on the way, and are good for nothing but sending).',
    )
    certificate: File = Field(
        default=None,
        description="File with a certificate chain for devices only, PEM; old ones read only RSA. Empty: "
        "tls.certificate, or a self-signed RSA one where there is none.",
    )
    key: File = Field(default=None, description="File with the private key of the certificate, PEM, no passphrase.")

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.certificate and not self.key:
            yield "certificate", "Has no key: name its private key in bridge.key."
        if self.key and not self.certificate:
            yield "key", "Has no certificate: name it in bridge.certificate."


class Device(Section):
    """A device, or several treated alike, who may send to anywhere through listeners of role device; write one
    [[device]] for each. It is known by its network, by its credentials, or by either."""

    name: Annotated[Text, Field(min_length=1, max_length=40)] = Field(
        description='What transcripts call it: one word, like "printer".'
    )
    sender: Mailbox = Field(
        description="The address its mail goes out as, in the envelope and in From. The next server must let you use "
        "it; failures are reported to it, so somebody should read what comes to it."
    )
    allowed_senders: tuple[AllowedSender, ...] = Field(
        default=(),
        description='Addresses, or whole domains as "@example.org", that it may use beside `sender`: they stay as '
        "they are. All others are replaced by `sender`.",
    )
    networks: tuple[Network, ...] = Field(
        default=(),
        description='Networks, like "192.0.2.17/32", whose clients are this device without signing in. The narrowest '
        "around a client counts.",
    )
    username: Text = Field(default="", description="The name it signs in with. Empty: it does not.")
    password: Secret = Field(default=SecretStr(""), description="The password that goes with username.")
    password_file: File = Field(
        default=None, description="File whose first line is the password: keeps it out of this file."
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        has_password = self._password.given
        if not self.networks and not self.username:
            yield "name", "Cannot be known: give networks, or username and a password."
        if self.username and not has_password:
            yield "username", "Has no password: give password or password_file."
        if has_password and not self.username:
            yield self._password.place, "Has no username."
        yield from self._password.contradictions()

    def secret(self) -> str:
        """The password, from wherever it is; empty where there is none. Raises ConfigurationError where
        `password_file` cannot be read."""
        return self._password.read("device")

    @property
    def _password(self) -> SecretSource:
        return SecretSource("password", self.password, self.password_file)


def quarrels(devices: Sequence[Device]) -> Iterator[tuple[str, str]]:
    """What two devices cannot both have: (dotted key, reason)."""
    names: set[str] = set()
    for number, device in enumerate(devices):
        if device.username and device.username in names:
            yield f"device.{number}.username", f'Another device signs in as "{device.username}" already.'
        names.add(device.username)
