"""What a conversation held by hand leaves behind: its lines with their times, for `:save`.

Lives here: keeping them in memory, within bounds, and writing them down as a talk.
Does not live here: masking (protocol/by_hand.py does it before a line gets here), the form (protocol/talk.py).
"""

from __future__ import annotations

import os
from pathlib import Path

from glasspost.clock import Clock
from glasspost.errors import GlasspostError
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, Line, print_talk

KEPT_OCTETS = 8 << 20


class Notebook:
    """A tap (protocol/chat.py) that also takes notes."""

    def __init__(self, clock: Clock, opening: str) -> None:
        """`opening` is the first note: with whom, and when."""
        self._clock = clock
        self._started = clock.now()
        self._lines = [Line(NOTE, opening.encode())]
        self._octets = 0

    def heard(self, line: bytes) -> None:
        self._keep(SERVER, line)

    def said(self, text: bytes) -> None:
        self._keep(CLIENT, text.removesuffix(b"\r\n"))

    def note(self, text: str) -> None:
        self._keep(NOTE, text.encode("utf-8", "surrogateescape"))

    def _keep(self, who: str, octets: bytes) -> None:
        if self._octets > KEPT_OCTETS:
            return
        self._octets += len(octets) + 50
        if self._octets > KEPT_OCTETS:
            who, octets = NOTE, b"further lines not kept: this conversation is too long"
        # To the millisecond, as it will be written: what is read back is what is here.
        at = round(max(0.0, self._clock.now() - self._started), 3)
        self._lines.append(Line(who, octets, at))

    @property
    def lines(self) -> list[Line]:
        return list(self._lines)

    def save(self, path: Path) -> int:
        """Write the talk so far, for its owner's eyes only; how many lines it has. Raises GlasspostError."""
        part = path.with_name(path.name + ".part")
        text = print_talk(self._lines, times=True)
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            part.replace(path)
        except OSError as error:
            raise GlasspostError(f"{path} cannot be written: {error.strerror}") from None
        return len(self._lines)
