"""A program in a terminal of its own, as a person has it before them.

Lives here: `Terminal`: typing, and reading what is to be seen.
Does not live here: any program.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\][^\x07]*\x07|\r(?!\n)")
_WHERE_AM_I = "\x1b[6n"  # a program asks where the cursor is; without an answer it trusts the terminal with less
COLUMNS, ROWS = 80, 24


class Terminal:
    """`with Terminal(command) as one`: `type` a line and see it echoed, or `enter` it; `read` until something is to be
    seen. Colours and cursor movements are taken off what is read; `raw` has them."""

    def __init__(self, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        self._end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            command,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            env=None if environment is None else {**os.environ, **environment},
            preexec_fn=_take_terminal,
        )
        os.close(other)
        self._unread = ""
        self.raw = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enter(self, line: str) -> None:
        """Type a line and the Enter key."""
        os.write(self._end, line.encode() + b"\r")

    def press(self, keys: bytes) -> None:
        """Type these octets, and nothing else."""
        os.write(self._end, keys)

    def type(self, line: str) -> None:
        """Type, and see it echoed."""
        os.write(self._end, line.encode() + b"\n")
        assert self.read(f"{re.escape(line)}\n") == f"{line}\n"

    def read(self, pattern: str, seconds: float = 20) -> str:
        """What is to be seen next, up to the end of what matches."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self._unread, re.MULTILINE)):
            ready, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {pattern!r} within {seconds:.0f} s, but {self._unread!r}"
            more = self._more()
            assert more is not None, f"the program ended; unread is {self._unread!r}"
            self._unread += more
        seen, self._unread = self._unread[: found.end()], self._unread[found.end() :]
        return seen

    def wait(self, seconds: float = 20) -> int:
        """Until the program has ended; its exit code. What it said last is in `raw`."""
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"it has not ended within {seconds:.0f} s; unread is {self._unread!r}"
            more = self._more()
            if more is None:
                return self._process.wait(10)
            self._unread += more

    def _more(self) -> str | None:
        """What is to be seen more; None where the program has ended."""
        try:
            data = os.read(self._end, 65536).decode("utf-8", "replace")
        except OSError as error:
            if error.errno == errno.EIO:
                return None
            raise
        self.raw += data
        for _ in range(data.count(_WHERE_AM_I)):
            os.write(self._end, b"\x1b[1;1R")
        return _ESCAPES.sub("", data).replace("\r\n", "\n")

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        os.close(self._end)


def _take_terminal() -> None:
    """In the child: the terminal is its own, so that /dev/tty leads there."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
