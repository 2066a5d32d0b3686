"""A disk that can be treated badly: a layer under SQLite that remembers what was not synced yet.

Lives here: power cuts, a full disk, a read-only one, and an fsync that fails, as SQLite's files see them.
Does not live here: when any of it happens (strokes.py), how a node gets it (underneath.py).

What is written goes through to the real file at once, so that reading is as ever and other processes see it; beside it
an undo log keeps what was there before, until the file is synced. A power cut takes back what was not synced: all of
it, or each sector of it by chance, because a disk writes in whatever order it likes and stops in the middle (a torn
write). Three things are as on a real system:

- A sync is about one file. A directory entry is durable once the directory was synced: SQLite does that with the first
  sync of a journal or WAL it made, and with a deletion that asks for it. Until then a new file may be gone, and a
  deleted one back.
- The WAL index (`-shm`) is never durable.
- What a failed fsync was about is lost for good, although a later fsync says all is well.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from dataclasses import dataclass, field
from typing import Any

import apsw

NAME = "tortured"
_WITH_DIRECTORY = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
_CHANCES = (0.0, 0.0, 0.5, 0.9)  # that an unsynced sector is on the disk nevertheless


@dataclass(slots=True)
class Change:
    """What stood in a file before `length` octets were written at `offset`, and how large the file was."""

    offset: int
    length: int
    before: bytes
    size: int


@dataclass(slots=True)
class Unsynced:
    """What a power cut may take back of one file."""

    path: str
    changes: list[Change] = field(default_factory=list)
    lost: list[Change] = field(default_factory=list)  # a sync of these failed: no later one makes up for it

    def synced(self) -> None:
        """All of it is on the disk now; except what an earlier sync lost, unless that was written once more since."""
        if self.lost:
            self.lost = [
                one
                for one in self.lost
                if all(one.offset >= c.offset + c.length or c.offset >= one.offset + one.length for c in self.changes)
            ]
        self.changes.clear()

    def take_back(self, chance: random.Random) -> None:
        """The file as the disk has it: unsynced sectors are there or not, by chance."""
        changes = [*self.lost, *self.changes]
        if not changes or not os.path.exists(self.path):
            return
        survival, sector = chance.choice(_CHANCES), chance.choice((512, 4096))
        file = os.open(self.path, os.O_RDWR)
        try:
            touched = sorted(
                {one for c in changes for one in range(c.offset // sector, (c.offset + c.length - 1) // sector + 1)}
            )
            kept = [one for one in touched if chance.random() < survival]
            now = [(one * sector, os.pread(file, sector, one * sector)) for one in kept]
            for change in reversed(changes):
                os.pwrite(file, change.before, change.offset)
                os.ftruncate(file, change.size)
            for offset, data in now:
                os.pwrite(file, data, offset)
        finally:
            os.close(file)


class Disk(apsw.VFS):
    """The layer. One for the process; all files that SQLite opens by it are under it."""

    def __init__(self, seed: int, name: str = NAME) -> None:
        super().__init__(name, "unix")
        self.lock = threading.RLock()
        self.files: dict[str, Unsynced] = {}
        self.full = False
        self.read_only = False
        self.sync_fails = False
        self._chance = random.Random(seed)
        self._made: set[str] = set()  # new files whose directory entry is not durable
        self._deleted: dict[str, str] = {}  # deleted files whose deletion is not: where a link to them stands
        self._links = 0
        self._syncs_left = 0  # until the power is cut; 0: it is not
        self._cut_after = False

    # --- what SQLite asks -------------------------------------------------------------------------------------

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        with self.lock:
            if self.read_only and flags[0] & (apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE):
                raise apsw.CantOpenError("the disk is read-only")
            return TorturedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self.lock:
            if self.read_only:
                raise apsw.IOError("the disk is read-only")
            if syncdir:
                super().xDelete(filename, syncdir)
                self._made.discard(filename)
                self.directory_synced()
            elif filename in self._made:
                super().xDelete(filename, syncdir)
                self._made.discard(filename)
            else:
                self._links += 1
                link = f"{filename}.deleted-{os.getpid()}-{self._links}"
                if os.path.exists(filename):
                    os.link(filename, link)
                super().xDelete(filename, syncdir)
                self._deleted.setdefault(filename, link)
            self.files.pop(filename, None)

    def opened(self, path: str, is_new: bool) -> Unsynced:
        """A file was opened. All who have it open share what is known of it."""
        if is_new:
            self._made.add(path)
        return self.files.setdefault(path, Unsynced(path))

    def directory_synced(self) -> None:
        """Files made are there, files deleted are gone."""
        self._made.clear()
        for link in self._deleted.values():
            _unlink(link)
        self._deleted.clear()

    # --- power ------------------------------------------------------------------------------------------------

    def cut_at_sync(self, count: int, *, after: bool) -> None:
        """Cut the power at the `count`-th sync from now: in the middle of it, or right after it."""
        with self.lock:
            self._syncs_left, self._cut_after = count, after

    def syncing(self) -> None:
        """A sync begins; called with the lock held."""
        if self._syncs_left and not self._cut_after:
            self._syncs_left -= 1
            if not self._syncs_left:
                self.cut()

    def synced(self) -> None:
        """A sync has ended; called with the lock held."""
        if self._syncs_left and self._cut_after:
            self._syncs_left -= 1
            if not self._syncs_left:
                self.cut()

    def cut(self) -> None:
        """The power is cut: this process ends here, and the disk is what was synced. Does not return.

        A fork does it: first it kills the process, so that nothing sees the disk change under it, then it takes back
        what was not synced. Whoever waits for the end waits until nobody has our standard output open any more.
        """
        self.lock.acquire()  # for ever: nothing is written any more
        victim = os.getpid()
        if os.fork():
            threading.Event().wait()
        try:
            os.kill(victim, signal.SIGKILL)
            while os.getppid() == victim:
                threading.Event().wait(0.001)
            self.take_back()
        finally:
            os._exit(0)

    def take_back(self) -> None:
        """Everything that was not synced, by chance. No file may be open in this process."""
        for unsynced in self.files.values():
            unsynced.take_back(self._chance)
        for path in self._made:
            if self._chance.random() < 0.5:
                _unlink(path)
        for path, link in self._deleted.items():
            if self._chance.random() < 0.5 and os.path.exists(link) and not os.path.exists(path):
                os.rename(link, path)
            else:
                _unlink(link)
        for path in self.files:
            _unlink(f"{path}-shm")

    def end(self) -> None:
        """The process ends in good order, the machine runs on: what a failed fsync was about is gone all the same."""
        with self.lock:
            for unsynced in self.files.values():
                unsynced.changes.clear()
                unsynced.take_back(self._chance)
            self.directory_synced()


class TorturedFile(apsw.VFSFile):
    """One open file."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        is_new = path is not None and not os.path.exists(path)
        wants_directory = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _WITH_DIRECTORY)
        super().__init__("unix", name, flags)
        self._disk = disk
        self._syncs_directory = wants_directory
        self._unsynced = disk.opened(path, is_new) if path is not None else Unsynced("")

    def xWrite(self, data: bytes, offset: int) -> None:
        disk = self._disk
        with disk.lock:
            size = self.xFileSize()
            if disk.read_only:
                raise apsw.IOError("the disk is read-only")
            if disk.full and offset + len(data) > size:
                raise apsw.FullError("no space left on device")
            before = self.xRead(min(len(data), size - offset), offset) if offset < size else b""
            self._unsynced.changes.append(Change(offset, len(data), before, size))
            super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        disk = self._disk
        with disk.lock:
            if disk.read_only:
                raise apsw.IOError("the disk is read-only")
            size = self.xFileSize()
            if newsize < size:
                cut_off = self.xRead(size - newsize, newsize)
                self._unsynced.changes.append(Change(newsize, size - newsize, cut_off, size))
            super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        disk = self._disk
        with disk.lock:
            if disk.sync_fails:
                self._unsynced.lost += self._unsynced.changes
                self._unsynced.changes = []
                disk.sync_fails = False
                raise apsw.IOError("fsync failed")
            disk.syncing()
            super().xSync(flags)
            self._unsynced.synced()
            if self._syncs_directory:
                self._syncs_directory = False
                disk.directory_synced()
            disk.synced()


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
