"""What strangers wrote, printed: nothing of it moves a cursor, clears a screen or turns the writing around.

An address of RFC 6531 may hold any character, so a sender can put U+202E (right-to-left override) or an escape
sequence where a postmaster reads columns.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from glasspost.cli.main import main
from glasspost.errors import Exit
from glasspost.mail.address import address_from_text
from glasspost.storage.accounts import Directory
from glasspost.storage.database import Database
from glasspost.storage.folder import Folder
from glasspost.storage.guesses import Guesses
from glasspost.storage.spool import Spool
from glasspost.storage.transcripts import Transcripts
from stores import accepted, intake_for
from terminal import COLUMNS, Terminal

ALICE = address_from_text("alice@example.test")
EVIL = "e\u202evil"
SHOWN = r"e\xe2\x80\xaevil"
VERDICT = f"refused 550 5.1.1, and {EVIL} said \x1b[2J a lot more than fits into a line"


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data folder with a mailbox, a queue, a record and failed sign-ins, all of them by somebody evil."""
    folder = Folder(tmp_path / "data")
    folder.make()
    directory = Directory(folder.directory)
    account = directory.add_account(ALICE, "tulip", create_domain=True)
    directory.close()
    database = Database(folder.spool, "spool", durable=False)
    database.start(asyncio.get_running_loop())
    spool = Spool(database, "node1", 300.0)
    sender = f"{EVIL}@example.org"
    await accepted(spool, intake_for(spool, f"{EVIL}@far.test", sender=sender, deposits=[(account.id, str(ALICE))]))
    await database.close()
    guesses = Guesses(folder.limits)
    guesses.wrong("192.0.2.1", f"{EVIL}\x1b[2J")
    guesses.close()
    house = Transcripts(folder.transcripts)
    house.start(asyncio.get_running_loop())
    for peer, verdict in (("192.0.2.1:4711", VERDICT), ("[2001:db8:1:2:3:4:5:6]:4711", "refused"), ("192.0.2.1:1", "")):
        recording = house.open("smtp-in", "127.0.0.1:2525", peer)
        recording.heard(f"MAIL FROM:<{sender}>".encode())
        recording.close(verdict)
    await house.close()
    return folder.path


LISTS = [
    "mailbox list alice@example.test",
    "queue list",
    "queue show ID",
    "limits list",
    "conversations list",
    "conversations search peer:192.0.2.1",
    "conversations show last",
    "why CONVERSATION",
]


@pytest.mark.parametrize("command", LISTS)
async def test_it_is_made_visible_wherever_it_is_printed(
    data: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for word, family, key in (("ID", "queue", "queue_id"), ("CONVERSATION", "conversations", "id")):
        if command.endswith(f" {word}"):
            assert main([family, "list", "--json", "--data", str(data)]) == Exit.OK
            command = command.replace(word, json.loads(capsys.readouterr().out)[0][key])
    assert main([*command.split(), "--data", str(data)]) == Exit.OK
    said = capsys.readouterr().out
    assert SHOWN in said
    assert all(line.isprintable() for line in said.splitlines())


async def test_a_complaint_repeats_nothing_raw(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mailbox", "list", f"{EVIL}\x1b[2J@example.test", "--data", str(data)]) != Exit.OK
    said = capsys.readouterr().err
    assert SHOWN in said and said.removesuffix("\n").isprintable()


async def test_conversations_fit_a_terminal_and_are_a_line_each_elsewhere(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["conversations", "list", "--data", str(data)]
    assert main(words) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    with Terminal([sys.executable, "-c", "from glasspost.cli.main import run; run()", *words]) as screen:
        assert screen.wait() == 0
        shown = screen.raw.split("\r\n")
    assert max(map(len, shown)) <= COLUMNS
    assert [line[:12] for line in shown if line[:1] == "c"] == [line[:12] for line in lines], "none is missing"
    assert "a lot more than fits into a line" in " ".join(" ".join(shown).split()), "and nothing is cut off"
