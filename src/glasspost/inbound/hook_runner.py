"""Calling a hook: in a thread or on the loop, for a limited time, whatever it does.

Lives here: `HookRunner`, its threads, and `HookFailed`, which is everything that a hook can do wrong.
Does not live here: which hook is called when (hooks.py), the file (hook_script.py).

A plain function runs in a thread, because it may block. A thread cannot be stopped: one that blocks is given up, and
when all are, plain functions fail for want of time until one comes back. They are daemons, so that none keeps the node
from stopping.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from glasspost.inbound.hook_script import HooksBroken, Script, fault_words, load_script


class HookFailed(Exception):
    """A hook raised, took too long, or said something that is no verdict. The text is for transcript and log."""


class _Call:
    """One call for a thread. `abandoned`: nobody waits for it any more."""

    __slots__ = ("_loop", "_work", "abandoned", "future")

    def __init__(self, work: Callable[[], Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self.future: asyncio.Future[Any] = self._loop.create_future()
        self.abandoned = False

    def run(self) -> None:
        """In a thread."""
        result, error = None, None
        try:
            result = self._work()
        except BaseException as caught:
            error = caught
        try:
            self._loop.call_soon_threadsafe(self._done, result, error)
        except RuntimeError:
            pass  # the loop is closed: the node has stopped meanwhile

    def _done(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        # A future does not carry every exception (StopIteration), so it carries them in a pair.
        self.future.set_result((result, error))


class HookRunner:
    """Runs hooks. `limit`: seconds for one call; `threads`: plain functions that may run at one time."""

    def __init__(self, limit: float, threads: int) -> None:
        self.limit = limit
        self._most = threads
        self._waiting: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads = 0
        self._free = 0
        self._lock = threading.Lock()

    async def call(self, script: Script, name: str, *arguments: Any) -> Any:
        """What the hook returned. Raises HookFailed."""
        function = script.functions[name]
        try:
            if inspect.iscoroutinefunction(function):
                return await self._on_loop(function(*arguments))
            result = await self._in_thread(lambda: function(*arguments))
            return await self._on_loop(result) if inspect.isawaitable(result) else result
        except TimeoutError:
            raise HookFailed(f"{script.name}: {name} took longer than {self.limit:g} s") from None
        except _Raised as raised:
            raise HookFailed(fault_words(raised.error, script.path)) from None

    async def load(self, script: Script) -> Script:
        """The same file, read anew. Raises HooksBroken."""
        try:
            loaded = await self._in_thread(lambda: load_script(script.path))
        except TimeoutError:
            raise HooksBroken(f"{script.path} took longer than {self.limit:g} s to load") from None
        except _Raised as raised:
            raise HooksBroken(str(raised.error)) from None
        assert isinstance(loaded, Script)
        return loaded

    def close(self) -> None:
        """No more calls: idle threads end."""
        for _ in range(self._threads):
            self._waiting.put(None)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        call = _Call(work)
        with self._lock:
            if not self._free and self._threads < self._most:
                self._threads += 1
                self._free += 1
                threading.Thread(target=self._serve, name="hooks", daemon=True).start()
            self._free -= 1  # negative: so many calls wait for a thread
        self._waiting.put(call)
        try:
            async with asyncio.timeout(self.limit):
                result, error = await call.future
        finally:
            call.abandoned = True
        if error is not None:
            raise _Raised(error)
        return result

    def _serve(self) -> None:
        while (call := self._waiting.get()) is not None:
            if not call.abandoned:
                call.run()
            with self._lock:
                self._free += 1

    async def _on_loop(self, hook: Any) -> Any:
        task = asyncio.ensure_future(_guarded(hook))
        try:
            done, _ = await asyncio.wait((task,), timeout=self.limit)
        except asyncio.CancelledError:
            task.cancel()  # the client is gone
            raise
        if not done:
            task.cancel()  # and nobody waits for what it makes of that
            task.add_done_callback(_look_away)
            raise TimeoutError
        result, error = task.result()
        if error is not None:
            raise _Raised(error)
        return result


class _Raised(Exception):
    """What a hook raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _guarded(hook: Any) -> tuple[Any, BaseException | None]:
    """SystemExit out of a task would end the loop: no exception of a hook leaves this."""
    try:
        return await hook, None
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        return None, RuntimeError("it cancelled itself")
    except BaseException as error:
        return None, error


def _look_away(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
