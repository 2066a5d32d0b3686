"""A server and everything it forks: started, weighed, stopped.

Lives here: the process tree of one server under test, its CPU time and its memory.
Does not live here: which server that is (postfix.py, glasspost_node.py, sink.py), or what it is asked to do.

Each server gets a keeper: this file run as a program. The keeper adopts whatever the server leaves behind
(PR_SET_CHILD_SUBREAPER), so no process escapes the count, and the CPU time of children that have ended stays
in the books: the kernel adds it to the parent that reaps them, at last to the keeper.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_GRACE = 8.0  # seconds between "please end" and "end"


class Tree:
    """The processes of one server, from start to stop."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        keeper = [sys.executable, __file__, *argv]
        with log.open("wb") as output:
            self._keeper = subprocess.Popen(
                keeper, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def running(self) -> bool:
        return self._keeper.poll() is None

    def cpu_seconds(self) -> float:
        """User and system time of all processes, living and reaped, since the start."""
        stats = _stats()
        ticks = sum(sum(stats[pid][1:]) for pid in _below(self._keeper.pid, stats))
        _, _, _, reaped_user, reaped_system = stats[self._keeper.pid]  # not the keeper's own: it is ours
        return (ticks + reaped_user + reaped_system) / _TICKS

    def memory(self) -> tuple[float, int]:
        """(proportional set size in MiB, number of processes). Kernel memory is not in it."""
        kib = count = 0
        for pid in _below(self._keeper.pid, _stats()):
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:  # it ended while we looked
                continue
            kib += int(rollup.split("\nPss:", 1)[1].split(None, 1)[0])
            count += 1
        return kib / 1024, count

    def stop(self) -> None:
        """Ends all of them, gently if they let us. Idempotent."""
        self._keeper.terminate()
        try:
            self._keeper.wait(_GRACE + 8)
        except subprocess.TimeoutExpired:
            _end(_below(self._keeper.pid, _stats()), signal.SIGKILL)
            self._keeper.kill()
            self._keeper.wait()


def _stats() -> dict[int, tuple[int, int, int, int, int]]:
    """pid -> (parent, utime, stime, cutime, cstime) in ticks, of every process there is (proc(5))."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            fields = stat[stat.rindex(")") + 2 :].split()  # the name in parentheses may hold anything
            user, system, reaped_user, reaped_system = map(int, fields[11:15])
            found[int(entry)] = (int(fields[1]), user, system, reaped_user, reaped_system)
    return found


def _below(root: int, stats: dict[int, tuple[int, int, int, int, int]]) -> list[int]:
    """All descendants of `root`."""
    children: dict[int, list[int]] = {}
    for pid, (parent, *_) in stats.items():
        children.setdefault(parent, []).append(pid)
    found, stack = [], list(children.get(root, ()))
    while stack:
        pid = stack.pop()
        found.append(pid)
        stack += children.get(pid, ())
    return found


def _end(pids: Sequence[int], how: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            pass


# --- the keeper --------------------------------------------------------------------------------------------


def _keep(argv: Sequence[str]) -> None:
    """Runs `argv`, reaps whatever becomes ours, takes all of it down when told to or when the bench dies."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    server = subprocess.Popen(argv, start_new_session=True).pid
    while not stopping:
        if not _reap(0.05):
            return
    _end([server], signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline and _reap(0.02):
        if server not in _below(os.getpid(), _stats()):
            _end(_below(os.getpid(), _stats()), signal.SIGTERM)
    _end(_below(os.getpid(), _stats()), signal.SIGKILL)
    while _reap(0.02):
        pass


def _reap(pause: float) -> bool:
    """Takes in the ended children; False when there are none left at all."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    time.sleep(pause)
    return True


if __name__ == "__main__":
    _keep(sys.argv[1:])
