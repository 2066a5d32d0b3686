"""Through the bridge to a provider that takes nothing but XOAUTH2: what comes of it while tokens are good, and not.

Lives here: the whole way from a device to the provider, by tokens; the settings; that no secret is on record.
Does not live here: renewing in detail (tests/outbound/test_bearer.py), the bridge itself (test_device_bridge.py).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from test_device_bridge import SLOPPY, send

from bridges import ACCOUNT, HERE, Provider, bridge, port_of, strict_provider
from glasspost.errors import ConfigurationError
from glasspost.node.config import load, read
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.node.settings_text import shown
from glasspost.storage.kept_tokens import KeptTokens, token_file, write_tokens
from glasspost.storage.talks import Talks
from issuers import FIRST, SECRET, Issuer, an_issuer


class TokenProvider:
    """Makes a strict provider one that signs in by XOAUTH2 only, with the issuer's newest token."""

    def __init__(self, provider: Provider, issuer: Issuer) -> None:
        self.issuer = issuer
        self.refusals = 0
        provider._greet = lambda: SMTP(  # type: ignore[method-assign]
            provider,
            auth_required=True,
            tls_context=provider.context,
            require_starttls=True,
            auth_exclude_mechanism=["LOGIN", "PLAIN"],
        )
        provider.auth_XOAUTH2 = self.sign_in  # type: ignore[attr-defined]

    async def sign_in(self, server: SMTP, words: list[str]) -> AuthResult:
        said = base64.b64decode(words[1]) if len(words) > 1 else await server.challenge_auth(b"")
        assert isinstance(said, bytes)
        if said == f"user={ACCOUNT}\x01auth=Bearer {self.issuer.access_token}\x01\x01".encode():
            return AuthResult(success=True)
        self.refusals += 1
        await server.push("334 " + base64.b64encode(b'{"status":"400"}').decode())
        assert await server._reader.readline() == b"\r\n"
        return AuthResult(success=False, handled=False, message="535 5.7.3 Authentication unsuccessful")


@asynccontextmanager
async def token_bridge(folder: Path) -> AsyncIterator[tuple[Node, Provider, Issuer, TokenProvider]]:
    async with an_issuer() as issuer, strict_provider(folder) as provider:
        doors = TokenProvider(provider, issuer)
        async with bridge(folder / "node", provider, **settings(provider, issuer)) as node:
            yield node, provider, issuer, doors


def settings(provider: Provider, issuer: Issuer) -> dict[str, Any]:
    return {
        "smarthost": [
            {
                "host": "127.0.0.1",
                "port": provider.port,
                "username": ACCOUNT,
                "oauth": "mine",
                "ca_file": str(provider.ca_file),
            }
        ],
        "oauth_client": [
            {"name": "mine", "token_url": f"{issuer.url}/token", "client_id": "glasspost", "client_secret": SECRET}
        ],
    }


def sign_in_kept(node: Node, refresh: str = FIRST, access: str = "", seconds: float = 0.0) -> None:
    now = node.clock.now()
    write_tokens(token_file(node.folder.path, "mine"), KeptTokens(refresh, access, now - 100, now + seconds, now - 100))


async def deferred(node: Node, text: str) -> None:
    """Until the one recipient waits for this reason."""
    asked = "SELECT last_reply FROM recipient"
    async with asyncio.timeout(20):
        while text not in str(node.database.reader.execute(asked).get):  # noqa: ASYNC110  (the store sends no event)
            await asyncio.sleep(0.02)


async def nothing_secret_is_on_record(node: Node, issuer: Issuer) -> None:
    """Looks into every file of the data folder but that of the tokens; after the node has stopped."""
    record = Talks(node.folder.transcripts)
    try:
        talks = "\n".join(record.talk(one.id) for one in record.conversations(limit=50))
    finally:
        record.close()
    files = [path for path in node.folder.path.glob("*") if path.is_file()]
    said = talks.encode() + b"".join(path.read_bytes() for path in files)
    assert "AUTH XOAUTH2 [masked]" in talks
    for secret in issuer.secrets:
        assert secret.encode() not in said


async def test_a_device_reaches_a_provider_that_takes_only_tokens(tmp_path: Path) -> None:
    async with token_bridge(tmp_path) as (node, provider, issuer, doors):
        sign_in_kept(node)
        for number in range(3):
            await send(port_of(node), SLOPPY % number)
        letters = await provider.arrived(3)
    assert {letter.sender for letter in letters} == {ACCOUNT}
    assert (issuer.count, doors.refusals) == (1, 0)
    await nothing_secret_is_on_record(node, issuer)


async def test_a_token_that_the_provider_refuses_is_renewed_on_the_same_connection(tmp_path: Path) -> None:
    async with token_bridge(tmp_path) as (node, provider, issuer, doors):
        sign_in_kept(node, access="access-secret-revoked", seconds=3600)
        await send(port_of(node), SLOPPY % 1)
        await provider.arrived()
    assert (issuer.count, doors.refusals) == (1, 1)
    await nothing_secret_is_on_record(node, issuer)


async def test_while_the_issuer_is_down_the_mail_waits(tmp_path: Path) -> None:
    async with token_bridge(tmp_path) as (node, provider, issuer, _):
        issuer.answers = [(503, {"error": "temporarily_unavailable"})]
        sign_in_kept(node)
        await send(port_of(node), SLOPPY % 1)
        await deferred(node, "There is no token of mine to sign in with just now")
        assert provider.letters == []
        sign_in_kept(node)  # a sign-in ends the wait for the issuer
        await provider.arrived()


async def test_mail_waits_until_somebody_signs_in(tmp_path: Path) -> None:
    async with token_bridge(tmp_path) as (node, provider, issuer, _):
        await send(port_of(node), SLOPPY % 1)
        await deferred(node, "glasspost oauth login mine")
        sign_in_kept(node, "refresh-secret-wrong")
        await deferred(node, "invalid_grant")
        assert len(issuer.asked) == 1
        sign_in_kept(node)
        await provider.arrived()


# --- settings -----------------------------------------------------------------------------------------------------

CLIENT = {"name": "mine", "token_url": "https://id.example.org/token", "client_id": "glasspost"}
HOST = {"host": "smtp.example.org", "username": "a@example.org"}


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"smarthost": [HOST | {"oauth": "other"}], "oauth_client": [CLIENT]}, 'with the name "other"'),
        ({"smarthost": [HOST | {"oauth": "mine", "password": "x"}], "oauth_client": [CLIENT]}, "one way too many"),
        ({"smarthost": [{"host": "smtp.example.org", "oauth": "mine"}], "oauth_client": [CLIENT]}, "Has no username"),
        ({"oauth_client": [CLIENT, CLIENT]}, 'is called "mine" already'),
        ({"oauth_client": [CLIENT | {"token_url": "http://id.example.org/token"}]}, "Must begin with https"),
        ({"oauth_client": [CLIENT | {"device_url": "http://id.example.org/d"}]}, "Must begin with https"),
        ({"oauth_client": [CLIENT | {"name": "../mine"}]}, "is no name"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_told(sections: dict[str, object], told: str, tmp_path: Path) -> None:
    lines = []
    for section, tables in sections.items():
        for table in tables:  # type: ignore[attr-defined]
            lines += [f"[[{section}]]", *(f'{key} = "{value}"' for key, value in table.items())]
    (tmp_path / "g.toml").write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=told):
        load(tmp_path / "g.toml", {})


def test_the_secret_is_not_shown(tmp_path: Path) -> None:
    text = "\n".join(["[[oauth_client]]", *(f'{k} = "{v}"' for k, v in CLIENT.items()), f'client_secret = "{SECRET}"'])
    (tmp_path / "g.toml").write_text(text)
    assert SECRET not in shown(read(tmp_path / "g.toml", {}))
    assert SECRET not in repr(Config.model_validate({"oauth_client": [CLIENT | {"client_secret": SECRET}]}))


async def test_a_reload_brings_an_issuer_and_takes_it_away(tmp_path: Path) -> None:
    """A smarthost that is told to sign in by tokens of an issuer that is new, too."""
    async with an_issuer() as issuer, strict_provider(tmp_path) as provider:
        TokenProvider(provider, issuer)
        async with bridge(tmp_path / "node", provider, smarthost=[]) as node:
            told = node.take(node.config.model_copy(update=_of(settings(provider, issuer))))
            assert "oauth_client.token_url" in told["taken"] and not told["waiting"]
            sign_in_kept(node)
            await send(port_of(node), SLOPPY % 1)
            await provider.arrived()
            assert issuer.count == 1

            # The same again, and something else beside: the token that is in memory stays, and is not asked for.
            bearer = node.remote.bearers["mine"]
            node.take(node.config.model_copy(update={"smtp": node.config.smtp.model_copy(update={"max_errors": 3})}))
            assert node.remote.bearers["mine"] is bearer

            other = settings(provider, issuer)["oauth_client"][0] | {"client_id": "another"}
            told = node.take(node.config.model_copy(update=_of({"oauth_client": [other]})))
            assert told == {"taken": ["oauth_client.client_id"], "waiting": []}
            assert node.remote.bearers["mine"].client.client_id == "another"


async def test_mail_on_its_way_by_an_issuer_that_a_reload_took_away_waits(tmp_path: Path) -> None:
    async with token_bridge(tmp_path) as (node, provider, _, _):
        node.remote.bearers = {}  # the route was made before, and names it
        await send(port_of(node), SLOPPY % 1)
        await deferred(node, "there is no such [[oauth_client]] any more")
        assert provider.letters == []


def _of(sections: dict[str, Any]) -> dict[str, Any]:
    """Sections of a configuration, as a file with them would be read."""
    tree = {"listener": [{"role": "device", "port": 0}], "device": [{"name": "p", "sender": ACCOUNT, "networks": HERE}]}
    read_anew = Config.model_validate(tree | sections)
    return {name: getattr(read_anew, name) for name in sections}
