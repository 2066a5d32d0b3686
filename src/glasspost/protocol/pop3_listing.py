"""The maildrop as one POP3 session sees it: message-numbers, marks, listings.

Lives here: which message has which number, which are marked as deleted, and the three listings of RFC 1939 §5 and §7
(drop listing, scan listing, unique-id listing): what STAT, LIST, UIDL, DELE and RSET are answered.
Does not live here: the lock, the content, the removal (storage/mailboxes.py), how a long listing is sent
(pop3_server.py).

A maildrop of 100,000 messages opens at once and costs little: the deposits are counted, not walked, until a listing
is asked for, and a listing is made slice by slice, as fast as the reader takes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

from glasspost.mail import pop3_reply as replies
from glasspost.mail.pop3_reply import Pop3Reply

_NUMBER = re.compile(r"[0-9]{1,10}")
_SLICE = 1000  # lines: some 20 KB, under a millisecond of work


class Deposit(Protocol):
    """What a listing needs to know of a message. `octets` is its size as RETR sends it, dots unstuffed."""

    @property
    def uid(self) -> str:
        """1 to 70 characters from `!` to `~`, the same for ever (RFC 1939 §7)."""
        ...

    @property
    def octets(self) -> int: ...


class Listing:
    """The deposits of a locked maildrop, numbered from 1, and the marks that DELE makes.

    Marks live and die with the session: nothing is removed before the UPDATE state (RFC 1939 §6).
    """

    __slots__ = ("_deposits", "_marked", "_octets")

    def __init__(self, deposits: Sequence[Deposit]) -> None:
        self._deposits = deposits
        self._marked: set[int] = set()
        self._octets: int | None = None

    @property
    def last(self) -> int:
        """The highest message-number; a mark does not change it."""
        return len(self._deposits)

    @property
    def count(self) -> int:
        """How many messages are not marked."""
        return len(self._deposits) - len(self._marked)

    @property
    def octets(self) -> int:
        """The sizes of all messages that are not marked; summed up once, then kept up to date."""
        if self._octets is None:
            everything = sum(deposit.octets for deposit in self._deposits)
            self._octets = everything - sum(deposit.octets for deposit in self.marked)
        return self._octets

    @property
    def marked(self) -> list[Deposit]:
        """What is to be removed in the UPDATE state, in order of message-numbers."""
        return [self._deposits[number - 1] for number in sorted(self._marked)]

    def look_up(self, word: str) -> tuple[int, Deposit] | Pop3Reply:
        """The message that an argument names, or the reply that says why there is none."""
        if not _NUMBER.fullmatch(word):
            return replies.NOT_A_NUMBER.saying(last=self.last)
        number = int(word)
        if number in self._marked:
            return replies.ALREADY_MARKED.saying(number=number)
        if not 1 <= number <= self.last:
            return replies.NO_SUCH_MESSAGE.saying(number=number, last=self.last)
        return number, self._deposits[number - 1]

    def mark(self, word: str) -> Pop3Reply:
        """DELE: mark the message that an argument names."""
        found = self.look_up(word)
        if isinstance(found, Pop3Reply):
            return found
        number, deposit = found
        self._marked.add(number)
        if self._octets is not None:
            self._octets -= deposit.octets
        return replies.MARKED.saying(number=number)

    def unmark_all(self) -> Pop3Reply:
        """RSET: take all marks off."""
        if self._octets is not None:
            self._octets += sum(deposit.octets for deposit in self.marked)
        self._marked.clear()
        return replies.UNMARKED.saying(count=self.count)

    def drop_listing(self) -> Pop3Reply:
        """STAT: how many messages are not marked, and their octets."""
        return replies.DROP_LISTING.saying(count=self.count, octets=self.octets)

    def scan_listing(self, word: str) -> Pop3Reply:
        """LIST of one message: number and size."""
        found = self.look_up(word)
        if isinstance(found, Pop3Reply):
            return found
        number, deposit = found
        return replies.SCAN_LISTING.saying(number=number, octets=deposit.octets)

    def unique_id_listing(self, word: str) -> Pop3Reply:
        """UIDL of one message: number and unique-id."""
        found = self.look_up(word)
        if isinstance(found, Pop3Reply):
            return found
        number, deposit = found
        return replies.UNIQUE_ID_LISTING.saying(number=number, uid=deposit.uid)

    def scan_lines(self) -> Iterator[bytes]:
        """LIST: number and size of each message that is not marked, in slices of whole lines."""
        for first, deposits in self._slices():
            yield b"".join(
                b"%d %d\r\n" % (number, deposit.octets)
                for number, deposit in enumerate(deposits, first)
                if number not in self._marked
            )

    def unique_id_lines(self) -> Iterator[bytes]:
        """UIDL: number and unique-id of each message that is not marked, in slices of whole lines."""
        for first, deposits in self._slices():
            yield b"".join(
                b"%d %s\r\n" % (number, deposit.uid.encode())
                for number, deposit in enumerate(deposits, first)
                if number not in self._marked
            )

    def _slices(self) -> Iterator[tuple[int, Sequence[Deposit]]]:
        for start in range(0, len(self._deposits), _SLICE):
            yield start + 1, self._deposits[start : start + _SLICE]
