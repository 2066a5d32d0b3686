"""Gates at the wire: what each step may refuse, at once or after waiting, and what becomes of a held message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from entrances import House, Wire
from glasspost.inbound.gates import Gate, Gates
from glasspost.mail.reply import Reply
from glasspost.storage.spooled import HELD

NO = Reply(554, "5.7.1", "Not today", "the test says so")
TALK = {
    "greeted": b"EHLO client.example\r\n",
    "sender": b"MAIL FROM:<a@example.org>\r\n",
    "recipient": b"RCPT TO:<alice@example.test>\r\n",
    "data": b"DATA\r\n",
    "message": b"Subject: x\r\n\r\nHello\r\n.\r\n",
}


class Once(Gate):
    """Says no at one step, the first time; at once, or when it is let go."""

    def __init__(self, step: str, *, waits: bool) -> None:
        self.go = asyncio.Event()
        self.asked: list[str] = []
        self.told: list[str] = []
        self._step = step
        self._waits = waits

    def __getattribute__(self, name: str) -> object:
        if name in ("accepted", "forgotten", "left"):
            return lambda *words: self.told.append(name)
        if name in ("connected", *TALK):
            return lambda *words: self._ask(name)
        return super().__getattribute__(name)

    def _ask(self, step: str) -> object:
        self.asked.append(step)
        verdict = NO if step == self._step and self.asked.count(step) == 1 else None
        return self._later(verdict) if self._waits else verdict

    async def _later(self, verdict: Reply | None) -> Reply | None:
        await self.go.wait()
        return verdict


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - whatever it is that changes
            await asyncio.sleep(0)


def replies(wire: Wire) -> list[str]:
    return [line[:3] for line in wire.said.decode().split("\r\n") if line[3:4] == " "]


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
@pytest.mark.parametrize("step", TALK)
async def test_a_gate_refuses_a_step_and_the_client_may_try_again(entrance, step: str, waits: bool) -> None:
    house: House = await entrance()
    gate = Once(step, waits=waits)
    house.entrance.gates = Gates([Gate(), gate])
    wire = Wire(house.session())
    gate.go.set()
    await until(lambda: wire.said.startswith(b"220 "))
    for name, line in TALK.items():
        answers = len(replies(wire))
        wire.feed(line)
        await until(lambda answers=answers: len(replies(wire)) > answers)
        if name == step:
            assert b"Not today [c0" in wire.said
            if name == "message":  # the transaction went with it
                return
            wire.feed(line)
            await until(lambda answers=answers: len(replies(wire)) > answers + 1)
    assert replies(wire)[-1] == "250"
    assert len(house.accepted) == 1
    assert gate.told == ["accepted"]
    wire.close()
    await until(lambda: gate.told[-1] == "left")


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
async def test_who_is_turned_away_at_the_door_hears_why_instead_of_the_greeting(entrance, waits: bool) -> None:
    house: House = await entrance()
    gate = Once("connected", waits=waits)
    house.entrance.gates = Gates([gate])
    wire = Wire(house.session())
    wire.feed(b"EHLO early.example\r\n")  # heard only if it is let in
    gate.go.set()
    await until(lambda: wire.closed)
    assert wire.said.startswith(b"554 5.7.1 Not today [c0")
    assert b"250" not in wire.said


async def test_what_is_said_before_the_greeting_waits_for_it(entrance) -> None:
    house: House = await entrance()
    gate = Once("nothing", waits=True)
    house.entrance.gates = Gates([gate])
    wire = Wire(house.session())
    wire.feed(b"EHLO early.example\r\nNOOP\r\n")
    await asyncio.sleep(0)
    assert wire.said == b""
    gate.go.set()
    await until(lambda: len(replies(wire)) == 3)
    assert replies(wire) == ["220", "250", "250"]


async def test_a_pipelined_group_keeps_its_order_while_gates_wait(entrance) -> None:
    house: House = await entrance()
    gate = Once("recipient", waits=True)
    house.entrance.gates = Gates([gate])
    wire = Wire(house.session())
    gate.go.set()
    wire.feed(
        TALK["greeted"]
        + TALK["sender"]
        + b"RCPT TO:<alice@example.test>\r\nRCPT TO:<alice+two@example.test>\r\nDATA\r\n"
        + TALK["message"]
        + b"QUIT\r\n"
    )
    await until(lambda: wire.closed)
    assert replies(wire) == ["220", "250", "250", "554", "250", "354", "250", "221"]
    (intake,) = house.accepted
    assert [str(path) for _, path in intake.deposits] == ["alice+two@example.test"], "the refused one gets nothing"


async def test_who_leaves_while_a_gate_looks_at_its_message_was_promised_nothing(entrance) -> None:
    house: House = await entrance()
    gate = Once("nothing", waits=True)
    house.entrance.gates = Gates([gate])
    wire = Wire(house.session())
    gate.go.set()
    await until(lambda: replies(wire) == ["220"])
    for line in list(TALK.values())[:-1]:
        answers = len(replies(wire))
        wire.feed(line)
        await until(lambda answers=answers: len(replies(wire)) > answers)
    gate.go.clear()
    wire.feed(TALK["message"])
    await until(lambda: gate.asked[-1] == "message")
    wire.close()
    await until(lambda: "left" in gate.told)
    gate.go.set()
    await house.written()
    assert house.is_empty
    assert house.accepted == []


async def test_a_message_can_be_held_with_a_field_on_top(entrance) -> None:
    class Holds(Gate):
        def message(self, client, envelope, arrival):  # type: ignore[no-untyped-def]
            arrival.fields.append(b"X-Looked-At: yes\r\n")
            arrival.hold = "it looks odd"

    house: House = await entrance()
    house.entrance.gates = Gates([Holds()])
    wire = Wire(house.session())
    for line in TALK.values():
        wire.feed(line)
    await until(lambda: len(house.accepted) == 1)
    (intake,) = house.accepted
    assert intake.head.startswith(b"X-Looked-At: yes\r\nReceived: ")
    assert intake.deposits == []
    rows = house.database.reader.execute("SELECT address, state FROM recipient").fetchall()
    assert rows == [("alice@example.test", HELD)]


async def test_a_gate_that_breaks_breaks_this_visit_only(entrance) -> None:
    class Breaks(Gate):
        async def sender(self, client, envelope):  # type: ignore[no-untyped-def]
            raise KeyError("a bug")

    house: House = await entrance()
    house.entrance.gates = Gates([Breaks()])
    wire = Wire(house.session())
    wire.feed(TALK["greeted"] + TALK["sender"])
    await until(lambda: wire.closed)
    assert b"\r\n421 4.3.0 " in wire.said
