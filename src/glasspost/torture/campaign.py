"""A torture from beginning to end: a node with neighbours and load, stroke after stroke, then calm, then the account.

Lives here: the plan, the node's configuration, the round, and the end of everything that was started.
Does not live here: the strokes (strokes.py), the load (load.py), the account (account.py).

Everything is on loopback, and in a folder of its own. Every wait has a bound.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from glasspost.errors import GlasspostError
from glasspost.mail.address import address_from_text
from glasspost.storage.accounts import Directory
from glasspost.storage.folder import Folder
from glasspost.torture.account import Balance, Evidence, balance
from glasspost.torture.load import BOX, PATIENCE, SENDER, Client, Fate, Post
from glasspost.torture.neighbour import MOODY, NOBODY, STEADY
from glasspost.torture.reconcile import gather, still_waiting
from glasspost.torture.strokes import DRAIN, Names, Strokes
from glasspost.torture.victim import NextHop, Victim, free_port

DRAINED_WITHIN = 120.0  # seconds from calm to an empty queue; what waits then is counted as queued
_EARLY = 0.12  # of the strokes fall while the node is still starting

_CONFIG = """
[node]
hostname = "node.test"
drain = "{drain:g} s"
[[listener]]
role = "mx"
port = {port}
tls = "none"
[smtp]
relay_domains = ["steady.test", "moody.test", "second.test"]
max_connections_per_address = 0
[relay]
schedule = ["1 s", "2 s"]
delay_notice = "0 s"
mx_port = {mx_port}
lease = "10 s"
ipv6 = false
[relay.timeouts]
connect = "2 s"
greeting = "2 s"
ehlo = "2 s"
mail = "2 s"
rcpt = "2 s"
data = "2 s"
block = "2 s"
dot = "3 s"
quit = "1 s"
[dns]
servers = ["127.0.0.1:{dns_port}"]
timeout = "1 s"
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it. It ends with `kills` kills of the node, or after `seconds`, whichever comes first.

    `node` is the command that starts a node which can be mistreated (cli/torture_node.py). `strokes`: only these, by
    their names on the sheet; none: all of them. Between two of them so many messages are accepted (from, to), or as
    many as are within `pace` seconds.
    """

    node: Sequence[str]
    folder: Path
    kills: int = 20
    seconds: float = 3_600.0
    seed: int = 0
    clients: int = 8
    strokes: Sequence[str] = ()
    messages: tuple[int, int] = (0, 50)
    pace: float = 0.6


class Campaign:
    """One torture. `run` it once."""

    def __init__(self, plan: Plan, progress: Callable[[str], None] = lambda _text: None) -> None:
        self._plan = plan
        self._progress = progress
        self._chance = random.Random(plan.seed)
        self._victim = Victim(plan.node, plan.folder, plan.seed)
        mx_port = free_port(STEADY, MOODY, NOBODY)
        self._neighbour = NextHop(plan.folder, mx_port, plan.seed)
        self._names = Names(free_port("127.0.0.1"))
        self._strokes = Strokes(self._victim, self._neighbour, self._names, self._chance, plan.strokes)
        self._post = Post(free_port("127.0.0.1"))
        self._victim.config.write_text(
            _CONFIG.format(drain=DRAIN, port=self._post.port, mx_port=mx_port, dns_port=self._names.port)
        )

    async def run(self) -> Balance:
        """Raises GlasspostError where it could not even begin."""
        clients = [Client(f"c{n}", self._post, self._plan.seed + n) for n in range(self._plan.clients)]
        sending: list[asyncio.Task[None]] = []
        try:
            await self._begin()
            sending = [asyncio.create_task(client.run()) for client in clients]
            await self._rounds()
            for client in clients:
                client.stopping = True
            await self._let_everything_end(sending)
        finally:
            for task in sending:
                task.cancel()
            await self._victim.kill()
            await self._neighbour.kill()
            await self._names.die()
        return self._account()

    async def _begin(self) -> None:
        """Accounts, made before there is a node, so that no power cut can reach them."""
        folder = Folder(self._victim.data)
        folder.make()
        directory = Directory(folder.directory)
        try:
            for name in (SENDER, f"{BOX}@here.test"):
                directory.add_account(address_from_text(name), "secret", create_domain=True)
        finally:
            directory.close()
        await self._names.live()
        await self._neighbour.start()
        await self._start_node()
        if not (await self._neighbour.ready() and await self._victim.ready()):
            raise GlasspostError(f"node or neighbour did not start; their logs are in {self._plan.folder}")

    async def _start_node(self) -> None:
        await self._victim.start(self._strokes.first_orders)
        self._post.life = self._victim.life

    # --- rounds -----------------------------------------------------------------------------------------------

    async def _rounds(self) -> None:
        chance, strokes = self._chance, self._strokes
        begun = told = time.monotonic()
        while strokes.kills < self._plan.kills and time.monotonic() - begun < self._plan.seconds:
            if not self._victim.running:
                await self._look_after_death()
                await self._start_node()
            if chance.random() < _EARLY:
                await asyncio.sleep(chance.uniform(0, 0.7))
            else:
                await self._wait_until_ready()
                await self._post.more(chance.randint(*self._plan.messages), self._plan.pace)
                await asyncio.sleep(chance.uniform(0, 0.1))
            await strokes.fall()
            if time.monotonic() - told > 5:
                told = time.monotonic()
                self._progress(
                    f"{told - begun:5.0f} s  {strokes.kills} kills, "
                    f"{self._post.count(Fate.ACKNOWLEDGED)} recipients acknowledged"
                )

    async def _look_after_death(self) -> None:
        """Wait until the last life is over altogether."""
        await self._victim.ended()

    async def _wait_until_ready(self) -> None:
        if not await self._victim.ready():
            code = await self._victim.ended(1)
            how = "is not ready in time" if code is None else f"ended by itself with {code}"
            self._strokes.conduct.append(f"life {self._victim.life}: a node that was left alone {how}")
            await self._victim.kill()
            await self._start_node()

    # --- the end ----------------------------------------------------------------------------------------------

    async def _let_everything_end(self, sending: list[asyncio.Task[None]]) -> None:
        """Calm; the clients finish, the queue is worked off, the node is stopped."""
        await self._strokes.calm()
        if not self._victim.running:
            await self._look_after_death()
            await self._start_node()
        await self._wait_until_ready()
        await self._strokes.calm()
        await asyncio.wait(sending, timeout=PATIENCE)
        self._progress("calm: the queue is worked off")
        end = time.monotonic() + DRAINED_WITHIN
        while time.monotonic() < end:
            if not await asyncio.to_thread(still_waiting, self._victim.data, time.time()):
                break
            await asyncio.sleep(1)
        await self._strokes.stop()
        await self._look_after_death()

    def _account(self) -> Balance:
        evidence = Evidence(
            sent=self._post.sent, conduct=self._strokes.conduct, broken_lives=self._strokes.broken_lives
        )
        for number, line in enumerate(self._victim.log.read_text(errors="replace").splitlines(), 1):
            if "Traceback" in line and "glasspost.errors.Store" not in line:  # what a bad disk does to it is no bug
                evidence.conduct.append(f"node.log:{number} {line[:300]}")
        gather(self._victim.data, self._neighbour.ledger, evidence)
        return balance(evidence, self._strokes.count)
