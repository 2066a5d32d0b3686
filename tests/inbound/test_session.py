"""Visits of SMTP clients: what is promised and when, who leaves early, who stays too long, TLS, and a full disk.

Most run over real sockets on loopback, on both event loops; where the moment counts, bytes are handed in by `Wire`.
"""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import apsw
import pytest
import uvloop

from entrances import PASSWORD, House, Wire
from glasspost.inbound import transaction as transaction_module
from glasspost.inbound.endings import how_it_ended
from glasspost.inbound.session import SmtpSession
from glasspost.inbound.visit import UNREAD_LIMIT
from glasspost.net.tls import opportunistic_context
from glasspost.protocol.smtp_table import State
from glasspost.storage import bodies
from hourglass import Hourglass

PATIENCE = 10.0
GREETED = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<dave@client.example>\r\nRCPT TO:<alice@example.test>\r\n"
LARGE = b"".join(b"%07d 12345678901234567890\r\n" % number for number in range(30_000))  # some 900 KB: three pieces


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> Any:
    return request.param()


class Visitor:
    """A client on a socket, speaking octets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> str:
        """The next whole reply; empty at the end."""
        said = ""
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), PATIENCE)).decode()
            said += line
            if line[3:4] != "-":
                return said

    async def ask(self, data: bytes) -> str:
        self.writer.write(data)
        return await self.reply()

    async def rest(self) -> str:
        """All that is said until the server hangs up."""
        return (await asyncio.wait_for(self.reader.read(), PATIENCE)).decode()

    async def begin(self, greeting: bytes = GREETED) -> None:
        assert (await self.reply()).startswith("220 ")
        await self.ask(greeting)

    def vanish(self) -> None:
        """The cable is cut: no FIN, but a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def visit(house: House) -> AsyncIterator[Visitor]:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    try:
        yield Visitor(reader, writer)
    finally:
        writer.transport.abort()


async def until(true: Callable[[], bool]) -> None:
    """The loop turns until this is so."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110  (some of it happens in the writer's thread)
            await asyncio.sleep(0.001)


async def empty_again(house: House) -> None:
    """Everybody has left, and the writer has done what it was given."""
    await until(lambda: not house.entrance.sessions)
    await house.written()
    assert house.entrance.limits.count == 0


@contextlib.contextmanager
def held_writer(house: House):  # type: ignore[no-untyped-def]
    """The disk does not answer until the block ends."""
    gate = threading.Event()
    house.database.write(lambda connection: gate.wait(PATIENCE), lambda result, error: None)
    try:
        yield gate
    finally:
        gate.set()


# --- 250 means durable -------------------------------------------------------------------------------------------


async def test_the_250_comes_after_the_commit_and_not_before(entrance) -> None:
    house = await entrance()
    wire = Wire(house.session())
    with held_writer(house):
        wire.feed(GREETED + ENVELOPE + b"DATA\r\nHello\r\n.\r\nNOOP\r\n")
        assert wire.said.endswith(b"354 Go ahead; end with a dot on a line of its own\r\n")
        async with visit(house) as other:  # the house goes on meanwhile, and time passes
            await other.begin()
            assert (await other.ask(b"NOOP\r\n")).startswith("250 ")
        assert wire.said.endswith(b"own\r\n")
        assert house.rows("message") == 0
        kept_at_250: list[int] = []
        wire.heard = lambda: kept_at_250.append(house.rows("deposit"))
    await until(lambda: wire.said.endswith(b"250 2.0.0 OK\r\n"))
    assert b"250 2.0.0 Safe on disk as q" in wire.said
    assert kept_at_250 == [1]


async def test_who_leaves_before_the_250_is_delivered_to_all_the_same(entrance) -> None:
    """The commit was under way: it may stand, as the client will try again or not; it must not be half."""
    house = await entrance()
    wire = Wire(house.session())
    with held_writer(house):
        wire.feed(GREETED + ENVELOPE + b"DATA\r\nHello\r\n.\r\n")
        wire.close()
        await until(lambda: not house.entrance.sessions)
    await until(lambda: len(house.accepted) == 1)
    assert (house.rows("message"), house.rows("chunk"), house.rows("deposit"), house.rows("draft")) == (1, 1, 1, 0)


async def test_who_leaves_before_a_large_message_is_on_disk_leaves_nothing_or_all(entrance) -> None:
    house = await entrance()
    wire = Wire(house.session())
    with held_writer(house):
        wire.feed(GREETED + ENVELOPE + b"DATA\r\n" + LARGE + b".\r\n")
        wire.close()
        await until(lambda: not house.entrance.sessions)
    await house.written()
    await house.written()
    assert house.is_empty or house.content(house.accepted[0]) == LARGE


async def test_a_half_closed_client_gets_its_answers(entrance) -> None:
    house = await entrance()
    async with visit(house) as client:
        client.writer.write(GREETED + ENVELOPE + b"DATA\r\nHello\r\n.\r\nNOOP\r\n")
        client.writer.write_eof()
        said = await client.rest()
    assert "250 2.0.0 Safe on disk as q" in said
    assert said.endswith("250 2.0.0 OK\r\n")
    await empty_again(house)


async def test_a_half_closed_client_without_a_question_is_let_go(entrance) -> None:
    house = await entrance()
    async with visit(house) as client:
        await client.begin()
        client.writer.write_eof()
        assert await client.rest() == ""
    await empty_again(house)


async def test_what_is_kept_is_what_came_with_a_received_field_on_top(entrance) -> None:
    house = await entrance()
    async with visit(house) as client:
        await client.begin()
        for line in ENVELOPE.splitlines(keepends=True):
            await client.ask(line)
        await client.ask(b"DATA\r\n")
        reply = await client.ask(b"Subject: x\r\n\r\n..\r\n.\r\n")
    (intake,) = house.accepted
    assert reply.startswith(f"250 2.0.0 Safe on disk as {intake.queue_id}")
    assert house.content(intake) == b"Subject: x\r\n\r\n.\r\n"
    assert intake.head.startswith(
        b"Received: from client.example ([127.0.0.1])\r\n\tby mail.example.test with ESMTP\r\n"
    )
    assert f"id {intake.queue_id} for <alice@example.test>;".encode() in intake.head
    assert intake.size == len(intake.head) + 17


async def test_blind_copies_are_not_betrayed(entrance) -> None:
    house = await entrance()
    wire = Wire(house.session())
    wire.feed(b"HELO x\r\n" + ENVELOPE + b"RCPT TO:<bob@example.test>\r\nDATA\r\nx\r\n.\r\n")
    await until(lambda: bool(house.accepted))
    head = house.accepted[0].head
    assert b"alice" not in head and b"bob" not in head
    assert b"with SMTP\r\n" in head


async def test_wishes_for_reports_travel_with_the_message(entrance) -> None:
    house = await entrance('smtp.relay_domains = ["relay.test"]')
    wire = Wire(house.session())
    wire.feed(
        GREETED + b"MAIL FROM:<dave@client.example> RET=HDRS ENVID=a+2Bb BODY=8BITMIME SMTPUTF8\r\n"
        b"RCPT TO:<x@relay.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;y@old.test\r\nDATA\r\n\xc3\xbc\r\n.\r\n"
    )
    await until(lambda: bool(house.accepted))
    (found,) = house.database.reader.execute("SELECT ret, envid, body, flags, reverse_path FROM message").fetchall()
    assert found == ("HDRS", "a+b", "8BITMIME", 3, "dave@client.example")
    (found,) = house.database.reader.execute("SELECT address, notify, orcpt FROM recipient").fetchall()
    assert found == ("x@relay.test", 2 | 8, "rfc822;y@old.test")


# --- leaving early ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closes", "vanishes", "half-closes"])
@pytest.mark.parametrize("sent", [b"Hello\r\n", LARGE, LARGE + b"."], ids=["small", "large", "just before the end"])
@pytest.mark.parametrize("command", [b"DATA\r\n", b"BDAT 10000000\r\n"], ids=["DATA", "BDAT"])
async def test_a_client_that_disappears_in_its_message_leaves_nothing(entrance, command, sent, how) -> None:
    house = await entrance()
    async with visit(house) as client:
        await client.begin()
        for line in ENVELOPE.splitlines(keepends=True):
            await client.ask(line)
        client.writer.write(command + sent)
        await client.writer.drain()
        if len(sent) > 100:  # a part of it is on the disk already
            await until(lambda: house.rows("draft") == 1)
        if how == "vanishes":
            client.vanish()
        elif how == "closes":
            client.writer.close()
        else:
            client.writer.write_eof()
            assert "Safe on disk" not in await client.rest()
        await empty_again(house)
    assert house.is_empty
    assert not house.accepted


@pytest.mark.parametrize(
    "ending", [b"RSET\r\n", b"EHLO again\r\n", b"HELO again\r\n", b"QUIT\r\n", b"BDAT 60000000\r\n"]
)
async def test_a_large_message_that_is_called_off_leaves_nothing(entrance, ending) -> None:
    """Before another begins as well: what the last one left must not wait for the next start."""
    house = await entrance()
    async with visit(house) as client:
        await client.begin()
        for line in ENVELOPE.splitlines(keepends=True):
            await client.ask(line)
        assert (await client.ask(b"BDAT %d\r\n%s" % (len(LARGE), LARGE))).startswith("250 ")
        assert house.rows("draft") == 1
        if ending.startswith(b"BDAT"):
            client.vanish()
        else:
            assert (await client.ask(ending)).startswith("2")
            client.writer.write(ENVELOPE)
        await until(lambda: house.rows("draft") == 0)
        await house.written()
        assert house.is_empty


async def test_a_large_message_comes_through_octet_by_octet(entrance) -> None:
    house = await entrance()
    async with visit(house) as client:
        await client.begin()
        for line in ENVELOPE.splitlines(keepends=True):
            await client.ask(line)
        await client.ask(b"DATA\r\n")
        assert "Safe on disk" in await client.ask(LARGE * 4 + b".\r\n")
    assert house.content(house.accepted[0]) == LARGE * 4
    assert house.rows("draft") == 0


# --- the disk ---------------------------------------------------------------------------------------------------


async def fill(house: House) -> None:
    """The disk has no room for another page."""
    await house.database.written(
        lambda connection: connection.execute(
            f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').get}"
        ).fetchall()
    )


async def make_room(house: House) -> None:
    await house.database.written(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchall())


@pytest.mark.parametrize("text", [b"x" * 20_000 + b"\r\n", LARGE], ids=["small", "large"])
async def test_a_full_disk_refuses_for_now_and_works_again(entrance, text) -> None:
    house = await entrance()
    message = b"DATA\r\n" + text + b".\r\n"
    async with visit(house) as client:
        await client.begin()
        await fill(house)
        for _ in range(2):
            client.writer.write(ENVELOPE + message)
            replies = [await client.reply() for _ in range(4)]
            assert replies[2].startswith("354 ")
            assert replies[3].startswith("452 4.3.1 No room on our disk just now; try again later [c")
        await house.written()
        assert house.is_empty
        await make_room(house)
        client.writer.write(ENVELOPE + message)
        assert "Safe on disk" in [await client.reply() for _ in range(4)][3]
    assert house.content(house.accepted[0]) == text
    assert len(house.accepted) == 1


@pytest.mark.parametrize("broken", [1, 2, 3])
async def test_a_message_of_which_one_piece_could_not_be_stored_is_refused(entrance, monkeypatch, broken) -> None:
    """Also where the last octets come before that is known, and would fit by themselves."""
    house = await entrance()
    storing, count = bodies._storing, 0

    def storing_but_one(draft_id: int, chunk: tuple[int, bytes]) -> Callable[[apsw.Connection], None]:
        nonlocal count
        count += 1
        if count != broken:
            return storing(draft_id, chunk)

        def full(connection: apsw.Connection) -> None:
            raise apsw.FullError("database or disk is full")

        return full

    monkeypatch.setattr(bodies, "_storing", storing_but_one)
    wire = Wire(house.session())
    wire.feed(GREETED + ENVELOPE + b"DATA\r\n" + LARGE + b".\r\nNOOP\r\n")
    await until(lambda: wire.said.endswith(b"250 2.0.0 OK\r\n"))
    assert b"\r\n452 4.3.1 " in wire.said
    assert b"Safe on disk" not in wire.said
    await house.written()
    assert house.is_empty


async def test_a_slow_disk_makes_the_sender_wait_and_is_not_held_against_it(entrance) -> None:
    house = await entrance("smtp.data_timeout = 0.05")
    wire = Wire(house.session())
    with held_writer(house):
        wire.feed(GREETED + ENVELOPE + b"DATA\r\n" + LARGE)
        assert not wire._reading, "no more is taken than is on its way to the disk"
        await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.2)  # longer than allowed
        assert not wire.closed
    await until(lambda: wire._reading)
    wire.feed(b".\r\n")
    await until(lambda: b"Safe on disk" in wire.said)
    assert house.content(house.accepted[0]) == LARGE


async def test_what_is_sent_ahead_of_an_answer_costs_little_memory(entrance) -> None:
    house = await entrance()
    wire = Wire(house.session())
    with held_writer(house):
        wire.feed(GREETED + ENVELOPE + b"DATA\r\nHello\r\n.\r\n")
        for _ in range(50):
            wire.feed(b"NOOP\r\n" * 1000)
        core = wire.session._core
        assert core is not None
        assert core.chat.unread <= UNREAD_LIMIT + 6000
    await until(lambda: wire.said.count(b"250 2.0.0 OK\r\n") == 50_000)


# --- staying too long -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("smtp.greeting_timeout", b""),
        ("smtp.command_timeout", GREETED),
        ("smtp.command_timeout", GREETED + b"MAIL FROM:<>\r\nRCPT"),
        ("smtp.data_timeout", GREETED + ENVELOPE + b"DATA\r\nHello\r\n"),
        ("smtp.data_timeout", GREETED + ENVELOPE + b"BDAT 10\r\nHello"),
        ("smtp.data_timeout", GREETED + ENVELOPE + b"BDAT 5\r\nHello"),
    ],
)
async def test_who_is_silent_for_too_long_is_told_and_sent_away(entrance, setting, said) -> None:
    house = await entrance(f"{setting} = 0.05")
    async with visit(house) as client:
        client.writer.write(said)
        assert "\r\n421 4.4.2 mail.example.test waited too long for you; closing [c" in await client.rest()
    await empty_again(house)
    assert house.is_empty


async def test_an_octet_now_and_then_is_no_way_to_stay(entrance) -> None:
    """A command has its time as a whole: each answer begins it anew, the octets of a line that never ends do not."""
    house = await entrance()
    glass = Hourglass(asyncio.get_running_loop())
    wire = Wire(SmtpSession(glass, house.entrance))
    wire.feed(GREETED)
    for _ in range(4):
        glass.passes(200)
        wire.feed(b"NOOP\r\n")
    assert not wire.closed
    for octet in (b"N", b"O", b"O", b"P", b" "):
        wire.feed(octet)
        glass.passes(50)
    assert not wire.closed
    glass.passes(100)
    assert b"421 4.4.2" in wire.said
    assert wire.closed


async def test_who_waits_for_us_is_not_sent_away(entrance) -> None:
    house = await entrance()
    session = house.session()
    wire = Wire(session)
    with held_writer(house):
        wire.feed(GREETED + ENVELOPE + b"DATA\r\nHello\r\n.\r\n")
        session.deadline_passed()
        assert not wire.closed
    await until(lambda: b"Safe on disk" in wire.said)
    session.deadline_passed()
    assert b"421 4.4.2 " in wire.said
    assert wire.closed


# --- too many ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "reply"),
    [
        ("smtp.max_connections = 2", "421 4.7.0 Too many connections; try again later [c"),
        (
            "smtp.max_connections_per_address = 2",
            "421 4.7.0 Too many connections from your address; try again later [c",
        ),
    ],
)
async def test_more_connections_than_allowed_are_turned_away(entrance, setting, reply) -> None:
    house = await entrance(setting)
    async with visit(house) as first, visit(house) as second:
        await first.begin()
        await second.begin()
        for _ in range(3):
            async with visit(house) as third:
                assert (await third.rest()).startswith(reply)
        await first.ask(b"QUIT\r\n")
        await first.rest()
        await until(lambda: house.entrance.limits.count == 1)
        async with visit(house) as fourth:
            await fourth.begin()
    await empty_again(house)


# --- the house closes -------------------------------------------------------------------------------------------


async def test_on_stopping_the_idle_are_sent_away(entrance) -> None:
    house = await entrance()
    async with visit(house) as client:
        await client.begin()
        for session in list(house.entrance.sessions):
            session.stop()
        assert (await client.rest()).startswith(
            "421 4.3.2 mail.example.test is closing for maintenance; try again later [c"
        )
    await empty_again(house)


async def test_on_stopping_a_message_under_way_comes_to_its_end(entrance) -> None:
    house = await entrance()
    async with visit(house) as client:
        await client.begin()
        for line in ENVELOPE.splitlines(keepends=True):
            await client.ask(line)
        await client.ask(b"DATA\r\n")
        for session in list(house.entrance.sessions):
            session.stop()
        client.writer.write(b"Hello\r\n.\r\n" + ENVELOPE)
        said = await client.rest()
    assert said.startswith("250 2.0.0 Safe on disk as q")
    assert "\r\n421 4.3.2 mail.example.test is closing" in said
    assert len(house.accepted) == 1


async def test_on_stopping_an_answer_that_is_owed_is_given_first(entrance) -> None:
    house = await entrance()
    session = house.session()
    wire = Wire(session)
    with held_writer(house):
        wire.feed(GREETED + ENVELOPE + b"DATA\r\nHello\r\n.\r\n")
        session.stop()
        assert not wire.closed
    await until(lambda: wire.closed)
    assert b"Safe on disk" in wire.said
    assert b"\r\n421 4.3.2 mail.example.test is closing" in wire.said


# --- TLS --------------------------------------------------------------------------------------------------------


def post(house: House, send: Callable[[smtplib.SMTP], Any]) -> Any:
    """Be a client with TLS, in a thread: Python's own."""
    with smtplib.SMTP("127.0.0.1", house.port, "client.example", PATIENCE) as client:
        client.starttls(context=opportunistic_context())
        return send(client)


async def test_a_user_signs_in_over_tls_and_sends(entrance) -> None:
    house = await entrance('submission.cleartext_auth = "never"', role="submission", tls="starttls")

    def send(client: smtplib.SMTP) -> None:
        client.login("alice@example.test", PASSWORD)
        assert client.sendmail("alice@example.test", ["x@elsewhere.test", "bob@example.test"], "Hello\n") == {}

    await asyncio.to_thread(post, house, send)
    (intake,) = house.accepted
    assert b"with ESMTPSA (TLSv1." in intake.head
    await empty_again(house)


async def test_after_tls_everything_begins_anew(entrance) -> None:
    house = await entrance(role="submission", tls="starttls")

    def send(client: smtplib.SMTP) -> None:
        assert client.docmd("MAIL", "FROM:<alice@example.test>")[0] == 503
        code, offer = client.docmd("EHLO", "client.example")
        assert code == 250
        assert b"STARTTLS" not in offer
        assert b"AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN" in offer
        assert client.docmd("STARTTLS")[0] == 503
        assert client.docmd("MAIL", "FROM:<alice@example.test>")[0] == 530

    await asyncio.to_thread(post, house, send)


async def test_signing_in_before_tls_does_not_last(entrance) -> None:
    house = await entrance(role="submission", tls="starttls")

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", house.port, "client.example", PATIENCE) as client:
            client.login("alice@example.test", PASSWORD)
            client.starttls(context=opportunistic_context())
            client.ehlo()
            assert client.docmd("MAIL", "FROM:<alice@example.test>")[0] == 530
            client.login("alice@example.test", PASSWORD)
            assert client.docmd("MAIL", "FROM:<alice@example.test>")[0] == 250

    await asyncio.to_thread(send)


async def test_nothing_is_read_between_the_220_and_the_handshake(entrance) -> None:
    """What comes then stays in the kernel, where only the handshake finds it."""
    house = await entrance(tls="starttls")
    wire = Wire(house.session())
    wire.feed(GREETED)
    reading_at_220: list[bool] = []

    def heard() -> None:
        if wire.said.endswith(b"\r\n220 2.0.0 Ready to start TLS\r\n") and not wire.closed:
            reading_at_220.append(wire._reading)
            wire.close()

    wire.heard = heard
    wire.feed(b"STARTTLS\r\n")
    assert reading_at_220 == [False]
    await empty_again(house)


async def test_octets_in_the_starttls_segment_end_the_conversation(entrance) -> None:
    house = await entrance(tls="starttls")
    async with visit(house) as client:
        await client.begin()
        client.writer.write(b"STARTTLS\r\nRSET\r\n" + ENVELOPE)
        said = await client.rest()
    assert said.startswith("421 4.7.0 Bytes came behind STARTTLS before TLS began; closing [c")
    assert said.count("\r\n") == 1
    await empty_again(house)


async def test_octets_in_a_later_segment_reach_the_handshake_and_break_it(entrance) -> None:
    house = await entrance(tls="starttls")
    async with visit(house) as client:
        await client.begin()
        assert (await client.ask(b"STARTTLS\r\n")).startswith("220 ")
        client.writer.write(b"EHLO evil.example\r\n" + ENVELOPE)
        said = await asyncio.wait_for(client.reader.read(), PATIENCE)
    assert b"250" not in said  # at most a TLS alert
    await empty_again(house)


async def test_octets_before_the_hello_of_tls_are_not_obeyed_after_it(entrance) -> None:
    """The client (or somebody on the way) slips commands in, and then does a right handshake."""
    house = await entrance(tls="starttls")
    async with visit(house) as client:
        await client.begin()
        client.writer.write(b"STARTTLS\r\n")
        client.writer.write(b"RSET\r\n")  # another segment, perhaps
        await client.reply()
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            await asyncio.wait_for(client.writer.start_tls(opportunistic_context()), PATIENCE)
    await empty_again(house)


async def test_tls_that_fails_ends_the_conversation(entrance) -> None:
    house = await entrance(tls="starttls")
    async with visit(house) as client:
        await client.begin()
        assert (await client.ask(b"STARTTLS\r\n")).startswith("220 ")
        client.vanish()
        await empty_again(house)


async def test_a_client_that_ends_tls_in_the_middle_leaves_nothing(entrance) -> None:
    house = await entrance(tls="starttls")

    def send(client: smtplib.SMTP) -> None:
        client.ehlo()
        client.mail("dave@client.example")
        client.rcpt("alice@example.test")
        client.docmd("DATA")
        client.send(LARGE)
        client.close()

    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        await asyncio.to_thread(post, house, send)
    await empty_again(house)
    assert house.is_empty


# --- the transcript ----------------------------------------------------------------------------------------------


async def test_reasons_and_outcomes_are_noted(entrance, monkeypatch) -> None:
    notes: list[str] = []
    house = await entrance("submission.own_addresses = false", role="submission")
    recording_type = type(house.transcripts.open("smtp-in", "", ""))
    monkeypatch.setattr(recording_type, "note", lambda self, text: notes.append(text))
    async with visit(house) as client:
        await client.begin()
        await client.ask(b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB3cm9uZw==\r\n")
        await client.ask(b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB0dWxpcC03\r\n")
        for line in ENVELOPE.splitlines(keepends=True):
            await client.ask(line)
        await client.ask(b"DATA\r\n")
        await client.ask(b"Hello\r\n.\r\n")
    (intake,) = house.accepted
    assert notes == [
        "sign-in refused for alice@example.test",
        "signed in as alice@example.test by PLAIN (after 0.5 s, for earlier failures)",
        "completed: Date, Message-ID, From",
        f"safe on disk as {intake.queue_id}: {intake.size} octets, 1 into mailboxes, 0 queued",
    ]


async def test_what_may_be_a_password_is_not_noted_as_a_name(entrance, monkeypatch) -> None:
    """Whoever types the password where the name belongs finds no trace of it; a name of ours is a name."""
    house = await entrance(role="submission")
    known = house.directory.lock.known_name
    assert known("tulip-7") == known("tulip-7@elsewhere.test") == "an unknown name"
    assert known("Alice") == "alice@example.test"
    assert known("nobody@example.test") == "nobody@example.test"


# --- how it ended ------------------------------------------------------------------------------------------------


async def ended_as(entrance, monkeypatch, visitor: Callable[[Visitor], Any], **how: str) -> str:
    """What a visit is closed with."""
    ends: list[str] = []
    house = await entrance(
        "smtp.command_timeout = '50 ms'" if how.pop("impatient", "") else "smtp.max_errors = 9", **how
    )
    recording_type = type(house.transcripts.open("smtp-in", "", ""))
    monkeypatch.setattr(recording_type, "close", lambda self, verdict="": ends.append(verdict))
    async with visit(house) as client:
        await client.begin()
        await visitor(client)
    await empty_again(house)
    return ends[0]


async def test_the_record_says_how_a_visit_ended(entrance, monkeypatch) -> None:
    async def quits(client: Visitor) -> None:
        await client.ask(b"QUIT\r\n")

    async def hangs_up(client: Visitor) -> None:
        client.writer.write_eof()
        await client.rest()

    async def hangs_up_in_message(client: Visitor) -> None:
        for line in (*ENVELOPE.splitlines(keepends=True), b"DATA\r\n"):
            await client.ask(line)
        await hangs_up(client)

    async def is_cut(client: Visitor) -> None:
        client.vanish()

    async def falls_silent(client: Visitor) -> None:
        assert (await client.rest()).startswith("421 4.4.2 ")

    assert await ended_as(entrance, monkeypatch, quits) == ""
    assert await ended_as(entrance, monkeypatch, hangs_up) == "hung up without QUIT"
    assert await ended_as(entrance, monkeypatch, hangs_up_in_message) == "hung up in the middle of a message"
    assert await ended_as(entrance, monkeypatch, is_cut) == "lost: connection reset by peer"
    over = SimpleNamespace(state=State.CLOSED, in_message=False)
    assert how_it_ended(cast(Any, over), ConnectionResetError(104, "Connection reset by peer")) == "", "after QUIT"
    assert await ended_as(entrance, monkeypatch, falls_silent, impatient="yes") == "timed out"


@pytest.mark.parametrize("where", ["judge_recipient", "judge", "accept"])
async def test_a_bug_of_ours_is_told_before_the_line_is_cut(entrance, monkeypatch, capsys, where) -> None:
    """In the answer to a command, in a task, and after the commit: 421, and the place goes on record, but no words of
    the exception, which may hold what the client sent."""
    house = await entrance("submission.own_addresses = false", role="submission")
    ends: list[str] = []
    recording_type = type(house.transcripts.open("smtp-in", "", ""))
    monkeypatch.setattr(recording_type, "close", lambda self, verdict="": ends.append(verdict))

    def bug(*_: object, **__: object) -> None:
        raise KeyError(PASSWORD)

    room = {"judge_recipient": house.entrance.policy, "judge": house.entrance.desk, "accept": house.spool}[where]
    monkeypatch.setattr(type(room), where, bug)
    async with visit(house) as client:
        await client.begin()
        client.writer.write(b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB0dWxpcC03\r\n")
        if where != "judge":
            await client.reply()
            client.writer.write(ENVELOPE + b"DATA\r\nHello\r\n.\r\n")
        said = await client.rest()
    assert said.splitlines()[-1].startswith("421 4.3.0 Something broke on our side; closing.")
    await empty_again(house)
    assert ends[0].startswith("a bug of ours: KeyError at inbound/")
    logged = capsys.readouterr().out
    assert "KeyError at inbound/" in logged and PASSWORD not in logged


def test_the_module_keeps_its_bound() -> None:
    assert transaction_module.TARGET_LIMIT < 1 << bodies.CHUNK_BITS, "each recipient of a message has its own number"
