"""Sessions that say EHLO and then nothing, as many as are asked for, plain or over TLS.

Lives here: opening and holding them.
Does not live here: weighing the server that bears them (workloads/idle.py).
"""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

from load import LoadError

_AT_ONCE = 4  # openings under way: a handshake costs both sides a millisecond


class IdleSessions:
    """`count` sessions that have said EHLO and say no more, until the end of the `with` block."""

    def __init__(self, port: int, count: int, starttls: bool = False) -> None:
        self._port = port
        self._context = _unverified() if starttls else None
        self._held = ExitStack()
        with ExitStack() as opened, ThreadPoolExecutor(_AT_ONCE) as threads:
            try:
                for session in threads.map(self._open, range(count)):
                    opened.enter_context(session)
            except OSError as error:
                threads.shutdown(cancel_futures=True)
                raise LoadError(f"{count} idle sessions: {error}") from None
            self._held = opened.pop_all()

    def __enter__(self) -> IdleSessions:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._held.close()

    def _open(self, number: int) -> socket.socket:
        session = socket.create_connection(("127.0.0.1", self._port), 60)
        try:
            _hear(session, b"220")
            _say(session, b"EHLO client.test\r\n", b"250")
            if self._context is not None:
                _say(session, b"STARTTLS\r\n", b"220")
                session = self._context.wrap_socket(session, server_hostname="bench.test")
                _say(session, b"EHLO client.test\r\n", b"250")
        except BaseException:
            session.close()
            raise
        return session


def _say(session: socket.socket, command: bytes, code: bytes) -> None:
    session.sendall(command)
    _hear(session, code)


def _hear(session: socket.socket, code: bytes) -> None:
    """One reply, of however many lines. Nothing comes behind it: we have asked nothing else."""
    heard = b""
    while True:
        heard += (piece := session.recv(4096))
        lines = heard.split(b"\r\n")
        if len(lines) > 1 and lines[-1] == b"" and lines[-2][3:4] == b" ":
            break
        if not piece:
            raise OSError(f"closed; {code.decode()} expected")
    if not heard.startswith(code):
        raise OSError(f"{heard[:80]!r}; {code.decode()} expected")


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
