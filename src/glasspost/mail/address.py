"""Addresses, as the envelope carries them.

Lives here: the value `Address`, its text forms, and the comparable form of a domain.
Does not live here: reading an address off the wire (protocol/grammar.py), or knowing whether it exists
(storage/accounts.py).

A local part is kept exactly as its owner wrote it (RFC 5321 §2.4: only the final host may interpret it). Quoting is
not part of it: `"a b"@x` and its quoted-pair forms are one mailbox, whose local part is `a b`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import idna

# RFC 5321 §4.1.2 Dot-string, with RFC 6531 §3.3's UTF8-non-ascii.
_DOT_STRING = re.compile(r"[\w!#$%&'*+/=?^`{|}~\u0080-\U0010ffff-]+(?:\.[\w!#$%&'*+/=?^`{|}~\u0080-\U0010ffff-]+)*")
_NEEDS_PAIR = re.compile(r'(["\\])')


@lru_cache(maxsize=65536)
def a_label(domain: str) -> str:
    """The form in which domains are compared and looked up: lower case, A-labels (RFC 5890), no trailing dot.

    An address literal comes back in lower case. A name that IDNA does not know is only lower-cased: whether it exists
    is the resolver's question.
    """
    lowered = domain.rstrip(".").lower()
    if lowered.isascii() or lowered.startswith("["):
        return lowered
    try:
        return idna.encode(lowered, uts46=True).decode("ascii").rstrip(".")  # IDNA knows other full stops, too
    except idna.IDNAError:
        return lowered


@lru_cache(maxsize=4096)
def _quoted(local: str) -> str:
    """A local part as it must be written on the wire."""
    if _DOT_STRING.fullmatch(local):
        return local
    return '"' + _NEEDS_PAIR.sub(r"\\\1", local) + '"'


class Address(NamedTuple):
    """A mailbox (RFC 5321 §4.1.2): local part, without quoting, and domain, as written.

    The null reverse-path is `None`, never an Address. `<Postmaster>`, the one address without a domain
    (RFC 5321 §4.5.1), has an empty domain.
    """

    local: str
    domain: str

    @property
    def route(self) -> str:
        """The domain's comparable form: what routes, limits and directories are keyed by."""
        return a_label(self.domain)

    @property
    def quoted_local(self) -> str:
        """The local part as it must be written on the wire."""
        return _quoted(self.local)

    @property
    def needs_utf8(self) -> bool:
        """Whether only SMTPUTF8 can carry this address (RFC 6531 §3.2): a non-ASCII local part or domain."""
        return not (self.local.isascii() and self.domain.isascii())

    def __str__(self) -> str:
        return f"{self.quoted_local}@{self.domain}" if self.domain else self.quoted_local


def path_text(path: Address | None) -> str:
    """A path as it stands between angle brackets: empty for the null reverse-path."""
    return "" if path is None else str(path)


def address_from_text(text: str) -> Address:
    """The inverse of `str(address)`, for text this house wrote itself (store, command line).

    Raises ValueError where the text is no mailbox. Text from the wire goes through protocol/grammar.py instead.
    """
    local, at, domain = text.rpartition("@")
    if not at:
        local, domain = text, ""
    if local.startswith('"') and local.endswith('"') and len(local) >= 2:
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    elif not _DOT_STRING.fullmatch(local):
        raise ValueError(f"not a mailbox: {text}")
    if at and not domain:
        raise ValueError(f"not a mailbox: {text}")
    return Address(local, domain)


def path_from_text(text: str) -> Address | None:
    """The inverse of `path_text`."""
    return address_from_text(text) if text else None
