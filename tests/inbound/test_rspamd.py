"""The gate of rspamd, against a stand-in that speaks its documented JSON; the real one: peers/test_mail_filters.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from entrances import House, Wire
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Gates, Step
from glasspost.inbound.rspamd import Rspamd, RspamdSettings

LETTER = b"Subject: hello\r\n\r\nIt works.\r\n"
ENVELOPE = b"MAIL FROM:<dave@client.example>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
SYMBOLS = {"SMALL": {"score": -0.5}, "BIG": {"score": 6.5}, "NONE": {"score": 0}}


def told(action: str, **more: Any) -> dict[str, Any]:
    return {"action": action, "score": 6.0, "required_score": 15.0, "symbols": SYMBOLS, **more}


class StandIn:
    """Answers every question with `answer`, and keeps the last question."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | str = told("no action")
        self.status = 200
        self.questions: list[tuple[Any, bytes]] = []
        self.silent = False

    async def check(self, request: web.Request) -> web.Response:
        self.questions.append((request.headers.copy(), await request.read()))
        if self.silent:
            await asyncio.Event().wait()
        text = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return web.Response(text=text, status=self.status)


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    neighbour = StandIn()
    application = web.Application()
    application.router.add_post("/checkv2", neighbour.check)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    neighbour.url = f"http://127.0.0.1:{runner.addresses[0][1]}"  # type: ignore[attr-defined]
    yield neighbour
    await runner.cleanup()


class Scene:
    def __init__(self, house: House, url: str, **settings: Any) -> None:
        self.house = house
        self.notes: list[str] = []
        notes = self.notes

        class Notebook(Gate):
            def connected(self, client: Client) -> Step:
                client.note = notes.append
                return None

        self.gate = Rspamd(RspamdSettings(url, **{"timeout": 5.0, **settings}))
        house.entrance.gates = Gates([Notebook(), self.gate])

    async def send(self, letter: bytes = LETTER) -> str:
        """One message, in one burst; the last reply before QUIT's."""
        wire = Wire(self.house.session())
        gone = asyncio.Event()
        wire.heard = lambda: gone.set() if wire.closed else None
        wire.feed(b"EHLO client.example\r\n" + ENVELOPE + letter + b".\r\nQUIT\r\n")
        async with asyncio.timeout(10):
            await gone.wait()
        return wire.said.decode().split("\r\n")[-3]


@pytest.fixture
async def scene(entrance, stand_in: StandIn) -> AsyncIterator[Any]:
    scenes: list[Scene] = []

    async def begin(*more: str, **settings: Any) -> Scene:
        scenes.append(Scene(await entrance(*more), settings.pop("url", stand_in.url), **settings))  # type: ignore[attr-defined]
        return scenes[-1]

    yield begin
    for one in scenes:
        await one.gate.close()


async def test_it_is_told_the_envelope_and_the_message_octet_by_octet(scene, stand_in: StandIn) -> None:
    one = await scene()
    assert (await one.send()).startswith("250 2.0.0 Safe on disk")
    headers, body = stand_in.questions[0]
    assert body == LETTER
    assert headers["IP"] == "127.0.0.1"
    assert headers["Helo"] == "client.example"
    assert headers["From"] == "dave@client.example"
    assert headers.getall("Rcpt") == ["alice@example.test", "bob@example.test"]
    assert headers["MTA-Name"] == "mail.example.test"
    assert headers["Queue-Id"].startswith("q0")
    assert "User" not in headers
    assert one.house.accepted[0].head.startswith(b"Received: ")
    assert one.notes == ["rspamd: no action, 6 of 15: BIG 6.5, SMALL -0.5, NONE 0"]


async def test_a_large_message_is_streamed(scene, stand_in: StandIn) -> None:
    one = await scene()
    letter = LETTER + b"x" * 70 + b"\r\n" * 400_000
    assert (await one.send(letter)).startswith("250 ")
    assert stand_in.questions[0][1] == letter


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (told("reject"), "550 5.7.1 A mail filter here does not take this"),
        (told("reject", messages={"smtp_message": "Gtube\r\npattern"}), "550 5.7.1 Gtube?pattern"),
        (told("soft reject"), "451 4.7.1 A mail filter here asks you to try again later"),
        (told("soft reject", messages={"smtp_message": "Try again"}), "451 4.7.1 Try again"),
    ],
)
async def test_it_refuses_and_defers_in_its_own_words(scene, stand_in: StandIn, answer: Any, reply: str) -> None:
    stand_in.answer = answer
    one = await scene()
    assert (await one.send()).startswith(f"{reply} [c0")
    await one.house.written()
    assert one.house.is_empty
    assert "BIG 6.5" in one.notes[0]


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (told("no action"), b""),
        (told("greylist"), b""),
        (told("add header"), b"X-Spam: Yes\r\n"),
        (told("rewrite subject", subject="*SPAM* hello"), b"X-Spam: Yes\r\nX-Spam-Subject: *SPAM* hello\r\n"),
        (
            told(
                "add header",
                milter={
                    "add_headers": {"X-Spam": {"value": "Maybe", "order": 0}, "X-Two": [{"value": "a"}, "b"]},
                    "remove_headers": {"X-Spam": 0},
                },
            ),
            b"X-Spam: Maybe\r\nX-Two: a\r\nX-Two: b\r\n",
        ),
        (told("no action", milter={"add_headers": {"Bad name": "x", "X-A": "b\r\n\r\nbody"}}), b"X-A: b\r\n\tbody\r\n"),
        (told("no action", **{"dkim-signature": "v=1; a=x;\r\n\tb=y"}), b"DKIM-Signature: v=1; a=x;\r\n\tb=y\r\n"),
    ],
)  # fmt: skip
async def test_fields_go_on_top_and_the_message_stays_as_it_came(
    scene, stand_in: StandIn, answer: Any, fields: bytes
) -> None:
    stand_in.answer = answer
    one = await scene()
    assert (await one.send()).startswith("250 2.0.0 Safe on disk")
    (intake,) = one.house.accepted
    assert intake.head.startswith(fields + b"Received: ")
    assert one.house.content(intake) == LETTER


async def test_quarantine_holds(scene, stand_in: StandIn) -> None:
    stand_in.answer = told("quarantine")
    one = await scene()
    await one.send()
    assert one.house.accepted[0].hold


@pytest.mark.parametrize(
    ("status", "answer", "fault"),
    [
        (500, "{}", "it answered 500"),
        (302, "{}", "it answered 302"),
        (200, "[1]", "its answer has no action"),
        (200, '{"error": "no\\nmessage"}', "its answer has no action: no?message"),
        (200, "<html>", "its answer is no JSON"),
    ],
)
async def test_an_answer_that_is_none_defers(scene, stand_in: StandIn, status: int, answer: str, fault: str) -> None:
    stand_in.status, stand_in.answer = status, answer
    one = await scene()
    assert (await one.send()).startswith("451 4.3.0 Our mail filter does not answer just now")
    await one.house.written()
    assert one.house.is_empty
    lenient = await scene(accept_when_down=True)
    assert (await lenient.send()).startswith("250 ")
    assert lenient.notes == [
        f"rspamd: {lenient.notes[0][8:].split(';')[0]}; the message is taken without it, as when_down says"
    ]
    assert fault in lenient.notes[0]


async def test_silence_and_absence_defer(scene, stand_in: StandIn, unused_tcp_port: int) -> None:
    stand_in.silent = True
    one = await scene(timeout=0.05)
    assert (await one.send()).startswith("451 4.3.0 Our mail filter")
    gone = await scene(url=f"http://127.0.0.1:{unused_tcp_port}")
    assert (await gone.send()).startswith("451 4.3.0 Our mail filter")


async def test_it_is_not_asked_about_trusted_clients_nor_about_what_is_too_large(scene, stand_in: StandIn) -> None:
    stand_in.answer = told("reject")
    trusted = await scene('smtp.relay_networks = ["127.0.0.0/8"]')
    assert (await trusted.send()).startswith("250 ")
    everyone = await scene('smtp.relay_networks = ["127.0.0.0/8"]', strangers_only=False)
    assert (await everyone.send()).startswith("550 ")
    small = await scene(max_size=10)
    assert (await small.send()).startswith("250 ")
    assert "not asked about a message of" in small.notes[0]
    assert len(stand_in.questions) == 1
