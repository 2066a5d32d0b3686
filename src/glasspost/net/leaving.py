"""A connection leaves the event loop's own transport, and goes on elsewhere without having been interrupted.

Lives here: `Leaving`: what was written goes out, nothing more is read, and the socket lives on as a duplicate of the
transport's descriptor, which the loop closes. The peer notices nothing: a connection ends with its last descriptor.
Does not live here: where it goes on (tls_transport.py), when (connection.py).
"""

from __future__ import annotations

import asyncio
import os
import socket


class Leaving(asyncio.Protocol):
    """The protocol of a transport while a connection leaves it. `await socket()`, then `await gone()`."""

    def __init__(self, clear: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """From now on `clear` reads nothing more, and its protocol is told nothing more."""
        self._clear = clear
        self._drained = loop.create_future()
        self._gone = loop.create_future()
        clear.pause_reading()
        clear.set_protocol(self)
        clear.set_write_buffer_limits(high=0)  # so that we are told as soon as the last octet is out

    async def socket(self) -> socket.socket:
        """The socket, once all that was written is out; `clear` begins to close. Raises OSError where the connection
        is lost, or something was read that nobody has seen."""
        if self._clear.get_write_buffer_size():
            await self._drained
        if self._clear.is_closing():
            raise ConnectionResetError("the connection was lost before the TLS handshake")
        taken = socket.socket(fileno=os.dup(self._clear.get_extra_info("socket").fileno()))
        self._clear.close()
        return taken

    async def gone(self) -> None:
        """Until the old transport is away from the socket: two must not wait for the same octets."""
        await self._gone

    # --- asyncio's side ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Octets in the clear, which nobody will ever see: they must not be missing unnoticed (DESIGN law 6)."""
        self._clear.abort()

    def resume_writing(self) -> None:
        if not self._drained.done():
            self._drained.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume_writing()
        if not self._gone.done():
            self._gone.set_result(None)
