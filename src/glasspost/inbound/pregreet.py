"""Who talks before it is greeted, and who is answered slowly.

Lives here: two gates. `Pregreet` waits with the greeting: SMTP's server speaks first (RFC 5321 §3.1), and who has said
something by then is a program that does not listen. `Tarpit` lets a client wait for each refusal, longer each time.
Does not live here: what is refused otherwise (the other gates, policy.py).

A visit that waits costs its memory and one alarm of the clock, no task of the processor.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from glasspost.clock import Clock
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Step
from glasspost.ip import counted_as
from glasspost.mail import reply as say
from glasspost.mail.reply import Reply

REMEMBERED = 86_400.0  # seconds for which who has waited once is greeted at once
KEPT = 10_000  # addresses remembered
MISTAKES_FREE = 1  # refusals that cost a client nothing: anybody can err once


async def pause(clock: Clock, seconds: float) -> None:
    """Let time pass, by the house's clock."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    alarm = clock.call_in(seconds, lambda: None if over.done() else over.set_result(None))
    try:
        await over
    finally:
        alarm.cancel()


class Pregreet(Gate):
    """Waits `wait` seconds with the greeting, once a day for each address."""

    def __init__(self, wait: float, clock: Clock) -> None:
        self._wait = wait
        self._clock = clock
        self._patient: OrderedDict[str, float] = OrderedDict()  # who has waited, and until when it counts

    def connected(self, client: Client) -> Step:
        if not client.is_stranger or client.brought_by:  # what a proxy says on somebody's behalf may be pipelined
            return None
        if self._patient.get(counted_as(client.ip), 0.0) > self._clock.now():
            return None
        return self._listen(client)

    async def _listen(self, client: Client) -> Reply | None:
        await pause(self._clock, self._wait)
        if octets := client.unread():
            return say.SPOKE_EARLY.because(f"{octets} octets came before the greeting, within {self._wait:g} s")
        key = counted_as(client.ip)
        self._patient[key] = self._clock.now() + REMEMBERED
        self._patient.move_to_end(key)
        while len(self._patient) > KEPT:
            self._patient.popitem(last=False)
        return None


class Tarpit(Gate):
    """Delays the refusals of one visit: `step` seconds for the second, twice that for the third, at most `longest`."""

    def __init__(self, step: float, longest: float, clock: Clock) -> None:
        self._step = step
        self._longest = longest
        self._clock = clock

    def refused(self, client: Client, step: str, reply: Reply) -> Step:
        if not client.is_stranger:
            return None
        count: int = client.facts.get("refusals", 0) + 1
        client.facts["refusals"] = count
        seconds = min(self._longest, self._step * (count - MISTAKES_FREE))
        return self._delay(seconds, client) if seconds > 0 else None

    async def _delay(self, seconds: float, client: Client) -> None:
        client.note(f"tarpit: this refusal waits {seconds:g} s")
        await pause(self._clock, seconds)
