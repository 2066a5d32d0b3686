"""The settings of what is kept on record, and of what is said in words: transcripts, reports, explanations.

Lives here: their names, meanings, defaults and units.
Does not live here: the other sections (settings.py), turning them into what the rooms need (wiring.py).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from glasspost.node.values import (
    DAY,
    GB,
    KB,
    Duration,
    File,
    Flag,
    Section,
    Size,
    Text,
)


class Transcripts(Section):
    """The record of every conversation, passwords masked."""

    enabled: Flag = Field(default=True, description="Record conversations.")
    keep: Duration = Field(default=30 * DAY, description="How long a conversation is kept; 0 is for ever.")
    max_size: Size = Field(default=1 * GB, description="All of them together; the oldest go first. 0 is no limit.")
    addresses: Literal["keep", "mask"] = Field(
        default="keep",
        description='Mail addresses on record: "keep" them, or "mask" what stands before the @ with a pseudonym. Who '
        "has the key in the data folder can still ask `why` by address (docs/talks.md).",
    )
    subjects: Literal["keep", "mask"] = Field(
        default="keep",
        description='Subjects of messages on record: "keep" them, or "mask" them: they are then not stored, and `why` '
        "does not find a message by its subject.",
    )
    readers: Text = Field(
        default="",
        description="The Unix group that may read the record, and nothing else of the data folder. Empty: only the "
        "node's own user.",
    )


class Reports(Section):
    """Bounces and delay notices (RFC 3464)."""

    full_original_limit: Size = Field(
        default=100 * KB,
        description="The largest original that comes back whole; of a larger one, only its header (RFC 3461 §4.3).",
    )
    language: Literal["en", "zh", "both"] = Field(
        default="en",
        description="The language in which a report explains what the other server said; "
        'the rest of a report is English. "both" is English and Chinese.',
    )


class Explain(Section):
    """What other servers' replies mean, in words: `glasspost explain`."""

    folder: File = Field(
        default=None,
        description="A folder of .toml files with entries of your own, which go before those that glasspost brings "
        "along; docs/explain.md says how they are written.",
    )
    language: Literal["auto", "en", "zh"] = Field(
        default="auto",
        description='The language of explanations: "en" is English, "zh" Chinese, "auto" what LANG says on the '
        "command line.",
    )
