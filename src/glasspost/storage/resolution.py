"""Where a local address leads: the walk from an address over aliases to accounts and outside addresses.

Lives here: `Account`, the values a resolution can have, and the rules of the walk.
Does not live here: the tables (accounts.py), or what is answered to a client (inbound/policy.py).

The rules, in the order in which they are tried for `alice+news@example.org`:

1. the exact name: an alias, else an account, called `alice+news`;
2. the name without its detail: an alias, else an account, called `alice`; `news` is kept as the detail;
3. the domain's catch-all, `*@example.org`.

An alias goes before an account of the same name. If the account shall keep getting the mail, the alias names
itself among its targets: an alias is gone through only once, so the second time the account is meant.

`postmaster` always leads to somebody while there is any account at all (RFC 5321 §4.5.1): see
`resolve_postmaster`.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from glasspost.mail.address import Address, address_from_text

TARGET_LIMIT = 4_000  # accounts and outside addresses one address may lead to
CATCH_ALL = "*"


@dataclass(frozen=True, slots=True)
class Account:
    """A mailbox's owner. `quota` in octets, 0: none. A disabled account takes no mail and signs in
    nowhere."""

    id: int
    address: str
    quota: int
    enabled: bool
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Local:
    """Mail for it is taken, and goes to these accounts and on to these addresses elsewhere (at least one of
    all).

    `skipped` are targets of aliases that lead nowhere or to disabled accounts: worth a note.
    """

    accounts: tuple[Account, ...]
    forwards: tuple[Address, ...] = ()
    detail: str = ""
    skipped: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class NoSuchUser:
    """The domain is ours, the user does not exist. `reason` is private: an alias may be at fault."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Disabled:
    """The account exists and takes no mail."""


@dataclass(frozen=True, slots=True)
class NotLocal:
    """The domain is not ours."""


Resolution = Local | NoSuchUser | Disabled | NotLocal


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in the directory under one name: an alias's targets, an account, both or neither."""

    targets: tuple[str, ...] = ()
    account: Account | None = None


# (folded local part, comparable domain) -> what stands there
LookUp = Callable[[str, str], Entry]


def fold(local: str) -> str:
    """The form in which local parts are compared: NFC, then without case. We are the final host, and may
    (RFC 5321 §2.4); two mailboxes that differ only in case would help nobody."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())


def is_own_literal(route: str) -> bool:
    """Whether this is an address literal (RFC 5321 §4.1.3) of the machine itself, such as [127.0.0.1]."""
    if not (route.startswith("[") and route.endswith("]")):
        return False
    try:
        return ipaddress.ip_address(route[1:-1].removeprefix("ipv6:")).is_loopback
    except ValueError:
        return False


def resolve_user(address: Address, look_up: LookUp, domains: frozenset[str], separator: str) -> Resolution:
    """Walk from `address`, whose domain is ours, to all it leads to. Each target comes once, in a stable
    order."""
    accounts: dict[int, Account] = {}
    forwards: dict[tuple[str, str], Address] = {}
    skipped: list[Address] = []
    walked: set[tuple[str, str]] = set()
    first_detail: str | None = None
    disabled = False
    waiting = deque([address])
    while waiting:
        if len(accounts) + len(forwards) + len(waiting) > TARGET_LIMIT:
            return NoSuchUser(f"its alias leads to more than {TARGET_LIMIT} addresses")
        here = waiting.popleft()
        route = here.route
        if route not in domains:
            forwards[here.local, route] = here
            continue
        entry, detail = _find(here.local, route, look_up, separator, walked)
        first_detail = detail if first_detail is None else first_detail
        if entry.targets:
            waiting.extend(address_from_text(target) for target in entry.targets)
        elif entry.account is not None and entry.account.enabled:
            accounts[entry.account.id] = entry.account
        else:
            disabled = disabled or entry.account is not None
            skipped.append(here)
    if accounts or forwards:
        return Local(tuple(accounts.values()), tuple(forwards.values()), first_detail or "", tuple(skipped))
    if disabled:
        return Disabled()
    return NoSuchUser("its alias leads nowhere" if walked else "")


def resolve_postmaster(
    route: str,
    look_up: LookUp,
    domains: frozenset[str],
    separator: str,
    stand_ins: Callable[[], list[Address]],
) -> Resolution:
    """Who reads the postmaster's mail: of the domain `route`, or of the house ("" or one of its own names).

    First what the domain itself says: an account or alias `postmaster`, or its catch-all. Where that leads
    nowhere, the first stand-in that takes mail (accounts.py: the configured one, another domain's
    postmaster, the oldest account of the domain, the oldest of all).
    """
    if route in domains:
        found = resolve_user(Address("postmaster", route), look_up, domains, separator)
        if isinstance(found, Local):
            return found
    for address in stand_ins():
        found = resolve_user(address, look_up, domains, separator)
        if isinstance(found, Local):
            return found
    return NoSuchUser("there is no account to be postmaster")


def _find(local: str, route: str, look_up: LookUp, separator: str, walked: set[tuple[str, str]]) -> tuple[Entry, str]:
    """The first entry that one of the rules gives, and the detail it left over."""
    name = fold(local)
    at = name.find(separator, 1) if separator else -1
    candidates = [(name, "")]
    if at > 0:
        # The detail is cut from the local part as written where folding left its length alone.
        written = local if len(local) == len(name) else name
        candidates.append((name[:at], written[at + len(separator) :]))
    candidates.append((CATCH_ALL, ""))
    for candidate, detail in candidates:
        entry = look_up(candidate, route)
        if entry.targets and (candidate, route) not in walked:
            walked.add((candidate, route))
            return Entry(entry.targets), detail
        if entry.account is not None:
            return Entry((), entry.account), detail
    return Entry(), ""
