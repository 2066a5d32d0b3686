"""Getting tokens of our own: renewing (RFC 6749 §6) and the device code (RFC 8628), asked of an issuer over HTTP.

Lives here: the questions, what the answers mean, and whether asking again can help.
Does not live here: keeping tokens (storage/kept_tokens.py), when they are renewed (outbound/bearer.py), checking the
tokens of others (tokens.py).

Needs the extra `oauth` (aiohttp). No error repeats a secret that was sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glasspost.errors import Exit, GlasspostError

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
_LONGEST_ANSWER = 1_000_000  # octets
_LONGEST_TOKEN = 8_000  # octets; with all around it in base64 a line of AUTH has 12,288 (RFC 4954 §4)
_TIMEOUT = 20.0
_USUAL_SECONDS = 3_600.0  # a token lives so long where the issuer does not say (RFC 6749 §5.1)
_PATIENCE = ("temporarily_unavailable", "server_error", "slow_down", "authorization_pending")
_SECRETS = ("refresh_token", "client_secret", "device_code")


class TokenRefused(GlasspostError):
    """The issuer said no, and will say it again. `code` is its word: invalid_grant, access_denied, ..."""

    exit_code = Exit.REFUSED

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class TokenDelayed(GlasspostError):
    """The issuer did not answer, or not now. `code` is its word, where it said one."""

    exit_code = Exit.UNREACHABLE

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class OauthClient:
    """Who we are to an issuer, and where it is asked."""

    name: str
    token_url: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    device_url: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """An access token for `seconds`; `refresh_token` is empty where the one that was used stays good."""

    access_token: str = field(repr=False)
    seconds: float
    refresh_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person is to type where, within `seconds`; we ask every `interval` seconds whether it was done."""

    code: str = field(repr=False)
    user_code: str
    url: str
    complete_url: str
    seconds: float
    interval: float


def must_be_possible() -> None:
    """Raises GlasspostError where the extra `oauth` is not installed."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise GlasspostError(
            "sign-in by token needs the extra oauth; install it with: pip install 'glasspost[oauth]'"
        ) from None


async def renew(client: OauthClient, refresh_token: str) -> Grant:
    """A new access token. Raises TokenRefused or TokenDelayed."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return _grant(client, await _ask(client, client.token_url, form))


async def ask_for_device_code(client: OauthClient) -> DeviceCode:
    """RFC 8628 §3.1. Raises TokenRefused or TokenDelayed."""
    found = await _ask(client, client.device_url, {"scope": client.scope} if client.scope else {})
    url = found.get("verification_uri", found.get("verification_url"))  # Google's name for it came before the RFC
    code, user_code = found.get("device_code"), found.get("user_code")
    if not (_is_word(code) and _is_word(user_code) and _is_word(url)):
        raise TokenDelayed(f"{client.device_url} gives no device code")
    complete = found.get("verification_uri_complete")
    return DeviceCode(
        code=str(code),
        user_code=str(user_code),
        url=str(url),
        complete_url=str(complete) if _is_word(complete) else "",
        seconds=_seconds(found.get("expires_in"), 600.0),
        interval=max(1.0, _seconds(found.get("interval"), 5.0)),
    )


async def redeem(client: OauthClient, device: DeviceCode) -> Grant | float | None:
    """Ask whether the person is done (RFC 8628 §3.4): a Grant, None for not yet, or the seconds by which to ask less
    often from now on. Raises TokenRefused."""
    try:
        answer = await _ask(client, client.token_url, {"grant_type": DEVICE_CODE, "device_code": device.code})
    except TokenDelayed as delay:
        return None if delay.code == "authorization_pending" else 5.0  # §3.5: the same where nobody answers
    return _grant(client, answer)


# --- questions and answers ----------------------------------------------------------------------------------------


async def _ask(client: OauthClient, url: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Post a form; a JSON object where all went well. Raises TokenRefused or TokenDelayed."""
    import aiohttp

    whole = {**form, "client_id": client.client_id}
    if client.client_secret:
        whole["client_secret"] = client.client_secret
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT)) as session,
            session.post(url, data=whole, headers={"Accept": "application/json"}, allow_redirects=False) as response,
        ):
            status = response.status
            octets = await response.content.read(_LONGEST_ANSWER)
            while not response.content.at_eof() and len(octets) < _LONGEST_ANSWER:
                octets += await response.content.read(_LONGEST_ANSWER - len(octets))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise TokenDelayed(f"{url} cannot be asked: {error or type(error).__name__}") from None
    try:
        found = json.loads(octets)
    except ValueError:
        found = None
    if status == 200 and isinstance(found, dict) and "error" not in found:
        return found
    raise _refusal(url, status, found if isinstance(found, dict) else {}, whole)


def _refusal(url: str, status: int, found: Mapping[str, Any], form: Mapping[str, str]) -> GlasspostError:
    """What an answer that is no token means (RFC 6749 §5.2). Without a word of OAuth's it may be anybody's answer: a
    proxy's, or a page of somebody else's."""
    code = found.get("error")
    if not isinstance(code, str) or not code.isprintable() or len(code) > 100:
        return TokenDelayed(f"{url} answers {status} without saying why")
    told = found.get("error_description")
    text = " ".join(told.split())[:200] if isinstance(told, str) else ""
    for name in _SECRETS:
        if form.get(name):
            text = text.replace(form[name], "[masked]")
    said = f"{url} answers {code}" + (f": {text}" if text.isprintable() and text else "")
    if code in _PATIENCE or status >= 500 or status == 429:
        return TokenDelayed(said, code)
    return TokenRefused(code, said)


def _grant(client: OauthClient, found: Mapping[str, Any]) -> Grant:
    token, refresh = found.get("access_token"), found.get("refresh_token", "")
    for one in (token, refresh):
        if not isinstance(one, str) or not one.isascii() or not one.isprintable() or len(one) > _LONGEST_TOKEN:
            raise TokenDelayed(f"{client.token_url} answers with no usable token")
    if not token or str(found.get("token_type", "bearer")).lower() != "bearer":
        raise TokenDelayed(f"{client.token_url} answers with no bearer token")
    return Grant(str(token), _seconds(found.get("expires_in"), _USUAL_SECONDS), str(refresh))


def _is_word(value: object) -> bool:
    """Text that can be shown at a terminal."""
    return isinstance(value, str) and bool(value) and value.isprintable()


def _seconds(value: object, usual: float) -> float:
    """A number of seconds, also where it is written as text."""
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return usual
    return seconds if math.isfinite(seconds) and seconds > 0 else usual
