"""One connection to an SQLite file: how it is opened, what its schema is brought to, what its errors mean.

Lives here: the settings that each connection of ours needs, migrating, and the translation of a failure into what it
means for whoever asked.
Does not live here: who writes when (database.py), folding the WAL into the file (checkpoints.py), any table (sql/).

apsw brings its own SQLite, because Debian 12's has the WAL-reset bug (fixed in 3.51.3).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import apsw

from glasspost.errors import StoreBroken, StoreError, StoreFull
from glasspost.storage.sql import migrations

BUSY_MILLISECONDS = 10_000  # how long one process waits for another's transaction
READER_CACHE = 2_048  # KB of pages
# Of WAL before it is copied into the file: 16 MB. What is synced there is what a commit may have to wait for, too.
CHECKPOINT_PAGES = 4_000
WAL_OCTETS = 100_000_000  # what a WAL keeps of the disk when it begins anew


def open_connection(path: Path, *, durable: bool, cache: int = READER_CACHE) -> apsw.Connection:
    """A connection with the settings that every one of ours needs. Raises StoreError."""
    try:
        connection = apsw.Connection(str(path), statementcachesize=200)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        _go_over_to_wal(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_OCTETS}")
        connection.execute(f"PRAGMA cache_size = -{cache}")
        connection.execute("PRAGMA foreign_keys = OFF")
        return connection
    except apsw.Error as error:
        raise translate(error, path) from error


def _go_over_to_wal(connection: apsw.Connection) -> None:
    """A new file's first connection changes its journal; for this change alone SQLite does not wait for the others
    who are about to do the same, so it is said again."""
    end = time.monotonic() + BUSY_MILLISECONDS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except apsw.BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)


def migrate(connection: apsw.Connection, room: str, path: Path) -> None:
    """Bring the schema up to this program's. Raises StoreError where the file is newer than the program."""
    steps = migrations("sqlite", room)
    try:
        if row(connection, "PRAGMA user_version")[0] == len(steps):
            return
        connection.execute("BEGIN IMMEDIATE")  # another process may be about to do the same
        version = int(row(connection, "PRAGMA user_version")[0])
        if version > len(steps):
            raise StoreError(f"{path} was written by a newer glasspost (schema {version}); use that one")
        for number in range(version, len(steps)):
            connection.execute(steps[number])
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
    except apsw.Error as error:
        raise translate(error, path) from error
    finally:
        roll_back(connection)


def roll_back(connection: apsw.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except apsw.Error:
        pass  # SQLite rolled back by itself; what counts is the first error


def translate(error: Exception, path: Path) -> Exception:
    """What a failure means for whoever asked. Exceptions that are not the store's stay what they are."""
    match error:
        case apsw.FullError():
            return StoreFull(f"no room left on the disk for {path}")
        case apsw.IOError() if "disk is full" in str(error) or "no space" in str(error).lower():
            return StoreFull(f"no room left on the disk for {path}")
        case apsw.IOError() | apsw.CorruptError() | apsw.NotADBError():
            return StoreBroken(f"{path}: {error}; stop and look at the disk before anything else")
        case apsw.BusyError() | apsw.LockedError():
            return StoreError(f"{path} is locked by another process for too long")
        case apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError():
            return StoreError(f"{path} cannot be opened for writing: {error}")
        case apsw.Error():
            return StoreError(f"{path}: {error}")
        case _:
            return error


def rows(connection: apsw.Connection, query: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
    """All rows of a query. What a column holds is the schema's promise (STRICT), not the type checker's."""
    return connection.execute(query, bindings).fetchall()


def row(connection: apsw.Connection, query: str, bindings: tuple[Any, ...] = ()) -> Any:
    """The first row of a query, or None."""
    return connection.execute(query, bindings).fetchone()
