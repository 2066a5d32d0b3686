"""What a sign-in may be bound to: the certificate that a server shows (tls-server-end-point, RFC 5929 §4).

Lives here: the hash of a certificate, ours or the other side's, and which hash belongs to a connection. Python does not
tell a server which certificate it has shown, only which context it used: so each server context is remembered with its
certificate's hash.
Does not live here: contexts (tls.py), what is made of the hash (protocol/sasl_scram.py, sasl_scram_client.py).
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from cryptography import x509

_SHOWN: WeakKeyDictionary[ssl.SSLContext, bytes] = WeakKeyDictionary()


def remember(context: ssl.SSLContext, certificate: Path) -> None:
    """`context` shows this file's first certificate (PEM). Call it again where the context has loaded another."""
    _SHOWN[context] = certificate_hash(certificate.read_bytes())


def end_point(tls: ssl.SSLObject | ssl.SSLSocket | None) -> bytes:
    """The hash of the certificate that this connection has shown; empty in the clear, and where there is none.

    Ask once the handshake is over: with SNI, the context changes within it."""
    if tls is None or tls.context is None:
        return b""
    return _SHOWN.get(tls.context, b"")


def certificate_hash(pem: bytes) -> bytes:
    """RFC 5929 §4.1: by the hash function of the certificate's own signature, SHA-256 where that is MD5 or SHA-1.
    Empty where the signature has no hash function of its own (Ed25519): then nothing can be bound to it."""
    from cryptography import x509

    return _hash_of(x509.load_pem_x509_certificates(pem)[0])


def peer_end_point(tls: ssl.SSLObject | None) -> bytes:
    """The hash of the certificate that the server on this connection of ours has shown, whatever it proved; empty in
    the clear."""
    from cryptography import x509

    shown = tls.getpeercert(binary_form=True) if tls is not None else None
    return _hash_of(x509.load_der_x509_certificate(shown)) if shown else b""


def _hash_of(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    found = certificate.signature_hash_algorithm
    if found is None:
        return b""
    name = "sha256" if found.name in ("md5", "sha1") else found.name
    try:
        return hashlib.new(name, certificate.public_bytes(serialization.Encoding.DER)).digest()
    except ValueError:  # a hash function that this Python does not have
        return b""
