"""App passwords: further passwords of an account, one for each program or device.

Lives here: making, listing and revoking them, on whichever connection is handed in.
Does not live here: checking them (passwords.py, lock.py), typing and printing (cli/app_passwords.py).

They are made here and never chosen: 100 bits by chance need no slow hash. What is stored are the keys of SCRAM; the
password itself is shown once. The exception is one that is made for CRAM-MD5: that mechanism is computed from the
password as it is, so it is stored as it is. It opens one account's sending (or fetching), and nothing else.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Literal, get_args

from glasspost.errors import GlasspostError, NotFound
from glasspost.protocol.sasl_scram import MOST_KEYS
from glasspost.storage.database import Connection
from glasspost.storage.entries import QUERIES, AlreadyThere, nearest
from glasspost.storage.scram import Pair, keys_of

Purpose = Literal["send", "fetch", "both"]
DOORS = {"smtp": "send", "pop3": "fetch"}  # what each door is for
MOST = MOST_KEYS - 1  # of one account, besides its own password
LONGEST_NAME = 64
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # no l, o, 0, 1: people type them from one screen into another


@dataclass(frozen=True, slots=True)
class AppPassword:
    """One of an account's further passwords. `plain` is there only where it was made for CRAM-MD5."""

    name: str
    purpose: str
    pair: Pair
    plain: str | None
    created: float

    def opens(self, door: str) -> bool:
        """Whether it is for "smtp" or "pop3"."""
        return self.purpose in ("both", DOORS[door])


def new_password() -> str:
    """Twenty letters in groups of five: 100 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))


def app_passwords(connection: Connection, account_id: int) -> list[AppPassword]:
    """An account's, by name."""
    rows: Any = connection.execute(QUERIES.app_passwords, (account_id,))
    return [
        AppPassword(name, purpose, (stored, server), plain, created)
        for name, purpose, stored, server, plain, created in rows
    ]


def add_app_password(
    connection: Connection, account_id: int, name: str, purpose: str, salt: bytes, now: float, *, cram_md5: bool
) -> str:
    """A new one; returns the password, which is not shown again. Raises AlreadyThere, GlasspostError."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise GlasspostError(f"an app password needs a name of 1 to {LONGEST_NAME} characters")
    if purpose not in get_args(Purpose):
        raise GlasspostError(f'"{purpose}" is no purpose; it is send, fetch or both')
    there = app_passwords(connection, account_id)
    if any(one.name == name for one in there):
        raise AlreadyThere(f'an app password "{name}" is there already; remove it first')
    if len(there) >= MOST:
        raise GlasspostError(f"the account has {MOST} app passwords, and there can be no more; remove one first")
    password = new_password()
    pair = keys_of(password, salt)
    assert pair is not None, "letters and digits"
    row = (account_id, name, purpose, *pair, password if cram_md5 else None, now)
    connection.execute(QUERIES.add_app_password, row)
    return password


def remove_app_password(connection: Connection, account_id: int, name: str) -> None:
    """Revoke it, from the next sign-in on. Raises NotFound."""
    names = {one.name for one in app_passwords(connection, account_id)}
    if name not in names:
        raise NotFound(f'no app password "{name}"{nearest(name, names)}')
    connection.execute(QUERIES.remove_app_password, (account_id, name))
