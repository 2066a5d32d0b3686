"""How `glasspost send` looks: on a terminal with colours and without, and the bar of a large message."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from glasspost.cli.send_view import View
from glasspost.cli.send_words import _WORDS, say, seconds
from glasspost.mail.reply import read_reply
from glasspost.outbound.sights import Gone, Heard, Moving, Said
from glasspost.protocol.smtp_client_events import Step


def terminal(**parts: object) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, highlight=False, **parts)  # type: ignore[arg-type]


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def show_refusal(console: Console) -> str:
    view = View(console, "en")
    view.show(Said(0.1, (b"RCPT TO:<bob@example.org>",)))
    line = "550 5.1.1 nobody"
    view.show(Heard(0.2, (line.encode(),), read_reply([line]), Step.RCPT, "RCPT TO:<bob@example.org>", 0.1))
    return text(console)


def test_client_and_server_have_colours_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = show_refusal(terminal(color_system="standard"))
    assert "\x1b[36mRCPT TO:<bob@example.org>" in shown  # cyan
    assert "\x1b[31m550 5.1.1 nobody" in shown  # red


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = show_refusal(terminal())
    assert "\x1b[36m" not in shown and "\x1b[31m" not in shown
    assert "C: " in shown and "S: " in shown


def test_a_refusal_that_means_the_same_is_explained_once() -> None:
    console = Console(file=io.StringIO(), width=80)
    view = View(console, "en")
    for name in ("bob", "eve"):
        line = f"550 5.1.1 no {name} here"
        view.show(Heard(0.2, (line.encode(),), read_reply([line]), Step.RCPT, f"RCPT TO:<{name}@example.org>", 0.1))
    assert text(console).count("There is no such mailbox") == 1
    assert "The same as above." in text(console)


def test_a_large_message_has_a_bar_on_a_terminal_and_nowhere_else() -> None:
    for console, bar in ((terminal(), True), (Console(file=io.StringIO(), width=80), False)):
        view = View(console, "en")
        for octets in range(0, 1_000_000, 100_000):
            view.show(Moving(0.1, octets, 1_000_000))
        view.show(Gone(0.2, 1_000_000, 0.1))
        assert ("sending" in text(console)) is bar
        assert "message sent: 1000000 octets in 100 ms" in text(console)


@pytest.mark.parametrize(
    ("took", "shown"),
    [(0.0, "0.0 ms"), (0.0004, "0.4 ms"), (0.00994, "9.9 ms"), (0.00996, "10 ms"), (0.9994, "999 ms"),
     (0.9996, "1.0 s"), (9.96, "10 s"), (75.2, "75 s"), (3599.0, "3599 s")],
)  # fmt: skip
def test_spans_fit_their_column(took: float, shown: str) -> None:
    assert seconds(took) == shown
    assert len(shown) <= 7


@pytest.mark.parametrize("key", _WORDS)
def test_every_word_is_there_in_both_languages_with_the_same_places(key: str) -> None:
    import string

    english, chinese = (_WORDS[key][0], _WORDS[key][1])
    places = [{name for _, name, _, _ in string.Formatter().parse(one) if name} for one in (english, chinese)]
    assert english and chinese and places[0] == places[1]
    assert say(key, "zh", **dict.fromkeys(places[0], "x")) == chinese.format(**dict.fromkeys(places[0], "x"))
