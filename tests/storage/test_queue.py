"""The queue under a postmaster's hands, while a node runs and while none does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from glasspost.storage import queue
from glasspost.storage.bodies import queries
from glasspost.storage.database import Database
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Queued, Settlement
from glasspost.storage.sqlite import rows
from stores import LEASE, NOW, Store, accepted, intake_for, settled

EVERYTHING = queue.EVERYTHING


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def spool(store: Store) -> Spool:
    return store.node()


@pytest.fixture
async def three(store: Store, spool: Spool) -> Queued:
    """One recipient of each state, in this order: claimed (it is the one returned), waiting, held."""
    await accepted(spool, intake_for(spool, "claimed@one.test"))
    (claimed,) = await spool.claim(NOW, 1)
    later = intake_for(spool, "waiting@two.test")
    later.due = NOW + 600
    await accepted(spool, later)
    held = await accepted(spool, intake_for(spool, "held@one.test"))
    within = queue.span(held.queue_id)
    assert within is not None
    assert store.by_hand().apply(lambda connection: queue.hold(connection, within)) == 1
    return claimed


@pytest.fixture
def hand(store: Store, three: Queued) -> Database:
    return store.by_hand()


def states(hand: Database) -> dict[str, str]:
    return {entry.recipient.partition("@")[0]: entry.state for entry in queue.entries(hand.reader)}


# --- looking ------------------------------------------------------------------------------------------------


async def test_a_list_tells_all_that_is_known(spool: Spool, hand: Database, three: Queued) -> None:
    settlement = Settlement(three, NOW + 60, NOW, "451 4.4.1 no answer", "mx.one.test", "c0000000000b", doubtful=True)
    await settled(spool, [settlement])
    first, second, third = queue.entries(hand.reader)
    assert first == queue.Entry(
        queue_id=three.message.queue_id, number=1, recipient="claimed@one.test", domain="one.test", state="waiting",
        due=NOW + 60, attempts=1, last_attempt=NOW, last_reply="451 4.4.1 no answer", last_host="mx.one.test",
        last_conversation="c0000000000b", doubtful=1, arrived=NOW, sender="anna@example.org",
        size=three.message.size, conversation="c0000000000a", wish="",
    )  # fmt: skip
    assert (second.state, second.due, second.attempts, second.last_attempt) == ("waiting", NOW + 600, 0, 0)
    assert third.state == "held"
    assert [entry.recipient for entry in queue.entries(hand.reader, limit=2)] == [
        "claimed@one.test",
        "waiting@two.test",
    ]
    assert [doubt.reason for doubt in queue.doubts(hand.reader)] == ["451 4.4.1 no answer"]


def test_a_summary_by_domain_and_state(hand: Database) -> None:
    assert sorted((pile.domain, pile.state, pile.count, pile.next_due) for pile in queue.summary(hand.reader)) == [
        ("one.test", "held", 1, NOW),
        ("one.test", "under way", 1, NOW + LEASE),
        ("two.test", "waiting", 1, NOW + 600),
    ]
    assert queue.count(hand.reader) == 3


async def test_one_recipient_of_many_can_be_named(spool: Spool, hand: Database) -> None:
    intake = await accepted(spool, intake_for(spool, "a@x.test", "b@x.test", "c@x.test"))
    for text, expected in {
        intake.queue_id: ["a@x.test", "b@x.test", "c@x.test"],
        f" {intake.queue_id.upper()}": ["a@x.test", "b@x.test", "c@x.test"],
        f"{intake.queue_id}#2": ["b@x.test"],
        f"{intake.queue_id}#9": [],
    }.items():
        within = queue.span(text)
        assert within is not None
        found = queue.entries(hand.reader, within)
        assert [entry.recipient for entry in found] == expected
        assert all(f"{entry.queue_id}#{entry.number}" for entry in found)


async def test_a_long_queue_is_read_page_by_page(spool: Spool, hand: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "PAGE", 4)
    for number in range(7):
        await accepted(spool, intake_for(spool, f"a{number}@x.test", f"b{number}@x.test"))
    whole = queue.entries(hand.reader)
    assert len({(entry.queue_id, entry.number) for entry in whole}) == len(whole) == 17
    for limit in range(1, 19):
        assert queue.entries(hand.reader, limit=limit) == whole[:limit]


@pytest.mark.parametrize("query", ["queue_summary", "queue_of_domain", "queue_count"])
def test_a_deep_queue_is_counted_in_its_indexes(hand: Database, query: str) -> None:
    """Nothing walks over the table, whose rows lie scattered over gigabytes of other people's mail."""
    values = ("one.test",) if query == "queue_of_domain" else ()
    plan = [step[3] for step in rows(hand.reader, "EXPLAIN QUERY PLAN " + getattr(queries, query), values)]
    looks = [step for step in plan if " recipient" in step]
    assert looks and all("INDEX recipient_pile" in step or "INDEX recipient_due" in step for step in looks), plan
    assert all("COVERING" in step for step in looks if "recipient_pile" in step), plan


@pytest.mark.parametrize("text", ["", "q", "c0000000000a", "q0000000000a#", "q0000000000a#0", "q0000000000a#x", "#1"])
def test_what_names_nothing(text: str) -> None:
    assert queue.span(text) is None


# --- the verbs, on each state -------------------------------------------------------------------------------


def test_hold(hand: Database) -> None:
    assert hand.apply(lambda connection: queue.hold(connection, EVERYTHING)) == 2
    assert set(states(hand).values()) == {"held"}


async def test_held_ones_are_not_claimed_however_long(spool: Spool, hand: Database) -> None:
    hand.apply(lambda connection: queue.hold(connection, EVERYTHING))
    assert spool.next_due() is None
    assert await spool.claim(NOW + 10**9, 10) == []


async def test_release(spool: Spool, hand: Database) -> None:
    assert hand.apply(lambda connection: queue.release(connection, EVERYTHING, NOW + 1)) == 1
    assert states(hand) == {"claimed": "under way", "waiting": "waiting", "held": "waiting"}
    assert [str(one.address) for one in await spool.claim(NOW + 1, 10)] == ["held@one.test"]


async def test_hold_and_release_of_one_under_way_make_no_second_attempt(
    spool: Spool, hand: Database, three: Queued
) -> None:
    hand.apply(lambda connection: queue.hold(connection, EVERYTHING))
    hand.apply(lambda connection: queue.release(connection, EVERYTHING, NOW + 1))
    assert states(hand)["claimed"] == "under way"
    assert sorted(str(one.address) for one in await spool.claim(NOW + 1, 10)) == ["held@one.test", "waiting@two.test"]
    assert await settled(spool, [Settlement(three)]) == set()


@pytest.mark.parametrize(("due", "left"), [(NOW + 60, 3), (None, 2)])
async def test_a_hold_while_an_attempt_is_under_way(
    spool: Spool, hand: Database, three: Queued, due: float | None, left: int
) -> None:
    """Deferred, it stays held; delivered, it is gone."""
    hand.apply(lambda connection: queue.hold(connection, EVERYTHING))
    await settled(spool, [Settlement(three, due, NOW)])
    assert queue.count(hand.reader) == left
    assert set(states(hand).values()) == {"held"}
    hand.apply(lambda connection: queue.release(connection, EVERYTHING, NOW + 1))
    assert len(await spool.claim(NOW + 1, 10)) == left


async def test_retry(spool: Spool, hand: Database) -> None:
    assert hand.apply(lambda connection: queue.retry(connection, EVERYTHING, NOW + 1)) == 1
    assert states(hand) == {"claimed": "under way", "waiting": "waiting", "held": "held"}
    (again,) = await spool.claim(NOW + 1, 10)
    assert (str(again.address), again.wish) == ("waiting@two.test", "retry")
    await settled(spool, [Settlement(again, NOW + 2, NOW + 1)])
    (later,) = await spool.claim(NOW + 2, 10)
    assert later.wish == ""  # one attempt was wished for, and made


async def test_bounce(spool: Spool, hand: Database, three: Queued) -> None:
    assert hand.apply(lambda connection: queue.bounce(connection, EVERYTHING, NOW)) == 3
    assert {entry.wish for entry in queue.entries(hand.reader)} == {"bounce"}
    hand.apply(lambda connection: queue.retry(connection, EVERYTHING, NOW))
    back = await spool.claim(NOW, 10)
    assert [(str(one.address), one.wish) for one in back] == [
        ("waiting@two.test", "bounce"),
        ("held@one.test", "bounce"),
    ]  # the one under way is still its node's
    await settled(spool, [Settlement(back[0], NOW)])  # put back: still to be returned
    assert (await spool.claim(NOW, 10))[0].wish == "bounce"


async def test_a_bounce_while_an_attempt_is_under_way_and_succeeds(spool: Spool, hand: Database, three: Queued) -> None:
    """What the next server took was delivered: nobody is told otherwise."""
    assert hand.apply(lambda connection: queue.in_hand(connection, EVERYTHING)) == 1
    hand.apply(lambda connection: queue.bounce(connection, EVERYTHING, NOW))
    assert await settled(spool, [Settlement(three)]) == set()
    assert "claimed" not in states(hand)


async def test_a_bounce_while_an_attempt_is_under_way_and_fails(spool: Spool, hand: Database, three: Queued) -> None:
    """It is returned at once, not when it would have been tried again."""
    hand.apply(lambda connection: queue.bounce(connection, EVERYTHING, NOW))
    await settled(spool, [Settlement(three, NOW + 600, NOW + 1, "451 later")])
    back = {str(one.address): one for one in await spool.claim(NOW + 1, 10)}
    assert back["claimed@one.test"].wish == "bounce"
    assert back["claimed@one.test"].last_reply == "451 later"


async def test_a_bounce_of_one_that_was_held_while_under_way(spool: Spool, hand: Database, three: Queued) -> None:
    hand.apply(lambda connection: queue.hold(connection, EVERYTHING))
    hand.apply(lambda connection: queue.bounce(connection, EVERYTHING, NOW))
    assert states(hand)["claimed"] == "under way"
    assert await settled(spool, [Settlement(three)]) == set()


async def test_a_bounce_of_what_a_dead_node_had_under_way_is_in_doubt(store: Store, hand: Database) -> None:
    hand.apply(lambda connection: queue.bounce(connection, EVERYTHING, NOW))
    after = store.killed()
    successor = after.node(recover_at=NOW + 10)
    back = {str(one.address): one for one in await successor.claim(NOW + 10, 10)}
    assert {one.wish for one in back.values()} == {"bounce"}
    assert [(address, one.doubtful) for address, one in sorted(back.items())] == [
        ("claimed@one.test", 1),
        ("held@one.test", 0),
        ("waiting@two.test", 0),
    ]


async def test_remove(store: Store, spool: Spool, hand: Database, three: Queued) -> None:
    kept = await accepted(spool, intake_for(spool, "a@x.test", "b@x.test", deposits=[(1, "alice@example.test")]))
    within = queue.span(f"{kept.queue_id}#1")
    assert within is not None
    assert hand.apply(lambda connection: queue.remove(connection, within)) == 1
    assert store.look("SELECT refs FROM message WHERE id = ?", kept.draft.id) == [2]
    assert hand.apply(lambda connection: queue.remove(connection, EVERYTHING)) == 4
    assert store.counts() == {"message": 1, "chunk": 1, "deposit": 1}
    assert await settled(spool, [Settlement(three)]) == {three.id}


async def test_removing_all_of_a_message_leaves_its_deposit(store: Store, spool: Spool) -> None:
    kept = await accepted(spool, intake_for(spool, "a@x.test", "b@x.test", deposits=[(1, "alice@example.test")]))
    within = queue.span(kept.queue_id)
    assert within is not None
    assert store.by_hand().apply(lambda connection: queue.remove(connection, within)) == 2
    assert store.look("SELECT refs FROM message") == [1]


async def test_the_postmaster_and_the_node_at_the_same_time(store: Store, spool: Spool, hand: Database) -> None:
    """Verbs by one connection, claims and settlements by another, all at once: nothing is lost or left over."""
    for number in range(40):
        await accepted(spool, intake_for(spool, f"r{number}@x.test"))

    async def node() -> None:
        for queued in await spool.claim(NOW, 100):
            await settled(spool, [Settlement(queued)])

    def postmaster() -> None:
        for verb in (queue.hold, queue.remove):
            hand.apply(lambda connection, verb=verb: verb(connection, EVERYTHING))

    async with asyncio.timeout(30):
        await asyncio.gather(node(), asyncio.to_thread(postmaster))
        for queued in await spool.claim(NOW + LEASE, 100):
            await settled(spool, [Settlement(queued)])
    hand.apply(lambda connection: queue.remove(connection, EVERYTHING))
    assert store.counts() == {}
