"""Who lives here: domains, accounts, aliases.

Lives here: the directory file, read by a running node and written by the command line, also at the same
time. Does not live here: the rules by which an address finds its accounts (resolution.py), what opens
an account (lock.py), the mail itself (mailboxes.py).

A node reads on its event loop: look-ups are single rows, and what they gave is remembered until SQLite says
that somebody has changed the file (`PRAGMA data_version`). So `glasspost account add` in another process is
seen by the next command of a running node, and a busy node asks the file for next to nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from glasspost.clock import Clock, SystemClock
from glasspost.errors import GlasspostError, NotFound
from glasspost.mail.address import Address, a_label, address_from_text
from glasspost.storage.database import Connection, Database
from glasspost.storage.entries import (
    QUERIES,
    Alias,
    AlreadyThere,
    Domain,
    StillInUse,
    account_at,
    account_from,
    alias_text,
    domain_label,
    must_have_domain,
    nearest,
    nearest_in,
    one_account,
)
from glasspost.storage.lock import Lock
from glasspost.storage.passwords import SignInBusy
from glasspost.storage.resolution import (
    CATCH_ALL,
    Account,
    Disabled,
    Entry,
    Local,
    LookUp,
    NoSuchUser,
    NotLocal,
    Resolution,
    fold,
    is_own_literal,
    resolve_postmaster,
    resolve_user,
)

__all__ = [
    "Account",
    "Alias",
    "AlreadyThere",
    "Directory",
    "Disabled",
    "Domain",
    "Local",
    "NoSuchUser",
    "NotLocal",
    "Resolution",
    "SignInBusy",
    "StillInUse",
]

T = TypeVar("T")
_REMEMBERED_LIMIT = 65_536  # resolutions; strangers may ask for as many names as they like


class Directory:
    """The directory file. Reading and `sign_in` belong to the event loop; the functions that change are for
    the command line: they return when the change is on disk."""

    def __init__(
        self,
        path: Path,
        *,
        hosts: frozenset[str] = frozenset(),
        postmaster: Address | None = None,
        clock: Clock | None = None,
        look_again: float = 0.002,
    ) -> None:
        """Opens or creates the file. Raises StoreError.

        `hosts`: names and literals of this house itself, in comparable form, at which only the postmaster
        lives. `postmaster`: who that is, where a domain has none of its own. `look_again`: seconds for which
        the file is not asked once more whether it has changed.
        """
        self._database = Database(path, "directory")
        self._database.writer.transaction_mode = "IMMEDIATE"  # two command lines wait for each other, none fails
        self._hosts = hosts
        self._postmaster = postmaster
        self._clock = clock or SystemClock()
        self._look_again = look_again
        self._looked = float("-inf")
        self._version = -1
        self._resolved: dict[tuple[Address, str], Resolution] = {}
        self._domains: frozenset[str] | None = None
        self._changing = threading.Lock()
        self.lock = Lock(self._database, self._apply, self.local_domains, self._clock)

    def close(self) -> None:
        """Stop checking passwords, and close the file. Idempotent."""
        self.lock.checker.close()
        self._database.close_now()

    @property
    def hashes(self) -> int:
        """How many passwords were really hashed in order to be checked; the others were remembered."""
        return self.lock.checker.hashes

    # --- looking up -----------------------------------------------------------------------------------------

    def local_domains(self) -> frozenset[str]:
        """The domains whose mail ends here, in comparable form."""
        self._forget_if_changed()
        if self._domains is None:
            rows = self._database.reader.execute(QUERIES.domain_names)
            self._domains = frozenset(row[0] for row in rows)
        return self._domains

    def resolve(self, address: Address, *, separator: str = "+") -> Resolution:
        """Where mail for `address` goes. `separator` parts a user from a detail; empty: there are no
        details."""
        self._forget_if_changed()
        found = self._resolved.get((address, separator))
        if found is None:
            found = self._resolve(self._database.reader, address, separator)
            if len(self._resolved) >= _REMEMBERED_LIMIT:
                self._resolved.clear()
            self._resolved[address, separator] = found
        return found

    def account(self, account_id: int) -> Account | None:
        """The account with this id, or None where it is gone."""
        return one_account(self._database.reader, QUERIES.account_by_id, account_id)

    def account_at(self, address: Address) -> Account:
        """The account with exactly this address. Raises NotFound, with the nearest one there is."""
        return account_at(self._database.reader, address)

    def domains(self) -> list[Domain]:
        return [Domain(*row) for row in self._database.reader.execute(QUERIES.domains)]

    def accounts(self, domain: str = "") -> list[Account]:
        """All accounts, or those of one domain, in the order of their addresses."""
        return [account_from(row) for row in self._database.reader.execute(QUERIES.accounts, (a_label(domain),))]

    def aliases(self, domain: str = "") -> list[Alias]:
        """All aliases, or those of one domain, in the order of their addresses."""
        gathered: dict[str, list[str]] = {}
        for folded, name, target in self._database.reader.execute(QUERIES.aliases, (a_label(domain),)):
            gathered.setdefault(alias_text(folded, name), []).append(target)
        return [Alias(address, tuple(targets)) for address, targets in gathered.items()]

    # --- signing in -----------------------------------------------------------------------------------------

    async def sign_in(self, username: str, password: str, service: str) -> Account | None:
        """The account that this name and password open at a door ("smtp", "pop3"), or None. Raises SignInBusy.

        A user who does not exist and one who is disabled cost the same time as a wrong password.
        """
        opened = await self.lock.password(username, password, service)
        return opened.account if opened is not None else None

    # --- changing -------------------------------------------------------------------------------------------

    def add_domain(self, name: str) -> str:
        """Take mail for this domain from now on. Returns its comparable form. Raises AlreadyThere."""
        label = domain_label(name)
        self._apply(lambda connection: self._add_domain(connection, label))
        return label

    def remove_domain(self, name: str) -> None:
        """Raises NotFound, or StillInUse while it has accounts or aliases."""
        label = a_label(name)

        def job(connection: Connection) -> None:
            must_have_domain(connection, label)
            row: Any = connection.execute(QUERIES.residents, (label,)).fetchone()
            if row[0] or row[1]:
                counts = " and ".join(
                    f"{count} {word if count == 1 else words}"
                    for count, word, words in ((row[0], "account", "accounts"), (row[1], "alias", "aliases"))
                    if count
                )
                raise StillInUse(f"{label} still has {counts}; remove them first")
            connection.execute(QUERIES.remove_domain, (label,))

        self._apply(job)

    def add_account(self, address: Address, password: str, *, quota: int = 0, create_domain: bool = False) -> Account:
        """A new mailbox. Raises AlreadyThere; NotFound where the domain is missing and not to be created."""
        label = domain_label(address.domain)
        if address.local == CATCH_ALL:
            raise GlasspostError("an account needs a name; * is for catch-all aliases")
        stored = self.lock.stored(address, password)

        def job(connection: Connection) -> Account:
            if create_domain and connection.execute(QUERIES.domain_created, (label,)).fetchone() is None:
                self._add_domain(connection, label)
            must_have_domain(connection, label)
            folded = fold(address.local)
            if one_account(connection, QUERIES.account_at, label, folded) is not None:
                raise AlreadyThere(f"{Address(address.local, label)} is there already")
            row = (address.local, folded, label, *stored, quota, self._clock.now())
            connection.execute(QUERIES.add_account, row)
            return account_at(connection, address)

        return self._apply(job)

    def remove_account(self, address: Address) -> int:
        """Remove the account, and return its id: what becomes of its mail is the caller's matter. Raises
        NotFound, or StillInUse where an alias leads to it."""

        def job(connection: Connection) -> int:
            account = account_at(connection, address)
            for folded, name, target in connection.execute(QUERIES.all_targets):
                aim = address_from_text(target)
                if (fold(aim.local), aim.route) == (fold(address.local), address.route):
                    raise StillInUse(f"the alias {alias_text(folded, name)} leads to it; remove that first")
            connection.execute(QUERIES.remove_app_passwords, (account.id,))
            connection.execute(QUERIES.remove_account, (account.id,))
            return account.id

        return self._apply(job)

    def set_password(self, address: Address, password: str) -> None:
        """A new password, from the next sign-in on. Raises NotFound."""
        self._set(address, QUERIES.set_password, *self.lock.stored(address, password))

    def set_enabled(self, address: Address, enabled: bool) -> None:
        """Whether the account takes mail and signs in. Raises NotFound."""
        self._set(address, QUERIES.set_enabled, int(enabled))

    def set_quota(self, address: Address, quota: int) -> None:
        """How many octets the mailbox may hold; 0: any number. Raises NotFound."""
        self._set(address, QUERIES.set_quota, quota)

    def add_alias(self, address: Address, targets: Sequence[Address]) -> Alias:
        """Let `address` lead to `targets` as well. Its local part `*` is the catch-all of its domain.

        Raises NotFound where the domain or a target in a domain of ours is missing, AlreadyThere, and
        GlasspostError where it would lead only in a circle or to too many.
        """
        label, folded = a_label(address.domain), fold(address.local)

        def job(connection: Connection) -> Alias:
            must_have_domain(connection, label)
            there = {row[0] for row in connection.execute(QUERIES.targets, (label, folded))}
            for target in targets:
                text = str(Address(target.local, target.route))
                if text in there:
                    raise AlreadyThere(f"{alias_text(folded, label)} leads to {text} already")
                there.add(text)
                connection.execute(QUERIES.add_target, (folded, label, text))
            for target in targets:
                self._must_lead_somewhere(connection, target, address)
            rows = connection.execute(QUERIES.targets, (label, folded))
            return Alias(alias_text(folded, label), tuple(row[0] for row in rows))

        return self._apply(job)

    def remove_alias(self, address: Address, targets: Sequence[Address] = ()) -> int:
        """Remove these targets, or the whole alias. Returns how many targets went. Raises NotFound."""
        label, folded = a_label(address.domain), fold(address.local)

        def job(connection: Connection) -> int:
            must_have_domain(connection, label)
            before = connection.total_changes()
            if not targets:
                connection.execute(QUERIES.remove_alias, (label, folded))
            for target in targets:
                text = str(Address(target.local, target.route))
                connection.execute(QUERIES.remove_target, (label, folded, text))
            gone = connection.total_changes() - before
            if gone == 0 or (targets and gone < len(targets)):
                wanted = "" if not targets else " with that target"
                names = {row[0] for row in connection.execute(QUERIES.aliases, (label,))}
                raise NotFound(f"no alias {alias_text(folded, label)}{wanted}{nearest(folded, names, label)}")
            return gone

        return self._apply(job)

    # --- inside ---------------------------------------------------------------------------------------------

    def _forget_if_changed(self) -> None:
        moment = time.monotonic()
        if moment - self._looked < self._look_again:
            return
        self._looked = moment
        version = self._database.reader.execute(QUERIES.data_version).get
        if version != self._version:
            self._version = version
            self._forget()

    def _forget(self) -> None:
        self._looked = float("-inf")
        self._domains = None
        self._resolved.clear()

    def _resolve(self, connection: Connection, address: Address, separator: str) -> Resolution:
        domains = frozenset(row[0] for row in connection.execute(QUERIES.domain_names))
        route = address.route
        look_up = _look_up_on(connection)
        ours = not route or route in domains or route in self._hosts or is_own_literal(route)
        if ours and fold(address.local) == "postmaster":
            return resolve_postmaster(route, look_up, domains, separator, lambda: self._stand_ins(connection, route))
        if route not in domains:
            return NotLocal()
        return resolve_user(address, look_up, domains, separator)

    def _stand_ins(self, connection: Connection, route: str) -> list[Address]:
        """Who reads the postmaster's mail where the domain names nobody: the first of these that takes
        mail."""
        found = [] if self._postmaster is None else [self._postmaster]
        found += [Address("postmaster", row[0]) for row in connection.execute(QUERIES.postmasters)]
        for domain in (route, ""):
            oldest = one_account(connection, QUERIES.first_account, domain)
            if oldest is not None:
                found.append(address_from_text(oldest.address))
        return found

    def _must_lead_somewhere(self, connection: Connection, target: Address, alias: Address) -> None:
        """A target that leads nowhere is refused when it is added, not discovered when mail is lost."""
        domains = frozenset(row[0] for row in connection.execute(QUERIES.domain_names))
        found = resolve_user(target, _look_up_on(connection), domains, "+")
        if isinstance(found, NoSuchUser):
            if found.reason:
                raise GlasspostError(f"{alias.local}@{alias.domain} cannot lead to {target}: {found.reason}")
            raise NotFound(f"no account or alias {target}{nearest_in(connection, target)}")

    def _add_domain(self, connection: Connection, label: str) -> None:
        if connection.execute(QUERIES.domain_created, (label,)).fetchone() is not None:
            raise AlreadyThere(f"{label} is there already")
        connection.execute(QUERIES.add_domain, (label, self._clock.now()))

    def _set(self, address: Address, query: str, *values: Any) -> None:
        self._apply(
            lambda connection: connection.execute(query, (*values, account_at(connection, address).id)).fetchall()
        )

    def _apply(self, job: Callable[[Connection], T]) -> T:
        with self._changing:
            done = self._database.apply(job)
        self._forget()
        return done


def _look_up_on(connection: Connection) -> LookUp:
    def look_up(folded: str, domain: str) -> Entry:
        targets = tuple(row[0] for row in connection.execute(QUERIES.targets, (domain, folded)))
        return Entry(targets, one_account(connection, QUERIES.account_at, domain, folded))

    return look_up
