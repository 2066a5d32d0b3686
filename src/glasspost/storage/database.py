"""One SQLite file: many writers become one commit; readers read beside it.

Lives here: the writer thread with its group commit, reading, and what follows where the disk is full or broken.
Does not live here: a single connection (sqlite.py), the WAL's way into the file (checkpoints.py), any table (sql/,
spool.py, mailboxes.py, accounts.py, transcripts.py).

Group commit (DESIGN law 9): whatever waits when the writer comes round goes into one transaction and one fsync. What
one round of the event loop asks for is handed over at the round's end, so that the writer does not set out with the
first of ten. Who asked is told after the commit, never before it (law 1). A job that fails is found by doing the batch
again one by one; the others do not suffer for it.

Fairness: a commit does all small jobs that wait, then at least one large one and no more of them than COMMIT_OCTETS.
Pieces of bodies that still arrive are not synced where a commit has nothing else: the next that has syncs the WAL, and
with it all that stands before, which is limited (LOOSE_OCTETS).

The writer folds nothing into the file while others wait for it: that goes on beside it (checkpoints.py).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

import apsw

from glasspost.errors import StoreBroken, StoreError
from glasspost.storage.checkpoints import Checkpoints
from glasspost.storage.sqlite import migrate, open_connection, roll_back, row, translate

T = TypeVar("T")
Connection = apsw.Connection
Job = Callable[[apsw.Connection], Any]


class JointJob(Protocol):
    """A job that can be done together with others of its kind, in fewer statements.

    Every statement gives the interpreter away and must get it back from a busy loop thread; a hundred jobs in five
    statements instead of four hundred is worth more than anything SQLite itself could save.
    """

    def __call__(self, connection: apsw.Connection) -> Any: ...

    @classmethod
    def together(cls, connection: apsw.Connection, jobs: Sequence[Any]) -> None:
        """Do all of them, in their order. The result of each is None."""
        ...

    @classmethod
    def at_once(cls, jobs: Sequence[Any]) -> tuple[str, tuple[Any, ...]] | None:
        """May be missing. All of them as one statement that changes what `together` would; None where they are more.
        A statement alone is a transaction of its own: no BEGIN, no COMMIT, and one trip into SQLite."""
        ...


Done = Callable[[Any, Exception | None], None]

BATCH_LIMIT = 2_000  # small jobs in one commit: bounds how long the first of them waits
COMMIT_OCTETS = 2_000_000  # of large jobs in one commit
LOOSE_OCTETS = 4_000_000  # written and not synced: a reply that comes then waits until the disk has them
WRITER_CACHE = 8_192  # KB of pages
WORTH_SHRINKING = 16_000_000  # empty octets in a file


class Database:
    """An open database. On the loop: `write` and `read`. Off it (command line): `apply` and `reader`."""

    def __init__(self, path: Path, room: str, *, durable: bool = True) -> None:
        """Opens, and creates or migrates if need be. Raises StoreError naming the file and the cause.

        `durable` makes every commit wait for the disk. Without it a crash of the machine may lose the last commits,
        but never corrupts.
        """
        self.path = path
        self._durable = durable
        self.writer = open_connection(path, durable=durable, cache=WRITER_CACHE)
        try:
            migrate(self.writer, room, path)
            self.reader = open_connection(path, durable=durable)
        except BaseException:
            self.writer.close()
            raise
        self._queue: SimpleQueue[tuple[Job, Done] | tuple[()] | None] = SimpleQueue()  # (): look for large ones
        self._large: deque[tuple[tuple[Job, Done], int, bool]] = deque()
        self._asked: list[tuple[tuple[Job, Done], int, bool]] = []  # in this round of the loop
        self._loose, self._syncing = 0, durable  # octets not synced; whether the writer syncs now
        self._checkpoints = Checkpoints(self.writer, path, self._break)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle_readers: list[apsw.Connection] = []
        self._broken: StoreBroken | None = None
        self._closed: StoreError | None = None
        self.on_broken: Callable[[StoreBroken], None] | None = None
        self.commits = 0

    # --- on the event loop ------------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the writer thread. From now on only it may use the writing connection."""
        self._loop = loop
        self._checkpoints.start()
        self._thread = threading.Thread(target=self._run, name=f"writer of {self.path.name}", daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether somebody does what is asked for."""
        return self._thread is not None

    def write(self, job: Job, done: Done, octets: int = 0, *, durable: bool = True) -> None:
        """Do `job(connection)` in the next commit; afterwards call `done(result, None)` on the loop, or
        `done(None, error)` where it was not stored: StoreFull (try again later), StoreError, or the job's own.
        With `octets`, its size, it is a large one, and small ones may overtake it, large ones never. Where it is not
        `durable`, `done` may come before the disk has it: what is durable and comes later makes it so."""
        refusal = self._broken or self._closed
        if refusal is not None:
            asyncio.get_running_loop().call_soon(done, None, refusal)
            return
        self._asked.append(((job, done), octets, durable))
        if self._loop is None:
            self._hand_over()  # it waits for the writer to start
        elif len(self._asked) == 1:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Everything that this round of the loop has asked for goes to the writer."""
        asked, self._asked = self._asked, []
        for entry in asked:
            item, octets, _ = entry
            if octets:
                self._large.append(entry)
            self._queue.put(() if octets else item)

    async def written(self, job: Callable[[apsw.Connection], T], octets: int = 0) -> T:
        """Like `write`, to be awaited."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(result: T, error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.write(job, done, octets)
        return await future

    async def read(self, job: Callable[[apsw.Connection], T]) -> T:
        """Do a longer reading in a thread, beside all writing. Point look-ups may use `reader` at once."""

        def reading() -> T:
            try:
                connection = self._idle_readers.pop()
            except IndexError:
                connection = open_connection(self.path, durable=self._durable)
            try:
                return job(connection)
            except apsw.Error as error:
                raise translate(error, self.path) from error
            finally:
                self._idle_readers.append(connection)

        return await asyncio.get_running_loop().run_in_executor(None, reading)

    async def close(self) -> None:
        """Commit what waits, stop the thread, fold the WAL into the file. What comes later is refused."""
        self._closed = StoreError(f"{self.path} is closed")
        if self._thread is not None:
            self._hand_over()
            self._queue.put(None)
            thread = self._thread
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
            await asyncio.get_running_loop().run_in_executor(None, self._checkpoints.stop)
            self._thread = None
        self.close_now()

    # --- off the loop -----------------------------------------------------------------------------------------

    def apply(self, job: Callable[[apsw.Connection], T]) -> T:
        """Do `job` in a transaction of its own, here and now: for the command line, where no thread runs."""
        assert self._thread is None
        try:
            self.writer.execute("BEGIN IMMEDIATE")
            result = job(self.writer)
            self.writer.execute("COMMIT")
        except apsw.Error as error:
            raise translate(error, self.path) from error
        finally:
            roll_back(self.writer)
        return result

    def shrink(self) -> float:
        """Where more than half of the file is empty, and that is much, write it anew without. Returns how many octets
        were given back. Before `start`: it takes as long as writing what is left."""
        size = row(self.writer, "PRAGMA page_size")[0]
        pages, free = (row(self.writer, f"PRAGMA {what}")[0] for what in ("page_count", "freelist_count"))
        if free * size < WORTH_SHRINKING or free * 2 < pages:
            return 0.0
        try:
            self.writer.execute("VACUUM")
            self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except apsw.Error as error:
            raise translate(error, self.path) from error
        return float((pages - row(self.writer, "PRAGMA page_count")[0]) * size)

    def close_now(self) -> None:
        """Close; only where no writer thread runs. What cannot be folded into the file, because the disk is full or
        fails, stays in the WAL, where the next start finds it."""
        for connection in (*self._idle_readers, self.reader, self.writer):
            with suppress(apsw.Error):
                connection.close()
        self._idle_readers.clear()

    # --- the writer thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        """The writer: wait for one job, take all that came meanwhile, commit, tell."""
        stopping = False
        while not stopping or self._large:
            batch: list[tuple[Job, Done]] = []
            try:
                item = self._queue.get(block=not self._large)
                while True:
                    if item:
                        batch.append(item)
                    elif item is None:
                        stopping = True
                    if len(batch) >= BATCH_LIMIT:
                        break
                    item = self._queue.get_nowait()
            except Empty:
                pass
            durable = not self._large or self._add_large(batch)
            if not batch:
                continue
            results = self._commit(batch, durable)
            self.commits += 1
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(_tell, batch, results)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return
            self._checkpoints.look()

    def _add_large(self, batch: list[tuple[Job, Done]]) -> bool:
        """Add to a commit its share of the large jobs. Whether it has to be durable."""
        durable, octets = bool(batch), 0
        while self._large and octets < COMMIT_OCTETS:
            item, size, demands = self._large.popleft()
            batch.append(item)
            octets += size
            durable = durable or demands
        durable = durable or self._loose + octets > LOOSE_OCTETS
        self._loose = 0 if durable else self._loose + octets
        return durable

    def _commit(self, batch: list[tuple[Job, Done]], durable: bool = True) -> list[tuple[Any, Exception | None]]:
        """The batch in one transaction, or, where that fails, each job in its own."""
        if self._broken is not None:
            return [(None, self._broken)] * len(batch)
        connection = self.writer
        try:
            if self._syncing != (durable and self._durable):
                self._syncing = not self._syncing
                connection.execute(f"PRAGMA synchronous = {'FULL' if self._syncing else 'NORMAL'}")
            jobs = [job for job, _ in batch]
            statement = _as_one(jobs)
            if statement is not None:
                connection.execute(*statement)
                return [(None, None)] * len(batch)
            connection.execute("BEGIN IMMEDIATE")
            results = _do(connection, jobs)
            connection.execute("COMMIT")
            return results
        except Exception as error:
            roll_back(connection)
            fault = translate(error, self.path)
            if isinstance(fault, StoreBroken):
                self._break(fault)
                return [(None, fault)] * len(batch)
            # No job is at fault where another process would not let us begin.
            if len(batch) == 1 or isinstance(error, (apsw.BusyError, apsw.LockedError)):
                return [(None, fault)] * len(batch)
        return [self._commit([item])[0] for item in batch]

    def _break(self, fault: StoreBroken) -> None:
        """Once a write has failed in the disk's hands nothing later may be believed: refuse all that follows. Called
        by either thread that writes, and told once."""
        if self._broken is not None:
            return
        self._broken = fault
        if self.on_broken is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self.on_broken, fault)


def _as_one(jobs: list[Job]) -> tuple[str, tuple[Any, ...]] | None:
    """A whole batch as one statement, where it is of one joint kind that knows how."""
    kind = type(jobs[0])
    at_once = getattr(kind, "at_once", None)
    if at_once is None or set(map(type, jobs)) != {kind}:
        return None
    found: tuple[str, tuple[Any, ...]] | None = at_once(jobs)
    return found


def _do(connection: apsw.Connection, jobs: list[Job]) -> list[tuple[Any, Exception | None]]:
    """The jobs of a batch in their order; neighbours of one joint kind together."""
    results: list[tuple[Any, Exception | None]] = []
    at = 0
    while at < len(jobs):
        kind = type(jobs[at])
        together = getattr(kind, "together", None)
        end = at + 1
        if together is None:
            results.append((jobs[at](connection), None))
        else:
            while end < len(jobs) and type(jobs[end]) is kind:
                end += 1
            together(connection, jobs[at:end])
            results += [(None, None)] * (end - at)
        at = end
    return results


def _tell(batch: list[tuple[Job, Done]], results: list[tuple[Any, Exception | None]]) -> None:
    """On the loop: everyone of a batch hears how it went, also where one of them cannot bear it."""
    for (_, done), (result, error) in zip(batch, results, strict=True):
        try:
            done(result, error)
        except Exception as fault:
            context = {"message": "told what became of a job, this failed", "exception": fault, "callback": done}
            asyncio.get_running_loop().call_exception_handler(context)
