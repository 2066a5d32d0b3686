"""The settings of TLS that may be written several times: certificates for several names, and what destinations prove.

Lives here: one class per section, a field per setting, as in settings.py, which holds [tls] and all other sections.
Does not live here: what is done with them (net/shown.py, outbound/routes.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from glasspost.node.relay_settings import ClientTls
from glasspost.node.values import DomainPattern, File, Name, Section


class Certificate(Section):
    """A further certificate, for other names than that of [tls]; write one [[certificate]] for each. A client that asks
    for a name (SNI) gets the first certificate that is for it, and that of [tls] where none is."""

    certificate: File = Field(description="File with the certificate chain, PEM. Its names are read from it.")
    key: File = Field(description="File with its private key, PEM, no passphrase.")

    def contradictions(self) -> Iterator[tuple[str, str]]:
        for key in ("certificate", "key"):
            if getattr(self, key) is None:
                yield key, "Must be named."


class Destination(Section):
    """What TLS must prove on the way to other domains' servers, where that is not what relay.tls says; write one
    [[destination]] for each. The most exact domain wins: a name before `.domain`, longer before shorter, `*` last.
    A domain with a [[smarthost]] goes by what is written there."""

    domain: DomainPattern = Field(
        description='The recipients\' domain: "example.org", ".example.org" for every name below it, "*" for all.'
    )
    tls: ClientTls = Field(
        description='What TLS must prove: "none" is not used, "may" where offered, "encrypt" required with any '
        'certificate, "verify" required with a certificate that is right for the server\'s name.'
    )
    names: tuple[Name, ...] = Field(
        default=(),
        description="The names of its servers, one of which the certificate must be for. Empty: the host name that "
        "the MX record gives, which is only as sure as the DNS. Mail that says REQUIRETLS (RFC 8689) goes only where "
        "names are given.",
    )
    ca_file: File = Field(
        default=None, description="File with the authorities to verify with, PEM. Empty: the system's."
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.tls != "verify":
            if self.names:
                yield "names", 'Are looked at only with tls = "verify".'
            if self.ca_file is not None:
                yield "ca_file", 'Is looked at only with tls = "verify".'
