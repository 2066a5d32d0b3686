"""Servers of strangers: they say what a test gives them, whatever they hear.

Lives here: `Stranger`, a server in a thread of its own, so that a whole command can be run against it.
Does not live here: servers that are right (entrances.py, glasspost.testing).
"""

from __future__ import annotations

import socket
import threading


class Stranger:
    """`with Stranger(b"220 hi\\r\\n", b"250 ok\\r\\n") as one`: says the first at once, one for each line it hears,
    then closes. Takes one visitor after the other at `one.port`. `heard`: what all of them said. `stays`: it does not
    close, but waits for the visitor to go."""

    def __init__(self, *replies: bytes, stays: bool = False) -> None:
        self.heard = b""
        self._replies = replies
        self._stays = stays
        self._over = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Stranger:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        socket.create_connection(("127.0.0.1", self.port)).close()  # wakes it up
        self._thread.join(10)
        self._socket.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            visitor, _ = self._socket.accept()
            with visitor:
                if self._over:
                    return
                visitor.settimeout(10)
                try:
                    self._converse(visitor)
                except OSError:
                    pass  # the visitor has gone

    def _converse(self, visitor: socket.socket) -> None:
        with visitor.makefile("rb") as lines:
            visitor.sendall(self._replies[0])
            for reply in self._replies[1:]:
                if not self._hear(lines.readline()):
                    return
                visitor.sendall(reply)
            while self._stays and self._hear(lines.readline()):
                pass

    def _hear(self, line: bytes) -> bool:
        self.heard += line
        return bool(line)
