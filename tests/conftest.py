"""What tests of more than one folder are given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from entrances import House, furnish

# How long an example takes depends on who else uses the machine; how many there are is bounded anyway.
settings.register_profile("glasspost", deadline=None)
settings.load_profile("glasspost")

OpenHouse = Callable[..., Awaitable[House]]


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    """A command that was run in this process set the log up to write to a stream that is closed by now."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def furniture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of accounts, made once: hashing passwords takes its time."""
    path = tmp_path_factory.mktemp("furniture") / "directory.db"
    furnish(path)
    return path


@pytest.fixture
async def entrance(tmp_path: Path, furniture: Path) -> AsyncIterator[OpenHouse]:
    """Opens houses that take mail: `house = await entrance("smtp.max_errors = 3", role="submission")`."""
    async with AsyncExitStack() as houses:
        number = 0

        async def open_house(*settings: str, **ways: Any) -> House:
            nonlocal number
            number += 1
            folder = tmp_path / f"house{number}"
            folder.mkdir()
            return await houses.enter_async_context(House(folder, furniture, *settings, **ways))

        yield open_house
