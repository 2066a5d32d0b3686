"""The data folder: which files are in it, and who may have it open.

Lives here: the names of the store's files, the lock that keeps two nodes from one folder, and where a running node
can be called.
Does not live here: what is in the files (database.py and the rooms above it).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path

from glasspost.errors import Busy, StoreError


class Folder:
    """A data folder. Made where it is missing; nobody but its owner may look into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    @property
    def spool(self) -> Path:
        return self.path / "spool.db"

    @property
    def directory(self) -> Path:
        return self.path / "directory.db"

    @property
    def limits(self) -> Path:
        return self.path / "limits.db"

    @property
    def transcripts(self) -> Path:
        return self.path / "transcripts.db"

    @property
    def greylist(self) -> Path:
        return self.path / "greylist.db"

    @property
    def transcripts_key(self) -> Path:
        """The key that addresses in the record are masked with, where they are (storage/masking.py)."""
        return self.path / "transcripts.key"

    def files(self) -> tuple[Path, ...]:
        """The store's files."""
        return self.spool, self.directory, self.transcripts

    def make(self) -> None:
        """The folder and the store's files, where they are missing: nobody but their owner may read them, whatever the
        umask. Raises StoreError where the folder cannot be made or written."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the data folder {self.path} cannot be made: {error.strerror}") from None
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise StoreError(f"the data folder {self.path} is not writable")
        for path in self.files():
            if not path.exists():
                self._make_file(path)

    def _make_file(self, path: Path) -> None:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise StoreError(f"{path} cannot be made: {error.strerror}") from None

    def must_exist(self) -> None:
        """For commands that look into a store: do not make one by the way. Raises StoreError."""
        if not self.path.is_dir():
            raise StoreError(f"there is no data folder {self.path}; name it with --data, or start a node first")

    def lock(self) -> None:
        """Take the folder for a running node. The kernel gives it back when the process ends, however it ends.

        Raises Busy where another node has it, StoreError where the lock is nothing that can be opened.
        """
        try:
            self._lock = os.open(self.path / "node.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreError(f"{self.path / 'node.lock'} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = -1
            raise Busy(f"another node is running on {self.path}; stop it, or name another folder with --data") from None
        os.ftruncate(self._lock, 0)

    def announce(self, doors: Iterable[tuple[str, str, int, str]]) -> None:
        """Say where the node that holds the lock can be called: role, address, port, TLS of each door. Others read it
        with `doors`."""
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, json.dumps([list(door) for door in doors]).encode(), 0)

    def doors(self) -> list[tuple[str, str, int, str]]:
        """Where the node that runs on this folder can be called; empty where none runs. What a node that was killed
        left behind stands until another starts: calling tells."""
        try:
            text = (self.path / "node.lock").read_text()
            return [(role, address, port, tls) for role, address, port, tls in json.loads(text or "[]")]
        except (OSError, ValueError):
            return []

    def unlock(self) -> None:
        if self._lock >= 0:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = -1
