"""POP3 sessions over real sockets on loopback, with Python's poplib as somebody else's client."""

from __future__ import annotations

import asyncio
import contextlib
import poplib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
import trustme
import uvloop

from glasspost.errors import GlasspostError
from glasspost.protocol.pop3_events import Pop3Settings
from glasspost.protocol.sasl import Credentials, Question, ScramKeys
from glasspost.retrieval.pop3 import Pop3Session
from glasspost.storage.resolution import Account
from glasspost.storage.sign_in import Fate, Verdict
from hourglass import Hourglass

T = TypeVar("T")
MAIL = (
    b"Subject: one\r\n\r\nHello\r\n.\r\n..two dots\r\nend\r\n",
    b"Subject: two\r\n\r\n" + b"0123456789" * 20_000 + b"\r\n",
    "Subject: grüße\r\n\r\nHello\r\n".encode(),
)


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> Any:
    return request.param()


# --- a small house ----------------------------------------------------------------------------------------------


class Desk:
    """bob@example.org and ann@example.org, both with the password tulip."""

    out_of_order = False

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def judge(self, question: Question, ip: str, door: str, shown: ScramKeys | None) -> Verdict:
        assert door == "pop3" and isinstance(question, Credentials)
        self.asked.set()
        await self.gate.wait()
        if self.out_of_order:
            return Verdict(Fate.LATER, "sign-in not checked: too busy")
        ids = {"bob": 1, "bob@example.org": 1, "ann": 2}
        name = question.username
        if question.password != "tulip" or name not in ids:
            return Verdict(Fate.NO, f"sign-in refused for {name!r}")
        account = Account(ids[name], f"{name.partition('@')[0]}@example.org", 0, True)
        return Verdict(Fate.YES, f"signed in as {account.address}", account)


@dataclass(frozen=True)
class Deposit:
    uid: str
    octets: int
    content: bytes = field(repr=False)


class Maildrop:
    def __init__(self, mailboxes: Mailboxes, account_id: int) -> None:
        self.mailboxes = mailboxes
        self.account_id = account_id
        self.deposits: Sequence[Deposit] = list(mailboxes.boxes[account_id])

    async def chunks(self, deposit: Deposit) -> AsyncIterator[bytes]:
        try:
            for start in range(0, deposit.octets, 65536):
                self.mailboxes.pieces += 1
                await asyncio.sleep(0)
                if self.mailboxes.breaks_at == start:
                    raise GlasspostError("the disk does not answer")
                content = deposit.content or bytes(65536)
                yield content[start : start + 65536] if deposit.content else content
        finally:
            self.mailboxes.open_chunks_closed += 1

    async def expunge(self, deposits: Sequence[Deposit]) -> None:
        self.mailboxes.expunging.set()
        await self.mailboxes.gate.wait()
        if self.mailboxes.read_only:
            raise GlasspostError("read-only file system")
        box = self.mailboxes.boxes[self.account_id]
        self.mailboxes.boxes[self.account_id] = [deposit for deposit in box if deposit not in deposits]

    def release(self) -> None:
        self.mailboxes.locked.discard(self.account_id)
        if not self.mailboxes.locked:
            self.mailboxes.all_free.set()


class Mailboxes:
    breaks_at = -1
    read_only = False

    def __init__(self) -> None:
        bob = [Deposit(f"uid{number}", len(text), text) for number, text in enumerate(MAIL, 1)]
        self.boxes: dict[int, list[Deposit]] = {1: bob, 2: []}
        self.locked: set[int] = set()
        self.pieces = 0
        self.open_chunks_closed = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.expunging = asyncio.Event()
        self.all_free = asyncio.Event()

    async def lock(self, account_id: int) -> Maildrop | None:
        if account_id in self.locked:
            return None
        self.locked.add(account_id)
        self.all_free.clear()
        return Maildrop(self, account_id)


class Recording:
    """Keeps the conversation as a talk, and says when it was closed."""

    def __init__(self, local: str, peer: str) -> None:
        self.id = "c0test"
        self.local, self.peer = local, peer
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.verdict = ""
        self.closed = asyncio.Event()

    def heard(self, line: bytes) -> None:
        self.lines.append("C: " + line.decode("latin-1"))

    def said(self, text: bytes) -> None:
        self.lines.append("S: " + text.decode("latin-1").rstrip())

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self, verdict: str = "") -> None:
        assert not self.closed.is_set(), "closed twice"
        self.verdict = verdict
        self.closed.set()


class WatchedSession(Pop3Session):
    """A session that tells when it took something, when its reader takes no more, and how much was ever held."""

    largest = 0

    def opened(self) -> None:
        self.choke = asyncio.Event()
        self.gone = asyncio.Event()
        self.taken = asyncio.Event()
        super().opened()

    def received(self, data: bytes) -> None:
        super().received(data)
        self.taken.set()

    def lost(self, error: Exception | None) -> None:
        super().lost(error)
        self.gone.set()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.choke.set()

    def send(self, data: bytes) -> None:
        super().send(data)
        if self.is_open and self.transport is not None:
            self.largest = max(self.largest, self.transport.get_write_buffer_size())


class House:
    """A server on a port of its own."""

    def __init__(self, settings: Pop3Settings, tls: ssl.SSLContext | None) -> None:
        self.settings = settings
        self.tls = tls
        self.desk = Desk()
        self.mailboxes = Mailboxes()
        self.recordings: list[Recording] = []
        self.sessions: list[WatchedSession] = []
        self.port = 0
        self.glass = Hourglass(asyncio.get_running_loop())

    def session(self) -> WatchedSession:
        session = WatchedSession(self.glass, self.settings, self.desk, self.mailboxes, self.record, self.tls)
        self.sessions.append(session)
        return session

    def record(self, local: str, peer: str) -> Recording:
        self.recordings.append(Recording(local, peer))
        return self.recordings[-1]

    async def ended(self) -> Recording:
        """The last session's recording, once it is closed."""
        await self.recordings[-1].closed.wait()
        return self.recordings[-1]


SETTINGS = Pop3Settings(hostname="mail.example.org", headers_in_utf8="refuse")


@contextlib.asynccontextmanager
async def open_house(settings: Pop3Settings = SETTINGS, tls: ssl.SSLContext | None = None) -> AsyncIterator[House]:
    house = House(settings, tls)
    server = await asyncio.get_running_loop().create_server(house.session, "127.0.0.1", 0)
    house.port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(20):
        try:
            yield house
        finally:
            server.close()
            for session in house.sessions:
                session.abort()
            for recording in house.recordings:
                await recording.closed.wait()


async def poplib_session(house: House, talk: Callable[[poplib.POP3], T], username: str = "bob") -> T:
    """What a foreign client does after signing in, in a thread of its own."""

    def run() -> T:
        client = poplib.POP3("127.0.0.1", house.port, timeout=10)
        try:
            client.user(username)
            client.pass_("tulip")
            return talk(client)
        finally:
            client.close()

    return await asyncio.to_thread(run)


class Hand:
    """Somebody with telnet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self, text: str) -> str:
        self.writer.write(text.encode() + b"\r\n")
        return await self.hears()

    async def hears(self) -> str:
        return (await self.reader.readline()).decode().rstrip("\r\n")

    def cuts_the_cable(self) -> None:
        """Ends the connection with RST: unlike FIN it cannot mean that somebody still listens."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def signs_in(self) -> None:
        assert await self.says("USER bob") == "+OK Go on with PASS"
        assert (await self.says("PASS tulip")).startswith("+OK Welcome")


@contextlib.asynccontextmanager
async def by_hand(house: House, **options: Any) -> AsyncIterator[Hand]:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port, **options)
    hand = Hand(reader, writer)
    assert await hand.hears() == "+OK mail.example.org POP3 glasspost"
    try:
        yield hand
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


# --- with poplib ------------------------------------------------------------------------------------------------


async def test_a_foreign_client_fetches_its_mail_byte_for_byte() -> None:
    async with open_house() as house:

        def talk(client: poplib.POP3) -> None:
            assert client.stat() == (3, sum(map(len, MAIL)))
            assert client.list()[1] == [f"{number} {len(text)}".encode() for number, text in enumerate(MAIL, 1)]
            assert client.uidl()[1] == [b"1 uid1", b"2 uid2", b"3 uid3"]
            assert b"\r\n".join(client.retr(1)[1]) + b"\r\n" == MAIL[0]
            assert client.top(1, 1)[1] == [b"Subject: one", b"", b"Hello"]
            assert client.capa()["UTF8"] == ["USER"]
            with pytest.raises(poplib.error_proto, match=r"-ERR \[UTF8\]"):
                client.retr(3)
            client.dele(1)
            client.rset()
            client.dele(2)
            client.dele(3)
            assert client.quit().startswith(b"+OK Bye; removed: 2, left: 1")

        await poplib_session(house, talk)
        assert [deposit.uid for deposit in house.mailboxes.boxes[1]] == ["uid1"]
        recording = await house.ended()
        assert recording.verdict == "signed off"
        assert recording.notes == [
            "signed in as bob@example.org; messages: 3",
            f"message 1 sent, {len(MAIL[0])} octets",
            "message 1 sent, 23 octets",
            "message 3 held back: its header is in UTF-8",
            "removed: 2, left: 1",
        ]
        assert "tulip" not in "\n".join(recording.lines)
        assert recording.local == f"127.0.0.1:{house.port}"


async def test_a_foreign_client_over_tls(ca: trustme.CA, server_tls: ssl.SSLContext) -> None:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    async with open_house(replace(SETTINGS, cleartext_auth="never"), server_tls) as house:

        def run() -> bytes:
            client = poplib.POP3("localhost", house.port, timeout=10)
            try:
                assert "STLS" in client.capa() and "USER" not in client.capa()
                client.stls(context)
                assert "STLS" not in client.capa() and "USER" in client.capa()
                client.utf8()
                client.user("bob")
                client.pass_("tulip")
                content = b"\r\n".join(client.retr(3)[1])
                client.quit()
                return content
            finally:
                client.close()

        assert await asyncio.to_thread(run) + b"\r\n" == MAIL[2]
        recording = await house.ended()
        assert recording.notes[0].startswith("TLS: TLSv1.3 TLS_")
        assert recording.verdict == "signed off"


async def test_a_foreign_client_with_tls_from_the_first_octet(ca: trustme.CA, server_tls: ssl.SSLContext) -> None:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    async with open_house(replace(SETTINGS, cleartext_auth="never"), server_tls) as house:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(house.session, "127.0.0.1", 0, ssl=server_tls)
        port = server.sockets[0].getsockname()[1]

        def run() -> None:
            client = poplib.POP3_SSL("localhost", port, timeout=10, context=context)
            assert "STLS" not in client.capa()
            client.user("bob")
            client.pass_("tulip")
            client.quit()

        await asyncio.to_thread(run)
        assert (await house.ended()).verdict == "signed off"
        server.close()


async def test_a_maildrop_of_a_hundred_thousand_messages() -> None:
    async with open_house() as house:
        house.mailboxes.boxes[1] = [Deposit(f"u{number}", 7, b"") for number in range(100_000)]

        def talk(client: poplib.POP3) -> None:
            assert client.stat() == (100_000, 700_000)
            listing = client.uidl()[1]
            assert (len(listing), listing[0], listing[-1]) == (100_000, b"1 u0", b"100000 u99999")
            assert client.list()[1][-1] == b"100000 7"
            client.quit()

        await poplib_session(house, talk)
        assert house.sessions[0].largest < 256 * 1024


# --- the maildrop's lock, and removal ---------------------------------------------------------------------------


async def test_one_session_at_a_time_has_the_maildrop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is free before goodbye is said: whoever hears it may come back at once."""
    last_words: list[str] = []
    async with open_house() as house, by_hand(house) as first, by_hand(house) as second:
        release = Maildrop.release

        def watched(drop: Maildrop) -> None:
            last_words.append(house.recordings[0].lines[-1])
            release(drop)

        monkeypatch.setattr(Maildrop, "release", watched)
        await first.signs_in()
        await second.says("USER bob")
        assert (await second.says("PASS tulip")).startswith("-ERR [IN-USE] ")
        assert await first.says("QUIT") == "+OK Bye"
        assert last_words == ["C: QUIT"]
        await second.signs_in()
        assert house.mailboxes.locked == {1}


async def test_a_lost_connection_removes_nothing_and_frees_the_maildrop() -> None:
    async with open_house() as house:
        async with by_hand(house) as hand:
            await hand.signs_in()
            await hand.says("DELE 1")
        recording = await house.ended()
        assert recording.verdict == "the client left without QUIT"
        assert not house.mailboxes.locked and len(house.mailboxes.boxes[1]) == 3


async def test_removal_that_quit_began_is_carried_through_though_nobody_waits() -> None:
    async with open_house() as house:
        house.mailboxes.gate.clear()
        async with by_hand(house) as hand:
            await hand.signs_in()
            await hand.says("DELE 1")
            hand.writer.write(b"QUIT\r\n")
            await house.mailboxes.expunging.wait()
            hand.cuts_the_cable()
        assert house.mailboxes.locked == {1}
        house.mailboxes.gate.set()
        recording = await house.ended()
        assert recording.verdict == "signed off"
        assert not house.mailboxes.locked and len(house.mailboxes.boxes[1]) == 2


async def test_removal_that_fails_is_told_and_removes_nothing() -> None:
    async with open_house() as house, by_hand(house) as hand:
        house.mailboxes.read_only = True
        await hand.signs_in()
        await hand.says("DELE 1")
        assert (await hand.says("QUIT")).startswith("-ERR [SYS/TEMP] Nothing was removed")
        assert await hand.reader.read() == b""
        recording = await house.ended()
        assert recording.notes[-1] == "nothing removed: read-only file system"
        assert not house.mailboxes.locked and len(house.mailboxes.boxes[1]) == 3


async def test_a_client_that_leaves_while_it_is_being_signed_in_leaves_no_lock_behind() -> None:
    async with open_house() as house:
        house.desk.gate.clear()
        async with by_hand(house) as hand:
            hand.writer.write(b"USER bob\r\nPASS tulip\r\n")
            await house.desk.asked.wait()
            hand.cuts_the_cable()
        await house.sessions[0].gone.wait()
        house.desk.gate.set()
        await house.ended()
        assert not house.mailboxes.locked


async def test_the_house_closes() -> None:
    async with open_house() as house, by_hand(house) as hand:
        await hand.signs_in()
        await hand.says("DELE 1")
        house.sessions[0].leave()
        assert await hand.reader.read() == b""
        assert (await house.ended()).verdict == "the house closes"
        assert len(house.mailboxes.boxes[1]) == 3


# --- signing in -------------------------------------------------------------------------------------------------


async def test_three_wrong_passwords_and_out() -> None:
    async with open_house() as house, by_hand(house) as hand:
        answers = set()
        for name in ("bob", "nobody", "bob"):
            await hand.says(f"USER {name}")
            answers.add(await hand.says("PASS rose"))
        assert answers == {"-ERR [AUTH] User name or password is wrong (c0test)"}
        assert await hand.reader.read() == b""
        recording = await house.ended()
        assert recording.notes[1] == "sign-in refused for 'nobody'"


async def test_sign_in_that_cannot_be_checked_is_not_the_clients_fault() -> None:
    async with open_house(replace(SETTINGS, max_failed_sign_ins=1)) as house, by_hand(house) as hand:
        house.desk.out_of_order = True
        await hand.says("USER bob")
        assert (await hand.says("PASS tulip")).startswith("-ERR [SYS/TEMP] Sign-in cannot be checked")
        house.desk.out_of_order = False
        await hand.signs_in()


# --- the wire ---------------------------------------------------------------------------------------------------


async def test_everything_in_one_segment_then_half_closed() -> None:
    """As `printf ... | nc` does."""
    async with open_house() as house, by_hand(house) as hand:
        hand.writer.write(b"USER bob\r\nPASS tulip\r\nRETR 1\r\nUIDL 2\r\nDELE 1\r\nQUIT\r\n")
        hand.writer.write_eof()
        said = await hand.reader.read()
        assert said.startswith(b"+OK Go on with PASS\r\n+OK Welcome; messages: 3\r\n+OK 43 octets\r\nSubject: one\r\n")
        assert said.endswith(
            b"\r\n.\r\n+OK 2 uid2\r\n+OK Message 1 will be removed at QUIT\r\n+OK Bye; removed: 1, left: 2\r\n"
        )
        assert len(house.mailboxes.boxes[1]) == 2


async def test_half_closed_without_quit_gets_its_answers_and_removes_nothing() -> None:
    async with open_house() as house, by_hand(house) as hand:
        hand.writer.write(b"USER bob\r\nPASS tulip\r\nDELE 1\r\nRETR 2\r\n")
        hand.writer.write_eof()
        assert (await hand.reader.read()).endswith(b"0123456789\r\n.\r\n")
        await house.ended()
        assert len(house.mailboxes.boxes[1]) == 3 and not house.mailboxes.locked


async def test_a_reader_of_50_megabytes_who_stops_costs_no_memory() -> None:
    async with open_house() as house:
        house.mailboxes.boxes[1] = [Deposit("big", 50 * 1024 * 1024, b"")]
        with small_socket(house) as raw:
            async with by_hand_on(raw) as hand:
                await hand.signs_in()
                hand.writer.write(b"RETR 1\r\n")
                session = house.sessions[0]
                await session.choke.wait()
                for _ in range(100):
                    await asyncio.sleep(0)  # chances enough to do the wrong thing
                assert house.mailboxes.pieces * 65536 < 12 * 1024 * 1024  # the kernel's buffers, and ours
                taken = 0
                while data := await hand.reader.read(1 << 20):
                    taken += len(data)
                    if data.endswith(b"\r\n.\r\n"):
                        break
                assert taken == len("+OK 52428800 octets\r\n") + 50 * 1024 * 1024 + len("\r\n.\r\n")
                assert session.largest < 512 * 1024


async def test_a_reader_who_stops_within_a_listing_costs_no_memory() -> None:
    async with open_house() as house:
        house.mailboxes.boxes[1] = [Deposit("u" * 70, 7, b"")] * 100_000
        with small_socket(house) as raw:
            async with by_hand_on(raw) as hand:
                await hand.signs_in()
                hand.writer.write(b"UIDL\r\n" * 5)
                session = house.sessions[0]
                await session.choke.wait()
                for _ in range(300):  # whoever reads nothing but goes on asking gets no more said
                    hand.writer.write(b"NOOP\r\n")
                    await asyncio.sleep(0)
                for _ in range(5 * 100_002):
                    await hand.reader.readline()
                for _ in range(300):
                    assert await hand.hears() == "+OK Here"
                assert session.largest < 512 * 1024


async def test_commands_sent_ahead_without_end_must_wait() -> None:
    async with open_house() as house, by_hand(house) as hand:
        house.desk.gate.clear()
        hand.writer.write(b"USER bob\r\nPASS tulip\r\n" + b"NOOP\r\n" * 2_000_000)  # 12 MB
        await house.desk.asked.wait()
        for _ in range(1000):
            await asyncio.sleep(0)
        session = house.sessions[0]
        assert session._core.unread < 512 * 1024
        house.desk.gate.set()
        assert (await hand.hears(), await hand.hears()) == ("+OK Go on with PASS", "+OK Welcome; messages: 3")
        for _ in range(10_000):
            assert await hand.hears() == "+OK Here"
        assert session.largest < 512 * 1024 and session._core.unread < 512 * 1024
        hand.cuts_the_cable()


@contextlib.contextmanager
def small_socket(house: House) -> Iterator[socket.socket]:
    """A connection whose reader's kernel holds little."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", house.port))
    raw.setblocking(False)
    try:
        yield raw
    finally:
        raw.close()


def by_hand_on(raw: socket.socket) -> contextlib.AbstractAsyncContextManager[Hand]:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Hand]:
        reader, writer = await asyncio.open_connection(sock=raw, limit=65536)
        hand = Hand(reader, writer)
        await hand.hears()
        try:
            yield hand
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return opened()


async def test_a_reader_who_leaves_in_the_middle_frees_everything() -> None:
    async with open_house() as house:
        house.mailboxes.boxes[1] = [Deposit("big", 50 * 1024 * 1024, b"")]
        with small_socket(house) as raw:
            async with by_hand_on(raw) as hand:
                await hand.signs_in()
                hand.writer.write(b"RETR 1\r\n")
                await house.sessions[0].choke.wait()
                hand.cuts_the_cable()
        recording = await house.ended()
        assert recording.notes[-1] == "message 1 was cut off"
        assert not house.mailboxes.locked and house.mailboxes.open_chunks_closed == 1


async def test_content_that_cannot_be_read() -> None:
    async with open_house() as house, by_hand(house) as hand:
        await hand.signs_in()
        house.mailboxes.breaks_at = 0
        assert (await hand.says("RETR 2")).startswith("-ERR [SYS/TEMP] The message cannot be read")
        house.mailboxes.breaks_at = 65536
        assert await hand.says("RETR 2") == "+OK 200018 octets"
        rest = await hand.reader.read()  # the connection ends: there is no other way to say that it is incomplete
        assert len(rest) == 65536 and not rest.endswith(b".\r\n")
        assert (await house.ended()).notes[-1] == "message 2 not read: the disk does not answer"


async def test_a_bug_in_the_house_ends_the_session_and_removes_nothing() -> None:
    async with open_house() as house, by_hand(house) as hand:
        caught: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context))
        await hand.signs_in()
        await hand.says("DELE 1")
        house.mailboxes.boxes.clear()  # expunge finds no box: KeyError
        assert (await hand.says("QUIT")).startswith("-ERR [SYS/TEMP] Something broke on our side; closing.")
        assert await hand.reader.read() == b""
        await house.ended()
        assert isinstance(caught[0]["exception"], KeyError) and not house.mailboxes.locked


# --- deadlines --------------------------------------------------------------------------------------------------


IDLE = 600.0


async def test_silence_ends_the_session_without_a_word_and_without_removing() -> None:
    async with open_house(replace(SETTINGS, idle_seconds=IDLE)) as house, by_hand(house) as hand:
        await hand.signs_in()
        house.glass.passes(IDLE - 1)
        await hand.says("DELE 1")
        house.glass.passes(IDLE - 1)
        assert not house.sessions[0].gone.is_set(), "each command begins it anew"
        house.glass.passes(1)
        assert await hand.reader.read() == b""
        recording = await house.ended()
        assert recording.verdict == "the client was silent for too long"
        assert len(house.mailboxes.boxes[1]) == 3 and not house.mailboxes.locked


async def test_octets_that_are_no_command_do_not_move_the_deadline() -> None:
    async with open_house(replace(SETTINGS, idle_seconds=IDLE)) as house, by_hand(house) as hand:
        for _ in range(4):
            house.sessions[0].taken.clear()
            hand.writer.write(b"x")
            await house.sessions[0].taken.wait()
            house.glass.passes(IDLE / 4)
        assert await hand.reader.read() == b""


async def test_a_reader_who_takes_nothing_at_all_is_cut_off() -> None:
    async with open_house(replace(SETTINGS, idle_seconds=IDLE)) as house:
        house.mailboxes.boxes[1] = [Deposit("big", 50 * 1024 * 1024, b"")]
        with small_socket(house) as raw:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(raw, b"USER bob\r\nPASS tulip\r\nRETR 1\r\n")
            await loop.sock_recv(raw, 1)
            session = house.sessions[0]
            await session.choke.wait()
            while not session.gone.is_set():  # what the kernel still took counts as a move
                house.glass.passes(IDLE)
                await asyncio.sleep(0)
            recording = await house.ended()
        assert recording.verdict == "the client reads no more"
        assert not house.mailboxes.locked


async def test_the_deadline_sleeps_while_the_house_works() -> None:
    async with open_house(replace(SETTINGS, idle_seconds=IDLE)) as house, by_hand(house) as hand:
        house.desk.gate.clear()
        await hand.says("USER bob")
        hand.writer.write(b"PASS tulip\r\n")
        await house.desk.asked.wait()
        house.glass.passes(10 * IDLE)
        house.desk.gate.set()
        assert (await hand.hears()).startswith("+OK Welcome")


# --- TLS --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    return context


async def test_a_command_smuggled_behind_stls_drops_the_connection(server_tls: ssl.SSLContext) -> None:
    async with open_house(tls=server_tls) as house, by_hand(house) as hand:
        hand.writer.write(b"STLS\r\nUSER bob\r\nPASS tulip\r\n")
        said = await hand.reader.read()
        assert said == b"-ERR Bytes came behind STLS before TLS began; closing (c0test)\r\n"
        recording = await house.ended()
        assert not house.desk.asked.is_set()
        assert "USER" not in "\n".join(recording.lines)


async def test_a_command_smuggled_into_the_handshake_breaks_it(server_tls: ssl.SSLContext) -> None:
    async with open_house(tls=server_tls) as house, by_hand(house) as hand:
        assert await hand.says("STLS") == "+OK Begin TLS"
        hand.writer.write(b"USER bob\r\nPASS tulip\r\n")
        with contextlib.suppress(OSError):
            assert b"+OK" not in await hand.reader.read()
        recording = await house.ended()
        assert recording.verdict == "TLS failed"
        assert not house.desk.asked.is_set()


async def test_the_first_command_may_come_with_the_end_of_the_handshake(
    ca: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    """Then the wire is faster than our notice that TLS stands: nothing of it may be lost, or taken for smuggled."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    async with open_house(tls=server_tls) as house, by_hand(house) as hand:
        assert await hand.says("STLS") == "+OK Begin TLS"
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                hand.writer.write(outgoing.read())
                incoming.write(await hand.reader.read(65536))
        tls.write(b"USER bob\r\nPASS tulip\r\nSTAT\r\n")
        hand.writer.write(outgoing.read())  # the client's Finished and its commands, in one segment
        said = b""
        while b"+OK 3 " not in said:
            incoming.write(await hand.reader.read(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                while True:
                    said += tls.read(65536)
        assert said.startswith(b"+OK Go on with PASS\r\n+OK Welcome")
