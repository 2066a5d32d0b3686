"""A node that shares its data folder with others, as worker processes on one store would.

    python tests/endurance/sharing.py CLOCK serve --config FILE --data DIR

Lives here: what keeps two nodes off one folder today, taken away: the folder's lock, and the recovery at the start,
which takes it for granted that nobody else is alive. And the wall clock, which goes ahead by as many seconds as the
file CLOCK says at that moment (one double), for all nodes at once: a lease ends when a test says so.
Does not live here: anything else. Leases have to do the rest (storage/spool.py, outbound/claims.py).
"""

from __future__ import annotations

import mmap
import struct
import sys
import time

with open(sys.argv[1], "rb") as _clock:
    _ahead = mmap.mmap(_clock.fileno(), 8, access=mmap.ACCESS_READ)
_time, _time_ns = time.time, time.time_ns
# Before any file of the house is imported: some take the clock's functions into their hands then.
time.time = lambda: _time() + struct.unpack("d", _ahead[:8])[0]
time.time_ns = lambda: _time_ns() + int(struct.unpack("d", _ahead[:8])[0] * 1e9)

from glasspost.cli.main import main  # noqa: E402
from glasspost.storage.folder import Folder  # noqa: E402
from glasspost.storage.spool import Spool  # noqa: E402

Folder.lock = lambda self: None  # type: ignore[method-assign]
Folder.announce = lambda self, doors: None  # type: ignore[method-assign]
Spool.recover = lambda self, now: None  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
