"""Run a program of this Python on a slow disk: `python slow_disk.py PROGRAM [argument ...]`.

A layer under SQLite: each sync takes GLASSPOST_SYNC_SECONDS, and each octet written its share of
GLASSPOST_OCTETS_PER_SECOND. Only the files of the store are slow; the program knows nothing of it.
"""

from __future__ import annotations

import os
import runpy
import sys
import time

import apsw

REAL = apsw.vfs_names()[0]
SYNC = float(os.environ.get("GLASSPOST_SYNC_SECONDS", "0.05"))
SPEED = float(os.environ.get("GLASSPOST_OCTETS_PER_SECOND", "20e6"))


class SlowFile(apsw.VFSFile):
    """Pays at the sync for what was written since the last one, as a disk with a cache does."""

    def __init__(self, *given: object) -> None:
        super().__init__(REAL, *given)  # type: ignore[arg-type]
        self.unsynced = 0

    def xWrite(self, data: bytes, offset: int) -> None:
        self.unsynced += len(data)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        time.sleep(SYNC + self.unsynced / SPEED)
        self.unsynced = 0
        super().xSync(flags)


class SlowDisk(apsw.VFS):
    def __init__(self) -> None:
        super().__init__("slow", REAL, makedefault=True)

    def xOpen(self, name: object, flags: list[int]) -> SlowFile:
        return SlowFile(name, flags)


if __name__ == "__main__":
    slow = SlowDisk()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
