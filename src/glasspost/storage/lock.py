"""What opens an account: its own password, app passwords, and the keys that prove them.

Lives here: which passwords a name has at a door, and whether what was given is one of them.
Does not live here: how passwords are hashed (passwords.py, scram.py), how often one may try (guesses.py), who asks
and what is answered (sign_in.py), the accounts (accounts.py).

A name that nobody has, and one that is disabled, get the same work and the same answers as a wrong password.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from glasspost.clock import Clock
from glasspost.errors import GlasspostError
from glasspost.mail.address import Address, a_label, address_from_text
from glasspost.protocol.sasl import Digest, ScramKeys
from glasspost.protocol.sasl_scram import MOST_KEYS
from glasspost.storage.app_passwords import (
    AppPassword,
    add_app_password,
    app_passwords,
    remove_app_password,
)
from glasspost.storage.database import Connection, Database
from glasspost.storage.entries import QUERIES, account_at, one_account
from glasspost.storage.passwords import PasswordChecker, hash_password
from glasspost.storage.resolution import Account, fold
from glasspost.storage.scram import ITERATIONS, Pair, keys_of, nobodys_keys, salt_of

T = TypeVar("T")
Apply = Callable[[Callable[[Connection], Any]], Any]


@dataclass(frozen=True, slots=True)
class Opened:
    """Somebody is signed in. `app_password` is the name of the one that was used; empty: the account's own."""

    account: Account
    app_password: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens a name at one door. Nobody's: `account_id` 0, and keys that nothing fits."""

    name: str  # comparable: alice@example.org
    account_id: int
    enabled: bool
    password: str | None  # argon2
    own: Pair | None
    salt: bytes
    apps: tuple[AppPassword, ...]

    def scram(self, secret: bytes) -> tuple[ScramKeys, tuple[int, ...]]:
        """The keys for an exchange, and for each the number of its password: 0 is the account's own."""
        found: list[tuple[int, Pair]] = []
        if self.enabled:
            found = [(0, self.own)] if self.own is not None else []
            found += [(number, app.pair) for number, app in enumerate(self.apps, 1)]
        found = found or [(0, nobodys_keys(secret, self.name))]
        return ScramKeys(self.salt, ITERATIONS, tuple(pair for _, pair in found)), tuple(n for n, _ in found)


class Lock:
    """The lock of one directory. Checking belongs to the event loop, changing to the command line."""

    def __init__(self, database: Database, apply: Apply, domains: Callable[[], frozenset[str]], clock: Clock) -> None:
        self._reader = database.reader
        self._apply = apply
        self._domains = domains
        self._clock = clock
        row: Any = self._reader.execute(QUERIES.salt_secret).fetchone()
        self._secret: bytes = row[0]
        self.checker = PasswordChecker(clock)

    # --- whose name it is -------------------------------------------------------------------------------------

    def read_username(self, username: str) -> tuple[str, str]:
        """The comparable local part and domain that somebody who signs in means: an address, or a bare name where
        there is only one domain."""
        username = username.strip().encode("utf-8", "replace").decode()  # what is not text is nobody's name
        try:
            written = address_from_text(username)
        except ValueError:
            written = Address(username, "")
        domains = self._domains()
        return fold(written.local), written.route or (next(iter(domains)) if len(domains) == 1 else "")

    def known_name(self, username: str) -> str:
        """A name given at sign-in, as it may stand on record. One that is neither an account's nor an address of a
        domain of ours may be a password typed in the wrong place: it is not repeated."""
        name, route = self.read_username(username)
        known = self._reader.execute(QUERIES.credentials, (route, name)).fetchone() is not None
        return f"{name}@{route}" if known or ("@" in username and route in self._domains()) else "an unknown name"

    def counted_as(self, username: str) -> str:
        """The name under which failures are counted: as on record, or a digest of one that may not stand there."""
        known = self.known_name(username)
        if "@" in known:
            return known
        digest = hmac.digest(self._secret, b"name " + username.encode("utf-8", "surrogatepass"), "sha256")
        return f"unknown-{digest.hex()[:16]}"

    # --- checking ---------------------------------------------------------------------------------------------

    def keys(self, username: str, door: str) -> Keys:
        """What opens this name at "smtp" or "pop3"."""
        local, route = self.read_username(username)
        name = f"{local}@{route}"
        salt = salt_of(self._secret, name)
        row: Any = self._reader.execute(QUERIES.credentials, (route, local)).fetchone()
        if row is None:
            return Keys(name, 0, False, None, None, salt, ())
        account_id, password, stored, server, enabled = row
        apps = tuple(app for app in app_passwords(self._reader, account_id) if app.opens(door))
        own = (stored, server) if stored is not None else None
        return Keys(name, account_id, bool(enabled), password, own, salt, apps)

    async def password(self, username: str, password: str, door: str) -> Opened | None:
        """Who signs in with this password, if it is right. Raises SignInBusy."""
        keys = self.keys(username, door)
        others = [app.pair[0] for app in keys.apps]
        number = await self.checker.which(f"{door} {keys.name}", password, keys.password, salt=keys.salt, others=others)
        opened = self._opened(keys, number)
        if opened is not None and number == 0 and keys.password is not None:
            await self._renew(keys, keys.password, password)
        return opened

    def scram_keys(self, username: str, door: str) -> ScramKeys:
        """What an exchange needs to know, of whomever."""
        return self.keys(username, door).scram(self._secret)[0]

    def proven(self, username: str, key: int | None, shown: ScramKeys, door: str) -> Opened | None:
        """Who has proved one of the keys that were `shown` to the exchange; None where the proof was wrong, or the key
        has been taken away meanwhile."""
        keys = self.keys(username, door)
        now, numbers = keys.scram(self._secret)
        if key is None or shown.pairs[key] not in now.pairs:
            return None
        return self._opened(keys, numbers[now.pairs.index(shown.pairs[key])])

    def digest(self, question: Digest, door: str) -> Opened | None:
        """CRAM-MD5 (RFC 2195), with those app passwords that were made for it. The work is always the same."""
        keys = self.keys(question.username, door)
        found = None
        for number in range(1, MOST_KEYS):
            app = keys.apps[number - 1] if number <= len(keys.apps) else None
            plain = app.plain if app is not None else None
            right = hmac.digest((plain or "").encode(), question.challenge, "md5")
            if hmac.compare_digest(right, question.digest) and plain is not None:
                found = number
        return self._opened(keys, found)

    def named(self, username: str) -> Opened | None:
        """Who has this name, where somebody else vouches for it."""
        return self._opened(self.keys(username, "smtp"), 0)

    def _opened(self, keys: Keys, number: int | None) -> Opened | None:
        """The account as it is now: it may have changed while its password was checked."""
        if number is None or not keys.account_id:
            return None
        account = one_account(self._reader, QUERIES.account_by_id, keys.account_id)
        if account is None or not account.enabled:
            return None
        return Opened(account, keys.apps[number - 1].name if number else "")

    async def _renew(self, keys: Keys, stored: str, password: str) -> None:
        """A password that is right is stored as passwords are stored today."""
        better = await self.checker.renewed(password, stored, keys.salt, keys_missing=keys.own is None)
        if better is None:
            return
        text, pair = better
        if text != stored or pair is not None:
            row = (text, *(pair or (None, None)), keys.account_id, stored)
            self._apply(lambda connection: connection.execute(QUERIES.upgrade_password, row).fetchall())

    # --- changing ---------------------------------------------------------------------------------------------

    def stored(self, address: Address, password: str) -> tuple[str, bytes | None, bytes | None]:
        """What is kept of an account's own password: argon2, StoredKey, ServerKey. Takes about 25 ms."""
        if not password:
            raise GlasspostError("a password must not be empty")
        return (hash_password(password), *(keys_of(password, self._salt(address)) or (None, None)))

    def app_passwords(self, address: Address) -> list[AppPassword]:
        """Raises NotFound."""
        return app_passwords(self._reader, account_at(self._reader, address).id)

    def add_app_password(self, address: Address, name: str, purpose: str = "both", *, cram_md5: bool = False) -> str:
        """Make one, and return it: it is not shown again. `cram_md5`: store it as it is, which that mechanism needs.
        Raises NotFound, AlreadyThere, GlasspostError."""
        salt, now = self._salt(address), self._clock.now()

        def job(connection: Connection) -> str:
            account = account_at(connection, address)
            return add_app_password(connection, account.id, name, purpose, salt, now, cram_md5=cram_md5)

        password: str = self._apply(job)
        return password

    def remove_app_password(self, address: Address, name: str) -> None:
        """Revoke it. Raises NotFound."""
        self._apply(lambda connection: remove_app_password(connection, account_at(connection, address).id, name))

    def _salt(self, address: Address) -> bytes:
        return salt_of(self._secret, f"{fold(address.local)}@{a_label(address.domain)}")
