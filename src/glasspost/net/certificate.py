"""What a server's certificate says, and whether it proves that the server is who we meant.

Lives here: the facts of a certificate, and why nobody should believe it, for people who look at a connection.
Does not live here: the decision to go on. Where a route or a person asks for proof, OpenSSL checks it within the
handshake (`tls.verifying_context`), and nothing here can turn its no into a yes.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509 import verification

from glasspost.mail.address import a_label

FAULTS = ("no-certificate", "expired", "not-yet", "other-name", "self-signed", "unknown-issuer")


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """A TLS connection as it stands. Moments are in seconds since the epoch.

    `names`: for which names the certificate is. `fault`: why the certificate proves nothing, one of FAULTS; empty where
    it proves the name that was called. `checked`: OpenSSL demanded the proof; otherwise it was only looked at.
    """

    version: str
    cipher: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    begins: float
    ends: float
    fault: str
    checked: bool


def version_and_cipher(tls: ssl.SSLObject) -> tuple[str, str]:
    """What protects a connection: `TLSv1.3`, `TLS_AES_256_GCM_SHA384`."""
    cipher = tls.cipher()
    return tls.version() or "no TLS", cipher[0] if cipher else "no cipher"


def tls_facts(tls: ssl.SSLObject, name: str, context: ssl.SSLContext, now: float) -> TlsFacts:
    """The facts of a connection to a server that was called `name`. `context` knows which authorities are believed."""
    version, cipher = version_and_cipher(tls)
    certificate = shown_by(tls)
    checked = tls.context.verify_mode is ssl.CERT_REQUIRED
    if certificate is None:  # a cipher without certificates; our contexts have none
        return TlsFacts(version, cipher, "", "", (), 0.0, 0.0, "no-certificate", checked)
    names = tuple(str(one) for one in _alternatives(certificate))
    fault = "" if checked else why_not_believed(certificate, _rest_of_chain(tls), name, context, now)
    return TlsFacts(
        version=version,
        cipher=cipher,
        subject=_common_name(certificate.subject) or next(iter(names), "") or _name(certificate.subject),
        issuer=_name(certificate.issuer),
        names=names,
        begins=certificate.not_valid_before_utc.timestamp(),
        ends=certificate.not_valid_after_utc.timestamp(),
        fault=fault,
        checked=checked,
    )


def why_not_believed(
    certificate: x509.Certificate,
    rest: list[x509.Certificate],
    name: str,
    context: ssl.SSLContext,
    now: float,
) -> str:
    """What is wrong with a certificate for the server `name`, one of FAULTS; empty where nothing is. `context` knows
    the authorities that are believed."""
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if moment > certificate.not_valid_after_utc:
        return "expired"
    if moment < certificate.not_valid_before_utc:
        return "not-yet"
    if not is_for(certificate, name):
        return "other-name"
    believed = _believed(context, [certificate, *rest])
    if certificate in believed:
        return ""
    if _signs_itself(certificate):
        return "self-signed"
    return "" if _is_vouched_for(certificate, rest, name, believed, moment) else "unknown-issuer"


def _believed(context: ssl.SSLContext, chain: list[x509.Certificate]) -> list[x509.Certificate]:
    """The authorities of a context that a chain names. The others are not even read: some that systems believe are so
    odd that they cannot be."""
    loaded = context.get_ca_certs(binary_form=True)
    folder = ssl.get_default_verify_paths().capath
    if not loaded and folder is not None:  # OpenSSL reads those in a folder only when it needs one, and tells of none
        loaded = [
            ssl.PEM_cert_to_DER_cert(text)
            for path in Path(folder).glob("*.[0-9]")
            if (text := path.read_text(errors="replace").strip()).startswith("-----BEGIN")
        ]
    named = [one.issuer.public_bytes() for one in chain]
    return [x509.load_der_x509_certificate(one) for one in loaded if any(name in one for name in named)]


def _is_vouched_for(
    certificate: x509.Certificate,
    rest: list[x509.Certificate],
    name: str,
    believed: list[x509.Certificate],
    moment: datetime.datetime,
) -> bool:
    if not believed:
        return False
    subject: x509.DNSName | x509.IPAddress
    address = _address(name)
    subject = x509.IPAddress(address) if address is not None else x509.DNSName(a_label(name))
    # Extensions as they come: small authorities leave out, and mark as critical, what the big ones must not.
    either, policy = verification.Criticality.AGNOSTIC, verification.ExtensionPolicy.permit_all()
    builder = (
        verification.PolicyBuilder()
        .store(verification.Store(believed))
        .time(moment.replace(tzinfo=None))
        .extension_policies(
            ca_policy=policy.require_present(x509.BasicConstraints, either, None),
            ee_policy=policy.require_present(x509.SubjectAlternativeName, either, None),
        )
    )
    try:
        builder.build_server_verifier(subject).verify(certificate, rest)
    except (verification.VerificationError, ValueError):
        return False
    return True


def shown_by(tls: ssl.SSLObject) -> x509.Certificate | None:
    """The other side's certificate, read; None where it showed none."""
    octets = tls.getpeercert(True)
    return None if octets is None else x509.load_der_x509_certificate(octets)


def in_short(certificate: x509.Certificate) -> str:
    """For whom a certificate is, by whom, and until when: one line for a record."""
    subject = _common_name(certificate.subject) or next(iter(dns_names(certificate)), "") or _name(certificate.subject)
    issuer = _name(certificate.issuer)
    return f"certificate of {subject} by {issuer}, until {certificate.not_valid_after_utc:%Y-%m-%d}"


def in_full(certificate: x509.Certificate, now: float) -> str:
    """For which names a certificate is, by whom, and whether it is still good: one line for whoever looks closely."""
    try:
        names = ", ".join(dns_names(certificate)[:4]) or certificate.subject.rfc4514_string() or "nobody"
        itself = certificate.issuer == certificate.subject
        issuer = "itself" if itself else certificate.issuer.rfc4514_string()
        ends = certificate.not_valid_after_utc
    except ValueError:
        return "certificate: cannot be read"
    since = "expired on" if ends.timestamp() < now else "valid until"
    return f"certificate: for {names}, signed by {issuer}, {since} {ends:%Y-%m-%d}"


def dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names that a certificate is for, as they stand in it; `*.example.org` among them."""
    return tuple(one for one in _alternatives(certificate) if isinstance(one, str))


def is_for(certificate: x509.Certificate, name: str) -> bool:
    """RFC 9525 §6.3: a star stands for the whole first label, and for nothing else."""
    address = _address(name)
    wanted = a_label(name)
    for one in _alternatives(certificate):
        if address is not None:
            if one == address:
                return True
        elif isinstance(one, str):
            pattern = one.rstrip(".").lower()
            if pattern == wanted or (pattern.startswith("*.") and pattern[2:] == wanted.partition(".")[2]):
                return True
    return False


def _alternatives(certificate: x509.Certificate) -> Iterable[object]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    found = extension.value
    return [*found.get_values_for_type(x509.DNSName), *found.get_values_for_type(x509.IPAddress)]


def _name(name: x509.Name) -> str:
    """The common name of a subject or issuer, with its organisation; all of it where it has neither."""
    parts = [
        str(attribute.value)
        for oid in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME)
        for attribute in name.get_attributes_for_oid(oid)
    ]
    return ", ".join(dict.fromkeys(parts)) or name.rfc4514_string()


def _common_name(name: x509.Name) -> str:
    return next((str(one.value) for one in name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)), "")


def _signs_itself(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _rest_of_chain(tls: ssl.SSLObject) -> list[x509.Certificate]:
    """What the server showed besides its own certificate. Public from Python 3.13 on, private before."""
    ask = getattr(tls, "get_unverified_chain", None) or getattr(
        getattr(tls, "_sslobj", None), "get_unverified_chain", None
    )
    shown = ask() if ask is not None else None
    rest = []
    for one in (shown or ())[1:]:
        octets = one if isinstance(one, bytes) else one.public_bytes(2)  # _ssl.ENCODING_DER, where it is an object
        rest.append(x509.load_der_x509_certificate(octets))
    return rest


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
