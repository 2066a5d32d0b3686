"""The account: each rule of it, broken once by made-up evidence (torture/account.py)."""

from __future__ import annotations

from collections import Counter

import pytest

from glasspost.torture.account import Balance, Evidence, balance
from glasspost.torture.load import Fate, Sent

ONE, TWO = "one@steady.test", "box+two@here.test"


def evidence(fate: Fate = Fate.ACKNOWLEDGED) -> Evidence:
    """One message to ONE and TWO, both delivered."""
    return Evidence(sent=[Sent([ONE, TWO], fate, life=3)], relayed=Counter({ONE: 1}), deposited=Counter({TWO: 1}))


def faults(found: Evidence) -> dict[str, list[str]]:
    sheet = balance(found, Counter())
    there = {name: which for name, which in sheet.faults.items() if which}
    assert sheet.balances == (not there)
    return there


def test_delivered_bounced_or_queued_balances() -> None:
    found = evidence()
    assert faults(found) == {}
    found.relayed.clear()
    found.bounced[ONE] = 1
    assert faults(found) == {}
    found.bounced.clear()
    found.queued.add(ONE)
    assert faults(found) == {}


def test_acknowledged_and_nowhere_is_lost() -> None:
    found = evidence()
    found.relayed.clear()
    assert faults(found) == {"acknowledged and lost": [ONE]}


def test_one_more_delivery_for_each_doubt() -> None:
    found = evidence()
    found.relayed[ONE] = 3
    found.doubts[ONE] = 1
    assert faults(found) == {"came more often than there are doubts": [f"{ONE}: 3 times, doubts: 1"]}
    found.doubts[ONE] = 2
    assert faults(found) == {}


def test_no_doubt_excuses_a_second_copy_in_a_mailbox_here() -> None:
    found = evidence()
    found.deposited[TWO] = 2
    found.doubts[TWO] = 5
    assert faults(found) == {"twice in a mailbox here": [TWO]}


def test_a_bounce_of_what_was_delivered_needs_a_doubt() -> None:
    found = evidence()
    found.bounced[ONE] = 1
    assert faults(found) == {"delivered and bounced, without a doubt": [ONE]}
    found.doubts[ONE] = 1
    assert faults(found) == {}
    found.bounced[ONE] = 2
    assert faults(found) == {"bounced twice": [ONE]}


@pytest.mark.parametrize(
    ("fate", "fault"),
    [(Fate.UNFINISHED, "arrived, and was never sent whole"), (Fate.REFUSED, "arrived, and was refused")],
)
def test_what_was_not_taken_may_not_be_there(fate: Fate, fault: str) -> None:
    found = evidence(fate)
    assert faults(found) == {fault: [f"{ONE} (life 3)", f"{TWO} (life 3)"]}
    found.broken_lives.add(3)
    assert bool(faults(found)) == (fate is Fate.UNFINISHED), "a broken store excuses what it refused, and no more"


def test_without_an_answer_it_may_be_there_or_not() -> None:
    found = evidence(Fate.UNANSWERED)
    assert faults(found) == {}
    found.relayed.clear()
    assert faults(found) == {}
    found.deposited[TWO] = 2
    assert faults(found) == {"twice in a mailbox here": [TWO]}


def test_what_nobody_sent_is_noticed() -> None:
    found = evidence()
    found.queued.add("stranger@steady.test")
    assert faults(found) == {"arrived, and was sent by nobody": ["stranger@steady.test"]}


def test_damage_and_misconduct_are_faults() -> None:
    found = evidence()
    found.damaged.add(ONE)
    found.store_faults.append("a message half stored: 7")
    found.conduct.append("life 2: did not end in time")
    assert set(faults(found)) == {"arrived damaged", "the store is not sound", "the node did what it should not"}


def test_the_sheet_is_for_people_and_for_programs() -> None:
    found = evidence()
    found.relayed.clear()
    sheet: Balance = balance(found, Counter({"node killed": 2}))
    text = str(sheet)
    assert "  node killed                                         2" in text
    assert "  LOST                                              1" in text
    assert f"      {ONE}" in text
    assert text.endswith("IT DOES NOT BALANCE.")
    data = sheet.as_json()
    assert (data["balances"], data["strokes"], data["faults"]["acknowledged and lost"]) == (
        False,
        {"node killed": 2},
        [ONE],
    )


def test_a_long_list_of_faults_is_cut_on_paper_only() -> None:
    found = Evidence(sent=[Sent([f"r{n}@steady.test" for n in range(30)], Fate.ACKNOWLEDGED)])
    sheet = balance(found, Counter())
    assert "      and 20 more" in str(sheet)
    assert len(sheet.as_json()["faults"]["acknowledged and lost"]) == 30
