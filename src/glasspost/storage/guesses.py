"""Wrong passwords, counted: who has to wait, and who is shut out for a while.

Lives here: the counts by address, network, account, and pair of address and account, in a file of their own
(limits.db) that the command line reads and clears while nodes run, and all processes of a node share.
Does not live here: checking a password (lock.py), waiting and answering (sign_in.py), what the numbers are
(node/sign_in_settings.py).

The rules:

- A count halves every ten minutes. A wait grows with it, 0.5 s, 1 s, 2 s; at the limit comes the lockout.
- The wait comes before the check, so that hanging up early tells nothing.
- Who has signed in to an account from an address is known there: for that pair nothing counts but the pair's own
  failures. Strangers who guess at an account's name never lock out its owner.
- Names that nobody has are counted like others: being shut out tells nobody who exists.
- An address of an IPv6 customer is a /64, his network the /48; of IPv4, the address and its /24.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from glasspost.clock import Clock, SystemClock
from glasspost.ip import IpNetwork, counted_as, is_within, surroundings
from glasspost.storage.database import Connection, Database
from glasspost.storage.sql import Queries

T = TypeVar("T")
QUERIES = Queries("sqlite", "limits")
HALF_LIFE = 600.0  # seconds in which a count halves
KNOWN_SECONDS = 60 * 86_400.0  # how long a pair that has signed in is known
NOTE_AGAIN_SECONDS = 3_600.0  # a pair that keeps signing in is written down so often
SAME_AGAIN = 0.1  # what the same wrong password counts, the second time: a forgotten client, not a guess
_MOST_ROWS = 100_000  # of either table
_TIDY_EVERY = 1_000  # failures
_FIRST_WAIT = 0.5


@dataclass(frozen=True, slots=True)
class GuessSettings:
    """How many failures make a lockout, and how long things take, in seconds. 0 failures: that count is not used."""

    per_address: int = 10
    per_network: int = 50
    per_account: int = 100
    lockout: float = 900.0
    longest_wait: float = 10.0
    exempt: tuple[IpNetwork, ...] = ()  # their addresses and networks are not counted: many users come from there


@dataclass(frozen=True, slots=True)
class Standing:
    """How somebody stands who wants to sign in: shut out by what ("address", "network", "account", "pair"; empty: not
    at all), or made to wait so many seconds. `queue`: those with the same are checked one after the other."""

    shut_out: str
    wait: float
    queue: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One count, as it stands now. `until`: shut out until then; 0: not."""

    kind: str
    name: str
    count: float
    last: float
    until: float


class Guesses:
    """The file limits.db. Each call is a few rows, and does not wait for the disk: after a power cut the last counts
    may be missing."""

    def __init__(self, path: Path, settings: GuessSettings | None = None, clock: Clock | None = None) -> None:
        """Opens or creates the file. Raises StoreError."""
        self._database = Database(path, "limits", durable=False)
        self._database.writer.transaction_mode = "IMMEDIATE"
        self._settings = settings or GuessSettings()
        self._clock = clock or SystemClock()
        self._noted: dict[str, float] = {}
        self._since_tidy = 0

    def close(self) -> None:
        self._database.close_now()

    # --- for the door -----------------------------------------------------------------------------------------

    def standing(self, ip: str, account: str) -> Standing:
        """Whether this address may try this account name now, and after what wait. The name is empty where a token is
        to tell it: then only the address counts."""
        subjects = self._subjects(ip, account)
        address, pair = units(ip)[0], subjects.get("pair", "")
        if self._is_known(pair):
            subjects = {"pair": pair}
        worst, shut_out = 0.0, ""
        for kind, name in subjects.items():
            failure = self._read(self._database.reader, kind, name)
            if failure.until > self._clock.now():
                shut_out = shut_out or kind
            limit = self._limit(kind)
            # Ten failures of one address weigh as much as a hundred at one account.
            worst = max(worst, failure.count * self._settings.per_address / limit if limit else 0.0)
        wait = min(self._settings.longest_wait, _FIRST_WAIT * 2 ** (round(worst) - 1)) if worst >= 0.5 else 0.0
        return Standing(shut_out, wait, (address if "address" in subjects else pair) or address)

    def wrong(self, ip: str, account: str, *, weight: float = 1.0) -> list[str]:
        """A failure. Returns what is shut out from now on, as words for the transcript; mostly nothing."""
        now, settings = self._clock.now(), self._settings
        subjects = self._subjects(ip, account)
        if self._is_known(subjects.get("pair", "")):
            subjects = {"pair": subjects["pair"]}

        def job(connection: Connection) -> list[str]:
            shut = []
            for kind, name in subjects.items():
                before = self._read(connection, kind, name)
                count, until, limit = before.count + weight, before.until, self._limit(kind)
                if limit and count >= limit - 0.05 and until <= now:  # it has halved a little since the first
                    until = now + settings.lockout
                    shut.append(f"{kind} {name}")
                connection.execute(QUERIES.put_failure, (kind, name, count, now, until))
            self._tidy(connection, now)
            return shut

        return self._database.apply(job)

    def right(self, ip: str, account: str) -> None:
        """They are who they say: known from now on, and the pair's failures are forgotten."""
        pair, now = self._subjects(ip, account)["pair"], self._clock.now()
        failed = self._read(self._database.reader, "pair", pair).count > 0
        if not failed and self._noted.get(pair, 0.0) > now - NOTE_AGAIN_SECONDS:
            return
        if len(self._noted) >= _MOST_ROWS:
            self._noted.clear()
        self._noted[pair] = now

        def job(connection: Connection) -> None:
            connection.execute(QUERIES.put_acquaintance, (pair, now))
            if failed:
                connection.execute(QUERIES.put_failure, ("pair", pair, 0.0, now, 0.0))

        self._database.apply(job)

    # --- for the command line ---------------------------------------------------------------------------------

    def failures(self) -> list[Failure]:
        """What is counted now, whoever is shut out first."""
        rows: Any = self._database.reader.execute(QUERIES.failures)
        found = [self._now(*row) for row in rows]
        return [one for one in found if one.count >= 0.1 or one.until]

    def clear(self, name: str) -> int:
        """Forget the failures of an address, network or account, and of its pairs. Returns how many counts went."""
        escaped = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return self._removed(lambda connection: connection.execute(QUERIES.clear, (name, escaped)))

    def clear_all(self) -> int:
        return self._removed(lambda connection: connection.execute(QUERIES.clear_all))

    # --- inside -----------------------------------------------------------------------------------------------

    def _removed(self, change: Callable[[Connection], object]) -> int:
        def job(connection: Connection) -> int:
            before = connection.total_changes()
            change(connection)
            return connection.total_changes() - before

        return self._database.apply(job)

    def _subjects(self, ip: str, account: str) -> dict[str, str]:
        """Who is counted, by kind."""
        address, network = units(ip)
        subjects = {"pair": f"{address} {account}", "account": account} if account else {}
        if not is_within(ip, self._settings.exempt):
            subjects |= {"address": address, "network": network}
        return subjects

    def _limit(self, kind: str) -> int:
        settings = self._settings
        limits = {"network": settings.per_network, "account": settings.per_account}
        return limits.get(kind, settings.per_address)

    def _is_known(self, pair: str) -> bool:
        row: Any = self._database.reader.execute(QUERIES.acquaintance, (pair,)).fetchone()
        return row is not None and row[0] > self._clock.now() - KNOWN_SECONDS

    def _read(self, connection: Connection, kind: str, name: str) -> Failure:
        row: Any = connection.execute(QUERIES.failure, (kind, name)).fetchone()
        return self._now(kind, name, *row) if row else Failure(kind, name, 0.0, 0.0, 0.0)

    def _now(self, kind: str, name: str, count: float, last: float, until: float) -> Failure:
        """A row as it stands now. A clock that was set back makes nothing grow, nor last much longer."""
        now = self._clock.now()
        count *= 0.5 ** (max(0.0, now - last) / HALF_LIFE)
        running = now < until and last <= now + HALF_LIFE
        return Failure(kind, name, count, last, until if running else 0.0)

    def _tidy(self, connection: Connection, now: float) -> None:
        self._since_tidy += 1
        if self._since_tidy < _TIDY_EVERY:
            return
        self._since_tidy = 0
        connection.execute(QUERIES.forget_failures, (now - 10 * HALF_LIFE, now))
        connection.execute(QUERIES.shorten_failures, (_MOST_ROWS,))
        connection.execute(QUERIES.forget_acquaintances, (now - KNOWN_SECONDS,))
        connection.execute(QUERIES.shorten_acquaintances, (_MOST_ROWS,))


def units(ip: str) -> tuple[str, str]:
    """What an address is counted as, and its network: the address and its /24, or the /64 and the /48 (IPv6)."""
    near, around = counted_as(ip), surroundings(ip)
    if ":" not in near or around == ip:  # IPv4, or no address at all
        return near, around
    return f"{near}/64", around
