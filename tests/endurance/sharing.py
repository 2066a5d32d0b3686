"""A node that shares its data folder with others, as worker processes on one store would.

    python tests/endurance/sharing.py serve --config FILE --data DIR

Lives here: what keeps two nodes off one folder today, taken away: the folder's lock, and the recovery at the start,
which takes it for granted that nobody else is alive.
Does not live here: anything else. Leases have to do the rest (storage/spool.py, outbound/claims.py).
"""

from __future__ import annotations

import sys

from glasspost.cli.main import main
from glasspost.storage.folder import Folder
from glasspost.storage.spool import Spool

Folder.lock = lambda self: None  # type: ignore[method-assign]
Folder.announce = lambda self, doors: None  # type: ignore[method-assign]
Spool.recover = lambda self, now: None  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
