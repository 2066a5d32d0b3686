"""A destination that comes back gets all the mail that waited for it, as fast as it takes it, and not faster.

The office is test_scheduler.py's: real store, the test's clock, a courier that plays a script.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from glasspost.mail.envelope import Outcome
from glasspost.outbound import claims, returning
from glasspost.outbound.lanes import FETCHED_BY, LONGEST_REST, Lane
from glasspost.outbound.retry import Schedule
from glasspost.storage import queue
from glasspost.storage.sqlite import rows
from outbound.test_scheduler import BUSY, MINUTE, REFUSED, SILENT, TAKEN, WAITS, Office, noticed
from outbound.test_scheduler import calm as calm
from outbound.test_scheduler import clock as clock
from outbound.test_scheduler import opened as opened
from stores import NOW

OpenOffice = Callable[..., Office]
HOUR = 3_600.0


async def out_of_reach(opened: OpenOffice, messages: int, minutes: int, **given: int) -> Office:
    """An office with so many messages for a destination that has been silent for so long."""
    office = opened(**given)
    office.carrier.answers["away.test"] = SILENT
    for number in range(messages):
        await office.take(f"r{number}@away.test", wait=True)
    await office.quiet()
    await office.passes_to(minutes * MINUTE)
    return office


@pytest.mark.usefixtures("calm")
async def test_what_waited_is_brought_at_once_when_the_destination_is_back(opened: OpenOffice) -> None:
    office = await out_of_reach(opened, 300, 60)
    assert max(entry.due for entry in office.waiting) > office.clock.now() + 20 * MINUTE
    back = office.clock.now()
    office.carrier.answers["away.test"] = TAKEN
    await office.passes(LONGEST_REST)
    assert office.store.counts() == {}
    times = [attempt.when for attempt in office.carrier.attempts if attempt.when >= back]
    assert len(times) == 300
    assert len(set(times)) == 1, "all of them at the moment at which the first was taken"


@pytest.mark.usefixtures("calm")
async def test_while_it_is_away_it_is_tried_each_quarter_of_an_hour_and_the_others_sleep(opened: OpenOffice) -> None:
    """The store is not written anew for each message at each end of a rest."""
    office = await out_of_reach(opened, 100, 10)
    attempts, settled = len(office.carrier.attempts), 0
    settle = office.spool.settle

    def counted(settlements, *rest):  # type: ignore[no-untyped-def]
        nonlocal settled
        settled += len(settlements)
        settle(settlements, *rest)

    office.spool.settle = counted  # type: ignore[method-assign]
    await office.passes(4 * HOUR)
    assert 12 <= len(office.carrier.attempts) - attempts <= 40
    assert settled < 100 * 8, "with each rest a write for each message would be 1,600"


@pytest.mark.usefixtures("calm")
async def test_a_server_that_is_back_is_tried_with_one_attempt_and_then_with_more(opened: OpenOffice) -> None:
    office = await out_of_reach(opened, 200, 60, concurrency=16)
    office.carrier.answers["away.test"] = TAKEN
    office.carrier.gate = asyncio.Event()
    office.carrier.most.clear()
    before = len(office.carrier.attempts)
    widths = []
    await office.later(LONGEST_REST)
    for _ in range(6):
        await office.until(lambda: office.carrier.under_way["mx:away.test"])
        await office.turns()
        widths.append(office.carrier.under_way["mx:away.test"])
        office.carrier.gate.set()
        gate, office.carrier.gate = office.carrier.gate, asyncio.Event()  # those under way may end, the next wait
        await asyncio.wait_for(gate.wait(), 1)
    assert widths[0] == 1
    assert widths == sorted(widths)
    assert widths[-1] == 16
    assert all(later <= 2 * earlier for earlier, later in pairwise(widths))
    office.carrier.gate.set()
    await office.quiet()
    assert len(office.carrier.attempts) - before == 200


@pytest.mark.usefixtures("calm")
async def test_a_server_that_only_says_later_is_not_sent_all_that_waits(opened: OpenOffice) -> None:
    office = await out_of_reach(opened, 200, 60)
    before = len(office.carrier.attempts)
    office.carrier.answers["away.test"] = BUSY
    await office.passes(LONGEST_REST)
    assert 1 <= len(office.carrier.attempts) - before < 40


@pytest.mark.usefixtures("calm")
async def test_a_refusal_for_good_is_a_sign_of_life(opened: OpenOffice) -> None:
    office = await out_of_reach(opened, 50, 60)
    office.carrier.answers["away.test"] = REFUSED
    await office.passes(LONGEST_REST)
    assert office.waiting == []


@pytest.mark.usefixtures("calm")
async def test_what_waits_for_a_reason_of_its_own_is_not_fetched(opened: OpenOffice) -> None:
    """A mailbox that is full there is not emptier because the server is back."""
    office = opened()
    office.carrier.answers["full@away.test"] = BUSY
    await office.take("full@away.test")
    await office.quiet()
    office.carrier.answers["away.test"] = SILENT
    for number in range(20):
        await office.take(f"r{number}@away.test", wait=True)
    await office.quiet()
    due = next(entry.due for entry in office.waiting if entry.recipient == "full@away.test")
    office.carrier.answers["away.test"] = TAKEN
    await office.passes(59)
    await office.passes(60)
    full = [attempt.when for attempt in office.carrier.attempts if attempt.recipients == ["full@away.test"]]
    assert full[0] == NOW and full[1] >= due


@pytest.mark.usefixtures("calm")
async def test_a_successor_fetches_what_its_predecessor_left(opened: OpenOffice) -> None:
    """The mark is in the store: a node that knows nothing of the past fetches at the first success."""
    office = await out_of_reach(opened, 100, 90)
    await office.stop()
    successor = opened(office.store, recover=True)
    await successor.quiet()
    assert successor.carrier.attempts == []
    await successor.take("new@away.test")
    await successor.quiet()
    assert len(successor.carrier.brought) == 101
    assert successor.store.counts() == {}


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("window", [1, 7, 40])
async def test_many_destinations_come_back_through_a_small_window(opened: OpenOffice, window: int) -> None:
    office = opened(window=window)
    for domain in range(6):
        office.carrier.answers[f"away{domain}.test"] = SILENT
    for number in range(120):
        await office.take(f"r{number}@away{number % 6}.test", wait=True)
    await office.quiet()
    await office.passes_to(60 * MINUTE)
    office.carrier.answers.clear()
    await office.passes(LONGEST_REST)
    await office.passes(1)
    assert office.store.counts() == {}
    assert len(set(office.carrier.brought)) == 120


@pytest.mark.usefixtures("calm")
async def test_one_that_falls_silent_again_rests_again(opened: OpenOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "FETCH_AT_ONCE", 10)
    office = await out_of_reach(opened, 100, 60)
    answers: list[Outcome | Exception] = [TAKEN] * 30 + [SILENT]
    office.carrier.answers["away.test"] = answers
    await office.passes(LONGEST_REST)
    assert len(office.waiting) == 70
    assert all(entry.state == "waiting" for entry in office.waiting)
    office.carrier.answers["away.test"] = TAKEN
    await office.passes(LONGEST_REST)
    assert office.store.counts() == {}


@pytest.mark.usefixtures("calm")
async def test_a_pile_that_falls_due_during_a_rest_stays_on_the_disk(opened: OpenOffice) -> None:
    """Whoever knows that the server is still away claims those who are to find out whether it is back, and no more."""
    office = await out_of_reach(opened, 3_000, 2)
    await office.stop()
    successor = opened(office.store, recover=True)
    successor.carrier.answers["away.test"] = SILENT
    await successor.passes(5 * MINUTE)  # all of it was due, and the node knew nothing yet
    claimed = 0
    claim = successor.spool.claim

    async def counted(*given):  # type: ignore[no-untyped-def]
        nonlocal claimed
        found = await claim(*given)
        claimed += len(found)
        return found

    successor.spool.claim = counted  # type: ignore[method-assign]
    await successor.passes(HOUR)
    assert 1 <= claimed < 3_000, "not all of them again with each rest"
    assert {entry.last_reply for entry in successor.waiting} == {str(SILENT.reply)}
    assert min(entry.due for entry in successor.waiting) > successor.clock.now()
    successor.carrier.answers["away.test"] = TAKEN
    await successor.passes(LONGEST_REST)
    assert successor.store.counts() == {}


@pytest.mark.usefixtures("calm")
async def test_a_destination_that_keeps_us_waiting_does_not_fill_the_window(opened: OpenOffice) -> None:
    """After a restart nobody knows that it is silent, until a call has been given up."""
    office = await out_of_reach(opened, 5_000, 2)
    await office.stop()
    successor = opened(office.store, recover=True, window=4_000)
    successor.carrier.gate = asyncio.Event()
    await successor.later(5 * MINUTE)  # all of it is due
    await successor.turns()
    assert 0 < successor.scheduler.in_hand <= 2_000
    assert (await successor.take("alice@else.test")).claim, "others are brought at once"
    successor.carrier.gate.set()
    await successor.passes(FETCHED_BY)
    assert successor.store.counts() == {}


@pytest.mark.usefixtures("calm")
async def test_who_waits_behind_a_rest_is_told_and_given_up_in_time(opened: OpenOffice) -> None:
    office = await out_of_reach(opened, 20, 4 * 60 + 10)
    await office.passes_to(9 * HOUR)
    assert sorted(office.actions()) == sorted(f"r{number}@away.test: delayed" for number in range(20))
    await office.passes_to(5 * 24 * HOUR + MINUTE)
    assert Counter(office.actions()) == Counter(
        f"r{number}@away.test: {what}" for number in range(20) for what in ("delayed", "failed")
    )
    assert office.waiting == []


@pytest.mark.parametrize(("breaths", "least"), [(0, claims.BREATH), (10**9, claims.LONGEST_BREATH)])
async def test_a_store_that_has_other_work_is_given_time_between_two_lots(
    opened: OpenOffice, monkeypatch: pytest.MonkeyPatch, breaths: int, least: float
) -> None:
    """The longer, the longer a lot takes."""
    monkeypatch.setattr(claims, "CLAIM_AT_ONCE", 10)
    monkeypatch.setattr(claims, "BREATHS", breaths)
    office = await out_of_reach(opened, 200, 2)
    lots: list[float] = []
    put_behind = office.spool.put_behind

    async def seen(*given):  # type: ignore[no-untyped-def]
        lots.append(office.clock.now())
        await office.spool.database.written(lambda _connection: None)  # others' work
        return await put_behind(*given)

    office.spool.put_behind = seen  # type: ignore[method-assign]
    now = office.clock.now()
    office.by_hand(lambda connection: len(rows(connection, "UPDATE recipient SET due = ? RETURNING id", (now,))))
    await office.passes(25)
    assert len(lots) >= 20
    assert all(least - 0.001 <= later - earlier < least + 0.5 for earlier, later in pairwise(lots[1:20]))


async def test_mail_that_is_brought_at_once_is_never_looked_for(opened: OpenOffice) -> None:
    """One look into an index for a new destination, and nothing for each message."""
    office = opened()
    looks: list[str] = []
    has_stranded = office.spool.has_stranded
    office.spool.has_stranded = lambda key: looks.append(key) or has_stranded(key)  # type: ignore[method-assign,func-returns-value]
    for number in range(50):
        await office.take(f"r{number}@away.test")
        await office.quiet()
    assert looks == ["mx:away.test"]


async def test_retry_all_does_not_try_a_dead_server_for_each_message(opened: OpenOffice) -> None:
    """The wish ends a rest that was there before it, not one that was found out since."""
    office = opened(window=20)
    office.carrier.answers["away.test"] = SILENT
    for number in range(200):
        await office.take(f"r{number}@away.test", wait=True)
    await office.quiet()
    before = len(office.carrier.attempts)
    office.by_hand(lambda connection: queue.retry(connection, queue.EVERYTHING, office.clock.now()))
    await noticed(office)
    await office.quiet()
    assert len(office.carrier.attempts) == before + 1


async def test_a_hand_on_one_message_leaves_other_destinations_at_rest(opened: OpenOffice) -> None:
    office = opened()
    office.carrier.answers["away.test"] = SILENT
    await office.take("a@away.test")
    await office.take("b@away.test")
    other = await office.take("c@else.test", wait=True)
    await office.quiet()
    before = len(office.carrier.attempts)
    assert other.recipients
    office.by_hand(lambda connection: queue.hold(connection, (0, 1)))
    office.by_hand(lambda connection: connection.execute("UPDATE recipient SET due = due").getconnection().changes())
    await noticed(office)
    late = await office.take("d@away.test")
    await office.quiet()
    assert not late.claim
    assert len(office.carrier.attempts) == before


# --- a lane's own arithmetic ------------------------------------------------------------------------------------


def test_the_first_who_is_not_tried_comes_back_first_the_others_later() -> None:
    lane, schedule = Lane("mx:away.test", None, 20), Schedule(WAITS, 0.0)
    turns = []
    for setback in range(5):
        now = NOW + setback * HOUR
        lane.fail(now, schedule, SILENT.reply)
        turns.append((lane.turn(schedule) - now, lane.turn(schedule) - now, lane.turn(schedule) - now))
    assert turns == [
        (60, 120, 120), (300, 600, 600), (900, 1800, 1800), (900, 2700, 2700), (900, 4500, 4500),
    ]  # fmt: skip


def test_a_lane_grows_with_what_it_takes_and_only_with_that() -> None:
    lane, schedule = Lane("mx:away.test", None, 4), Schedule(WAITS, 0.0)
    assert not lane.answer(took=True, most=4)
    lane.fail(NOW, schedule, SILENT.reply)
    assert (lane.width, lane.rests(NOW), lane.rests(NOW + 60)) == (1, SILENT.reply, None)
    assert not lane.answer(took=False, most=4)
    assert [lane.answer(took=True, most=4) for _ in range(4)] == [True, True, True, False]
    assert lane.width == 4
