"""Passwords: how they are hashed, and how checking them stays affordable.

Lives here: argon2id with OWASP's parameters, in a thread pool of two; the bound on how many checks may wait;
the short memory of what was right a moment ago. Does not live here: whose password it is (lock.py), what SCRAM
keeps (scram.py), or how it came over the wire (protocol/sasl.py).

An account has one password of its own, behind argon2, and may have app passwords, which chance has made, behind the
keys of SCRAM. A check costs one derivation of keys and, where no app password fits, one argon2, whether the user
exists or not: about 20 ms and 19 MiB, on purpose. So strangers must not be able to run many at once, and a client that
fetches mail every minute should not pay each time. What is remembered is a keyed digest, useless outside this process,
together with what it was right for: a changed password forgets it by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import unicodedata
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import argon2

from glasspost.clock import Clock
from glasspost.errors import GlasspostError
from glasspost.protocol.sasl_scram import MOST_KEYS
from glasspost.storage.scram import Pair, keys_of

# OWASP's second choice for argon2id: 19 MiB, two passes, one lane.
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, salt_len=16)
THREADS = 2  # checks that run at once: 38 MiB at most
WAITING_LIMIT = 500  # checks that may wait for a thread: some five seconds of work
REMEMBERED_SECONDS = 120.0
REMEMBERED_LIMIT = 10_000
LONGEST = 1_024  # characters; what is longer is nobody's password


class SignInBusy(GlasspostError):
    """Too many sign-ins are being checked already. Answer 454 4.7.0 (SMTP) or [SYS/TEMP] (POP3)."""


def hash_password(password: str) -> str:
    """The text that is stored for a password. Takes about 20 ms."""
    return _HASHER.hash(prepare(password))


def prepare(password: str) -> str:
    """The form of a password that is hashed: NFC, as RFC 8265 §4.2.2 has it, so that one word typed on two
    keyboards is one password. Case, spaces and everything else count."""
    return unicodedata.normalize("NFC", password)


def _text_without_password() -> str:
    """A stored hash that no password fits, of the same cost as a real one: for users who do not exist."""
    salt, digest = (b64encode(os.urandom(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m=19456,t=2,p=1${salt}${digest}"


class PasswordChecker:
    """Checks passwords against stored hashes, off the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="password")
        self._waiting = 0
        self._key = os.urandom(32)
        self._nobody = _text_without_password()
        self._remembered: dict[bytes, tuple[str | bytes, float]] = {}
        self.hashes = 0  # how many checks were really computed
        self.derivations = 0  # how many of them looked at app passwords: all

    async def which(
        self, user: str, password: str, stored: str | None, *, salt: bytes, others: Sequence[bytes] = ()
    ) -> int | None:
        """Which password this is: 0 where `stored` was made from it, n where the nth of `others` (SCRAM's StoredKeys)
        was; None where none was. `stored` is None for a user who does not exist: the same work. `user` only tells
        remembered checks apart. Raises SignInBusy."""
        prepared = prepare(password[: LONGEST + 1])
        digest = self._digest(user, prepared)
        now = self._clock.now()
        known = self._remembered.get(digest)
        choice: list[str | bytes | None] = [stored, *others]
        if known is not None and known[1] > now and known[0] in choice:
            return choice.index(known[0])
        if self._waiting >= WAITING_LIMIT:
            raise SignInBusy("too many sign-ins at once; try again later")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            work = (stored or self._nobody, tuple(others), salt, prepared)
            number = await loop.run_in_executor(self._pool, self._try, *work)
        finally:
            self._waiting -= 1
        fitting = None if number is None or len(prepared) > LONGEST else choice[number]
        if fitting is None:
            return None
        if len(self._remembered) >= REMEMBERED_LIMIT:
            self._remembered.clear()
        self._remembered[digest] = (fitting, now + REMEMBERED_SECONDS)
        return number

    async def renewed(
        self, password: str, stored: str, salt: bytes, *, keys_missing: bool
    ) -> tuple[str, Pair | None] | None:
        """What to store of a password that was hashed with yesterday's parameters, or whose keys are missing; None
        where all is good."""
        stale = _HASHER.check_needs_rehash(stored)
        if not stale and not keys_missing:
            return None

        def work() -> tuple[str, Pair | None]:
            return (hash_password(password) if stale else stored), keys_of(password, salt)

        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Drop what waits, and wait for what runs (some 20 ms)."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _try(self, stored: str, others: tuple[bytes, ...], salt: bytes, prepared: str) -> int | None:
        """App passwords first: they are cheap to try, and a device that has one needs no argon2."""
        self.derivations += 1
        pair = keys_of(prepared, salt)
        found = None
        for number in range(MOST_KEYS):
            other = others[number] if number < len(others) else b""
            if hmac.compare_digest(other, pair[0] if pair else b"-") and found is None:
                found = number + 1
        if found is not None:
            return found
        return 0 if self._verify(stored, prepared) else None

    def _verify(self, stored: str, prepared: str) -> bool:
        self.hashes += 1
        try:
            return _HASHER.verify(stored, prepared)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError, UnicodeError):
            return False

    def _digest(self, user: str, prepared: str) -> bytes:
        name = user.encode("utf-8", "surrogatepass")
        message = len(name).to_bytes(4, "big") + name + prepared.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, message, hashlib.sha256).digest()
