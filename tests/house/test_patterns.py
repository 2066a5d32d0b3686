"""Regular expressions mean the same on every Python that runs this, Debian 12's included.

Python 3.11 before 3.11.5 loses its place when a possessive *group*, or an atomic one, fails half way through (its
issue gh-106052): what it matched is then too long. Debian 12 has 3.11.2. Possessive runs of a single character or set
are right everywhere.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
FILES = sorted((HOUSE / "src").rglob("*.py")) + sorted((HOUSE / "src").rglob("*.toml"))
_IN_PATTERN = re.compile(r"\)(?:[*+?]|\{\d*,?\d*\})\+|\(\?>")


def _risky(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if _IN_PATTERN.search(line)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_pattern_has_a_possessive_group(path: Path) -> None:
    assert _risky(path.read_text("utf-8")) == []


@pytest.mark.parametrize("pattern", [r"(?:ab)*+", r"(?:ab)++", r"(?:ab)?+", r"(?:ab){1,3}+", r"(?>ab)"])
def test_the_check_itself_sees_one(pattern: str) -> None:
    assert _risky(f'X = re.compile(r"{pattern}")')


def test_runs_and_plain_groups_are_no_risk() -> None:
    assert _risky(r'X = re.compile(r"(?:[a-z]++:.*+\n)*")') == []
