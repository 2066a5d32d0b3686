"""An operator's own entries: they go before ours, and what is wrong with one is told with file, entry and reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glasspost.errors import ConfigurationError
from glasspost.explain.explainer import Explainer

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
[[entry]]
name = "acme-nobody"
server = "ACME"
pattern = '''nobody of that name'''
act = "sender"
retry = "changed"
[entry.en]
what = "ACME has no such person."
next = "Ask reception."
"""


def written(folder: Path, text: str, name: str = "own.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_an_own_entry_goes_before_ours(tmp_path: Path) -> None:
    line = "550 5.7.26 unauthenticated: nobody of that name"
    written(tmp_path, GOOD)
    told = Explainer([tmp_path]).explain(line)
    assert (told.by, told.name, told.server, told.what) == (
        "wording",
        "acme-nobody",
        "ACME",
        "ACME has no such person.",
    )
    assert Explainer().explain(line).name != "acme-nobody"


def test_a_language_that_an_entry_does_not_speak_is_replaced_by_english(tmp_path: Path) -> None:
    told = Explainer([written(tmp_path, GOOD)]).explain("nobody of that name", "zh")
    assert told.what == "ACME has no such person."
    assert told.act_words == "发件人"


def test_an_own_entry_for_a_code_takes_the_place_of_ours(tmp_path: Path) -> None:
    text = 'kind = "basic"\n[[entry]]\nname = "ours-550"\ncode = "550"\n[entry.en]\nwhat = "Call us."\n'
    assert Explainer([written(tmp_path, text)]).explain("550 no").what == "Call us."


def test_the_example_of_the_docs_works(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    explainer = Explainer([written(tmp_path, example)])
    told = explainer.explain("550 5.1.1 <ann@example.org>: nobody of that name at ACME", "zh")
    assert (told.name, told.server) == ("acme-unknown-person", "ACME")
    assert "前台" in told.what + told.next


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[[entry]]", "[[entry]", "Cannot be read"),
        ("[[entry]]", "[[entires]]", "A file has kind and [[entry]], nothing else."),
        ('"acme-nobody"', '"ACME nobody"', "small-letters-and-digits"),
        ("'''nobody of that name'''", "'''nobody (of'''", "no regular expression"),
        ("'''nobody of that name'''", "'''(?:nobody)?'''", "fits everything"),
        ("'''nobody of that name'''", "'''(a)?(?(1)b|c)'''", "condition"),
        ("pattern =", "patern =", '"patern" is no part of an entry'),
        ('"sender"', '"postman"', 'act is "postman"'),
        ('"changed"', '"maybe"', 'retry is "maybe"'),
        ('retry = "changed"', "retry = 3", "retry is not a text"),
        ("[entry.en]", "[entry.fr]", '"fr" is no part of an entry'),
        ("what =", "wat =", '"wat" is no part of [entry.en]'),
        ("what =", "#", "what is missing in [entry.en]"),
        ("\n[[entry]]", '\nkind = "rumour"\n[[entry]]', "rumour"),
        ("\n[[entry]]", '\nkind = "enhanced"\n[[entry]]', "code is missing"),
    ],
)
def test_what_is_wrong_is_told_with_file_entry_and_reason(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as error:
        Explainer([tmp_path])
    problem = error.value.problems[0]
    assert problem.file == str(path)
    assert reason in str(problem)
    if "entry" in problem.key:
        assert problem.line in (0, 2, 3)


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    written(tmp_path, GOOD.replace('"sender"', '"x"') + GOOD.replace('"changed"', '"y"'), "a.toml")
    written(tmp_path, GOOD, "b.toml")
    written(tmp_path, GOOD, "c.toml")
    (tmp_path / "d.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError) as error:
        Explainer([tmp_path])
    told = [str(problem) for problem in error.value.problems]
    assert len(told) == 4
    assert told[0].startswith(f"{tmp_path / 'a.toml'}:2: entry acme-nobody: act")
    assert "There is another entry of this name in" in told[-2] + told[-1]
    assert any("Is not UTF-8." in one for one in told)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Cannot be read: no such file"):
        Explainer([tmp_path / "nowhere.toml"])


def test_what_a_pattern_demands_counts_not_how_much_it_happens_to_cover(tmp_path: Path) -> None:
    """The wider pattern covers the whole line; the narrower one demands more letters, and wins."""
    wide = GOOD.replace("acme-nobody", "wide").replace("nobody of that name", "^550 .*end$")
    written(tmp_path, wide + GOOD)
    assert (
        Explainer([tmp_path]).explain("550 there is nobody of that name at all, this is the end").name == "acme-nobody"
    )
