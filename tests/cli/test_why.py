"""`glasspost why` and the searches, asked after a real node has done its work: deferred twice, then bounced; refused;
signed in wrongly. And what is nowhere to be found afterwards: the password."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import smtplib
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
import structlog
from typer.testing import CliRunner

from glasspost.cli.directory import Mistyped
from glasspost.cli.main import front_door
from glasspost.errors import GlasspostError, NotFound
from glasspost.explain.typography import width
from glasspost.mail.address import Address
from glasspost.node.node import Node
from glasspost.node.settings import Config

PASSWORD = "tulip-wrong-7"
LETTER = (
    "From: Alice <alice@example.org>\r\nTo: Carol <carol@far.example>\r\nMessage-ID: <abc.1@example.org>\r\n"
    "Subject: =?utf-8?B?6K6i5Y2V56Gu6K6k?= invoice 42\r\n\r\nHello\r\n"
)


class Hop:
    """A next hop that says "later" twice, and then "never"."""

    def __init__(self) -> None:
        self.recipients = 0
        self.said_never = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 next.example ESMTP\r\n")
        while line := await reader.readline():
            match line[:4].upper():
                case b"EHLO":
                    writer.write(b"250-next.example\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n")
                case b"RCPT":
                    self.recipients += 1
                    later = b"451 4.7.1 Greylisted, please come back later\r\n"
                    writer.write(later if self.recipients < 3 else b"550 5.1.1 No such user here\r\n")
                    if self.recipients >= 3:
                        self.said_never.set()
                case b"DATA":
                    writer.write(b"554 5.5.1 No valid recipients\r\n")
                case b"QUIT":
                    writer.write(b"221 Bye\r\n")
                    break
                case _:
                    writer.write(b"250 2.0.0 OK\r\n")
        writer.close()


@pytest.fixture
async def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """The folder that a node has left, which took a letter for carol that bounced, and turned two visitors away."""
    hop = Hop()
    server = await asyncio.start_server(hop, "127.0.0.1", 0)
    text = f"""
        [node]
        hostname = "mail.example.org"
        data = "{tmp_path / "data"}"
        [smtp]
        relay_networks = ["127.0.0.1/32"]
        [relay]
        schedule = ["50 ms"]
        jitter = 0
        [[listener]]
        role = "mx"
        port = 0
        tls = "none"
        [[listener]]
        role = "submission"
        port = 0
        tls = "none"
        [[smarthost]]
        domain = "*"
        host = "127.0.0.1"
        port = {server.sockets[0].getsockname()[1]}
        """
    node = Node(Config.model_validate(tomllib.loads(text), context={"folder": tmp_path}))
    await node.start()
    node.directory.add_account(Address("alice", "example.org"), "secret", create_domain=True)
    ports = {door.role: door.port for door in node.doors}

    def clients() -> None:
        with smtplib.SMTP("127.0.0.1", ports["mx"]) as client:
            client.sendmail("alice@example.org", ["carol@far.example"], LETTER)
        with smtplib.SMTP("127.0.0.1", ports["mx"]) as client:
            client.ehlo()
            client.mail("bob@far.example")
            client.rcpt("nobody@example.org")
        with smtplib.SMTP("127.0.0.1", ports["submission"]) as client:
            client.ehlo()
            client.docmd("AUTH PLAIN " + base64.b64encode(f"\0alice\0{PASSWORD}".encode()).decode())
            client.docmd("AUTH LOGIN")
            client.docmd(base64.b64encode(b"alice").decode())
            client.docmd(base64.b64encode(PASSWORD.encode()).decode())

    try:
        async with asyncio.timeout(20):
            await asyncio.to_thread(clients)
            await hop.said_never.wait()
            while not node.scheduler.idle:  # noqa: ASYNC110  (the bounce is on its way into the store)
                await asyncio.sleep(0.01)
    finally:
        await node.stop()
        server.close()
    monkeypatch.setenv("GLASSPOST_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LANG", "C")
    yield tmp_path / "data"


def glasspost(*words: str) -> str:
    result = CliRunner().invoke(front_door(), list(words), catch_exceptions=True)
    if isinstance(result.exception, GlasspostError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


async def test_one_question_tells_the_whole_story(data: Path) -> None:
    told = glasspost("why", "carol@far.example")
    in_order = [
        "from     alice@example.org",
        "subject  订单确认 invoice 42",
        "state    failed: 1 recipient",
        "came in from 127.0.0.1:",
        "# safe on disk as q",
        "attempt 1: [127.0.0.1]:",
        "S: 451 4.7.1 Greylisted, please come back later",
        "means  ",
        "=> carol@far.example: deferred, next attempt ",
        "why then: after 1 attempt the schedule waits ",
        "attempt 2: ",
        "why then: after 2 attempts the schedule waits ",
        "attempt 3: ",
        "S: 550 5.1.1 No such user here",
        "means  ",
        "=> carol@far.example: failed, for ever",
        "the sender was told, in q",
    ]
    at = -1
    for words in in_order:
        at = told.find(words, at + 1)
        assert at >= 0, f"{words!r} is missing, or in another place, in:\n{told}"
    assert told.count("S: 554 5.5.1 No valid recipients") == told.count("No valid recipients"), "a mere consequence"
    bounce, stands = told.rpartition("told, in ")[2].split()
    assert stands == "(delivered)"
    assert "a report of this server's about q" in glasspost("why", bounce)
    queue_id = told.split()[0]
    for query in ("<abc.1@example.org>", "abc.1@example.org", queue_id.upper(), "invoice", "确认", "far.example"):
        assert queue_id in glasspost("why", query), query


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_it_fits_a_terminal_in_both_languages(data: Path, lang: str) -> None:
    told = glasspost("why", "carol@far.example", "--lang", lang)
    assert max(width(line) for line in told.splitlines()) <= 80
    assert ("含义" in told, "发件人  alice@example.org" in told) == (lang == "zh", lang == "zh")
    notes = [line for line in told.splitlines() if line.startswith(("    # ", "    => ", "       why", "state"))]
    assert len(notes) >= 6
    assert all(line.isascii() is (lang == "en") for line in notes), notes


async def test_json_has_the_same_content(data: Path) -> None:
    [story] = json.loads(glasspost("why", "carol@far.example", "--json"))["found"]
    assert (story["sender"], story["recipients"]) == ("alice@example.org", ["carol@far.example"])
    assert [fate["what"] for fate in story["fates"]] == ["deferred", "deferred", "failed"]
    assert len(story["attempts"]) == 3
    meanings = [line["meaning"] for attempt in story["attempts"] for line in attempt["lines"] if line["meaning"]]
    assert [meaning["code"] for meaning in meanings] == ["451", "451", "550"]


async def test_mail_that_was_never_accepted_has_a_story_too(data: Path) -> None:
    told = glasspost("why", "nobody@example.org")
    assert "state  refused 550 5.1.1" in told and "C: rcpt TO:<nobody@example.org>" in told and "means" in told
    listed = glasspost("why", "alice@example.org")
    assert "refused 535 5.7.8" in listed and "invoice 42" in listed and "2 found" in listed
    with pytest.raises(NotFound, match=r"nothing is on record about stranger@far\.example"):
        glasspost("why", "stranger@far.example")


async def test_every_conversation_has_a_verdict(data: Path) -> None:
    listed = glasspost("conversations", "list")
    for verdict in ("accepted q", "refused 550 5.1.1", "refused 535 5.7.8"):
        assert verdict in listed


async def test_conversations_are_searched_explained_and_taken_along(data: Path, tmp_path: Path) -> None:
    [line] = glasspost("conversations", "search", "reply:5.7.* kind:smtp-in").splitlines()
    name = line.split()[0]
    assert line.endswith("refused 535 5.7.8")
    shown = glasspost("conversations", "show", name, "--explain", "--lang", "zh")
    assert "C: AUTH PLAIN [masked]" in shown and "含义" in shown
    assert json.loads(glasspost("conversations", "search", "reply:5.7.8", "--json"))[0]["id"] == name
    assert glasspost("conversations", "search", 'text:"come back later"') == glasspost(
        "conversations", "search", "reply:4.7.1"
    )
    assert glasspost("conversations", "export", "--to", str(tmp_path / "out")).startswith("4 conversations in ")
    talk = (tmp_path / "out" / f"{name}.talk").read_text()
    assert talk == glasspost("conversations", "show", name, "--times")
    lines = glasspost("conversations", "export", f"id:{name}").splitlines()
    assert [json.loads(one)["talk"] for one in lines] == [talk]
    with pytest.raises(GlasspostError, match='did you mean "from:"'):
        glasspost("conversations", "search", "form:alice")
    with pytest.raises(NotFound, match="no conversation on record is like that"):
        glasspost("conversations", "search", "from:stranger")


async def test_the_password_is_nowhere(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    glasspost("conversations", "export", "--to", str(tmp_path / "out"))
    printed = glasspost("why", "alice", "--json") + glasspost("conversations", "export")
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())  # noqa: ASYNC240
    kept += printed.encode()
    encoded = [base64.b64encode(text.encode()) for text in (PASSWORD, f"\0alice\0{PASSWORD}")]
    for form in (PASSWORD.encode(), *encoded, *(one.rstrip(b"=")[:-1] for one in encoded)):
        assert form not in kept


def test_a_crash_on_a_terminal_does_not_show_the_values_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from glasspost.cli import serve

    class Terminal:
        text = ""

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            pass

    def sign_in(password: str) -> None:
        raise LookupError("no account")

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    before = structlog.get_config()
    try:
        serve._log_to_stderr(logging.getLevelName(logging.INFO).lower())
        try:
            sign_in(PASSWORD)
        except LookupError:
            structlog.get_logger("test").exception("broken")
    finally:
        structlog.configure(**before)
    assert "LookupError" in terminal.text and "sign_in" in terminal.text
    assert PASSWORD not in terminal.text


async def test_a_queue_that_no_node_has_used_yet_is_no_fault(data: Path) -> None:
    """A record that was taken along, or a node that is just starting: the queue's file is there and empty."""
    (data / "spool.db").unlink()
    (data / "spool.db").touch()
    assert "attempt 1: " in glasspost("why", "carol@far.example")


async def test_a_search_says_whose_message_it_found(data: Path) -> None:
    lines = glasspost("conversations", "search", "to:carol@far.example").splitlines()
    assert " smtp-out " in lines[0]
    assert lines[1].startswith("    alice@example.org -> carol@far.example  ")
    found = json.loads(glasspost("conversations", "search", "to:carol@far.example", "--json"))
    assert found[0]["found"][0]["recipients"] == ["carol@far.example"]


async def test_a_filter_may_begin_with_its_minus(data: Path) -> None:
    assert "carol@far.example" not in glasspost("conversations", "search", "-to:carol@far.example")
    with pytest.raises(Mistyped, match="there is no option --limt"):
        glasspost("conversations", "search", "--limt", "5")


async def test_a_record_that_is_behind_says_so(data: Path) -> None:
    connection = apsw.Connection(str(data / "transcripts.db"))
    connection.execute("INSERT INTO backlog (heard) VALUES (x'00')")
    connection.close()
    for words in (["why", "nobody@far.example"], ["conversations", "search", "to:nobody@far.example"]):
        with pytest.raises(NotFound, match="the node is too busy to write its record out just now"):
            glasspost(*words)
