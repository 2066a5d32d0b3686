"""A glasspost node as its operator has it: a process, a configuration file, a data folder, and the commands.

Lives here: starting and ending it, on ports that the system chooses; its command line; a mailbox read with poplib.
Does not live here: the other programs (the tests), messages to send (letters.py).
"""

from __future__ import annotations

import json
import os
import poplib
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from glasspost.mail.address import address_from_text
from glasspost.storage.accounts import Directory
from glasspost.storage.folder import Folder

PASSWORD = "correct horse"
_GLASSPOST = Path(sys.executable).with_name("glasspost")
_DOOR = re.compile(r"^  (mx|submission|lmtp|pop3|device) +127\.0\.0\.1:(\d+)$", re.MULTILINE)
_CONFIG = """\
[node]
hostname = "glass.test"
{top}
[[listener]]
role = "mx"
port = {mx}
[[listener]]
role = "submission"
port = {submission}
[[listener]]
role = "pop3"
port = {pop3}
{more}
"""


class NodeProcess:
    """One node, from `start` to `stop`, as often as you like: ports and data stay the same.

    `more` is TOML behind the listeners, `top` TOML within [node]. `mx`, `submission`, `pop3` are its ports.
    """

    def __init__(
        self, folder: Path, more: str = "", top: str = "", command: Sequence[str | Path] = (_GLASSPOST,)
    ) -> None:
        self._program = command
        self.data = folder / "data"
        self.mx = self.submission = self.pop3 = 0
        self.doors: list[tuple[str, int]] = []  # all listeners, those of `more` last
        self._config = folder / "node.toml"
        self._log = folder / "node.log"
        self._more, self._top = more, top
        self._process: subprocess.Popen[bytes] | None = None
        self._mailboxes = 0

    # --- its life -------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> NodeProcess:
        """Returns when the banner says that the doors are open."""
        self._ports = {"mx": self.mx, "submission": self.submission, "pop3": self.pop3}
        self.configure()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._program, "serve", "--config", self._config, "--data", self.data],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                # The letters are Bob's, whoever signs in to send them.
                env={**os.environ, "GLASSPOST_SUBMISSION__OWN_ADDRESSES": "false"},
            )
        banner = self._read_until(b"Ctrl-C", 20)
        self.doors = [(role, int(port)) for role, port in _DOOR.findall(banner)]
        for role, port in reversed(self.doors):
            setattr(self, role, port)  # the first of each role: its own
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def configure(self, *lines: str) -> None:
        """Other settings, in front of those it was started with; it does not hear of them by itself."""
        text = "\n".join([*lines, _CONFIG.format(top=self._top, more=self._more, **self._ports)])
        self._config.write_text(text, encoding="utf-8")

    def hang_up(self) -> None:
        """SIGHUP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def terminate(self) -> None:
        """SIGTERM. Returns as soon as its doors are shut; conversations under way may still go on."""
        assert self._process is not None
        self._process.terminate()
        self._read_until(b"is closing", 10)

    def stop(self, seconds: float = 30) -> None:
        """SIGTERM, unless it has had one; until it has ended, in good order."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(seconds)
        self._forget_process()
        assert code == 0, f"it ended with {code}. Its log:\n{self.log}"

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        self._forget_process()

    def wait(self, seconds: float = 30) -> int:
        """Its exit code, when it has ended by itself or after `terminate`."""
        assert self._process is not None
        code = self._process.wait(seconds)
        self._forget_process()
        return code

    def _forget_process(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read_until(self, mark: bytes, seconds: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        said, deadline = b"", time.monotonic() + seconds
        while mark not in said:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                self._process.kill()
                self.wait(10)
                raise AssertionError(f"it did not say {mark!r}, but {said!r}. Its log:\n{self.log}")
            said += piece
        return said.decode()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    # --- its commands ---------------------------------------------------------------------------------------

    def tell(self, *words: str, secret: str = "") -> str:
        """One `glasspost` command on its data folder; what it printed."""
        done = self._command(*words, secret=secret)
        assert done.returncode == 0, f"{' '.join(words)}: {done.returncode} {done.stderr}"
        return done.stdout

    def _command(self, *words: str, secret: str = "") -> subprocess.CompletedProcess[str]:
        command = [_GLASSPOST, *words, "--data", self.data]
        return subprocess.run(command, input=secret, text=True, capture_output=True, timeout=60)

    def fails(self, *words: str) -> tuple[int, str]:
        """One command that cannot succeed: its exit code, and its complaint."""
        done = self._command(*words)
        assert done.returncode != 0, done.stdout
        return done.returncode, done.stderr

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """A command that takes its time."""
        return subprocess.Popen([_GLASSPOST, *words, "--data", self.data], stdout=subprocess.DEVNULL)

    def ask(self, *words: str) -> Any:
        """One command with --json; what it answered."""
        return json.loads(self.tell(*words, "--json"))

    def add_account(self, address: str) -> str:
        """A mailbox with PASSWORD. Returns the address."""
        self.tell("account", "add", address, "--password-stdin", secret=PASSWORD)
        return address

    def add_accounts(self, addresses: list[str]) -> list[str]:
        """Many mailboxes, written beside the running node as the command does it, but without fifty starts of it."""
        directory = Directory(Folder(self.data).directory)
        try:
            for address in addresses:
                directory.add_account(address_from_text(address), PASSWORD, create_domain=True)
        finally:
            directory.close()
        return addresses

    def new_mailbox(self) -> str:
        """A mailbox that no other test knows of."""
        self._mailboxes += 1
        return self.add_accounts([f"owner{self._mailboxes}@here.test"])[0]

    # --- a mailbox of it ------------------------------------------------------------------------------------

    def sign_in(self, address: str, password: str = PASSWORD) -> poplib.POP3:
        """A POP3 session of the mailbox's owner; close it by `quit`."""
        session = poplib.POP3("127.0.0.1", self.pop3, timeout=20)
        try:
            if not address.isascii():
                session.utf8()
            session.user(address)
            session.pass_(password)
        except BaseException:
            session.close()
            raise
        return session

    def count(self, address: str) -> int:
        """How many messages are in a mailbox."""
        session = self.sign_in(address)
        try:
            return session.stat()[0]
        finally:
            session.quit()

    def messages(self, address: str) -> list[bytes]:
        """All messages of a mailbox, in order of arrival, with CRLF."""
        session = self.sign_in(address)
        try:
            count = session.stat()[0]
            return [b"".join(line + b"\r\n" for line in session.retr(number + 1)[1]) for number in range(count)]
        finally:
            session.quit()

    def wait_for_mail(self, address: str, count: int = 1, seconds: float = 20) -> list[bytes]:
        """The mailbox, as soon as `count` messages are in it."""
        until(lambda: self.count(address) >= count, f"{count} messages for {address}", seconds)
        return self.messages(address)

    def wait_for_queue(self, count: int, seconds: float = 20) -> list[dict[str, Any]]:
        """The queue, as soon as it holds `count` recipients."""
        found: list[dict[str, Any]] = []

        def listed() -> bool:
            found[:] = self.ask("queue", "list")
            return len(found) == count

        until(listed, f"{count} recipients in the queue", seconds)
        return found

    def newest_talk(self, kind: str, seconds: float = 20) -> str:
        """The newest conversation of a kind, once it has ended. The record is a moment behind."""
        found: list[dict[str, Any]] = []

        def recorded() -> bool:
            found[:] = [one for one in self.ask("conversations", "list") if one["kind"] == kind]
            return bool(found) and bool(found[0]["ended"])

        until(recorded, f"finished {kind} conversation", seconds)
        return self.tell("conversations", "show", found[0]["id"])

    def talks_about(self, name: str, count: int, said: str = "", seconds: float = 10) -> list[dict[str, Any]]:
        """The conversations of a message, oldest first, or one by its id: as soon as `count` are recorded, all have
        ended, and `said` stands in the last. The record is a second or so behind."""
        found: list[dict[str, Any]] = []

        def recorded() -> bool:
            done = self._command("conversations", "show", name, "--json")
            assert done.returncode in (0, 3), done.stderr  # 3: nothing is recorded about it yet
            found[:] = json.loads(done.stdout or "[]")
            return len(found) >= count and all(one["ended"] for one in found) and said in found[-1]["talk"]

        until(recorded, f"{count} finished conversations about {name}", seconds)
        return found


def until(happened: Callable[[], bool], what: str, seconds: float) -> None:
    """Look again and again until it has happened: another process's state sends no event."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"no {what} within {seconds:.0f} s"
        time.sleep(0.05)


def free_port() -> int:
    """A port for somebody who is to come later."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def run(program: str, *arguments: str | Path, stdin: bytes = b"", expect: Iterable[int] = (0,)) -> str:
    """One run of another program, at most a minute long; all it printed. Its exit code is among `expect`."""
    done = subprocess.run(
        [program, *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    output = done.stdout.decode(errors="replace")
    assert done.returncode in expect, f"{program} ended with {done.returncode}:\n{output[-4000:]}"
    return output
