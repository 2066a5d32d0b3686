"""Tokens that we hold for signing in elsewhere: a file for each in the data folder, oauth/NAME.json.

Lives here: reading and writing the file; nobody but its owner may look into it.
Does not live here: getting tokens (net/token_endpoint.py), when they are renewed (outbound/bearer.py).

A file is replaced as a whole, never changed: whoever reads sees the old one or the new one. A refresh token may be good
for one use only, so the new one is on disk before it is used.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from glasspost.errors import StoreError


@dataclass(frozen=True, slots=True)
class KeptTokens:
    """Times are seconds since the epoch. `refused`: why the issuer renews them no more; empty where it does."""

    refresh_token: str = field(repr=False)
    access_token: str = field(repr=False)
    obtained: float  # when the access token came
    expires: float  # when it ends
    signed_in: float  # when a person signed in
    refused: str = ""


def token_file(data: Path, name: str) -> Path:
    """Where the tokens of an [[oauth_client]] are."""
    return data / "oauth" / f"{name}.json"


def stamp(path: Path) -> tuple[int, int] | None:
    """Tells one version of a file from another; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def read_tokens(path: Path) -> KeptTokens | None:
    """None where there is no file. Raises StoreError where it cannot be used, or others can read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise StoreError(f"{path} can be read by others; sign in anew, and chmod 600 what you copy there")
    try:
        kept = KeptTokens(**json.loads(octets))
        texts = (kept.refresh_token, kept.access_token, kept.refused)
        times = (kept.obtained, kept.expires, kept.signed_in)
    except (ValueError, TypeError):
        raise StoreError(f"{path} is damaged; sign in anew") from None
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(time, (int, float)) for time in times):
        raise StoreError(f"{path} is damaged; sign in anew")
    return kept


def write_tokens(path: Path, kept: KeptTokens) -> None:
    """Put the file in place, on the disk when this returns. Raises StoreError."""
    new = path.with_suffix(f".{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        new.unlink(missing_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(kept), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None
