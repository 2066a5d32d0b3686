"""The record as commands open it and print it.

Lives here: opening a data folder's record, a conversation in one line and in JSON, a search as it was typed.
Does not live here: the commands (conversations.py, conversations_search.py, why.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from glasspost.cli.directory import Mistyped

if TYPE_CHECKING:
    from glasspost.storage.filters import Search
    from glasspost.storage.talks import Conversation, Talks


@contextmanager
def talks_in(data: Path) -> Iterator[Talks]:
    """The record of a data folder. Raises StoreError, or NotFound where nothing was ever recorded."""
    from glasspost.storage.folder import Folder
    from glasspost.storage.talks import Talks

    folder = Folder(data)
    folder.must_exist()
    talks = Talks(folder.transcripts)
    try:
        yield talks
    finally:
        talks.close()


def typed_search(words: Sequence[str], data: Path) -> Search:
    """A search from the command line's words. The shell has taken quotes off: a word that had some gets them back."""
    from glasspost.storage.filters import read_search
    from glasspost.storage.folder import Folder
    from glasspost.storage.masking import Pseudonyms, read_key

    for word in words:
        if word.startswith("--"):
            raise Mistyped(f"there is no option {word}; try --help")
    key = read_key(Folder(data).transcripts_key)
    whole = words[0] if len(words) == 1 else " ".join(_quoted(word) for word in words)
    return read_search(whole, time.time(), Pseudonyms(key) if key else None)


def _quoted(word: str) -> str:
    if " " not in word or '"' in word:
        return word
    name, colon, pattern = word.partition(":")
    return f'{name}:"{pattern}"' if colon and " " not in name else f'"{word}"'


def conversation_line(one: Conversation) -> str:
    """Id, when, kind, the other end, how it went."""
    from glasspost.storage.talks import moment

    verdict = one.verdict or ("" if one.ended else "(going on)")
    return f"{one.id}  {moment(one.started)}  {one.kind:<8}  {one.peer:<21}  {verdict}".rstrip()


def conversation_facts(one: Conversation) -> dict[str, object]:
    return {
        "id": one.id,
        "kind": one.kind,
        "started": one.started,
        "ended": one.ended or None,
        "local": one.local,
        "peer": one.peer,
        "verdict": one.verdict,
        "lines": one.lines,
        "octets": one.octets,
    }
