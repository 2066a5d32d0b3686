"""Hooks: what a file of the operator's own rules sees and does, and that nothing it breaks loses mail or lets it in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from entrances import House, Talking, Wire
from glasspost import hooks as public
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Gates, Step
from glasspost.inbound.hook_script import HooksBroken, load_script
from glasspost.inbound.hooks import Hooks
from glasspost.storage.fates import Fate

LETTER = b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n"
TALK = [
    b"EHLO client.example\r\n", b"MAIL FROM:<dave@client.example>\r\n", b"RCPT TO:<alice@example.test>\r\n",
    b"DATA\r\n", LETTER + b".\r\n",
]  # fmt: skip
SIGNATURES = {
    "connect": "visit", "helo": "visit", "mail": "visit, envelope", "rcpt": "visit, envelope, recipient",
    "data": "visit, envelope, message",
}  # fmt: skip
STEPS = {"connect": 0, "helo": 1, "mail": 2, "rcpt": 3, "data": 5}  # lines said until it is asked


class Scene(Talking):
    """A house with a hooks file, and its visitors."""

    def __init__(self, house: House, path: Path, **settings: object) -> None:
        self.house, self.path = house, path
        self.notes: list[str] = []
        notes = self.notes

        class Notebook(Gate):
            def connected(self, client: Client) -> Step:
                client.note = notes.append
                return None

        self.hooks = Hooks(path, **{"limit": 5.0, **settings})  # type: ignore[arg-type]
        house.entrance.gates = Gates([Notebook(), self.hooks])
        self.wires: list[Wire] = []
        self.visit()

    def visit(self) -> None:
        """Somebody else comes."""
        self.listen(Wire(self.house.session()))
        self.wires.append(self.wire)

    async def say(self, *lines: bytes) -> list[str]:
        """The greeting, too."""
        return [await self.reply(1), *await super().say(*lines)]


@pytest.fixture
async def scene(entrance, tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """`await scene(source)`: a visit to a house with these hooks."""
    scenes: list[Scene] = []

    async def begin(source: str, **settings: object) -> Scene:
        path = tmp_path / "rules.py"
        path.write_text(f"from glasspost.hooks import *\nfrom glasspost.hooks import refuse, defer, hold\n{source}")
        scenes.append(Scene(await entrance(), path, **settings))
        return scenes[-1]

    yield begin
    for one in scenes:
        for wire in one.wires:
            wire.close()
        await asyncio.sleep(0)
        await one.hooks.close()


def define(step: str, body: str, *, waits: bool = False) -> str:
    return f"{'async ' if waits else ''}def {step}({SIGNATURES[step]}):\n    {body}\n"


# --- verdicts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_hook_refuses_at_any_step_in_its_own_words(scene, step: str, waits: bool) -> None:
    one = await scene(define(step, 'return refuse("Closed today", code=554, reason="it is Sunday")', waits=waits))
    said = await one.say(*TALK[: STEPS[step]])
    assert said[-1].startswith("554 5.7.1 Closed today [c0")
    assert all(reply[0] in "23" for reply in said[:-1])
    await one.house.written()
    assert one.house.is_empty


async def test_without_a_verdict_all_is_taken_and_functions_that_are_not_there_are_not_missed(scene) -> None:
    one = await scene(define("rcpt", "return None"))
    assert (await one.say(*TALK))[-1].startswith("250 2.0.0 Safe on disk")


async def test_a_hook_defers(scene) -> None:
    one = await scene(define("mail", 'return defer("Busy", reason="why not")'))
    assert (await one.say(*TALK[:2]))[-1].startswith("451 4.7.1 Busy [c0")


async def test_what_hooks_see_of_a_visit(scene) -> None:
    source = """
def helo(visit):
    visit.facts["greeted"] = visit.hello

def data(visit, envelope, message):
    visit.note(f"{visit.facts['greeted']} {visit.ip} {visit.role} {visit.extended} {visit.conversation[:2]}")
    visit.note(f"{envelope.sender} {envelope.recipients} {envelope.body}")
    visit.note(f"{message.header('subject')} {message.whole} {message.octets[-7:]} {message.queue_id[:2]}")
"""
    one = await scene(source)
    await one.say(*TALK)
    assert one.notes == [
        "hook: client.example 127.0.0.1 mx True c0",
        "hook: dave@client.example ('alice@example.test',) 7BIT",
        "hook: ['grüße'] True b'Hello\\r\\n' q0",
    ]


async def test_fields_go_on_top_and_the_message_stays_as_it_came(scene) -> None:
    one = await scene(define("data", 'message.add_field("X-Seen", "yes\\r\\nSubject: forged")'))
    await one.say(*TALK)
    (intake,) = one.house.accepted
    assert intake.head.startswith(b"X-Seen: yes Subject: forged\r\nReceived: ")
    assert one.house.content(intake) == LETTER


async def test_held_mail_waits_for_the_postmaster(scene) -> None:
    one = await scene(define("data", 'return hold("odd attachment")'))
    assert (await one.say(*TALK))[-1].startswith("250 2.0.0 Safe on disk")
    assert one.house.accepted[0].hold
    assert "held for the postmaster: hook data (rules.py): odd attachment" in one.notes


async def test_of_a_large_message_hooks_see_the_beginning(scene) -> None:
    one = await scene(
        define("data", 'visit.note(f"{len(message.octets)} {message.size} {message.whole}")'), message_limit=100
    )
    await one.say(*TALK[:4], LETTER + b"x" * 70 + b"\r\n" * 40_000 + b".\r\n")
    (note,) = one.notes
    assert note.startswith("hook: 100 80")
    assert note.endswith(" False")


# --- what breaks --------------------------------------------------------------------------------------------------

BROKEN = {
    "an exception": 'raise KeyError("list")',
    "an exit": "raise SystemExit(3)",
    "an interrupt": "raise KeyboardInterrupt",
    "StopIteration": "raise StopIteration",
    "nonsense": 'return "550 no"',
    "False": "return False",
    "a code that is none": 'return refuse("no", code=200)',
}


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("step", ["connect", "rcpt", "data"])
async def test_a_hook_that_breaks_defers_and_lets_nothing_through(scene, step: str, body: str, waits: bool) -> None:
    one = await scene(define(step, body, waits=waits))
    said = await one.say(*TALK[: STEPS[step]])
    assert said[-1].startswith("451 4.3.0 A rule of this server could not be asked just now; try again later [c0")
    await one.house.written()
    assert one.house.is_empty


@pytest.mark.parametrize(
    "source",
    [
        "import threading\n" + define("rcpt", "threading.Event().wait()"),
        "import asyncio\n" + define("rcpt", "await asyncio.Event().wait()", waits=True),
        "import asyncio\nasync def rcpt(v, e, r):\n    while True:\n        try: await asyncio.Event().wait()\n"
        "        except asyncio.CancelledError: return\n",
    ],
    ids=["blocks", "waits for ever", "does not want to be cancelled"],
)
async def test_a_hook_that_takes_too_long_defers(scene, source: str) -> None:
    one = await scene(source, limit=0.05)
    assert (await one.say(*TALK[:3]))[-1].startswith("451 4.3.0 A rule of this server")


async def test_when_all_threads_are_blocked_hooks_defer_and_async_ones_go_on(scene) -> None:
    source = "import threading\n" + define("rcpt", "threading.Event().wait()") + define("mail", "pass", waits=True)
    one = await scene(source, limit=0.05, threads=1)
    said = await one.say(*TALK[:3], TALK[2])
    assert [reply[:3] for reply in said] == ["220", "250", "250", "451", "451"]


async def test_only_data_can_hold(scene) -> None:
    one = await scene(define("rcpt", 'return hold("odd")'))
    assert (await one.say(*TALK[:3]))[-1].startswith("451 4.3.0")


# --- told afterwards ----------------------------------------------------------------------------------------------

LISTENER = """
import builtins
HEARD = []
def accepted(visit, envelope, queue_id): HEARD.append(("accepted", envelope.sender, queue_id[:2]))
async def delivered(fate): HEARD.append((fate.what, fate.recipient, fate.reply))
def failed(fate):
    HEARD.append((fate.what, fate.recipient, fate.reply))
    raise RuntimeError("nobody minds")
"""


async def test_hooks_hear_what_became_of_mail_and_break_nothing(scene) -> None:
    one = await scene(LISTENER)
    await one.say(*TALK)
    one.hooks.heard(Fate("q0", 1.0, "c@example.net", "relayed", "250 2.0.0 fine"))
    one.hooks.heard(Fate("q0", 1.0, "d@example.net", "deferred", "451 later"))
    one.hooks.heard(Fate("q0", 1.0, "e@example.net", "given up", "451 later"))
    await asyncio.gather(*one.hooks._telling)
    heard = one.hooks._script.functions["accepted"].__globals__["HEARD"]
    assert sorted(heard) == [
        ("accepted", "dave@client.example", "q0"),
        ("delivered", "alice@example.test", ""),
        ("given up", "e@example.net", "451 later"),
        ("relayed", "c@example.net", "250 2.0.0 fine"),
    ]


# --- the file -----------------------------------------------------------------------------------------------------


async def test_a_changed_file_holds_for_whoever_comes_next(scene) -> None:
    one = await scene(define("mail", "return None"))
    assert (await one.say(*TALK[:2]))[-1].startswith("250")
    one.path.write_text("from glasspost.hooks import refuse\n" + define("mail", 'return refuse("No more")'))
    assert (await one.say(b"RSET\r\n", TALK[1]))[-1].startswith("250"), "this visit keeps what it began with"
    one.visit()
    assert (await one.say(*TALK[:2]))[-1].startswith("550 5.7.1 No more")


@pytest.mark.parametrize("tail", ["", "1 / 0\n"], ids=["good", "broken"])
async def test_a_changed_file_is_run_once_however_many_come(scene, tmp_path: Path, tail: str) -> None:
    source = "from pathlib import Path\nwith Path(__file__).with_name('loads').open('a') as f: f.write('x')\n"
    one = await scene(source + define("mail", "return None"))
    await one.reply(1)
    one.path.write_text(source + define("mail", "return None") + tail)
    for _ in range(3):
        one.visit()
        await one.reply(1)
    assert (tmp_path / "loads").read_text() == "xx"


@pytest.mark.parametrize("how", ["a slip", "gone", "nothing in it"])
async def test_a_broken_new_file_keeps_the_old_one_and_says_so(scene, how: str) -> None:
    one = await scene(define("mail", 'return refuse("Closed")'))
    await one.say(TALK[0])
    if how == "gone":
        os.unlink(one.path)
    else:
        one.path.write_text("def mail(visit, envelope:\n" if how == "a slip" else "x = 1\n")
    for _ in range(2):
        one.visit()
        assert (await one.say(*TALK[:2]))[-1].startswith("550 5.7.1 Closed")
        assert "hooks: the changed file is broken, so the version before it is used: " in one.notes[-1]
    assert {"a slip": "rules.py:1: SyntaxError", "gone": "cannot be read", "nothing in it": "has none of"}[how] in (
        one.notes[-1]
    )


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def rcpt(visit):\n    pass\n", "rcpt must take 3 argument(s)"),
        ("connect = 3\n", "connect is no function"),
        ("\n\n1 / 0\n", "rules.py:3: ZeroDivisionError: division by zero"),
        ("raise SystemExit\n", "rules.py:1: SystemExit"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(tmp_path: Path, source: str, fault: str) -> None:
    path = tmp_path / "rules.py"
    path.write_text(source)
    with pytest.raises(HooksBroken) as caught:
        load_script(path)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_verdicts_that_no_client_could_read_cannot_be_made() -> None:
    for wrong in (
        lambda: public.refuse("no", code=451),
        lambda: public.defer("no", code=550),
        lambda: public.refuse("no", enhanced="4.7.1"),
        lambda: public.refuse(""),
        lambda: public.refuse("grüße"),
        lambda: public.hold(" "),
    ):
        with pytest.raises(ValueError, match=r".+"):
            wrong()
    assert public.refuse("two\r\nlines").text == "two lines"
