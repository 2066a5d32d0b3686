"""What can go wrong in the house, as types.

Lives here: the exceptions that cross rooms, and the exit codes of the command line.
Does not live here: refusals. A refused command is a `Reply` (mail/reply.py), a failed delivery an `Outcome`
(mail/envelope.py): values, because they are business as usual. An exception means that somebody outside the
conversation must act: the operator, the disk, or the author.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every `glasspost` command, documented in docs/commands.md."""

    OK = 0
    FAILED = 1  # the command was understood, and could not be carried out
    USAGE = 2  # the command line itself is wrong
    NOT_FOUND = 3  # what was named does not exist
    CONFIGURATION = 4  # the configuration file is wrong
    STORE = 5  # the store cannot be opened, read or written
    BUSY = 6  # another process holds what is needed (a port, the data folder)
    REFUSED = 7  # another server said no
    UNREACHABLE = 8  # no conversation with another server, or it ended early: not reached, TLS failed, silent, gone


class GlasspostError(Exception):
    """Something the operator must know, in one line that says what to do."""

    exit_code = Exit.FAILED


class NotFound(GlasspostError):
    """What was named does not exist."""

    exit_code = Exit.NOT_FOUND


class StoreError(GlasspostError):
    """The store cannot be used. The message names the file and the cause."""

    exit_code = Exit.STORE


class StoreFull(StoreError):
    """No room left on the disk: what was asked was not stored; later there may be room again."""


class StoreBroken(StoreError):
    """A write or fsync failed in a way after which nothing in this process may trust the store again."""


class Busy(GlasspostError):
    """Another process holds what is needed."""

    exit_code = Exit.BUSY


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration file.

    `line` counts from 1; 0 where no line can be named (a value from the environment, a missing table).
    """

    file: str
    line: int
    key: str
    reason: str
    nearest: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        hint = f' Did you mean "{self.nearest}"?' if self.nearest else ""
        return f"{place}: {self.key}: {self.reason}{hint}"


class ConfigurationError(GlasspostError):
    """The configuration is wrong. Carries every problem found, not only the first."""

    exit_code = Exit.CONFIGURATION

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))
