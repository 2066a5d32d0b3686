"""The courier to other servers, over loopback, against servers that follow a script.

A script is one connection's talk as the server lives it: `C: MAIL` expects a line that begins so, `S: 250 ok` answers,
and words alone do something: MESSAGE reads up to the dot, TLS goes over to TLS, CLOSE hangs up, DRIP begins a reply and
never ends it, SILENCE waits until the client has gone.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from aiosmtpd.smtp import SMTP as ForeignServer

from glasspost.clock import SystemClock
from glasspost.errors import StoreError
from glasspost.mail.address import Address
from glasspost.mail.envelope import BodyType, Notify, Outcome, Verdict
from glasspost.net.dialer import dial
from glasspost.net.tls import ClientContexts
from glasspost.outbound.connections import ReuseSettings
from glasspost.outbound.conversation import Conversation, ConversationSettings, Timeouts
from glasspost.outbound.remote import RemoteCourier, RemoteSettings
from glasspost.outbound.routes import Host, Route
from glasspost.protocol.smtp_client_events import SmtpClientSettings
from glasspost.storage.bodies import Content, MemoryContent
from glasspost.storage.spool import Message, Queued

GREET = "S: 220 mx\nC: EHLO client.example.com\n"
HELLO = GREET + "S: 250-mx\nS: 250 PIPELINING\n"
TAKE = "C: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nMESSAGE\nS: 250 2.0.0 taken\n"
QUIT = "C: QUIT\nS: 221 bye\nCLOSE"
BODY = b"Subject: hello\r\n\r\n.dot\r\n"


class Notebook:
    """A recording that is a list."""

    def __init__(self, number: int, peer: str) -> None:
        self.id = f"c{number}"
        self.peer = peer
        self.lines: list[str] = []
        self.marked = 0
        self.verdict: str | None = None

    def heard(self, line: bytes) -> None:
        self.lines.append("S: " + line.decode())

    def said(self, text: bytes) -> None:
        self.lines.extend("C: " + line for line in text.decode().splitlines())

    def note(self, text: str) -> None:
        self.lines.append("# " + text)

    def mention(self, queue_id: str) -> None:
        pass

    def mark(self) -> None:
        self.marked = len(self.lines)

    def excerpt(self) -> str:
        return "\n".join(self.lines[self.marked :])

    def close(self, verdict: str = "") -> None:
        self.verdict = verdict


class Scripted:
    """A server on loopback; each connection follows the next of its scripts, the last of them for ever."""

    def __init__(self, *scripts: str, tls: ssl.SSLContext | None = None, implicit: bool = False) -> None:
        self.scripts = [script.strip().splitlines() for script in scripts]
        self.tls = tls
        self.implicit = implicit
        self.heard: list[str] = []
        self.messages: list[bytes] = []
        self.connections = 0
        self.faults: list[str] = []
        self.reading = asyncio.Event()  # a MESSAGE is read only once this is set
        self.reading.set()
        self.ended = asyncio.Event()  # a connection's script came to its end
        self._progress = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Scripted:
        self.server = await asyncio.start_server(
            self.accept, "127.0.0.1", 0, limit=4096, ssl=self.tls if self.implicit else None
        )
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self.faults == []

    def host(self, name: str = "mx.example.org") -> Host:
        return Host(name, self.port, ("127.0.0.1",))

    def route(self, **parts: Any) -> Route:
        return Route("mx:example.org", (self.host(),), **{"tls": "none", **parts})

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        task = asyncio.ensure_future(self.play(script, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def play(self, script: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for step in script:
                if step.startswith("S: "):
                    writer.write(step[3:].encode().decode("unicode_escape").encode() + b"\r\n")
                elif step.startswith("C: "):
                    await self.expect(step[3:], await reader.readline())
                elif step == "MESSAGE":
                    await self.read_message(reader)
                elif step == "TLS":
                    await writer.drain()
                    await writer.start_tls(self.tls)  # type: ignore[arg-type]
                elif step == "DRIP":
                    while not writer.is_closing():
                        writer.write(b"220-one moment\r\n")
                        await asyncio.sleep(0.02)
                elif step == "SILENCE":
                    await reader.read()
                elif step == "CLOSE":
                    break
            self.ended.set()
        except (OSError, EOFError):
            pass  # the client has gone, or would not have our TLS
        finally:
            writer.close()

    async def expect(self, prefix: str, line: bytes) -> None:
        text = line.decode().rstrip("\r\n")
        self.heard.append(text)
        self._progress.set()
        if not text.startswith(prefix):
            self.faults.append(f"expected {prefix!r}, came {text!r}")
            raise EOFError

    async def told(self, line: str) -> None:
        """Until the client has said this line."""
        while line not in self.heard:
            self._progress = asyncio.Event()
            await self._progress.wait()

    async def read_message(self, reader: asyncio.StreamReader) -> None:
        await self.reading.wait()
        body = bytearray()
        while not (body.endswith(b"\r\n.\r\n") or body == b".\r\n"):
            octets = await reader.read(65536)
            if not octets:
                raise EOFError
            body += octets
        self.messages.append(bytes(body[:-3]).replace(b"\r\n.", b"\r\n"))


@dataclass
class Post:
    """A courier with everything it needs, and what its recordings hold."""

    courier: RemoteCourier
    recordings: list[Notebook] = field(default_factory=list)

    async def bring(self, route: Route, *names: str, content: Content | None = None, **parts: Any) -> list[Outcome]:
        """One message from ann to these local parts (bob)."""
        content = content or MemoryContent(BODY)
        message = Message(
            id=len(self.recordings) + 1,
            **{
                "reverse_path": Address("ann", "example.com"),
                "body": BodyType.SEVEN_BIT, "smtputf8": False, "eight_bit": False, "ret": "", "envid": "",
                "size": content.size, "arrived": 0.0, "conversation": "c0", "content": content, **parts,
            },
        )  # fmt: skip
        queued = [
            Queued(number, message, Address(name, "example.org"), Notify.UNSET, "")
            for number, name in enumerate(names or ("bob",))
        ]
        async with asyncio.timeout(10):
            return await self.courier.deliver(message, queued, route)

    async def verdicts(self, route: Route, *names: str, **parts: Any) -> list[tuple[str, str]]:
        return [(outcome.verdict.value, str(outcome.reply)) for outcome in await self.bring(route, *names, **parts)]

    @property
    def notes(self) -> str:
        return "\n".join(line for recording in self.recordings for line in recording.lines if line[0] == "#")


AUTHORITY = trustme.CA()


def server_tls(name: str = "mx.example.org") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


class Trusting(ClientContexts):
    """The contexts of a client whose system trusts AUTHORITY."""

    def verifying(self, ca_file: Path | None = None, *, any_name: bool = False) -> ssl.SSLContext:
        context = super().verifying(ca_file, any_name=any_name)
        if ca_file is None:
            AUTHORITY.configure_trust(context)
        return context


LOOPS = {"asyncio": asyncio.DefaultEventLoopPolicy, "uvloop": uvloop.EventLoopPolicy}


@pytest.fixture(scope="module", params=LOOPS)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Both loops: they differ in what comes first, and in how TLS ends."""
    policy: asyncio.AbstractEventLoopPolicy = LOOPS[request.param]()
    return policy


MakePost = Callable[..., Post]


@pytest.fixture
async def make_post() -> AsyncIterator[MakePost]:
    posts: list[Post] = []

    def make(
        timeouts: Timeouts | None = None,
        reuse: ReuseSettings | None = None,
        client: SmtpClientSettings | None = None,
        dialer: Any = dial,
    ) -> Post:
        recordings: list[Notebook] = []

        def open_recording(local: str, peer: str) -> Any:
            recordings.append(Notebook(len(recordings) + 1, peer))
            return recordings[-1]

        settings = RemoteSettings(
            ConversationSettings(client or SmtpClientSettings("client.example.com"), timeouts or Timeouts(quit=1)),
            reuse or ReuseSettings(),
        )
        courier = RemoteCourier(
            settings,
            dial=dialer,
            open_recording=open_recording,
            contexts=Trusting(),
            clock=SystemClock(),
        )
        posts.append(Post(courier, recordings))
        return posts[-1]

    yield make
    async with asyncio.timeout(10):
        for post in posts:
            await post.courier.close()
            assert post.courier.connections_open("mx:example.org") == 0
            assert all(recording.verdict is not None for recording in post.recordings), "a recording was left open"


@pytest.fixture
def post(make_post: MakePost) -> Post:
    return make_post()


@pytest.fixture
async def nobody() -> Host:
    """A host whose port answers nobody."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return Host("down.example.org", port, ("127.0.0.1",))


def to(*hosts: Host, **parts: Any) -> Route:
    return Route("mx:example.org", hosts, **{"tls": "none", **parts})


# --- delivering ---------------------------------------------------------------------------------------------------


async def test_two_messages_share_a_connection_which_ends_with_quit(post: Post) -> None:
    async with Scripted(HELLO + TAKE + TAKE + QUIT) as server:
        outcomes = await post.bring(server.route())
        assert post.courier.connections_open("mx:example.org") == 1
        await post.bring(server.route())
        await post.courier.close()
        assert server.messages == [BODY, BODY]
        assert server.connections == 1
        assert server.heard[-1] == "QUIT"
    assert outcomes == [
        Outcome(
            Verdict.RELAYED,
            outcomes[0].reply,
            remote_mta=f"mx.example.org [127.0.0.1]:{server.port}",
            said_by_remote=True,
            conversation="c1",
        )
    ]
    assert str(outcomes[0].reply) == "250 2.0.0 taken"
    assert post.recordings[0].verdict == ""


async def test_each_recipient_has_its_own_outcome_and_refusals_carry_evidence(post: Post) -> None:
    script = (
        "C: MAIL\nC: RCPT\nC: RCPT\nC: DATA\nS: 250 ok\nS: 550 5.1.1 who?\nS: 250 ok\nS: 354 go\nMESSAGE\nS: 250 ok\n"
    )
    async with Scripted(HELLO + script + QUIT) as server:
        bob, carol = await post.bring(server.route(), "bob", "carol")
        await post.courier.close()
    assert (bob.verdict, str(bob.reply), bob.said_by_remote) == (Verdict.FAILED, "550 5.1.1 who?", True)
    assert "S: 550 5.1.1 who?" in bob.evidence and "C: RCPT TO:<bob@example.org>" in bob.evidence
    assert bob.conversation == carol.conversation == "c1"
    assert carol.verdict is Verdict.RELAYED and carol.evidence == ""


async def test_a_foreign_server_takes_our_mail(post: Post) -> None:
    taken: list[tuple[str, list[str], bytes]] = []

    class Inbox:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
            taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
            return "250 2.0.0 thank you"

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ForeignServer(Inbox(), enable_SMTPUTF8=True), "127.0.0.1", 0)
    async with server:
        host = Host("mx.example.org", server.sockets[0].getsockname()[1], ("127.0.0.1",))
        for _ in range(2):
            await post.bring(to(host), "bob", "käthe", eight_bit=True, body=BodyType.EIGHT_BIT)
        await post.courier.close()
    assert taken == [("ann@example.com", ["bob@example.org", "käthe@example.org"], BODY)] * 2


# --- which host ---------------------------------------------------------------------------------------------------


async def test_the_next_host_is_tried_when_one_does_not_answer(post: Post, nobody: Host) -> None:
    async with Scripted(HELLO + TAKE + TAKE + QUIT) as server:
        route = to(nobody, server.host())
        assert await post.verdicts(route) == [("relayed", "250 2.0.0 taken")]
        assert len(post.recordings) == 2
        assert "# before: down.example.org" in post.recordings[1].lines[0]
        await post.bring(route)
        assert len(post.recordings) == 2, "a host that was down a moment ago comes last"
        await post.courier.close()


@pytest.mark.parametrize(
    "first",
    [
        "S: 421 4.3.2 busy\nCLOSE",
        "S: 450 not now\nSILENCE",
        "S: 554 no mail here\nC: QUIT\nS: 221 bye\nCLOSE",
        "S: hello, this is no SMTP\nSILENCE",
        "CLOSE",
        "S: 220 mx\nC: EHLO\nS: 451 later\nC: QUIT\nCLOSE",
        "S: 220 mx\nC: EHLO\nS: 502 no\nC: HELO\nS: 550 no\nC: QUIT\nCLOSE",
        "S: 220 mx\nC: EHLO\nCLOSE",
        HELLO + "C: MAIL\nS: 421 4.3.2 going down\nCLOSE",
        HELLO + "C: MAIL\nCLOSE",
    ],
)
async def test_the_next_host_is_tried_when_one_will_not_talk(post: Post, first: str) -> None:
    async with Scripted(first) as bad, Scripted(HELLO + TAKE + QUIT) as good:
        assert await post.verdicts(to(bad.host("mx1.example.org"), good.host("mx2.example.org"))) == [
            ("relayed", "250 2.0.0 taken")
        ]
        await post.courier.close()


async def test_what_a_host_says_about_the_message_is_the_verdict(post: Post) -> None:
    refusal = HELLO + "C: MAIL\nC: RCPT\nC: DATA\nS: 550 5.7.1 no\nS: 503 no\nS: 503 no\n" + QUIT
    async with Scripted(refusal) as first, Scripted(HELLO + TAKE) as second:
        assert await post.verdicts(to(first.host(), second.host())) == [("failed", "550 5.7.1 no")]
        assert second.connections == 0
        await post.courier.close()


async def test_mail_fails_for_ever_only_where_every_host_refuses_for_ever(post: Post, nobody: Host) -> None:
    refusal = "S: 554 5.3.2 no mail here\nC: QUIT\nS: 221 bye\nCLOSE"
    async with Scripted(refusal) as server:
        assert await post.verdicts(to(server.host("a.example"), server.host("b.example"))) == [
            ("failed", "554 5.3.2 no mail here")
        ]
        (outcome,) = await post.bring(to(nobody, server.host()))
        fault = f"451 4.4.1 down.example.org:{nobody.port} does not answer: connection refused"
        assert (outcome.verdict, str(outcome.reply)) == (Verdict.DEFERRED, fault)
        assert not outcome.said_by_remote
        assert "connection refused" in outcome.evidence and outcome.conversation


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script, timeouts, when",
    [
        ("SILENCE", {"greeting": 0.05}, "before its greeting"),
        ("S: 220-wait\nS: 220-still\nSILENCE", {"greeting": 0.05}, "before its greeting"),
        ("DRIP", {"greeting": 0.1}, "before its greeting"),
        ("S: 220 mx\nSILENCE", {"hello": 0.05}, "after EHLO"),
        (HELLO + "SILENCE", {"mail": 0.05}, "after MAIL"),
        (HELLO + "C: MAIL\nS: 250 ok\nSILENCE", {"rcpt": 0.05}, "after RCPT"),
        (HELLO + "C: MAIL\nS: 250 ok\nS: 250 ok\nSILENCE", {"data": 0.05}, "after DATA"),
    ],
)
async def test_silence_defers_and_says_when(
    make_post: MakePost, script: str, timeouts: dict[str, float], when: str
) -> None:
    post = make_post(Timeouts(**timeouts))
    async with Scripted(script) as server:
        name = f"mx.example.org [127.0.0.1]:{server.port}"
        assert await post.verdicts(server.route()) == [("deferred", f"451 4.4.2 {name} was silent for too long {when}")]


@pytest.mark.parametrize("ending", ["SILENCE", "CLOSE"])
async def test_lost_after_the_dot_is_doubtful(make_post: MakePost, ending: str) -> None:
    post = make_post(Timeouts(dot=0.05))
    script = "C: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nMESSAGE\n"
    async with Scripted(HELLO + script + ending) as first, Scripted(HELLO + TAKE) as second:
        (outcome,) = await post.bring(to(first.host(), second.host()))
        assert outcome.verdict is Verdict.DEFERRED and outcome.doubtful
        assert "it may or may not have arrived" in outcome.reply.text
        assert second.connections == 0, "in doubt, no other host is given the message in the same attempt"


async def test_a_server_that_takes_no_octets_is_given_up(make_post: MakePost) -> None:
    post = make_post(Timeouts(block=0.1))
    script = "C: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nMESSAGE\n"
    async with Scripted(HELLO + script) as server:
        server.reading.clear()
        (outcome,) = await post.bring(server.route(), content=Streamed([b"x" * 262_142 + b"\r\n"] * 64))
        assert outcome.reply.text.endswith("was silent for too long while the message was being sent")
        assert not outcome.doubtful


# --- reuse --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "meanwhile", ["CLOSE", "C: MAIL\nCLOSE", "C: MAIL\nS: 421 4.7.0 enough for today\nCLOSE", "S: 421 idle\nCLOSE"]
)
async def test_a_connection_that_died_while_idle_is_replaced_without_a_word(post: Post, meanwhile: str) -> None:
    async with Scripted(HELLO + TAKE + meanwhile, HELLO + TAKE + QUIT) as server:
        await post.bring(server.route())
        assert await post.verdicts(server.route()) == [("relayed", "250 2.0.0 taken")]
        assert server.connections == 2
        await post.courier.close()


async def test_an_idle_connection_ends_with_quit(make_post: MakePost) -> None:
    post = make_post(reuse=ReuseSettings(idle=0.02))
    async with Scripted(HELLO + TAKE + QUIT) as server:
        await post.bring(server.route())
        async with asyncio.timeout(5):
            await server.ended.wait()
        assert server.heard[-1] == "QUIT"


async def test_a_connection_carries_only_so_many_messages(make_post: MakePost) -> None:
    post = make_post(reuse=ReuseSettings(messages=2))
    async with Scripted(HELLO + TAKE + TAKE + QUIT) as server:
        for _ in range(4):
            await post.bring(server.route())
        assert server.connections == 2


async def test_the_servers_mailmax_is_kept(post: Post) -> None:
    hello = GREET + "S: 250-mx\nS: 250-LIMITS MAILMAX=1\nS: 250 PIPELINING\n"
    async with Scripted(hello + TAKE + QUIT) as server:
        for _ in range(2):
            await post.bring(server.route())
        assert server.connections == 2


async def test_mail_that_must_be_encrypted_does_not_use_a_connection_in_the_clear(post: Post) -> None:
    async with Scripted(HELLO + TAKE + QUIT, HELLO + QUIT) as server:
        await post.bring(server.route(tls="may"))
        ((verdict, reply),) = await post.verdicts(server.route(tls="encrypt"))
        assert (verdict, reply[:9]) == ("deferred", "451 4.7.4")
        assert server.connections == 2
        await post.courier.close()


async def test_close_does_not_wait_for_ever(make_post: MakePost) -> None:
    post = make_post(Timeouts(quit=0.05))
    async with Scripted(HELLO + TAKE + "C: QUIT\nSILENCE") as server:
        await post.bring(server.route())
        async with asyncio.timeout(2):
            await post.courier.close()


# --- many recipients ----------------------------------------------------------------------------------------------


async def test_recipients_are_split_at_the_servers_limit(post: Post) -> None:
    hello = GREET + "S: 250-mx\nS: 250-LIMITS RCPTMAX=1\nS: 250 PIPELINING\n"
    async with Scripted(hello + TAKE * 3 + QUIT) as server:
        outcomes = await post.bring(server.route(), "a", "b", "c")
        assert [outcome.verdict for outcome in outcomes] == [Verdict.RELAYED] * 3
        assert len(server.messages) == 3 and server.connections == 1
        await post.courier.close()


async def test_recipients_that_did_not_fit_follow_in_another_transaction(post: Post) -> None:
    full = (
        "C: MAIL\nC: RCPT\nC: RCPT\nC: RCPT\nC: DATA\n"
        "S: 250 ok\nS: 250 ok\nS: 452 4.5.3 full\nS: 452 4.5.3 full\nS: 354 go\nMESSAGE\nS: 250 first\n"
    )
    refused = "C: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nS: 550 no\nS: 554 none\n"
    again = "C: RSET\nS: 250 ok\n" + TAKE
    async with Scripted(HELLO + full + refused + again + QUIT) as server:
        assert await post.verdicts(server.route(), "a", "b", "c") == [
            ("relayed", "250 first"),
            ("failed", "550 no"),
            ("relayed", "250 2.0.0 taken"),
        ]
        assert [line for line in server.heard if line.startswith("RCPT")][-2:] == [
            "RCPT TO:<b@example.org>",
            "RCPT TO:<c@example.org>",
        ]
        await post.courier.close()


# --- TLS and sign-in ----------------------------------------------------------------------------------------------

OFFERS_TLS = GREET + "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
SECURED = "C: EHLO\nS: 250-mx\nS: 250 PIPELINING\n"


@pytest.mark.parametrize("level", ["may", "encrypt", "verify"])
async def test_starttls_is_used_where_it_is_offered(post: Post, level: str) -> None:
    async with Scripted(OFFERS_TLS + SECURED + TAKE + QUIT, tls=server_tls()) as server:
        assert await post.verdicts(server.route(tls=level)) == [("relayed", "250 2.0.0 taken")]
        await post.courier.close()
    assert "# TLSv1.3, TLS_" in post.notes
    assert ("verified by the system's authorities, for the host name" in post.notes) is (level == "verify")


async def test_a_certificate_for_another_name_is_not_verified(post: Post) -> None:
    async with Scripted(OFFERS_TLS, tls=server_tls("elsewhere.example.org")) as server:
        ((verdict, reply),) = await post.verdicts(server.route(tls="verify"))
        assert (verdict, reply[:9]) == ("deferred", "451 4.7.5")
        assert "mx.example.org" in reply


async def test_opportunistic_tls_that_fails_is_followed_by_the_clear_once(post: Post) -> None:
    broken = GREET + "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nC: \x16\nCLOSE"
    clear = GREET + "S: 250-mx\nS: 250-STARTTLS\nS: 250 PIPELINING\n" + TAKE + QUIT
    async with Scripted(broken, clear) as server:
        assert await post.verdicts(server.route(tls="may")) == [("relayed", "250 2.0.0 taken")]
        assert server.connections == 2
        await post.courier.close()
    assert "this route may go without" in post.notes


@pytest.mark.parametrize("ending", ["S: 454 4.7.0 not now\n", None])
async def test_opportunistic_tls_that_is_not_to_be_had_is_done_without(post: Post, ending: str | None) -> None:
    offers = GREET + "S: 250-mx\nS: 250-PIPELINING\nS: 250 STARTTLS\nC: STARTTLS\n"
    async with Scripted((offers + ending if ending else HELLO) + TAKE + QUIT) as server:
        assert await post.verdicts(server.route(tls="may")) == [("relayed", "250 2.0.0 taken")]
        assert server.connections == 1
        await post.courier.close()


@pytest.mark.parametrize("level", ["encrypt", "verify"])
@pytest.mark.parametrize(
    "script, code",
    [
        (HELLO + QUIT, "451 4.7.4"),
        (GREET + "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\n" + QUIT, "451 4.7.5"),
        (GREET + "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nC: \x16\nCLOSE", "451 4.7.5"),
    ],
)
async def test_tls_that_is_demanded_is_never_done_without(post: Post, level: str, script: str, code: str) -> None:
    async with Scripted(script) as server:
        ((verdict, reply),) = await post.verdicts(server.route(tls=level))
        assert (verdict, reply[:9]) == ("deferred", code)
        assert server.connections == 1
        assert not any(line.startswith("MAIL") for line in server.heard)


async def test_bytes_behind_the_reply_to_starttls_drop_the_connection(post: Post) -> None:
    script = GREET + "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\\r\\n250 injected\nSILENCE"
    async with Scripted(script) as server:
        ((verdict, reply),) = await post.verdicts(server.route(tls="may"))
        assert (verdict, reply[:9]) == ("deferred", "451 4.5.0")
        assert server.connections == 1, "no second try in the clear: that is what an attacker wants"


async def test_implicit_tls_begins_before_the_greeting(post: Post) -> None:
    async with Scripted(HELLO + TAKE + QUIT, tls=server_tls(), implicit=True) as server:
        assert await post.verdicts(server.route(tls="verify", implicit_tls=True)) == [("relayed", "250 2.0.0 taken")]
        await post.courier.close()
    assert "verified by the system's authorities, for the host name" in post.notes


async def test_implicit_tls_that_fails_is_reported(post: Post) -> None:
    async with Scripted(HELLO, tls=server_tls("elsewhere.example.org"), implicit=True) as server:
        ((verdict, reply),) = await post.verdicts(server.route(tls="verify", implicit_tls=True))
        assert (verdict, reply[:9]) == ("deferred", "451 4.7.5")


OFFERS_AUTH = GREET + "S: 250-mx\nS: 250-PIPELINING\nS: 250 AUTH PLAIN LOGIN\n"


async def test_sign_in_comes_before_mail_and_stays_secret(post: Post) -> None:
    script = OFFERS_AUTH + "C: AUTH PLAIN AGFubgBzZXNhbWU=\nS: 235 2.7.0 welcome\n" + TAKE + QUIT
    async with Scripted(script) as server:
        route = server.route(username="ann", password="sesame")
        assert await post.verdicts(route) == [("relayed", "250 2.0.0 taken")]
        await post.courier.close()
    assert "C: AUTH PLAIN [masked]" in post.recordings[0].lines


async def test_a_wrong_password_defers_and_is_not_tried_elsewhere(post: Post) -> None:
    script = OFFERS_AUTH + "C: AUTH PLAIN\nS: 535 5.7.8 wrong\n" + QUIT
    async with Scripted(script) as first, Scripted(OFFERS_AUTH) as second:
        route = to(first.host("a.example"), second.host("b.example"), username="ann", password="x")
        ((verdict, reply),) = await post.verdicts(route)
        assert verdict == "deferred" and reply.startswith("451 4.7.8") and reply.endswith("535 5.7.8 wrong")
        assert second.connections == 0


async def test_without_a_mechanism_that_fits_nothing_is_signed_in(post: Post) -> None:
    async with Scripted(HELLO.replace("PIPELINING", "AUTH CRAM-MD5") + QUIT) as server:
        ((verdict, reply),) = await post.verdicts(server.route(username="ann", password="x"))
        assert verdict == "deferred" and reply.endswith("offers no sign-in that fits: it offers CRAM-MD5")


async def test_a_password_does_not_leave_the_machine_in_the_clear(make_post: MakePost) -> None:
    async def far_away(host: Any, **parts: Any) -> tuple[asyncio.Transport, Conversation, str]:
        transport, conversation, _ = await dial(host, **parts)
        conversation.peer = ("192.0.2.1", host.port)
        return transport, conversation, "192.0.2.1"

    post = make_post(dialer=far_away)
    async with Scripted(OFFERS_AUTH + QUIT) as server:
        ((verdict, reply),) = await post.verdicts(server.route(username="ann", password="x"))
        assert verdict == "deferred" and reply.endswith("passwords travel only encrypted")


# --- what a destination must prove --------------------------------------------------------------------------------


@pytest.fixture
def own_authority(tmp_path: Path) -> Path:
    """The authority of these tests as a file; the system does not trust it."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    return tmp_path / "own.pem"


async def test_a_destination_may_have_an_authority_of_its_own(post: Post, own_authority: Path, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "another.pem"))
    taken = OFFERS_TLS + SECURED + TAKE + QUIT
    async with Scripted(taken, OFFERS_TLS, tls=server_tls()) as server:
        route = server.route(tls="verify", ca_file=own_authority)
        assert await post.verdicts(route) == [("relayed", "250 2.0.0 taken")]
        ((verdict, reply),) = await post.verdicts(server.route(tls="verify", ca_file=tmp_path / "another.pem"))
        assert (verdict, reply[:9]) == ("deferred", "451 4.7.5")
        await post.courier.close()
    assert "verified by own.pem, for the host name" in post.notes


@pytest.mark.parametrize("implicit", [False, True])
async def test_the_certificate_must_be_for_one_of_the_names_that_a_destination_has(post: Post, implicit: bool) -> None:
    """Whatever the DNS says the host is called: nothing is said to a server that cannot prove one of them."""
    shown = server_tls("mail.provider.test")
    hello, wrong = (HELLO, "S: 220 mx\nSILENCE") if implicit else (OFFERS_TLS + SECURED, OFFERS_TLS + "SILENCE")
    async with Scripted(hello + TAKE + QUIT, wrong, tls=shown, implicit=implicit) as server:
        right = server.route(tls="verify", implicit_tls=implicit, names=("other.test", "mail.provider.test"))
        assert await post.verdicts(right) == [("relayed", "250 2.0.0 taken")]
        await post.courier.close()
        heard = list(server.heard)
        ((verdict, reply),) = await post.verdicts(replace(right, key="mx:2", names=("mx.example.org",)))
        assert verdict == "deferred"
        assert reply.startswith("451 4.7.5") and reply.endswith("names that this destination has: mx.example.org")
        assert server.heard[len(heard) :] in ([], ["EHLO client.example.com", "STARTTLS"])
    assert "for other.test or mail.provider.test" in post.notes


async def test_a_certificate_of_nobody_known_is_not_believed_for_its_names(post: Post) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mail.provider.test").configure_cert(context)
    async with Scripted(OFFERS_TLS, tls=context) as server:
        ((verdict, reply),) = await post.verdicts(server.route(tls="verify", names=("mail.provider.test",)))
        assert (verdict, reply[:9]) == ("deferred", "451 4.7.5")


# --- REQUIRETLS (RFC 8689) ----------------------------------------------------------------------------------------

TAKE_SAFELY = TAKE.replace("C: MAIL", "C: MAIL FROM:<ann@example.com> REQUIRETLS")
SECURED_SAFELY = SECURED.replace("S: 250 PIPELINING", "S: 250-PIPELINING\nS: 250 REQUIRETLS")
SURE: dict[str, Any] = {"tls": "may", "names_are_sure": True}


async def test_requiretls_goes_over_proved_tls_and_is_said_again(post: Post) -> None:
    async with Scripted(OFFERS_TLS + SECURED_SAFELY + TAKE_SAFELY + QUIT, tls=server_tls()) as server:
        assert await post.verdicts(server.route(**SURE), requiretls=True) == [("relayed", "250 2.0.0 taken")]
        await post.courier.close()
    assert "verified by " in post.notes  # although the route asks for no proof from other mail


async def test_other_mail_does_not_say_requiretls(post: Post) -> None:
    plain = TAKE.replace("C: MAIL", "C: MAIL FROM:<ann@example.com>")
    async with Scripted(OFFERS_TLS + SECURED_SAFELY + plain + QUIT, tls=server_tls()) as server:
        assert await post.verdicts(server.route(tls="verify", names_are_sure=True)) == [("relayed", "250 2.0.0 taken")]
        await post.courier.close()
        assert "MAIL FROM:<ann@example.com>" in server.heard


@pytest.mark.parametrize(
    ("script", "name", "reply"),
    [
        (OFFERS_TLS + SECURED + QUIT, "mx.example.org", "550 5.7.30"),
        (HELLO + QUIT, "mx.example.org", "550 5.7.10"),
        (GREET + "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 502 no\n" + QUIT, "mx.example.org", "550 5.7.10"),
        (OFFERS_TLS, "elsewhere.example.org", "550 5.7.10"),
    ],
    ids=["not offered", "no TLS", "TLS refused", "another's certificate"],
)
async def test_what_cannot_go_safely_comes_back_at_once(post: Post, script: str, name: str, reply: str) -> None:
    async with Scripted(script, tls=server_tls(name)) as server:
        ((verdict, said),) = await post.verdicts(server.route(**SURE), requiretls=True)
        assert (verdict, said[:10].rstrip()) == ("failed", reply)
        await post.courier.close()
        assert not any(line.startswith("MAIL") for line in server.heard)


async def test_a_handshake_that_was_cut_off_says_nothing_for_ever(post: Post) -> None:
    broken = GREET + "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nC: \x16\nCLOSE"
    async with Scripted(broken) as server:
        ((verdict, reply),) = await post.verdicts(server.route(**SURE), requiretls=True)
        assert (verdict, reply[:9]) == ("deferred", "451 4.7.5")


async def test_the_next_host_may_offer_what_the_first_does_not(post: Post) -> None:
    safe = OFFERS_TLS + SECURED_SAFELY + TAKE_SAFELY + QUIT
    async with (
        Scripted(OFFERS_TLS + SECURED + QUIT, tls=server_tls()) as first,
        Scripted(safe, tls=server_tls("mx2.example.org")) as second,
    ):
        route = to(first.host(), second.host("mx2.example.org"), **SURE)
        assert await post.verdicts(route, requiretls=True) == [("relayed", "250 2.0.0 taken")]
        await post.courier.close()


async def test_a_name_that_only_the_dns_has_told_is_no_proof(post: Post) -> None:
    async with Scripted(HELLO) as server:
        ((verdict, reply),) = await post.verdicts(server.route(tls="verify"), requiretls=True)
        assert verdict == "failed"
        assert reply.startswith("550 5.7.10") and "mail for example.org is known from the unprotected DNS" in reply
        assert server.connections == 0


async def test_a_report_goes_as_it_can_rather_than_nowhere(post: Post) -> None:
    """RFC 8689 §5: safely where that is possible, and else as other mail does."""
    clear = TAKE.replace("C: MAIL", "C: MAIL FROM:<>")
    safe = clear.replace("<>", "<> REQUIRETLS")
    async with Scripted(
        OFFERS_TLS + SECURED_SAFELY + safe + QUIT, HELLO + QUIT, HELLO + clear + QUIT, tls=server_tls()
    ) as server:
        for _ in range(2):
            said = await post.verdicts(server.route(**SURE), requiretls=True, reverse_path=None)
            assert said == [("relayed", "250 2.0.0 taken")]
            await post.courier._connections.close(1)
            post.courier._connections._closing = False
        assert server.connections == 3
        assert [line for line in server.heard if line.startswith("MAIL")] == ["MAIL FROM:<> REQUIRETLS", "MAIL FROM:<>"]


# --- large messages -----------------------------------------------------------------------------------------------


class Streamed:
    """A content that comes in pieces, and counts those that were asked for."""

    data = None

    def __init__(self, pieces: Sequence[bytes], size: int | None = None, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.size = sum(map(len, pieces)) if size is None else size
        self.error = error
        self.asked = 0
        self.begun = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.asked += 1
            self.begun.set()
            yield piece
        if self.error is not None:
            raise self.error


def shortened(data: bytes, size: int) -> MemoryContent:
    """What the store gives when part of a small message was removed meanwhile."""
    content = MemoryContent(data)
    content.size = size
    return content


async def test_a_large_message_is_sent_piece_by_piece_as_fast_as_the_server_takes_it(post: Post) -> None:
    content = Streamed([b"line\r\n.dot\r\n" * 20_000] * 64)  # 15 MB
    async with Scripted(HELLO + TAKE + QUIT) as server:
        server.reading.clear()
        delivery = asyncio.ensure_future(post.bring(server.route(), content=content))
        await content.begun.wait()
        for _ in range(200):  # plenty of turns in which a sender without back pressure would read on
            await asyncio.sleep(0)
        assert content.asked < 40
        server.reading.set()
        (outcome,) = await delivery
        assert outcome.verdict is Verdict.RELAYED
        assert server.messages == [b"".join(content.pieces)]
        await post.courier.close()


async def test_a_large_binary_message_goes_in_chunks(post: Post) -> None:
    hello = GREET + "S: 250-mx\nS: 250-CHUNKING\nS: 250 BINARYMIME\n"
    script = (
        "C: MAIL FROM:<ann@example.com> BODY=BINARYMIME\nS: 250 ok\nC: RCPT\nS: 250 ok\n"
        "C: BDAT 4\nC: a.\nS: 250 ok\nC: BDAT 2\nC: \nS: 250 ok\nC: BDAT 0 LAST\nS: 250 done\n"
    )
    async with Scripted(hello + script + QUIT) as server:
        content = Streamed([b"a.\r\n", b"\r\n"])
        assert await post.verdicts(server.route(), content=content, body=BodyType.BINARY) == [("relayed", "250 done")]
        await post.courier.close()


@pytest.mark.parametrize(
    "content, error",
    [
        (Streamed([b"one\r\n"], error=StoreError("the disk is gone")), "the disk is gone"),
        (Streamed([b"one\r\n"], size=10), "a message of 10 octets has only 5 in the store"),
        (shortened(b"one\r\n", 10), "a message of 10 octets has only 5 in the store"),
    ],
)
async def test_a_message_that_cannot_be_read_is_never_ended(post: Post, content: Any, error: str) -> None:
    script = "C: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nSILENCE\n"
    async with Scripted(HELLO + script) as server:
        with pytest.raises(StoreError, match=error):
            await post.bring(server.route(), content=content)
        async with asyncio.timeout(5):
            await server.ended.wait()


async def test_an_attempt_that_is_called_off_ends_no_message(post: Post) -> None:
    script = "C: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nS: 250 ok\nSILENCE\n"
    async with Scripted(HELLO + script) as server:
        delivery = asyncio.ensure_future(post.bring(server.route()))
        await server.told("DATA")
        delivery.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivery
        async with asyncio.timeout(5):
            await server.ended.wait()
        assert post.courier.connections_open("mx:example.org") == 0
