"""`glasspost talk` and `glasspost replay`, as people use them: with our node, and with Postfix.

The password is looked for afterwards wherever a trace of the conversation may be: raw, in base64, in what the store
keeps compressed.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_process import PASSWORD, NodeProcess, until
from postfix import Postfix

from glasspost.protocol.talk import CLIENT, parse_talk
from terminal import Terminal

GLASSPOST = str(Path(sys.executable).with_name("glasspost"))
Replay = Callable[..., subprocess.CompletedProcess[str]]


def forms_of(secret: str, name: str) -> list[bytes]:
    """All the forms in which a password may lie about."""
    raw = secret.encode()
    forms = [raw, base64.b64encode(raw), base64.b64encode(f"\0{name}\0{secret}".encode())]
    # Within longer base64 it looks otherwise at each of the three places where it may begin.
    forms += [base64.b64encode(b"\0" * shift + raw)[4 * (shift > 0) : -4] for shift in range(3)]
    return [*forms, *(form.rstrip(b"=") for form in forms)]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """`terminal(port, ...)`: a person's terminal with `glasspost talk` in it."""
    opened: list[Terminal] = []

    def open_one(port: int, *options: str) -> Terminal:
        home = {"TERM": "xterm", "XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}
        opened.append(Terminal([GLASSPOST, "talk", f"127.0.0.1:{port}", *options], home))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def replay() -> Replay:
    def run(what: str | Path, port: int, *options: str, password: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **({"GLASSPOST_PASSWORD": password} if password else {})}
        return subprocess.run(
            [GLASSPOST, "replay", str(what), "--to", f"127.0.0.1:{port}", *options],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=environment,
            start_new_session=True,  # no terminal to ask at
        )  # fmt: skip

    return run


def converse(person: Terminal, address: str, saved: Path) -> None:
    """EHLO, STARTTLS, AUTH, a message, QUIT, as somebody types them."""
    person.read("now: EHLO")
    person.enter("EHLO laptop.example")
    person.read("now: MAIL STARTTLS AUTH")
    person.enter(":tls")
    person.read("TLSv1.3")
    person.read("now: EHLO")
    person.enter("EHLO laptop.example")
    person.read("now: MAIL AUTH")
    person.enter(f":auth {address}")
    person.read("password of .*: ")
    person.enter(PASSWORD)
    person.read(r"C: AUTH PLAIN \[masked\]\n")
    person.read("S: 235")
    for line, answer in (
        (f"MAIL FROM:<{address}>", "S: 250 2.1.0"),
        (f"RCPT TO:<{address}>", "S: 250 2.1.5"),
        ("RCPT TO:<nobody@here.test>", "S: 550 5.1.1"),
        ("DATA", "S: 354"),
    ):
        person.enter(line)
        person.read(answer)
    for line in ("Subject: by hand", "", ".a dot in front", "."):
        person.enter(line)
    person.read("S: 250 2.0.0 Safe on disk")
    person.enter(f":save {saved}")
    person.read("lines; what follows")
    person.enter("QUIT")
    assert person.wait() == 0


def test_a_session_by_hand_is_saved_and_replayed_and_the_password_is_nowhere(
    new_node: Callable[..., NodeProcess], terminal: Callable[..., Terminal], replay: Replay, tmp_path: Path
) -> None:
    node = new_node()
    address = node.add_account("one@here.test")
    saved = tmp_path / "by-hand.talk"
    person = terminal(node.submission)
    converse(person, address, saved)

    assert b"\r\n\r\n.a dot in front\r\n" in node.messages(address)[0]
    lines = [line.octets for line in parse_talk(saved.read_text()) if line.who == CLIENT]
    assert lines[:4] == [b"EHLO laptop.example", b"STARTTLS", b"EHLO laptop.example", b"AUTH PLAIN [masked]"]
    assert lines[-5:] == [b"Subject: by hand", b"", b"..a dot in front", b".", b"QUIT"]

    again = replay(saved, node.submission, "--diff", password=PASSWORD)
    assert (again.returncode, again.stdout) == (0, "# no answer of 11 differs\n"), again.stdout + again.stderr
    assert node.count(address) == 2

    until(lambda: len([one for one in node.ask("conversations", "list") if one["ended"]]) >= 4, "the record", 10)
    recorded = [one["id"] for one in node.ask("conversations", "list") if one["kind"] == "smtp-in"]
    for one in recorded:  # our own record is the same form: play it as well
        played = replay(one, node.submission, "--diff", "--data", str(node.data), password=PASSWORD)
        assert played.returncode == 0, played.stdout + played.stderr
        assert "one of 43 octets is made up" in played.stdout or "with the trace header" in played.stdout
    talks = "".join(node.tell("conversations", "show", one) for one in recorded)
    assert talks.count("[masked]") == len(recorded)

    node.stop()
    traces = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    traces |= {"screen": person.raw.encode(), "record": talks.encode(), "replayed": again.stdout.encode()}
    assert any(name.endswith("talk_history") for name in traces)
    for name, trace in traces.items():
        for form in forms_of(PASSWORD, address):
            assert form not in trace, f"{form!r} is in {name}"


def test_without_the_password_the_sign_in_is_left_out_and_what_follows_differs(
    new_node: Callable[..., NodeProcess], terminal: Callable[..., Terminal], replay: Replay, tmp_path: Path
) -> None:
    node = new_node()
    saved = tmp_path / "by-hand.talk"
    converse(terminal(node.submission), node.add_account("one@here.test"), saved)

    played = replay(saved, node.submission, "--diff")

    assert played.returncode == 1
    assert played.stdout.startswith("# left out: AUTH PLAIN [masked]: its password is not known")
    assert "\n  - 250 2.1.0 Sender OK\n  + 530 5.7.0 Sign in first (AUTH) [c" in played.stdout


def test_pop3_by_hand_and_again(house: NodeProcess, mailbox: str, tmp_path: Path, replay: Replay) -> None:
    saved = tmp_path / "pop3.talk"
    typed = f"CAPA\nSTLS\n:auth {mailbox}\nSTAT\nLIST\nUIDL 1\nQUIT\n"
    done = subprocess.run(
        [GLASSPOST, "talk", f"127.0.0.1:{house.pop3}", "--save", str(saved)],
        input=typed, capture_output=True, text=True, timeout=60, env={**os.environ, "GLASSPOST_PASSWORD": PASSWORD},
    )  # fmt: skip
    assert done.returncode == 7, done.stdout  # there is no message 1
    assert "C: PASS [masked]\nS: +OK" in done.stdout
    assert PASSWORD not in done.stdout + saved.read_text()

    again = replay(saved, house.pop3, "--diff", password=PASSWORD)
    assert again.returncode == 0, again.stdout + again.stderr


def test_the_diff_names_what_postfix_says_otherwise(
    house: NodeProcess, mailbox: str, postfix: Callable[..., Postfix], tmp_path: Path, replay: Replay
) -> None:
    saved = tmp_path / "to-us.talk"
    typed = f"HELO laptop.example\nMAIL FROM:<a@src.test>\nRCPT TO:<{mailbox}>\nDATA\nSubject: x\n\n..\n.\nQUIT\n"
    done = subprocess.run(
        [GLASSPOST, "talk", f"127.0.0.1:{house.mx}", "--save", str(saved)],
        input=typed, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    other = postfix("next hop", domains=("here.test",))

    assert replay(saved, house.mx, "--diff").returncode == 0
    assert replay(saved, other.port).returncode == 0, "the codes are the same"
    differing = replay(saved, other.port, "--diff")
    assert differing.returncode == 1
    number = (
        saved.read_text()
        .splitlines()
        .index(next(line for line in saved.read_text().splitlines() if "Sender OK" in line))
    )
    assert (
        f"# {saved}:{number + 1}: MAIL FROM:<a@src.test>\n  - 250 2.1.0 Sender OK\n  + 250 2.1.0 Ok\n"
        in differing.stdout
    )
    assert "# 6 answers of 7 differ\n" in differing.stdout or re.search(r"# \d answers of 7 differ\n", differing.stdout)


def test_a_session_with_postfix(postfix: Callable[..., Postfix], tmp_path: Path, replay: Replay) -> None:
    other = postfix("next hop", refuse=("nobody@example.org",))
    saved = tmp_path / "postfix.talk"
    recipients = "RCPT TO:<nobody@example.org>\nRCPT TO:<c@example.org>\n"
    typed = f"EHLO me.example\nMAIL FROM:<a@src.test>\n{recipients}DATA\nhi\n.\nQUIT\n"
    done = subprocess.run(
        [GLASSPOST, "talk", f"127.0.0.1:{other.port}", "--save", str(saved)],
        input=typed, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 7, done.stdout
    assert "S: 550 5.1.1 <nobody@example.org>" in done.stdout
    assert "queued as" in done.stdout

    again = replay(saved, other.port, "--diff")
    assert again.returncode == 0, again.stdout
