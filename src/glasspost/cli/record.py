"""The record as commands open it and print it.

Lives here: opening a data folder's record, a conversation in a line or two and in JSON, a search as it was typed.
Does not live here: the commands (conversations.py, conversations_search.py, why.py).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from glasspost.cli.directory import Mistyped

if TYPE_CHECKING:
    from glasspost.storage.filters import Search
    from glasspost.storage.talks import Conversation, Talks

_MARGIN = "    "


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


def conversation_lines(one: Conversation, columns: int) -> list[str]:
    """Id, when, kind, the other end, how it went: in one line. Where it is wider than `columns` the year and parts of
    a second go; where it still is, how it went stands in lines of its own below."""
    from glasspost.explain.typography import visible, width, wrapped
    from glasspost.storage.talks import moment

    verdict = one.verdict or ("" if one.ended else "(going on)")
    when = moment(one.started)
    short = f"{when[5:10]} {when[11:19]}"
    for head in (
        f"{one.id}  {when}  {one.kind:<8}  {one.peer:<21}",
        f"{one.id}  {short}  {one.kind:<8}  {one.peer:<15}",
    ):
        line = visible(f"{head}  {verdict}".rstrip())
        if width(line) <= columns:
            return [line]
    below = wrapped(verdict, columns - len(_MARGIN), cut=True) if verdict else []
    return [*wrapped(head, columns, cut=True), *(_MARGIN + part for part in below)]


def columns_of(stream: TextIO) -> int:
    """How wide a terminal is; what is none takes lines of any length."""
    return shutil.get_terminal_size().columns if stream.isatty() else 1 << 30


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
