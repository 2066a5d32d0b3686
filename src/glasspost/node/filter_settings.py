"""The settings of those who have a say beside the house: hooks, milters, rspamd.

Lives here: one class per section, a field per setting, as in settings.py, which holds all other sections.
Does not live here: what is done with them (inbound/hooks.py, inbound/milter.py, inbound/rspamd.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from glasspost.node.values import MB, MINUTE, Duration, File, Kind, Positive, Section, Size, Text

Clients = Literal["strangers", "all"]
WhenDown = Literal["tempfail", "accept"]

_CLIENTS = 'Whose mail it sees: of "strangers" (neither signed in nor in relay_networks), or of "all".'
_WHEN_DOWN = (
    'What becomes of mail while it does not answer: "tempfail" asks the client to come back (451), "accept" takes the '
    "mail unseen, and the transcript says so."
)


def read_filter_address(value: object) -> str:
    """`127.0.0.1:11332`, `[::1]:11332`, `filter.example.org:11332` or `unix:/run/filter.sock`."""
    text = value.strip() if isinstance(value, str) else ""
    if text.startswith("unix:/") and "\0" not in text:
        return text
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})", text)
    if found is None or not 1 <= int(found[2]) <= 65535:
        raise ValueError(f'"{text}" is no milter\'s address. Write "127.0.0.1:11332" or "unix:/run/filter.sock".')
    return text


def read_filter_url(value: object) -> str:
    """`http://127.0.0.1:11333`; https too. Empty: none."""
    text = value.strip().rstrip("/") if isinstance(value, str) else "?"
    if text and not re.fullmatch(r"https?://[^/\s?#@]+(/[^\s?#]*)?", text):
        named = "That" if "@" in text else f'"{text}"'  # a password may stand before the @
        raise ValueError(f'{named} is no address of an rspamd. Write it like "http://127.0.0.1:11333".')
    return text


MilterAddress = Annotated[str, BeforeValidator(read_filter_address), Kind("host:port, or unix:/path")]
RspamdUrl = Annotated[str, BeforeValidator(read_filter_url), Kind("URL, or empty")]


class Hooks(Section):
    """Rules of your own, in a Python file (docs/hooks.md)."""

    file: File = Field(default=None, description="The file with the functions. Empty: no hooks.")
    timeout: Duration = Field(
        default=10.0, gt=0, description="How long one call may take; then the client is asked to come back (451)."
    )
    threads: Positive = Field(default=8, description="Plain functions (not async) that may run at one time.")
    message_limit: Size = Field(
        default=1 * MB,
        description="The largest message that `data` sees whole; of a larger one it sees the first 64 KB.",
    )


class Milter(Section):
    """A mail filter that speaks the milter protocol (docs/filters.md); write one [[milter]] for each. They are asked
    in the order in which they are written."""

    address: MilterAddress = Field(description="Where it listens.")
    name: Text = Field(default="", description="What transcripts call it. Empty: its address.")
    clients: Clients = Field(default="all", description=_CLIENTS)
    when_down: WhenDown = Field(default="tempfail", description=_WHEN_DOWN)
    connect_timeout: Duration = Field(default=5.0, gt=0, description="For a connection to it, and its first words.")
    command_timeout: Duration = Field(default=30.0, gt=0, description="For its answer to each step but the last.")
    message_timeout: Duration = Field(
        default=2 * MINUTE, gt=0, description="For its verdict on a whole message; each sign of life begins it anew."
    )


class Rspamd(Section):
    """rspamd, asked over HTTP about each message (docs/filters.md)."""

    url: RspamdUrl = Field(
        default="", description='Where its normal worker listens: "http://127.0.0.1:11333". Empty: it is not asked.'
    )
    clients: Clients = Field(default="strangers", description=_CLIENTS)
    when_down: WhenDown = Field(default="tempfail", description=_WHEN_DOWN)
    timeout: Duration = Field(default=30.0, gt=0, description="For its verdict.")
    max_size: Size = Field(
        default=20 * MB, description="The largest message it is shown; a larger one is taken unseen. 0: no limit."
    )


def contradictions(milters: tuple[Milter, ...]) -> Iterator[tuple[str, str]]:
    """No filter is asked twice."""
    addresses: set[str] = set()
    for number, milter in enumerate(milters):
        if milter.address in addresses:
            yield f"milter.{number}.address", f"Another milter has {milter.address} already."
        addresses.add(milter.address)
