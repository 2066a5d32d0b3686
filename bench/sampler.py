"""Where a node's processor time goes: looked at from a thread of its own, a thousand times a second.

Lives here: how much each thread uses (the kernel's own count, in nanoseconds), where it is when it is at work (its
Python stack), and which room of the house that is.
Does not live here: starting the node with it (programs/sampled_node.py), the table (profile.py).

How much is not sampled: it is what the kernel has counted for the thread (schedstat), C code and system calls
included, waiting excluded. Where is sampled: of all looks that find a thread at work, each place has its share. A
thread is at work when it runs, or when it stands in code of ours and waits for the interpreter, which the look itself
has taken from it; not when it waits for the network, the disk or work.

To be fair a look must come at any moment, not only when a thread lets go of the interpreter by itself. So while
sampling, the interpreter changes hands on demand within microseconds; that costs speed, and is why the sums of the
table come from a run without it.
"""

from __future__ import annotations

import ctypes
import os
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import FrameType

INTERVAL = 0.001  # seconds between two looks, give or take half
_REFRESH = 50  # looks after which threads are listed anew
_PR_SET_TIMERSLACK = 29
ROOMS = ("parsing", "policy", "storage", "transcripts", "delivery", "mailboxes", "loop and sockets", "other")

# First match wins: the innermost frame of ours decides, by its file below src/glasspost.
_PLACES = (
    ("storage/transcripts.py", "transcripts"),
    ("storage/recording.py", "transcripts"),
    ("storage/talks.py", "transcripts"),
    ("storage/excerpts.py", "transcripts"),
    ("protocol/talk.py", "transcripts"),
    ("protocol/", "parsing"),
    ("mail/", "parsing"),
    ("inbound/session.py", "parsing"),
    ("inbound/", "policy"),
    ("trust/", "policy"),
    ("storage/accounts.py", "policy"),
    ("storage/resolution.py", "policy"),
    ("storage/entries.py", "policy"),
    ("storage/passwords.py", "policy"),
    ("storage/mailboxes.py", "mailboxes"),
    ("retrieval/", "mailboxes"),
    ("storage/", "storage"),
    ("outbound/", "delivery"),
    ("net/dialer.py", "delivery"),
    ("net/dns.py", "delivery"),
    ("net/", "loop and sockets"),
    ("cli/", "loop and sockets"),
)
_PACKAGE = "/glasspost/"


def room_of(path: str) -> str:
    """The room of a source file of ours; "" for anybody else's."""
    _, mark, inside = path.rpartition(_PACKAGE)
    if not mark:
        return ""
    return next((room for start, room in _PLACES if inside.startswith(start)), "other")


def place_of(frame: FrameType | None, thread: str) -> tuple[str, str]:
    """(room, "file:function") of the innermost frame of ours. A writer thread works for the room whose file it
    writes, whatever part of the database code it is in; a main thread without any frame of ours is in the loop."""
    while frame is not None:
        code = frame.f_code
        if room := room_of(code.co_filename):
            name = f"{code.co_filename.rpartition(_PACKAGE)[2]}:{code.co_qualname}"
            return "transcripts" if thread.startswith("writer of transcripts") else room, name
        frame = frame.f_back
    return "loop and sockets" if thread == "MainThread" else "other", ""


def at_work(state: str, place: str) -> bool:
    """Whether a thread in this state of the kernel's, found there, is at work. Sleeping in the loop, at the writer's
    queue or nowhere of ours is waiting; sleeping elsewhere in our code is being kept from the interpreter."""
    if state == "R":
        return True
    return state == "S" and place not in ("", "storage/database.py:Database._run") and not place.startswith("cli/")


@dataclass(slots=True)
class Seen:
    """One thread of this process. The files of its are kept open: they are read at every look."""

    name: str
    ident: int | None
    state: int  # file descriptors
    spent: int
    at_first: int  # nanoseconds used before we looked

    def nanoseconds(self) -> int:
        return int(os.pread(self.spent, 80, 0).split()[0]) - self.at_first

    def now(self) -> str:
        """R running, S sleeping, D waiting for the disk."""
        stat = os.pread(self.state, 300, 0)
        return chr(stat[stat.rindex(b")") + 2])


class Sampler:
    """Looks at all threads of this process from `start` until `stop`. After that `rooms` has nanoseconds by (thread,
    room), `places` by "file:function"."""

    def __init__(self) -> None:
        self.rooms: dict[tuple[str, str], float] = {}
        self.places: Counter[str] = Counter()
        self.looks = 0
        self._found: Counter[tuple[str, str, str]] = Counter()  # (thread, room, place) -> looks that found it at work
        self._threads: dict[int, Seen] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        sys.setswitchinterval(0.000005)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        sys.setswitchinterval(0.005)

    def _run(self) -> None:
        # Otherwise the kernel lets a wait of 5 microseconds take 50.
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        while not self._over.is_set():
            if self.looks % _REFRESH == 0:
                self._list_threads()
            time.sleep(INTERVAL * random.uniform(0.5, 1.5))
            self.look()
        self._account()

    def look(self) -> None:
        frames = sys._current_frames()
        for seen in self._threads.values():
            try:
                state = seen.now()
            except OSError:  # it has ended
                continue
            room, place = place_of(frames.get(seen.ident or 0), seen.name)
            if at_work(state, place):
                self._found[short(seen.name), room, place] += 1
        self.looks += 1

    def _list_threads(self) -> None:
        """Those that are new. The sampler's own are left out."""
        known = {thread.native_id: thread for thread in threading.enumerate()}
        for native in map(int, os.listdir("/proc/self/task")):
            thread = known.get(native)
            name = thread.name if thread is not None else "threads of libraries"
            if native in self._threads or name.startswith("sampler"):
                continue
            try:
                files = [os.open(f"/proc/self/task/{native}/{name}", os.O_RDONLY) for name in ("stat", "schedstat")]
            except OSError:
                continue
            seen = Seen(name, thread.ident if thread is not None else None, files[0], files[1], 0)
            seen.at_first = seen.nanoseconds()
            self._threads[native] = seen

    def _account(self) -> None:
        """Each thread's time, shared out by where it was found at work."""
        spent: Counter[str] = Counter()
        for seen in self._threads.values():
            try:
                spent[short(seen.name)] += seen.nanoseconds()
            except OSError:
                continue
        looks: Counter[str] = Counter()
        for (thread, _, _), count in self._found.items():
            looks[thread] += count
        for (thread, room, place), count in self._found.items():
            share = spent[thread] * count / looks[thread]
            self.rooms[thread, room] = self.rooms.get((thread, room), 0.0) + share
            self.places[place or "(no code of ours)"] += round(share)
        for thread in spent.keys() - looks.keys():  # too short at work to be found
            self.rooms[thread, "other"] = spent[thread]


def short(thread: str) -> str:
    """Pools have numbered threads."""
    if thread == "MainThread":
        return "main"
    return thread.rstrip("0123456789").rstrip("_-")
