"""The devices that the tests of this folder run the example on.

Lives here: how a program is run on MicroPython (or, failing that, on CPython).
Does not live here: what is expected of it (test_esp8266.py), the servers it talks to (counterparts.py), the
sockets of the WebAssembly build (micropython.mjs).

Three devices run the same jobs, as far as they are there:

- `wasm`: MicroPython's own WebAssembly build (npm), its sockets bridged in. Needs node and, once, `npm ci` in
  this folder. It may be missing at a desk, never where CI=true.
- `unix`: MicroPython's Unix port with its own `socket`, in a heap as small as the board's. Needs a program
  `micropython` in PATH or named by MICROPYTHON; Debian has none, so it runs only where somebody put one.
- `cpython`: this Python. It proves only that the example runs elsewhere.

The MicroPythons get what the board would get: the .mpy that mpy-cross made for its processor.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLE = HERE.parent.parent / "examples" / "esp8266"
MODULES = ("send_mail", "wifi", "main")
HEAP = "28K"  # what an ESP8266 has left after its start; and here each word of it is twice as wide
PATIENCE = 30  # seconds until a test is lost

JOB = """\
import json
import sys
import send_mail
from send_mail import MailError
talk = []
outcome = {"sent": False, "refused": {}, "error": "", "code": 0, "doubtful": False, "talk": talk}
mail = MAIL
try:
    refused = send_mail.send_mail(talk=talk.append, **mail)
    outcome["sent"] = True
    outcome["refused"] = {address: [refused[address].code, str(refused[address])] for address in refused}
except MailError as error:
    outcome["error"], outcome["code"], outcome["doubtful"] = str(error), error.code, error.doubtful
except ValueError as error:
    outcome["error"] = "ValueError: " + str(error)
json.dump(outcome, sys.stdout)  # never whole in memory
print()
"""


@dataclass
class Outcome:
    """What the program on the device says of one send_mail."""

    sent: bool
    refused: dict[str, list[object]]  # address: code, text
    error: str
    code: int
    doubtful: bool
    talk: list[str]


class Source(str):
    """A piece of program among the arguments of a mail: `repr` leaves it as it is."""

    def __repr__(self) -> str:
        return str(self)


@dataclass
class Device:
    """Something that runs Python programs, with the example in its flash."""

    name: str
    command: list[str]  # the folder, or the job in it, comes behind
    flash: Path

    async def run(self, job: str) -> str:
        """Run a program; its standard output. A program that fails is a failed test."""
        (self.flash / "job.py").write_text(job, encoding="utf-8")
        program = await asyncio.create_subprocess_exec(
            *self.command,
            str(self.flash) if self.name == "wasm" else "job.py",
            cwd=self.flash,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                said, complained = await program.communicate()
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
        # The Unix port writes tracebacks to standard output, and ends with 1.
        assert program.returncode == 0, (complained + said).decode()
        return said.decode()

    async def send(self, *, before: str = "", **mail: object) -> Outcome:
        """Run send_mail with these arguments; `before` is program text to run first."""
        said = await self.run(JOB.replace("mail = MAIL", f"{before}\nmail = {mail!r}"))
        return Outcome(**json.loads(said.splitlines()[-1]))


def mpy_cross(module: str, target: Path) -> subprocess.CompletedProcess[str]:
    """Compile one module of the example for the ESP8266's processor."""
    return subprocess.run(
        [sys.executable, "-m", "mpy_cross", "-march=xtensa", "-o", target, EXAMPLE / f"{module}.py"],
        capture_output=True,
        text=True,
        check=False,
    )


def _missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI needs {what}")
    pytest.skip(f"NOT PROVEN on MicroPython: {what}")


def wasm(flash: Path) -> Device:
    node = shutil.which("node")
    if node is None:
        _missing("the program node")
    if not (HERE / "node_modules").is_dir():
        _missing("`npm ci` in tests/devices")
    return Device("wasm", [str(node), str(HERE / "micropython.mjs")], flash)


def unix(flash: Path) -> Device:
    program = os.environ.get("MICROPYTHON") or shutil.which("micropython")
    if not program:
        pytest.skip("not tried on MicroPython's Unix port: no `micropython` in PATH, none named by MICROPYTHON")
    for module in ("network", "ntptime"):  # it has its own socket
        shutil.copy(HERE / "board" / f"{module}.py", flash)
    return Device("unix", [program, "-X", f"heapsize={HEAP}"], flash)


MICROPYTHONS = [pytest.param(wasm, id="wasm", marks=pytest.mark.peer), pytest.param(unix, id="unix")]


def cpython(flash: Path) -> Device:
    for module in MODULES:
        (flash / f"{module}.mpy").unlink()
    shutil.copy(EXAMPLE / "send_mail.py", flash)
    return Device("cpython", [sys.executable, "-EsB"], flash)
