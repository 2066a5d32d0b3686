"""The WAL goes into the file beside the writing: nobody waits for it, it comes to an end, and a bad disk is noticed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from glasspost.errors import StoreBroken
from glasspost.storage import checkpoints
from glasspost.storage.database import Database
from glasspost.storage.sqlite import rows

LIMIT = 10  # seconds that nothing here may take
SMALL = 50  # pages of WAL, in place of 16,000
MANY = 5_000  # commits that are more than enough


class Held(apsw.VFSFile):
    """A file whose pages can be kept from being written, and whose sync can be made to fail."""

    def xWrite(self, data: bytes, offset: int) -> None:
        if offset >= 4096:  # the first page is written when a file is made
            Disk.copying.set()
            Disk.may_copy.wait(LIMIT)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if Disk.broken:
            raise apsw.IOError("fsync failed")
        super().xSync(flags)


class Disk(apsw.VFS):
    """Everything but the main file, the WAL for one, is on an ordinary disk."""

    copying = threading.Event()
    may_copy = threading.Event()
    broken = False

    def __init__(self) -> None:
        super().__init__("held", "unix")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        kind = Held if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else apsw.VFSFile
        return kind("unix", name, flags)


@pytest.fixture
def disk() -> Iterator[type[Disk]]:
    vfs = Disk()
    apsw.set_default_vfs("held")
    Disk.may_copy.set()
    yield Disk
    Disk.may_copy.set()
    Disk.broken = False
    apsw.set_default_vfs("unix")
    vfs.unregister()


@pytest.fixture
async def database(tmp_path: Path, disk: type[Disk], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_PAGES", SMALL)
    database = Database(tmp_path / "spool.db", "spool", durable=False)
    database.start(asyncio.get_running_loop())
    disk.copying.clear()
    yield database
    await database.close()


def times_begun_anew(database: Database) -> int:
    """The WAL's header counts them (sqlite.org/fileformat2.html, 4.1)."""
    with database.path.with_name("spool.db-wal").open("rb") as wal:
        return int.from_bytes(wal.read(16)[12:], "big")


async def write_until(database: Database, reached: Callable[[], bool]) -> int:
    """One commit after the other; how many it took."""
    async with asyncio.timeout(LIMIT):
        for number in range(MANY):
            if reached():
                return number
            await database.written(lambda connection: connection.execute("INSERT INTO chunk (data) VALUES (x'00')"))
    raise AssertionError(f"not after {MANY} commits")


async def test_writing_goes_on_while_the_wal_is_copied(database: Database, disk: type[Disk]) -> None:
    disk.may_copy.clear()
    before = await write_until(database, disk.copying.is_set)
    for _ in range(100):
        await asyncio.wait_for(
            database.written(lambda connection: connection.execute("INSERT INTO chunk (data) VALUES (x'00')")), LIMIT
        )
    disk.may_copy.set()
    assert rows(database.reader, "SELECT count(*) FROM chunk") == [(before + 100,)]


async def test_the_wal_begins_anew_again_and_again(database: Database) -> None:
    first = times_begun_anew(database)
    await write_until(database, lambda: times_begun_anew(database) >= first + 3)


async def test_who_reads_an_old_state_holds_it_up_and_nothing_else(database: Database) -> None:
    first = times_begun_anew(database)
    await write_until(database, lambda: rows(database.reader, "SELECT count(*) FROM chunk") == [(10,)])
    database.reader.execute("BEGIN")
    assert rows(database.reader, "SELECT count(*) FROM chunk") == [(10,)]
    for _ in range(8 * SMALL):
        await database.written(lambda connection: connection.execute("INSERT INTO chunk (data) VALUES (x'00')"))
    assert times_begun_anew(database) == first
    assert rows(database.reader, "SELECT count(*) FROM chunk") == [(10,)]
    database.reader.execute("COMMIT")
    await write_until(database, lambda: times_begun_anew(database) > first)


async def test_a_disk_that_fails_meanwhile_is_the_end(database: Database, disk: type[Disk]) -> None:
    """All is in the WAL still; but a disk that has failed once is not believed again."""
    broken: asyncio.Future[StoreBroken] = asyncio.get_running_loop().create_future()
    database.on_broken = broken.set_result
    disk.broken = True
    with suppress(StoreBroken):  # the first job to be refused may come before the news
        await write_until(database, broken.done)
    assert "spool.db" in str(await asyncio.wait_for(broken, LIMIT))
    disk.broken = False  # a file that is closed is synced


async def test_closing_waits_for_what_is_under_way(database: Database, disk: type[Disk]) -> None:
    disk.may_copy.clear()
    await write_until(database, disk.copying.is_set)
    closing = asyncio.ensure_future(database.close())
    await asyncio.sleep(0)
    disk.may_copy.set()
    await asyncio.wait_for(closing, LIMIT)
    assert not database.path.with_name("spool.db-wal").exists()
