"""Addresses under pseudonyms: for a record that may be read by people who must not know who writes to whom.

Lives here: the pseudonym of an address, the key it is made with, and finding addresses in a talk.
Does not live here: secrets (protocol/smtp_secrets.py, pop3_secrets.py), which are masked always and before this.

A pseudonym is the beginning of HMAC-SHA-256 over the address, with a key that only the node's own user can read:
`~8c1kq0v3r2@example.org`. The same address always has the same one, so a conversation can be followed, and whoever has
the key can look for an address. Without the key it cannot be found by guessing. It is a pseudonym and not more: who has
the key, or sees one message's way in and knows who sent it, knows the address.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from functools import lru_cache
from pathlib import Path

from glasspost.errors import StoreError
from glasspost.protocol.episodes import REFUSAL, fact

_KEY_OCTETS = 32
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 10  # digits of five bits
# A run of what may stand in a local part, begun where it begins (so that a long line costs one pass); or a quoted one,
# with the run that stands before it, which would be taken for a part of its pseudonym the next time.
# 256 characters are more than the longest local part, which has 64 octets.
_RUN = r"""(?<![^\s<>()\[\],:;"@])[^\s<>()\[\],:;"@]"""
_ADDRESS = re.compile(rf"""({_RUN}*+"(?:[^"\\\n]|\\.){{0,256}}"|{_RUN}++)@((?:[^\W_]|[.-])+|\[[^\]\s]*\])""")
_PSEUDONYM = re.compile(rf"~[{_DIGITS}]{{{_LENGTH}}}")
# Names that need no domain to be somebody's.
_NAMED = re.compile(
    r"^(C[^:\n]*: (?:USER|APOP|VRFY|EXPN) |#[^:\n]*: (?:sign-in refused for|signed in as) '?)([^\s@;']+)(?![^\s;'])",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER = re.compile(r"^(#[^:\n]*: (?:From|To): )(.*)$", re.MULTILINE)


def read_key(path: Path) -> bytes | None:
    """The key in a file; None where there is none, or where it is not ours to read."""
    try:
        key = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return key if len(key) == _KEY_OCTETS else None


def read_or_make_key(path: Path) -> bytes:
    """The key in a file, made where there is none. Raises StoreError."""
    key = read_key(path)
    if key is not None:
        return key
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise StoreError(f"the key of masked addresses, {path}, cannot be used: {error.strerror}") from None
    key = os.urandom(_KEY_OCTETS)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(descriptor)
    return key


class Pseudonyms:
    """The pseudonyms that one key gives."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.local_part = lru_cache(maxsize=4096)(self._local_part)

    def _local_part(self, local: str, domain: str) -> str:
        """What stands for a local part, at a domain. Case and quotes make no difference."""
        if _PSEUDONYM.fullmatch(local):
            return local
        written = local[1:-1] if local[:1] == '"' == local[-1:] and len(local) > 1 else local
        digest = hmac.digest(self._key, f"{written}@{domain}".casefold().encode("utf-8", "replace"), hashlib.sha256)
        number = int.from_bytes(digest[:8], "big")
        return "~" + "".join(_DIGITS[number >> 5 * place & 31] for place in range(_LENGTH))

    def mask(self, text: str) -> str:
        """The text with every address in it under its pseudonym."""
        return _ADDRESS.sub(lambda found: f"{self.local_part(found[1], found[2])}@{found[2]}", text)

    def mask_talk(self, talk: str) -> str:
        """A talk with every address, every name at sign-in, and no display names. What a server says in its own words
        may name a person without the domain: in refusals, local parts of addresses in the same talk are masked too."""
        names: dict[str, str] = {}

        def masked(found: re.Match[str]) -> str:
            local = self.local_part(found[1], found[2])
            names.setdefault(found[1].strip('"').casefold(), local)
            return f"{local}@{found[2]}"

        talk = _HEADER.sub(lambda found: found[1] + ", ".join(m[0] for m in _ADDRESS.finditer(found[2])), talk)
        talk = _ADDRESS.sub(masked, talk)
        talk = _NAMED.sub(lambda found: found[1] + self.local_part(found[2], ""), talk)
        if not names:
            return talk
        either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name)
        bare = re.compile(rf"(?<![\w~])(?:{either})(?![\w@])", re.IGNORECASE)
        return "\n".join(_in_refusal(line, bare, names) for line in talk.split("\n"))


def _in_refusal(line: str, bare: re.Pattern[str], names: dict[str, str]) -> str:
    found = fact(line)
    if found is None or found[0] != REFUSAL:
        return line
    at = line.find(": ") + 6  # behind the code
    return line[:at] + bare.sub(lambda name: names.get(name[0].casefold(), name[0]), line[at:])
