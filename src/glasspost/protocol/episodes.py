"""A conversation cut into its transactions, and the facts that stand in its lines.

Lives here: what a line of a recorded talk says about a message (who sends, to whom, what was refused), and where one
message's part of a conversation begins and ends. Searching and the index are both made of this, so that what is found
is what stands in the talk.
Does not live here: the form of a line (talk.py), searching (storage/search.py), one message's story (storage/story.py).

Lines are read as they are stored: with their times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SENDER = "sender"  # MAIL FROM's path; empty for the null path
RECIPIENT = "recipient"  # RCPT TO's path
ACCOUNT = "account"  # who signed in, or tried to
MESSAGE_ID = "message-id"
AUTHOR = "from"  # the header's From, as written
ADDRESSEES = "to"  # the header's To, as written
SUBJECT = "subject"
REFUSAL = "refusal"  # a reply of 4xx or 5xx: "550 5.1.1", "421"
SAFE = "safe"  # the queue id of a message that was accepted
ABOUT = "about"  # the queue id of a message that a conversation of ours is about
TRANSACTION = "transaction"  # the same, where its transaction begins
RELAYED = "relayed"  # how many of how many recipients the next server took

# Refusals that say no more than the one before them: goodbye, and DATA that was sent along with refused recipients.
CONSEQUENCES = frozenset(("421", "421 4.7.0", "421 4.3.2", "503", "503 5.5.1", "554 5.5.1"))

Fact = tuple[str, str]

FIELDS = {"Message-ID": MESSAGE_ID, "From": AUTHOR, "To": ADDRESSEES, "Subject": SUBJECT}
_REFUSAL = re.compile(r"([45]\d\d)(?:[ -](?:([45]\.\d{1,3}\.\d{1,3})(?= |$))?.*)?", re.DOTALL)
_QUEUE_ID = re.compile(r"(q[0-9a-z]{11})(?:, \d+ octets, (recipients: \d+)|: relayed, (.*)|: ).*", re.DOTALL)
_SIGN_IN = re.compile(r"(?:signed in as|sign-in refused for) '?([^\s;']+)")


def fact(line: str) -> Fact | None:
    """What one line of a talk says, with its time; None where it says nothing that anybody searches for."""
    at = line.find(": ")
    return fact_said(line[0], line[at + 2 :]) if at >= 0 else None


def fact_said(who: str, said: str) -> Fact | None:
    """What somebody's line says: the same for a line whose time is not before it."""
    if who == "S":
        return _refusal(said) if said[:1] in ("4", "5") else None
    if who == "C":
        verb = said[:5].upper()
        if verb == "MAIL ":
            return SENDER, _path(said)
        if verb == "RCPT ":
            return RECIPIENT, _path(said)
        if verb in ("USER ", "APOP "):
            return ACCOUNT, said[5:].partition(" ")[0]
        return None
    return _noted(said)


def _refusal(said: str) -> Fact | None:
    found = _REFUSAL.fullmatch(said)
    return None if found is None else (REFUSAL, f"{found[1]} {found[2]}" if found[2] else found[1])


def _path(said: str) -> str:
    """The address in angle brackets, or, where somebody forgot those, the word behind the colon."""
    start = said.find("<")
    end = said.find(">", start)
    if start >= 0 and end >= 0:
        return said[start + 1 : end]
    return said.partition(":")[2].strip().partition(" ")[0]


def _noted(said: str) -> Fact | None:
    name, colon, value = said.partition(": ")
    if colon and name in FIELDS:
        return FIELDS[name], value
    first = said[:1]
    if first == "s":
        if said.startswith("safe on disk as "):
            return SAFE, said[16:28]
        found = _SIGN_IN.match(said)
        return None if found is None or found[1] == "an" else (ACCOUNT, found[1])
    if first == "q":
        about = _QUEUE_ID.fullmatch(said)
        if about is not None:
            return (RELAYED, about[3]) if about[3] else (TRANSACTION if about[2] else ABOUT, about[1])
    return None


def facts(lines: Iterable[str]) -> Iterator[Fact]:
    for line in lines:
        found = fact(line)
        if found is not None:
            yield found


@dataclass(slots=True)
class Episode:
    """A conversation's opening, or one transaction: its lines, with times, and its facts in order."""

    lines: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    def all(self, kind: str) -> list[str]:
        return [value for name, value in self.facts if name == kind]

    def first(self, kind: str) -> str:
        return next((value for name, value in self.facts if name == kind), "")

    @property
    def queue_id(self) -> str:
        """The message it is about; empty where none was accepted."""
        return self.first(SAFE) or self.first(TRANSACTION) or self.first(ABOUT)

    @property
    def at(self) -> float:
        """When it began, in seconds since its conversation did."""
        return line_time(self.lines[0]) if self.lines else 0.0


def line_time(line: str) -> float:
    """When a line was said, in seconds since its conversation began; 0 where that cannot be read."""
    start = line.find(" ") + 1
    try:
        return float(line[start : line.find(":", start)])
    except ValueError:
        return 0.0


def episodes(talk: str) -> list[Episode]:
    """The opening of a conversation, then its transactions. `talk` has times, and no header."""
    current = Episode()
    found = [current]
    for line in talk.splitlines():
        what = fact(line)
        if what is not None:
            if what[0] == TRANSACTION or (what[0] == SENDER and (current is found[0] or current.first(SENDER))):
                # The note that begins a transaction of ours comes before its MAIL.
                begun = what[0] == SENDER and current.facts and current.facts[-1][0] == TRANSACTION
                if not begun:
                    current = Episode()
                    found.append(current)
            current.facts.append(what)
        current.lines.append(line)
    return found
