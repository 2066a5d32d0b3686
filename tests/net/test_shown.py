"""The certificates that listeners show: by name, renewed while the node runs, and kept where the new file is bad."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import trustme

from glasspost.errors import ConfigurationError
from glasspost.net.certificate import dns_names, shown_by
from glasspost.net.shown import Pair, ShownCertificates, shown_words
from glasspost.net.tls import opportunistic_context


class Issuer:
    """Makes pairs of files; writing one again is a renewal."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self._moment = 1_700_000_000

    def write(self, file: str, *names: str) -> Pair:
        issued = self._ca.issue_cert(*names)
        pair = Pair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        pair.key.write_bytes(issued.private_key_pem.bytes())
        self.touch(pair)
        return pair

    def touch(self, pair: Pair) -> None:
        """Files are told apart by their time; two writes of one test may have the same."""
        self._moment += 1
        for path in pair:
            os.utime(path, (self._moment, self._moment))


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


def handshake(
    shown: ShownCertificates, name: str | None, client: ssl.SSLContext | None = None
) -> tuple[tuple[str, ...], ssl.SSLObject]:
    """Names of the certificate that a client asking for `name` gets, and the server's side of the connection."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = (client or opportunistic_context()).wrap_bio(to_client, to_server, server_hostname=name)
    ours = shown.context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [theirs, ours]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    certificate = shown_by(theirs)
    assert certificate is not None
    return dns_names(certificate), ours


def shown_to(shown: ShownCertificates, name: str | None) -> tuple[str, ...]:
    return handshake(shown, name)[0]


def test_each_client_gets_the_certificate_for_the_name_it_asks_for(issuer: Issuer) -> None:
    shown = ShownCertificates(
        [
            issuer.write("first", "mx.one.test", "two.test"),
            issuer.write("second", "two.test", "mail.two.test"),
            issuer.write("wild", "*.three.test"),
        ],
        "1.2",
    )
    first = ("mx.one.test", "two.test")
    assert shown_to(shown, "mx.one.test") == first
    assert shown_to(shown, "mail.two.test") == ("two.test", "mail.two.test")
    assert shown_to(shown, "MAIL.Two.Test") == ("two.test", "mail.two.test")
    assert shown_to(shown, "two.test") == first  # named first, it goes first
    assert shown_to(shown, "a.three.test") == ("*.three.test",)
    assert shown_to(shown, "a.b.three.test") == first  # a star stands for one label
    assert shown_to(shown, "elsewhere.test") == first
    assert shown_to(shown, None) == first


def test_the_record_names_the_certificate_that_was_shown(issuer: Issuer) -> None:
    shown = ShownCertificates([issuer.write("first", "one.test"), issuer.write("second", "two.test")], "1.2")
    _, ours = handshake(shown, "two.test")
    assert shown_words(ours).startswith("TLSv1.3 TLS_AES_256_GCM_SHA384, shown: certificate of two.test by ")


def test_a_renewed_certificate_is_shown_after_the_next_look(issuer: Issuer) -> None:
    pair = issuer.write("first", "one.test")
    shown = ShownCertificates([pair], "1.2")
    issuer.write("first", "one.test", "new.one.test")
    assert shown_to(shown, "one.test") == ("one.test",)
    (change,) = shown.look()
    assert (change.pair, change.names, change.fault) == (pair, ("one.test", "new.one.test"), "")
    assert shown_to(shown, "new.one.test") == ("one.test", "new.one.test")
    assert shown.look() == []


def test_a_connection_under_way_keeps_what_it_has(issuer: Issuer) -> None:
    pair = issuer.write("first", "one.test")
    shown = ShownCertificates([pair], "1.2")
    _, ours = handshake(shown, "one.test")
    issuer.write("first", "two.test")
    shown.look()
    assert "one.test" in shown_words(ours)
    assert ours.write(b"still here") == 10


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda pair: pair.certificate.write_text("half of a"), "certificate or key is not in PEM form"),
        (lambda pair: pair.key.write_bytes(b""), "key is not in PEM form"),
        (lambda pair: pair.key.unlink(), "no such file or directory"),
        (
            lambda pair: pair.key.write_bytes(trustme.CA().issue_cert("x.test").private_key_pem.bytes()),
            "the key is not the key of this certificate",
        ),
    ],
    ids=["no certificate", "no key", "a file missing", "another's key"],
)
def test_a_bad_new_file_is_told_once_and_the_old_one_kept(issuer: Issuer, spoil: object, fault: str) -> None:
    pair = issuer.write("first", "one.test")
    shown = ShownCertificates([pair, issuer.write("second", "two.test")], "1.2")
    spoil(pair)  # type: ignore[operator]
    (change,) = shown.look()
    assert fault in change.fault
    assert shown.look() == []
    assert shown_to(shown, "one.test") == ("one.test",)
    assert shown_to(shown, "two.test") == ("two.test",)

    issuer.write("first", "one.test", "repaired.test")
    (change,) = shown.look()
    assert change.fault == ""
    assert shown_to(shown, "repaired.test") == ("one.test", "repaired.test")


def test_a_pair_that_does_not_fit_is_refused_at_the_start(issuer: Issuer) -> None:
    first, second = issuer.write("first", "one.test"), issuer.write("second", "two.test")
    with pytest.raises(ConfigurationError, match="the key is not the key of this certificate"):
        ShownCertificates([first, Pair(second.certificate, first.key)], "1.2")


@pytest.mark.parametrize(
    ("minimum", "offered", "taken"),
    [
        ("1.2", ssl.TLSVersion.TLSv1_1, False),
        ("1.2", ssl.TLSVersion.TLSv1_2, True),
        ("1.3", ssl.TLSVersion.TLSv1_2, False),
        ("1.3", ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_the_minimum_holds_for_every_name(issuer: Issuer, minimum: str, offered: ssl.TLSVersion, taken: bool) -> None:
    shown = ShownCertificates([issuer.write("first", "one.test"), issuer.write("second", "two.test")], minimum)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = ssl.TLSVersion.TLSv1
    client.maximum_version = offered
    for name in ("one.test", "two.test", None):
        if taken:
            handshake(shown, name, client)
        else:
            with pytest.raises(ssl.SSLError):
                handshake(shown, name, client)


@pytest.mark.parametrize("cipher", ["AES256-SHA256", "ECDHE-ECDSA-AES256-SHA384", "DHE-RSA-AES256-GCM-SHA384"])
def test_no_cipher_without_forward_secrecy_or_authentication(issuer: Issuer, cipher: str) -> None:
    shown = ShownCertificates([issuer.write("first", "one.test")], "1.2")
    client = opportunistic_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        handshake(shown, "one.test", client)
