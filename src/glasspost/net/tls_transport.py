"""TLS for connections that came to us, directly on the socket: a transport beside those of the event loop.

Lives here: `TlsTransport`, an `asyncio.Transport` over a non-blocking `ssl.SSLSocket`: handshake, back pressure both
ways, fairness, farewell.
Does not live here: contexts (tls.py), how a connection in the clear comes here (leaving.py), connections that we make
(they stay with the loop's TLS, see connection.py), what is said.

Its reason is what an idle connection costs (docs/decisions/0016-idle-tls.md): OpenSSL reads and writes the socket
itself, so there are no memory BIOs, no buffer for reading that outlives a read, and none of the loop's objects for TLS.
The octets of one connection are never kept but in `_backlog`: what the peer has not taken yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any, cast

_RECORD = 16 * 1024  # octets: the most that one TLS record carries, so that one read empties it
_TURN = 4 * _RECORD  # octets of one connection in a row; then others have their turn
_HIGH, _LOW = 64 * 1024, 16 * 1024  # octets not taken yet: above, the protocol is asked to stop; at the other, to go on
_FAREWELL_SECONDS = 30  # who takes nothing of what is left to be said for so long is cut off


class _Stage(IntEnum):
    SHAKING = 0  # the handshake is under way; the protocol knows of nothing
    OPEN = 1
    FLUSHING = 2  # closed by us; what was written before goes out, and the close_notify behind it
    PARTING = 3  # all is said; the peer's end is waited for, lest a reset overtake what we said last
    OVER = 4


class TlsTransport(asyncio.Transport):
    """The server's side of a TLS connection; it stands once `handshake` has returned."""

    __slots__ = (
        "_backlog",
        "_backlog_size",
        "_choked",
        "_fd",
        "_loop",
        "_parting_seconds",
        "_peer_ended",
        "_protocol",
        "_reading",
        "_shaken",
        "_sock",
        "_stage",
        "_timer",
        "_watching",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.Protocol,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        parting_seconds: float,
    ) -> None:
        """`sock` is taken over, and closed where this raises OSError. `parting_seconds`: how long, after all is said,
        the peer is waited for."""
        self._loop = loop
        self._protocol: asyncio.BaseProtocol | None = protocol
        self._parting_seconds = parting_seconds
        self._stage = _Stage.SHAKING
        self._reading = False  # whether the protocol wants octets
        self._watching = False  # whether the loop tells us that the socket takes octets
        self._peer_ended = False
        self._choked = False
        self._backlog: deque[memoryview] | None = None  # pieces of a record each: OpenSSL wants the same one again
        self._backlog_size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._shaken: asyncio.Future[None] | None = None
        sock.setblocking(False)
        try:
            self._sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except BaseException:
            sock.close()
            raise
        self._fd = self._sock.fileno()

    # --- the handshake ----------------------------------------------------------------------------------------

    async def handshake(self, seconds: float) -> None:
        """When it returns, reading has begun. Raises OSError (ssl.SSLError and TimeoutError are such) where it fails:
        the socket is closed then, and the protocol is told nothing."""
        if self._stage is _Stage.OVER:
            raise ConnectionAbortedError("the TLS handshake was broken off")
        self._shaken = self._loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                self._loop.add_reader(self._fd, self._shake)
                await self._shaken
            if self._stage is not _Stage.OPEN:
                raise ConnectionAbortedError("the TLS handshake was broken off")
        except BaseException as error:
            if isinstance(error, ssl.SSLError):
                self._read_away()
            self._let_go_of_socket()
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no TLS handshake within {seconds:g} s") from None
            raise
        finally:
            self._shaken = None
        self.resume_reading()

    def _read_away(self) -> None:
        """OpenSSL has told the peer what is wrong; octets left unread would make a reset of our close()."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)  # with this, Python lets go of OpenSSL: what is read is not looked at
            self._sock.recv(_TURN)

    def _shake(self) -> None:
        assert self._shaken is not None
        if self._shaken.done():
            return
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(None)
        except ssl.SSLWantWriteError:
            self._watch(self._shake)
        except OSError as error:
            self._shaken.set_exception(error)
        else:
            self._watch(None)
            self._loop.remove_reader(self._fd)
            self._stage = _Stage.OPEN
            self._shaken.set_result(None)

    # --- reading ----------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        return self._reading and self._stage is _Stage.OPEN

    def pause_reading(self) -> None:
        if self._reading and self._stage is _Stage.OPEN:
            self._reading = False
            if not self._peer_ended:
                self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if not self._reading and self._stage is _Stage.OPEN:
            self._reading = True
            if not self._peer_ended:
                self._loop.add_reader(self._fd, self._readable)
                self._mind_pending()

    def _mind_pending(self) -> None:
        """What OpenSSL has read already is no longer in the kernel, which would tell of it."""
        if self._sock.pending():
            self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        taken = 0
        while self._reading and self._stage is _Stage.OPEN and not self._peer_ended:
            try:
                data = self._sock.recv(_RECORD)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return  # it wants to write where it answers a key update: that goes out before whatever we write next
            except OSError as error:
                self._break(error)
                return
            if not data:
                self._peer_ended = True  # its close_notify, or its FIN without one
                self._loop.remove_reader(self._fd)
                if not self._is_connected():
                    self._break(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
                    return
            self._tell(data)
            taken += len(data)
            if len(data) < _RECORD or taken >= _TURN:  # a short one mostly is the last
                break
        if self.is_reading() and not self._peer_ended:
            self._mind_pending()

    def _is_connected(self) -> bool:
        """Python may tell of a reset as of an end (SSL_read_ex returns 0 for both); the kernel knows better."""
        try:
            self._sock.getpeername()
        except OSError:
            return False
        return True

    def _tell(self, data: bytes) -> None:
        """The protocol hears these octets, or of their end. A bug of its own costs it the connection, nobody else."""
        protocol = cast(asyncio.Protocol, self._protocol)
        try:
            if data:
                protocol.data_received(data)
            elif not protocol.eof_received():
                self.close()
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "a protocol over TLS broke", "exception": error, "transport": self, "protocol": protocol}
            )
            self._break(error)

    # --- writing ----------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data or self._stage is not _Stage.OPEN:
            return
        sent = 0
        if self._backlog is None and len(data) <= _RECORD:  # nearly always, and nearly always all of it goes
            try:
                sent = self._sock.send(data)
            except ssl.SSLWantWriteError:
                pass
            except OSError as error:
                self._break(error)
                return
            if sent == len(data):
                return
        view = memoryview(data if isinstance(data, bytes) else bytes(data))
        if self._backlog is None:
            self._backlog = deque()
        self._backlog.extend(view[at : at + _RECORD] for at in range(sent, len(view), _RECORD))
        self._backlog_size += len(view) - sent
        if not self._watching:
            self._flush()
        if self._backlog_size > _HIGH and not self._choked and self._protocol is not None:
            self._choked = True
            self._protocol.pause_writing()

    def _flush(self) -> None:
        """As much as the peer takes."""
        try:
            while self._backlog:
                piece = self._backlog[0]
                sent = self._sock.send(piece)
                self._backlog_size -= sent
                if sent < len(piece):
                    self._backlog[0] = piece[sent:]
                else:
                    self._backlog.popleft()
        except ssl.SSLWantWriteError:
            self._watch(self._writable)
        except OSError as error:
            self._break(error)
            return
        else:
            self._backlog = None
            self._watch(None)
        if self._choked and self._backlog_size <= _LOW and self._protocol is not None:
            self._choked = False
            self._protocol.resume_writing()

    def _writable(self) -> None:
        left = self._backlog_size
        self._flush()
        if self._stage is _Stage.FLUSHING:
            if self._backlog is None:
                self._part()
            elif self._backlog_size < left:
                self._set_timer(_FAREWELL_SECONDS)

    def _watch(self, writable: Callable[[], None] | None) -> None:
        """Have the loop tell when the socket takes octets again; or no more."""
        if writable is not None and not self._watching:
            self._loop.add_writer(self._fd, writable)
        elif writable is None and self._watching:
            self._loop.remove_writer(self._fd)
        self._watching = writable is not None

    def get_write_buffer_size(self) -> int:
        return self._backlog_size

    def can_write_eof(self) -> bool:
        return False

    # --- the end ----------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._stage > _Stage.OPEN

    def close(self) -> None:
        """What was written goes out, then our close_notify and a FIN. In the middle of a handshake that is `abort`."""
        if self._stage is _Stage.SHAKING:
            self.abort()
        elif self._stage is _Stage.OPEN:
            self._stage = _Stage.FLUSHING
            if self._reading and not self._peer_ended:
                self._loop.remove_reader(self._fd)
            if self._backlog is None:
                self._part()
            else:
                self._set_timer(_FAREWELL_SECONDS)

    def _part(self) -> None:
        """Say goodbye, once. A close() with octets of the peer's still unread would reset the connection, and the reset
        might overtake our last reply: so they are read, until its end."""
        try:
            self._sock.unwrap()
        except ssl.SSLWantWriteError:
            self._watch(self._writable)
            self._set_timer(_FAREWELL_SECONDS)
            return
        except (OSError, ValueError):
            pass  # our close_notify is out and its own has not come, or nothing can be said to it any more
        self._watch(None)
        self._stage = _Stage.PARTING
        if self._peer_ended:
            self._break(None)
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)  # and what is read now goes by OpenSSL
        except OSError:
            self._break(None)
            return
        self._loop.add_reader(self._fd, self._parting)
        self._set_timer(self._parting_seconds)

    def _parting(self) -> None:
        try:
            if self._sock.recv(_TURN):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._break(None)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self.abort)

    def abort(self) -> None:
        """At once; what was not sent yet is lost."""
        if self._shaken is not None and not self._shaken.done():
            self._shaken.set_exception(ConnectionAbortedError("the TLS handshake was broken off"))
        elif self._stage is not _Stage.SHAKING:
            self._break(None)
        else:
            self._let_go_of_socket()

    def _break(self, error: Exception | None) -> None:
        """The end; the protocol is told, once, and not within what it is doing."""
        if self._stage is not _Stage.OVER:
            self._let_go_of_socket()
            self._loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)

    def _let_go_of_socket(self) -> None:
        if self._stage is _Stage.OVER:
            return  # the number of its descriptor may be another's by now
        self._stage = _Stage.OVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._backlog, self._backlog_size = None, 0
        self._loop.remove_reader(self._fd)
        self._watch(None)
        self._sock.close()

    # --- what else a transport is asked -----------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object` is an ssl.SSLSocket, which answers what an ssl.SSLObject answers; None when all is said."""
        if name == "ssl_object":
            return self._sock if self._stage < _Stage.PARTING else default
        if name == "socket":
            return self._sock
        try:
            if name == "peername":
                return self._sock.getpeername()
            if name == "sockname":
                return self._sock.getsockname()
        except OSError:
            return default
        return self._sock.cipher() if name == "cipher" else default
