"""The settings of the doors: who is let in, how often, and in whose name.

Lives here: one class per section, a field per setting, as in settings.py; and how a rate is written.
Does not live here: what is done with them (inbound/, put together in gatehouse.py).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from glasspost.mail.address import a_label
from glasspost.node.values import (
    DAY,
    HOUR,
    MINUTE,
    Count,
    Duration,
    Flag,
    Kind,
    Name,
    Network,
    Number,
    Positive,
    RequiredFile,
    Section,
    Text,
)

_UNITS = {"s": 1.0, "min": MINUTE, "h": HOUR, "day": DAY}
_RATE = re.compile(r"(\d+)\s*/\s*(s|min|h|day)")


class RateValue(NamedTuple):
    """So many in so many seconds; none at all is no limit."""

    many: int
    seconds: float

    def __str__(self) -> str:
        unit = next(unit for unit, seconds in _UNITS.items() if seconds == self.seconds)
        return f"{self.many}/{unit}"


def read_rate(value: object) -> RateValue:
    """`60/min`, `500/h`, `5000/day`, or 0 for no limit."""
    if isinstance(value, RateValue):
        return value
    if value in (0, "0") and not isinstance(value, bool):
        return NO_RATE
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'"{value}" is no rate. Write "60/min" (s, min, h, day), or 0 for no limit.')
    return RateValue(int(found[1]), _UNITS[found[2]]) if int(found[1]) else NO_RATE


def _show_rate(rate: RateValue) -> str | int:
    return str(rate) if rate.many else 0


def read_send_as(value: object) -> str:
    """`account@example.org other@example.org`: an account, and an address or a domain it may send as."""
    parts = value.split() if isinstance(value, str) else []
    if len(parts) != 2 or "@" not in parts[0] or parts[1].startswith("@"):
        raise ValueError(f'"{value}" is none. Write "account@example.org other@example.org", or a domain behind it.')
    return " ".join(parts)


NO_RATE = RateValue(0, MINUTE)
Rate = Annotated[RateValue, BeforeValidator(read_rate), Kind("rate", _show_rate)]
SendAs = Annotated[str, BeforeValidator(read_send_as), Kind("account and address")]


class Limits(Section):
    """How much may come, and how fast. A rate is what is taken at once, and fills up evenly. Known networks
    (checks.known) and, except for accounts, who has signed in are not limited."""

    connections: Rate = Field(default=RateValue(120, MINUTE), description="Connections from one address, or IPv6 /64.")
    network_connections: Rate = Field(
        default=RateValue(600, MINUTE), description="Connections from one IPv4 /24 or IPv6 /48."
    )
    messages: Rate = Field(default=NO_RATE, description="Transactions from one address; more get 450.")
    recipients: Rate = Field(default=NO_RATE, description="Recipients from one address; more get 452.")
    unknown_recipients: Rate = Field(
        default=RateValue(50, HOUR),
        description="Recipients from one address that do not exist, and senders at our domains that do not "
        "(checks.own_senders): both would tell who does. Then it is sent away for a while (421).",
    )
    mistakes: Rate = Field(
        default=RateValue(100, HOUR),
        description="Commands of one address that were refused as wrong; then it is sent away for a while (421).",
    )
    account_messages: Rate = Field(
        default=RateValue(500, HOUR),
        description="Messages of one account, or one [[device]] with a password, over all its connections; more get "
        "450.",
    )
    account_recipients: Rate = Field(
        default=RateValue(2000, HOUR),
        description="Recipients of one account, or one [[device]] with a password, over all messages; more get 452.",
    )
    tarpit: Duration = Field(
        default=0.0,
        description="Each refusal but the first of a connection waits so much longer than the one before; 0 is off.",
    )
    tarpit_longest: Duration = Field(default=30.0, gt=0, description="The longest that a refusal waits.")


class Checks(Section):
    """What strangers must bear on listeners of role mx. Who has signed in, and clients of smtp.relay_networks, are
    not checked; rules about senders and recipients bind everybody."""

    known: tuple[Network, ...] = Field(
        default=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
        description="Networks whose clients are neither checked nor limited. They may not relay for that.",
    )
    rules: tuple[Text, ...] = Field(
        default=(),
        description='Rules, like "deny sender spam.example" or "allow client 192.0.2.25"; docs/abuse.md has the '
        "grammar.",
    )
    rule_files: tuple[RequiredFile, ...] = Field(
        default=(), description="Files with a rule in each line; read again when they change."
    )
    pregreet: Duration = Field(
        default=0.0,
        description="How long the greeting waits, once a day for each address; who talks before it is sent "
        "away. 0 is off.",
    )
    hello: Literal["off", "note", "refuse"] = Field(
        default="note", description="A name in EHLO or HELO that cannot be right: without a dot, an address, ours."
    )
    reverse_name: Literal["off", "note", "defer", "refuse"] = Field(
        default="note",
        description="A client whose address has no name in the DNS that leads back to it. Noting never waits.",
    )
    sender_domain: Literal["off", "note", "refuse"] = Field(
        default="off", description="A sender whose domain does not exist or takes no mail."
    )
    own_senders: Flag = Field(
        default=True, description="Refuse a sender at a domain of ours who does not exist: no report could reach it."
    )
    single_report: Flag = Field(
        default=True, description="A message from the null sender, which is a report, has one recipient (452)."
    )
    refuse_score: Positive = Field(
        default=3, description="From which sum of scores of all [[dns_list]] on a client is refused (550)."
    )
    spare_score: Number = Field(
        default=-1, lt=0, description="At which sum of scores, or below, greylisting leaves a client alone."
    )
    dns_timeout: Duration = Field(default=5.0, gt=0, description="How long one check may wait for the DNS.")


class DnsList(Section):
    """A list in the DNS of addresses, good or bad; write one [[dns_list]] for each. Most lists have conditions: read
    them, and ask through a resolver of your own."""

    domain: Name = Field(description="The list's name in the DNS, below which addresses are looked up (RFC 5782).")
    score: Number = Field(default=3, description="What a listing counts: above 0 against the client, below 0 for it.")
    answers: tuple[Network, ...] = Field(
        default=(ipaddress.ip_network("127.0.0.0/8"),),
        description="Which answers count, for lists that say different things with different addresses.",
    )


class Greylist(Section):
    """Asking unknown senders to come again (RFC 6647)."""

    enabled: Flag = Field(default=False, description="Greylist strangers on listeners of role mx.")
    delay: Duration = Field(default=5 * MINUTE, gt=0, description="How soon a sender may come again.")
    retry_within: Duration = Field(default=2 * DAY, gt=0, description="How late it may; after that it begins anew.")
    remember: Duration = Field(
        default=36 * DAY, gt=0, description="How long who got through is known, since last time."
    )
    known_after: Count = Field(
        default=5, description="Different senders and recipients after which a whole network is known; 0 is never."
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.delay >= self.retry_within:
            yield "delay", "Is not shorter than retry_within: nothing would ever get through."


class OwnNames(Section):
    """In whose name users send, and what their messages must have: a part of [submission]."""

    own_addresses: Flag = Field(
        default=True,
        description="An account sends, in MAIL and in the From field, only as its own addresses: those whose mail "
        "comes to it.",
    )
    send_as: tuple[SendAs, ...] = Field(
        default=(),
        description='What accounts may send as besides: "alice@example.org sales@example.org", or a domain behind '
        "the account.",
    )
    complete: Flag = Field(
        default=True,
        description="Add Date, Message-ID, From and Sender where they are missing (RFC 6409 §8), and take Bcc out.",
    )

    def more_names(self) -> dict[str, frozenset[str]]:
        """An account's address -> what else it may send as, in comparable form."""
        found: dict[str, set[str]] = {}
        for line in self.send_as:
            account, other = line.split()
            local, at, domain = other.rpartition("@")
            found.setdefault(account.casefold(), set()).add(f"{local.casefold()}{at}{a_label(domain)}")
        return {account: frozenset(names) for account, names in found.items()}
