"""A connection to a mail filter: dialed, asked step by step, given a limited time for each answer.

Lives here: `MilterLink`, one for each visit, and `FilterDown`, which is everything that can go wrong with it.
Does not live here: packets (protocol/milter.py), when a filter is asked and what its answers mean (milter.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from glasspost.protocol.milter import Answer, Change, MilterChat, MilterError, Progress


class FilterDown(Exception):
    """The filter cannot be reached, is silent, gone, or talks nonsense. The text says which."""


class MilterLink:
    """One connection. Any FilterDown closes it for good."""

    __slots__ = ("_reader", "_writer", "chat")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.chat = MilterChat()

    @classmethod
    async def dial(cls, address: str, limit: float) -> MilterLink:
        """Connect (`host:port`, `unix:/path`) and negotiate, within `limit` seconds. Raises FilterDown."""
        link = None
        try:
            async with asyncio.timeout(limit):
                if address.startswith("unix:"):
                    reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
                else:
                    host, _, port = address.rpartition(":")
                    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                link = cls(reader, writer)
                await link.ask(lambda chat: None, limit)
        except TimeoutError:
            raise FilterDown(f"it did not answer within {limit:g} s") from None
        except OSError as error:
            raise FilterDown(f"it cannot be reached: {(error.strerror or str(error)).lower()}") from None
        finally:
            if link is not None and not link.chat.negotiated:
                link.cut()
        return link

    async def ask(
        self, step: Callable[[MilterChat], None], limit: float, changed: Callable[[Change], None] | None = None
    ) -> Answer:
        """Say a step, and wait for its verdict at most `limit` seconds, begun anew by each sign of life. `changed`
        hears what the filter wants done meanwhile. Raises FilterDown."""
        try:
            self.say(step)
            while True:
                heard = await self._hear(limit)
                if isinstance(heard, Answer):
                    return heard
                if isinstance(heard, Change):
                    if changed is None:
                        raise MilterError("it wants a message changed before its end")
                    changed(heard)
        except TimeoutError:
            fault = f"it did not answer within {limit:g} s"
        except OSError as error:
            fault = f"the connection was lost: {(error.strerror or str(error)).lower()}"
        except MilterError as error:
            fault = f"it does not speak the milter protocol: {error}"
        except asyncio.CancelledError:
            self.cut()  # the client is gone, in the middle of a question
            raise
        self.cut()
        raise FilterDown(fault)

    async def _hear(self, limit: float) -> Answer | Change | Progress:
        async with asyncio.timeout(limit):
            await self._writer.drain()
            while (heard := self.chat.next_heard()) is None:
                data = await self._reader.read(65_536)
                if not data:
                    raise ConnectionResetError(None, "it hung up")
                self.chat.receive(data)
            return heard

    def say(self, step: Callable[[MilterChat], None]) -> None:
        """Say a step that nobody answers."""
        step(self.chat)
        self._writer.write(self.chat.take_output())

    async def drained(self, limit: float) -> None:
        """Until there is room to say more. Raises FilterDown."""
        try:
            async with asyncio.timeout(limit):
                await self._writer.drain()
        except (TimeoutError, OSError):
            self.cut()
            raise FilterDown(f"it did not take more within {limit:g} s") from None

    def leave(self) -> None:
        """Say goodbye."""
        if not self._writer.is_closing():
            self.say(MilterChat.quit)
            self._writer.close()

    def cut(self) -> None:
        """Hang up at once."""
        self._writer.transport.abort()
