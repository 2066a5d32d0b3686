"""Tokens checked with an issuer on loopback: its keys over HTTP, and asking it (net/tokens.py)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from glasspost.net.tokens import KEYS_AGAIN_SECONDS, REMEMBERED_SECONDS, TokenDesk, TokenSettings, TokensUnchecked
from glasspost.testing import ManualClock

KEYS = {kid: ec.generate_private_key(ec.SECP256R1()) for kid in ("1", "2")}


class Issuer:
    """An identity provider. `answer` is what introspection says; `down`: it says 503 to everything."""

    def __init__(self) -> None:
        self.shown = ["1"]
        self.answer: Any = {"active": True, "email": "alice@example.org", "scope": "mail"}
        self.down = False
        self.asked: list[str] = []
        self.url = ""

    async def keys(self, request: web.Request) -> web.Response:
        self.asked.append("keys")
        shown = [
            {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEYS[kid].public_key())), "kid": kid} for kid in self.shown
        ]
        return web.json_response({"keys": shown}, status=503 if self.down else 200)

    async def introspect(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.asked.append(f"{request.headers.get('Authorization', '')} {form['token']}")
        return web.json_response(self.answer, status=503 if self.down else 200)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.add_routes([web.get("/keys", issuer.keys), web.post("/ask", issuer.introspect)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield issuer
    await runner.cleanup()


def token(kid: str = "1") -> str:
    claims = {"iss": "https://id.example", "aud": "mail", "email": "alice@example.org", "exp": time.time() + 600_000}
    return jwt.encode(claims, KEYS[kid], "ES256", {"kid": kid})


async def test_keys_are_fetched_once_and_again_for_a_new_one(issuer: Issuer) -> None:
    clock = ManualClock(time.time())
    desk = TokenDesk(TokenSettings("https://id.example", "mail", jwks_url=f"{issuer.url}/keys"), clock)
    assert [await desk.whose(token()) for _ in range(3)] == ["alice@example.org"] * 3
    assert await desk.whose(token("2")) is None
    assert issuer.asked == ["keys"], "unknown keys must not make us ask all the time"
    issuer.shown = ["1", "2"]
    clock.advance(KEYS_AGAIN_SECONDS + 1)
    assert await desk.whose(token("2")) == "alice@example.org"


async def test_while_the_issuer_is_down_its_keys_are_still_good(issuer: Issuer) -> None:
    clock = ManualClock(time.time())
    desk = TokenDesk(TokenSettings("https://id.example", "mail", jwks_url=f"{issuer.url}/keys"), clock)
    issuer.down = True
    with pytest.raises(TokensUnchecked, match="503"):
        await desk.whose(token())
    issuer.down = False
    clock.advance(KEYS_AGAIN_SECONDS + 1)
    assert await desk.whose(token()) == "alice@example.org"
    issuer.down = True
    clock.advance(7_200)
    assert await desk.whose(token()) == "alice@example.org"
    clock.advance(90_000)
    with pytest.raises(TokensUnchecked):
        await desk.whose(token())


async def test_asking_the_issuer(issuer: Issuer) -> None:
    clock = ManualClock(time.time())
    settings = TokenSettings(scope="mail", introspection_url=f"{issuer.url}/ask", client_id="us", client_secret="s3")
    desk = TokenDesk(settings, clock)
    assert [await desk.whose("opaque") for _ in range(2)] == ["alice@example.org"] * 2
    assert issuer.asked == [f"Basic {base64.b64encode(b'us:s3').decode()} opaque"], "remembered for a while"
    issuer.answer = {"active": False}
    clock.advance(REMEMBERED_SECONDS + 1)
    assert await desk.whose("opaque") is None


@pytest.mark.parametrize(
    "change", [{"active": "true"}, {"scope": "other"}, {"exp": 5}, {"email": None}, {"iss": "https://evil.example"}]
)
async def test_answers_that_are_no_yes(issuer: Issuer, change: dict[str, Any]) -> None:
    settings = TokenSettings("https://id.example", scope="mail", introspection_url=f"{issuer.url}/ask")
    issuer.answer = {**issuer.answer, **change}
    assert await TokenDesk(settings, ManualClock(time.time())).whose("opaque") is None


@pytest.mark.parametrize("answer", [[], "yes", None])
async def test_answers_that_are_nonsense(issuer: Issuer, answer: Any) -> None:
    issuer.answer = answer
    with pytest.raises(TokensUnchecked):
        await TokenDesk(TokenSettings(introspection_url=f"{issuer.url}/ask"), ManualClock()).whose("opaque")
