"""Whose a token is (RFC 7628): by the issuer's keys (JWT, RFC 7519 and RFC 7517), or by asking it (RFC 7662).

Lives here: checking signature, issuer, audience, time and scope; the issuer's keys, fetched and kept; introspection.
Does not live here: whether the name is one of ours (storage/sign_in.py), getting tokens of our own.

Needs the extra `oauth` (aiohttp, PyJWT). Nothing in a token is believed before its signature is: the algorithm must be
one of the list below, and the key one of the issuer's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glasspost.clock import Clock
from glasspost.errors import GlasspostError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY = 30  # seconds by which clocks may differ
KEYS_SECONDS = 3_600.0  # how long fetched keys are good
KEYS_AGAIN_SECONDS = 60.0  # a key that is not among them is looked for so often, and no more
STALE_SECONDS = 86_400.0  # how long they are good where the issuer cannot be asked
REMEMBERED_SECONDS = 60.0  # how long the issuer's answer about a token is good
_REMEMBERED_LIMIT = 10_000
_LONGEST_ANSWER = 1_000_000  # octets
_TIMEOUT = 5.0


class TokensUnchecked(GlasspostError):
    """It cannot be found out just now whether a token is good."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """One of `jwks_url`, `jwks_file` and `introspection_url` is set. `name_claim`: the claim with the user's name."""

    issuer: str = ""
    audience: str = ""
    scope: str = ""
    name_claim: str = "email"
    jwks_url: str = ""
    jwks_file: Path | None = None
    introspection_url: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)


class TokenDesk:
    """Checks tokens of one issuer."""

    def __init__(self, settings: TokenSettings, clock: Clock) -> None:
        """Raises GlasspostError where the extra `oauth` is not installed."""
        try:
            import aiohttp  # noqa: F401
            import jwt  # noqa: F401
        except ImportError:
            raise GlasspostError(
                "sign-in by token needs the extra oauth; install it with: pip install 'glasspost[oauth]'"
            ) from None
        self._settings = settings
        self._clock = clock
        self._keys: list[Any] = []
        self._fetched = -math.inf  # when the issuer was asked last
        self._learnt = -math.inf  # when it answered
        self._fetching = asyncio.Lock()
        self._answers: dict[bytes, tuple[str | None, float]] = {}

    async def whose(self, token: str) -> str | None:
        """The name that a good token says; None for any other. Raises TokensUnchecked."""
        if self._settings.introspection_url:
            return await self._introspected(token)
        return await self._verified(token)

    # --- by the issuer's keys -----------------------------------------------------------------------------------

    async def _verified(self, token: str) -> str | None:
        import jwt

        settings = self._settings
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            return None
        key = await self._key(header.get("kid"))
        if key is None or key.algorithm_name not in (algorithm, None):
            return None
        required = ["exp", *(["iss"] if settings.issuer else []), *(["aud"] if settings.audience else [])]
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=settings.issuer or None,
                audience=settings.audience or None,
                # The house's clock decides about time, below.
                options={
                    "require": required,
                    "verify_aud": bool(settings.audience),
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return self._name(claims) if self._is_current(claims) else None

    async def _key(self, kid: object) -> Any:
        """The issuer's key of this name, or its only one where the token names none."""
        async with self._fetching:
            found = self._find(kid)
            age = self._clock.now() - self._fetched
            if age > (KEYS_AGAIN_SECONDS if found is None else KEYS_SECONDS):
                await self._refresh_keys()
                found = self._find(kid)
            if not self._keys:
                raise TokensUnchecked("the issuer's keys are not known")
            return found

    def _find(self, kid: object) -> Any:
        keys = self._keys
        if kid is None:
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.key_id == kid), None)

    async def _refresh_keys(self) -> None:
        """The issuer's keys anew. Where it cannot be asked, those of before are good for a day, and it is left alone
        for a minute."""
        before = self._fetched
        self._fetched = self._clock.now()
        try:
            await self._fetch_keys()
        except TokensUnchecked:
            if self._keys and self._clock.now() - self._learnt < STALE_SECONDS:
                self._fetched = max(before, self._clock.now() - KEYS_SECONDS + KEYS_AGAIN_SECONDS)
                return
            self._keys = []
            raise

    async def _fetch_keys(self) -> None:
        import jwt

        settings = self._settings
        if settings.jwks_file is not None:
            try:
                document = json.loads(await asyncio.to_thread(settings.jwks_file.read_bytes))
            except (OSError, ValueError) as error:
                raise TokensUnchecked(f"{settings.jwks_file} cannot be read: {error}") from None
        else:
            document = await self._ask("GET", settings.jwks_url)
        try:
            keys = jwt.PyJWKSet.from_dict(document).keys
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError) as error:
            raise TokensUnchecked(f"the issuer's keys cannot be used: {error}") from None
        self._keys = [key for key in keys if key.key_type != "oct" and key.public_key_use in (None, "sig")]
        self._learnt = self._clock.now()

    # --- by asking the issuer -----------------------------------------------------------------------------------

    async def _introspected(self, token: str) -> str | None:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._answers.get(digest)
        if known is not None and known[1] > self._clock.now():
            return known[0]
        form = {"token": token, "token_type_hint": "access_token"}
        claims = await self._ask("POST", self._settings.introspection_url, form)
        good = claims.get("active") is True and self._is_current(claims) and self._is_for_us(claims)
        name = self._name(claims) if good else None
        until = self._clock.now() + REMEMBERED_SECONDS
        if isinstance(claims.get("exp"), (int, float)):
            until = min(until, claims["exp"])
        if len(self._answers) >= _REMEMBERED_LIMIT:
            self._answers.clear()
        self._answers[digest] = name, until
        return name

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A JSON object from the issuer. Raises TokensUnchecked."""
        import aiohttp

        settings = self._settings
        auth = aiohttp.BasicAuth(settings.client_id, settings.client_secret) if form and settings.client_id else None
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, data=form, auth=auth, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise TokensUnchecked(f"{url} answers {response.status}")
                octets = await response.content.read(_LONGEST_ANSWER)
                while not response.content.at_eof() and len(octets) < _LONGEST_ANSWER:
                    octets += await response.content.read(_LONGEST_ANSWER - len(octets))
            found = json.loads(octets)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TokensUnchecked(f"{url} cannot be asked: {error or type(error).__name__}") from None
        if not isinstance(found, dict):
            raise TokensUnchecked(f"{url} does not answer with a JSON object")
        return found

    # --- what a token says --------------------------------------------------------------------------------------

    def _is_current(self, claims: Mapping[str, Any]) -> bool:
        now = self._clock.now()
        try:
            begins, ends = float(claims.get("nbf", 0)), float(claims.get("exp", math.inf))
        except (TypeError, ValueError):
            return False
        return begins - LEEWAY <= now < ends + LEEWAY

    def _is_for_us(self, claims: Mapping[str, Any]) -> bool:
        """Issuer and audience, where the issuer's answer names them."""
        settings = self._settings
        audience = claims.get("aud", settings.audience)
        ours = settings.audience in audience if isinstance(audience, list) else audience == settings.audience
        return claims.get("iss", settings.issuer) == settings.issuer and (ours or not settings.audience)

    def _name(self, claims: Mapping[str, Any]) -> str | None:
        """Whose the token is, if it has the scope that is wanted."""
        scopes = claims.get("scope", claims.get("scp", ""))
        scopes = scopes.split() if isinstance(scopes, str) else scopes
        if self._settings.scope and (not isinstance(scopes, list) or self._settings.scope not in scopes):
            return None
        if self._settings.name_claim == "email" and claims.get("email_verified") is False:
            return None
        name = claims.get(self._settings.name_claim)
        return name if isinstance(name, str) and name else None
