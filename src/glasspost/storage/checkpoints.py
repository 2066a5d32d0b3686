"""The WAL's way into the file, beside the writing.

Lives here: when what was committed is copied from the WAL into the file, and by whom.
Does not live here: commits (database.py), connections (sqlite.py).

SQLite would have the commit that makes the WAL too long copy all of it: 16 MB, some hundredths of a second, in which
everybody waits for the writer. Here a thread of its own copies while the writer goes on; what the writer has added
meanwhile is copied in further rounds, each shorter than the last. The little that is left then the writer copies
itself, between two commits: with nothing left to copy, its next commit begins the WAL anew.

Whoever reads an old state of the file holds this up, and nothing else: the WAL grows until he has finished.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import apsw

from glasspost.errors import StoreBroken, StoreError
from glasspost.storage.sqlite import CHECKPOINT_PAGES, open_connection, translate

_LOOK_EVERY = 8  # commits: to ask for the length costs a trip into SQLite
_ROUNDS = 4  # beside the writer, at most
_LITTLE = 500  # pages that the writer may copy itself


class Checkpoints:
    """Those of one file. `start` it before the writer's thread, `stop` it after that has ended."""

    def __init__(self, writer: apsw.Connection, path: Path, on_broken: Callable[[StoreBroken], None]) -> None:
        """`on_broken` hears, in one of the two threads, that the disk did not do what it was told."""
        self._writer = writer
        self._path = path
        self._on_broken = on_broken
        self._begin: SimpleQueue[bool] = SimpleQueue()  # False: stop
        self._thread: threading.Thread | None = None
        self._copying = False  # the thread is at it
        self._copied = False  # and has done its part
        self._looks = 0
        self._due = CHECKPOINT_PAGES  # when as many pages have been written in all

    def start(self) -> None:
        """From now on no commit copies anything by itself."""
        self._writer.execute("PRAGMA wal_autocheckpoint = 0")
        self._thread = threading.Thread(target=self._run, name=f"checkpoints of {self._path.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for the copying that is under way."""
        if self._thread is not None:
            self._begin.put(False)
            self._thread.join()
            self._thread = None

    # --- the writer's thread ----------------------------------------------------------------------------------

    def look(self) -> None:
        """After a commit: is it time to begin, or to do the rest?"""
        self._looks += 1
        if self._copied:
            self._copied = False
            left = self._copy(self._writer)
            self._due = self._written() + (CHECKPOINT_PAGES // 4 if left else CHECKPOINT_PAGES)
        elif self._looks % _LOOK_EVERY == 0 and not self._copying and self._written() >= self._due:
            self._copying = True
            self._begin.put(True)

    def _written(self) -> int:
        """Pages that the writer has written into the WAL, ever."""
        return self._writer.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]

    # --- the thread beside it ---------------------------------------------------------------------------------

    def _run(self) -> None:
        connection: apsw.Connection | None = None
        while self._begin.get():
            try:
                connection = connection or open_connection(self._path, durable=True)
                before = 0
                for _ in range(_ROUNDS):
                    long, copied = connection.wal_checkpoint()
                    if copied < long or copied - before < _LITTLE:
                        break
                    before = copied
            except (apsw.Error, StoreError) as error:
                self._failed(error)
            self._copied, self._copying = True, False
        if connection is not None:
            connection.close()

    # --- both -------------------------------------------------------------------------------------------------

    def _copy(self, connection: apsw.Connection) -> bool:
        """Copy what can be copied. Whether something is left."""
        try:
            long, copied = connection.wal_checkpoint()
        except apsw.Error as error:
            self._failed(error)
            return True
        return copied < long

    def _failed(self, error: Exception) -> None:
        """A full disk or a locked file is no harm: all of it is in the WAL. A disk that fails is the end."""
        fault = translate(error, self._path)
        if isinstance(fault, StoreBroken):
            self._on_broken(fault)
