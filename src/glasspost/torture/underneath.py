"""What lies underneath a tortured node: a disk and a wall clock that somebody else has a hand on.

Lives here: laying it, and the line by which the torturer tells it what to do.
Does not live here: the disk (disk.py), the node on top (cli/torture_node.py), what is done when (strokes.py).

It must be laid before any file of the house is imported, because some of them take the clock's functions into their
hands then. Nothing of the house knows that it is there: a node that is started by `glasspost serve` cannot have it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TextIO

import apsw

from glasspost.torture.disk import NAME, Disk


class WallClock:
    """The wall clock of this process, off by some seconds. Monotonic time goes on as ever, as on a real machine."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._time, self._time_ns = time.time, time.time_ns

    def time(self) -> float:
        return self._time() + self.offset

    def time_ns(self) -> int:
        return self._time_ns() + int(self.offset * 1e9)


class Underneath:
    """The disk, the clock, and the ear for orders."""

    def __init__(self, disk: Disk, clock: WallClock) -> None:
        self.disk = disk
        self.clock = clock

    def obey(self, order: str) -> None:
        """One order: `clock SECONDS`, `full`, `room`, `readonly`, `writable`, `nosync`, `cut`, or
        `cut-at-sync COUNT in|after`."""
        word, _, rest = order.strip().partition(" ")
        disk = self.disk
        match word:
            case "clock":
                self.clock.offset = float(rest)
            case "full" | "room":
                disk.full = word == "full"
            case "readonly" | "writable":
                disk.read_only = word == "readonly"
            case "nosync":
                disk.sync_fails = True
            case "cut":
                disk.cut()
            case "cut-at-sync":
                count, where = rest.split()
                disk.cut_at_sync(int(count), after=where == "after")
            case "":
                pass
            case _:
                raise ValueError(f"no such order: {order!r}")

    def listen(self, orders: TextIO) -> None:
        """Obey what comes, in a thread. When the torturer is gone nobody needs this node any more."""

        def listening() -> None:
            for order in orders:
                self.obey(order)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=listening, name="orders", daemon=True).start()


def lay(seed: int, first_orders: str = "") -> Underneath:
    """Lay it under this process. `first_orders`, separated by `;`, are obeyed before anything else happens."""
    clock = WallClock()
    setattr(time, "time", clock.time)  # noqa: B010  (for mypy: a module's function cannot be assigned)
    setattr(time, "time_ns", clock.time_ns)  # noqa: B010
    disk = Disk(seed)
    apsw.set_default_vfs(NAME)
    underneath = Underneath(disk, clock)
    for order in first_orders.split(";"):
        underneath.obey(order)
    return underneath
