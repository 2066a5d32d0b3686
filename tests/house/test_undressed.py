"""docs/undressed says what happens: every chapter is performed again, with real nodes, and must say the same.

How a chapter is performed: docs/undressed/perform.py. Here: that no chapter is stale, that the performance can fail,
that both languages have the same chapters and talks, and that a chapter has what a chapter must have.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from glasspost.protocol.talk import CLIENT, SERVER, parse_talk

FOLDER = Path(__file__).parents[2] / "docs" / "undressed"
TALK = re.compile(r"^(?:(<!-- [^\n]+ -->)\n\n?)?```talk\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def performer() -> ModuleType:
    """docs/undressed/perform.py, which is no package."""
    spec = importlib.util.spec_from_file_location("perform", FOLDER / "perform.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PERFORM = performer()
CHAPTERS: list[Path] = PERFORM.CHAPTERS
ENGLISH = [path for path in CHAPTERS if path.parent.name == "en"]


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def talks(path: Path) -> list[tuple[str, str]]:
    """The talks of a chapter: the comment in front, and the talk."""
    return TALK.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CHAPTERS, ids=name_of)
async def test_a_chapter_shows_what_is_said(path: Path) -> None:
    text = PERFORM.read(path)
    assert await PERFORM.performed(text) == text, "run: python docs/undressed/perform.py"


@pytest.mark.parametrize(
    ("line", "changed"),
    [("S: 220 mail.example.org ESMTP glasspost", "S: 220 welcome"), ("S: 221 2.0.0 Bye", "S: 221 2.0.0 Bye\nS: 250 x")],
)
async def test_a_stale_chapter_is_noticed(line: str, changed: str) -> None:
    text = "<!-- held: mx -->\n```talk\nS: 220 mail.example.org ESMTP glasspost\nC: QUIT\nS: 221 2.0.0 Bye\n```\n"
    stale = text.replace(line, changed)
    assert stale != text
    assert await PERFORM.performed(stale) == text
    assert await PERFORM.performed(text) == text


async def test_a_stale_explanation_is_noticed() -> None:
    (text,) = ["```\n$ glasspost explain 550\n  550: all is well\n```\n"]
    assert "all is well" not in await PERFORM.performed(text)


def test_what_differs_from_run_to_run_is_no_change() -> None:
    assert PERFORM.form("q02k35gvvga5 127.0.0.1:4711") == PERFORM.form("q02k353f7kn0 127.0.0.1:25")
    assert PERFORM.form("until 2036-11-20") == PERFORM.form("until 2036-11-21"), "a chapter outlives its day"
    assert PERFORM.form("有效期至 2036-11-20") == PERFORM.form("有效期至 2036-11-21")
    assert PERFORM.form("550 5.1.1 no") != PERFORM.form("550 5.1.2 no")


@pytest.mark.parametrize("path", CHAPTERS, ids=name_of)
def test_every_talk_of_a_chapter_is_performed(path: Path) -> None:
    assert talks(path)
    for comment, talk in talks(path):
        assert re.fullmatch(r"<!-- (held|recorded|sent): .+ -->", comment), f"nobody performs this: {talk}"


@pytest.mark.parametrize("path", ENGLISH, ids=name_of)
def test_both_languages_have_the_same_talks(path: Path) -> None:
    def spoken(page: Path) -> list[tuple[str, list[str]]]:
        found = []
        for comment, talk in talks(page):
            lines = [line for line in parse_talk(talk) if line.who in (CLIENT, SERVER)]
            found.append((comment, [PERFORM.form(line.octets.decode()) for line in lines]))
        return found

    assert spoken(path) == spoken(FOLDER / "zh" / path.name)


def test_both_languages_have_the_same_chapters_and_the_contents_has_them_all() -> None:
    contents = (FOLDER / "README.md").read_text(encoding="utf-8")
    names = {path.name for path in ENGLISH}
    assert names == {path.name for path in CHAPTERS if path.parent.name == "zh"}
    for name in names:
        assert f"](en/{name})" in contents
        assert f"](zh/{name})" in contents


@pytest.mark.parametrize("path", CHAPTERS, ids=name_of)
def test_a_chapter_is_short_and_has_its_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert 60 <= text.count("\n") <= 160
    wanted = ("Try it yourself", "What can go wrong") if path.parent.name == "en" else ("自己动手", "可能出的错")
    for heading in wanted:
        assert f"\n## {heading}\n" in text
    assert "$ glasspost explain " in text
