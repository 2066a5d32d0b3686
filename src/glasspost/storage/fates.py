"""What became of a recipient, where the conversations alone do not tell.

Lives here: `Fate`, as the scheduler tells it and the record keeps it.
Does not live here: when it is told (outbound/chronicle.py), how it is stored (transcript_jobs.py).

A recipient whom the next server took, or whose message went into a mailbox as it came, has no fate here: the talk says
so. These are the others, which are few: deferred, failed, given up, delivered after waiting, and the reports sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glasspost.ids import read_id, write_id


@dataclass(frozen=True, slots=True)
class Fate:
    """One recipient after one attempt. Times in seconds since the epoch; 0: none.

    `what`: "deferred", "failed", "given up", "delivered", or, about a report of ours, "report"; for those who listen
    and not for the record also "relayed". `why`: why the next
    attempt comes when it does. `other`: the queue id of the report that tells of this; of a report, that of the message
    it tells of.
    """

    queue_id: str
    at: float
    recipient: str
    what: str
    reply: str = ""
    host: str = ""
    conversation: str = ""
    due: float = 0.0
    why: str = ""
    other: str = ""

    def row(self) -> tuple[Any, ...]:
        return (
            _number(self.queue_id), self.at, self.recipient, self.what, self.reply, self.host,
            _number(self.conversation), self.due, self.why, _number(self.other),
        )  # fmt: skip


def fate_from(row: Any) -> Fate:
    """The fate that a row of the store is."""
    queue, at, recipient, what, reply, host, conversation, due, why, other = row
    return Fate(
        write_id("q", queue), at, recipient, what, reply, host, write_id("c", conversation) if conversation else "",
        due, why, write_id("q", other) if other else "",
    )  # fmt: skip


def _number(name: str) -> int:
    found = read_id(name)
    return found[1] if found is not None else 0
