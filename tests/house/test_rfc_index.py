"""docs/rfc.md and the code agree on which section of which RFC is where: read in both directions.

A citation is `RFC 5321 §4.4`, or `RFC 5321 §4.4, §6.3`, `RFC 1939 §5 and §7`, or an RFC's number alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "glasspost"
PAGE = ROOT / "docs" / "rfc.md"

SECTION = r"§(\d+(?:\.\d+)*)"
CITATION = re.compile(rf"RFC (\d{{3,5}})((?:(?:, | and | to | )?{SECTION})*)")


@dataclass(frozen=True)
class Row:
    number: str
    section: str  # "4.1.1.1", "6.1-6.4", or "all"
    status: str
    files: tuple[str, ...]

    def covers(self, section: str) -> bool:
        if self.section == section:
            return True
        low, _, high = self.section.partition("-")
        return bool(high) and parts(low) <= parts(section) <= parts(high)


def parts(section: str) -> tuple[int, ...]:
    return tuple(int(part) for part in section.split("."))


def citations(text: str) -> set[tuple[str, str]]:
    """(number, section) of everything a file cites; the section is empty where only the RFC is named."""
    text = re.sub(r"\n\s*(?:#|--)? ?", " ", text)  # a citation may be broken over two lines of a comment
    found = set()
    for match in CITATION.finditer(text):
        sections = re.findall(SECTION, match[2])
        found |= {(match[1], section) for section in sections or [""]}
    return found


def index() -> list[Row]:
    rows = []
    number = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        heading = re.match(r"## RFC (\d+): ", line)
        if heading:
            number = heading[1]
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| ") else []
        if len(cells) == 4 and cells[0] != "section":
            section = cells[0].removeprefix("§")
            rows.append(Row(number, section, cells[2], tuple(re.findall(r"`([^`]+)`", cells[3]))))
    return rows


INDEX = index()
FILES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".sql"))
CITED = {path: citations(path.read_text(encoding="utf-8")) for path in FILES}


def test_citations_are_read_in_every_form() -> None:
    text = "RFC 5321 §4.4, §6.3. (RFC 1939 §5 and §7) RFC 3461 §4.1.\n# RFC\n# 6531 RFC 2045 §2.7,\n# §2.8 RFC 821"
    assert citations(text) == {
        ("5321", "4.4"), ("5321", "6.3"), ("1939", "5"), ("1939", "7"), ("3461", "4.1"), ("6531", ""),
        ("2045", "2.7"), ("2045", "2.8"), ("821", ""),
    }  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_a_file_cites_is_in_the_index(path: Path) -> None:
    for number, section in CITED[path]:
        rows = [row for row in INDEX if row.number == number and (not section or row.covers(section))]
        assert rows, f"docs/rfc.md has no row for RFC {number}{section and f' §{section}'}"
        assert any(row.status in ("Yes", "Partial") for row in rows), (
            f"RFC {number} §{section} is cited, and not there?"
        )


@pytest.mark.parametrize("row", INDEX, ids=lambda row: f"{row.number}-{row.section}")
def test_a_row_names_files_that_cite_its_rfc(row: Row) -> None:
    assert row.status in ("Yes", "Partial", "No")
    assert bool(row.files) == (row.status != "No"), "there, and nowhere?"
    for name in row.files:
        path = PACKAGE / name
        assert path in CITED, f"{name} does not exist"
        assert any(number == row.number for number, _ in CITED[path]), f"{name} does not cite RFC {row.number}"


@pytest.mark.parametrize("number", sorted({row.number for row in INDEX}))
def test_no_section_has_two_rows(number: str) -> None:
    sections = [row.section for row in INDEX if row.number == number]
    assert len(sections) == len(set(sections))
