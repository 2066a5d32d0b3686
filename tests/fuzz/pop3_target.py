"""Whatever a client sends, and however it is cut, the POP3 server's core holds the same conversation.

Lives here: that invariant and its kin, for protocol/pop3_server.py and pop3_content.py:

- every cutting of the commands, and of the messages that are fetched, gives the same octets back and the same tap;
- nothing raises, and no more is kept unread than a line may have;
- what RETR sends is the message with dots put in: taken out again it is the message, octet for octet;
- a password never reaches the tap, and nothing is left unread when TLS is about to begin (law 6).

Does not live here: breeding (engine.py). The first octet of an input chooses the settings and the maildrop.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from fuzz.engine import Target, cuttings
from fuzz.servers import Held, Tap, check_same
from glasspost.mail import pop3_reply as replies
from glasspost.protocol import sasl
from glasspost.protocol.pop3_events import Event, Fetch, Pop3Settings, SignIn, StartTls, Update
from glasspost.protocol.pop3_server import Pop3Server
from glasspost.protocol.pop3_table import VERBS
from glasspost.protocol.sasl import Credentials

_STLS = re.compile(rb"(?i)stls[^\n]*\n")
MESSAGES = (
    b"Subject: one\r\n\r\nHello\r\n",
    b".\r\n..\r\n.x\r\n\r\n.\r\n.\r\n",
    b"Subject: no end",
    "Subject: ünter\r\n\r\nbödy\r\n".encode(),
    b"",
    b"\r\n\r\n\r\n.",
    b"X: " + b"y" * 3000 + b"\r\n\r\n" + b"line\r\n.dot\r\n" * 60,
)


@dataclass(frozen=True)
class Deposit:
    uid: str
    content: bytes

    @property
    def octets(self) -> int:
        return len(self.content)


class Play:
    """One conversation in one cutting; `step` octets of a message at a time."""

    def __init__(self, choice: int, step: int) -> None:
        self.held = Held()
        self.tap = Tap(self.held, lambda line: line.lstrip()[:4].upper() in (b"AUTH", b"PASS"))
        self._step = step
        settings = Pop3Settings(
            "pop.example.test",
            cleartext_auth=("never", "loopback", "always", "always")[choice & 3],  # type: ignore[arg-type]
            headers_in_utf8="refuse" if choice & 4 else "send",
            max_errors=20 if choice & 8 else 1_000_000,
            max_failed_sign_ins=3 if choice & 8 else 1_000_000,
        )
        self._maildrop = [
            Deposit(f"u{number}", MESSAGES[number % len(MESSAGES)])
            for number in range(0 if choice & 16 else 250 if choice & 32 else len(MESSAGES))
        ]
        self.core = Pop3Server(
            settings,
            self.tap,
            stls=bool(choice & 64),
            secured=bool(choice & 128),
            from_loopback=True,
            conversation="c00000000001",
        )

    def hold(self, pieces: list[bytes]) -> Held:
        core = self.core
        for piece in pieces:
            core.receive(piece)
            while True:
                event = core.next_event()
                self.held.said += core.take_output()
                if event is not None:
                    self._meet(event)
                    self.held.said += core.take_output()
                elif not core.unfinished:
                    break
            assert core.finished or core.unread <= sasl.LINE_LIMIT + 1
        self.held.state = f"{core.state.name} {core.finished}"
        return self.held

    def _meet(self, event: Event) -> None:
        core = self.core
        match event:
            case SignIn():
                question = event.question
                password = question.password if isinstance(question, Credentials) else ""
                self.held.events.append(("sign in", question.username, password))
                if password:
                    self.tap.check_secret(password, b"AUTH PLAIN PASS [MASKED]")
                if "good" in password:
                    core.opened(self._maildrop)
                else:
                    core.refuse_sign_in()
            case StartTls():
                assert core.unread == 0, "octets in the clear would cross into TLS"
                self.held.events.append(("tls",))
                core.answer(replies.TLS_READY)
                self.held.said += core.take_output()
                assert core.secured()
            case Update():
                self.held.events.append(("update", tuple(one.uid for one in event.doomed), event.left))
                core.answer(replies.BYE)
            case Fetch():
                self._send(event)

    def _send(self, fetch: Fetch) -> None:
        core, content = self.core, fetch.deposit.content  # type: ignore[attr-defined]
        self.held.said += core.take_output()
        before = len(self.held.said)
        wanted = True
        for at in range(0, len(content), self._step):
            wanted = core.send_piece(content[at : at + self._step])
            if not wanted:
                break
        octets = core.end_message()
        self.held.said += core.take_output()
        reply, _, sent = self.held.said[before:].partition(b"\r\n")
        self.held.events.append(("fetch", fetch.number, fetch.lines, octets is None))
        if octets is None:
            assert reply.startswith(b"-ERR") and not sent
            return
        assert reply.startswith(b"+OK") and sent.endswith(b".\r\n")
        plain = b"\r\n".join(line[1:] if line[:1] == b"." else line for line in sent[:-3].split(b"\r\n"))
        expected = content if fetch.lines is None else _top(content, fetch.lines)
        assert octets == len(expected)
        assert plain in (expected, expected + b"\r\n"), "taken off again, the dots do not leave the message"


def _top(content: bytes, lines: int) -> bytes:
    """TOP, read the simple way: the header, the empty line, so many lines."""
    joined = b"\r\n" + content
    end = joined.find(b"\r\n\r\n")
    if end < 0:
        return content
    at = end + 2
    for _ in range(min(lines, content.count(b"\r\n", at))):
        at = content.index(b"\r\n", at) + 2
    return content if lines > content.count(b"\r\n", end + 2) else content[:at]


def run(data: bytes) -> Iterator[Hashable]:
    choice, data = (data[0], data[1:]) if data else (0, b"")
    if len(data) > 6_000:
        data = data[:6_000]  # a listing of 250 lines for each command is long enough
    ways = cuttings(data, 4, at=[found.end() for found in _STLS.finditer(data)])
    first = Play(choice, 1 << 20).hold(ways[0])
    for pieces, step in zip(ways[1:], (1, 7, 1000), strict=False):
        other = Play(choice, step).hold(pieces)
        check_same(first, other)
    before: Hashable = ""
    for entry in first.tap:
        word = entry[1:].split(b" ", 1)[0][:6].upper()
        if entry[:1] == b"C":
            before = word if word.decode("ascii", "replace") in VERBS else b"?"
        else:
            yield before, entry[1:22].rstrip(b"0123456789"), choice & 4
            before = before, entry[1:4]
    for event in first.events:
        yield event[0], len(event)  # type: ignore[index,arg-type]
    yield first.state, min(len(first.events), 20)


def seeds() -> list[bytes]:
    sign_in = b"USER anna\r\nPASS secret-good\r\n"
    talks = [
        b"CAPA\r\n" + sign_in + b"STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nRETR 2\r\nDELE 1\r\nRETR 1\r\nQUIT\r\n",
        sign_in + b"TOP 2 1\r\nTOP 7 30\r\nTOP 3 0\r\nLIST 1\r\nUIDL 2\r\nDELE 3\r\nRSET\r\nNOOP\r\nQUIT\r\n",
        b"AUTH PLAIN\r\nAGFubmEAc2VjcmV0LWdvb2Q=\r\nRETR 4\r\nUTF8\r\nRETR 4\r\nQUIT\r\n",
        b"UTF8\r\nAUTH PLAIN AGFubmEAc2VjcmV0LWdvb2Q=\r\nRETR 4\r\nRETR 5\r\nRETR 6\r\nQUIT\r\n",
        b"STLS\r\nCAPA\r\n" + sign_in + b"LIST\r\nQUIT\r\n",
        b"USER anna\r\nPASS wrong\r\nPASS x\r\nAUTH\r\nAUTH FOO\r\nAUTH PLAIN *\r\n*\r\nQUIT\r\n",
        b"PASWORD hello\r\nUSER\r\nLIST\r\nRETR\r\nBLAH\r\nQUIT now\r\n",
    ]
    return [bytes([choice]) + data for data in talks for choice in (2, 0x4F, 0x26, 0x90)]


WORDS = (
    b"USER anna\r\n", b"PASS secret-good\r\n", b"PASS no\r\n", b"USER anna\r\nPASS secret-good\r\n", b"CAPA\r\n",
    b"STLS\r\n", b"UTF8\r\n", b"AUTH\r\n", b"AUTH PLAIN\r\n", b"AGFubmEAc2VjcmV0LWdvb2Q=\r\n", b"*\r\n", b"=\r\n",
    b"STAT\r\n", b"LIST\r\n", b"LIST 1\r\n", b"UIDL\r\n", b"UIDL 2\r\n", b"RETR 1\r\n", b"RETR 2\r\n", b"RETR 7\r\n",
    b"TOP 7 3\r\n", b"TOP 2 0\r\n", b"TOP 6 99\r\n", b"DELE 1\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"APOP",
    b"PASS ", b"pass", b"A" * 2046, b"A" * 12286, b"\r\n", b"\n", b"\r",
)  # fmt: skip
TARGET = Target("pop3-server", run, seeds, WORDS, (__doc__ or "").partition("\n")[0])
