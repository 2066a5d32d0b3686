"""An issuer of tokens, as Google or Microsoft are one, on this machine.

Lives here: its token endpoint and its device endpoint (RFC 6749 §6, RFC 8628), and the ways in which they say no.
Does not live here: a server that takes the tokens (tests/bridges.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from glasspost.net.token_endpoint import DEVICE_CODE, OauthClient

SECRET = "client-secret-0"
FIRST = "refresh-secret-0"  # the refresh token that is good at the beginning


@dataclass
class Issuer:
    """Gives out access-secret-1, -2, ...; each renewal makes the refresh token before worthless. `answers` go before
    all else: (status, body), once each."""

    url: str = ""
    seconds: object = 3600
    count: int = 0
    refresh_token: str = FIRST
    agreed: bool = False  # whether the person has typed the code
    heard: asyncio.Event = field(default_factory=asyncio.Event)  # somebody has asked
    asked: list[dict[str, str]] = field(default_factory=list)
    answers: list[tuple[int, Any]] = field(default_factory=list)

    @property
    def access_token(self) -> str:
        return f"access-secret-{self.count}"

    @property
    def secrets(self) -> list[str]:
        """What may be seen nowhere."""
        return [SECRET, "refresh-secret-", "access-secret-", "device-secret"]

    def client(self, **more: str) -> OauthClient:
        known = {"client_id": "glasspost", "client_secret": SECRET, "scope": "mail"}
        return OauthClient("mine", f"{self.url}/token", device_url=f"{self.url}/device", **known | more)

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        self.heard.set()
        if self.answers:
            status, body = self.answers.pop(0)
            return web.json_response(body, status=status)
        if form.get("client_id") != "glasspost" or form.get("client_secret") != SECRET:
            return web.json_response({"error": "invalid_client"}, status=401)
        if form["grant_type"] == DEVICE_CODE:
            assert form["device_code"] == "device-secret"
            if not self.agreed:
                return web.json_response({"error": "authorization_pending"}, status=400)
        elif form["grant_type"] != "refresh_token" or form["refresh_token"] != self.refresh_token:
            told = f"{form.get('refresh_token')} was revoked"
            return web.json_response({"error": "invalid_grant", "error_description": told}, status=400)
        return web.json_response(self._next())

    def _next(self) -> dict[str, object]:
        self.count += 1
        self.refresh_token = f"refresh-secret-{self.count}"
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "token_type": "Bearer",
            "expires_in": self.seconds,
        }

    async def device(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        assert (form["client_id"], form["scope"]) == ("glasspost", "mail")
        page = "https://id.example.org/device"
        return web.json_response(
            {
                "device_code": "device-secret",
                "user_code": "WDJB-MJHT",
                "verification_uri": page,
                "verification_uri_complete": f"{page}?code=WDJB-MJHT",
                "expires_in": 60,
                "interval": 1,
            }
        )


@asynccontextmanager
async def an_issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.add_routes([web.post("/token", issuer.token), web.post("/device", issuer.device)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
