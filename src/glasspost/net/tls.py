"""TLS contexts: what we show, and what others must show us.

Lives here: the server's context, its self-signed certificate where none is configured, and the client's two contexts.
Does not live here: the handshake (connection.py), what a destination requires (outbound/routes.py).
"""

from __future__ import annotations

import datetime
import os
import ssl
from collections.abc import Iterable
from pathlib import Path

from glasspost.errors import ConfigurationError, Problem
from glasspost.net.channel_binding import remember

SELF_SIGNED_DAYS = 3650


def server_context(certificate: Path, key: Path, minimum: str) -> ssl.SSLContext:
    """What a listener shows. `minimum` is "1.2" or "1.3". Raises ConfigurationError where the files do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            [Problem(str(certificate), 0, "tls.certificate", f"cannot be used: {error}")]
        ) from None
    remember(context, certificate)
    return context


def opportunistic_context() -> ssl.SSLContext:
    """Encryption without proof (RFC 7435): any certificate, but nothing weaker than today's TLS if it can be had."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def verifying_context(authorities: Iterable[Path] = ()) -> ssl.SSLContext:
    """A certificate that is right for the name, by the system's authorities and those in `authorities` (PEM)."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in authorities:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError([Problem(str(path), 0, "smarthost.ca_file", f"cannot be used: {error}")]) from None
    return context


def self_signed(folder: Path, hostname: str) -> tuple[Path, Path]:
    """Certificate and key in `folder`, made at the first start: better than none, and nobody can verify it."""
    certificate, key = folder / "self-signed.crt", folder / "self-signed.key"
    if not (certificate.exists() and key.exists()):
        _make(certificate, key, hostname)
    return certificate, key


def _make(certificate: Path, key: Path, hostname: str) -> None:
    # Imported here: it costs start-up time that nearly no start needs.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, pem, 0o600)
    _write(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    part = path.with_suffix(path.suffix + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
