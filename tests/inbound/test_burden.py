"""More mail than memory is set aside for: new messages wait outside, and what is held is bounded whoever sends.

The disk stands still in most of these (`held_writer`), so that what comes in piles up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from entrances import House
from glasspost.inbound.limits import Burden, Share
from glasspost.storage.bodies import PIECE
from inbound.test_session import ENVELOPE, Visitor, empty_again, held_writer, until, visit

OpenHouse = Callable[..., Awaitable[House]]
LIMIT = 1024 * 1024
TIGHT = "smtp.max_memory = 1048576"
LINE = b"0123456789 0123456789 0123456789 0123456789 0123456789 012345678\r\n"
HALF = LINE * (600_000 // len(LINE))  # octets: two pieces and some
PART = LINE * (PIECE // len(LINE) + 100)  # one piece and some: the client is not asked to wait


async def begun(visitor: Visitor) -> None:
    """Up to the 354."""
    await visitor.begin()
    for line in (*ENVELOPE.splitlines(keepends=True), b"DATA\r\n"):
        answer = await visitor.ask(line)
    assert answer.startswith("354")


async def test_who_comes_to_a_full_house_is_asked_to_come_later(entrance: OpenHouse) -> None:
    house = await entrance(TIGHT)
    async with contextlib.AsyncExitStack() as visits:
        first, second, late = [await visits.enter_async_context(visit(house)) for _ in range(3)]
        await begun(first)
        await begun(second)
        await late.begin()
        with held_writer(house):
            for visitor in (first, second):
                visitor.writer.write(HALF)
            await until(lambda: house.entrance.burden.full)
            assert (await late.ask(b"MAIL FROM:<dave@client.example>\r\n")).startswith("452 4.3.1 Too much mail")
        for visitor in (first, second):
            assert (await visitor.ask(b".\r\n")).startswith("250 2.0.0 Safe on disk")
        assert house.entrance.burden.octets == 0
        assert (await late.ask(b"MAIL FROM:<dave@client.example>\r\n")).startswith("250")  # the same connection
    assert house.rows("message") == 2


async def test_a_small_message_finds_room_where_a_large_one_does_not(entrance: OpenHouse) -> None:
    """If it says so: SIZE is what a sender's word is good for (RFC 1870)."""
    house = await entrance(TIGHT)
    burden = house.entrance.burden
    async with visit(house) as visitor:
        await visitor.begin()
        burden.octets = LIMIT
        for size, answer in (("", "452"), (" SIZE=65537", "452"), (" SIZE=65536", "250")):
            said = await visitor.ask(f"MAIL FROM:<dave@client.example>{size}\r\n".encode())
            assert said.startswith(answer)
        await visitor.ask(b"RCPT TO:<alice@example.test>\r\n")
        assert (await visitor.ask(b"DATA\r\n")).startswith("354")
        assert (await visitor.ask(b"small\r\n.\r\n")).startswith("250")
        burden.octets = 2 * LIMIT
        assert (await visitor.ask(b"MAIL FROM:<dave@client.example> SIZE=10\r\n")).startswith("452")
        burden.octets = 0


async def test_data_is_refused_where_the_house_has_filled_since_mail(entrance: OpenHouse) -> None:
    house = await entrance(TIGHT)
    async with visit(house) as visitor:
        await visitor.begin()
        for line in ENVELOPE.splitlines(keepends=True):
            assert (await visitor.ask(line)).startswith("250")
        house.entrance.burden.octets = LIMIT
        assert (await visitor.ask(b"DATA\r\n")).startswith("452 4.3.1")
        house.entrance.burden.octets = 0
        assert (await visitor.ask(b"DATA\r\n")).startswith("354")  # the transaction still stands
        assert (await visitor.ask(b"x\r\n.\r\n")).startswith("250")


async def test_beyond_the_limit_messages_under_way_wait_or_are_lost_and_nothing_grows(entrance: OpenHouse) -> None:
    """They had all begun while there was room. Whose message is lost hears so at its end, and may come again."""
    house = await entrance(TIGHT)
    burden = house.entrance.burden
    async with contextlib.AsyncExitStack() as visits:
        visitors = [await visits.enter_async_context(visit(house)) for _ in range(16)]
        for visitor in visitors:
            await begun(visitor)
        most = 0
        with held_writer(house):
            for visitor in visitors:
                visitor.writer.write(HALF + b".\r\n")
            await until(lambda: burden.full)
            for _ in range(500):
                await asyncio.sleep(0)
                most = max(most, burden.octets)
        answers = [await visitor.reply() for visitor in visitors]
        assert {answer[:9] for answer in answers} == {"250 2.0.0", "452 4.3.1"}
        assert most <= 3 * LIMIT
        await house.written()
        assert burden.octets == 0
        assert house.rows("message") == sum(answer.startswith("250") for answer in answers)
    await empty_again(house)
    assert house.rows("draft") == 0


async def test_messages_that_are_taken_back_weigh_until_the_disk_has_caught_up(entrance: OpenHouse) -> None:
    """Otherwise one client that sends and says RSET, again and again, could fill the memory."""
    house = await entrance(TIGHT, "smtp.max_errors = 1000")
    burden = house.entrance.burden
    group = b"MAIL FROM:<dave@client.example>\r\nRCPT TO:<alice@example.test>\r\nBDAT %d\r\n" % len(PART) + PART
    async with visit(house) as visitor:
        await visitor.begin()
        most = 0
        with held_writer(house):
            visitor.writer.write((group + b"RSET\r\n") * 20)  # 5 MB
            await until(lambda: burden.octets >= LIMIT // 2)
            for _ in range(500):
                await asyncio.sleep(0)
                most = max(most, burden.octets)
        assert most <= 3 * LIMIT
        visitor.writer.write(b"QUIT\r\n")
        assert "221 2.0.0 Bye" in await visitor.rest()
    await empty_again(house)
    await until(lambda: burden.octets == 0)
    assert house.is_empty


@pytest.mark.parametrize("end", ["vanishes", "resets", "is refused", "is answered"])
async def test_nothing_is_left_of_a_burden(entrance: OpenHouse, end: str) -> None:
    house = await entrance(TIGHT, "smtp.max_received = 1")
    async with visit(house) as visitor:
        await begun(visitor)
        loop = b"Received: from a by b; now\r\n" * 2 if end == "is refused" else b""
        visitor.writer.write(loop + b"Subject: x\r\n\r\n" + HALF)
        await until(lambda: house.entrance.burden.octets > 0)
        match end:
            case "vanishes":
                visitor.vanish()
            case "resets":
                assert (await visitor.ask(b"\n.\r\n.\r\n")).startswith("550")  # a bare LF: the transaction is over
            case "is refused":
                assert (await visitor.ask(b".\r\n")).startswith("554")
            case _:
                assert (await visitor.ask(b".\r\n")).startswith("250")
        await house.written()
        await until(lambda: house.entrance.burden.octets == 0)


async def test_whoever_left_before_the_answer_weighs_until_the_commit(entrance: OpenHouse) -> None:
    house = await entrance(TIGHT)
    with held_writer(house):
        async with visit(house) as visitor:
            await begun(visitor)
            visitor.writer.write(b"small\r\n.\r\n")
            await until(lambda: house.entrance.burden.octets == 7)
            visitor.vanish()
            await until(lambda: not house.entrance.sessions)
        assert house.entrance.burden.octets == 7
    await house.written()
    await until(lambda: house.entrance.burden.octets == 0)
    assert house.rows("message") == 1


def test_a_burden_is_full_at_its_limit_and_bears_no_more_than_twice_or_three_times() -> None:
    burden = Burden(100)
    seen = []
    for burden.octets in (0, 99, 100, 190, 191, 290, 291):
        seen.append((burden.full, burden.bears(10, False), burden.bears(10, True)))
    quiet, full, more, most = (False, True, True), (True, True, True), (True, False, True), (True, False, False)
    assert seen == [quiet, quiet, full, full, more, more, most]
    Share(burden).drop()
    assert burden.octets == 291
