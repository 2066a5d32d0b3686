"""Certificates judged where no handshake demands it: whether they prove a name, and why not (net/certificate.py)."""

from __future__ import annotations

import datetime
import ssl
import time

import pytest
import trustme
from cryptography import x509

from glasspost.net.certificate import FAULTS, in_full, why_not_believed

NAME = "mx.example.org"
DAY = 86400.0


def believing(*authorities: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for authority in authorities:
        authority.configure_trust(context)
    return context


def pieces(leaf: trustme.LeafCert) -> list[x509.Certificate]:
    return [x509.load_pem_x509_certificate(blob.bytes()) for blob in leaf.cert_chain_pems]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize(
    ("shown", "called", "fault"),
    [
        ([NAME], NAME, ""),
        (["other.example", NAME], "MX.Example.Org.", ""),
        (["*.example.org"], NAME, ""),
        (["*.example.org"], "a.mx.example.org", "other-name"),
        (["*.example.org"], "example.org", "other-name"),
        (["other.example"], NAME, "other-name"),
        (["192.0.2.1"], "192.0.2.1", ""),
        (["192.0.2.1"], "[192.0.2.1]", ""),
        (["192.0.2.1"], "192.0.2.2", "other-name"),
        ([NAME], "192.0.2.1", "other-name"),
    ],
)
def test_names(authority: trustme.CA, shown: list[str], called: str, fault: str) -> None:
    [leaf] = pieces(authority.issue_cert(*shown))
    assert why_not_believed(leaf, [], called, believing(authority), time.time()) == fault


def test_the_time_counts(authority: trustme.CA) -> None:
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    [leaf] = pieces(authority.issue_cert(NAME, not_after=expires))
    verdicts = [
        why_not_believed(leaf, [], NAME, believing(authority), now)
        for now in (time.time(), time.time() + 3 * DAY, leaf.not_valid_before_utc.timestamp() - DAY)
    ]
    assert verdicts == ["", "expired", "not-yet"]


def test_an_issuer_must_be_known_and_may_be_reached_over_others(authority: trustme.CA) -> None:
    between = authority.create_child_ca()
    leaf, *rest = pieces(between.issue_cert(NAME))
    now = time.time()
    assert rest
    assert why_not_believed(leaf, rest, NAME, believing(authority), now) == ""
    assert why_not_believed(leaf, [], NAME, believing(authority), now) == "unknown-issuer"
    assert why_not_believed(leaf, rest, NAME, believing(trustme.CA()), now) == "unknown-issuer"
    assert why_not_believed(leaf, rest, NAME, believing(), now) == "unknown-issuer"


def test_an_authority_of_the_same_name_is_another() -> None:
    """Nobody is vouched for by a name: the signature counts."""
    real, false = (trustme.CA(organization_name="Trust", organization_unit_name="Us") for _ in range(2))
    [leaf] = pieces(false.issue_cert(NAME))
    assert why_not_believed(leaf, [], NAME, believing(real), time.time()) == "unknown-issuer"


def test_self_signed_unless_it_is_believed_itself(authority: trustme.CA) -> None:
    alone = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    fault = why_not_believed(alone, [], NAME, believing(), time.time())
    assert fault in ("other-name", "self-signed") and fault in FAULTS


def test_a_certificate_in_one_line(authority: trustme.CA) -> None:
    expires = datetime.datetime(2030, 5, 17, tzinfo=datetime.UTC)
    [leaf] = pieces(authority.issue_cert(NAME, "*.example.org", not_after=expires))
    root = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    issuer = root.subject.rfc4514_string()
    good, late = (in_full(leaf, expires.timestamp() + seconds) for seconds in (-1, 1))
    assert good == f"certificate: for {NAME}, *.example.org, signed by {issuer}, valid until 2030-05-17"
    assert late == f"certificate: for {NAME}, *.example.org, signed by {issuer}, expired on 2030-05-17"
    assert in_full(root, 0.0).startswith(f"certificate: for {issuer}, signed by itself, valid until ")
