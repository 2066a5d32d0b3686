"""`glasspost talk` with servers of all kinds: led by a script, and by a person at a terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from glasspost.cli.main import main
from glasspost.cli.talk_connection import Place, read_place
from glasspost.protocol.talk import parse_talk
from strangers import Stranger
from terminal import Terminal

GREETING = b"220 mail.example.org ESMTP\r\n"
HELLO = b"250-mail.example.org\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n"
OK = b"250 ok\r\n"
BYE = b"221 bye\r\n"
GLASSPOST = str(Path(sys.executable).with_name("glasspost"))


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`talk(port, "EHLO x\\n...", *options)`: (exit code, what was printed)."""

    def run(port: int, typed: str, *options: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        code = main(["talk", f"127.0.0.1:{port}", "--timeout", "5", *options])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


# --- a script ------------------------------------------------------------------------------------------------


def test_each_line_waits_for_the_answer_to_the_one_before(talk) -> None:
    with Stranger(GREETING, HELLO, OK, BYE) as server:
        code, said = talk(server.port, "EHLO me\nNOOP\nQUIT\n", "--no-explain")
    assert code == 0
    assert server.heard == b"EHLO me\r\nNOOP\r\nQUIT\r\n"
    assert [line for line in said.splitlines() if line[0] in "CS"] == [
        "S: 220 mail.example.org ESMTP",
        "C: EHLO me",
        "S: 250-mail.example.org",
        "S: 250-STARTTLS",
        "S: 250 AUTH PLAIN LOGIN",
        "C: NOOP",
        "S: 250 ok",
        "C: QUIT",
        "S: 221 bye",
    ]


def test_what_is_printed_is_a_talk(talk) -> None:
    with Stranger(GREETING, HELLO, b"550 no \x1b[31m\xff\r\n", BYE) as server:
        code, said = talk(server.port, "EHLO me\nBADLY\nQUIT\n")
    assert code == 7, "something was refused"
    assert len(parse_talk(said)) == len(said.splitlines())
    assert r"S: 550 no \x1b[31m\xff" in said
    assert "# BADLY is no command of SMTP." in said


def test_each_answer_is_explained_in_the_language_that_was_asked_for(talk) -> None:
    with Stranger(GREETING, b"550 5.1.1 nobody here\r\n", BYE) as server:
        _, english = talk(server.port, "EHLO me\nQUIT\n")
        _, chinese = talk(server.port, "EHLO me\nQUIT\n", "--lang", "zh_CN.UTF-8")
    assert any(line.startswith("# ") and "address" in line for line in english.splitlines())
    assert any("一" <= char <= "龥" for char in chinese)


def test_the_end_of_the_input_says_quit(talk) -> None:
    with Stranger(GREETING, HELLO, BYE) as server:
        assert talk(server.port, "EHLO me\n")[0] == 0
    assert server.heard == b"EHLO me\r\nQUIT\r\n"


def test_an_input_that_ends_within_a_message_does_not_end_the_message(talk) -> None:
    with Stranger(GREETING, HELLO, OK, OK, b"354 go\r\n", stays=True) as server:
        code, said = talk(server.port, "EHLO me\nMAIL FROM:<>\nRCPT TO:<a@b.example>\nDATA\nhalf a mess")
    assert code == 8
    assert "within the message" in said
    assert server.heard.endswith(b"DATA\r\nhalf a mess\r\n")


def test_a_chunk_is_sent_before_its_answer_is_awaited(talk) -> None:
    with Stranger(GREETING, b"", b"250 chunk\r\n", BYE) as server:
        code, said = talk(server.port, "BDAT 7 LAST\nab\ncdefgh\nQUIT\n", "--no-explain")
    assert code == 0, said
    assert server.heard == b"BDAT 7 LAST\r\nab\r\ncdeQUIT\r\n"
    assert "C: ab\nC: cde\nS: 250 chunk\n" in said


def test_two_colons_send_one(talk) -> None:
    with Stranger(GREETING, OK, BYE) as server:
        talk(server.port, "::tls\nQUIT\n")
    assert server.heard == b":tls\r\nQUIT\r\n"


@pytest.mark.parametrize("source", ["file", "environment", "variable"])
def test_auth_takes_the_password_from_a_file_or_the_environment(
    talk, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("tulip-secret-7\nnot this\n")
    if source == "environment":
        monkeypatch.setenv("GLASSPOST_PASSWORD", "tulip-secret-7")
    monkeypatch.setenv("BOBS", "tulip-secret-7")
    named = {"file": ["--password-file", str(tmp_path / "password")], "variable": ["--password-env", "BOBS"]}
    options = named.get(source, [])
    with Stranger(GREETING, HELLO, b"235 ok\r\n", BYE) as server:
        code, said = talk(server.port, "EHLO me\n:auth bob\nQUIT\n", *options, "--save", str(tmp_path / "a.talk"))
    assert code == 0
    assert b"AUTH PLAIN AGJvYgB0dWxpcC1zZWNyZXQtNw==\r\n" in server.heard
    for seen in (said, (tmp_path / "a.talk").read_text()):
        assert ": AUTH PLAIN [masked]\n" in seen
        assert "tulip" not in seen
        assert "dWxpcC1zZWNyZXQtNw" not in seen
    assert "not encrypted" in said


def test_the_saved_talk_has_times_and_all_to_the_end_and_is_for_its_owner(talk, tmp_path: Path) -> None:
    path = tmp_path / "a.talk"
    with Stranger(GREETING, HELLO, BYE) as server:
        talk(server.port, "EHLO me\n:save " + str(path) + "\nQUIT\n")
    lines = parse_talk(path.read_text())
    assert lines[0].octets.startswith(b"talk with 127.0.0.1:")
    assert lines[-1].octets == b"221 bye"
    assert all(line.at is not None for line in lines[1:])
    assert path.stat().st_mode & 0o777 == 0o600


# --- strange servers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "code", "words"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n"], 8, "That is no answer in SMTP."),
        ([b"220 hi\n", b"250 ok\n", b"221 bye\n"], 0, "it ended with LF alone"),
        ([b"220 " + b"a" * 100_000 + b"\r\n", OK, BYE], 0, "octets more"),
        ([GREETING, b"250-line\r\n" * 10_000 + b"250 end\r\n", BYE], 0, "9801 further lines are not shown"),
        ([GREETING, b"421 too busy\r\n"], 8, "S: 421 too busy"),
        ([GREETING, b"250 unfinis"], 8, "a line without an end: 250 unfinis"),
        ([GREETING], 8, "the server closed the connection"),
        ([b"554 not you\r\n", OK, BYE], 7, "S: 554 not you"),
        ([GREETING, b"\x00\x01\xff\x1b]0;title\x07\r\n", BYE], 7, r"S: \x00\x01\xff\x1b]0;title\x07"),
    ],
    ids=["http", "lf", "100-kilobytes", "10000-lines", "421", "unfinished", "closes", "554", "octets"],
)
def test_whatever_a_server_says_is_taken_calmly(talk, replies: list[bytes], code: int, words: str) -> None:
    with Stranger(*replies) as server:
        ended, said = talk(server.port, "EHLO me\nQUIT\n")
    assert words in said
    assert "\x1b" not in said
    assert "Traceback" not in said
    assert ended == code, said[-500:]


def test_silence_is_given_up_in_time(talk) -> None:
    with Stranger(GREETING, b"250 unfin", stays=True) as server:
        code, said = talk(server.port, "EHLO me\nQUIT\n", "--timeout", "0.3")
    assert code == 8
    assert "# no answer within 0.3 s" in said
    assert "# a line without an end: 250 unfin" in said


def test_octets_behind_the_yes_to_tls_end_the_conversation(talk) -> None:
    with Stranger(GREETING, HELLO, b"220 go\r\n250 injected\r\n", stays=True) as server:
        code, said = talk(server.port, "EHLO me\n:tls\nEHLO me\n")
    assert code == 8
    assert server.heard == b"EHLO me\r\nSTARTTLS\r\n"
    assert "# 14 octets came in the clear behind the yes to TLS: 250 injected\n" in said


def test_a_server_that_is_not_there(talk) -> None:
    code, said = talk(1, "")
    assert code == 8
    assert said == "glasspost: 127.0.0.1:1: connection refused\n"


def test_a_handshake_that_fails(talk) -> None:
    with Stranger(GREETING, HELLO, b"220 go\r\n", b"this is not TLS\r\n") as server:
        code, said = talk(server.port, "EHLO me\n:tls\nEHLO me\n")
    assert code == 8
    assert "# TLS failed: " in said


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("mail.example.org", Place("mail.example.org", 25)),
        ("mail.example.org:587", Place("mail.example.org", 587)),
        ("192.0.2.1:2525", Place("192.0.2.1", 2525)),
        ("[2001:db8::1]", Place("2001:db8::1", 25)),
        ("[2001:db8::1]:110", Place("2001:db8::1", 110)),
    ],
)
def test_how_a_server_is_named(text: str, place: Place) -> None:
    assert read_place(text) == place
    assert read_place(str(place)) == place


# --- a person at a terminal ----------------------------------------------------------------------------------


@pytest.fixture
def person(tmp_path: Path):
    """`person(port, *options, TERM=...)`: a terminal with `glasspost talk` in it."""
    terminals = []

    def sit_down(port: int, *options: str, **environment: str) -> Terminal:
        usual = {"TERM": "xterm", "XDG_STATE_HOME": str(tmp_path / "state")}
        terminals.append(Terminal([GLASSPOST, "talk", f"127.0.0.1:{port}", *options], usual | environment))
        return terminals[-1]

    yield sit_down
    for terminal in terminals:
        terminal.close()


def test_the_hint_line_and_completion_follow_the_conversation(person) -> None:
    with Stranger(GREETING, HELLO, OK, BYE) as server:
        terminal = person(server.port, "--no-explain")
        terminal.read("now: EHLO HELO RSET NOOP QUIT VRFY EXPN HELP")
        terminal.press(b"eh\t")  # becomes EHLO and a blank
        terminal.enter("me")
        terminal.read("now: MAIL STARTTLS AUTH EHLO")
        terminal.press(b"MA\t\t")  # MAIL, then FROM:<
        terminal.enter("a@b.example>")
        terminal.read("now: RCPT EHLO")
        terminal.enter("QUIT")
        assert terminal.wait() == 0
    assert server.heard == b"EHLO me\r\nMAIL FROM:<a@b.example>\r\nQUIT\r\n"


def test_an_illegal_command_is_warned_about_and_sent_all_the_same_if_wanted(person) -> None:
    with Stranger(GREETING, b"503 no\r\n", BYE) as server:
        terminal = person(server.port)
        terminal.read("now: EHLO")
        terminal.enter("DATA")
        terminal.read(r"DATA cannot come now\. Say EHLO or HELO first\.")
        terminal.read("all the same")
        terminal.enter("n")
        terminal.read("now: EHLO")
        terminal.enter("DATA")
        terminal.read("all the same")
        terminal.enter("y")
        terminal.read("S: 503 no")
        terminal.enter(":quit")
        terminal.wait()
    assert server.heard == b"DATA\r\nQUIT\r\n"


def test_a_password_typed_openly_stays_on_no_screen_and_in_no_history(person, tmp_path: Path) -> None:
    with Stranger(b"+OK pop\r\n", b"+OK\r\n", b"-ERR no\r\n", b"+OK bye\r\n") as server:
        terminal = person(server.port)
        terminal.read("now: STLS UTF8 USER PASS AUTH CAPA QUIT")
        terminal.enter("USER bob")
        terminal.read(r"S: \+OK\n")
        terminal.enter("PASS tulip-secret-7")
        terminal.read(r"C: PASS \[masked\]\n")
        terminal.read("S: -ERR no")
        terminal.enter("QUIT")
        terminal.wait()
    assert b"PASS tulip-secret-7\r\n" in server.heard
    history = tmp_path / "state" / "glasspost" / "talk_history"
    assert history.read_text().splitlines() == ["USER bob", "QUIT"]
    assert history.stat().st_mode & 0o777 == 0o600


def test_history_comes_back(person) -> None:
    with Stranger(GREETING, HELLO, BYE) as server:
        for session in (1, 2):
            terminal = person(server.port)
            terminal.read("now: EHLO")
            if session == 2:
                terminal.press(b"\x1b[A\x1b[A")  # the arrow up: QUIT, then EHLO
                terminal.read("EHLO remembered")
                terminal.enter("")
            else:
                terminal.enter("EHLO remembered")
            terminal.read("S: 250 AUTH")
            terminal.read("now: MAIL")
            terminal.enter("QUIT")
            assert terminal.wait() == 0
    assert server.heard == b"EHLO remembered\r\nQUIT\r\n" * 2


def test_a_server_that_closes_while_somebody_thinks(person, tmp_path: Path) -> None:
    with Stranger(GREETING, HELLO, b"421 too slow\r\n") as server:
        terminal = person(server.port)
        terminal.read("now: EHLO")
        terminal.enter("EHLO me")
        terminal.read("now: MAIL")
        terminal.enter("NOOP")
        terminal.read("S: 421 too slow")
        assert terminal.wait() == 0


def test_a_terminal_without_any_abilities(person) -> None:
    with Stranger(GREETING, HELLO, b"535 no\r\n", BYE) as server:
        terminal = person(server.port, TERM="dumb")
        terminal.read("S: 220 mail")
        terminal.read("# now: EHLO HELO")
        terminal.enter("EHLO me")
        terminal.read("S: 250 AUTH PLAIN LOGIN")
        terminal.read("# now: MAIL")
        terminal.enter(":auth bob")
        terminal.read("Sign in all the same")
        terminal.enter("y")
        terminal.read("password of bob: ")
        terminal.enter("tulip-secret-7")
        terminal.read("S: 535 no")
        terminal.enter("QUIT")
        terminal.wait()
        assert "tulip" not in terminal.raw
        assert "\x1b[3" not in terminal.raw
    assert b"AUTH PLAIN" in server.heard


def test_colours_only_where_they_are_wanted(person) -> None:
    with Stranger(GREETING, BYE) as server:
        coloured = person(server.port)
        coloured.read("now: ")
        coloured.enter(":quit")
        coloured.wait()
        plain = person(server.port, NO_COLOR="1")
        plain.read("now: ")
        plain.enter(":quit")
        plain.wait()
    assert "\x1b[32mS: 220" in coloured.raw
    assert "\x1b[32m" not in plain.raw
    assert "\x1b[36m" not in plain.raw
