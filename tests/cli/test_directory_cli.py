"""The commands about domains, accounts, aliases and conversations, as they are typed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from glasspost.cli.conversations import conversations_app
from glasspost.cli.directory import account_app, alias_app, domain_app
from glasspost.errors import Exit, GlasspostError
from glasspost.ids import write_id
from glasspost.storage.accounts import Directory
from glasspost.storage.database import Database
from glasspost.storage.folder import Folder
from glasspost.storage.transcripts import Transcripts

app = typer.Typer()
app.add_typer(domain_app, name="domain")
app.add_typer(account_app, name="account")
app.add_typer(alias_app, name="alias")
app.add_typer(conversations_app, name="conversations")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLASSPOST_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def glasspost(line: str, typed: str = "") -> str:
    """What a command prints. Its errors are raised, as cli/main.py expects them."""
    result = CliRunner().invoke(app, line.split(), input=typed, catch_exceptions=True)
    if isinstance(result.exception, GlasspostError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(line: str, typed: str = "") -> tuple[Exit, str]:
    with pytest.raises(GlasspostError) as caught:
        glasspost(line, typed)
    assert "\n" not in str(caught.value)
    return caught.value.exit_code, str(caught.value)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_one_command_makes_the_first_mailbox(data: Path) -> None:
    said = glasspost("account add alice@example.test --password-stdin --quota 2G", "secret\n")
    assert said == "example.test is ours now\nalice@example.test has a mailbox now\n"
    assert mode_of(data) == 0o700
    directory = Directory(data / "directory.db")
    account = await directory.sign_in("alice@example.test", "secret", "pop3")
    assert account is not None and account.quota == 2 << 30
    directory.close()
    assert glasspost("account add bob@example.test --password-stdin", "x\n") == "bob@example.test has a mailbox now\n"


def test_the_life_of_an_account() -> None:
    glasspost("account add alice@example.test --password-stdin", "secret\n")
    glasspost("account disable alice@example.test")
    assert glasspost("account list").splitlines() == [
        "ADDRESS             QUOTA  ENABLED",
        "alice@example.test  -      no",
    ]
    glasspost("account enable alice@example.test")
    glasspost("account password alice@example.test --password-stdin", "new\n")
    assert glasspost("account quota alice@example.test 10MB") == "alice@example.test may hold 10 MB\n"
    [facts] = json.loads(glasspost("account list --json"))
    assert (facts["address"], facts["quota"], facts["enabled"]) == ("alice@example.test", 10 << 20, True)
    assert glasspost("account remove alice@example.test") == "alice@example.test is removed\n"
    assert json.loads(glasspost("account list --json")) == []


def test_domains_and_aliases() -> None:
    glasspost("domain add Example.Test")
    glasspost("account add alice@example.test --password-stdin", "secret\n")
    said = glasspost("alias add all@example.test alice@example.test eve@far.test")
    assert said == "all@example.test leads to alice@example.test, eve@far.test\n"
    glasspost("alias add *@example.test alice@example.test")
    assert json.loads(glasspost("alias list --json")) == [
        {"address": "*@example.test", "targets": ["alice@example.test"]},
        {"address": "all@example.test", "targets": ["alice@example.test", "eve@far.test"]},
    ]
    assert json.loads(glasspost("domain list --json")) == [{"name": "example.test", "accounts": 1, "aliases": 2}]
    glasspost("alias remove all@example.test eve@far.test")
    assert "all@example.test  alice@example.test\n" in glasspost("alias list example.test")
    glasspost("alias remove all@example.test")
    glasspost("alias remove *@example.test")
    glasspost("account remove alice@example.test")
    glasspost("domain remove example.test")
    assert glasspost("domain list") == "DOMAIN  ACCOUNTS  ALIASES\n"


def test_what_is_refused_says_why_in_one_line() -> None:
    assert refused("account list")[0] is Exit.STORE
    assert refused("account add alice --password-stdin", "x\n")[0] is Exit.USAGE
    assert refused("account add alice@example.test", "x\n") == (
        Exit.USAGE,
        "no terminal to ask for the password; use --password-stdin",
    )
    assert refused("account add alice@example.test --password-stdin", "\n")[0] is Exit.USAGE
    assert refused("account add alice@example.test --password-stdin --quota lots", "x\n")[0] is Exit.USAGE
    glasspost("account add alice@example.test --password-stdin", "secret\n")
    assert refused("account add ALICE@example.test --password-stdin", "x\n")[0] is Exit.FAILED
    assert refused("account disable alise@example.test") == (
        Exit.NOT_FOUND,
        "no account alise@example.test (did you mean alice@example.test?)",
    )
    assert refused("domain remove example.test")[0] is Exit.FAILED
    assert refused("alias add x@elsewhere.test alice@example.test")[0] is Exit.NOT_FOUND
    assert refused("alias add x@example.test nobody@example.test")[0] is Exit.NOT_FOUND


def test_an_account_goes_with_its_mail_but_not_unasked(data: Path) -> None:
    glasspost("account add alice@example.test --password-stdin", "secret\n")
    database = Database(data / "spool.db", "spool")
    database.apply(lambda c: c.execute("INSERT INTO deposit VALUES (1, 7, 'alice@example.test', 42)").fetchall())
    message = (7, 0.0, "", "7BIT", 0, "FULL", "", 42, b"", "", 1)
    database.apply(lambda c: c.execute(f"INSERT INTO message VALUES ({'?,' * 10}?)", message).fetchall())
    assert refused("account remove alice@example.test") == (
        Exit.USAGE,
        "alice@example.test holds 1 message; remove them, too? Say --yes",
    )
    assert glasspost("account remove alice@example.test --yes") == "alice@example.test is removed, with 1 message\n"
    assert database.reader.execute("SELECT count(*) FROM deposit").get == 0
    database.close_now()


async def record(data: Path) -> tuple[str, str]:
    """Two conversations about one message."""
    Folder(data).make()
    house = Transcripts(data / "transcripts.db")
    house.start(asyncio.get_running_loop())
    queue_id = write_id("q", 4711)
    for kind in ("smtp-in", "smtp-out"):
        recording = house.open(kind, "127.0.0.1:2525", "127.0.0.1:4711")
        recording.heard(f"a line of {kind}".encode())
        recording.mention(queue_id)
        recording.close(f"{kind} went well")
    await house.close()
    return recording.id, queue_id


async def test_conversations_are_listed_and_shown(data: Path) -> None:
    newest, queue_id = await record(data)
    first, second = glasspost("conversations list").splitlines()
    assert first.startswith(newest) and first.endswith("smtp-out went well")
    assert second.endswith(f"accepted {queue_id}; smtp-in went well")
    assert len(glasspost("conversations list --limit 1").splitlines()) == 1
    [facts] = json.loads(glasspost("conversations list --kind smtp-in --peer 127.0.0.1 --json"))
    assert facts["verdict"] == f"accepted {queue_id}; smtp-in went well"
    shown = glasspost("conversations show last")
    assert shown == glasspost(f"conversations show {newest}")
    assert shown.splitlines()[1:] == ["S: a line of smtp-out", "# end: smtp-out went well"]
    both = glasspost(f"conversations show {queue_id} --times")
    assert both.index("a line of smtp-in") < both.index("\n\n# conversation") < both.index("S 0.0")
    assert [one["kind"] for one in json.loads(glasspost(f"conversations show {queue_id} --json"))] == [
        "smtp-in",
        "smtp-out",
    ]
    assert refused("conversations list --kind bogus")[0] is Exit.USAGE
    assert refused("conversations show c00000000000")[0] is Exit.NOT_FOUND


def test_conversations_before_there_are_any() -> None:
    assert refused("conversations list")[0] is Exit.STORE
    glasspost("domain add example.test")
    code, said = refused("conversations list")
    assert code is Exit.NOT_FOUND and said.startswith("no conversations are recorded")


async def test_follow_prints_what_is_said_while_it_looks_on(data: Path) -> None:
    await record(data)
    house = Transcripts(data / "transcripts.db")
    house.start(asyncio.get_running_loop())
    other, recording = house.open("pop3", "a:1", "b:2"), house.open("smtp-in", "127.0.0.1:2525", "127.0.0.1:4712")
    follower = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from glasspost.cli.main import run; run()"),
        *("conversations", "follow", "--kind", "smtp-in"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GLASSPOST_DATA": str(data)},
    )
    assert follower.stdout is not None
    first = asyncio.ensure_future(follower.stdout.readline())
    try:
        async with asyncio.timeout(20):
            while not first.done():  # it may not look on yet when the first line is said
                other.heard(b"STAT")
                recording.heard(b"NOOP")
                await house.flush()
                await asyncio.wait([first], timeout=0.2)
            assert (await first).decode().startswith(f"# conversation {recording.id}, smtp-in, ")
            assert await follower.stdout.readline() == b"C: NOOP\n"
            follower.send_signal(signal.SIGINT)
            await follower.stdout.read()
            assert await follower.wait() == 0
    finally:
        if follower.returncode is None:
            follower.kill()
            await follower.wait()
        await house.close()
