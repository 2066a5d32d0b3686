"""Who comes in, and for whom there is no room.

Lives here: a POP3 session that is counted from its first moment to its last, and begins only where there is room; else
the shortest POP3 conversation there is: one refusal instead of a greeting (RFC 1939 §4 lets a server close; RFC 3206
names the code), on record like any other.
Does not live here: the conversation (pop3.py), the counting and how much room there is (whoever makes the `Room`).
"""

from __future__ import annotations

from typing import Any, Protocol

from glasspost.mail import pop3_reply as replies
from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.retrieval.pop3 import Pop3Session


class Room(Protocol):
    """How many may be here at once, over all and from one address. See inbound/limits.py."""

    def admit(self, ip: str) -> Reply | None: ...
    def leave(self, ip: str) -> None: ...


class Pop3Visit(Pop3Session):
    """One connection: admitted or turned away, and then a session like any other."""

    def __init__(self, room: Room, *session: Any) -> None:
        """`session`: what Pop3Session takes."""
        super().__init__(*session)
        self._room = room
        self._admitted: str | None = None  # the address it is counted for
        self._turned_away = False

    def arriving(self, local: str) -> bool:
        """Where TLS begins with the first octet, a handshake only to say no would cost more than the visit."""
        refusal = self._admit()
        if refusal is not None:
            self._open_recording(local, f"{self.peer[0]}:{self.peer[1]}").close(
                f"turned away before TLS: {refusal.text}"
            )
        return refusal is None

    def opened(self) -> None:
        refusal = None if self._admitted is not None else self._admit()
        if refusal is None:
            super().opened()
            return
        assert self.transport is not None
        self._turned_away = True
        local = self.transport.get_extra_info("sockname")
        recording = self._open_recording(f"{local[0]}:{local[1]}", f"{self.peer[0]}:{self.peer[1]}")
        said = refusal.tagged(recording.id).encode()
        recording.said(said)
        self.send(said)
        self.hang_up()
        recording.close(f"turned away: {refusal.text}")

    def received(self, data: bytes) -> None:
        if not self._turned_away:
            super().received(data)

    def peer_ended(self) -> bool:
        return not self._turned_away and super().peer_ended()

    def lost(self, error: Exception | None) -> None:
        if self._admitted is not None:
            self._room.leave(self._admitted)
        super().lost(error)

    def _admit(self) -> replies.Pop3Reply | None:
        found = self._room.admit(self.peer[0])
        if found is None:
            self._admitted = self.peer[0]
            return None
        alone = found is say.TOO_MANY_CONNECTIONS_FROM_YOU
        return replies.TOO_MANY_CONNECTIONS_FROM_YOU if alone else replies.TOO_MANY_CONNECTIONS
