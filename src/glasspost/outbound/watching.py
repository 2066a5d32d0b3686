"""A conversation of ours that somebody watches: each line as it goes out, each answer with its question.

Lives here: `Watcher`, which sits where a recording sits and makes sights of what it hears, and the conversation that
can be looked at and slowed down.
Does not live here: the sights (sights.py), the order of things in a conversation (trial.py).

A secret never becomes a sight: the tap hears only the public form of what we say, and a server that repeats a password
of ours is masked here.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from glasspost.mail.reply import Reply, read_reply
from glasspost.net.dialer import Callee
from glasspost.outbound.conversation import Conversation, ConversationSettings
from glasspost.outbound.sights import Gone, Heard, Moving, Said, Watch
from glasspost.protocol.smtp_client import SmtpClient
from glasspost.protocol.smtp_client_events import Step
from glasspost.protocol.smtp_secrets import MASK
from glasspost.protocol.talk import escape

if TYPE_CHECKING:
    from glasspost.storage.transcripts import Recording

PIECE = 64 * 1024  # octets of a message between two looks at how far it is
CHUNK = 1024 * 1024  # the same where each piece is a BDAT of its own

# What comes to no command: the greeting, and the verdict on a message.
_UNCOMMANDED = frozenset({Step.GREETING, Step.DOT, Step.CONTENT})


class Watcher:
    """A tap that makes sights. `now` gives seconds since the first call began."""

    def __init__(self, watch: Watch, now: Callable[[], float], secrets: Iterable[bytes] = ()) -> None:
        self.watch = watch
        self.now = now
        self.replies: list[Heard] = []
        self.client: SmtpClient | None = None
        self._secrets = [secret for secret in secrets if secret]
        self._unsaid: list[bytes] = []  # said by the core, not on the wire yet
        self._asked: deque[tuple[bytes, float]] = deque()
        self._lines: list[bytes] = []
        self._last_at = now()  # when anything of ours left
        self.arrived = now()  # when anything of theirs came: whoever watches may take his time over it

    def said(self, text: bytes) -> None:
        self._unsaid.append(text)

    def left(self) -> None:
        """What was said is on the wire now."""
        self._last_at = self.now()
        if self._unsaid:
            lines = tuple(line for text in self._unsaid for line in text.split(b"\r\n")[:-1])
            self._unsaid.clear()
            self._asked.extend((line, self._last_at) for line in lines)
            self.watch(Said(self._last_at, lines))

    def heard(self, line: bytes) -> None:
        self._lines.append(self._masked(line))
        if line[3:4] == b"-":
            return
        lines, self._lines = tuple(self._lines), []
        step = self.client.awaited if self.client is not None else None
        command, asked_at = b"", self._last_at
        if step is not None and step not in _UNCOMMANDED and self._asked:
            command, asked_at = self._asked.popleft()
        took = self.arrived - asked_at
        sight = Heard(self.arrived, lines, _read(lines), step, escape(command), max(0.0, took))
        self.replies.append(sight)
        self.watch(sight)

    def _masked(self, line: bytes) -> bytes:
        for secret in self._secrets:
            line = line.replace(secret, MASK)
        return line

    def public(self, reply: Reply) -> Reply:
        """A reply as it may be shown, whatever the server put into it."""
        text = self._masked(reply.text.encode()).decode() if self._secrets else reply.text
        return replace(reply, text=text)

    def note(self, text: str) -> None:
        """A conversation's own notes are for the store; whoever watches is shown sights."""

    def close(self, verdict: str = "") -> None:
        """The connection is gone. How it ended is the trial's to say."""


def _read(lines: tuple[bytes, ...]) -> Reply:
    """The reply; what is none has the code 0."""
    texts = [line.decode("utf-8", "replace") for line in lines]
    if all(line[:3].isdigit() for line in lines):
        return read_reply(texts)
    return Reply(0, "", "\n".join(texts))


class WatchedConversation(Conversation):
    """A conversation that is looked at. `pause`: seconds to wait before anything is said.

    `on_opened` is told when the connection stands, before anything is heard on it.
    """

    __slots__ = ("_body", "_on_opened", "_pause", "_waiting", "watcher")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: ConversationSettings,
        host: Callee,
        watcher: Watcher,
        on_opened: Callable[[WatchedConversation], None],
        pause: float = 0.0,
    ) -> None:
        self.watcher = watcher
        self._on_opened = on_opened
        self._pause = pause
        self._waiting: list[bytes] = []
        self._body: WatchedContent | None = None
        # A conversation tells a recording no more than a watcher can hear.
        listener = cast("Recording", watcher)
        super().__init__(loop, settings, host, lambda ours, server: listener, lambda gone: None)

    def give(self, content: bytes) -> WatchedContent:
        """The content for the next transaction, to be looked at as it goes."""
        chunked = self.settings.client.chunking and self.client.offered.chunking
        self._body = WatchedContent(content, self.watcher, CHUNK if chunked else PIECE)
        return self._body

    def opened(self) -> None:
        super().opened()
        self.watcher.client = self.client
        self._on_opened(self)

    def received(self, data: bytes) -> None:
        self.watcher.arrived = self.watcher.now()
        super().received(data)

    def send(self, data: bytes) -> None:
        if not self._pause:
            self._let_go(data)
            return
        self._waiting.append(data)
        if len(self._waiting) == 1:
            self.loop.call_later(self._pause, self._speak)

    def _speak(self) -> None:
        data, self._waiting = b"".join(self._waiting), []
        if self.is_open:
            self._let_go(data)

    def _let_go(self, data: bytes) -> None:
        super().send(data)
        left_at = self.watcher.now()
        self.watcher.left()
        if self._body is not None and self._body.is_given:
            self._body.announce(left_at)
            self._body = None


class WatchedContent:
    """A message that says how far it is. A small one goes in one piece."""

    def __init__(self, octets: bytes, watcher: Watcher, piece: int) -> None:
        self._piece = piece
        self.size = len(octets)
        self.is_given = False
        self._octets = octets
        self._watcher = watcher
        self._began = 0.0

    @property
    def data(self) -> bytes | None:
        if self.size > self._piece:
            return None
        self._began = self._watcher.now()
        self.is_given = True
        return self._octets

    async def chunks(self) -> AsyncIterator[bytes]:
        self._began = self._watcher.now()
        for start in range(0, self.size, self._piece):
            self._watcher.watch(Moving(self._watcher.now(), start, self.size))
            yield self._octets[start : start + self._piece]
        self.is_given = True

    def announce(self, left_at: float) -> None:
        """All of it has left."""
        self._watcher.watch(Gone(left_at, self.size, left_at - self._began))


def forms_of(username: str, password: str) -> list[bytes]:
    """A secret as it might be repeated to us: plain, and in the base64 of AUTH LOGIN and AUTH PLAIN."""
    if not password:
        return []
    user, secret = username.encode(), password.encode()
    return [secret, base64.b64encode(secret), base64.b64encode(b"\0" + user + b"\0" + secret)]
