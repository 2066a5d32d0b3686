"""What becomes of a message when the node is told to stop, or is killed, while the message is being sent."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import BinaryIO

import apsw
import pytest
from letters import PLAIN, large, put_on_top
from node_process import NodeProcess, until

NewNode = Callable[..., NodeProcess]


class Dialogue:
    """A client that sends exactly what the test says, when it says so."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self._answers: BinaryIO = self.socket.makefile("rb")
        assert self.answer().startswith("220")

    def answer(self) -> str:
        """The next reply, its last line; "" where the connection has ended."""
        while (line := self._answers.readline().decode())[3:4] == "-":
            pass
        return line

    def say(self, line: str) -> str:
        self.socket.sendall(line.encode() + b"\r\n")
        return self.answer()

    def begin_message(self, recipient: str) -> None:
        assert self.say("HELO client.test").startswith("250")
        assert self.say("MAIL FROM:<bob@src.test>").startswith("250")
        assert self.say(f"RCPT TO:<{recipient}>").startswith("250")
        assert self.say("DATA").startswith("354")

    def close(self) -> None:
        self._answers.close()
        self.socket.close()


def doors_are_shut(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def rows_of(node: NodeProcess, table: str) -> int:
    """How many rows the store has in a table: what no command shows."""
    database = apsw.Connection(str(node.data / "spool.db"))
    try:
        return int(database.execute(f"SELECT count(*) FROM {table}").get)
    finally:
        database.close()


@pytest.mark.parametrize("content", [PLAIN, large(2)], ids=["small", "2 MB"])
def test_a_message_under_way_is_accepted_before_the_node_ends(new_node: NewNode, content: bytes) -> None:
    node = new_node()
    address = node.new_mailbox()
    busy, idle = Dialogue(node.mx), Dialogue(node.mx)
    busy.begin_message(address)
    half = len(content) // 2
    busy.socket.sendall(content[:half])

    node.terminate()
    until(lambda: doors_are_shut(node.mx), "shut doors", 10)
    assert idle.answer().startswith("421 4.3.2"), "who has nothing under way is sent away at once"
    assert idle.answer() == ""
    assert node.running, "it waits for the message"
    busy.socket.sendall(content[half:] + b".\r\n")
    assert busy.answer().startswith("250 2.0.0 Safe on disk as q")
    assert busy.answer().startswith("421 4.3.2")
    assert busy.answer() == ""
    assert node.wait(10) == 0
    for client in (busy, idle):
        client.close()

    node.start()
    (arrived,) = node.messages(address)
    put_on_top(arrived, content)


def test_a_sender_who_takes_too_long_is_cut_off_and_nothing_is_kept(new_node: NewNode) -> None:
    node = new_node(top='drain = "1 s"')
    address = node.new_mailbox()
    slow = Dialogue(node.mx)
    slow.begin_message(address)
    slow.socket.sendall(PLAIN)

    node.stop(10)
    assert slow.answer() == "", "no 250 for a message that was not whole"
    slow.close()
    node.start()
    assert node.count(address) == 0


@pytest.mark.parametrize("content", [PLAIN, large(2)], ids=["small", "2 MB"])
def test_kill_in_the_middle_of_data_leaves_nothing_behind(new_node: NewNode, content: bytes) -> None:
    node = new_node()
    address = node.new_mailbox()
    client = Dialogue(node.mx)
    client.begin_message(address)
    client.socket.sendall(content[:-10])
    if len(content) > 1_000_000:
        until(lambda: rows_of(node, "chunk") > 0, "part of the large message on disk", 10)

    node.kill()
    client.close()
    node.start()

    assert node.count(address) == 0
    assert node.ask("queue", "list") == []
    assert [rows_of(node, table) for table in ("chunk", "draft", "message")] == [0, 0, 0]


def test_kill_after_the_250_keeps_the_message(new_node: NewNode) -> None:
    node = new_node()
    address = node.new_mailbox()
    client = Dialogue(node.mx)
    client.begin_message(address)
    client.socket.sendall(PLAIN + b".\r\n")
    assert client.answer().startswith("250 2.0.0 ")

    node.kill()
    client.close()
    node.start()

    (arrived,) = node.messages(address)
    put_on_top(arrived, PLAIN)
