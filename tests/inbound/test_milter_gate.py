"""The gate of a milter, at both wires: what a filter hears, and what the client hears of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from entrances import House, Talking, Wire
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Gates, Step
from glasspost.inbound.milter import Milter, MilterSettings
from glasspost.storage.spooled import HELD
from milters import NO_REPLY_TO_HEADERS_AND_BODY, SmallMilter, added, inserted, packet

MAIL = b"MAIL FROM:<dave@client.example> SIZE=60\r\n"
RCPT = b"RCPT TO:<alice@example.test>\r\n"
LETTER = b"Subject: hello\r\nX-Two: one\r\n\ttwo\r\n\r\nIt works.\r\n"
TALK = [b"EHLO client.example\r\n", MAIL, RCPT, b"DATA\r\n", LETTER + b".\r\n"]


class Notebook(Gate):
    """Keeps what gates behind it put into the transcript."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def connected(self, client: Client) -> Step:
        client.note = self.notes.append
        return None

    @property
    def text(self) -> str:
        return "\n".join(self.notes)


class Scene(Talking):
    """A house whose visitors are shown to a filter, and a visitor."""

    def __init__(self, house: House, address: str, **settings: object) -> None:
        self.house = house
        self.notebook = Notebook()
        limits = {"connect_timeout": 5.0, "command_timeout": 5.0, "message_timeout": 5.0}
        gate = Milter(MilterSettings(address, "small", **{**limits, **settings}))  # type: ignore[arg-type]
        house.entrance.gates = Gates([self.notebook, gate])
        self.listen(Wire(house.session()))


Meet = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def meet(entrance) -> AsyncIterator[Meet]:
    """`await meet(milter)`: somebody visits a house with that filter."""
    scenes = []

    async def begin(milter: SmallMilter | str, **settings: object) -> Scene:
        address = milter if isinstance(milter, str) else milter.address
        scenes.append(Scene(await entrance(), address, **settings))
        return scenes[-1]

    yield begin
    for scene in scenes:
        scene.wire.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_filter_hears_the_whole_conversation_and_the_message_octet_by_octet(meet: Meet) -> None:
    async with SmallMilter() as milter:
        scene = await meet(milter)
        said = await scene.say(*TALK, b"QUIT\r\n")
        assert [reply[:3] for reply in said] == ["250", "250", "250", "354", "250", "221"]
        await milter.wait_for(b"Q")
        assert milter.letters == "OCHMRTLLNBEQ"
        assert milter.told(b"H") == [b"client.example\0"]
        assert milter.told(b"M") == [b"<dave@client.example>\0SIZE=60\0"]
        assert milter.told(b"R") == [b"<alice@example.test>\0"]
        assert milter.told(b"L") == [b"Subject\0hello\0", b"X-Two\0one\n\ttwo\0"]
        assert milter.told(b"B") == [b"It works.\r\n"]
        assert any(data.startswith(b"Ei\0q0") for data in milter.told(b"D")), "with the queue id"
        assert "nothing against the message" in scene.notebook.text


async def test_over_a_unix_socket_too(meet: Meet, tmp_path: Path) -> None:
    async with SmallMilter({b"R": packet(b"r")}, path=str(tmp_path / "milter")) as milter:
        scene = await meet(milter)
        assert (await scene.say(*TALK[:3]))[-1].startswith("550 5.7.1 A mail filter here does not take this [c0")


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (packet(b"r"), "550 5.7.1 A mail filter here does not take this"),
        (packet(b"t"), "451 4.7.1 A mail filter here asks you to try again later"),
        (packet(b"y", b"554 5.7.9 Not from you\0"), "554 5.7.9 Not from you"),
    ],
    ids=["reject", "tempfail", "a reply of its own"],
)
@pytest.mark.parametrize("letter", [b"C", b"H", b"M", b"R", b"T", b"L", b"N", b"B", b"E"], ids=bytes.decode)
async def test_a_refusal_at_any_step_reaches_the_client(meet: Meet, letter: bytes, answer: bytes, reply: str) -> None:
    async with SmallMilter({letter: answer}) as milter:
        scene = await meet(milter)
        if letter == b"C":
            assert (await scene.reply(1)).startswith(f"{reply} [c0")
            return
        number = {b"H": 1, b"M": 2, b"R": 3, b"T": 4}.get(letter, 5)
        said = await scene.say(*TALK[:number])
        assert said[-1].startswith(f"{reply} [c0")
        assert all(one[0] in "23" for one in said[:-1])
        assert scene.house.accepted == []
        await scene.house.written()
        assert scene.house.is_empty
        assert not milter.connections > 1
        assert ("A" in milter.letters) == (letter not in b"CHR"), "the filter need not wait for the rest of a message"


async def test_after_a_refused_message_the_same_connection_brings_another(meet: Meet) -> None:
    async with SmallMilter({b"E": packet(b"r")}) as milter:
        scene = await meet(milter)
        await scene.say(*TALK)
        milter.answers.clear()
        said = await scene.say(*TALK[1:])
        assert said[-1].startswith("250 2.0.0 Safe on disk")
        assert milter.connections == 1


async def test_one_refused_recipient_leaves_the_others(meet: Meet) -> None:
    def judge(data: bytes) -> bytes:
        return packet(b"r") if b"bob" in data else packet(b"c")

    async with SmallMilter({b"R": judge}) as milter:
        scene = await meet(milter)
        said = await scene.say(TALK[0], MAIL, RCPT, b"RCPT TO:<bob@example.test>\r\n", *TALK[3:])
        assert [one[:3] for one in said] == ["250", "250", "250", "550", "354", "250"]
        (intake,) = scene.house.accepted
        assert [str(path) for _, path in intake.deposits] == ["alice@example.test"]


@pytest.mark.parametrize("letter", [b"C", b"H", b"M", b"R", b"L", b"B"], ids=bytes.decode)
async def test_accept_ends_the_questions(meet: Meet, letter: bytes) -> None:
    async with SmallMilter({letter: packet(b"a")}) as milter:
        scene = await meet(milter)
        said = await scene.say(*TALK, *TALK[1:])
        assert said[4].startswith("250 2.0.0 Safe on disk")
        assert said[-1].startswith("250 2.0.0 Safe on disk")
        count = 1 if letter in b"CH" else 2  # of the visit, or of each message
        assert milter.letters.count(letter.decode()) == count
        assert "E" not in milter.letters


@pytest.mark.parametrize("letter", [b"M", b"R", b"L", b"E"], ids=bytes.decode)
async def test_discarded_mail_does_not_vanish_but_waits_for_the_postmaster(meet: Meet, letter: bytes) -> None:
    async with SmallMilter({letter: packet(b"d")}) as milter:
        scene = await meet(milter)
        said = await scene.say(*TALK)
        assert said[-1].startswith("250 2.0.0 Safe on disk")
        (intake,) = scene.house.accepted
        assert intake.hold
        assert not intake.deposits
        assert scene.house.database.reader.execute("SELECT state FROM recipient").fetchall() == [(HELD,)]
        assert "held for the postmaster: milter small: discard at" in scene.notebook.text


async def test_added_fields_go_on_top_and_the_message_stays_as_it_came(meet: Meet) -> None:
    changes = (
        added(b"X-Spam", b"No")
        + inserted(1, b"Authentication-Results", b"mx.example;\n\tdkim=none")
        + packet(b"m", b"\0\0\0\1Subject\0forged\0")
        + packet(b"b", b"another body")
        + packet(b"+", b"<eve@example.net>\0")
        + packet(b"p")
    )
    async with SmallMilter({b"E": changes + packet(b"c")}) as milter:
        scene = await meet(milter)
        await scene.say(*TALK)
        (intake,) = scene.house.accepted
        fields = b"Authentication-Results: mx.example;\r\n\tdkim=none\r\nX-Spam: No\r\n"
        assert intake.head.startswith(fields + b"Received: ")
        assert scene.house.content(intake) == LETTER
        assert [str(one.address) for one in intake.envelope.recipients] == ["alice@example.test"]
        for not_done in ("change the field Subject", "replace the body", "add a recipient <eve@example.net>"):
            assert f"{not_done}: not done; what was sent stays as it came" in scene.notebook.text


async def test_quarantine_holds_with_the_filters_reason(meet: Meet) -> None:
    async with SmallMilter({b"E": packet(b"q", b"looks odd\0") + packet(b"c")}) as milter:
        scene = await meet(milter)
        await scene.say(*TALK)
        assert scene.house.accepted[0].hold
        assert "held for the postmaster: milter small: looks odd" in scene.notebook.text


async def test_a_filter_hears_only_what_it_wants(meet: Meet) -> None:
    async with SmallMilter(steps=0x01 | 0x02 | 0x200 | 0x20 | 0x40) as milter:  # no connect, helo, data, header
        scene = await meet(milter)
        await scene.say(*TALK, b"QUIT\r\n")
        await milter.wait_for(b"Q")
        assert milter.letters == "OMRBEQ"


async def test_steps_without_answers_are_not_waited_for_and_a_large_body_comes_in_pieces(meet: Meet) -> None:
    async with SmallMilter(steps=NO_REPLY_TO_HEADERS_AND_BODY) as milter:
        scene = await meet(milter)
        body = b"".join(b"%07d 12345678901234567890\r\n" % number for number in range(30_000))
        await scene.say(*TALK[:4], LETTER + body + b".\r\n")
        assert b"".join(milter.told(b"B")) == b"It works.\r\n" + body
        assert max(map(len, milter.told(b"B"))) <= 65_535
        assert len(scene.house.accepted) == 1


async def test_skip_spares_the_rest_of_the_body(meet: Meet) -> None:
    async with SmallMilter({b"B": packet(b"s")}, steps=0x400) as milter:
        scene = await meet(milter)
        await scene.say(*TALK[:4], LETTER + b"x\r\n" * 100_000 + b".\r\n")
        assert len(milter.told(b"B")) == 1
        assert "E" in milter.letters


async def test_a_transaction_that_is_given_up_is_over_for_the_filter_too(meet: Meet) -> None:
    async with SmallMilter() as milter:
        scene = await meet(milter)
        await scene.say(*TALK[:3], b"RSET\r\n", MAIL, RCPT)
        assert milter.letters == "OCHMRAMR"


# --- down ---------------------------------------------------------------------------------------------------------


async def test_while_it_is_down_mail_is_deferred_and_when_it_is_back_it_is_asked(
    meet: Meet, unused_tcp_port: int
) -> None:
    scene = await meet(f"127.0.0.1:{unused_tcp_port}")
    said = await scene.say(*TALK[:2])
    assert said[-1].startswith("451 4.3.0 Our mail filter does not answer just now; try again later [c0")
    assert "it cannot be reached" in scene.notebook.text
    async with SmallMilter() as milter:
        milter._server.close()
        server = await asyncio.start_server(milter._serve, "127.0.0.1", unused_tcp_port)
        assert (await scene.say(*TALK[1:]))[-1].startswith("250 2.0.0 Safe on disk")
        assert milter.letters.startswith("OCHMR"), "from the beginning"
        scene.wire.close()
        await milter.wait_for(b"Q")
        server.close()


async def test_while_it_is_down_mail_may_be_taken_without_it(meet: Meet, unused_tcp_port: int) -> None:
    scene = await meet(f"127.0.0.1:{unused_tcp_port}", accept_when_down=True)
    assert (await scene.say(*TALK))[-1].startswith("250 2.0.0 Safe on disk")
    assert "the message is taken without it, as when_down says" in scene.notebook.text


@pytest.mark.parametrize("letter", [b"O", b"C", b"M", b"R", b"L", b"E"], ids=bytes.decode)
@pytest.mark.parametrize("answer", [None, b"\xff\xff\xff\xffnonsense"], ids=["silent", "nonsense"])
async def test_a_filter_that_breaks_at_any_step_defers_the_message(
    meet: Meet, letter: bytes, answer: bytes | None
) -> None:
    limits = {"connect_timeout": 0.05, "command_timeout": 0.05, "message_timeout": 0.05}
    async with SmallMilter({letter: answer}) as milter:
        scene = await meet(milter, **limits)
        said = await scene.say(*TALK[: {b"O": 2, b"C": 2, b"M": 2, b"R": 3}.get(letter, 5)])
        assert said[-1].startswith("451 4.3.0 Our mail filter does not answer just now; try again later")
        assert scene.house.accepted == []
        assert ("did not answer within" if answer is None else "speak the milter protocol") in scene.notebook.text


async def test_a_filter_that_hangs_up_in_the_middle_defers_the_message(meet: Meet) -> None:
    async with SmallMilter() as milter:
        scene = await meet(milter)
        await scene.say(*TALK[:4])
        milter.hang_up()
        said = await scene.say(TALK[4])
        assert said[-1].startswith("451 4.3.0 Our mail filter")
        assert (await scene.say(*TALK[1:]))[-1].startswith("250 "), "the next message finds it again"


async def test_a_client_that_leaves_in_the_middle_of_a_question_takes_the_connection_along(meet: Meet) -> None:
    async with SmallMilter({b"E": None}) as milter:
        scene = await meet(milter)
        await scene.say(*TALK[:4])
        scene.wire.feed(TALK[4])
        await milter.wait_for(b"E")
        scene.wire.close()
        async with asyncio.timeout(10):
            while milter._writers:  # noqa: ASYNC110 - until its reader has seen the end
                await asyncio.sleep(0)
        await scene.house.written()
        assert scene.house.is_empty


async def test_only_strangers_mail_is_shown_where_it_is_so_set(entrance) -> None:
    async with SmallMilter({b"E": packet(b"r")}) as milter:
        house = await entrance('smtp.relay_networks = ["127.0.0.0/8"]')
        scene = Scene(house, milter.address, strangers_only=True)
        assert (await scene.say(*TALK))[-1].startswith("250 2.0.0 Safe on disk")
        assert milter.connections == 0
        scene.wire.close()
        await asyncio.sleep(0)
