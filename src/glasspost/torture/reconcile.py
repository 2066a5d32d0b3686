"""Gathering the evidence, when the node is stopped and everybody has calmed down.

Lives here: reading the neighbours' ledger, the mailboxes, the queue and its doubts, and looking whether the store is
sound.
Does not live here: what must be true of it (account.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import apsw

from glasspost.errors import NotFound
from glasspost.mail.address import address_from_text
from glasspost.storage import queue
from glasspost.storage.accounts import Directory
from glasspost.storage.bodies import StoredContent
from glasspost.storage.database import Database
from glasspost.storage.folder import Folder
from glasspost.storage.sqlite import row, rows
from glasspost.torture.account import Evidence
from glasspost.torture.load import BOX, SENDER
from glasspost.torture.neighbour import is_whole

_FAILED = re.compile(rb"^Final-Recipient: *rfc822; *(\S+)\s*\r\nAction: *failed", re.MULTILINE | re.IGNORECASE)
_RELATED = {
    "a message nobody waits for or keeps": "SELECT id FROM message WHERE refs <= 0",
    "a message whose count of references is wrong": (
        "SELECT id FROM message m WHERE refs <> (SELECT count(*) FROM recipient r WHERE r.id >> 12 = m.id)"
        " + (SELECT count(*) FROM deposit d WHERE d.message_id = m.id)"
    ),
    "a piece of a message that is gone": (
        "SELECT id FROM chunk c WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.id = c.id >> 12)"
        " AND NOT EXISTS (SELECT 1 FROM draft d WHERE d.id = c.id >> 12)"
    ),
    "a recipient without its message": (
        "SELECT id FROM recipient r WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.id = r.id >> 12)"
    ),
    "a message half stored": "SELECT id FROM draft",
}


def gather(data: Path, ledger: Path, evidence: Evidence) -> Evidence:
    """Into `evidence`, from a stopped node's folder and the neighbours' ledger."""
    _read_ledger(ledger, evidence)
    folder = Folder(data)
    directory = Directory(folder.directory)
    accounts = {}
    for name in (SENDER, f"{BOX}@here.test"):
        try:
            accounts[name] = directory.account_at(address_from_text(name)).id
        except NotFound:
            evidence.store_faults.append(f"the account {name} is gone")
    directory.close()
    database = Database(folder.spool, "spool")
    try:
        evidence.store_faults += _store_faults(database.reader)
        evidence.queued = {entry.recipient for entry in queue.entries(database.reader)}
        evidence.doubts = Counter(doubt.recipient for doubt in queue.doubts(database.reader))
        for name, account in accounts.items():
            for path, content in _mailbox(database, account):
                if name == SENDER:
                    evidence.bounced.update({found.decode() for found in _FAILED.findall(content)})
                else:
                    evidence.deposited[path] += 1
                    if not is_whole(content):
                        evidence.damaged.add(path)
    finally:
        database.close_now()
    return evidence


def still_waiting(data: Path, now: float) -> int:
    """How many recipients wait. All of them are told to be tried now, as by `glasspost queue retry all`."""
    database = Database(Folder(data).spool, "spool")
    try:
        database.apply(lambda connection: queue.retry(connection, queue.EVERYTHING, now))
        return queue.count(database.reader)
    finally:
        database.close_now()


def _read_ledger(ledger: Path, evidence: Evidence) -> None:
    for line in ledger.read_text(encoding="ascii").splitlines():
        address, _queue_id, whole = line.split(" ")
        evidence.relayed[address] += 1
        if whole != "whole":
            evidence.damaged.add(address)


def _mailbox(database: Database, account: int) -> Iterator[tuple[str, bytes]]:
    """Each message in a mailbox: the address it came to, and its octets."""
    query = (
        "SELECT d.message_id, d.forward_path, m.size, m.head FROM deposit d JOIN message m ON m.id = d.message_id"
        " WHERE d.account_id = ?"
    )
    for number, path, size, head in rows(database.reader, query, (account,)):
        content = b"".join(StoredContent(database, number, head, size).pieces(database.reader))
        yield path, content if len(content) == size else b""


def _store_faults(connection: apsw.Connection) -> list[str]:
    faults = [] if row(connection, "PRAGMA integrity_check")[0] == "ok" else ["integrity_check finds faults"]
    for what, query in _RELATED.items():
        found = rows(connection, query)
        faults += [f"{what}: {one}" for (one,) in found]
    return faults
