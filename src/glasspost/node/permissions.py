"""Who else on this machine could read what is nobody's business, or change it.

Lives here: looking at the permissions of secrets and of the data folder, with every folder on the way to them.
Does not live here: what the files are for (settings.py), making them with the right permissions (storage/folder.py).

A file counts as open to others where its own permissions let everybody in, and so do those of all folders above it:
a loose file in a closed folder harms nobody.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr

from glasspost.errors import ConfigurationError, Problem, StoreError
from glasspost.node.config import Reading
from glasspost.node.settings import Config
from glasspost.storage.folder import Folder

SECRET_FILES = frozenset(("key", "password_file", "client_secret_file"))  # settings by this name, in whatever section
# Settings whose files are opened while there are root's rights, and never again but at a reload.
_READ_EARLY = frozenset(
    ("tls.certificate", "tls.key", "certificate.certificate", "certificate.key", "bridge.certificate", "bridge.key",
     "smarthost.password_file", "device.password_file", "node.data", "smarthost.socket")
)  # fmt: skip


def open_secrets(reading: Reading) -> list[Problem]:
    """Secrets that everybody on this machine can read: one problem for each, wherever among the settings it is."""
    found: list[Problem] = []
    for steps, value in settings_of(reading.config):
        path = None
        if isinstance(value, Path) and steps[-1] in SECRET_FILES:
            path = value
        elif isinstance(value, SecretStr) and value.get_secret_value():
            origin = reading.origins.get(steps)
            path = Path(origin.file) if origin is not None and not origin.variable else None
        if path is not None and readable_by_all(path):
            found.append(reading.problem(steps, _told(path)))
    return found


def must_be_readable(config: Config) -> None:
    """To be asked when root's rights are gone: raises ConfigurationError where a file of the settings cannot be read
    with what is left. Otherwise it would be found out in the midst of somebody's sign-in, or at the next renewal."""
    found = [
        Problem(
            str(path), 0, key, f"{_who()} cannot read {path}: give it to that user or group, and look at its folders"
        )
        for key, path in _read_late(config)
        if not (_missing(path) or os.access(path, os.R_OK, effective_ids=True))
    ]
    if found:
        raise ConfigurationError(found)


def _read_late(config: Config) -> Iterator[tuple[str, Path]]:
    for steps, value in settings_of(config):
        key = ".".join(str(step) for step in steps if not isinstance(step, int))
        if isinstance(value, Path) and key not in _READ_EARLY:
            yield key, value


def _missing(path: Path) -> bool:
    """What is not there at all is complained about by whoever needs it."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _who() -> str:
    try:
        return f"The user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"The user {os.geteuid()}"


def settings_of(section: object, steps: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Every setting of a configuration, with the way to it: ("smarthost", 0, "key")."""
    if isinstance(section, BaseModel):
        for name in type(section).model_fields:
            yield from settings_of(getattr(section, name), (*steps, name))
    elif isinstance(section, tuple | list):
        for number, one in enumerate(section):
            yield from settings_of(one, (*steps, number))
    else:
        yield steps, section


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
