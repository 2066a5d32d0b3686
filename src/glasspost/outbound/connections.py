"""Connections of ours that wait for the next message, and how many there are.

Lives here: which idle connection may carry a message, and for how long it is kept (RFC 5321 §4.5.4.1 leaves that to
the client).
Does not live here: how many connections a destination may have (outbound/scheduler.py decides, by `count`), how one is
opened (remote.py), what is said on it (conversation.py).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from glasspost.outbound.conversation import Conversation
from glasspost.outbound.routes import Host, Route

# What two messages must have in common to share a connection: destination, what TLS had to prove and by whose word, who
# signed in, host.
Place = tuple[str, str, Path | None, bool, str, str, int]


def place_of(route: Route, host: Host) -> Place:
    return (route.key, route.tls, route.ca_file, route.implicit_tls, route.username, host.name, host.port)


@dataclass(frozen=True, slots=True)
class ReuseSettings:
    """How long connections live.

    `idle`: seconds without a message. `messages`: transactions on one connection. `most_idle`: idle connections in
    all; what would exceed it is closed.
    """

    idle: float = 5.0
    messages: int = 1000
    most_idle: int = 500


class Connections:
    """Every connection of this courier: the busy ones are counted, the idle ones kept for a while."""

    def __init__(self, settings: ReuseSettings) -> None:
        self.settings = settings
        self._idle: dict[Place, list[Conversation]] = {}
        self._idle_count = 0
        self._places: dict[Conversation, Place] = {}
        self._counts: dict[str, int] = {}
        self._closing = False

    def count(self, key: str) -> int:
        """How many connections are open for a route's key, busy and idle."""
        return self._counts.get(key, 0)

    def add(self, conversation: Conversation, place: Place) -> None:
        """A connection was opened; it is busy. `forget` must be told when it is gone."""
        self._places[conversation] = place
        self._counts[place[0]] = self._counts.get(place[0], 0) + 1

    def forget(self, conversation: Conversation) -> None:
        """A connection is gone. Fit for `Conversation.on_gone`; one that was never added is none of ours."""
        place = self._places.pop(conversation, None)
        if place is None:
            return
        left = self._counts[place[0]] - 1
        if left:
            self._counts[place[0]] = left
        else:
            del self._counts[place[0]]
        idle = self._idle.get(place, [])
        if conversation in idle:
            idle.remove(conversation)
            self._idle_count -= 1
            if not idle:
                del self._idle[place]

    def take(self, place: Place, addresses: tuple[str, ...]) -> Conversation | None:
        """The idle connection used last, if there is one to an address that the host still has."""
        idle = self._idle.get(place)
        if idle is None:
            return None
        for position in range(len(idle) - 1, -1, -1):
            conversation = idle[position]
            if conversation.is_open and conversation.client.usable and conversation.peer[0] in addresses:
                del idle[position]
                self._idle_count -= 1
                if not idle:
                    del self._idle[place]
                return conversation
        return None

    def put_back(self, conversation: Conversation) -> None:
        """A transaction is over: keep the connection for the next one, or leave."""
        place = self._places.get(conversation)
        if place is None:
            return  # it was lost meanwhile
        settings = self.settings
        client = conversation.client
        if (
            self._closing
            or settings.idle <= 0
            or not client.usable
            or client.transactions >= settings.messages
            or self._idle_count >= settings.most_idle
        ):
            conversation.leave()
            return
        self._idle.setdefault(place, []).append(conversation)
        self._idle_count += 1
        conversation.rest(settings.idle)

    async def close(self, patience: float) -> None:
        """Say QUIT on all idle connections, wait for at most `patience` seconds, and end those that are left.

        Busy ones leave by themselves when their transaction is over.
        """
        self._closing = True
        leaving = [conversation for idle in self._idle.values() for conversation in idle]
        self._idle.clear()
        self._idle_count = 0
        for conversation in leaving:
            conversation.leave()
        try:
            async with asyncio.timeout(patience):
                for conversation in leaving:
                    await conversation.left()
        except TimeoutError:
            for conversation in leaving:
                conversation.abort()
