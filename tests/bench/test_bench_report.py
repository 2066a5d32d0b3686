"""What the bench says of its figures: medians, ratios round by round, targets, faults; and where on a page."""

from __future__ import annotations

from pathlib import Path

import pytest

import pages
from course import Column, Course, Extent, Workload
from meter import Sample
from report import Report
from server import Server
from targets import TARGETS, Target

ROOT = Path(__file__).resolve().parents[2]
REUSED = "10 KB, 20 sessions, reuse"


class Something(Workload):
    name = "accept"
    title = "Something"
    method = "{messages} messages, bursts of {seconds:g} s."
    columns = (Column("rate", "messages/s"), Column("cpu", "CPU", 3), Column("never", "never seen"))

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        raise NotImplementedError


def report(**peers: list[Sample]) -> Report:
    return Report(Something(), {REUSED: peers}, Extent(), {"Date": "a day"}, list(peers))


def rates(*values: float) -> list[Sample]:
    return [Sample({"rate": value, "cpu": 1 / value}) for value in values]


def test_medians_stand_with_their_range() -> None:
    assert f"| {REUSED} | glasspost | 200 [100-900] |" in report(glasspost=rates(100, 900, 200)).markdown()


def test_one_round_stands_alone() -> None:
    text = report(glasspost=rates(100)).markdown()
    assert f"| {REUSED} | glasspost | 100 | 0.010 |" in text
    assert "One round." in text


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that is half as fast in one round changes no ratio."""
    text = report(glasspost=rates(400, 200, 400), postfix=rates(100, 50, 100)).markdown()
    assert f"| {REUSED}: glasspost | postfix | 4.00 [4.00-4.00] | 0.25 [0.25-0.25] |" in text


def test_a_column_without_any_figure_is_left_out() -> None:
    assert "never seen" not in report(glasspost=rates(1)).markdown()


def test_targets_are_met_or_not() -> None:
    text = report(glasspost=rates(300), postfix=rates(100), sink=rates(400)).markdown()
    assert f"| {REUSED} | rate / postfix's | at least 4 | 3.00 | **no** |" in text
    assert f"| {REUSED} | rate / sink's | at least 0.5 | 0.75 | yes |" in text


def test_a_round_without_a_figure_is_told_and_spoils_no_other() -> None:
    found = report(glasspost=[*rates(100), Sample(fault="sent 5, stored 4")], postfix=rates(100, 100))
    assert found.faults == [f"accept: {REUSED}, glasspost, round 2: sent 5, stored 4"]
    assert f"| {REUSED} | glasspost | 100 |" in found.markdown()
    assert "DISAGREE" in found.markdown()
    assert "All counts agree." in report(glasspost=rates(1)).markdown()


def test_our_own_figure_may_be_the_target() -> None:
    target = Target("idle", "plain", "kib", "KiB", 8.0, at_most=True)
    found = {"plain": {"glasspost": [Sample({"kib": 5.0})], "postfix": [Sample({"kib": 1200.0})]}}
    assert target.values(found) == [5.0]
    assert target.met([5.0])
    assert not target.met([9.0])


def test_every_target_is_of_a_workload_that_has_such_a_figure() -> None:
    from run import WORKLOADS

    for target in TARGETS:
        workload = WORKLOADS[target.workload]
        assert target.figure in {column.figure for column in workload.columns}, target
        assert not target.peer or target.peer in workload.peers, target


def test_every_workload_has_a_place_on_the_page() -> None:
    from run import WORKLOADS

    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in [*WORKLOADS, "profile"]:
        begin, end = pages.marks(name)
        assert text.count(begin) == text.count(end) == 1, name
    readme = (ROOT / "bench" / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in readme for name in WORKLOADS)


def test_only_what_is_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\nwords\n\n<!-- bench: x -->\nold\n<!-- end: x -->\n\nmore words\n")
    pages.put(page, "x", "new\n")
    assert page.read_text() == "# A\n\nwords\n\n<!-- bench: x -->\n\nnew\n\n<!-- end: x -->\n\nmore words\n"


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("somebody's words\n")
    with pytest.raises(pages.NoMarks):
        pages.put(page, "x", "new")
    assert page.read_text() == "somebody's words\n"


def test_a_new_page_gets_one_table_after_the_other(tmp_path: Path) -> None:
    page = tmp_path / "new.md"
    pages.put(page, "x", "one")
    pages.put(page, "y", "two")
    assert page.read_text().index("one") < page.read_text().index("two")
