"""A visitor for whom there is no room.

Lives here: the shortest POP3 conversation there is: one refusal instead of a greeting (RFC 1939 §4 lets a server
close; RFC 3206 names the code), on record like any other.
Does not live here: how much room there is (node/node.py counts).
"""

from __future__ import annotations

import asyncio
from typing import cast

from glasspost.mail.pop3_reply import TOO_MANY_CONNECTIONS
from glasspost.net.connection import Connection
from glasspost.retrieval.pop3 import OpenRecording


class TurnedAway(Connection):
    """Says why, and hangs up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, open_recording: OpenRecording) -> None:
        super().__init__(loop)
        self._open_recording = open_recording

    def arriving(self, local: str) -> bool:
        """Where TLS begins with the first octet, a handshake only to say no would cost more than the visit."""
        self._open_recording(local, f"{self.peer[0]}:{self.peer[1]}").close("turned away before TLS: no room")
        return False

    def opened(self) -> None:
        local = cast(asyncio.Transport, self.transport).get_extra_info("sockname")
        recording = self._open_recording(f"{local[0]}:{local[1]}", f"{self.peer[0]}:{self.peer[1]}")
        refusal = TOO_MANY_CONNECTIONS.tagged(recording.id).encode()
        recording.said(refusal)
        self.send(refusal)
        self.hang_up()
        recording.close("turned away: no room")
