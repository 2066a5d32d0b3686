"""Another session, waiting: how long does a server keep it waiting while it is busy with something large?

    python probe.py PORT        until it gets SIGTERM

Lives here: two sessions, one after the other in one loop: one says NOOP every few milliseconds, the other sends a small
message, to be stored and answered for.
Does not live here: what the server is busy with (workloads/large.py).

Prints one JSON object: `noop` and `message`, the longest wait for a reply to each in milliseconds, and how many were
made. The machine's own hiccups are in it: two processors have other work too.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time

PAUSE = 0.003  # seconds between two questions
_over = False


class Waiting:
    """One session and the longest it has waited."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")
        self.longest = 0.0
        self.count = 0
        self._hear(b"220")
        self._socket.sendall(b"EHLO probe.test\r\n")
        self._hear(b"250")

    def ask(self, command: bytes, code: bytes) -> None:
        begun = time.monotonic()
        self._socket.sendall(command)
        self._hear(code)
        self.longest = max(self.longest, 1000 * (time.monotonic() - begun))

    def _hear(self, code: bytes) -> None:
        while True:
            line = self._lines.readline()
            if not line.startswith(code):
                raise SystemExit(f"probe: {line!r}, {code!r} expected")
            if line[3:4] != b"-":
                return


def _end(*_: object) -> None:
    global _over
    _over = True


def main() -> None:
    signal.signal(signal.SIGTERM, _end)
    port = int(sys.argv[1])
    recipient = sys.argv[2].encode()
    asking, sending = Waiting(port), Waiting(port)
    end = time.monotonic() + 300
    while not _over and time.monotonic() < end:
        asking.ask(b"NOOP\r\n", b"250")
        asking.count += 1
        sending.ask(b"MAIL FROM:<a@src.test>\r\n", b"250")
        sending.ask(b"RCPT TO:<%b>\r\n" % recipient, b"250")
        sending.ask(b"DATA\r\n", b"354")
        sending.ask(b"Subject: probe\r\n\r\nstill there?\r\n.\r\n", b"250")
        sending.count += 1
        time.sleep(PAUSE)
    print(
        json.dumps(
            {"noop": asking.longest, "message": sending.longest, "noops": asking.count, "messages": sending.count}
        )
    )


if __name__ == "__main__":
    main()
