"""`glasspost replay`: a talk is held again. Every talk of tests/talks is, with the house it was written for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from entrances import PASSWORD, House
from glasspost.cli.main import main
from glasspost.cli.replay_player import Play, Player, make_body
from glasspost.cli.talk_connection import Place, Unreachable
from glasspost.protocol.comparison import How
from glasspost.protocol.talk import parse_talk
from glasspost.protocol.talk_script import read_script
from strangers import Stranger

TALKS = sorted((Path(__file__).parent.parent / "talks").glob("*.talk"))
SENT = """\
S: 220 mail.example.test ESMTP glasspost
C: EHLO laptop.example
S: 250 ...
C: AUTH PLAIN [masked]
S: 235 2.7.0 Welcome
# signed in as alice@example.test
C: MAIL FROM:<alice@example.test> SIZE=3000
S: 250 2.1.0 Sender OK
C: RCPT TO:<bob@example.test>
S: 250 2.1.5 Recipient OK
C: DATA
S: 354 ...
S: 250 2.0.0 Safe on disk as q02k3bjwtgjm
C: QUIT
S: 221 2.0.0 Bye
"""


async def replayed(text: str, port: int, how: How = How.TEXT, password: str | None = None, name: str = "") -> Play:
    lines = parse_talk(text)
    script = read_script(lines)
    player = Player(
        lines, script, Place("127.0.0.1", port), None,
        how=how, timing=False, patience=10, name=name or "".join(script.users[:1]), password=password,
    )  # fmt: skip
    return await player.play(tls=script.implicit_tls, verify=False)


@pytest.mark.parametrize("text", [path.read_text("utf-8") for path in TALKS], ids=[path.stem for path in TALKS])
async def test_every_talk_of_the_tests_is_played_without_a_difference(text: str, entrance) -> None:
    notes = [line.octets.decode()[7:] for line in parse_talk(text) if line.octets.startswith(b"setup: ")]
    ways = dict(note.split(" ", 1) for note in notes if note.startswith(("role ", "tls ", "xclient ")))
    settings = [note for note in notes if not note.startswith(("role ", "tls ", "xclient "))]
    house = await entrance(*settings, **ways)
    played = await replayed(text, house.port)
    assert not played.differences
    assert not played.left_out
    assert not played.facts


async def test_a_sign_in_that_was_masked_is_done_with_the_password_and_a_message_is_made_up(entrance) -> None:
    house: House = await entrance(role="submission")
    played = await replayed(SENT.replace("250 ...", "250-..."), house.port, How.CODES, password=PASSWORD)
    await house.written()
    assert not played.differences
    assert played.facts == ["the message is not in the talk: one of 3000 octets is made up in its place"]
    assert len(house.content(house.accepted[0])) == 3000


async def test_without_the_password_the_sign_in_is_left_out_and_that_is_said(entrance) -> None:
    house = await entrance(role="submission")
    played = await replayed(SENT, house.port, How.CODES)
    assert played.facts[0].startswith("left out: AUTH PLAIN [masked]: its password is not known")
    assert [found.asked for found in played.differences] == [
        "MAIL FROM:<alice@example.test> SIZE=3000",
        "RCPT TO:<bob@example.test>",
        "DATA",
    ]
    assert played.stopped
    assert house.is_empty


async def test_starttls_within_a_talk(entrance) -> None:
    house = await entrance(tls="starttls")
    talk = (
        "S: 220 ...\nC: EHLO me\nS: 250-...\nC: STARTTLS\nS: 220 2.0.0 ...\nC: EHLO me\nS: 250 ...\nC: QUIT\nS: 221 ..."
    )
    played = await replayed(talk, house.port, How.CODES)
    assert not played.differences
    assert played.answers == 5


async def test_nothing_is_sent_to_a_server_that_did_not_ask_for_the_message(entrance) -> None:
    house = await entrance()
    played = await replayed(SENT, house.port, How.CODES, password="x")
    assert played.differences[0].asked == "AUTH PLAIN [masked]"
    assert (played.stopped, played.left_out) == (
        "the talk ends here: what follows in it follows from another answer",
        9,
    )
    assert house.is_empty


async def test_a_server_that_leaves_early_differs_where_it_left() -> None:
    with Stranger(b"220 hi\r\n", b"250 hello\r\n") as server:
        played = await replayed(
            "S: 220 hi\nC: EHLO x\nS: 250 hello\nC: NOOP\nS: 250 ok\nC: QUIT\nS: 221 bye", server.port
        )
    assert [(found.asked, found.difference.said) for found in played.differences] == [("NOOP", "")]
    # Which of the two TCP says depends on whether our next line was under way already.
    assert played.stopped == "the server closed the connection" or "reset by peer" in played.stopped


async def test_octets_behind_the_yes_to_tls_end_the_replay() -> None:
    with Stranger(b"220 hi\r\n", b"250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n", b"") as server:
        played = await replayed(
            "S: 220 hi\nC: EHLO x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nC: EHLO x\nS: 250 x", server.port
        )
    assert played.unreachable
    assert "in the clear" in played.stopped


async def test_nobody_there() -> None:
    with pytest.raises(Unreachable):
        await replayed(SENT, 1)


@pytest.mark.parametrize("size", [*range(120), 4096, 100_003])
def test_a_made_up_body_has_its_size_and_is_a_body(size: int) -> None:
    body = make_body(size)
    assert len(body) == size
    assert body.endswith(b"\r\n") or size < 2
    assert not body.startswith(b".")
    assert b"\n." not in body
    assert body.count(b"\n") == body.count(b"\r\n") == body.count(b"\r")
    assert max(map(len, body.split(b"\r\n"))) <= 998


# --- the command ---------------------------------------------------------------------------------------------

Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(*replies)`: the port of a stranger."""
    with ExitStack() as strangers:
        yield lambda *replies: strangers.enter_context(Stranger(*replies)).port


TALK = "# shown in the docs\n\nS: 220 hi\nC: EHLO x\nS: 250-mail\nS: 250 SIZE 10\nC: QUIT\nS: 221 bye\n"
ANSWERS = (b"220 hi\r\n", b"250-mail\r\n250 SIZE 10\r\n", b"221 bye\r\n")


def test_a_talk_that_is_held_as_it_was_ends_with_0(serve: Serve, tmp_path: Path, capsys) -> None:
    (tmp_path / "a.talk").write_text(TALK)
    assert main(["replay", str(tmp_path / "a.talk"), "--to", f"127.0.0.1:{serve(*ANSWERS)}", "--diff"]) == 0
    assert capsys.readouterr().out == "# no answer of 3 differs\n"


def test_what_differs_is_named_with_its_place_and_the_exit_code_is_1(serve: Serve, tmp_path: Path, capsys) -> None:
    path = tmp_path / "a.talk"
    path.write_text(TALK)
    port = serve(ANSWERS[0], b"250-mail\r\n250 SIZE 20\r\n", ANSWERS[2])
    assert main(["replay", str(path), "--to", f"127.0.0.1:{port}", "--diff"]) == 1
    assert capsys.readouterr().out == (
        f"# {path}:6: EHLO x\n  - 250 SIZE 10\n  + 250 SIZE 20\n# 1 answer of 3 differs\n"
    )
    assert main(["replay", str(path), "--to", f"127.0.0.1:{port}"]) == 0, "codes alone are the same"
    assert "C: EHLO x\nS: 250-mail\nS: 250 SIZE 20\n" in capsys.readouterr().out


def test_json_says_the_same(serve: Serve, tmp_path: Path, capsys) -> None:
    path = tmp_path / "a.talk"
    path.write_text(TALK)
    port = serve(ANSWERS[0], b"550 no\r\n", ANSWERS[2])
    assert main(["replay", str(path), "--to", f"127.0.0.1:{port}", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["same"] is False
    assert told["differences"] == [{"line": 5, "asked": "EHLO x", "expected": "250-mail", "said": "550 no"}]


def test_timing_tells_how_long_answers_took_then_and_now(serve: Serve, tmp_path: Path, capsys) -> None:
    path = tmp_path / "a.talk"
    path.write_text(
        "S 0.010: 220 hi\nC 0.020: EHLO x\nS 1.500: 250-mail\nS 1.500: 250 SIZE 10\nC 1.500: QUIT\nS 1.501: 221 bye\n"
    )
    assert main(["replay", str(path), "--to", f"127.0.0.1:{serve(*ANSWERS)}", "--diff", "--timing"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.endswith("EHLO x")]
    assert rows[0][1] == "1.480"
    assert float(rows[0][2]) < 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.talk", "--to", "127.0.0.1:1"], 3, "neither a file nor a conversation"),
        (["c02k3bjwtgjm", "--to", "127.0.0.1:1", "--data", "nowhere"], 5, "nowhere"),
        (["q02k3bjwtgjm", "--to", "127.0.0.1:1"], 2, "is a message"),
        (["a.talk", "--to", "::1:25"], 2, "write HOST:PORT"),
        (["a.talk", "--to", "127.0.0.1:1"], 8, "connection refused"),
        (["prose.talk", "--to", "127.0.0.1:1"], 1, "is no talk: line 1"),
        (["silent.talk", "--to", "127.0.0.1:1"], 1, "lines of both sides"),
    ],
)
def test_what_cannot_be_played_is_told_in_a_line(
    arguments: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.talk").write_text(TALK)
    (tmp_path / "prose.talk").write_text("Once upon a time\n")
    (tmp_path / "silent.talk").write_text("# nobody says a word\n")
    assert main(["replay", *arguments]) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
