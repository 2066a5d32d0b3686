"""The tortured disk: what was synced survives a power cut, what was not may be gone, and SQLite bears both."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from glasspost.torture.disk import Disk, TorturedFile, Unsynced
from glasspost.torture.underneath import Underneath, WallClock

PROGRAM = """
import sys, time
from glasspost.torture.underneath import lay
path, synchronous, seed, orders = sys.argv[1:]
underneath = lay(int(seed))
import apsw
connection = apsw.Connection(path)
connection.execute("PRAGMA journal_mode = WAL").fetchall()
connection.execute(f"PRAGMA synchronous = {synchronous}")
connection.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)")
for order in orders.split(";"):
    underneath.obey(order)
for number in range(40):
    try:
        connection.execute("INSERT INTO t VALUES (?, ?)", (number, bytes([number]) * 9000))
    except apsw.Error as error:
        print("failed", type(error).__name__, flush=True)
        break
    print(number, flush=True)
underneath.obey("cut")
"""


def until_the_cut(path: Path, synchronous: str, seed: int, orders: str = "") -> list[str]:
    """What was said to be committed before the power was cut."""
    command = [sys.executable, "-c", PROGRAM, str(path), synchronous, str(seed), orders]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == -9
    return done.stdout.split()


def found_in(path: Path) -> list[int]:
    """What is there afterwards, whole."""
    connection = apsw.Connection(str(path))
    try:
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        if connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
            return []
        rows = connection.execute("SELECT n, data FROM t ORDER BY n").fetchall()
        assert all(data == bytes([number]) * 9000 for number, data in rows)
        return [number for number, _ in rows]
    finally:
        connection.close()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("orders", ["", "cut-at-sync 7 in", "cut-at-sync 7 after"])
def test_what_was_committed_with_fsync_survives(tmp_path: Path, seed: int, orders: str) -> None:
    said = [int(word) for word in until_the_cut(tmp_path / "db", "FULL", seed, orders)]
    found = found_in(tmp_path / "db")
    assert found[: len(said)] == said
    assert len(found) <= len(said) + 1, "one more at most: committed, and not said yet"
    assert (len(said) == 40) == (not orders)


def test_what_was_committed_without_fsync_may_be_gone_and_never_corrupt(tmp_path: Path) -> None:
    lost = 0
    for seed in range(8):
        path = tmp_path / f"db{seed}"
        said = until_the_cut(path, "NORMAL", seed)
        lost += len(said) > len(found_in(path))
    assert lost >= 4


def test_a_database_without_any_sync_is_found_out(tmp_path: Path) -> None:
    """With synchronous OFF even the file's first page may be missing, or torn."""
    unsound = 0
    for seed in range(8):
        path = tmp_path / f"db{seed}"
        until_the_cut(path, "OFF", seed)
        try:
            unsound += len(found_in(path)) < 40
        except (apsw.Error, AssertionError):
            unsound += 1
    assert unsound >= 4


# --- the layer itself ---------------------------------------------------------------------------------------


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk(1, "tortured-here")
    yield disk
    disk.unregister()


def opened(disk: Disk, path: Path, kind: int = apsw.SQLITE_OPEN_MAIN_DB) -> TorturedFile:
    flags = [apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_READWRITE | kind, 0]
    return TorturedFile(disk, str(path), flags)


def test_unsynced_writes_are_taken_back_in_their_order(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = opened(disk, path)
    file.xWrite(b"a" * 1000, 0)
    file.xSync(0)
    disk.directory_synced()
    file.xWrite(b"b" * 1000, 500)
    file.xWrite(b"c" * 100, 0)
    file.xTruncate(50)
    file.xWrite(b"d", 4000)
    file.xClose()
    disk.files[str(path)].take_back(_never())
    assert path.read_bytes() == b"a" * 1000


def test_each_sector_may_be_there_or_not(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = opened(disk, path)
    file.xWrite(b"a" * 512 * 64, 0)
    file.xSync(0)
    file.xWrite(b"b" * 512 * 64, 0)
    file.xClose()
    chance = random.Random(3)
    chance.choice = lambda choices: 0.5 if 0.5 in choices else 512  # type: ignore[method-assign,assignment]
    disk.files[str(path)].take_back(chance)
    sectors = [path.read_bytes()[at : at + 512] for at in range(0, 512 * 64, 512)]
    assert set(sectors) == {b"a" * 512, b"b" * 512}


def test_a_new_file_is_sure_once_its_directory_was_synced(disk: Disk, tmp_path: Path) -> None:
    for number in range(20):
        opened(disk, tmp_path / f"sure{number}").xClose()
    journal = opened(disk, tmp_path / "sure0-journal", apsw.SQLITE_OPEN_MAIN_JOURNAL)
    journal.xSync(0)
    journal.xClose()
    for number in range(20):
        opened(disk, tmp_path / f"unsure{number}").xClose()
    disk.take_back()
    assert len(list(tmp_path.glob("sure*"))) == 21
    assert 0 < len(list(tmp_path.glob("unsure*"))) < 20


def test_a_deleted_file_may_come_back_until_then(disk: Disk, tmp_path: Path) -> None:
    for number in range(20):
        file = opened(disk, tmp_path / f"file{number}")
        file.xWrite(b"old", 0)
        file.xSync(0)
        file.xClose()
    disk.directory_synced()
    for number in range(20):
        disk.xDelete(str(tmp_path / f"file{number}"), False)
    assert not list(tmp_path.glob("file?")) and not list(tmp_path.glob("file??"))
    disk.take_back()
    back = [path for path in tmp_path.iterdir() if path.read_bytes() == b"old"]
    assert 0 < len(back) < 20
    assert all(".deleted-" not in path.name for path in tmp_path.iterdir())


def test_no_later_sync_makes_up_for_one_that_failed(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = opened(disk, path)
    file.xWrite(b"aaaa", 0)
    file.xSync(0)
    file.xWrite(b"bbbb", 0)
    disk.sync_fails = True
    with pytest.raises(apsw.IOError, match="fsync failed"):
        file.xSync(0)
    file.xSync(0)
    file.xClose()
    disk.files[str(path)].take_back(_never())
    assert path.read_bytes() == b"aaaa"


def test_but_writing_it_once_more_does(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = opened(disk, path)
    file.xWrite(b"aaaa", 0)
    disk.sync_fails = True
    with pytest.raises(apsw.IOError):
        file.xSync(0)
    file.xWrite(b"bbbb", 0)
    file.xSync(0)
    file.xClose()
    disk.files[str(path)].take_back(_never())
    assert path.read_bytes() == b"bbbb"


def test_a_full_disk_takes_what_needs_no_room(disk: Disk, tmp_path: Path) -> None:
    file = opened(disk, tmp_path / "file")
    file.xWrite(b"a" * 100, 0)
    disk.full = True
    file.xWrite(b"b" * 100, 0)
    with pytest.raises(apsw.FullError):
        file.xWrite(b"c" * 100, 50)
    file.xClose()


def test_a_read_only_disk_takes_nothing(disk: Disk, tmp_path: Path) -> None:
    file = opened(disk, tmp_path / "file")
    disk.read_only = True
    for attempt in (
        lambda: file.xWrite(b"a", 0),
        lambda: file.xTruncate(0),
        lambda: disk.xDelete(str(tmp_path / "file"), False),
    ):
        with pytest.raises(apsw.IOError, match="read-only"):
            attempt()
    with pytest.raises(apsw.CantOpenError):
        disk.xOpen(str(tmp_path / "other"), [apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_READWRITE, 0])
    file.xClose()


def test_an_order_that_is_none_is_a_bug(disk: Disk) -> None:
    underneath = Underneath(disk, WallClock())
    underneath.obey("clock -60.5")
    assert underneath.clock.offset == -60.5
    assert underneath.clock.time_ns() < underneath.clock._time_ns() - 60 * 10**9
    with pytest.raises(ValueError, match="no such order"):
        underneath.obey("dance")


def test_nothing_to_take_back_is_no_file(tmp_path: Path) -> None:
    Unsynced(str(tmp_path / "gone")).take_back(random.Random(1))
    assert not list(tmp_path.iterdir())


def _never() -> random.Random:
    """Chance by which nothing unsynced survives."""
    chance = random.Random(1)
    chance.choice = lambda choices: choices[0]  # type: ignore[method-assign,assignment]
    return chance
