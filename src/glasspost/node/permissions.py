"""Who else on this machine could read what is nobody's business, or change it.

Lives here: looking at the permissions of secrets and of the data folder, with every folder on the way to them.
Does not live here: what the files are for (settings.py), making them with the right permissions (storage/folder.py).

A file counts as open to others where its own permissions let everybody in, and so do those of all folders above it:
a loose file in a closed folder harms nobody.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from glasspost.errors import Problem, StoreError
from glasspost.node.config import Reading
from glasspost.storage.folder import Folder


def open_secrets(reading: Reading) -> list[Problem]:
    """Secrets that everybody on this machine can read: one problem for each."""
    found: list[Problem] = []
    config = reading.config
    if config.tls.key is not None and readable_by_all(config.tls.key):
        found.append(reading.problem(("tls", "key"), _told(config.tls.key)))
    for number, smarthost in enumerate(config.smarthost):
        steps = ("smarthost", number)
        if smarthost.password_file is not None and readable_by_all(smarthost.password_file):
            found.append(reading.problem((*steps, "password_file"), _told(smarthost.password_file)))
        origin = reading.origins.get((*steps, "password"))
        if origin is not None and not origin.variable and readable_by_all(Path(origin.file)):
            found.append(reading.problem((*steps, "password"), _told(Path(origin.file))))
    return found


def check_folder(folder: Folder) -> None:
    """Raises StoreError where others could read the mail in a data folder, or put files into it."""
    if not folder.path.is_dir():
        return
    mode = folder.path.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX and _reachable(folder.path):
        raise StoreError(f"everybody can change the data folder {folder.path}: chmod o-rwx {folder.path}")
    loose = [path for path in folder.files() if readable_by_all(path)]
    if loose:
        raise StoreError(f"everybody can read {loose[0]}, which is mail: chmod o-rwx {folder.path}")


def readable_by_all(path: Path) -> bool:
    """Whether everybody can read a file; not so for one that is not there."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH) and _reachable(path.absolute().parent)
    except OSError:
        return False


def _reachable(folder: Path) -> bool:
    """Whether everybody can pass through a folder and all those above it."""
    return all(one.stat().st_mode & stat.S_IXOTH for one in _upward(folder.resolve()))


def _upward(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.parents


def _told(path: Path) -> str:
    return f"Everybody on this machine can read {path}: chmod o-rwx {path}"
