"""The certificates that listeners show: chosen by the name a client asks for, and read again when they change.

Lives here: `ShownCertificates`, which keeps one TLS context for all listeners. The context stays the same for as long
as the node runs; what it shows is looked up at each handshake, so renewed files need no restart and drop no connection.
Does not live here: how strict the TLS is, and the self-signed certificate (tls.py), when files are looked at
(node/certificates.py), the handshake (connection.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from glasspost.errors import ConfigurationError
from glasspost.mail.address import a_label
from glasspost.net.certificate import dns_names, in_short, version_and_cipher
from glasspost.net.tls import ServerContext, server_context
from glasspost.stamps import Stamp, stamp_of


class Pair(NamedTuple):
    """A certificate chain and its private key, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Change:
    """What a look at the files came to for one pair. `fault`: why the old one stays; empty where the new one is
    shown from now on."""

    pair: Pair
    names: tuple[str, ...]
    fault: str = ""


@dataclass(slots=True)
class _Shown:
    """One pair as it was read last."""

    pair: Pair
    state: tuple[Stamp, Stamp]
    context: ssl.SSLContext
    names: tuple[str, ...]


class ShownCertificates:
    """All pairs of a node. `context` is for the listeners. Raises ConfigurationError where a pair does not fit."""

    def __init__(
        self, pairs: Sequence[Pair], minimum: str = "1.2", *, make: Callable[[Path, Path], ServerContext] | None = None
    ) -> None:
        """The first pair is for whoever asks for no name, or for one that no certificate is for. `minimum`: "1.2" or
        "1.3". `make`: contexts of another strictness, in place of `server_context`."""
        self._make = make or partial(server_context, minimum=minimum)
        self._shown = [self._read(pair) for pair in pairs]
        self._by_name: dict[str, _Shown] = {}
        self._index()
        self.context = self._make(*pairs[0])
        self.context.sni_callback = self._choose  # asked at each handshake, also where no name is given

    @property
    def names(self) -> tuple[str, ...]:
        """All names that a certificate is for."""
        return tuple(self._by_name)

    def shown_for(self, name: str) -> Pair:
        """The pair that a client gets who asks for `name` (RFC 6066 §3); empty where it asks for none."""
        return self._for(name).pair

    def look(self) -> list[Change]:
        """Read again what has changed on the disk since the last look. What cannot be used is not: the old one stays.

        The same bad file is told once, not at each look.
        """
        changes = []
        for place, old in enumerate(self._shown):
            state = _stamps(old.pair)
            if state == old.state:
                continue
            try:
                new = self._read(old.pair)
            except ConfigurationError as error:
                old.state = state
                changes.append(Change(old.pair, old.names, error.problems[0].reason))
                continue
            self._shown[place] = new
            changes.append(Change(new.pair, new.names))
        if changes:
            self._index()
        return changes

    def _read(self, pair: Pair) -> _Shown:
        state = _stamps(pair)  # before the reading: what is written meanwhile is a change at the next look
        context = self._make(*pair)
        certificate = x509.load_pem_x509_certificates(pair.certificate.read_bytes())[0]
        context.shows = in_short(certificate)
        return _Shown(pair, state, context, dns_names(certificate))

    def _index(self) -> None:
        """By name; where several certificates are for one, the pair that is named first."""
        self._by_name = {}
        for shown in self._shown:
            for name in shown.names:
                self._by_name.setdefault(name.rstrip(".").lower(), shown)

    def _for(self, name: str) -> _Shown:
        wanted = a_label(name.rstrip("."))
        found = self._by_name.get(wanted) or self._by_name.get(f"*.{wanted.partition('.')[2]}")
        return found or self._shown[0]

    def _choose(self, tls: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        tls.context = self._for(name or "").context


def shown_words(tls: ssl.SSLObject) -> str:
    """A TLS connection of ours as a server, for the record: version, cipher, and the certificate that was shown."""
    words = " ".join(version_and_cipher(tls))
    shows = tls.context.shows if isinstance(tls.context, ServerContext) else ""
    return f"{words}, shown: {shows}" if shows else words


def _stamps(pair: Pair) -> tuple[Stamp, Stamp]:
    return stamp_of(pair.certificate), stamp_of(pair.key)
