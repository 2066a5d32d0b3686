"""What the house notes itself has Chinese: every wording in its code, none forgotten, and none put where it is not."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import glasspost
from glasspost.explain.notes import noted, wordings
from glasspost.mail import reply as replies
from glasspost.mail.reply import Reply
from glasspost.protocol.smtp_client_events import Step

HOUSE = Path(glasspost.__file__).parent
ROOMS = ("inbound", "outbound", "retrieval", "protocol")
NOTING = ("note", "because", "Trouble", "NoSuchUser", "RspamdDown", "FilterDown")
# Of these all words are filled in: an error's, an operator's rule's; what became of a POP3 reader's message.
FOREIGN = {"X1", "X1: X3", "message X2 X4"}


def said_in(path: Path) -> Iterator[str]:
    """The text of each note in a file, with X1, X2... where something is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in NOTING:
            yield from _texts(node.args[0])


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = [
            str(part.value) if isinstance(part, ast.Constant) else f"X{number}"
            for number, part in enumerate(node.values, 1)
        ]
        yield "".join(parts)


NOTES = sorted({text for room in ROOMS for path in (HOUSE / room).rglob("*.py") for text in said_in(path)} - FOREIGN)
OURS = [
    value
    for name, value in vars(replies).items()
    if isinstance(value, Reply) and list(vars(replies)).index(name) >= list(vars(replies)).index("NO_ANSWER")
]


def test_there_are_notes_to_look_at() -> None:
    assert len(NOTES) > 70
    assert len(OURS) > 20


@pytest.mark.parametrize("text", NOTES)
def test_every_note_has_chinese(text: str) -> None:
    told = noted(text, "zh")
    assert told != text
    assert noted(text, "en") == text
    for word in text.replace(":", " ").replace(";", " ").replace(",", " ").split():
        if word.startswith("X") and word[1:].isdigit():
            assert word in told, f"{word} is lost in {told}"


@pytest.mark.parametrize("reply", OURS, ids=lambda reply: reply.text[:40])
def test_what_is_said_of_a_server_has_chinese_with_its_codes(reply: Reply) -> None:
    text = str(reply).format_map({name: name.upper() for _, name, _, _ in string.Formatter().parse(reply.text) if name})
    told = noted(text, "zh")
    assert told != text
    assert told.startswith(f"{reply.code} {reply.enhanced} ")


@pytest.mark.parametrize("step", Step)
def test_when_a_server_was_lost_has_chinese(step: Step) -> None:
    assert noted(f"mx.example closed the connection {step.value}", "zh").isascii() is False
    assert noted(step.value, "zh") != step.value


@pytest.mark.parametrize(
    "said",
    [
        "550 5.7.1 refused by policy",
        "450 4.2.0 timed out after 30 s",
        "550 5.1.1 <a@example.org>: no route",
        "250 2.0.0 accepted q02k3p6aq00c",
    ],
)
def test_what_another_server_said_stays_as_it_said_it(said: str) -> None:
    assert noted(said, "zh") == said


@pytest.mark.parametrize(("english", "chinese"), wordings().items())
def test_a_wording_and_its_chinese_have_the_same_places(english: str, chinese: str) -> None:
    def places(text: str) -> set[str]:
        return {name.rstrip("*") for _, name, _, _ in string.Formatter().parse(text) if name}

    assert places(english) == places(chinese)
    assert not chinese.isascii()
