"""A password for another server, from wherever its owner keeps it; never from the command line.

Lives here: the order in which it is looked for: a file, the environment, the terminal.
Does not live here: what is done with it (protocol/by_hand.py), our own accounts' passwords (directory.py).
"""

from __future__ import annotations

import getpass
import os
import signal
import threading
import warnings
from pathlib import Path

from glasspost.errors import GlasspostError

VARIABLE = "GLASSPOST_PASSWORD"


def read_secret(file: Path | None, prompt: str) -> str | None:
    """The password: the first line of `file`, else what GLASSPOST_PASSWORD holds, else what is typed at the terminal,
    where nothing of it is shown. None where there is no terminal, or nothing was typed. Raises GlasspostError."""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").split("\n")[0].removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise GlasspostError(f"the password cannot be read from {file}: {why}") from None
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    return ask_hidden(prompt)


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
