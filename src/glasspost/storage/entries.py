"""What stands in the directory: domains, accounts, aliases, as rows become them.

Lives here: reading single entries from the tables, on whichever connection is handed in, and what is said
where one is missing, with the nearest there is.
Does not live here: `Directory`, the whole (accounts.py).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glasspost.errors import GlasspostError, NotFound
from glasspost.mail.address import Address, a_label
from glasspost.storage.database import Connection
from glasspost.storage.resolution import CATCH_ALL, Account, fold
from glasspost.storage.sql import Queries

QUERIES = Queries("sqlite", "directory")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,255}}\Z){_LABEL}(?:\.{_LABEL})*")


class AlreadyThere(GlasspostError):
    """What was to be added exists."""


class StillInUse(GlasspostError):
    """What was to be removed is still needed by something, which the message names."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain whose mail ends here, and how much is in it."""

    name: str
    created: float
    accounts: int
    aliases: int


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that leads to others. `*@domain` is the catch-all."""

    address: str
    targets: tuple[str, ...]


def account_from(row: Sequence[Any]) -> Account:
    """An account from a row of any query that gives accounts."""
    number, local, domain, quota, enabled, created = row
    return Account(number, str(Address(local, domain)), quota, bool(enabled), created)


def one_account(connection: Connection, query: str, *keys: object) -> Account | None:
    """The account that `query` gives for these keys, if any."""
    row: Any = connection.execute(query, keys).fetchone()
    return None if row is None else account_from(row)


def account_at(connection: Connection, address: Address) -> Account:
    """The account with exactly this address. Raises NotFound."""
    label = a_label(address.domain)
    found = one_account(connection, QUERIES.account_at, label, fold(address.local))
    if found is None:
        must_have_domain(connection, label)
        raise NotFound(f"no account {Address(address.local, label)}{nearest_in(connection, address)}")
    return found


def alias_text(folded: str, domain: str) -> str:
    """An alias's address, as it is printed."""
    return f"{CATCH_ALL}@{domain}" if folded == CATCH_ALL else str(Address(folded, domain))


def domain_label(name: str) -> str:
    """The comparable form of a domain somebody typed. Raises GlasspostError where it is none."""
    label = a_label(name.strip())
    if not _DOMAIN.fullmatch(label):
        raise GlasspostError(f'"{name}" is not a domain name')
    return label


def must_have_domain(connection: Connection, label: str) -> None:
    """Raises NotFound where the domain is not ours."""
    if connection.execute(QUERIES.domain_created, (label,)).fetchone() is None:
        names = {row[0] for row in connection.execute(QUERIES.domain_names)}
        raise NotFound(f"no domain {label} here{nearest(label, names)}; add it: glasspost domain add {label}")


def nearest_in(connection: Connection, address: Address) -> str:
    """A hint at the name of this domain most like this one; empty where none is."""
    label = a_label(address.domain)
    names = {row[0] for row in connection.execute(QUERIES.names_in, (label,))}
    return nearest(fold(address.local), names, label)


def nearest(name: str, names: set[str], domain: str = "") -> str:
    """A hint at the name most like this one; empty where none is."""
    close = difflib.get_close_matches(name, names, n=1)
    if not close:
        return ""
    return f" (did you mean {close[0]}{'@' if domain else ''}{domain}?)"
