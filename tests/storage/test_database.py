"""One file, one writer: what is told as stored is stored, and nobody suffers for his neighbour."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

from glasspost.errors import StoreBroken, StoreError, StoreFull
from glasspost.storage.database import COMMIT_OCTETS, LOOSE_OCTETS, Database
from glasspost.storage.sqlite import rows

LIMIT = 10  # seconds that nothing here may take


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Callable[[], Database]]:
    """Opens the file of this test, with its writer running, and closes it in the end."""
    databases: list[Database] = []

    def opened() -> Database:
        database = Database(tmp_path / "spool.db", "spool")
        database.start(asyncio.get_running_loop())
        databases.append(database)
        return database

    yield opened
    for database in databases:
        await database.close()


def adding(number: int, octets: int = 3) -> Callable[[apsw.Connection], int]:
    def job(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO chunk VALUES (?, ?)", (number, b"x" * octets))
        return number

    return job


def failing(connection: apsw.Connection) -> None:
    adding(999)(connection)
    raise ValueError("a job of its own kind")


def stored(database: Database) -> list[int]:
    return [number for (number,) in rows(database.reader, "SELECT id FROM chunk ORDER BY id")]


async def results(*jobs: Any) -> list[Any]:
    async with asyncio.timeout(LIMIT):
        return await asyncio.gather(*jobs, return_exceptions=True)


class Gate:
    """A job that keeps the writer busy, so that the next ones wait together."""

    def __init__(self, database: Database) -> None:
        self._open = threading.Event()
        self._job = database.written(lambda _connection: self._open.wait(LIMIT))

    async def passed_with(self, *jobs: Any) -> list[Any]:
        waiting = [asyncio.ensure_future(job) for job in (self._job, *jobs)]
        for _ in range(2):
            await asyncio.sleep(0)  # all are asked for, and then in the writer's hands
        self._open.set()
        return (await results(*waiting))[1:]


# --- group commit -------------------------------------------------------------------------------------------


async def test_what_waits_together_is_committed_together(opened: Callable[[], Database]) -> None:
    database = opened()
    done = await Gate(database).passed_with(*(database.written(adding(number)) for number in range(500)))
    assert done == stored(database) == list(range(500))
    assert database.commits <= 3  # the gate, perhaps the first job with it, and the rest


async def test_what_one_round_of_the_loop_asks_for_is_one_commit(opened: Callable[[], Database]) -> None:
    database = opened()
    told: list[int] = []
    all_told = asyncio.Event()

    def done(number: int, error: Exception | None) -> None:
        assert error is None
        told.append(number)
        if len(told) == 10:
            all_told.set()

    for number in range(10):
        database.write(adding(number), done)
        threading.Event().wait(0.002)  # time enough for the writer to set out, if it were told
    async with asyncio.timeout(LIMIT):
        await all_told.wait()
    assert told == list(range(10))
    assert database.commits == 1


async def test_nobody_is_told_before_the_commit(opened: Callable[[], Database]) -> None:
    database, other = opened(), opened()
    await database.written(adding(1))
    assert stored(other) == [1]


async def test_a_job_that_fails_hurts_no_neighbour(opened: Callable[[], Database]) -> None:
    database = opened()
    done = await Gate(database).passed_with(
        database.written(adding(1)), database.written(failing), database.written(adding(1)), database.written(adding(2))
    )
    assert done[0] == 1
    assert isinstance(done[1], ValueError)
    assert isinstance(done[2], StoreError)  # the same id again
    assert done[3] == 2
    assert stored(database) == [1, 2]


async def test_who_cannot_bear_the_news_keeps_it_from_nobody(opened: Callable[[], Database]) -> None:
    database = opened()
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["message"]))

    def fainting(_result: object, _error: Exception | None) -> None:
        raise RuntimeError

    gate = Gate(database)
    database.write(adding(1), fainting)
    assert await gate.passed_with(database.written(adding(2))) == [2]
    assert stored(database) == [1, 2]
    assert complaints == ["told what became of a job, this failed"]


class Together:
    """A job that is done with its like."""

    sizes: list[int] = []  # noqa: RUF012  (what happened, for the test to see)

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, connection: apsw.Connection) -> None:
        self.together(connection, [self])

    @classmethod
    def together(cls, connection: apsw.Connection, jobs: Sequence[Together]) -> None:
        cls.sizes.append(len(jobs))
        for job in jobs:
            adding(job.number)(connection)


async def test_neighbours_of_one_kind_are_done_together_and_in_order(opened: Callable[[], Database]) -> None:
    database = opened()
    Together.sizes = []
    jobs = [Together(1), Together(2), adding(3), Together(4)]
    assert await Gate(database).passed_with(*(database.written(job) for job in jobs)) == [None, None, 3, None]
    assert stored(database) == [1, 2, 3, 4]
    assert Together.sizes == [2, 1]


async def test_one_of_its_kind_that_fails_hurts_no_neighbour(opened: Callable[[], Database]) -> None:
    database = opened()
    await database.written(adding(2))
    done = await Gate(database).passed_with(*(database.written(Together(number)) for number in (1, 2, 3)))
    assert [type(one) for one in done] == [type(None), StoreError, type(None)]
    assert stored(database) == [1, 2, 3]


async def test_closing_commits_what_waits_and_refuses_what_comes_later(opened: Callable[[], Database]) -> None:
    database = opened()
    waiting = [asyncio.ensure_future(database.written(adding(number))) for number in range(100)]
    await asyncio.sleep(0)
    await database.close()
    assert await results(*waiting) == list(range(100))
    (late,) = await results(database.written(adding(100)))
    assert isinstance(late, StoreError) and str(late).endswith("spool.db is closed")
    assert not database.path.with_name("spool.db-wal").exists()  # folded into the file
    assert stored(opened()) == list(range(100))


# --- a disk in trouble --------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_what_does_not_fit_and_carries_on_with_room(opened: Callable[[], Database]) -> None:
    database = opened()
    await database.written(lambda connection: rows(connection, "PRAGMA max_page_count = 60"))
    big = database.written(adding(1, 1_000_000))
    (one, two) = await Gate(database).passed_with(big, database.written(adding(2)))
    assert isinstance(one, StoreFull) and "no room left" in str(one)
    assert two == 2
    await database.written(lambda connection: rows(connection, "PRAGMA max_page_count = 100000"))
    await database.written(adding(1, 1_000_000))
    assert stored(database) == [1, 2]


class _FaultyFile(apsw.VFSFile):
    def xSync(self, flags: int) -> None:
        if FaultyDisk.broken:
            raise apsw.IOError("fsync failed")
        FaultyDisk.syncs += 1
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if FaultyDisk.full:
            raise apsw.FullError("no space left on device")
        super().xWrite(data, offset)


class FaultyDisk(apsw.VFS):
    """A disk whose fsync can be made to fail, and is counted; and that can be full."""

    broken = False
    full = False
    syncs = 0

    def __init__(self) -> None:
        super().__init__("faulty", "unix")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        return _FaultyFile("unix", name, flags)


@pytest.fixture
def disk() -> Iterator[type[FaultyDisk]]:
    vfs = FaultyDisk()
    apsw.set_default_vfs("faulty")
    yield FaultyDisk
    FaultyDisk.broken = FaultyDisk.full = False
    apsw.set_default_vfs("unix")
    vfs.unregister()


async def test_after_a_failed_fsync_nothing_is_believed_any_more(
    disk: type[FaultyDisk], opened: Callable[[], Database]
) -> None:
    database = opened()
    alarms: list[StoreBroken] = []
    database.on_broken = alarms.append
    await database.written(adding(1))
    disk.broken = True
    done = await Gate(database).passed_with(database.written(adding(2)), database.written(adding(3)))
    assert [type(one) for one in done] == [StoreBroken, StoreBroken]
    disk.broken = False  # too late: the kernel may have thrown the pages away
    (later,) = await results(database.written(adding(4)))
    assert isinstance(later, StoreBroken) and "look at the disk" in str(later)
    assert alarms == [done[0]]
    assert stored(database) == [1]


def test_a_file_can_be_closed_on_a_full_disk(disk: type[FaultyDisk], tmp_path: Path) -> None:
    database = Database(tmp_path / "spool.db", "spool")
    database.apply(adding(1))
    disk.full = True
    with pytest.raises(StoreFull):
        database.apply(adding(2))
    database.close_now()
    assert database.path.with_name("spool.db-wal").exists(), "it could not be folded into the file"
    disk.full = False
    again = Database(database.path, "spool")
    assert stored(again) == [1]
    again.close_now()


async def test_a_broken_store_refuses_what_already_waits(opened: Callable[[], Database]) -> None:
    database = opened()

    def breaking(_connection: apsw.Connection) -> None:
        raise apsw.IOError("disk I/O error")

    first, second = (
        asyncio.ensure_future(database.written(breaking)),
        asyncio.ensure_future(database.written(adding(1))),
    )
    assert [type(one) for one in await results(first, second)] == [StoreBroken, StoreBroken]
    assert stored(database) == []


# --- large jobs and small ones ------------------------------------------------------------------------------


class Journal:
    """What was done in which order, and with which commit it was told."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.told: list[tuple[str, int]] = []
        self.asked = 0
        self.more: Callable[[], None] = lambda: None
        self._news = asyncio.Event()

    def write(self, name: str, octets: int = 0, *, durable: bool = True) -> None:
        def done(_result: object, error: Exception | None) -> None:
            assert error is None
            self.told.append((name, self.database.commits))
            self._news.set()
            self.more()

        self.asked += 1
        self.database.write(adding(self.asked), done, octets, durable=durable)

    async def all_told(self) -> None:
        async with asyncio.timeout(LIMIT):
            while len(self.told) < self.asked:
                self._news.clear()
                await self._news.wait()

    def commits_of(self, kind: str) -> list[int]:
        return [commit for name, commit in self.told if name.startswith(kind)]


async def test_small_jobs_go_first_and_large_ones_share_the_commits(opened: Callable[[], Database]) -> None:
    database = opened()
    journal, gate = Journal(database), Gate(database)
    large = [f"large {number}" for number in range(9)]
    for name in large:
        journal.write(name, COMMIT_OCTETS // 2)
    for number in range(5):
        journal.write(f"small {number}")
    await gate.passed_with()
    await journal.all_told()
    names = [name for name, _ in journal.told]
    assert [name for name in names if name in large] == large  # they never overtake each other
    commits = journal.commits_of("large")
    assert max(commits.count(one) for one in commits) == 2
    assert names.index("small 4") < names.index(large[2])


async def test_small_jobs_without_end_starve_no_large_one(opened: Callable[[], Database]) -> None:
    """Each small one that is done brings the next: there is always one waiting."""
    database = opened()
    journal, gate = Journal(database), Gate(database)
    for number in range(6):
        journal.write(f"large {number}", 2 * COMMIT_OCTETS)
    for number in range(4):
        journal.write(f"small {number}")

    def more() -> None:
        if len(journal.commits_of("large")) < 6:
            journal.write("small, one more")

    journal.more = more
    await gate.passed_with()
    await journal.all_told()
    commits = journal.commits_of("large")
    assert len(set(commits)) == 6 and max(commits) - min(commits) < 10  # about one in every commit
    assert len(journal.commits_of("small")) > 10


async def test_closing_commits_large_ones_that_wait(opened: Callable[[], Database]) -> None:
    database, other = opened(), opened()
    for number in range(8):
        database.write(adding(number), lambda _result, _error: None, COMMIT_OCTETS)
    await database.close()
    assert stored(other) == list(range(8))


async def test_pieces_are_synced_with_what_is_durable_and_comes_later(
    disk: type[FaultyDisk], opened: Callable[[], Database]
) -> None:
    journal = Journal(opened())
    journal.write("the first, which makes the files")
    await journal.all_told()
    before = disk.syncs
    for number in range(4):
        journal.write(f"piece {number}", 1000, durable=False)
        await journal.all_told()
    assert disk.syncs == before
    for octets in (1000, 0):
        journal.write("durable", octets)
        await journal.all_told()
    assert disk.syncs == before + 2


async def test_what_is_not_synced_is_limited(disk: type[FaultyDisk], opened: Callable[[], Database]) -> None:
    journal = Journal(opened())
    journal.write("the first, which makes the files")
    await journal.all_told()
    before = disk.syncs
    for number in range(44):
        journal.write(f"piece {number}", LOOSE_OCTETS // 10, durable=False)
        await journal.all_told()
    assert disk.syncs == before + 4


# --- others in the same file --------------------------------------------------------------------------------


async def test_another_process_that_writes_is_waited_for(opened: Callable[[], Database]) -> None:
    database = opened()
    other = apsw.Connection(str(database.path))
    other.execute("BEGIN IMMEDIATE; INSERT INTO chunk VALUES (1, x'00')")
    waiting = asyncio.ensure_future(database.written(adding(2)))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    other.execute("COMMIT")
    other.close()
    assert await results(waiting) == [2]
    assert stored(database) == [1, 2]


async def test_one_that_does_not_end_is_waited_for_once_not_by_each_job(opened: Callable[[], Database]) -> None:
    database = opened()
    database.writer.set_busy_timeout(20)
    begun: list[str] = []
    database.writer.exec_trace = lambda _cursor, statement, _values: begun.append(statement) or True
    other = apsw.Connection(str(database.path))
    other.execute("BEGIN IMMEDIATE")
    done = await results(*(database.written(adding(number)) for number in range(50)))
    other.close()
    assert all(isinstance(one, StoreError) and "locked by another process" in str(one) for one in done)
    assert begun.count("BEGIN IMMEDIATE") <= 2  # for the first to come, and for all who came while it waited


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    def opening(_number: int) -> None:
        Database(tmp_path / "spool.db", "spool").close_now()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(opening, range(16)))


def test_a_file_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    Database(path, "spool").close_now()
    newer = apsw.Connection(str(path))
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreError, match=r"spool\.db was written by a newer glasspost \(schema 99\); use that one"):
        Database(path, "spool")
    assert not path.with_name("spool.db-wal").exists()  # nobody has it open


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_text("This is a letter to my aunt, and not a database at all. " * 20)
    with pytest.raises(StoreError, match=r"spool\.db"):
        Database(path, "spool")
    assert path.read_text().startswith("This is a letter")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/spool\.db cannot be opened"):
        Database(tmp_path / "nowhere" / "spool.db", "spool")


# --- reading, and the command line --------------------------------------------------------------------------


async def test_reading_goes_on_beside_writing(opened: Callable[[], Database]) -> None:
    database = opened()
    await database.written(adding(1))
    seen: list[Any] = []

    async def while_writing() -> None:
        seen.append(await database.read(lambda connection: rows(connection, "SELECT id FROM chunk")))

    release = threading.Event()

    def slow(connection: apsw.Connection) -> None:
        adding(2)(connection)
        assert release.wait(LIMIT)

    writing = asyncio.ensure_future(database.written(slow))
    async with asyncio.timeout(LIMIT):
        await while_writing()
        release.set()
        await writing
        await while_writing()
    assert seen == [[(1,)], [(1,), (2,)]]


async def test_a_reading_that_fails_says_which_file(opened: Callable[[], Database]) -> None:
    database = opened()
    with pytest.raises(StoreError, match=r"spool\.db: .*no such table"):
        await database.read(lambda connection: rows(connection, "SELECT * FROM no_such_table"))


@pytest.mark.parametrize("fault", [ValueError("no"), KeyboardInterrupt(), apsw.ConstraintError("no")])
def test_apply_changes_all_or_nothing(tmp_path: Path, fault: BaseException) -> None:
    database = Database(tmp_path / "spool.db", "spool")

    def job(connection: apsw.Connection) -> None:
        adding(1)(connection)
        raise fault

    with pytest.raises(StoreError if isinstance(fault, apsw.Error) else type(fault)):
        database.apply(job)
    assert stored(database) == []
    assert database.apply(adding(2)) == 2
    assert stored(database) == [2]
    database.close_now()


def test_a_file_that_is_mostly_empty_gives_its_room_back(tmp_path: Path) -> None:
    """At a start, and only where it is worth it: what a deep queue once took is not kept for ever."""
    path = tmp_path / "spool.db"
    database = Database(path, "spool")
    database.apply(lambda connection: [adding(number, 250_000)(connection) for number in range(1, 101)])
    full = path.stat().st_size + (tmp_path / "spool.db-wal").stat().st_size
    assert database.shrink() == 0.0, "nothing is empty"
    database.apply(lambda connection: connection.execute("DELETE FROM chunk WHERE id <= 40").fetchall())
    assert database.shrink() == 0.0, "less than half of it is empty"
    database.apply(lambda connection: connection.execute("DELETE FROM chunk WHERE id <= 95").fetchall())
    given = database.shrink()
    assert given > 20_000_000
    assert stored(database) == [96, 97, 98, 99, 100]
    database.close_now()
    assert path.stat().st_size < full - 20_000_000
    again = Database(path, "spool")
    assert again.shrink() == 0.0
    again.close_now()


def test_a_small_file_is_not_written_anew(tmp_path: Path) -> None:
    database = Database(tmp_path / "spool.db", "spool")
    database.apply(adding(1, 2_000_000))
    database.apply(lambda connection: connection.execute("DELETE FROM chunk").fetchall())
    assert database.shrink() == 0.0
    database.close_now()
