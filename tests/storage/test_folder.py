"""The data folder: private, and one node's at a time."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from glasspost.errors import Busy, StoreError
from glasspost.storage.folder import Folder


def test_it_is_made_with_all_above_it_and_nobody_else_looks_into_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "var" / "mail")
    folder.make()
    folder.make()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert {folder.spool.parent, folder.directory.parent, folder.transcripts.parent} == {folder.path}


def test_where_it_cannot_be_made_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        Folder(tmp_path / "file").make()
    with pytest.raises(StoreError, match="cannot be made: Not a directory"):
        Folder(tmp_path / "file" / "folder").make()


def test_a_command_that_looks_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no data folder .*nowhere; name it with --data"):
        Folder(tmp_path / "nowhere").must_exist()
    assert not (tmp_path / "nowhere").exists()
    Folder(tmp_path).must_exist()


def test_one_node_has_it(tmp_path: Path) -> None:
    first, second = Folder(tmp_path), Folder(tmp_path)
    first.lock()
    with pytest.raises(Busy, match="another node is running on"):
        second.lock()
    second.unlock()  # of what it never had
    with pytest.raises(Busy):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


def test_the_lock_of_a_killed_node_is_given_back(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from glasspost.storage.folder import Folder\n"
        "Folder(Path(sys.argv[1])).lock(); print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        assert node.stdout.readline() == b"mine\n"
        with pytest.raises(Busy):
            Folder(tmp_path).lock()
        node.kill()
        node.wait(10)
    folder = Folder(tmp_path)
    folder.lock()
    folder.unlock()
