"""The settings of signing in: how often one may fail, and which tokens are good.

Lives here: one class per section, a field per setting, as in settings.py, which holds all other sections.
Does not live here: what is done with them (storage/guesses.py, net/tokens.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from glasspost.node.secret_sources import SecretSource
from glasspost.node.values import MINUTE, Count, Duration, File, Network, Secret, Section, Text, read_network


class SignIn(Section):
    """Failed sign-ins, over all listeners: each makes the next one wait longer, and too many shut out for a while.
    `glasspost limits list` shows the counts, which halve every ten minutes."""

    failures_per_address: Count = Field(
        default=10,
        description="Failures of one address (of IPv6, its /64) after which it is shut out (421). Who has signed in to "
        "an account from there before is counted apart. 0: never.",
    )
    failures_per_network: Count = Field(
        default=50, description="The same for all addresses of a network together: a /24, of IPv6 a /48."
    )
    failures_per_account: Count = Field(
        default=100,
        description="The same for one account, by whomever. It shuts out those who have not signed in to it from their "
        "address before; its owner, from where he is known, comes in all the same.",
    )
    lockout: Duration = Field(default=15 * MINUTE, description="For how long.")
    longest_wait: Duration = Field(
        default=10.0, description="The longest that a sign-in is held back for earlier failures: 0.5 s, 1 s, 2 s, ..."
    )
    exempt: tuple[Network, ...] = Field(
        default=(read_network("127.0.0.0/8"), read_network("::1")),
        description="Networks whose addresses are not counted, because many users come from one of them: a web mailer, "
        "a proxy. Pairs of address and account are counted all the same, and accounts.",
    )


class Oauth(Section):
    """Sign-in by token (OAUTHBEARER, RFC 7628, and XOAUTH2). It is offered where jwks_url, jwks_file or
    introspection_url is set, and needs the extra `oauth`."""

    issuer: Text = Field(default="", description="Who must have issued a token (its `iss`). Needed with keys.")
    audience: Text = Field(default="", description="For whom it must be (its `aud`). Needed with keys.")
    scope: Text = Field(default="", description="A scope it must have; refused clients are told. Empty: any.")
    name_claim: Annotated[Text, Field(min_length=1)] = Field(
        default="email",
        description="The claim that names the account: an address, or a bare name where there is one domain only.",
    )
    jwks_url: Text = Field(
        default="", description="Where the issuer's keys are (RFC 7517): https, or http on loopback."
    )
    jwks_file: File = Field(default=None, description="The same as a file.")
    introspection_url: Text = Field(
        default="", description="Where to ask the issuer about a token (RFC 7662): https, or http on loopback."
    )
    client_id: Text = Field(default="", description="The name to ask with, at introspection_url.")
    client_secret: Secret = Field(default=SecretStr(""), description="The password that goes with client_id.")
    client_secret_file: File = Field(
        default=None, description="File whose first line is client_secret: keeps it out of this file."
    )
    openid_configuration: Text = Field(
        default="", description="Where clients find how to get a token; refused ones are told (RFC 7628 §3.2.2)."
    )

    @property
    def offered(self) -> bool:
        return bool(self.jwks_url or self.jwks_file or self.introspection_url)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        ways = [key for key in ("jwks_url", "jwks_file", "introspection_url") if getattr(self, key)]
        for key in ways[1:]:
            yield key, f"Is one way too many: {ways[0]} is set already."
        for key in ("jwks_url", "introspection_url"):
            url = getattr(self, key)
            if url and not is_safe(url):
                yield key, NOT_SAFE
        if self.jwks_url or self.jwks_file:
            for key in ("issuer", "audience"):
                if not getattr(self, key):
                    yield key, "Is needed with keys: otherwise a token made for somebody else would be good here."
        yield from self._client_secret.contradictions()

    def secret(self) -> str:
        """client_secret, from wherever it is. Raises ConfigurationError where the file cannot be read."""
        return self._client_secret.read("oauth")

    @property
    def _client_secret(self) -> SecretSource:
        return SecretSource("client_secret", self.client_secret, self.client_secret_file)


NOT_SAFE = (
    "Must begin with https:// (http:// only for this machine's own addresses), and have no user name or password in "
    "it: addresses are printed, secrets are not."
)


def is_safe(url: str) -> bool:
    """https, or http to a loopback address; and no secret in it, because `config show`, errors and the log print it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if "@" in parts.netloc:
        return False
    if parts.scheme == "https":
        return bool(host)
    try:
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
