"""The dialogues of "SMTP undressed", held for real: each chapter is performed, and shows what was said.

    python docs/undressed/perform.py          perform every chapter, and write down what has changed
    python docs/undressed/perform.py --check  say which chapters are stale, and fail if any is

Lives here: the stage (two nodes of glasspost on loopback, mail.example.org and mail.example.net), the players, and
putting what was said into the pages. A chapter has the client's lines and the notes; the server's lines are filled in.
Does not live here: what a talk is (docs/talks.md). tests/house/test_undressed.py fails where a chapter is stale.

A comment in front of a block says where it comes from. `<!-- held: mx -->` is played by hand at that door (DOORS),
`<!-- recorded: smtp-out 2 -->` is the second conversation of that kind in our node's record, `<!-- sent: mx -->` is
what examples/esp8266/send_mail.py says of itself when it brings a letter to that door. In a block that begins with
`$ glasspost explain` or `$ glasspost why` the command is run, and its answer is filled in.

Everything in a chapter happens in one evening, in its order, on a stage made for it. Ids, ports and dates are compared
by their form, so a page changes only where something else was said.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import re
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glasspost.cli.main import main as glasspost
from glasspost.cli.talk_connection import HandConnection, Place, call
from glasspost.mail.address import address_from_text
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.protocol.by_hand import ByHand, ServerLine, TlsDue
from glasspost.protocol.talk import CLIENT, SERVER, Line, parse_talk, print_talk
from glasspost.storage.talks import Talks

HERE = Path(__file__).resolve().parent
CHAPTERS = sorted(HERE.glob("??/*.md"))
PATIENCE = 20.0  # seconds until a server that says nothing, or a record that does not come, is given up
PASSWORD = "tulip-7"
LIVE_HERE = ("alice@example.org", "bob@example.org")
LIVE_THERE = {"carol@example.net": 0, "erin@example.net": 300}  # octets their mailboxes hold; 0 is no limit

# The doors of our node by name, in their order. The next node has one, and only our node goes there.
DOORS = {
    "mx": {"role": "mx", "tls": "none"},
    "mx with TLS": {"role": "mx", "tls": "starttls"},
    "submission, TLS first": {"role": "submission", "tls": "implicit"},
    "pop3": {"role": "pop3", "tls": "starttls"},
}
_BLOCK = re.compile(
    r"^(?P<top><!-- (?P<way>held|recorded|sent): (?P<where>[^\n]+?) -->\n\n?```talk\n)(?P<talk>.*?)(?=^```$)"
    r"|^(?P<open>```\n)(?P<screen>\$ glasspost (?:explain|why) .*?)(?=^```$)",
    re.MULTILINE | re.DOTALL,
)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def form(text: str) -> str:
    """A text without what differs from evening to evening."""
    text = re.sub(r"\b([qc])0[0-9a-hjkmnp-tv-z]{10}\b", r"\1...", text)
    text = re.sub(r"(\[?127\.0\.0\.1\]?):\d+", r"\1:port", text)
    text = re.sub(r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "date", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{3})?)?Z?", "moment", text)
    text = re.sub(r"(\buntil|有效期至) \d{4}-\d\d-\d\d", r"\1 date", text)
    text = re.sub(r"\bTLSv1\.\d \w+", "TLS and its cipher", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d(\.\d+)?", "time", text)
    return re.sub(r"\b\d+(\.\d+)? m?s\b|\b(in )?(\d+ seconds|1 min(ute)?)\b|\d+ 秒", "duration", text)


# --- the stage ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """Our node, and where its doors are."""

    folder: Path
    ports: dict[str, int]

    async def record(self, kind: str, number: int) -> str:
        """The numberth conversation of a kind, as soon as it is over and written down. Talks are stored in the
        background, so they are looked for again and again, as `conversations follow` does."""
        async with asyncio.timeout(PATIENCE):
            while True:
                talks = Talks(self.folder / "transcripts.db")
                try:
                    found = [one for one in talks.conversations() if one.kind == kind and one.ended]
                    found.sort(key=lambda one: (one.started, one.id))
                    if len(found) >= number:
                        return talks.talk(found[number - 1].id)
                finally:
                    talks.close()
                await asyncio.sleep(0.05)


async def _open(folder: Path, hostname: str, doors: list[dict[str, str]], **more: Any) -> Node:
    tree = {"node": {"hostname": hostname, "data": str(folder)}, "listener": [{**door, "port": 0} for door in doors]}
    node = Node(Config.model_validate({**tree, **more}, context={"folder": folder}))
    await node.start()
    return node


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Two nodes, for one chapter: ours, and the one to which it brings mail for example.net."""
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name, "ours"), Path(name, "theirs")
        async with contextlib.AsyncExitStack() as evening:
            there = await _open(theirs, "mail.example.net", [DOORS["mx"]])
            evening.push_async_callback(there.stop)
            ways = [{"domain": "example.net", "host": "127.0.0.1", "port": there.doors[0].port}]
            relay = {"idle_timeout": 0.01, "jitter": 0.0}
            node = await _open(
                ours, "mail.example.org", list(DOORS.values()), smarthost=ways, relay=relay, smtp={"max_errors": 4}
            )
            evening.push_async_callback(node.stop)
            for address, quota in LIVE_THERE.items():
                there.directory.add_account(address_from_text(address), PASSWORD, quota=quota, create_domain=True)
            for address in LIVE_HERE:
                node.directory.add_account(address_from_text(address), PASSWORD, create_domain=True)
            yield Stage(ours, {name: door.port for name, door in zip(DOORS, node.doors, strict=True)})


# --- the players --------------------------------------------------------------------------------------------------


class _Deaf:
    """A tap and notebook for which nothing matters."""

    def heard(self, line: bytes) -> None: ...
    def said(self, text: bytes) -> None: ...
    def note(self, text: str) -> None: ...


async def hold(lines: list[Line], place: Place, *, tls: bool, pop3: bool) -> list[Line]:
    """Hold a talk: the client's lines and the notes are as they were, the server's are what it says now. Client's lines
    with none of the server's between them are sent together, as pipelining does."""
    hand = ByHand(_Deaf(), pop3=pop3)
    wire = await call(place, hand, tls=tls, verify=False, seconds=PATIENCE)
    held: list[Line] = []
    try:
        for number, line in enumerate(lines):
            if line.who == SERVER:
                if number == 0 or lines[number - 1].who != SERVER:
                    held += await _hear(wire)
                continue
            held.append(line)
            if line.who == CLIENT:
                hand.say(line.octets, stuffed=True)
        if lines[-1].who == CLIENT:
            held += await _hear(wire)
    finally:
        wire.abort()
        await asyncio.sleep(0)
    return held


async def _hear(wire: HandConnection) -> list[Line]:
    """Every answer that is owed; and after a yes to STARTTLS, the handshake."""
    heard: list[Line] = []
    wire.flush()
    while wire.hand.course.owed or wire.hand.handshake_due:
        event = await wire.event(PATIENCE)
        if event is None:
            break
        if isinstance(event, ServerLine):
            heard.append(Line(SERVER, event.octets))
        elif isinstance(event, TlsDue):
            fault = await wire.secure(verify=False)
            assert not fault, fault
    return heard


def send(port: int) -> str:
    """What the example for the board says of itself while it sends, on the Python that is here."""
    name = "send_mail"
    spec = importlib.util.spec_from_file_location(name, HERE.parents[1] / "examples" / "esp8266" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said: list[str] = []
    recipients = ["alice@example.org", "alcie@example.org"]
    letter = ["The door was opened.", "", "-- your ESP8266"]
    how = {"port": port, "hello": "[192.0.2.17]", "talk": said.append}
    module.send_mail("127.0.0.1", "door@example.org", recipients, "Door opened", letter, **how)
    return "".join(f"{line}\n" for line in said)


def run(command: str, folder: Path) -> str:
    """What a command answers."""
    words = shlex.split(command)[1:]
    if "--lang" not in words:
        words += ["--lang", "en"]
    if words[0] == "why":
        words += ["--data", str(folder)]
    answer = io.StringIO()
    with contextlib.redirect_stdout(answer):
        assert glasspost(words) == 0, command
    return "".join(f"{line.rstrip()}\n" for line in answer.getvalue().strip("\n").splitlines())


# --- the pages ----------------------------------------------------------------------------------------------------


async def performed(text: str) -> str:
    """A chapter, with what is said and answered this evening where that differs in more than its form."""
    parts, end = [], 0
    async with asyncio.timeout(120), stage() as the_stage:
        for found in _BLOCK.finditer(text):
            parts.append(text[end : found.start()])
            head, old = (found["top"], found["talk"]) if found["way"] else (found["open"], found["screen"])
            new = await _block(found, the_stage)
            parts += [head, old if form(new) == form(old) else new]
            end = found.end()
    return "".join([*parts, text[end:]])


async def _block(found: re.Match[str], the_stage: Stage) -> str:
    if found["way"] == "held":
        where = found["where"]
        place = Place("127.0.0.1", the_stage.ports[where], ("127.0.0.1",))
        return print_talk(
            await hold(parse_talk(found["talk"]), place, tls="TLS first" in where, pop3=where.startswith("pop3"))
        )
    if found["way"] == "recorded":
        kind, _, number = found["where"].partition(" ")
        return await the_stage.record(kind, int(number))
    if found["way"] == "sent":
        return await asyncio.to_thread(send, the_stage.ports[found["where"]])
    screens = []
    for command in re.findall(r"^\$ (glasspost (?:explain|why) .*)$", found["screen"], re.MULTILINE):
        if command.startswith("glasspost why"):
            await the_stage.record("smtp-out", 1)  # its story ends with the first attempt
        answer = await asyncio.to_thread(run, command, the_stage.folder)
        screens.append(f"$ {command}\n{answer}")
    return "\n".join(screens)


def main(arguments: list[str]) -> int:
    stale = 0
    for path in CHAPTERS:
        old = read(path)
        new = asyncio.run(performed(old))
        if new != old and "--check" in arguments:
            stale += 1
            print(f"{path.relative_to(HERE)} is stale; run: python docs/undressed/perform.py", file=sys.stderr)
        elif new != old:
            path.write_text(new, encoding="utf-8")
            print(f"written: {path.relative_to(HERE)}")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
