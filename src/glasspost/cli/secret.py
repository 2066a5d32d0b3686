"""A password for another server, from wherever its owner keeps it; never from the command line.

Lives here: the options of `send`, `talk` and `replay` that say where it is, and the order in which it is looked for:
a file, a variable of the environment, the keyring, `GLASSPOST_PASSWORD`, the terminal. What stands on a command line
every user of the machine can read.
Does not live here: what is done with it (send_way.py, protocol/by_hand.py), our own accounts' passwords (directory.py).
"""

from __future__ import annotations

import getpass
import os
import signal
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from glasspost.cli.directory import Mistyped
from glasspost.errors import GlasspostError, NotFound

VARIABLE = "GLASSPOST_PASSWORD"

PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FILE", help="Read the password from the first line of a file."),
]
PasswordEnv = Annotated[
    str,
    typer.Option("--password-env", metavar="NAME", help="Read the password from this variable of the environment."),
]
PasswordKeyring = Annotated[
    str,
    typer.Option("--password-keyring", metavar="SERVICE", help="Read the password from the desktop's keyring."),
]


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """Where a password is kept, as the options say it; where they say nothing, GLASSPOST_PASSWORD or its owner's
    head. Raises Mistyped where they name several places."""

    file: Path | None = None
    variable: str = ""
    keyring: str = ""

    def __post_init__(self) -> None:
        if [bool(self.file), bool(self.variable), bool(self.keyring)].count(True) > 1:
            raise Mistyped("one of --password-file, --password-env and --password-keyring is enough")

    def __bool__(self) -> bool:
        """Whether an option names a place."""
        return bool(self.file or self.variable or self.keyring)

    def read(self, username: str, prompt: str) -> str | None:
        """The password. What is typed for it at the terminal is not shown. None where no option names a place, the
        variable is not set, and there is no terminal, or nothing was typed. Raises GlasspostError where the place
        that was named has none."""
        if self.file is not None:
            return _from_file(self.file)
        if self.variable:
            password = os.environ.get(self.variable, "")
            if not password:
                raise Mistyped(f"the environment has no variable {self.variable}, or an empty one")
            return password
        if self.keyring:
            return _from_keyring(self.keyring, username)
        return os.environ.get(VARIABLE) or ask_hidden(prompt)


def _from_file(path: Path) -> str:
    try:
        password = path.read_text(encoding="utf-8").split("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise GlasspostError(f"the password cannot be read from {path}: {why}") from None
    if not password:
        raise GlasspostError(f"the first line of {path} is empty: there is no password in it")
    return password


def _from_keyring(service: str, username: str) -> str:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise GlasspostError("the keyring needs one package more: pip install 'glasspost[keyring]'") from None
    try:
        password = keyring.get_password(service, username)
    except keyring.errors.KeyringError as error:
        raise GlasspostError(f"the keyring cannot be read: {error}") from None
    if not password:
        raise NotFound(f"the keyring has no password of {username} for {service}; `keyring set {service} {username}`")
    return password


def ask_hidden(prompt: str) -> str | None:
    """What somebody types at the terminal, without showing it; None where nobody can, or it was called off."""
    before = None
    if threading.current_thread() is threading.main_thread():
        # An event loop hears of Ctrl-C only when it runs; while somebody types it does not.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # rather not at all than visibly
            return getpass.getpass(prompt) or None
    except (EOFError, OSError, KeyboardInterrupt, getpass.GetPassWarning):
        return None
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
