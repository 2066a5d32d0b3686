"""The torture itself: it balances for the node as it is, and finds every bug that is planted in it.

A test that cannot fail proves nothing: so each rule of the account is broken here once by a real node.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from glasspost.cli.main import main
from glasspost.torture.account import Balance
from glasspost.torture.campaign import Campaign, Plan

PLANTED = str(Path(__file__).with_name("planted.py"))
LIMIT = 300  # seconds a short torture may take on a busy machine
CUTS = ("power cut at any moment", "power cut in the middle of a sync", "power cut right after a sync")


async def tortured(
    folder: Path, *node: str, kills: int = 4, seconds: float = 60, strokes: tuple[str, ...] = CUTS
) -> Balance:
    async with asyncio.timeout(LIMIT):
        plan = Plan((sys.executable, *node), folder, kills, seconds, 7, strokes=strokes, messages=(10, 40), pace=10)
        return await Campaign(plan).run()


async def test_the_node_as_it_is_bears_it(tmp_path: Path) -> None:
    sheet = await tortured(tmp_path, "-m", "glasspost.cli.torture_node", kills=4, strokes=(*CUTS, "node killed"))
    assert sheet.balances, str(sheet)
    assert sheet.counts["acknowledged (250 after the dot)"] > 0
    assert sheet.counts["  delivered to a next hop"] > 0
    assert sum(sheet.strokes.values()) >= 4


@pytest.mark.parametrize(
    ("bug", "kills", "seconds", "strokes", "fault"),
    [
        ("say_250_before_the_commit", 5, 60, CUTS, "acknowledged and lost"),
        ("commit_without_fsync", 2, 60, CUTS, "acknowledged and lost"),
        ("settle_without_the_report", 4, 60, ("node killed",), "acknowledged and lost"),
        ("forget_that_it_may_have_been_under_way", 12, 60, ("node killed",), "came more often than there are doubts"),
        ("believe_the_disk_again", 1, 5, ("fsync failed",), "the node did what it should not"),
    ],
)
async def test_a_planted_bug_is_found(
    tmp_path: Path, bug: str, kills: int, seconds: float, strokes: tuple[str, ...], fault: str
) -> None:
    sheet = await tortured(tmp_path, PLANTED, bug, kills=kills, seconds=seconds, strokes=strokes)
    assert sheet.faults[fault], str(sheet)
    assert not sheet.balances


def test_a_kill_alone_does_not_find_a_commit_without_fsync(tmp_path: Path) -> None:
    """What the kernel has survives a kill: that is why the power is cut as well."""
    sheet = asyncio.run(tortured(tmp_path, PLANTED, "commit_without_fsync", kills=2, strokes=("node killed",)))
    assert not sheet.faults["acknowledged and lost"], str(sheet)


def test_the_command_wants_a_folder_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mail").write_text("precious")
    assert main(["torture", "--folder", str(tmp_path)]) == 5
    assert "is not empty; name a folder of its own with --folder" in capsys.readouterr().err


def test_a_stroke_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["torture", "--folder", str(tmp_path / "new"), "--stroke", "tickling"]) == 3
    assert 'there is no stroke "tickling"; there are: node killed, ' in capsys.readouterr().err
