"""The POP3 conversation as a table: one row for each verb.

Lives here: in which states a verb may be said, its arguments, whom it asks, which RFC defines it.
Does not live here: what the server does about it (pop3_server.py), the replies' texts (mail/pop3_reply.py).

The states are those of RFC 1939 §3. There is no row for the UPDATE state: QUIT enters it, and nothing more is heard.
A server that owes an answer is in no state of its own: "waiting" is a flag (pop3_server.py).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a session stands (RFC 1939 §3)."""

    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"
    UPDATE = "update"


class Asks(Enum):
    """Who is asked before the verb is answered."""

    NOBODY = "nobody"  # answered at once, from what the session knows
    DIRECTORY = "directory"  # is this their name and password? then: may they have the maildrop?
    STORAGE = "storage"  # a message's content, or its removal
    WIRE = "wire"  # the connection goes over to TLS


@dataclass(frozen=True, slots=True)
class Verb:
    """One row. Arguments in brackets may be left out; `whole` makes all behind the verb one argument, with blanks."""

    name: str
    states: frozenset[State]
    asks: Asks
    section: str
    syntax: str
    help: str
    whole: bool = False

    @property
    def least(self) -> int:
        """How many arguments there must be."""
        return len(self.syntax.partition("[")[0].split()) - 1

    @property
    def most(self) -> int:
        """How many arguments there may be."""
        return len(self.syntax.split()) - 1


_BEFORE = frozenset({State.AUTHORIZATION})
_AFTER = frozenset({State.TRANSACTION})
_BOTH = _BEFORE | _AFTER
NOBODY, DIRECTORY, STORAGE, WIRE = Asks

# fmt: off
VERBS: dict[str, Verb] = {
    row.name: row
    for row in (
        #    verb    states   asks       defined in        syntax               what it does
        Verb("CAPA", _BOTH,   NOBODY,    "RFC 2449 §5",    "CAPA",              "List what is offered"),
        Verb("STLS", _BEFORE, WIRE,      "RFC 2595 §4",    "STLS",              "Go over to TLS"),
        Verb("UTF8", _BEFORE, NOBODY,    "RFC 6856 §2.1",  "UTF8",              "Take headers in UTF-8"),
        Verb("USER", _BEFORE, NOBODY,    "RFC 1939 §7",    "USER name",         "Sign in: the name"),
        Verb("PASS", _BEFORE, DIRECTORY, "RFC 1939 §7",    "PASS password",     "Sign in: the password", True),
        Verb("AUTH", _BEFORE, DIRECTORY, "RFC 5034 §4",    "AUTH [mechanism [response]]", "Sign in by SASL"),
        Verb("STAT", _AFTER,  NOBODY,    "RFC 1939 §5",    "STAT",              "Count messages and octets"),
        Verb("LIST", _AFTER,  NOBODY,    "RFC 1939 §5",    "LIST [message]",    "Name the sizes"),
        Verb("UIDL", _AFTER,  NOBODY,    "RFC 1939 §7",    "UIDL [message]",    "Name the lasting names"),
        Verb("RETR", _AFTER,  STORAGE,   "RFC 1939 §5",    "RETR message",      "Fetch a message"),
        Verb("TOP",  _AFTER,  STORAGE,   "RFC 1939 §7",    "TOP message lines", "Fetch a header and some lines"),
        Verb("DELE", _AFTER,  NOBODY,    "RFC 1939 §5",    "DELE message",      "Mark for removal at QUIT"),
        Verb("RSET", _AFTER,  NOBODY,    "RFC 1939 §5",    "RSET",              "Take all marks off"),
        Verb("NOOP", _AFTER,  NOBODY,    "RFC 1939 §5",    "NOOP",              "Do nothing, and say so"),
        Verb("QUIT", _BOTH,   STORAGE,   "RFC 1939 §4 §6", "QUIT",              "Remove what is marked; leave"),
    )
}
# fmt: on


def nearest_verb(word: str) -> str:
    """The verb that a person who typed `word` may have meant; empty where none is near."""
    found = difflib.get_close_matches(word.upper()[:16], VERBS, 1, 0.6)
    return found[0] if found else ""
