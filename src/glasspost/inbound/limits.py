"""How many may be in the house at once.

Lives here: counting open connections, over all and per address; weighing the messages that are coming in.
Does not live here: limits within one conversation (protocol/smtp_server.py), what mail is taken (policy.py).
"""

from __future__ import annotations

from glasspost.errors import StoreError
from glasspost.ip import counted_as
from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.storage.bodies import Draft


class ConnectionLimits:
    """Open connections of a kind of listener. 0 means no limit. IPv6 clients are counted by their /64."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._open: dict[str, int] = {}
        self.count = 0

    def change(self, total: int, per_address: int) -> None:
        """Other limits, for those who come from now on."""
        self._total = total
        self._per_address = per_address

    def admit(self, ip: str) -> Reply | None:
        """Count a connection in; None, or the reply to turn it away with (it is then not counted)."""
        key = counted_as(ip)
        here = self._open.get(key, 0)
        if self._total and self.count >= self._total:
            return say.TOO_MANY_CONNECTIONS
        if self._per_address and here >= self._per_address:
            return say.TOO_MANY_CONNECTIONS_FROM_YOU
        self.count += 1
        self._open[key] = here + 1
        return None

    def leave(self, ip: str) -> None:
        """A connection that was admitted is gone."""
        key = counted_as(ip)
        self.count -= 1
        left = self._open.get(key, 0) - 1
        if left > 0:
            self._open[key] = left
        else:
            self._open.pop(key, None)


SMALL = 64 * 1024  # octets of a message for which there is room where there is none for a larger one


class Burden:
    """The octets of messages that are coming in and are in memory, over all connections (DESIGN law 8).

    From `limit` on only small messages begin: who says by SIZE that his is larger is told to come later, and does. Of
    those that have begun, whoever has a piece on its way to the disk waits for it. The others cannot wait: nothing of
    theirs would ever be let go. So beyond twice the limit nobody begins, and one that brings more loses its message;
    beyond three times everyone does. What is held is bounded whoever sends, and nobody waits for somebody who might
    wait for him.
    """

    def __init__(self, limit: int = 64_000_000) -> None:
        self.octets = 0
        self._limit = limit

    @property
    def full(self) -> bool:
        """Whether new messages must wait, unless they are small."""
        return self.octets >= self._limit

    def admits(self, declared: int) -> bool:
        """Whether a message may begin. `declared`: its SIZE in octets (RFC 1870), 0 where it was not said."""
        return self.octets < self._limit * (2 if 0 < declared <= SMALL else 1)

    def bears(self, octets: int, under_way: bool) -> bool:
        """Whether a message that has begun may grow by so much. `under_way`: a piece of it is on its way to disk."""
        return self.octets + octets <= (3 if under_way else 2) * self._limit


class Share:
    """What one client's message is of the burden."""

    __slots__ = ("_burden", "_octets")

    def __init__(self, burden: Burden) -> None:
        self._burden = burden
        self._octets = 0

    def add(self, draft: Draft, data: bytes) -> None:
        """The message grows. Where that is too much, it is lost, and its sender hears so at its end (checks.py,
        store_refusal)."""
        if draft.error is None and not self._burden.bears(len(data), draft.under_way):
            draft.spoil(TooMuchAtOnce("too much mail was coming in at once"))
        draft.add(data)
        self.weigh(draft)

    def weigh(self, draft: Draft) -> None:
        """Weigh it again: it has grown, or a piece of it has come to the disk."""
        held = draft.held
        self._burden.octets += held - self._octets
        self._octets = held

    def waits(self, draft: Draft) -> bool:
        """Whether its sender must wait until a piece of it has come to the disk: the house is full, or the disk is
        behind this one."""
        return draft.behind or (self._burden.full and draft.under_way)

    def drop(self, discarded: Draft | None = None) -> None:
        """The message is on the disk; or it was discarded: then pieces of it may still be on their way to the disk,
        and weigh until they are there, or one client could fill the memory with messages that it takes back."""
        self._burden.octets -= self._octets
        self._octets = 0
        if discarded is not None and discarded.held:
            left = Share(self._burden)
            left.weigh(discarded)
            discarded.on_room = lambda: left.weigh(discarded)


class TooMuchAtOnce(StoreError):
    """More is coming in at once than memory is set aside for."""
