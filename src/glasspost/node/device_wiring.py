"""From the configuration to the bridge for devices.

Lives here: what a listener of role device forgives, whom it knows, which TLS it speaks; and that no other listener
gets any of it.
Does not live here: the other rooms' settings (wiring.py), the bridge itself (inbound/bridge.py).
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

from glasspost.inbound.bridge import Bridge, Device
from glasspost.inbound.entrance import InboundSettings
from glasspost.net.old_tls import old_server_context
from glasspost.net.shown import Pair, ShownCertificates
from glasspost.net.tls import self_signed
from glasspost.node.settings import Config, Listener
from glasspost.protocol.smtp_leniency import Leniency

MECHANISMS = ("PLAIN", "LOGIN")  # that a device with credentials may use


def bridge(config: Config, listener: Listener) -> Bridge | None:
    """The devices that come to this listener; None where it is not for devices."""
    if listener.role != "device":
        return None
    return Bridge(
        Device(
            one.name, one.sender, one.networks, one.username, one.secret(),
            frozenset(one.allowed_senders),
        )
        for one in config.device
    )  # fmt: skip


def for_devices(config: Config, listener: Listener, settings: InboundSettings) -> InboundSettings:
    """A listener's settings: those of role device with what is forgiven, all others as they are."""
    if settings.role != "device":
        return settings
    forgiving = config.bridge
    signs_in = any(one.username for one in config.device)
    offer = replace(
        settings.offer,
        lenient=frozenset(map(Leniency, forgiving.lenient)),
        mechanisms=(MECHANISMS + (("CRAM-MD5",) if listener.cram_md5 else ())) if signs_in else (),
        cleartext_auth=forgiving.cleartext_auth == "always",
    )
    return replace(settings, offer=offer, cleartext_auth=forgiving.cleartext_auth)


def tls_context(
    config: Config, folder: Path, usual: ssl.SSLContext | None, watched: list[ShownCertificates] | None = None
) -> ssl.SSLContext | None:
    """What listeners of role device show: `usual`, what all others show, unless old TLS is forgiven. `watched` gets
    what has to be looked at for renewed files.

    Raises ConfigurationError where the files cannot be used."""
    forgiving, tls = config.bridge, config.tls
    if usual is None or Leniency.OLD_TLS not in forgiving.lenient:
        return usual
    if forgiving.certificate is not None and forgiving.key is not None:
        pair = Pair(forgiving.certificate, forgiving.key)
    elif tls.certificate is not None and tls.key is not None:
        pair = Pair(tls.certificate, tls.key)
    else:
        pair = Pair(*self_signed(folder, config.node.hostname, rsa=True))
    shown = ShownCertificates([pair], make=old_server_context)
    if watched is not None:
        watched.append(shown)
    return shown.context
