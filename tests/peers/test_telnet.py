"""The session of the textbooks: a person, a terminal, telnet. And its talk, read back from the record.

telnet runs on a pseudo-terminal, line by line as its user types; what the user sees must be what the record shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from node_process import NodeProcess, until

from terminal import Terminal

Program = Callable[..., str]


@contextmanager
def telnet(program: Program, port: int) -> Iterator[Terminal]:
    terminal = Terminal([program("telnet"), "127.0.0.1", str(port)])
    try:
        terminal.read("Escape character is.*\n")
        yield terminal
    finally:
        terminal.close()


# What is typed, and the beginning of the last line of the answer.
SESSION = [
    ("HELO client.test", "250 glass.test greets client.test"),
    ("REST", "500 5.5.1 Unknown command; did you mean RSET?"),
    ("MAIL FROM:<bob@src.test>", "250 2.1.0 "),
    ("RCPT TO:<{one}>", "250 2.1.5 "),
    ("RCPT TO:<{two}>", "250 2.1.5 "),
    ("RCPT TO:<nobody@here.test>", "550 5.1.1 "),
    ("DATA", "354 "),
    ("Subject: by hand\n\nTyped by a person.\n..and a dot\n.", "250 2.0.0 Safe on disk as q"),
    ("mail from:<bob@src.test>", "250 2.1.0 "),
    ("RSET", "250 2.0.0 "),
    ("NOOP", "250 2.0.0 OK"),
    ("VRFY bob", "252 2.1.5 "),
    ("EXPN staff", "502 5.5.1 "),
    ("HELP", "214 2.0.0 "),
    ("HELP MAIL", "214 2.0.0 "),
    ("QUIT", "221 2.0.0 Bye"),
]


def test_a_session_by_hand_and_its_talk(new_node: Callable[..., NodeProcess], program: Program) -> None:
    node = new_node()
    one, two = node.add_accounts(["one@here.test", "two@here.test"])
    with telnet(program, node.mx) as terminal:
        seen = ["S: " + terminal.read("^220 .*\n").strip()]
        typed_body = False
        for line, answer in SESSION:
            line = line.format(one=one, two=two)
            terminal.type(line)
            said = terminal.read(f"^{re.escape(answer[:4])}.*\n").splitlines()
            assert said[-1].startswith(answer), line
            if answer.startswith("250 2.0.0 Safe"):
                typed_body = True  # the record has the message's size there, and not its text
            else:
                seen += [f"C: {line}"]
            seen += [f"S: {words}" for words in said]
        terminal.read("Connection closed by foreign host")
        assert typed_body

    until(lambda: any(one["ended"] for one in node.ask("conversations", "list")), "record of its end", 5)
    talk = node.tell("conversations", "show", "last").splitlines()
    assert [line for line in talk if line.startswith(("C: ", "S: "))] == seen
    notes = "\n".join(line for line in talk if line.startswith("#"))
    assert re.search(r"safe on disk as q\w+: \d+ octets, 2 into mailboxes, 0 queued", notes)
    assert b"\r\n\r\nTyped by a person.\r\n.and a dot\r\n" in node.messages(one)[0]
    assert node.count(two) == 1


def test_help_names_every_command_on_a_line_of_its_own(house: NodeProcess, program: Program) -> None:
    with telnet(program, house.mx) as terminal:
        terminal.read("^220 .*\n")
        terminal.type("HELP")
        lines = terminal.read("^214 .*\n").splitlines()

    verbs = ["EHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP", "STARTTLS"]
    for verb in verbs:
        assert sum(line.startswith(f"214-2.0.0 {verb} ") for line in lines) == 1, verb


def test_misspelt_verbs_get_the_nearest_right_one(house: NodeProcess, program: Program) -> None:
    with telnet(program, house.mx) as terminal:
        terminal.read("^220 .*\n")
        for typed, meant in (("REST", "RSET"), ("HLEO x", "HELO"), ("RCTP TO:<a@b>", "RCPT"), ("DTAA", "DATA")):
            terminal.type(typed)
            assert f"500 5.5.1 Unknown command; did you mean {meant}?" in terminal.read("^500 .*\n")
        terminal.type("xyzzy")
        assert "did you mean" not in terminal.read("^500 .*\n")
