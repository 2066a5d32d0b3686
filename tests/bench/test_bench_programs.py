"""The bench's own generators and targets count right: what is verified by them is verified."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from idle import IdleSessions
from load import LoadError, free_port, wait_for_greeting

PROGRAMS = Path(__file__).resolve().parents[2] / "bench" / "programs"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    port, book = free_port(), tmp_path / "book"
    with subprocess.Popen([sys.executable, str(PROGRAMS / "ledger.py"), str(port), str(book)]) as process:
        wait_for_greeting(port, 20)
        yield port, book
        process.terminate()


def run(name: str, *options: object) -> dict[str, Any]:
    argv = [sys.executable, str(PROGRAMS / f"{name}.py"), *map(str, options)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_recipient_is_in_the_book(ledger: tuple[int, Path]) -> None:
    port, book = ledger
    found = run("source", port, "--messages", 5, "--recipients", 100, "--domains", 10, "--sessions", 2, "--reuse")
    assert (found["messages"], found["recipients"]) == (5, 500)
    assert book.read_text().split() == ["5", "500", "100", "5"]


def test_a_message_that_comes_twice_is_seen(ledger: tuple[int, Path]) -> None:
    port, book = ledger
    run("source", port, "--messages", 1, "--recipients", 3)
    run("source", port, "--messages", 1, "--recipients", 2)
    assert book.read_text().split() == ["2", "5", "3", "2"]


def test_one_message_a_connection(ledger: tuple[int, Path]) -> None:
    port, book = ledger
    assert run("source", port, "--messages", 7, "--sessions", 3, "--size", 100_000)["messages"] == 7
    assert book.read_text().split()[0] == "7"


def test_the_end_of_a_message_may_come_in_pieces(ledger: tuple[int, Path]) -> None:
    port, book = ledger
    with socket.create_connection(("127.0.0.1", port), 10) as client, client.makefile("rb") as lines:
        lines.readline()
        client.sendall(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        assert [lines.readline()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"Subject: x\r\n\r\n.\r.\n\r\n..\r\n.\r\n":
            client.sendall(bytes([octet]))
        assert lines.readline().startswith(b"250")
    assert book.read_text().split() == ["1", "1", "1", "1"]


def test_a_refusal_is_no_figure() -> None:
    with talking(b"554 go away\r\n") as port, pytest.raises(RuntimeError, match="554 go away; 220 expected"):
        run("source", port, "--messages", 1)


async def test_the_reader_fetches_everything_there_is() -> None:
    """Against a maildrop that is said by hand: two messages, one of them empty."""
    said = [b"+OK\r\n"] * 3 + [b"+OK 2 21\r\n"]
    said += [b"+OK\r\nSubject: one\r\n\r\ntext\r\n.\r\n", b"+OK\r\n.\r\n", b"+OK\r\n"]
    port, server = await _speaker(said)
    async with server:
        found = await asyncio.to_thread(run, "reader", port)
    assert (found["messages"], found["announced"], found["octets"]) == (2, 21, 22)


def test_idle_sessions_are_all_held(ledger: tuple[int, Path]) -> None:
    with IdleSessions(ledger[0], 20):
        wait_for_greeting(ledger[0], 5)


def test_an_idle_session_that_is_turned_away_is_told() -> None:
    with talking(b"421 full\r\n") as port, pytest.raises(LoadError, match="421 full"):
        IdleSessions(port, 1)


@contextmanager
def talking(greeting: bytes) -> Iterator[int]:
    """A server that says one thing to one client, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(greeting)

        thread = threading.Thread(target=greet)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


async def _speaker(said: list[bytes]) -> tuple[int, asyncio.Server]:
    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in said:
            writer.write(reply)
            await reader.readline()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(visit, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1], server
