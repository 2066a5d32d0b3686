"""What the front door makes of mistakes: a line that says what to do, or the help, and never a traceback."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from glasspost.cli.main import COMMANDS, main
from glasspost.errors import Exit, StoreError
from glasspost.storage import folder
from glasspost.storage.folder import Folder


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(list(words))
    said = capsys.readouterr()
    assert said.out == ""
    return code, said.err


def test_a_family_without_a_command_prints_its_help_and_nothing_around_it(capsys: pytest.CaptureFixture[str]) -> None:
    for family in ("queue", "mailbox", "limits", "conversations", "config", "hooks", "account", "domain", "alias"):
        code, said = complaint(capsys, family)
        assert code == Exit.USAGE
        assert said.startswith("Usage: ")
        assert f" {family} [OPTIONS] COMMAND" in said
        assert "Try --help" not in said


def test_a_usage_error_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = complaint(capsys, "config", "check", "glasspost.toml")
    assert code == Exit.USAGE
    assert said == "glasspost: Got unexpected extra argument(s) (glasspost.toml). Try --help.\n"
    assert complaint(capsys, "why") == (Exit.USAGE, "glasspost: Missing argument 'QUERY...'. Try --help.\n")


def test_an_address_without_a_domain_is_called_that(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, said = complaint(capsys, "mailbox", "list", "alice", "--data", str(tmp_path))
    assert code == Exit.USAGE
    assert said == 'glasspost: "alice" is not an address; it should look like alice@example.test\n'


def test_a_password_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = tmp_path / "password"
    words = ("send", "--to", "a@example.org", "--server", "127.0.0.1:1", "--auth", "a", "--password-file", str(missing))
    code, said = complaint(capsys, *words)
    assert code == Exit.FAILED
    assert said == f"glasspost: the password cannot be read from {missing}: No such file or directory\n"


def test_a_data_folder_that_is_shut_says_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder.os, "access", lambda _path, _mode: False)  # the tests may run as root
    with pytest.raises(StoreError, match="is shut to you: run this as the user that runs the node"):
        Folder(tmp_path).must_exist()


def test_a_port_that_is_taken_is_told_in_the_systems_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    umask = os.umask(0o022)  # a node changes it for its process, which here is ours
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            file = tmp_path / "g.toml"
            file.write_text(f'[[listener]]\nrole = "mx"\nport = {port}\ntls = "none"\n')
            code, said = complaint(capsys, "serve", "--config", str(file), "--data", str(tmp_path / "mail"))
    finally:
        os.umask(umask)
        asyncio.set_event_loop_policy(None)
    assert code == Exit.BUSY
    assert said.splitlines()[-1] == (
        f"glasspost: 127.0.0.1 port {port} cannot be opened for mx: address already in use"
    )


# --- where nothing can be written ---------------------------------------------------------------------------------

GLASSPOST = Path(sys.executable).with_name("glasspost")


def on_a_full_disk(*words: str | Path, out: bool = False, err: bool = False) -> tuple[int, str]:
    """A command whose output, or whose complaints, go to a file on a disk that is full."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [GLASSPOST, *words], stdout=full if out else subprocess.DEVNULL, stderr=full if err else subprocess.PIPE,
            text=True, timeout=60,
        )  # fmt: skip
    return done.returncode, done.stderr or ""


def test_a_full_disk_is_told_in_a_line_and_its_exit_code_is_the_stores(tmp_path: Path) -> None:
    told = "glasspost: no room left on the disk; make room, and try again\n"
    assert on_a_full_disk("explain", "550 5.1.1 no", out=True) == (Exit.STORE, told)
    (tmp_path / "directory.db").write_text("rotten " * 1_000)
    assert on_a_full_disk("account", "list", "--data", tmp_path, err=True) == (Exit.STORE, "")


def test_a_node_whose_log_lies_on_a_full_disk_works_and_ends_as_ever(tmp_path: Path) -> None:
    """Its first words and its last cannot be written. It is ready all the same, and stops when it is asked to."""
    (tmp_path / "g.toml").write_text('[[listener]]\nrole = "mx"\nport = 0\n')
    command = [GLASSPOST, "serve", "--config", tmp_path / "g.toml", "--data", tmp_path / "mail"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor, Path("/dev/full").open("w") as full:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        node = subprocess.Popen(command, stdout=full, stderr=full, env=environment)
        try:
            assert supervisor.recv(100) == b"READY=1"
            node.terminate()
            assert supervisor.recv(100) == b"STOPPING=1"
            assert node.wait(60) == Exit.OK
        finally:
            node.kill()
            node.wait(60)


def test_every_command_is_found_by_its_word_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for word, _, _ in COMMANDS:
        assert main([word, "--help"]) == Exit.OK
        assert f" {word} " in capsys.readouterr().out.splitlines()[0]


def test_a_question_does_not_wait_for_what_only_a_node_needs(tmp_path: Path) -> None:
    """What is imported before the answer is most of the time that a short question takes."""
    program = (
        "import sys; from glasspost.cli.main import main; code = main(sys.argv[1:]);"
        " print(sorted({'aiohttp', 'uvloop', 'structlog', 'cryptography', 'argon2', 'rich', 'dns'} & set(sys.modules)))"
    )
    Folder(tmp_path).make()
    for words in (["why", "a@example.org"], ["explain", "--lang", "zh", "550 5.1.1 no"], ["conversations", "list"]):
        data = ["--data", str(tmp_path)] if words[0] != "explain" else []
        asked = [sys.executable, "-c", program, *words, *data]
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        assert said.splitlines()[-1] == "[]", words
