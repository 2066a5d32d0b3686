"""The account: what was acknowledged, and what became of it.

Lives here: the balance sheet, the rules by which it balances, and how it reads.
Does not live here: gathering the evidence (reconcile.py).

The rules, each for one recipient of one message:

1. Acknowledged means delivered, bounced, or still queued.
2. Delivered once. Once more for each attempt that the node itself put on record as doubtful, and not more. Into a
   mailbox here never more than once: deposit and settlement are one commit.
3. Delivered and bounced only where an attempt was doubtful: the report says that it may have arrived.
4. What was never sent whole is nowhere. What was refused after the dot is nowhere, unless the store broke while it
   was being stored: then nobody knows what is on the disk, and the client sends again.
5. Whatever arrived is what was sent, octet by octet.
6. The store is sound: SQLite finds no fault, and no piece is left of what is gone.
7. The node ends as it should: by a kill, or by itself within its deadline and with the right exit code.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from glasspost.torture.load import Fate, Sent

SHOWN = 10  # examples of each fault on the sheet


@dataclass(slots=True)
class Evidence:
    """What was found when all was over. Recipients are addresses, which come once in a run."""

    sent: list[Sent] = field(default_factory=list)
    relayed: Counter[str] = field(default_factory=Counter)  # in the neighbours' ledger
    deposited: Counter[str] = field(default_factory=Counter)  # in the local mailbox
    bounced: Counter[str] = field(default_factory=Counter)  # named as failed in a report to the sender
    queued: set[str] = field(default_factory=set)
    doubts: Counter[str] = field(default_factory=Counter)
    damaged: set[str] = field(default_factory=set)
    store_faults: list[str] = field(default_factory=list)
    broken_lives: set[int] = field(default_factory=set)  # of the node, in which its store broke
    conduct: list[str] = field(default_factory=list)  # what the node did that it should not


@dataclass(slots=True)
class Balance:
    """The sheet. It balances where `faults` is empty."""

    strokes: Counter[str] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def balances(self) -> bool:
        return not any(self.faults.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "balances": self.balances,
            "strokes": dict(sorted(self.strokes.items())),
            "counts": self.counts,
            "faults": self.faults,
        }

    def __str__(self) -> str:
        lines = ["What was done"]
        lines += [f"  {name:<44}{count:>9}" for name, count in sorted(self.strokes.items())]
        lines += ["", "What became of it (recipients)"]
        lines += [f"  {name:<44}{count:>9}" for name, count in self.counts.items()]
        lines += ["", "What must not be"]
        for name, found in self.faults.items():
            lines.append(f"  {name:<44}{len(found):>9}")
            lines += [f"      {one}" for one in found[:SHOWN]]
            if len(found) > SHOWN:
                lines.append(f"      and {len(found) - SHOWN} more")
        verdict = "It balances: nothing acknowledged is lost, and nothing came twice without a doubt on record."
        return "\n".join([*lines, "", verdict if self.balances else "IT DOES NOT BALANCE."])


def balance(evidence: Evidence, strokes: Counter[str]) -> Balance:
    """Make the account."""
    fates = {address: one for one in evidence.sent for address in one.recipients}
    delivered = evidence.relayed + evidence.deposited
    acknowledged = [address for address, one in fates.items() if one.fate is Fate.ACKNOWLEDGED]
    lost = [
        address
        for address in acknowledged
        if not (delivered[address] or evidence.bounced[address] or address in evidence.queued)
    ]
    sheet = Balance(strokes)
    twice = [address for address, count in delivered.items() if count > 1]
    sheet.counts = {
        "acknowledged (250 after the dot)": len(acknowledged),
        "  delivered to a next hop": sum(evidence.relayed[one] > 0 for one in acknowledged),
        "  delivered to a mailbox here": sum(evidence.deposited[one] > 0 for one in acknowledged),
        "  bounced to the sender": sum(evidence.bounced[one] > 0 and not delivered[one] for one in acknowledged),
        "  still queued, and not delivered yet": sum(
            one in evidence.queued and not delivered[one] and not evidence.bounced[one] for one in acknowledged
        ),
        "  LOST": len(lost),
        "no answer after the dot": _count(evidence, Fate.UNANSWERED),
        "  of these arrived": _arrived(evidence, Fate.UNANSWERED),
        "refused after the dot": _count(evidence, Fate.REFUSED),
        "  of these arrived (the store had broken)": _arrived(evidence, Fate.REFUSED),
        "cut off before the dot": _count(evidence, Fate.UNFINISHED),
        "attempts on record as doubtful": evidence.doubts.total(),
        "delivered more than once, with a doubt": sum(evidence.doubts[one] > 0 for one in twice),
    }
    sheet.faults = {
        "acknowledged and lost": lost,
        "came more often than there are doubts": [
            f"{one}: {count} times, doubts: {evidence.doubts[one]}"
            for one, count in evidence.relayed.items()
            if count > 1 + evidence.doubts[one]
        ],
        "twice in a mailbox here": [one for one, count in evidence.deposited.items() if count > 1],
        "delivered and bounced, without a doubt": [
            one for one in evidence.bounced if delivered[one] and not evidence.doubts[one]
        ],
        "bounced twice": [one for one, count in evidence.bounced.items() if count > 1],
        "arrived, and was never sent whole": _there(evidence, Fate.UNFINISHED, set()),
        "arrived, and was refused": _there(evidence, Fate.REFUSED, evidence.broken_lives),
        "arrived, and was sent by nobody": [one for one in _all_found(evidence) if one not in fates],
        "arrived damaged": sorted(evidence.damaged),
        "the store is not sound": evidence.store_faults,
        "the node did what it should not": evidence.conduct,
    }
    return sheet


def _count(evidence: Evidence, fate: Fate) -> int:
    return sum(len(one.recipients) for one in evidence.sent if one.fate is fate)


def _arrived(evidence: Evidence, fate: Fate) -> int:
    found = _all_found(evidence)
    return sum(address in found for one in evidence.sent if one.fate is fate for address in one.recipients)


def _there(evidence: Evidence, fate: Fate, excused: set[int]) -> list[str]:
    found = _all_found(evidence)
    return [
        f"{address} (life {one.life}) {one.reply}".strip()
        for one in evidence.sent
        if one.fate is fate and one.life not in excused
        for address in one.recipients
        if address in found
    ]


def _all_found(evidence: Evidence) -> set[str]:
    return {*evidence.relayed, *evidence.deposited, *evidence.bounced, *evidence.queued}
