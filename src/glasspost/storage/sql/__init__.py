"""The store's SQL, as named queries in files, one folder per engine.

Lives here: reading `sql/<engine>/<room>.sql` into statements with names. A query stands below its name:

    -- name: claim_due
    -- Why it is as it is.
    SELECT ...

Does not live here: when a query runs (spool.py, mailboxes.py, accounts.py, transcripts.py).
"""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class Queries:
    """The queries of one room, as attributes: `queries.claim_due`. An unknown name is an AttributeError at once."""

    def __init__(self, engine: str, room: str) -> None:
        text = files(__package__).joinpath(engine, f"{room}.sql").read_text("utf-8")
        parts = _NAME.split(text)
        self._texts = {name: _strip(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}

    def __getattr__(self, name: str) -> str:
        try:
            return self._texts[name]
        except KeyError:
            raise AttributeError(f"no query named {name}") from None


def migrations(engine: str, room: str) -> list[str]:
    """The room's schema as numbered steps: `<room>.schema.sql`, its steps named m001, m002, ... in order."""
    text = files(__package__).joinpath(engine, f"{room}.schema.sql").read_text("utf-8")
    parts = _NAME.split(text)
    return [_strip(body) for body in parts[2::2]]


def _strip(body: str) -> str:
    """The statement without its comment lines: they would be parsed anew with every first use of it."""
    return "\n".join(line for line in body.strip().splitlines() if not line.startswith("--"))
