"""A message's octets while they come: in memory as long as they are few, then on the disk, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.errors import StoreFull
from glasspost.storage.bodies import CLEARED_AT_ONCE, PIECE, ContentGone, Draft, MemoryContent, StoredContent
from glasspost.storage.spool import Spool
from stores import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def spool(store: Store) -> Spool:
    return store.node()


async def written(spool: Spool) -> None:
    """Until the writer has done all that it was given."""
    await spool.database.written(lambda _connection: None, 1)  # behind the pieces


async def test_a_small_message_stays_in_memory(store: Store, spool: Spool) -> None:
    draft = spool.new_draft()
    for part in (b"Subject: one\r\n", b"\r\n", b"Hello\r\n"):
        draft.add(part)
    draft.add(b"x" * (PIECE - draft.size))
    assert draft.in_memory and not draft.behind
    assert draft.size == PIECE
    assert draft.opening(14) == b"Subject: one\r\n"
    assert draft.in_one() == draft.rest()[0][1] == b"Subject: one\r\n\r\nHello\r\n" + b"x" * (PIECE - 23)
    await written(spool)
    assert store.counts() == {}


async def test_one_octet_more_and_it_goes_to_the_disk(store: Store, spool: Spool) -> None:
    draft = spool.new_draft()
    draft.add(b"a" * PIECE)
    draft.add(b"b")
    assert not draft.in_memory
    assert draft.rest() == [(draft.id << 12 | 1, b"b")]
    await written(spool)
    assert store.look("SELECT id, data FROM chunk") == [(draft.id << 12, b"a" * PIECE)]
    assert store.look("SELECT id FROM draft") == [draft.id]


async def test_the_opening_of_a_large_message_is_kept(spool: Spool) -> None:
    draft = spool.new_draft()
    draft.add(b"Subject: large\r\n\r\n" + b"x" * 3 * PIECE)
    assert draft.opening(18) == b"Subject: large\r\n\r\n"
    assert len(draft.opening(1_000_000)) == 64 * 1024
    await written(spool)


async def test_a_sender_faster_than_the_disk_is_asked_to_wait(spool: Spool) -> None:
    room: list[bool] = []
    draft = Draft(spool.database, spool.ids.next(), lambda: room.append(draft.behind))
    draft.add(b"x" * (PIECE + 1))
    assert not draft.behind
    draft.add(b"x" * PIECE)
    assert draft.behind
    await written(spool)
    assert not draft.behind
    assert room and not any(room)


async def test_a_piece_that_finds_no_room_is_known(store: Store, spool: Spool) -> None:
    await spool.database.written(lambda connection: connection.execute("PRAGMA max_page_count = 20").fetchall())
    draft = spool.new_draft()
    draft.add(b"x" * 2 * PIECE)
    await written(spool)
    assert isinstance(draft.error, StoreFull)
    draft.discard()
    await written(spool)
    assert store.counts() == {}


@pytest.mark.parametrize("pieces", [1, CLEARED_AT_ONCE, 3 * CLEARED_AT_ONCE])
async def test_what_is_not_wanted_is_taken_back_from_the_disk(store: Store, spool: Spool, pieces: int) -> None:
    draft, other = spool.new_draft(), spool.new_draft()
    draft.add(b"x" * (pieces * PIECE + 1))
    other.add(b"y" * 2 * PIECE)
    draft.discard()
    draft.discard()
    for _ in range(5):  # a few pieces in each commit
        await written(spool)
    assert store.look("SELECT id FROM draft") == [other.id]
    assert store.look("SELECT DISTINCT id >> 12 FROM chunk") == [other.id]


@pytest.mark.parametrize(("data", "eight_bit"), [((b"a", b"\x7f"), False), ((b"a", b"\x80", b"b"), True)])
async def test_octets_above_127_are_noticed(spool: Spool, data: tuple[bytes, ...], eight_bit: bool) -> None:
    draft = spool.new_draft()
    for part in data:
        draft.add(part)
    assert draft.eight_bit is eight_bit


@given(st.binary(max_size=100))
def test_content_in_memory_can_be_read_again(data: bytes) -> None:
    content = MemoryContent(data * 9000)

    async def pieces() -> list[bytes]:
        return [piece async for piece in content.chunks()]

    once, again = asyncio.run(pieces()), asyncio.run(pieces())
    assert once == again
    assert b"".join(once) == content.data == data * 9000
    assert all(0 < len(piece) <= PIECE for piece in once)


async def test_content_of_a_message_that_is_not_there(spool: Spool) -> None:
    content = StoredContent(spool.database, 4711, b"head", 100)
    with pytest.raises(ContentGone):
        _ = content.data
    assert StoredContent(spool.database, 4711, b"head", 4).data == b"head"  # an empty body has no row
