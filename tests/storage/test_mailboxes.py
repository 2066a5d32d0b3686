"""Maildrops: one reader at a time, everything in order of arrival, and what is expunged is gone for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from glasspost.errors import StoreError
from glasspost.ids import write_id
from glasspost.storage import mailboxes
from glasspost.storage.bodies import PIECE
from glasspost.storage.mailboxes import Deposit, Mailboxes, Maildrop
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Settlement
from stores import BODY, HEAD, NOW, Store, accepted, address, intake_for, settled

ALICE, BOB = 1, 2
TOP = b"Return-Path: <anna@example.org>\r\nDelivered-To: alice@example.test\r\n"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def spool(store: Store) -> Spool:
    return store.node()


@pytest.fixture
def boxes(spool: Spool) -> Mailboxes:
    return Mailboxes(spool.database)


async def deposit(spool: Spool, *accounts: int, body: bytes = BODY, sender: str = "anna@example.org") -> str:
    """Into these accounts' maildrops, as one commit. The message's queue id."""
    to = [(account, "alice@example.test" if account == ALICE else "bob@example.test") for account in accounts]
    return (await accepted(spool, intake_for(spool, body=body, sender=sender, deposits=to))).queue_id


async def locked(boxes: Mailboxes, account: int = ALICE) -> Maildrop:
    maildrop = await boxes.lock(account)
    assert maildrop is not None
    return maildrop


async def whole(maildrop: Maildrop, one: Deposit) -> bytes:
    pieces = [piece async for piece in maildrop.chunks(one)]
    assert all(len(piece) <= PIECE + 1000 for piece in pieces)
    return b"".join(pieces)


# --- one reader ---------------------------------------------------------------------------------------------


async def test_a_maildrop_has_one_reader(boxes: Mailboxes) -> None:
    first = await locked(boxes)
    assert await boxes.lock(ALICE) is None
    assert await boxes.lock(BOB) is not None
    first.release()
    second = await locked(boxes)
    first.release()  # once more: it is not the first one's any longer
    assert await boxes.lock(ALICE) is None
    second.release()
    await locked(boxes)


async def test_two_who_come_at_once_do_not_both_get_in(boxes: Mailboxes) -> None:
    both = await asyncio.gather(boxes.lock(ALICE), boxes.lock(ALICE))
    assert sorted(maildrop is None for maildrop in both) == [False, True]


async def test_a_lock_that_could_not_be_had_is_not_kept(store: Store, boxes: Mailboxes) -> None:
    hand = store.by_hand()
    hand.apply(lambda connection: connection.execute("ALTER TABLE deposit RENAME TO elsewhere"))
    with pytest.raises(StoreError):
        await boxes.lock(ALICE)
    hand.apply(lambda connection: connection.execute("ALTER TABLE elsewhere RENAME TO deposit"))
    await locked(boxes)


# --- reading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
async def test_a_message_comes_out_as_it_came_in_with_two_lines_on_top(
    spool: Spool, boxes: Mailboxes, octets: int
) -> None:
    body = (bytes(range(256)) * (octets // 256 + 1))[:octets]
    await deposit(spool, ALICE, body=body)
    maildrop = await locked(boxes)
    (one,) = maildrop.deposits
    assert await whole(maildrop, one) == TOP + HEAD + body
    assert one.octets == len(TOP + HEAD + body)


async def test_the_null_sender_and_each_ones_own_address(spool: Spool, boxes: Mailboxes) -> None:
    await deposit(spool, ALICE, BOB, sender="")
    for account, name in ((ALICE, "alice"), (BOB, "bob")):
        maildrop = await locked(boxes, account)
        assert (await whole(maildrop, maildrop.deposits[0])).startswith(
            f"Return-Path: <>\r\nDelivered-To: {name}@example.test\r\n".encode() + HEAD
        )


async def test_order_of_arrival_and_a_uid_for_ever(store: Store, spool: Spool, boxes: Mailboxes) -> None:
    uids = [await deposit(spool, ALICE) for _ in range(5)]
    maildrop = await locked(boxes)
    assert [one.uid for one in maildrop.deposits] == uids
    await maildrop.expunge([maildrop.deposits[1], maildrop.deposits[3]])
    maildrop.release()
    uids = [uids[0], uids[2], uids[4], await deposit(spool, ALICE)]
    assert [one.uid for one in (await locked(boxes)).deposits] == uids
    after = Mailboxes(store.killed().node(recover_at=NOW).database)
    assert [one.uid for one in (await locked(after)).deposits] == uids


async def test_a_maildrop_is_what_it_was_when_it_was_locked(spool: Spool, boxes: Mailboxes) -> None:
    first = await deposit(spool, ALICE)
    maildrop = await locked(boxes)
    second = await deposit(spool, ALICE)
    assert [one.uid for one in maildrop.deposits] == [first]
    maildrop.release()
    assert [one.uid for one in (await locked(boxes)).deposits] == [first, second]


async def test_a_hundred_thousand_messages_open_with_one_question(
    store: Store, boxes: Mailboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.by_hand().apply(
        lambda connection: connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
            " INSERT INTO deposit SELECT 1, i, 'alice@example.test', 100 FROM n"
        )
    )
    asked: list[str] = []
    read = boxes.database.read

    async def overheard(job: Callable[[apsw.Connection], Any]) -> Any:
        def traced(connection: apsw.Connection) -> Any:
            connection.set_exec_trace(lambda _cursor, statement, _bindings: asked.append(statement) or True)
            return job(connection)

        return await read(traced)

    monkeypatch.setattr(boxes.database, "read", overheard)
    maildrop = await locked(boxes)
    assert len(asked) == 1, asked
    assert len(maildrop.deposits) == 100_000
    assert maildrop.deposits[99_999].uid == write_id("q", 100_000)


# --- expunging ----------------------------------------------------------------------------------------------


async def test_what_is_expunged_is_gone_and_nothing_else(store: Store, spool: Spool, boxes: Mailboxes) -> None:
    shared = await deposit(spool, ALICE, BOB)
    await deposit(spool, ALICE, body=b"x" * 2 * PIECE)
    maildrop = await locked(boxes)
    await maildrop.expunge(maildrop.deposits)
    assert store.counts() == {"message": 1, "chunk": 1, "deposit": 1}  # bob still has his
    bob = await locked(boxes, BOB)
    assert [one.uid for one in bob.deposits] == [shared]
    assert await whole(bob, bob.deposits[0]) == TOP.replace(b"alice", b"bob") + HEAD + BODY
    await bob.expunge(bob.deposits)
    assert store.counts() == {}


async def test_expunging_twice_harms_nobody(store: Store, spool: Spool, boxes: Mailboxes) -> None:
    await deposit(spool, ALICE, BOB)
    maildrop = await locked(boxes)
    await maildrop.expunge(maildrop.deposits)
    await maildrop.expunge(maildrop.deposits)
    assert store.counts() == {"message": 1, "chunk": 1, "deposit": 1}


async def test_a_message_that_still_waits_for_somebody_stays(store: Store, spool: Spool, boxes: Mailboxes) -> None:
    await accepted(spool, intake_for(spool, "eve@away.test", deposits=[(ALICE, "alice@example.test")]))
    maildrop = await locked(boxes)
    await maildrop.expunge(maildrop.deposits)
    assert store.counts() == {"message": 1, "chunk": 1, "recipient": 1}


async def test_what_is_expunged_is_gone_after_a_crash_too(store: Store, spool: Spool, boxes: Mailboxes) -> None:
    await deposit(spool, ALICE)
    kept = await deposit(spool, ALICE)
    maildrop = await locked(boxes)
    await maildrop.expunge(maildrop.deposits[:1])
    after = Mailboxes(store.killed().node(recover_at=NOW).database)
    assert [one.uid for one in (await locked(after)).deposits] == [kept]


async def test_expunging_is_all_or_nothing(store: Store, spool: Spool, boxes: Mailboxes) -> None:
    for _ in range(3):
        await deposit(spool, ALICE)
    maildrop = await locked(boxes)
    hand = store.by_hand()
    last = maildrop.deposits[2].id
    hand.apply(
        lambda connection: connection.execute(
            f"CREATE TRIGGER no BEFORE DELETE ON deposit WHEN old.message_id = {last}"
            " BEGIN SELECT raise(ABORT, 'no'); END"
        )
    )
    with pytest.raises(StoreError):
        await maildrop.expunge(maildrop.deposits)
    assert store.counts() == {"message": 3, "chunk": 3, "deposit": 3}


# --- how full it is -----------------------------------------------------------------------------------------


async def test_usage_is_in_step_with_what_comes_and_goes(store: Store, spool: Spool, boxes: Mailboxes) -> None:
    def on_disk() -> int:
        return int(store.look("SELECT coalesce(sum(octets), 0) FROM deposit WHERE account_id = 1")[0])

    assert boxes.octets_used(ALICE) == 0
    await deposit(spool, ALICE)
    boxes.deposited(ALICE, len(TOP + HEAD + BODY))
    assert boxes.octets_used(ALICE) == on_disk() == len(TOP + HEAD + BODY)
    await accepted(spool, intake_for(spool, "alice@example.test", claim=True))
    (queued,) = await spool.claim(NOW + 1000, 1)
    await settled(spool, [Settlement(queued, deposits=((ALICE, address("alice@example.test")),))])
    boxes.deposited(ALICE, len(TOP + HEAD + BODY))
    assert boxes.octets_used(ALICE) == on_disk() == 2 * len(TOP + HEAD + BODY)
    maildrop = await locked(boxes)
    await maildrop.expunge(maildrop.deposits[:1])
    assert boxes.octets_used(ALICE) == on_disk() == len(TOP + HEAD + BODY)


# --- for the command line -----------------------------------------------------------------------------------


async def test_the_command_line_sees_the_same(store: Store, spool: Spool) -> None:
    uid = await deposit(spool, ALICE, body=b"x" * (PIECE + 1))
    await deposit(spool, BOB)
    hand = store.by_hand()
    (held,) = mailboxes.listed(hand.reader, ALICE)
    assert (held.uid, held.forward_path, held.reverse_path) == (uid, "alice@example.test", "anna@example.org")
    assert (held.arrived, held.octets) == (NOW, len(TOP + HEAD) + PIECE + 1)
    assert mailboxes.read_whole(hand, held) == TOP + HEAD + b"x" * (PIECE + 1)
    assert hand.apply(lambda connection: mailboxes.remove_all(connection, ALICE)) == 1
    assert store.counts() == {"message": 1, "chunk": 1, "deposit": 1}
    with pytest.raises(LookupError):
        mailboxes.read_whole(hand, held)
