"""Whatever a client sends, and however it is cut, the SMTP server's core holds the same conversation.

Lives here: that invariant and its kin, for protocol/smtp_server.py:

- every cutting gives the same replies, the same events, the same tap; answers given at once or late change nothing;
- nothing raises, and no more is kept unread than a line may have;
- a message ends where the first CRLF.CRLF stands and nowhere else, and comes out with exactly its stuffing taken off:
  a second, simpler reading of the same octets says so (law 5);
- what was a password never reaches the tap (law 4), and nothing is left unread when TLS is about to begin (law 6);
- each reply is made of whole lines, and each refusal ends with the conversation's id.

Does not live here: breeding (engine.py). The first octet of an input chooses the listener's settings.
"""

from __future__ import annotations

import random
import re
from collections.abc import Hashable, Iterator
from itertools import pairwise

from fuzz.engine import Target, cuttings
from fuzz.servers import Held, Tap, check_same
from fuzz.talks import client_side
from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.protocol import smtp_events as events
from glasspost.protocol.sasl import Credentials
from glasspost.protocol.smtp_offer import ServerSettings
from glasspost.protocol.smtp_server import SmtpServer
from glasspost.protocol.smtp_table import TABLE, State

TAG = "c00000000001"
_STARTTLS = re.compile(rb"(?i)starttls[^\n]*\n")
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_REPLIES = re.compile(rb"(?:[2-5][0-9][0-9](?:-[^\r\n]*\r\n[2-5][0-9][0-9])*(?: [^\r\n]*)?\r\n)*")


def settings_of(choice: int) -> ServerSettings:
    """The listener that an input's first octet asks for."""
    return ServerSettings(
        "mail.example.test",
        max_size=2_000 if choice & 1 else 50_000_000,
        max_recipients=3 if choice & 2 else 1000,
        max_transactions=2 if choice & 1 else 0,
        max_errors=10 if choice & 4 else 1_000_000,
        line_limit=512 if choice & 8 else 2048,
        repair_newlines=bool(choice & 16),
        smtputf8=not choice & 128,
        tls_available=bool(choice & 32),
        mechanisms=("PLAIN", "LOGIN") if choice & 64 else (),
        cleartext_auth=bool(choice & 64),
    )


class Play:
    """One conversation, in one cutting. `late`: answers are given only once everything has come."""

    def __init__(self, choice: int, data: bytes, *, late: bool) -> None:
        self.held = Held()
        self.tap = Tap(self.held, lambda line: line[:4].upper() == b"AUTH")
        self.settings = settings_of(choice)
        self.core = SmtpServer(self.settings, self.tap, TAG)
        self.core.greet()
        self._data = data
        self._fed = 0
        self._late = late
        self._body: list[bytes] = []
        self._body_from = -1  # where in the stream a DATA's content begins

    def hold(self, pieces: list[bytes]) -> Held:
        core = self.core
        waiting: events.Event | None = None
        for piece in pieces:
            self._fed += len(piece)
            core.receive(piece)
            if waiting is None or not self._late:
                waiting = self._pull()
        while waiting is not None:
            self._answer(waiting)
            waiting = self._pull()
        self.held.said += core.take_output()
        self.held.state = core.state.name
        return self.held

    def _pull(self) -> events.Event | None:
        """Take events; answer at once, or hand out the first that asks."""
        core = self.core
        while (event := core.next_event()) is not None:
            self._note(event)
            if event.asks:
                if self._late and not isinstance(event, events.StartTls):
                    return event
                self._answer(event)
        self.held.said += core.take_output()
        assert core.owed is not None or core.state is State.CLOSED or core.chat.unread <= core.chat.line_limit + 1
        return None

    def _note(self, event: events.Event) -> None:
        if isinstance(event, events.Body):
            assert event.data, "an empty piece"
            self._body.append(event.data)
            return
        name = type(event).__name__
        if isinstance(event, events.BodyEnded):
            body = b"".join(self._body)
            assert event.octets == len(body), "the count is another than the octets"
            if event.verb == "DATA":
                self._check_body(body)
            self.held.events.append((name, event.verb, body))
            self._body.clear()
        elif isinstance(event, events.Mail):
            self.held.events.append((name, repr(event.envelope)))
        elif isinstance(event, events.Rcpt):
            self.held.events.append((name, repr(event.recipient)))
        else:
            self.held.events.append((name, event.verb))
        if isinstance(event, (events.Forgotten, events.Hello)):
            self._body.clear()
        if isinstance(event, events.SignIn) and isinstance(event.question, Credentials):
            self.tap.check_secret(event.question.password, b"AUTH PLAIN AUTH LOGIN [MASKED]")
        if isinstance(event, events.StartTls):
            assert self.core.chat.unread == 0, "octets in the clear would cross into TLS"

    def _check_body(self, body: bytes) -> None:
        """The content, read again the simple way: up to CRLF.CRLF, then line by line."""
        rest = b"\r\n" + self._data[self._body_from :]
        end = rest.find(b"\r\n.\r\n")
        assert end >= 0, "ended without CRLF.CRLF"
        content = rest[2 : end + 2]
        lines = content.split(b"\r\n")
        plain = b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)
        assert body == (_LONE.sub(b"\r\n", plain) if self.settings.repair_newlines else plain)
        assert not _LONE.search(body)

    def _answer(self, event: events.Event) -> None:
        if isinstance(event, events.Data):
            self._body_from = self._fed - self.core.chat.unread
            self._body.clear()
        reply = _verdict(event)
        self.core.answer(reply)
        if isinstance(event, events.StartTls) and reply.positive:
            self.held.said += self.core.take_output()
            self.core.secured()


def _verdict(event: events.Event) -> Reply:
    """A house that takes some and refuses others; who, hangs on what they say."""
    match event:
        case events.Hello():
            return say.HELLO.saying(hostname="mail.example.test", client=event.name)
        case events.Mail():
            path = event.envelope.reverse_path
            return say.LOCAL_ERROR if path is not None and path.local.startswith("x") else say.SENDER_OK
        case events.Rcpt():
            local = event.recipient.address.local
            if local.startswith("x"):
                return say.NO_SUCH_USER.saying(address=event.recipient.address)
            return say.MAILBOX_FULL.saying(address=local) if local.startswith("f") else say.RECIPIENT_OK
        case events.Data():
            return say.GO_AHEAD
        case events.SignIn():
            question = event.question
            good = isinstance(question, Credentials) and "good" in question.password
            return say.AUTH_OK if good else say.AUTH_FAILED
        case events.StartTls():
            return say.TLS_READY
        case events.BodyEnded():
            return say.SYSTEM_FULL if event.octets % 7 == 6 else say.QUEUED.saying(queue_id="q1")
        case events.Verify():
            return say.VERIFY_NOT_SAID
        case _:
            return say.EXPAND_NOT_SAID


def run(data: bytes) -> Iterator[Hashable]:
    choice, data = (data[0], data[1:]) if data else (0, b"")
    # Octets behind STARTTLS in one segment end the conversation, by law: so all cuttings cut there.
    ways = cuttings(data, 4, at=[found.end() for found in _STARTTLS.finditer(data)])
    # And what comes while an answer is owed stands behind a STARTTLS that is parsed later.
    late = random.Random(len(data)).random() < 0.5 and b"STARTTLS" not in data.upper()
    first = Play(choice, data, late=False).hold(ways[0])
    for number, pieces in enumerate(ways[1:]):
        other = Play(choice, data, late=late and number == 0).hold(pieces)
        check_same(first, other)
    _check_replies(first.said)
    yield from _features(choice, first)


def _check_replies(said: bytes) -> None:
    said.decode()
    assert _REPLIES.fullmatch(said), "not made of whole reply lines"
    for line in said.split(b"\r\n")[:-1]:
        if line[:1] in b"45" and line[3:4] == b" ":
            assert line.endswith(f"[{TAG}]".encode()), line
        assert len(line) < 2_000, "a reply that nobody reads"


def _features(choice: int, held: Held) -> Iterator[Hashable]:
    """A reply behind an event or a verb, in its order: what a conversation is made of."""
    before: Hashable = ""
    for entry in held.tap:
        word = entry[1:].split(b" ", 1)[0][:10].upper()
        if entry[:1] == b"C":
            before = word if word.decode("ascii", "replace") in TABLE else b"?"
        else:
            # The first words say which reply it is; what is filled in comes later.
            yield "reply", before, entry[1:24].rstrip(b"0123456789").replace(b"\r\n", b"/")
            before = before, entry[1:4]
    names = [one[0] for one in held.events]  # type: ignore[index]
    for pair in pairwise(names):
        yield "events", *pair
    yield "state", held.state, min(len(held.events), 20)
    yield "bodies", choice & 17, *sorted({min(len(one[2]).bit_length(), 12) for one in held.events if len(one) > 2})  # type: ignore[arg-type,misc,index]


def seeds() -> list[bytes]:
    return [bytes([choice]) + data for data in client_side() for choice in (0x64, 0x10)]


WORDS = (
    b"EHLO a\r\n", b"HELO a\r\n", b"MAIL FROM:<a@b.c>", b"MAIL FROM:<>", b"RCPT TO:<a@b.c>", b"RCPT TO:<x@b.c>\r\n",
    b"RCPT TO:<f@b.c>\r\n", b"DATA\r\n", b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"\r\n.\n", b"\n.\r\n", b"\r\n..\r\n",
    b"\r\n.", b".\r", b"BDAT 5\r\nabcde", b"BDAT 0 LAST\r\n", b"BDAT 3 LAST\r\na\r\n", b"BDAT 100000\r\n", b"RSET\r\n",
    b"NOOP\r\n", b"QUIT\r\n", b"VRFY a\r\n", b"EXPN a\r\n", b"HELP\r\n", b"HELP MAIL\r\n", b"STARTTLS\r\n",
    b"AUTH PLAIN\r\n", b"AUTH PLAIN AGFubmEAc2VjcmV0LWdvb2Q=\r\n", b"AUTH LOGIN\r\n", b"YW5uYQ==\r\n",
    b"c2VjcmV0LWdvb2Q=\r\n", b"*\r\n", b"AUTH CRAM-MD5\r\n", b"AUTH", b" SIZE=1000", b" SIZE=99999999999",
    b" BODY=8BITMIME", b" BODY=BINARYMIME", b" SMTPUTF8", b" RET=FULL", b" ENVID=a+2Bb", b" NOTIFY=SUCCESS,DELAY",
    b" NOTIFY=NEVER", b" ORCPT=rfc822;a+40b", b" ORCPT=utf-8;\\x{E9}", b" AUTH=<>", b"\xc3\xa9@\xc3\xa9.test",
    b"EHLO a\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n", b"Subject: x\r\n\r\n..x\r\n.\r\n",
    b"A" * 510, b"A" * 2046, b"A" * 4000, b"A" * 12286,
)  # fmt: skip
TARGET = Target("smtp-server", run, seeds, WORDS, (__doc__ or "").partition("\n")[0])
