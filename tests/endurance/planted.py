"""A node with a bug in it, for the torture to find: glasspost.cli.torture_node, and one thing done wrong.

    python tests/endurance/planted.py BUG SEED ORDERS serve --config FILE --data DIR

Lives here: the bugs, each as small as it would be in somebody's change.
Does not live here: that they are found (test_torture.py).
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from glasspost.torture.underneath import lay


def say_250_before_the_commit() -> None:
    from glasspost.storage.spool import Spool

    def accept(self: Any, intake: Any, now: float, done: Any) -> None:
        loop = asyncio.get_running_loop()
        job = self._accepting(intake, now)
        loop.call_later(0.05, self.database.write, job, lambda _result, _error: None)
        loop.call_soon(done, None)

    Spool.accept = accept  # type: ignore[method-assign]


def commit_without_fsync() -> None:
    from glasspost.storage import database

    opened = database.open_connection
    database.open_connection = lambda path, *, durable, **more: opened(path, durable=False, **more)  # type: ignore


def leave_the_last_commit_to_memory() -> None:
    """Of a large message: the pieces may be, while it arrives."""
    from glasspost.storage.database import Database

    write = Database.write

    def forgetful(self: Any, job: Any, done: Any, octets: int = 0, *, durable: bool = True) -> None:
        write(self, job, done, octets, durable=durable and not octets)

    Database.write = forgetful  # type: ignore[method-assign]


def believe_the_disk_again() -> None:
    from glasspost.storage import database
    from glasspost.storage.database import Database, StoreBroken, StoreError

    translated = database.translate

    def forgiving(error: Exception, path: Any) -> Exception:
        fault = translated(error, path)
        return StoreError(str(fault)) if isinstance(fault, StoreBroken) else fault

    database.translate = forgiving  # type: ignore[attr-defined]
    Database._break = lambda self, fault: None  # type: ignore[method-assign]


def forget_that_it_may_have_been_under_way() -> None:
    from glasspost.storage.bodies import queries

    queries.doubt_claimed = "SELECT ?"


def settle_without_the_report() -> None:
    from glasspost.storage.spool import Spool

    settle = Spool.settle
    Spool.settle = lambda self, settlements, reports, now, done: settle(self, settlements, (), now, done)  # type: ignore


def main() -> int:
    bug, seed, orders, *command = sys.argv[1:]
    underneath = lay(int(seed), orders)
    underneath.listen(sys.stdin)
    globals()[bug]()

    from glasspost.cli.main import main as glasspost

    code = glasspost(command)
    sys.stdout.flush()
    underneath.disk.end()
    return code


if __name__ == "__main__":
    os._exit(main())
