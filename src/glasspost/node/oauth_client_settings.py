"""The settings of getting tokens of our own, for signing in at smarthosts that take no passwords.

Lives here: one class per section, a field per setting, as in settings.py, which holds all other sections.
Does not live here: what is done with them (outbound/bearer.py, net/token_endpoint.py), checking the tokens of others
(sign_in_settings.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from glasspost.net.token_endpoint import OauthClient as Client
from glasspost.node.relay_settings import Smarthost
from glasspost.node.secret_sources import SecretSource
from glasspost.node.sign_in_settings import NOT_SAFE, is_safe
from glasspost.node.values import File, Kind, Secret, Section, Text


def read_client_name(value: object) -> str:
    """Letters, digits, dash and underscore: it is a file's name, too."""
    text = value if isinstance(value, str) else ""
    if not text or len(text) > 64 or not text.isascii() or not text.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f'"{text}" is no name: letters, digits, "-" and "_", at most 64.')
    return text


ClientName = Annotated[str, BeforeValidator(read_client_name), Kind("letters, digits, - and _")]


class OauthClient(Section):
    """An issuer of tokens that we sign in with elsewhere (OAuth 2.0): write one [[oauth_client]] for each, and name it
    in `smarthost.oauth`. `glasspost oauth login NAME` gets the first token; the node renews it. It needs the extra
    `oauth`."""

    name: ClientName = Field(description="What it is called in smarthost.oauth, and on the command line.")
    token_url: Text = Field(description="Where tokens are given out: https, or http on loopback.")
    device_url: Text = Field(
        default="",
        description="Where a sign-in with a device code begins (RFC 8628). Empty: the issuer has none; give `oauth "
        "login` a refresh token then.",
    )
    client_id: Annotated[Text, Field(min_length=1)] = Field(description="The name that the issuer knows us by.")
    client_secret: Secret = Field(default=SecretStr(""), description="The password that goes with it, if any.")
    client_secret_file: File = Field(
        default=None, description="File whose first line is client_secret: keeps it out of this file."
    )
    scope: Text = Field(default="", description="What the token is to be good for.")

    def contradictions(self) -> Iterator[tuple[str, str]]:
        for key in ("token_url", "device_url"):
            url = getattr(self, key)
            if (url or key == "token_url") and not is_safe(url):
                yield key, NOT_SAFE
        yield from self._client_secret.contradictions()

    def client(self) -> Client:
        """As the rest of the house knows it. Raises ConfigurationError where the file cannot be read."""
        secret = self._client_secret.read("oauth_client")
        return Client(self.name, self.token_url, self.client_id, secret, self.device_url, self.scope)

    @property
    def _client_secret(self) -> SecretSource:
        return SecretSource("client_secret", self.client_secret, self.client_secret_file)


def oauth_contradictions(clients: Sequence[OauthClient], smarthosts: Sequence[Smarthost]) -> Iterator[tuple[str, str]]:
    """Names that are there twice, and names that are missing."""
    names = [one.name for one in clients]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield f"oauth_client.{number}.name", f'Another oauth_client is called "{name}" already.'
    for number, smarthost in enumerate(smarthosts):
        if smarthost.oauth and smarthost.oauth not in names:
            yield f"smarthost.{number}.oauth", f'There is no [[oauth_client]] with the name "{smarthost.oauth}".'
