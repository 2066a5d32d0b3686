"""The sign-in mechanisms there are, by name.

Lives here: the table, and which of a listener's mechanisms can be offered on a connection as it is.
Does not live here: what each of them says (sasl_passwords.py, sasl_scram.py, sasl_bearer.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from glasspost.protocol.sasl import Exchange, Terms
from glasspost.protocol.sasl_bearer import OauthBearer, Xoauth2
from glasspost.protocol.sasl_passwords import CramMd5, Login, Plain
from glasspost.protocol.sasl_scram import ScramSha256

MECHANISMS: dict[str, Callable[[Terms], Exchange]] = {
    "SCRAM-SHA-256-PLUS": partial(ScramSha256, plus=True),
    "SCRAM-SHA-256": ScramSha256,
    "PLAIN": Plain,
    "LOGIN": Login,
    "OAUTHBEARER": OauthBearer,
    "XOAUTH2": Xoauth2,
    "CRAM-MD5": CramMd5,
}
BY_PASSWORD = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")
BY_TOKEN = ("OAUTHBEARER", "XOAUTH2")


def possible(mechanisms: tuple[str, ...], terms: Terms) -> tuple[str, ...]:
    """Those of a listener's mechanisms that this connection can carry: without TLS, or with a certificate that has no
    hash to bind to, there is no -PLUS."""
    return mechanisms if terms.end_point else tuple(name for name in mechanisms if not name.endswith("-PLUS"))


def exchange(mechanism: str, terms: Terms) -> Exchange:
    """A sign-in that begins. `mechanism` is a name of the table."""
    return MECHANISMS[mechanism](terms)
