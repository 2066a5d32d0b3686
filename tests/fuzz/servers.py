"""What the targets for servers share: a conversation that was held, the tap on it, and what no cutting may change.

Lives here: `Held`, `Tap`, and the two laws that hold for SMTP and POP3 alike.
Does not live here: the conversations (server_target.py, pop3_target.py), the client's (client_target.py).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field


@dataclass
class Held:
    """A conversation that was held: all that may not depend on the cutting."""

    said: bytes = b""
    tap: list[bytes] = field(default_factory=list)
    events: list[Hashable] = field(default_factory=list)
    state: str = ""


class Tap:
    """Keeps what it hears, and in `recent` what it heard since a sign-in last began; `begins` knows such a line."""

    def __init__(self, held: Held, begins: Callable[[bytes], bool]) -> None:
        self.held = held
        self.recent: list[bytes] = []
        self._begins = begins

    def heard(self, line: bytes) -> None:
        self.held.tap.append(b"C" + line)
        if self._begins(line):
            self.recent.clear()
        self.recent.append(line)

    def said(self, text: bytes) -> None:
        self.held.tap.append(b"S" + text)

    def check_secret(self, password: str, words: bytes) -> None:
        """The tap heard nothing of a password; `words` are heard anyhow."""
        heard = b"\n".join(self.recent)
        for secret in (password.encode(), base64.b64encode(password.encode())):
            if len(secret) >= 5 and secret.upper() not in words:
                assert secret not in heard, f"the tap heard a password: {heard!r}"


def check_same(first: Held, other: Held) -> None:
    """However the octets are cut, the conversation is the same."""
    assert other.events == first.events, "another cutting, other events"
    assert other.said == first.said, "another cutting, other replies"
    assert other.tap == first.tap, "another cutting, another tap"
    assert other.state == first.state, "another cutting, another state"
