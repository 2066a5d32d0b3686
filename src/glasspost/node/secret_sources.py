"""A secret of the configuration: written there, or in a file of its own.

Lives here: where a secret may stand, what of that is too much, and reading it.
Does not live here: which secrets there are (the sections that have them), who else could read the file
(permissions.py).

A section that has a secret has two settings for it: `password` and `password_file`, `client_secret` and
`client_secret_file`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from glasspost.errors import ConfigurationError, Problem


class SecretSource(NamedTuple):
    """The two settings of one secret: `key` as it stands in its section, and what both hold."""

    key: str
    written: SecretStr
    file: Path | None

    @property
    def given(self) -> bool:
        """Whether there is a secret at all."""
        return bool(self.written.get_secret_value()) or self.file is not None

    @property
    def place(self) -> str:
        """The setting that holds it."""
        return self.key if self.file is None else f"{self.key}_file"

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """What is one place too many, as sections tell it."""
        if self.written.get_secret_value() and self.file is not None:
            yield self.key, f"Is given twice: here and in {self.key}_file."

    def read(self, section: str) -> str:
        """The secret; empty where there is none. `section` is whose it is, for the error. Raises ConfigurationError
        where the file cannot be read."""
        if self.file is None:
            return self.written.get_secret_value()
        try:
            return first_line(self.file)
        except (OSError, ValueError) as error:
            raise ConfigurationError([Problem(str(self.file), 0, f"{section}.{self.place}", str(error))]) from None


def first_line(path: Path) -> str:
    """The first line of a password file. Raises OSError or ValueError where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0]:
        raise ValueError("Is empty: its first line must be the password.")
    return lines[0]
