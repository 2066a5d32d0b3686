"""The gate of the operator's own rules: functions in a Python file, called at each step of a visit.

Lives here: which function is asked when, what its verdict means, and what happens when it breaks: the client is told
to come back (451), the transcript and the log say why. Nothing is lost, and nothing is let through.
Does not live here: what hooks see and say (glasspost/hooks.py), the file (hook_script.py), calling (hook_runner.py).

A visit keeps the version of the file that it began with. A changed file is loaded when the next client comes; a
broken one changes nothing, and every transcript says so until it is repaired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog

from glasspost import hooks
from glasspost.ids import write_id
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Arrival, Gate, Step
from glasspost.inbound.hook_runner import HookFailed, HookRunner
from glasspost.inbound.hook_script import HooksBroken, Script, load_script
from glasspost.mail import reply as say
from glasspost.mail.address import path_text
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.reply import Reply
from glasspost.stamps import stamp_of
from glasspost.storage.fates import Fate
from glasspost.storage.spooled import Intake

UNTOLD_LIMIT = 1000  # calls of accepted, delivered and failed that may wait; more are left out, and the log says so
ENDS = {"delivered": "delivered", "relayed": "delivered", "failed": "failed", "given up": "failed"}

log = structlog.get_logger("hooks")


class _Guest:
    """A visit as hooks know it: its file, what they see, and what they were last told of its transaction."""

    __slots__ = ("envelope", "script", "visit")

    def __init__(self, script: Script, client: Client) -> None:
        self.script = script
        self.envelope = hooks.Envelope("")
        self.visit = hooks.Visit(
            client.role, client.ip, client.port, client.listener, client.hostname, client.conversation, client.trusted
        )

    def see(self, client: Client) -> hooks.Visit:
        visit = self.visit
        visit.hello, visit.extended, visit.tls = client.hello, client.extended, client.tls
        visit.account = str(client.account.address) if client.account is not None else ""
        return visit


class Hooks(Gate):
    """All listeners of a node share one."""

    def __init__(self, path: Path, *, limit: float = 10.0, threads: int = 8, message_limit: int = 1 << 20) -> None:
        """Loads the file. `limit`: seconds for one call; `message_limit`: octets of a message that `data` is shown.
        Raises HooksBroken."""
        self._script = load_script(path)
        self._seen = self._script.stamp
        self._fault = ""
        self._runner = HookRunner(limit, threads)
        self._message_limit = message_limit
        self._telling: set[asyncio.Task[None]] = set()

    # --- steps ------------------------------------------------------------------------------------------------

    def connected(self, client: Client) -> Step:
        if stamp_of(self._script.path) != self._seen:
            return self._connected_anew(client)
        return self._welcome(client)

    async def _connected_anew(self, client: Client) -> Reply | None:
        await self._reload()
        step = self._welcome(client)
        return step if step is None or isinstance(step, Reply) else await step

    def _welcome(self, client: Client) -> Step:
        if self._fault:
            client.note(f"hooks: the changed file is broken, so the version before it is used: {self._fault}")
        client.facts["hooks"] = _Guest(self._script, client)
        return self._ask("connect", client)

    def greeted(self, client: Client) -> Step:
        return self._ask("helo", client)

    def sender(self, client: Client, envelope: Envelope) -> Step:
        self._envelope(client, envelope)
        return self._ask("mail", client)

    def recipient(self, client: Client, envelope: Envelope, recipient: Recipient) -> Step:
        self._envelope(client, envelope)
        return self._ask("rcpt", client, str(recipient.address))

    def message(self, client: Client, envelope: Envelope, arrival: Arrival) -> Step:
        guest = self._guest(client)
        self._envelope(client, envelope)
        if "data" not in guest.script.functions:
            return None
        return self._judge_message(guest, client, arrival)

    async def _judge_message(self, guest: _Guest, client: Client, arrival: Arrival) -> Reply | None:
        octets = await self._octets(arrival)
        message = hooks.Message(write_id("q", arrival.queue_number), arrival.size, octets)
        verdict = await self._verdict(guest, "data", client, message)
        if isinstance(verdict, hooks.Verdict) and verdict.held:
            arrival.hold = arrival.hold or f"hook data ({guest.script.name}): {verdict.text}"
            verdict = None
        if verdict is None:
            arrival.fields += message.fields
        return self._reply(guest, "data", verdict)

    async def _octets(self, arrival: Arrival) -> bytes:
        """The message, as far as hooks are shown it."""
        if arrival.size > self._message_limit:
            return arrival.opening(min(self._message_limit, 64 * 1024))
        return b"".join([piece async for piece in arrival.chunks()])

    def _ask(self, name: str, client: Client, *more: str) -> Step:
        guest = self._guest(client)
        if name not in guest.script.functions:
            return None
        return self._judge(guest, name, client, *more)

    async def _judge(self, guest: _Guest, name: str, client: Client, *more: str) -> Reply | None:
        return self._reply(guest, name, await self._verdict(guest, name, client, *more))

    async def _verdict(self, guest: _Guest, name: str, client: Client, *more: object) -> hooks.Verdict | Reply | None:
        """What the hook says; a Reply where it broke."""
        arguments = (guest.envelope, *more)[: hooks.ARITY[name] - 1]
        try:
            verdict = await self._runner.call(guest.script, name, guest.see(client), *arguments)
            if not (verdict is None or isinstance(verdict, hooks.Verdict)):
                raise HookFailed(f"{guest.script.name}: {name} returned {verdict!r:.80}, which is no verdict")
            if verdict is not None and verdict.held and name != "data":
                raise HookFailed(f"{guest.script.name}: {name} cannot hold; only data can")
        except HookFailed as failure:
            log.error("a hook broke; the client is asked to come back", hook=name, fault=str(failure))
            return say.HOOK_BROKE.because(f"hook {name}: {failure}")
        finally:
            self._put_down(guest, client)
        return verdict

    def _put_down(self, guest: _Guest, client: Client) -> None:
        notes, guest.visit.notes = guest.visit.notes, []
        for note in notes:
            client.note(f"hook: {note}")

    def _reply(self, guest: _Guest, name: str, verdict: hooks.Verdict | Reply | None) -> Reply | None:
        if verdict is None or isinstance(verdict, Reply):
            return verdict
        reason = f"hook {name} ({guest.script.name})" + (f": {verdict.reason}" if verdict.reason else "")
        return Reply(verdict.code, verdict.enhanced, verdict.text, reason)

    def _guest(self, client: Client) -> _Guest:
        found = client.facts.get("hooks")
        if not isinstance(found, _Guest):  # nobody may pass unseen, however he came here
            found = client.facts["hooks"] = _Guest(self._script, client)
        return found

    def _envelope(self, client: Client, envelope: Envelope) -> None:
        self._guest(client).envelope = seen(envelope)

    # --- what is only told ------------------------------------------------------------------------------------

    def accepted(self, client: Client, intake: Intake) -> None:
        guest = self._guest(client)
        if "accepted" in guest.script.functions:
            words = guest.see(client), seen(intake.envelope), intake.queue_id
            task = self._tell(guest.script, "accepted", *words)
            if task is not None:
                task.add_done_callback(lambda _: self._put_down(guest, client))
        for _, path in intake.deposits:
            self._tell_end(hooks.Fate(intake.queue_id, str(path), "delivered", intake.arrived))

    def heard(self, fate: Fate) -> None:
        """What became of a recipient (outbound/scheduler.py tells it after it was recorded)."""
        if fate.what in ENDS:
            self._tell_end(
                hooks.Fate(fate.queue_id, fate.recipient, fate.what, fate.at, fate.reply, fate.host, fate.conversation)
            )

    def _tell_end(self, fate: hooks.Fate) -> None:
        name = ENDS[fate.what]
        if name in self._script.functions:
            self._tell(self._script, name, fate)

    def _tell(self, script: Script, name: str, *words: object) -> asyncio.Task[None] | None:
        if len(self._telling) >= UNTOLD_LIMIT:
            log.warning("a hook is left out: too many of its calls wait", hook=name, file=script.name)
            return None
        task = asyncio.get_running_loop().create_task(self._telling_it(self._runner.call(script, name, *words), name))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        return task

    async def _telling_it(self, call: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await call
        except HookFailed as failure:
            log.error("a hook broke; what it was told of is done all the same", hook=name, fault=str(failure))

    # --- the file ---------------------------------------------------------------------------------------------

    async def _reload(self) -> None:
        self._seen = stamp_of(self._script.path)  # also of a broken file: it is tried once
        try:
            self._script = await self._runner.load(self._script)
            self._fault = ""
            log.info("hooks were loaded anew", file=str(self._script.path))
        except HooksBroken as error:
            self._fault = str(error)
            log.error("the changed hooks file is broken; the version before it stays in use", fault=str(error))

    async def close(self) -> None:
        """No more calls; those under way are given up."""
        for task in list(self._telling):
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        self._runner.close()


def seen(envelope: Envelope) -> hooks.Envelope:
    """An envelope as hooks see it."""
    recipients = tuple(str(one.address) for one in envelope.recipients)
    sender = path_text(envelope.reverse_path)
    return hooks.Envelope(sender, recipients, envelope.declared_size, envelope.smtputf8, str(envelope.body))
