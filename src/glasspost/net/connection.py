"""One TCP connection of ours, server's or client's: bytes, deadline, back pressure, TLS.

Lives here: what every conversation needs from a socket, as a base for sessions (inbound/session.py,
retrieval/pop3.py, outbound/remote.py).
Does not live here: any meaning of the bytes.

Cost matters: thousands of idle connections each own one of these. A deadline is a number that moves with every
octet, looked at by one lazy alarm, so a busy connection arms no timers; an idle one holds one.
"""

from __future__ import annotations

import asyncio
import ssl

from glasspost.net.leaving import Leaving
from glasspost.net.tls_transport import TlsTransport

HANDSHAKE_SECONDS = 30  # for a TLS handshake; whoever needs longer is cut off
LOOK_SECONDS = 60  # until the clock is first looked at: a deadline that comes nearer meanwhile needs no other alarm
SHUTDOWN_SECONDS = 3  # for TLS to say goodbye; uvloop would keep a dead peer's transport for 30


class Connection(asyncio.Protocol):
    """A connection with a deadline. Subclasses override `opened`, `received`, `lost`, `deadline_passed`."""

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_alarm_at",
        "_deadline",
        "_over",
        "_paused_by_peer",
        "_reading",
        "loop",
        "opening",
        "peer",
        "proxy",
        "transport",
        "upgrading",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.peer: tuple[str, int] = ("", 0)  # set before it begins where a proxy says who calls
        self.proxy = ""  # the address of that proxy
        self.opening: asyncio.Task[None] | None = None  # what is done before it begins (accepting.py)
        self.upgrading = False  # a TLS handshake is under way on this connection
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")  # when it goes off
        self._paused_by_peer = False
        self._reading = True
        self._over = False

    # --- for subclasses ---------------------------------------------------------------------------------------

    def arriving(self, local: str) -> bool:
        """Somebody (`peer`) has come to `local`, and TLS from the first octet is about to begin. False: that is not
        worth a handshake, and the connection is cut. Either way `lost` is told in the end."""
        return True

    def not_secured(self, error: Exception, local: str) -> None:
        """That handshake failed: `opened` will not be told, but `lost`."""

    def opened(self) -> None:
        """The connection stands; where TLS begins with the first octet, so does that."""

    def received(self, data: bytes) -> None:
        """Bytes have come. While `upgrading`, as only a client sees it, they came through TLS, ahead of the news that
        the handshake is done."""

    def lost(self, error: Exception | None) -> None:
        """The connection is gone; nothing can be sent any more. Called once."""

    def deadline_passed(self) -> None:
        """Nothing moved for as long as `set_deadline` allowed."""

    def drained(self) -> None:
        """The peer takes bytes again, after `choked` was true."""

    def peer_ended(self) -> bool:
        """The peer will send nothing more. True keeps our side open for what is still to be said."""
        return False

    # --- what subclasses use ----------------------------------------------------------------------------------

    @property
    def choked(self) -> bool:
        """Whether the peer takes no more bytes for the moment: stop producing, and wait for `drained`."""
        return self._paused_by_peer

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    @property
    def is_here(self) -> bool:
        """Whether it stands, or is in its handshake."""
        return self.opening is not None or self.is_open

    @property
    def is_over(self) -> bool:
        """Whether `lost` has been told."""
        return self._over

    def set_deadline(self, seconds: float) -> None:
        """Something must happen within `seconds` from now; each call moves the deadline."""
        self._deadline = deadline = self.loop.time() + seconds
        if self._alarm_at > deadline + 1.0:
            if self._alarm is not None:
                self._alarm.cancel()
            sooner = min(seconds, LOOK_SECONDS)
            self._set_alarm(sooner, deadline - seconds + sooner)

    def _set_alarm(self, seconds: float, at: float) -> None:
        self._alarm_at = at
        self._alarm = self.loop.call_later(seconds, self._look_at_clock)

    def no_deadline(self) -> None:
        """Wait for ever: while we, not the peer, owe the next move."""
        self._deadline = float("inf")

    def send(self, data: bytes) -> None:
        """Write; dropped silently once the connection is gone, as `lost` has said or will say."""
        transport = self.transport
        if data and transport is not None and not transport.is_closing():
            transport.write(data)

    def pause(self) -> None:
        """Take no more bytes from the peer: the kernel's buffer, then the peer, will wait."""
        if self._reading and self.transport is not None and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self._reading and self.transport is not None and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def hang_up(self) -> None:
        """Close after what was written has gone out."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent yet is lost."""
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, hostname: str | None = None) -> None:
        """Go over to TLS on this connection. Raises ssl.SSLError, OSError or TimeoutError where the handshake fails.

        The caller must have made sure that no cleartext octet is left unread (DESIGN law 6). Octets still in the
        kernel reach the handshake, and break it: they cannot cross over as commands.
        """
        clear = self.transport
        if clear is None or clear.is_closing():
            raise ConnectionResetError("the connection was lost before the TLS handshake")
        self.upgrading = True
        try:
            if server_side:
                self.transport = await self._receive_tls(clear, context)
            else:
                self.transport = await self._ask_tls(clear, context, hostname)
        except BaseException as error:
            # Neither loop promises to call `connection_lost` after a handshake that failed.
            clear.abort()
            self.loop.call_soon(self.connection_lost, error if isinstance(error, Exception) else None)
            raise
        finally:
            self.upgrading = False
        self._reading = True

    async def _receive_tls(self, clear: asyncio.Transport, context: ssl.SSLContext) -> asyncio.Transport:
        """The server's side: by a transport of our own, that costs an idle connection far less than the loop's."""
        leaving = Leaving(clear, self.loop)
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            sock = await leaving.socket()
        secure = TlsTransport(self.loop, self, sock, context, parting_seconds=SHUTDOWN_SECONDS)
        self.transport = secure  # from here on it is this one that `abort` must reach
        try:
            await leaving.gone()
            await secure.handshake(HANDSHAKE_SECONDS)
        except BaseException:
            secure.abort()
            raise
        self._paused_by_peer = False  # all that was written in the clear is out
        return secure

    async def _ask_tls(
        self, clear: asyncio.Transport, context: ssl.SSLContext, hostname: str | None
    ) -> asyncio.Transport:
        """The client's side: by the event loop's TLS."""
        clear.pause_reading()
        upgraded = await self.loop.start_tls(
            clear,
            self,
            context,
            server_hostname=hostname,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
        if upgraded is None:
            raise ConnectionResetError("the connection was lost during the TLS handshake")
        return upgraded

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS object once TLS stands; None in the clear. Where we are the server it is an ssl.SSLSocket, which
        answers the same questions."""
        if self.transport is None:
            return None
        found: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        return found

    # --- asyncio's side ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of a stream, it is a whole Transport
        if self.upgrading:
            return
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple) and not self.peer[0]:
            self.peer = (name[0], name[1])
        self.opened()

    def data_received(self, data: bytes) -> None:
        self.received(data)

    def eof_received(self) -> bool:
        return self.peer_ended()

    def pause_writing(self) -> None:
        self._paused_by_peer = True

    def resume_writing(self) -> None:
        self._paused_by_peer = False
        self.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if not self._over:
            self._over = True
            self.lost(exc)
        self.transport = None

    def _look_at_clock(self) -> None:
        self._alarm, self._alarm_at = None, float("inf")
        if self.transport is None:
            return
        now = self.loop.time()
        left = self._deadline - now
        if left == float("inf"):
            # Nobody is waited for now; look again in a while, the deadline may have come back by then.
            self._set_alarm(30, now + 30)
        elif left > 0.01:
            self._set_alarm(left, self._deadline)
        else:
            self.deadline_passed()
