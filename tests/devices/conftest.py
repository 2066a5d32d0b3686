"""What the tests of this folder are given: a device, a server, and a plain word about what was missing."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from boards import MICROPYTHONS, MODULES, Device, cpython, mpy_cross
from counterparts import Server, aiosmtpd_server


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example's modules as .mpy."""
    folder = tmp_path_factory.mktemp("compiled")
    for module in MODULES:
        done = mpy_cross(module, folder / f"{module}.mpy")
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(params=[*MICROPYTHONS, pytest.param(cpython, id="cpython")])
def device(request: pytest.FixtureRequest, compiled: Path, tmp_path: Path) -> Device:
    """A device with the example in its flash."""
    flash = tmp_path / "flash"
    shutil.copytree(compiled, flash)
    return request.param(flash)


@pytest.fixture(params=MICROPYTHONS)
def board(request: pytest.FixtureRequest, compiled: Path, tmp_path: Path) -> Device:
    """A device that is MicroPython, with a pretended radio."""
    flash = tmp_path / "flash"
    shutil.copytree(compiled, flash)
    return request.param(flash)


@pytest.fixture(params=["aiosmtpd"])
async def smtp_server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A real server. Whoever adds one keeps the promises of `Server`."""
    async with aiosmtpd_server() as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud which MicroPython was not there."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        if "tests/devices/" in report.nodeid and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in reasons.items():
        terminalreporter.write_line(f"SKIPPED {count} device tests: {reason}", yellow=True, bold=True)
