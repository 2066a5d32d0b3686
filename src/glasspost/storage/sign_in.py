"""The desk where people sign in, for SMTP and POP3 alike: a question of an exchange becomes a verdict.

Lives here: the order of things at a sign-in: who is shut out, who waits, the check, and what is counted after it.
Does not live here: exchanges (protocol/sasl.py), what opens an account (lock.py), the counts (guesses.py), how tokens
are checked (net/tokens.py), and what is said to the client (inbound/session.py, retrieval/pop3.py).
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from glasspost.errors import GlasspostError, StoreError
from glasspost.protocol.sasl import Bearer, Credentials, Digest, Proof, Question, ScramKeys, WantsKeys
from glasspost.storage.accounts import Account, Directory
from glasspost.storage.guesses import SAME_AGAIN, Guesses
from glasspost.storage.lock import Opened

_TRIED_LIMIT = 10_000  # wrong passwords remembered, as digests
_WAITING_LIMIT = 50  # sign-ins that may wait for one another from one address


class Tokens(Protocol):
    """Who can tell whose a token is. See net/tokens.py."""

    async def whose(self, token: str) -> str | None:
        """The name a token was made out to; None where it is not good, or not for us. Raises GlasspostError where that
        cannot be found out just now."""
        ...


class Fate(Enum):
    """What becomes of an attempt."""

    YES = "yes"
    NO = "no"
    GO_ON = "go on"  # keys for the exchange
    LATER = "later"  # it cannot be checked just now
    AWAY = "away"  # shut out for a while


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to answer, and what the transcript may know of it."""

    fate: Fate
    note: str
    account: Account | None = None
    keys: ScramKeys | None = None


class Desk:
    """One for all doors of a node. Attempts from one address are checked one after the other: otherwise a thousand
    connections would be a thousand guesses before the first is counted."""

    def __init__(
        self,
        directory: Directory,
        guesses: Guesses,
        tokens: Tokens | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self._guesses = guesses
        self._tokens = tokens
        self._sleep = sleep
        self._queues: dict[str, tuple[asyncio.Lock, int]] = {}
        self._secret = os.urandom(32)
        self._tried: OrderedDict[bytes, None] = OrderedDict()

    def vouched(self, username: str) -> Account | None:
        """The account of somebody whom a trusted proxy has let in already; None where there is none to be let in."""
        opened = self._directory.lock.named(username)
        return opened.account if opened is not None else None

    async def judge(self, question: Question, ip: str, door: str, shown: ScramKeys | None = None) -> Verdict:
        """`ip` is where they come from, `door` "smtp" or "pop3". `shown` are the keys that an earlier GO_ON gave to
        this exchange."""
        lock = self._directory.lock
        counted = lock.counted_as(question.username) if question.username else ""
        named = lock.known_name(question.username)
        standing = self._guesses.standing(ip, counted)
        if standing.shut_out:
            return _away(standing.shut_out, named)
        if isinstance(question, WantsKeys):
            return Verdict(Fate.GO_ON, "", keys=lock.scram_keys(question.username, door))
        queue, waiting = self._queues.get(standing.queue, (asyncio.Lock(), 0))
        if waiting >= _WAITING_LIMIT:
            return Verdict(Fate.LATER, f"sign-in of {named} not checked: too many from this address wait already")
        self._queues[standing.queue] = queue, waiting + 1
        try:
            async with queue:
                return await self._in_turn(question, ip, door, shown, counted, named)
        finally:
            queue, waiting = self._queues.pop(standing.queue)
            if waiting > 1:
                self._queues[standing.queue] = queue, waiting - 1

    async def _in_turn(
        self, question: Question, ip: str, door: str, shown: ScramKeys | None, counted: str, named: str
    ) -> Verdict:
        standing = self._guesses.standing(ip, counted)
        if standing.shut_out:
            return _away(standing.shut_out, named)
        waited = ""
        if standing.wait:
            waited = f" (after {standing.wait:g} s, for earlier failures)"
            await self._sleep(standing.wait)
        try:
            opened = await self._check(question, door, shown)
        except GlasspostError as error:
            return Verdict(Fate.LATER, f"sign-in of {named} not checked: {error}")
        if opened is None:
            return self._refused(question, ip, counted, f"sign-in refused for {named}{waited}")
        with suppress(StoreError):  # a full disk keeps nobody out
            self._guesses.right(ip, self._directory.lock.counted_as(opened.account.address))
        how = f' with the app password "{opened.app_password}"' if opened.app_password else ""
        note = f"signed in as {opened.account.address} by {question.mechanism}{how}{waited}"
        return Verdict(Fate.YES, note, opened.account)

    async def _check(self, question: Question, door: str, shown: ScramKeys | None) -> Opened | None:
        lock = self._directory.lock
        match question:
            case Credentials():
                return await lock.password(question.username, question.password, door)
            case Digest():
                return lock.digest(question, door)
            case Proof() if shown is not None:
                return lock.proven(question.username, question.key, shown, door)
            case Bearer():
                return await self._check_token(question)
        return None

    async def _check_token(self, question: Bearer) -> Opened | None:
        """The token says who it is; a name that the client gives besides must be that one (RFC 7628 §3.1)."""
        owner = await self._tokens.whose(question.token) if self._tokens is not None else None
        if not owner:
            return None
        opened = self._directory.lock.named(owner)
        if question.username:
            same = self._directory.lock.read_username(question.username) == self._directory.lock.read_username(owner)
            return opened if same else None
        return opened

    def _refused(self, question: Question, ip: str, counted: str, note: str) -> Verdict:
        weight = SAME_AGAIN if self._is_no_guess(question, counted) else 1.0
        try:
            shut = self._guesses.wrong(ip, counted, weight=weight)
        except StoreError as error:
            return Verdict(Fate.LATER, f"{note}; not counted: {error}")
        return Verdict(Fate.NO, note + (f"; shut out for a while: {', '.join(shut)}" if shut else ""))

    def _is_no_guess(self, question: Question, counted: str) -> bool:
        """A token that has expired; or a password that was wrong a while ago already: a program that nobody has told
        of the new one."""
        if not isinstance(question, Credentials):
            return isinstance(question, Bearer)
        text = f"{counted}\0{question.password}".encode("utf-8", "surrogatepass")
        digest = hmac.digest(self._secret, text, "sha256")
        known = digest in self._tried
        self._tried[digest] = None
        self._tried.move_to_end(digest)
        if len(self._tried) > _TRIED_LIMIT:
            self._tried.popitem(last=False)
        return known


def _away(by: str, named: str) -> Verdict:
    return Verdict(Fate.AWAY, f"sign-in of {named} not checked: shut out after too many failures ({by})")
