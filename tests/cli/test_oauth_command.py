"""`glasspost oauth`: signing in with a device code, with a refresh token, and how the tokens stand."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from glasspost.cli import oauth
from glasspost.errors import Exit, GlasspostError, NotFound
from glasspost.net.token_endpoint import DEVICE_CODE, TokenRefused
from glasspost.storage.kept_tokens import KeptTokens, read_tokens, token_file, write_tokens
from issuers import FIRST, SECRET, Issuer, an_issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """In a thread of its own: a command has a loop of its own."""
    found: list[Issuer] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with an_issuer() as one:
            found.append(one)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(20)
    loop.close()


@pytest.fixture
def config(tmp_path: Path, issuer: Issuer) -> Path:
    file = tmp_path / "g.toml"
    file.write_text(
        f'[node]\ndata = "{tmp_path / "data"}"\n[[oauth_client]]\nname = "mine"\ntoken_url = "{issuer.url}/token"\n'
        f'device_url = "{issuer.url}/device"\nclient_id = "glasspost"\nclient_secret = "{SECRET}"\nscope = "mail"\n'
    )
    return file


def run(*words: object, given: str = "") -> str:
    """What the command prints; raises what it raises."""
    result = CliRunner().invoke(oauth.app, [str(word) for word in words], input=given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_person_signs_in_with_a_device_code(config: Path, issuer: Issuer, tmp_path: Path) -> None:
    issuer.answers = [(400, {"error": "authorization_pending"})]
    issuer.agreed = True
    said = run("login", "mine", "--config", config)
    assert "Open https://id.example.org/device in a browser and type WDJB-MJHT\n" in said
    assert [form["grant_type"] for form in issuer.asked] == [DEVICE_CODE, DEVICE_CODE]
    file = token_file(tmp_path / "data", "mine")
    kept = read_tokens(file)
    assert kept is not None and (kept.refresh_token, kept.access_token) == ("refresh-secret-1", "access-secret-1")
    assert file.stat().st_mode & 0o777 == 0o600
    stands = run("status", "--config", config)
    assert stands.startswith("mine              good        until ")
    for secret in issuer.secrets:
        assert secret not in said + stands + run("status", "--config", config, "--json")


def test_a_person_who_says_no_is_heard(config: Path, issuer: Issuer, tmp_path: Path) -> None:
    issuer.answers = [(400, {"error": "access_denied"})]
    with pytest.raises(TokenRefused, match="access_denied") as raised:
        run("login", "mine", "--config", config)
    assert raised.value.exit_code == Exit.REFUSED
    assert read_tokens(token_file(tmp_path / "data", "mine")) is None


def test_a_refresh_token_from_elsewhere_is_tried_at_once(config: Path, issuer: Issuer, tmp_path: Path) -> None:
    with pytest.raises(TokenRefused, match="invalid_grant") as raised:
        run("login", "mine", "--config", config, "--refresh-token-stdin", given="refresh-secret-wrong\n")
    assert "refresh-secret-wrong" not in str(raised.value)
    run("login", "mine", "--config", config, "--refresh-token-stdin", given=f"{FIRST}\n")
    kept = read_tokens(token_file(tmp_path / "data", "mine"))
    assert kept is not None and kept.refresh_token == "refresh-secret-1"


def test_what_cannot_be_signed_in_is_told(config: Path) -> None:
    with pytest.raises(NotFound, match="there is mine"):
        run("login", "yours", "--config", config)
    config.write_text("\n".join(line for line in config.read_text().splitlines() if "device_url" not in line))
    with pytest.raises(GlasspostError, match="--refresh-token-stdin"):
        run("login", "mine", "--config", config)


@pytest.mark.parametrize(
    ("kept", "state"),
    [
        (None, "none"),
        (KeptTokens("r", "a", 1.0, 2.0, 1.0), "ended"),
        (KeptTokens("r", "a", 1.0, 9e9, 1.0), "good"),
        (KeptTokens("", "a", 1.0, 2.0, 1.0), "refused"),
        (KeptTokens("r", "a", 1.0, 9e9, 1.0, "invalid_grant"), "refused"),
    ],
)
def test_status_tells_what_is_to_be_done(config: Path, tmp_path: Path, kept: KeptTokens | None, state: str) -> None:
    if kept is not None:
        (tmp_path / "data").mkdir()
        write_tokens(token_file(tmp_path / "data", "mine"), kept)
    (row,) = json.loads(run("status", "--config", config, "--json"))
    assert (row["name"], row["state"]) == ("mine", state)
    assert not {"refresh_token", "access_token"} & row.keys()
    assert ("glasspost oauth login mine" in run("status", "--config", config)) == (state in ("none", "refused"))
