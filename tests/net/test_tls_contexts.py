"""TLS contexts: the client's, made once, and again where a file of authorities has changed; the server's key."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from glasspost.errors import ConfigurationError
from glasspost.net.old_tls import old_server_context
from glasspost.net.tls import ClientContexts, self_signed, server_context, verifying_context


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


def test_own_authorities_stand_instead_of_the_systems(authorities: Path) -> None:
    assert len(verifying_context([authorities]).get_ca_certs()) == 1


def test_a_context_is_made_once(authorities: Path) -> None:
    contexts = ClientContexts()
    assert contexts.verifying(authorities) is contexts.verifying(authorities)
    assert contexts.verifying() is contexts.verifying()
    assert contexts.verifying(authorities, any_name=True) is not contexts.verifying(authorities)


def test_the_name_may_be_left_to_the_caller_and_the_chain_may_not() -> None:
    for any_name in (False, True):
        context = ClientContexts().verifying(any_name=any_name)
        assert (context.check_hostname, context.verify_mode) == (not any_name, ssl.CERT_REQUIRED)


def test_a_file_of_authorities_is_read_again_when_it_has_changed(authorities: Path) -> None:
    contexts = ClientContexts()
    before = contexts.verifying(authorities)
    trustme.CA().cert_pem.write_to_path(str(authorities))
    os.utime(authorities, (1, 1))
    after = contexts.verifying(authorities)
    assert after.get_ca_certs() != before.get_ca_certs()

    authorities.write_text("spoilt")
    assert contexts.verifying(authorities) is after
    authorities.unlink()
    assert contexts.verifying(authorities) is after


@pytest.mark.parametrize(("text", "fault"), [("spoilt", "no certificate or crl found"), (None, "no such file")])
def test_a_file_that_never_was_usable_is_told(tmp_path: Path, text: str | None, fault: str) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=fault):
        ClientContexts().verifying(path)


@pytest.mark.parametrize("make", [partial(server_context, minimum="1.2"), old_server_context], ids=["today's", "old"])
def test_a_key_with_a_passphrase_is_refused_in_words_and_nobody_is_asked_for_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Callable[[Path, Path], object]
) -> None:
    """OpenSSL would ask at the terminal, and a node would wait there for somebody to type."""
    certificate, key = self_signed(tmp_path, "mx.example.org", rsa=True)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    passphrase = serialization.BestAvailableEncryption(b"tulip")
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, passphrase))
    with pytest.raises(ConfigurationError, match="cannot be used: certificate or key is not in PEM form"):
        make(certificate, key)
    assert "pass phrase" not in "".join(capfd.readouterr())
