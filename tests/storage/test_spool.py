"""The spool's contract: what any engine under it must keep. It runs once for each engine (fixture `store`).

What was acknowledged is there, every recipient is in one pair of hands at a time, and a message goes with the last of
its recipients and deposits, and not before.
"""

from __future__ import annotations

import asyncio
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glasspost.errors import StoreError, StoreFull
from glasspost.mail.envelope import Notify, Recipient
from glasspost.storage import mailboxes, queue
from glasspost.storage.bodies import CLEARED_AT_ONCE, PIECE, ContentGone
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import CLAIMED, HELD, WAITING, Queued, Rest, Settlement
from stores import BODY, HEAD, LEASE, NOW, Store, accepted, address, intake_for, read, settled

ENGINES = {"sqlite": Store}
LARGE = bytes(range(256)) * 4096  # a megabyte: four pieces


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = ENGINES[request.param](tmp_path)
    yield store
    async with asyncio.timeout(10):
        await store.close()


def gone(*queued: Queued) -> list[Settlement]:
    return [Settlement(one, attempted=NOW) for one in queued]


def later(queued: Queued, due: float = NOW + 60) -> Settlement:
    return Settlement(queued, due, NOW, "451 4.4.1 mx.away.test does not answer", "mx.away.test", "c0000000000b")


def addresses(queued: list[Queued]) -> list[str]:
    return [str(one.address) for one in queued]


# --- accepting ----------------------------------------------------------------------------------------------


async def test_an_acceptance_makes_these_rows(store: Store) -> None:
    spool = store.node()
    body = "Grüße\r\n".encode()
    intake = intake_for(
        spool, "bob@away.test", '"a b"@Away.Test', "eve@bücher.test", body=body, deposits=[(7, "alice@example.test")],
        notify=Notify.SUCCESS | Notify.DELAY, ret="HDRS",
    )  # fmt: skip
    intake.envelope.envid, intake.envelope.smtputf8 = "QQ+314", True
    intake.recipients[0].orcpt = "rfc822;Bob@away.test"
    intake.due = NOW + 5
    await accepted(spool, intake)
    number = intake.draft.id
    size = len(HEAD) + len(body)
    assert store.look("SELECT * FROM message") == [
        (number, NOW, "anna@example.org", "8BITMIME", 3, "HDRS", "QQ+314", size, HEAD, "c0000000000a", 4)
    ]
    assert store.look("SELECT * FROM chunk") == [(number << 12, body)]
    rows = store.look(
        "SELECT id - (? << 12), address, domain, notify, orcpt, state, due, attempts, generation, claimed_by"
        " FROM recipient ORDER BY id",
        number,
    )
    assert rows == [
        (0, "bob@away.test", "away.test", 10, "rfc822;Bob@away.test", WAITING, NOW + 5, 0, 0, ""),
        (1, '"a b"@Away.Test', "away.test", 10, "", WAITING, NOW + 5, 0, 0, ""),
        (2, "eve@bücher.test", "xn--bcher-kva.test", 10, "", WAITING, NOW + 5, 0, 0, ""),
    ]
    added = b"Return-Path: <anna@example.org>\r\nDelivered-To: alice@example.test\r\n"
    assert store.look("SELECT * FROM deposit") == [(7, number, "alice@example.test", size + len(added))]
    assert "draft" not in store.counts()


async def test_recipients_deposits_and_content_are_one_commit(store: Store) -> None:
    spool = store.node()
    taken = intake_for(spool, "bob@away.test", deposits=[(1, "alice@example.test")])
    await accepted(spool, taken)
    twice = intake_for(spool, "eve@away.test", deposits=[(1, "alice@example.test")])
    twice.draft.id = taken.draft.id  # what cannot be
    with pytest.raises(StoreError):
        await accepted(spool, twice)
    assert store.counts() == {"message": 1, "chunk": 1, "recipient": 1, "deposit": 1}


@pytest.mark.parametrize("octets", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7])
async def test_content_is_the_same_octet_for_octet(store: Store, octets: int) -> None:
    spool = store.node()
    body = (LARGE + b"\x00\r\n.\r\n")[-octets:] if octets else b""
    intake = await accepted(spool, intake_for(spool, "bob@away.test", body=body, claim=True))
    (handed_over,) = intake.queued
    assert await read(handed_over) == HEAD + body
    assert handed_over.message.eight_bit is not body.isascii()
    (claimed,) = await store.node("node2").claim(NOW + LEASE, 10)
    assert await read(claimed) == HEAD + body
    assert store.counts().get("chunk", 0) == -(-octets // PIECE)
    assert all(size <= PIECE for size in store.look("SELECT length(data) FROM chunk"))


async def test_a_thousand_recipients_share_one_message(store: Store) -> None:
    spool = store.node()
    to = [f"r{number}@away{number % 7}.test" for number in range(1000)]
    intake = await accepted(spool, intake_for(spool, *to, claim=True))
    assert store.counts() == {"message": 1, "chunk": 1, "recipient": 1000}
    assert store.look("SELECT address FROM recipient ORDER BY id") == to
    await settled(spool, gone(*intake.queued[:999]))
    assert store.counts() == {"message": 1, "chunk": 1, "recipient": 1}
    assert store.look("SELECT refs FROM message") == [1]
    await settled(spool, gone(intake.queued[999]))
    assert store.counts() == {}


async def test_five_megabytes_come_in_bounded_memory(store: Store) -> None:
    spool = store.node()
    room = asyncio.Event()
    draft = spool.new_draft(room.set)
    piece = bytes(range(256)) * 64
    tracemalloc.start()
    for _ in range(320):  # 16 KB each
        draft.add(piece)
        if draft.behind:
            room.clear()
            async with asyncio.timeout(10):
                await room.wait()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * PIECE
    intake = intake_for(spool, "bob@away.test", claim=True)
    intake.draft = draft
    await accepted(spool, intake)
    assert spool.in_memory == 0
    assert await read(intake.queued[0]) == HEAD + piece * 320


async def test_a_message_with_a_hole_is_never_accepted(store: Store) -> None:
    spool = store.node()
    intake = intake_for(spool, "bob@away.test", body=LARGE)
    # As if it had not been stored: behind the pieces, which are large jobs.
    await spool.database.written(lambda c: c.execute("DELETE FROM chunk WHERE id & 4095 = 1"), 1)
    with pytest.raises(StoreFull):
        await accepted(spool, intake)
    intake.draft.discard()
    await spool.database.written(lambda _: None, 1)
    assert store.counts() == {}


async def test_ids_go_on_above_all_that_the_store_has_seen(store: Store) -> None:
    far = 1 << 50  # a clock that was ahead
    first = store.node()
    intake = intake_for(first, "bob@away.test")
    intake.draft.id = far
    await accepted(first, intake)
    assert store.node().new_draft().id > far


# --- claiming -----------------------------------------------------------------------------------------------


async def test_what_is_due_is_claimed_the_longest_waiting_first(store: Store) -> None:
    spool = store.node()
    for name, due in (("c", NOW - 1), ("later", NOW + 1), ("a", NOW - 9), ("d", NOW), ("b", NOW - 5)):
        intake = intake_for(spool, f"{name}@away.test")
        intake.due = due
        await accepted(spool, intake)
    assert spool.next_due() == NOW - 9
    assert addresses(await spool.claim(NOW, 3)) == ["a@away.test", "b@away.test", "c@away.test"]
    assert addresses(await spool.claim(NOW, 3)) == ["d@away.test"]
    assert await spool.claim(NOW, 3) == []
    assert spool.next_due() == NOW + 1
    assert store.look("SELECT DISTINCT due FROM recipient WHERE state = 1") == [NOW + LEASE]


async def test_what_waits_for_a_destination_that_rests_is_put_behind_the_rest(store: Store) -> None:
    """Unclaimed and untried; but not those with whom there is something to do before, each for a reason of its own."""
    spool = store.node()
    rest = Rest(NOW + 900, "451 4.4.1 mx.away.test does not answer", NOW - 50, NOW - 4 * 3600, NOW - 5 * 86_400)
    young, old, oldest = NOW - 60, NOW - 5 * 3600, NOW - 6 * 86_400
    cases = {
        "sleeper@away.test": ("mx:away.test", young, ""),
        "retried@away.test": ("mx:away.test", young, "wish = 'retry', due = due - 1"),
        "told@away.test": ("mx:away.test", old, "delay_told = 1"),
        "uncaring@away.test": ("mx:away.test", old, f"notify = {int(Notify.FAILURE)}"),
        "untold@away.test": ("mx:away.test", old, ""),
        "expiring@away.test": ("mx:away.test", oldest, "delay_told = 1"),
        "wished@away.test": ("mx:away.test", young, "wish = 'retry'"),
        "bounced@away.test": ("mx:away.test", young, "wish = 'bounce'"),
        "elsewhere@else.test": ("mx:else.test", young, ""),
        "at-once@away.test": ("", young, ""),
        "taken@away.test": ("mx:away.test", young, "state = 1, claimed_by = 'dead'"),
    }
    for to, (stranded, arrived, changed) in cases.items():
        intake = intake_for(spool, to)
        intake.due, intake.arrived, intake.stranded = NOW - 50, arrived, stranded
        await accepted(spool, intake)
        if changed:
            store.by_hand().apply(lambda connection, to=to, changed=changed: connection.execute(  # type: ignore[misc]
                f"UPDATE recipient SET {changed} WHERE address = ?", (to,)
            ))  # fmt: skip
    before = store.look("SELECT address, state, generation, attempts, last_attempt FROM recipient ORDER BY id")
    assert await spool.put_behind(NOW, 500, {"mx:away.test": rest}) == (len(cases), 4)
    behind = store.look(
        "SELECT address FROM recipient WHERE due = ? AND last_reply = ? ORDER BY id", rest.due, rest.reply
    )
    assert behind == ["sleeper@away.test", "retried@away.test", "told@away.test", "uncaring@away.test"]
    assert store.look("SELECT address, state, generation, attempts, last_attempt FROM recipient ORDER BY id") == before
    assert sorted(addresses(await spool.claim(NOW, 500))) == sorted(set(cases) - set(behind))
    assert len(await spool.claim_stranded("mx:away.test", NOW, 500)) == 4, "who is back fetches them before"


async def test_a_claim_brings_back_all_that_is_known(store: Store) -> None:
    spool = store.node()
    given = intake_for(spool, '"a b"@away.test', "bob@away.test", notify=Notify.FAILURE, ret="FULL", sender="")
    given.envelope.envid, given.envelope.requiretls = "7", True
    given.recipients[0].orcpt = "rfc822;x@y"
    await accepted(spool, given)
    first, second = await spool.claim(NOW, 10)
    assert first.message is second.message
    assert first.address == address('"a b"@away.test')
    assert (first.notify, first.orcpt, first.attempts, first.generation) == (Notify.FAILURE, "rfc822;x@y", 0, 1)
    message = first.message
    assert (message.queue_id, message.reverse_path, message.ret, message.envid) == (given.queue_id, None, "FULL", "7")
    assert (message.requiretls, message.tls_optional, message.smtputf8) == (True, False, False)
    assert (message.arrived, message.conversation, message.size) == (NOW, given.conversation, given.size)
    settlement = later(first)
    settlement.doubtful = settlement.delay_told = True
    await settled(spool, [settlement])
    (again,) = await spool.claim(NOW + 60, 10)
    assert (again.attempts, again.generation, again.doubtful, again.delay_told) == (1, 2, 1, True)
    assert again.last_reply == settlement.reply


async def test_the_wish_to_go_without_tls_is_kept(store: Store) -> None:
    spool = store.node()
    given = intake_for(spool, "bob@away.test")
    given.envelope.tls_optional = True
    await accepted(spool, given)
    (queued,) = await spool.claim(NOW, 10)
    assert (queued.message.requiretls, queued.message.tls_optional) == (False, True)


async def test_two_nodes_never_have_one_recipient_at_the_same_time(store: Store) -> None:
    one, two = store.node("one"), store.node("two")
    for number in range(50):
        to = (f"{number}a@away.test", f"{number}b@away.test")
        await accepted(one, intake_for(one, *to))
    claims = await asyncio.gather(*(spool.claim(NOW, 7) for _ in range(10) for spool in (one, two)))
    ids = [queued.id for claim in claims for queued in claim]
    assert len(ids) == len(set(ids)) == 100
    assert set(store.look("SELECT claimed_by FROM recipient")) == {"one", "two"}


async def test_what_was_handed_over_in_memory_is_this_nodes(store: Store) -> None:
    one, two = store.node("one"), store.node("two")
    intake = await accepted(one, intake_for(one, "bob@away.test", claim=True))
    assert await two.claim(NOW + LEASE - 1, 10) == []
    assert store.look("SELECT state, claimed_by, generation FROM recipient") == [(CLAIMED, "one", 1)]
    await settled(one, gone(*intake.queued))
    assert store.counts() == {}


async def test_a_dead_nodes_work_comes_back_when_its_lease_is_over(store: Store) -> None:
    dead, alive = store.node("dead"), store.node("alive")
    await accepted(dead, intake_for(dead, "bob@away.test"))
    assert len(await dead.claim(NOW, 10)) == 1
    assert await alive.claim(NOW + LEASE - 1, 10) == []
    assert alive.next_due() == NOW + LEASE
    assert addresses(await alive.claim(NOW + LEASE, 10)) == ["bob@away.test"]


async def test_a_lease_that_is_renewed_does_not_end(store: Store) -> None:
    slow, other = store.node("slow"), store.node("other")
    await accepted(slow, intake_for(slow, "bob@away.test", "eve@away.test"))
    bob, eve = await slow.claim(NOW, 10)
    await slow.renew([bob], NOW + 200)
    (taken,) = await other.claim(NOW + LEASE, 10)
    assert taken.id == eve.id
    await slow.renew([eve], NOW + 400)  # too late: it is the other's
    assert await slow.claim(NOW + 499, 10) == []
    assert await settled(slow, gone(eve)) == {eve.id}
    assert await settled(other, gone(taken)) == set()


# --- settling -----------------------------------------------------------------------------------------------


async def claimed(spool: Spool, count: int) -> list[Queued]:
    for number in range(count):
        await accepted(spool, intake_for(spool, f"r{number}@away.test"))
    return await spool.claim(NOW, count)


@pytest.mark.parametrize("stale", [(), (0,), (1, 3), (0, 1, 2, 3)])
async def test_a_settlement_from_before_changes_nothing_also_among_others(store: Store, stale: tuple[int]) -> None:
    slow, quick = store.node("slow"), store.node("quick")
    mine = await claimed(slow, 4)
    await slow.renew([one for index, one in enumerate(mine) if index not in stale], NOW + LEASE)
    theirs = await quick.claim(NOW + LEASE, 10)
    assert [one.id for one in theirs] == [mine[index].id for index in stale]
    assert await settled(slow, gone(*mine)) == {one.id for one in theirs}
    assert store.look("SELECT id FROM recipient ORDER BY id") == [one.id for one in theirs]
    assert store.counts().get("message", 0) == store.counts().get("chunk", 0) == len(stale)
    await settled(quick, gone(*theirs))
    assert store.counts() == {}


async def test_a_deferral_from_before_changes_nothing(store: Store) -> None:
    slow, quick = store.node("slow"), store.node("quick")
    (mine,) = await claimed(slow, 1)
    (theirs,) = await quick.claim(NOW + LEASE, 1)
    assert await settled(slow, [later(mine)]) == {mine.id}
    assert store.look("SELECT state, claimed_by, attempts FROM recipient") == [(CLAIMED, "quick", 0)]
    await settled(quick, gone(theirs))


async def cleared(store: Store, spool: Spool) -> None:
    """Until nothing is left of large bodies that nobody needs."""
    for _ in range(100):
        if not store.look("SELECT id FROM draft"):
            return
        await spool.database.written(lambda _connection: None, 1)
    raise AssertionError("something is left")


async def test_one_recipient_settled_twice_counts_once(store: Store) -> None:
    spool = store.node()
    intake = await accepted(spool, intake_for(spool, "bob@away.test", "eve@away.test", claim=True))
    bob, eve = intake.queued
    assert await settled(spool, gone(bob, bob)) == {bob.id}
    assert store.look("SELECT refs FROM message") == [1]
    assert await read((await store.node("other").claim(NOW + LEASE, 1))[0]) == HEAD + BODY
    assert eve.id == store.look("SELECT id FROM recipient")[0]


async def test_settlements_of_many_messages_at_once(store: Store) -> None:
    """One commit with everything in it: single ones, several of a message, the last of a large one, deferrals."""
    spool = store.node()
    large = await accepted(spool, intake_for(spool, "big@away.test", body=LARGE, claim=True))
    several = await accepted(spool, intake_for(spool, "a@x.test", "b@x.test", "c@x.test", claim=True))
    singles = [await accepted(spool, intake_for(spool, f"{n}@y.test", claim=True)) for n in range(5)]
    kept = await accepted(spool, intake_for(spool, "z@y.test", deposits=[(1, "alice@example.test")], claim=True))
    batches = [gone(*large.queued), gone(*several.queued[:2]), gone(*kept.queued)]
    batches += [[later(*singles[0].queued)], *(gone(*one.queued) for one in singles[1:])]
    assert await asyncio.gather(*(settled(spool, batch) for batch in batches)) == [set()] * len(batches)
    await cleared(store, spool)
    assert store.look("SELECT id >> 12 FROM recipient ORDER BY id") == [several.draft.id, singles[0].draft.id]
    assert store.look("SELECT id FROM message ORDER BY id") == [
        several.draft.id, singles[0].draft.id, kept.draft.id
    ]  # fmt: skip
    assert store.counts() == {"message": 3, "chunk": 3, "recipient": 2, "deposit": 1}


async def test_a_large_body_goes_a_few_pieces_at_a_time(store: Store) -> None:
    """What makes it needless is done at once; 12,800 pages for 50 MB in one commit would keep everybody waiting."""
    spool = store.node()
    large = await accepted(spool, intake_for(spool, "big@away.test", body=LARGE * 8, claim=True))
    await settled(spool, gone(*large.queued))
    left = store.counts()
    assert left.pop("chunk") >= 3 * CLEARED_AT_ONCE
    assert left == {"draft": 1}
    with pytest.raises(ContentGone):
        await read(large.queued[0])
    await cleared(store, spool)
    assert store.counts() == {}


async def test_what_a_crash_leaves_of_a_large_body_goes_at_the_next_start(store: Store) -> None:
    spool = store.node()
    large = await accepted(spool, intake_for(spool, "big@away.test", body=LARGE * 8, claim=True))
    await settled(spool, gone(*large.queued))
    after = store.killed()
    assert after.counts().keys() == {"chunk", "draft"}
    after.node(recover_at=NOW + 10)
    assert after.counts() == {}


async def test_a_deferral_says_why_and_until_when(store: Store) -> None:
    spool = store.node()
    (queued,) = await claimed(spool, 1)
    await settled(spool, [later(queued)])
    columns = "state, due, attempts, claimed_by, last_attempt, last_reply, last_host, conversation, doubtful"
    one = (WAITING, NOW + 60, 1, "", NOW, "451 4.4.1 mx.away.test does not answer", "mx.away.test", "c0000000000b", 0)
    assert store.look(f"SELECT {columns} FROM recipient") == [one]
    # Put back without an attempt: what is known of the last one stays known.
    (again,) = await spool.claim(NOW + 60, 1)
    await settled(spool, [Settlement(again, NOW + 61, reply=again.last_reply)])
    assert store.look(f"SELECT {columns} FROM recipient") == [(WAITING, NOW + 61, *one[2:])]


async def test_deposits_of_a_settlement_are_made_once(store: Store) -> None:
    spool = store.node()
    (queued,) = await claimed(spool, 1)
    path = address("alice@example.test")
    settlement = Settlement(queued, attempted=NOW, deposits=((1, path), (2, path)))
    assert await settled(spool, [settlement]) == set()
    assert await settled(spool, [settlement]) == {queued.id}
    assert store.look("SELECT account_id FROM deposit ORDER BY 1") == [1, 2]
    assert store.look("SELECT refs FROM message") == [2]
    assert store.counts() == {"message": 1, "chunk": 1, "deposit": 2}


async def test_a_mailbox_that_has_the_message_gets_it_no_second_time(store: Store) -> None:
    spool = store.node()
    intake = intake_for(spool, "alice@example.test", deposits=[(1, "alice@example.test")], claim=True)
    await accepted(spool, intake)
    await settled(spool, [Settlement(intake.queued[0], deposits=((1, address("alice@example.test")),))])
    assert store.look("SELECT refs FROM message") == [1]
    assert store.counts() == {"message": 1, "chunk": 1, "deposit": 1}


async def test_forwards_take_the_place_of_the_recipient(store: Store) -> None:
    spool = store.node()
    intake = await accepted(spool, intake_for(spool, "team@example.test", "bob@away.test", claim=True))
    team, bob = intake.queued
    onward = (
        Recipient(address("eve@x.test"), Notify.NEVER, "rfc822;team@example.test"),
        Recipient(address("z@x.test")),
    )
    await settled(spool, [Settlement(team, attempted=NOW, forwards=onward)])
    assert store.look("SELECT refs FROM message") == [3]
    eve, z = await spool.claim(NOW, 10)
    assert (eve.address, eve.notify, eve.orcpt) == (address("eve@x.test"), Notify.NEVER, "rfc822;team@example.test")
    assert await settled(spool, gone(team)) == {team.id}  # said once more by somebody who was late
    await settled(spool, gone(eve, z, bob))
    assert store.counts() == {}


async def test_a_late_settlement_does_not_hit_who_came_after(store: Store) -> None:
    """An alias of one: the recipient goes, and the forward comes in its place, in the same message."""
    slow, quick = store.node("slow"), store.node("quick")
    await accepted(slow, intake_for(slow, "team@example.test"))
    (mine,) = await slow.claim(NOW, 1)
    (theirs,) = await quick.claim(NOW + LEASE, 1)
    await settled(quick, [Settlement(theirs, attempted=NOW, forwards=(Recipient(address("eve@x.test")),))])
    (eve,) = await quick.claim(NOW + LEASE, 1)
    assert await settled(slow, gone(mine)) == {mine.id}
    assert await settled(quick, gone(eve)) == set()


async def test_nor_who_got_the_number_of_somebody_gone(store: Store) -> None:
    slow, quick = store.node("slow"), store.node("quick")
    await accepted(slow, intake_for(slow, "team@example.test", "bob@away.test"))
    _, bob_then = await slow.claim(NOW, 2)
    team, bob = await quick.claim(NOW + LEASE, 2)
    await settled(quick, gone(bob))
    await settled(quick, [Settlement(team, attempted=NOW, forwards=(Recipient(address("eve@x.test")),))])
    (eve,) = await quick.claim(NOW + LEASE, 1)
    assert eve.id == bob_then.id
    assert await settled(slow, gone(bob_then)) == {bob_then.id}
    assert await settled(quick, gone(eve)) == set()


async def test_forwards_never_spill_into_another_message(store: Store) -> None:
    spool = store.node()
    intake = intake_for(spool, *(f"r{number}@away.test" for number in range(4000)), claim=True)
    await accepted(spool, intake)
    low = intake.draft.id << 12

    def forwarding(queued: Queued, count: int) -> Settlement:
        onward = tuple(Recipient(address(f"f{number}@x.test")) for number in range(count))
        return Settlement(queued, attempted=NOW, forwards=onward)

    first, second, third = intake.queued[:3]
    await settled(spool, [forwarding(first, 90)])
    with pytest.raises(StoreError, match="too many addresses at once"):
        await settled(spool, [forwarding(second, 90)])
    assert store.look("SELECT refs FROM message") == store.look("SELECT count(*) FROM recipient") == [3999 + 90]
    await settled(spool, gone(*intake.queued[100:300]))
    await settled(spool, [forwarding(second, 90)])  # in the gaps
    assert store.look("SELECT refs FROM message") == store.look("SELECT count(*) FROM recipient") == [3888 + 90]
    ((lowest, highest),) = store.look("SELECT min(id), max(id) FROM recipient")
    assert low <= lowest and highest < low + 4096
    assert third.id in store.look("SELECT id FROM recipient")


async def test_a_doubt_is_on_record_also_where_nobody_waits_any_more(store: Store) -> None:
    """Given up after an attempt that may have arrived: alone, and in the company of others who are simply gone."""
    spool = store.node()
    one, two, three = await claimed(spool, 3)
    doubtful = [Settlement(queued, attempted=NOW, reply="451 4.4.2 lost", doubtful=True) for queued in (one, two)]
    await settled(spool, [doubtful[0]])
    await settled(spool, [doubtful[1], *gone(three)])
    doubts = queue.doubts(store.by_hand().reader)
    assert [doubt.recipient for doubt in doubts] == [str(one.address), str(two.address)]
    assert store.counts() == {}


async def test_what_is_taken_over_from_a_silent_node_is_in_doubt(store: Store) -> None:
    slow, quick = store.node("slow"), store.node("quick")
    await accepted(slow, intake_for(slow, "a@x.test", claim=True))
    (taken,) = await quick.claim(NOW + LEASE, 10)
    assert taken.doubtful == 1
    (doubt,) = queue.doubts(store.by_hand().reader)
    assert (doubt.recipient, doubt.reason) == (
        "a@x.test",
        "the lease of slow ran out while it may have been under way",
    )
    (again,) = await quick.claim(NOW + 3 * LEASE, 10)
    assert again.doubtful == 1, "its own lease, which it was too slow to renew: it knows that it is alive"


async def test_a_report_comes_in_the_commit_that_calls_for_it(store: Store) -> None:
    spool = store.node()
    (queued,) = await claimed(spool, 1)
    report = intake_for(spool, "anna@example.org", sender="", claim=True)
    await settled(spool, gone(queued), [report])
    assert store.look("SELECT reverse_path FROM message") == [""]
    assert addresses(report.queued) == ["anna@example.org"]


async def test_no_report_of_what_was_not_recorded(store: Store) -> None:
    """The lease ran out, another node had it: what this one has to tell is not true any more."""
    slow, quick = store.node("slow"), store.node("quick")
    (mine,) = await claimed(slow, 1)
    (theirs,) = await quick.claim(NOW + LEASE, 1)
    report = intake_for(slow, "anna@example.org", sender="", deposits=[(1, "anna@example.org")], claim=True)
    await settled(slow, gone(mine), [report])
    assert (report.queued, report.recipients, report.deposits, slow.in_memory) == ([], [], [], 0)
    await settled(quick, gone(theirs))
    assert store.counts() == {}


async def test_a_settlement_that_finds_no_room_can_be_said_again(store: Store) -> None:
    spool = store.node()
    (queued,) = await claimed(spool, 1)
    report = intake_for(spool, "anna@example.org", sender="", body=b"x" * 200_000, claim=True)
    await spool.database.written(lambda connection: connection.execute("PRAGMA max_page_count = 20").fetchall())
    with pytest.raises(StoreFull):
        await settled(spool, gone(queued), [report])
    assert spool.in_memory == 0
    assert store.counts() == {"message": 1, "chunk": 1, "recipient": 1}
    await spool.database.written(lambda connection: connection.execute("PRAGMA max_page_count = 9999").fetchall())
    await settled(spool, gone(queued), [report])
    assert store.look("SELECT address FROM recipient") == ["anna@example.org"]
    assert spool.in_memory == report.size


async def test_content_in_memory_is_counted_until_it_is_let_go(store: Store) -> None:
    spool = store.node()
    intake = await accepted(spool, intake_for(spool, "a@x.test", "b@x.test", claim=True))
    assert spool.in_memory == intake.size
    spool.let_go(intake.queued[0].message)
    await spool.database.written(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
    with pytest.raises(StoreFull):
        await accepted(spool, intake_for(spool, "a@x.test", body=b"x" * 200_000, claim=True))
    assert spool.in_memory == 0


async def test_content_that_was_removed_is_no_empty_content(store: Store) -> None:
    spool = store.node()
    small, large = [await accepted(spool, intake_for(spool, "a@x.test", body=body)) for body in (BODY, LARGE)]
    one, two = await spool.claim(NOW, 2)
    for intake in (small, large):
        within = queue.span(intake.queue_id)
        assert within is not None
        await spool.database.written(lambda connection, within=within: queue.remove(connection, within))
    with pytest.raises(ContentGone):
        _ = one.message.content.data
    for queued in (one, two):
        with pytest.raises(ContentGone):
            await read(queued)


# --- after a crash ------------------------------------------------------------------------------------------


async def test_after_a_crash_all_that_was_acknowledged_is_found(store: Store) -> None:
    spool = store.node()
    small = await accepted(spool, intake_for(spool, "a@x.test", deposits=[(1, "alice@example.test")]))
    await accepted(spool, intake_for(spool, "b@x.test", "c@x.test", body=LARGE))
    await accepted(spool, intake_for(spool, "d@x.test", claim=True))
    after = store.killed()
    successor = after.node(recover_at=NOW + 10)
    found = await successor.claim(NOW + 10, 10)
    assert sorted(addresses(found)) == ["a@x.test", "b@x.test", "c@x.test", "d@x.test"]
    for queued in found:
        assert await read(queued) == HEAD + (LARGE if queued.message.size > PIECE else BODY)
    assert after.look("SELECT message_id FROM deposit") == [small.draft.id]


async def test_what_may_have_been_under_way_is_in_doubt(store: Store) -> None:
    spool = store.node()
    await accepted(spool, intake_for(spool, "tried@x.test", claim=True))
    await accepted(spool, intake_for(spool, "waiting@x.test"))
    held = await accepted(spool, intake_for(spool, "held@x.test", claim=True))
    within = queue.span(held.queue_id)
    assert within is not None
    await spool.database.written(lambda connection: queue.hold(connection, within))
    after = store.killed()
    after.node(recover_at=NOW + 10)
    assert after.look("SELECT address, state, due, doubtful, claimed_by FROM recipient ORDER BY id") == [
        ("tried@x.test", WAITING, NOW + 10, 1, ""),
        ("waiting@x.test", WAITING, NOW, 0, ""),
        ("held@x.test", HELD, NOW + 10, 1, ""),
    ]
    doubts = queue.doubts(after.by_hand().reader)
    assert [(one.recipient, one.noted) for one in doubts] == [("tried@x.test", NOW + 10), ("held@x.test", NOW + 10)]
    (again, *_) = await after.node().claim(NOW + 10, 10)
    assert again.doubtful == (str(again.address) == "tried@x.test")


async def test_drafts_of_a_dead_node_go_and_what_was_accepted_stays(store: Store) -> None:
    spool = store.node()
    kept = await accepted(spool, intake_for(spool, "a@x.test", body=LARGE))
    arriving = intake_for(spool, "b@x.test", body=LARGE)
    await spool.database.written(lambda _: None)
    assert store.look("SELECT id FROM draft") == [arriving.draft.id]
    assert store.counts()["chunk"] == 4 + 3
    after = store.killed()
    successor = after.node(recover_at=NOW)
    assert after.counts() == {"message": 1, "chunk": 4, "recipient": 1}
    assert successor.new_draft().id > kept.draft.id
    assert await read((await successor.claim(NOW, 1))[0]) == HEAD + LARGE


# --- a message goes with its last recipient or deposit, and not before --------------------------------------


class References(RuleBasedStateMachine):
    """Whatever is done, in whatever order: a message is there as long as somebody waits for it or keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.now = NOW
        self.store = Store(Path(self.folder.name))
        self.spool = self.run(self._come())
        self.waiting: dict[int, Queued | None] = {}  # recipient id: as it was claimed last
        self.stale: list[Queued] = []
        self.kept: set[tuple[int, int]] = set()  # (account, message)

    async def _come(self) -> Spool:
        return self.store.node()

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 10))

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    def _claimed(self) -> list[Queued]:
        return [queued for queued in self.waiting.values() if queued is not None]

    @rule(recipients=st.integers(0, 3), accounts=st.sets(st.integers(1, 3), max_size=2), large=st.booleans())
    def accept(self, recipients: int, accounts: set[int], large: bool) -> None:
        if not recipients and not accounts:
            return
        to = [f"r{number}@x.test" for number in range(recipients)]
        deposits = [(account, "a@example.test") for account in sorted(accounts)]
        body = LARGE[: PIECE + 1] if large else BODY
        intake = intake_for(self.spool, *to, body=body, deposits=deposits, now=self.now)
        self.run(accepted(self.spool, intake, self.now))
        number = intake.draft.id
        self.waiting.update({number << 12 | index: None for index in range(recipients)})
        self.kept |= {(account, number) for account in accounts}

    @rule()
    def claim(self) -> None:
        self.now += LEASE
        for queued in self.run(self.spool.claim(self.now, 100)):
            older = self.waiting[queued.id]
            if older is not None:
                self.stale.append(older)
            self.waiting[queued.id] = queued

    @precondition(lambda self: self._claimed())
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """Several at once, of all kinds, some of them said too late."""
        chosen = data.draw(st.lists(st.sampled_from(self._claimed()), unique_by=lambda queued: queued.id, max_size=5))
        late = data.draw(st.lists(st.sampled_from(self.stale), max_size=2)) if self.stale else []
        settlements = gone(*late)
        for queued in chosen:
            number = queued.message.id
            match data.draw(st.sampled_from(("gone", "gone", "deferred", "deposited"))):
                case "deferred":
                    settlements.append(later(queued, self.now))
                    self.waiting[queued.id] = None
                case "deposited":
                    account = data.draw(st.integers(1, 3))
                    settlements.append(Settlement(queued, deposits=((account, address("a@example.test")),)))
                    self.kept.add((account, number))
                    del self.waiting[queued.id]
                    self.stale.append(queued)
                case _:
                    settlements += gone(queued)
                    del self.waiting[queued.id]
                    self.stale.append(queued)
        self.run(settled(self.spool, settlements, now=self.now))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), whole=st.booleans())
    def remove(self, data: st.DataObject, whole: bool) -> None:
        one = data.draw(st.sampled_from(sorted(self.waiting)))
        within = (one >> 12 << 12, (one >> 12) + 1 << 12) if whole else (one, one + 1)
        removed = self.run(self.spool.database.written(lambda connection: queue.remove(connection, within)))
        victims = [number for number in self.waiting if within[0] <= number < within[1]]
        assert removed == len(victims)
        for number in victims:
            queued = self.waiting.pop(number)
            if queued is not None:
                self.stale.append(queued)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def expunge(self, data: st.DataObject) -> None:
        account, number = data.draw(st.sampled_from(sorted(self.kept)))
        deposit = mailboxes.Deposit(number, 0, "a@example.test")
        self.run(self.spool.database.written(lambda connection: mailboxes.remove(connection, account, [deposit])))
        self.kept.discard((account, number))

    @invariant()
    def what_is_there_is_what_somebody_needs(self) -> None:
        assert self.store.look("SELECT id FROM recipient ORDER BY id") == sorted(self.waiting)
        assert self.store.look("SELECT account_id, message_id FROM deposit ORDER BY 1, 2") == sorted(self.kept)
        needed: dict[int, int] = {}
        for number in [one >> 12 for one in self.waiting] + [number for _, number in self.kept]:
            needed[number] = needed.get(number, 0) + 1
        assert dict(self.store.look("SELECT id, refs FROM message")) == needed
        assert set(self.store.look("SELECT id >> 12 FROM chunk")) == set(needed)


TestReferences = References.TestCase
TestReferences.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
