"""TLS contexts: what we show, and what others must show us.

Lives here: how strict our TLS is: the server's context, and the client's; the self-signed certificate that is shown
where none is configured.
Does not live here: which certificate is shown to whom (shown.py), the handshake (connection.py), what a destination
must prove (outbound/routes.py).

What an idle TLS connection costs is measured by the bench (workloads/idle.py). Python has OpenSSL release its buffers
(SSL_MODE_RELEASE_BUFFERS). Where we are the client TLS is the event loop's: uvloop reads into a buffer of 256 KB, of
which only the pages that were used are there.
"""

from __future__ import annotations

import ctypes
import datetime
import os
import ssl
from collections.abc import Iterable
from pathlib import Path

from glasspost.errors import ConfigurationError, Problem
from glasspost.net.channel_binding import remember

SELF_SIGNED_DAYS = 3650

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE = 128 * 1024  # octets


def keep_large_buffers_apart() -> None:
    """Have the process return large buffers to the system as soon as they are free, and get fresh ones.

    glibc would begin to recycle them after the first few: then the buffer of 256 KB of each TLS connection that we
    make, of which it uses a page or two, lies on memory that others have filled before, and costs several times as
    much. Those that come to us have no such buffer (tls_transport.py). Elsewhere than on glibc nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


class ServerContext(ssl.SSLContext):
    """A server's context that can tell what it shows."""

    shows: str = ""  # the certificate in short, for the record


def server_context(certificate: Path, key: Path, minimum: str) -> ServerContext:
    """What a listener shows. `minimum` is "1.2" or "1.3". Raises ConfigurationError where the files do not fit."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum == "1.3" else ssl.TLSVersion.TLSv1_2
    # For TLS 1.2: forward secrecy and authenticated encryption, or nothing (RFC 9325 §4.2). TLS 1.3 has only such.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 1  # mail servers seldom come back at once
    try:
        load_pair(context, certificate, key)
    except OSError as error:
        raise ConfigurationError(
            [Problem(str(certificate), 0, "tls.certificate", f"cannot be used: {why_not(error)}")]
        ) from None
    remember(context, certificate)
    return context


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """What a server's context shows. Raises OSError, of which ssl.SSLError is one."""
    # An empty passphrase, because OpenSSL would otherwise ask for one at the terminal, and wait.
    context.load_cert_chain(certificate, key, password=lambda: b"")


def why_not(error: OSError) -> str:
    """Why certificate and key cannot be used, in words."""
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not the key of this certificate"
        return error.reason.lower().replace("_", " ") if error.reason else "certificate or key is not in PEM form"
    return (error.strerror or str(error)).lower()


def opportunistic_context() -> ssl.SSLContext:
    """Encryption without proof (RFC 7435): any certificate, but nothing weaker than today's TLS if it can be had."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def verifying_context(authorities: Iterable[Path] = (), *, any_name: bool = False) -> ssl.SSLContext:
    """A certificate that is right for the name, by the authorities in `authorities` (PEM), or by the system's where
    there are none. With `any_name` the name is left to the caller (certificate.is_for)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asks for a certificate, and checks the name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = not any_name
    own = False
    for path in authorities:
        own = True
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError([Problem(str(path), 0, "ca_file", f"cannot be used: {why_not(error)}")]) from None
    if not own:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


class ClientContexts:
    """The contexts of a node's client, each made once: those of one CA file again when the file has changed."""

    def __init__(self) -> None:
        self.opportunistic = opportunistic_context()
        self._verifying: dict[tuple[str, bool], tuple[int, ssl.SSLContext]] = {}

    def verifying(self, ca_file: Path | None = None, *, any_name: bool = False) -> ssl.SSLContext:
        """`verifying_context` with one CA file. Raises ConfigurationError where the file was never usable; one that has
        become unusable is not looked at until it is usable again."""
        known = self._verifying.get((str(ca_file), any_name))
        moment = 0
        try:
            moment = ca_file.stat().st_mtime_ns if ca_file is not None else 0
            if known is not None and known[0] == moment:
                return known[1]
            context = verifying_context([ca_file] if ca_file is not None else (), any_name=any_name)
        except (OSError, ConfigurationError) as error:
            if known is not None:
                return known[1]
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(
                [Problem(str(ca_file), 0, "ca_file", f"cannot be used: {why_not(error)}")]
            ) from None
        self._verifying[str(ca_file), any_name] = (moment, context)
        return context


def self_signed(folder: Path, hostname: str, *, rsa: bool = False) -> tuple[Path, Path]:
    """Certificate and key in `folder`, made at the first start: better than none, and nobody can verify it.

    With `rsa` another pair, for devices so old that they cannot read one with an elliptic curve."""
    name = "self-signed-rsa" if rsa else "self-signed"
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    if not (certificate.exists() and key.exists()):
        _make(certificate, key, hostname, rsa=rsa)
    return certificate, key


def _make(certificate: Path, key: Path, hostname: str, *, rsa: bool) -> None:
    # Imported here: it costs start-up time that nearly no start needs.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
    from cryptography.x509.oid import NameOID

    private = rsa_key(public_exponent=65537, key_size=2048) if rsa else ec.generate_private_key(ec.SECP256R1())
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
