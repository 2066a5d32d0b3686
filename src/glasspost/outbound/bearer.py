"""An access token for signing in elsewhere, renewed in time.

Lives here: when a token is renewed, that only one renewal runs at a time, and what is done where it fails.
Does not live here: asking the issuer (net/token_endpoint.py), the file (storage/kept_tokens.py), AUTH (sign_in.py).

`glasspost oauth login` may replace the file at any time, also while a node runs: a file that has changed goes before
what is in memory, and an answer that came for the old one is dropped.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from glasspost.clock import Clock
from glasspost.errors import NotFound, StoreError
from glasspost.net.token_endpoint import Grant, OauthClient, TokenDelayed, TokenRefused, renew
from glasspost.storage.kept_tokens import KeptTokens, read_tokens, stamp, write_tokens

AHEAD_SECONDS = 300.0  # a token is renewed so long before its end, at most after three quarters of its life
AGAIN_SECONDS = 30.0  # an issuer that did not answer is left alone for so long
YOUNG_SECONDS = 60.0  # a token of this age that a server refuses is not the reason

Renew = Callable[[OauthClient, str], Awaitable[Grant]]


class Bearer:
    """The tokens of one [[oauth_client]]."""

    def __init__(self, client: OauthClient, file: Path, clock: Clock, ask: Renew = renew) -> None:
        self.client = client
        self._file = file
        self._clock = clock
        self._ask = ask
        self._kept: KeptTokens | None = None
        self._seen: tuple[int, int] | None = None  # the version of the file that is in memory
        self._saved = True
        self._one_at_a_time = asyncio.Lock()
        self._asked = -math.inf  # when the issuer did not answer last
        self._delay = ""
        self._tasks: set[asyncio.Task[str]] = set()

    async def token(self) -> str:
        """A token that is good for a while. Raises NotFound where nobody has signed in yet, TokenRefused where
        somebody must do it again, TokenDelayed where it may work later, StoreError where the file cannot be used."""
        return await self._apart("")

    async def renewed(self, spent: str) -> str:
        """The same, after a server has refused `spent`. It is `spent` again where a new one would be no better."""
        return await self._apart(spent)

    async def _apart(self, spent: str) -> str:
        """In a task of its own: a renewal that was begun is written down, whoever loses patience meanwhile. The old
        refresh token may be worth nothing by then."""
        task = asyncio.get_running_loop().create_task(self._current(spent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _current(self, spent: str) -> str:
        async with self._one_at_a_time:
            await self._load()
            kept, now = self._kept, self._clock.now()
            if kept is None:
                raise self._nobody()
            if kept.access_token and kept.access_token == spent and now - kept.obtained < YOUNG_SECONDS:
                return spent
            fresh = kept.access_token != spent and now < kept.expires - _ahead(kept)
            if fresh and kept.access_token:
                return kept.access_token
            try:
                kept = await self._renew(kept)
            except TokenDelayed:
                if kept.access_token and kept.access_token != spent and now < kept.expires:
                    return kept.access_token  # it was to be renewed early, and there is time left
                raise
            return kept.access_token

    async def _load(self) -> None:
        """What is in the file, where that is not what is in memory."""
        found = stamp(self._file)
        if found != self._seen or self._kept is None:
            self._kept = await asyncio.to_thread(read_tokens, self._file)
            self._seen, self._saved = found, True
            self._asked = -math.inf
        elif not self._saved:
            await self._save(self._kept)

    async def _renew(self, kept: KeptTokens) -> KeptTokens:
        """What is kept now."""
        if kept.refused:
            raise self._refusal(kept.refused)
        if not kept.refresh_token:
            raise self._refusal("the token has ended, and there is none to renew it with")
        if self._clock.now() < self._asked + AGAIN_SECONDS:
            raise TokenDelayed(self._delay)
        try:
            grant = await self._ask(self.client, kept.refresh_token)
        except TokenDelayed as delay:
            self._asked, self._delay = self._clock.now(), str(delay)
            raise
        except TokenRefused as refusal:
            if stamp(self._file) == self._seen:
                await self._save(replace(kept, refused=str(refusal)))
            raise self._refusal(str(refusal)) from None
        if stamp(self._file) != self._seen:
            await self._load()  # somebody has signed in meanwhile
            if self._kept is None:
                raise self._nobody()
            return self._kept
        kept = kept_from(grant, self._clock.now(), kept)
        await self._save(kept)
        return kept

    async def _save(self, kept: KeptTokens) -> None:
        """Where the disk takes nothing, memory holds it, and the next time is another try."""
        self._kept = kept
        try:
            await asyncio.to_thread(write_tokens, self._file, kept)
        except StoreError:
            self._saved = False
        else:
            self._seen, self._saved = stamp(self._file), True

    def _nobody(self) -> NotFound:
        return NotFound(f"there is no token yet; get one with `glasspost oauth login {self.client.name}`")

    def _refusal(self, why: str) -> TokenRefused:
        return TokenRefused("refused", f"{why}; sign in anew with `glasspost oauth login {self.client.name}`")


def kept_from(grant: Grant, now: float, before: KeptTokens | None = None) -> KeptTokens:
    """What is kept of a grant: after a sign-in, or, with `before`, after a renewal."""
    refresh = grant.refresh_token or (before.refresh_token if before else "")
    return KeptTokens(refresh, grant.access_token, now, now + grant.seconds, before.signed_in if before else now)


def _ahead(kept: KeptTokens) -> float:
    return min(AHEAD_SECONDS, (kept.expires - kept.obtained) / 4)
