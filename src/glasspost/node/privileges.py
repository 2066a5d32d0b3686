"""Root for as long as it takes: ports below 1024 and files that only root may read; then a user without rights.

Lives here: `Privileges`: becoming the user for a moment, and for good.
Does not live here: what is done with root's rights (node.py has the order), which user it is (settings.py).

What lies in the data folder belongs to the user, who may have put anything there: root opens nothing in it.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glasspost.errors import ConfigurationError, GlasspostError, Problem, StoreError


@dataclass(frozen=True, slots=True)
class Privileges:
    """What there is to give up. `user` empty: nothing, the process stays who it is."""

    user: str = ""
    uid: int = -1
    gid: int = -1

    @classmethod
    def of(cls, user: str, group: str) -> Privileges:
        """Those that a node with `node.user` and `node.group` has to give up. Raises ConfigurationError where there is
        no such user or group, or where this process cannot become it."""
        if not user:
            return cls()
        uid, gid = identity(user, group)
        if os.geteuid() == uid:
            return cls()  # started as this user, or restarted: there is nothing left to give up
        if os.geteuid() != 0:
            raise _fault("user", f"Cannot become {user}: only root can. Start it as root, or as {user}.")
        return cls(user, uid, gid)

    def make_folder(self, folder: Path) -> None:
        """The data folder, where it is missing, for the user. Raises StoreError."""
        if not self.user or folder.exists():
            return
        try:
            folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                os.fchown(descriptor, self.uid, self.gid)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(f"the data folder {folder} cannot be made: {error.strerror}") from None

    @contextmanager
    def as_user(self) -> Iterator[None]:
        """The user's rights, and no more, for a while."""
        if not self.user:
            yield
            return
        groups = os.getgroups()
        os.initgroups(self.user, self.gid)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def give_up(self) -> None:
        """Become the user, with no way back."""
        if not self.user:
            return
        os.initgroups(self.user, self.gid)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        if 0 in os.getresuid() or 0 in os.getresgid():
            raise GlasspostError(f"root's rights could not be given up; start it as {self.user} instead")
        for needed in (os.__file__, __file__):
            if not os.access(needed, os.R_OK):
                raise GlasspostError(f"{self.user} cannot read {needed}: install Python and glasspost where it can")


def identity(user: str, group: str) -> tuple[int, int]:
    """The numbers of a user and group; without a group the user's own. Raises ConfigurationError where there is none,
    or where it is root: that would give up nothing."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise _fault("user", f"This machine has no user {user}.") from None
    if found.pw_uid == 0:
        raise _fault("user", "Is root itself: name a user of its own, or leave it empty.")
    if not group:
        return found.pw_uid, found.pw_gid
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        raise _fault("group", f"This machine has no group {group}.") from None
    if gid == 0:
        raise _fault("group", "Is root's group: name another, or leave it empty.")
    return found.pw_uid, gid


def _fault(key: str, reason: str) -> ConfigurationError:
    return ConfigurationError([Problem("node", 0, f"node.{key}", reason)])
