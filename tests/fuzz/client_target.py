"""Whatever a server answers, one message in gives one outcome for each of its recipients: the SMTP client's core.

Lives here: that invariant and its kin, for protocol/smtp_client.py and smtp_transaction.py:

- a server that answers when it is asked gets the same conversation from any cutting of its replies;
- nothing raises, whatever comes and whenever; every transaction finishes exactly once, also when the line breaks;
- RELAYED is only what was sent whole, and doubt is only where the end was sent and nothing came back;
- our password never reaches the tap, in no form.

Does not live here: breeding (engine.py). The first two octets of an input choose how we speak and what we send.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from fuzz.engine import Target, cuttings
from fuzz.talks import server_side
from glasspost.mail.address import Address
from glasspost.mail.envelope import BodyType, Envelope, Notify, Outcome, Recipient, Verdict
from glasspost.protocol.smtp_client import SmtpClient
from glasspost.protocol.smtp_client_events import Answered, BodyWanted, Broken, Finished, SmtpClientSettings, Step

PASSWORD = "canary-Kx82-of-the-mine"
_IN_BASE64 = (b"Y2FuYXJ5LUt4ODItb2YtdGhlLW1pbmU", b"YW5hcnktS3g4Mi1vZi10aGUtbWluZ", b"hbmFyeS1LeDgyLW9mLXRoZS1taW5l")
BODY = b"Subject: x\r\n\r\n.dot\r\n..two\r\nno end"


@dataclass
class Held:
    """A conversation that was held: all that may not depend on the cutting."""

    said: bytes = b""
    tap: list[bytes] = field(default_factory=list)
    events: list[Hashable] = field(default_factory=list)


class Tap:
    def __init__(self, held: Held) -> None:
        self.held = held

    def heard(self, line: bytes) -> None:
        self.held.tap.append(b"S" + line)

    def said(self, text: bytes) -> None:
        self.held.tap.append(b"C" + text)


def envelope_of(choice: int) -> Envelope:
    """The message that an input's second octet asks for."""
    recipients = [Recipient(Address(f"r{number}", "example.test")) for number in range(1 + choice % 5)]
    if choice & 8:
        recipients[0].address = Address("grüße", "bücher.test")
    if choice & 16:
        recipients[-1].notify = Notify.SUCCESS | Notify.DELAY
        recipients[-1].orcpt = "rfc822;some+one@example.test"
    body = BodyType.BINARY if choice & 32 else BodyType.EIGHT_BIT if choice & 64 else BodyType.SEVEN_BIT
    sender = None if choice & 128 else Address("a b", "example.org")
    return Envelope(sender, recipients, body, bool(choice & 8), len(BODY), "FULL", "id 1")


class Play:
    """A courier without sockets: greeting, EHLO, STARTTLS, AUTH, two messages, QUIT, as far as the server lets it."""

    def __init__(self, how: int, what: int) -> None:
        self.held = Held()
        settings = SmtpClientSettings(
            "we.example.org",
            recipients=2 if how & 1 else 100,
            pipelining=not how & 2,
            chunking=bool(how & 4),
            send_eight_bit=bool(how & 8),
        )
        self.core = SmtpClient(settings, Tap(self.held), "mx.test [192.0.2.1]:25")
        self._what = what
        self._tls = bool(how & 16)
        self._sign_in = bool(how & 32)
        self._later = bool(how & 64)  # content goes out in two pieces
        self._messages = 2
        self._sending: Envelope | None = None
        self._whole = False
        self._second: bytes | None = None
        self.over = False

    def go(self) -> None:
        """Pull events until there are none, and do what each leads to."""
        core = self.core
        while (event := core.next_event()) is not None:
            self._note(event)
            match event:
                case Broken():
                    self.over = True
                case BodyWanted():
                    self._send_body()
                case Finished():
                    self._next_message(event)
                case Answered():
                    self._answered(event)
        self.held.said += core.take_output()

    def _answered(self, event: Answered) -> None:
        core, good = self.core, event.reply.code // 100 == 2
        match event.step:
            case Step.GREETING | Step.STARTTLS if good:
                if event.step is Step.STARTTLS and event.reply.code == 220:
                    core.secured()
                core.hello()
            case Step.EHLO | Step.HELO if good:
                if self._tls and core.offered.starttls and not core.secure:
                    core.starttls()
                elif self._sign_in and core.sign_in_mechanism:
                    self._sign_in = False
                    core.sign_in("anna", PASSWORD)
                else:
                    self._next_message(None)
            case Step.AUTH if good:
                self._next_message(None)
            case Step.QUIT:
                self.over = True
            case _:
                core.quit()

    def _next_message(self, finished: Finished | None) -> None:
        if finished is not None:
            self._check(finished)
        core = self.core
        if core.broken is not None:
            return
        if self._messages and core.usable:
            self._messages -= 1
            self._sending = envelope_of(self._what)
            self._whole = False
            core.send(self._sending, eight_bit=bool(self._what & 64))
        else:
            core.quit()

    def _send_body(self) -> None:
        core = self.core
        first, second = (BODY[:20], BODY[20:]) if self._later else (b"", BODY)
        if self._second is not None:
            first, self._second = b"", None
        if first:
            core.body(first, last=False)
            if not core.wants_body:
                self._second = second  # the next piece waits for BodyWanted
                return
        core.body(second, last=True)
        self._whole = True

    def _check(self, finished: Finished) -> None:
        assert self._sending is not None, "a transaction that nobody began, or that ended twice"
        assert len(finished.outcomes) == len(self._sending.recipients)
        for outcome in finished.outcomes:
            if outcome is None:
                continue
            if outcome.verdict is Verdict.RELAYED:
                assert self._whole, "relayed, but not sent"
                assert outcome.reply.code // 100 == 2 and outcome.said_by_remote
            elif outcome.doubtful:
                assert self._whole and outcome.verdict is Verdict.DEFERRED and not outcome.said_by_remote
            if outcome.verdict is Verdict.FAILED:
                assert outcome.reply.permanent
        assert any(outcome is not None for outcome in finished.outcomes), "no progress: it would be tried for ever"
        self._sending = None
        self._second = None

    def _note(self, event: object) -> None:
        match event:
            case Finished():
                self.held.events.append(("finished", tuple(map(_brief, event.outcomes)), event.unanswered))
            case Answered():
                self.held.events.append(("answered", event.step.name, str(event.reply)))
            case Broken():
                self.held.events.append(("broken", str(event.reply), event.said))
            case _:
                self.held.events.append((type(event).__name__,))

    def end(self, *, silent: bool) -> Held:
        """The line breaks, or the server falls silent: everything must be decided then."""
        core = self.core
        if core.broken is None:
            (core.timed_out if silent else core.lost)()
        self.go()
        assert self._sending is None, "a transaction without an end"
        assert core.next_event() is None
        return self.held


def _brief(outcome: Outcome | None) -> Hashable:
    if outcome is None:
        return None
    return outcome.verdict.value, str(outcome.reply), outcome.said_by_remote, outcome.doubtful, outcome.reports_onward


def units(data: bytes) -> list[bytes]:
    """The server's octets, one reply after the other: up to a line that no other of it follows."""
    replies, begun = [], b""
    for line in data.splitlines(keepends=True):
        begun += line
        if line.endswith(b"\n") and line[3:4] != b"-":
            replies.append(begun)
            begun = b""
    return [*replies, begun] if begun else replies


def _asked(how: int, what: int, replies: list[list[bytes]]) -> Held:
    """A server that says nothing before it is asked, each reply in the given pieces."""
    play = Play(how, what)
    for pieces in replies:
        if play.over or not play.core.owed:
            break
        for piece in pieces:
            play.core.receive(piece)
            play.go()
    return play.end(silent=bool(how & 128))


def _chatty(how: int, what: int, pieces: list[bytes]) -> Held:
    """A server that talks whether it is asked or not."""
    play = Play(how, what)
    for piece in pieces:
        if play.over:
            break
        play.core.receive(piece)
        play.go()
    return play.end(silent=bool(how & 128))


def run(data: bytes) -> Iterator[Hashable]:
    how, what, data = (data[0], data[1], data[2:]) if len(data) > 1 else (0, 0, data)
    replies = units(data)
    first = _asked(how, what, [[reply] for reply in replies])
    for number in (1, 2):
        other = _asked(how, what, [cuttings(reply, 3)[number] for reply in replies])
        assert other.events == first.events, "another cutting, other events"
        assert other.said == first.said, "another cutting, other commands"
        assert other.tap == first.tap, "another cutting, another tap"
    for pieces in cuttings(data, 3)[:3]:
        chatty = _chatty(how, what, pieces)
        _check_secret(chatty)
    _check_secret(first)
    yield from _features(first)
    yield from (("chatty", *feature) for feature in _features(chatty))  # type: ignore[misc]


def _check_secret(held: Held) -> None:
    tap = b"".join(held.tap)
    for secret in (PASSWORD.encode(), *_IN_BASE64):
        assert secret not in b"".join(entry for entry in held.tap if entry[:1] == b"C"), "the tap heard our password"
    assert b"[masked]" in tap or PASSWORD.encode() not in held.said


def _features(held: Held) -> Iterator[tuple[Hashable, ...]]:
    before: Hashable = ""
    for event in held.events:
        assert isinstance(event, tuple)
        name: Hashable = event[0]
        if name == "answered":
            name = ("answered", event[1], event[2][:3])
        elif name == "broken":
            name = ("broken", event[1][:3], event[1][-24:], event[2])
        elif name == "finished":
            name = ("finished", tuple((one and (one[0], one[1][:9], *one[2:])) for one in event[1]), event[2])
        yield before, name
        before = name if isinstance(name, str) else name[0]  # type: ignore[index]
    for entry in held.tap:
        if entry[:1] == b"C":
            yield "said", tuple(line.split(b" ")[0][:8] for line in entry[1:].split(b"\r\n"))


def seeds() -> list[bytes]:
    greeting = b"220 mx.test ESMTP\r\n"
    full = (
        b"250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n"
        b"250-DSN\r\n250-SMTPUTF8\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250 LIMITS RCPTMAX=2 MAILMAX=3\r\n"
    )
    plain = b"250 mx.test\r\n"
    ok = b"250 2.0.0 ok\r\n"
    going = ok * 3 + b"354 go\r\n" + ok + ok * 3 + b"354 go\r\n" + ok + b"221 bye\r\n"
    made = [
        greeting + full + going,
        greeting + plain + going,
        greeting + b"500 what\r\n" + plain + going,
        greeting + full + b"220 go\r\n" + full + b"235 in\r\n" + going,
        greeting + full + b"334 \r\n334 \r\n535 5.7.8 no\r\n221 bye\r\n",
        greeting + full + ok + b"452 4.5.3 too many\r\n550 5.1.1 nobody\r\n354 go\r\n451 4.3.0 later\r\n",
        b"421 mx.test busy\r\n",
        greeting + full + ok * 12,
        b"554-no\r\n554 mail here\r\n",
    ]
    choices = (b"\x00\x00", b"\x02\x01", b"\x05\x60", b"\x30\x59", b"\x04\x23", b"\xc3\x92")
    return [choice + data for data in (*made, *server_side()[:10]) for choice in choices]


WORDS = (
    b"220 x\r\n", b"250 ok\r\n", b"250-x\r\n", b"354 go\r\n", b"421 4.3.2 closing\r\n", b"450 4.2.1 later\r\n",
    b"452 4.5.3 too many\r\n", b"452 too many\r\n", b"552 too many\r\n", b"550 5.1.1 no\r\n", b"554 no\r\n",
    b"334 \r\n", b"334 VXNlcm5hbWU6\r\n", b"235 2.7.0 in\r\n", b"535 5.7.8 no\r\n", b"503 first\r\n", b"221 bye\r\n",
    b"250-PIPELINING\r\n", b"250-CHUNKING\r\n", b"250-BINARYMIME\r\n", b"250-8BITMIME\r\n", b"250-SMTPUTF8\r\n",
    b"250-DSN\r\n", b"250-STARTTLS\r\n", b"250-AUTH PLAIN\r\n", b"250-AUTH=LOGIN\r\n", b"250-SIZE 10\r\n",
    b"250 LIMITS RCPTMAX=1 MAILMAX=1\r\n", b"250", b"2", b"999 x\r\n", b"199 x\r\n", b"250\r\n", b"250-\r\n",
    b"250-a\r\n251 b\r\n", b"x" * 600, b"250-" + b"y" * 4090 + b"\r\n", b"250 " + b"\xff" * 30 + b"\r\n",
)  # fmt: skip
TARGET = Target("smtp-client", run, seeds, WORDS, (__doc__ or "").partition("\n")[0])
