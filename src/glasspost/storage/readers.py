"""Who may read the record: the node's own user, and, where one is named, a Unix group.

Lives here: giving the record's files to that group, and taking them back.
Does not live here: what is masked in them (masking.py). Whoever may read a file reads all of it: on one machine the
kernel decides who looks through the glass, not a program that the reader runs himself.

The group gets the record and nothing else: it may pass through the data folder without seeing what is in it, and spool,
directory and the key of masked addresses stay closed to it.
"""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

from glasspost.errors import ConfigurationError, Problem, StoreError
from glasspost.storage.folder import Folder

_OWNER_ONLY, _GROUP_READS = 0o600, 0o640
_FOLDER_CLOSED, _FOLDER_PASSED = 0o700, 0o710


def grant(folder: Folder, group: str) -> None:
    """Make the record readable for a group, or, where it is empty, for nobody but its owner. Raises
    ConfigurationError where there is no such group, StoreError where this user may not give files to it."""
    number = group_number(group) if group else -1
    record = [folder.transcripts, *(Path(f"{folder.transcripts}{end}") for end in ("-wal", "-shm"))]
    try:
        for path in folder.path.iterdir():
            if path in record:
                _give(path, number, _GROUP_READS if group else _OWNER_ONLY)
            elif group and path.is_file():
                path.chmod(
                    path.stat().st_mode & ~0o077
                )  # the folder is passable now: everything else is shut by itself
        _give(folder.path, number, _FOLDER_PASSED if group else _FOLDER_CLOSED)
    except PermissionError:
        raise StoreError(
            f'transcripts.readers: files cannot be given to the group "{group}": '
            "the user that runs the node must be in it"
        ) from None


def group_number(name: str) -> int:
    """Raises ConfigurationError where there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        problem = Problem("configuration", 0, "transcripts.readers", f'there is no group "{name}" on this machine')
        raise ConfigurationError([problem]) from None


def _give(path: Path, group: int, mode: int) -> None:
    """Group and mode, only where they are not as they should be: somebody may have chosen a folder's mode himself."""
    now = path.stat()
    if group >= 0 and now.st_gid != group:
        os.chown(path, -1, group)
    if group >= 0 or stat.S_IMODE(now.st_mode) in (_GROUP_READS, _FOLDER_PASSED):
        path.chmod(mode)
