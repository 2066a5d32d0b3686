"""The client's TLS contexts: made once, and again where a file of authorities has changed."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import trustme

from glasspost.errors import ConfigurationError
from glasspost.net.tls import ClientContexts, verifying_context


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
