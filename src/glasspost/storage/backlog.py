"""What was heard while the node had more urgent things to do, put aside on the disk as it is.

Lives here: the octets in which parts of recordings wait, and how one lot of them is written out.
Does not live here: when that is done (transcripts.py), making talks and their index (transcript_jobs.py).

Making a talk of a message's conversation, and an index of the talk, costs as much as taking the message itself. Under
load that work is put off, not left out: what was heard goes to the disk as it was handed over, within the second as
always, and becomes talks when there is time. Only where nothing has to be masked: unmasked addresses are never stored.

The octets are Python's own `marshal` form of tuples, numbers and bytes: the quickest there is, understood by this
program only, and gone again soon.
"""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from typing import Any

from glasspost.storage.database import Connection
from glasspost.storage.fates import Fate, fate_from
from glasspost.storage.sql import Queries
from glasspost.storage.transcript_jobs import Archive, Part

_QUERIES = Queries("sqlite", "transcripts")
_FORM = 4  # of marshal: the same since Python 3.4


def put_aside(connection: Connection, parts: Sequence[Part], fates: Sequence[Fate]) -> None:
    """One lot, for later."""
    lot = ([(part.row, part.entries) for part in parts], [fate.row() for fate in fates])
    connection.execute(_QUERIES.put_backlog, (marshal.dumps(lot, _FORM),))


def write_out(connection: Connection, archive: Archive) -> bool:
    """Make talks of the oldest lot. False where there is none."""
    found: Any = connection.execute(_QUERIES.first_backlog).fetchone()
    if found is None:
        return False
    number, heard = found
    parts, fates = marshal.loads(heard)
    archive.store(connection, [Part(row, entries) for row, entries in parts], [fate_from(row) for row in fates])
    connection.execute(_QUERIES.drop_backlog, (number,))
    return True


def write_all_out(connection: Connection, archive: Archive) -> None:
    """Make talks of everything that waits."""
    while write_out(connection, archive):
        pass
