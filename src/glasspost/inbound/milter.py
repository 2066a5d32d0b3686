"""The gate of a mail filter that speaks the milter protocol.

Lives here: when the filter is asked, what each of its answers means for the mail, and what happens while it is down.
Does not live here: packets (protocol/milter.py), the connection (milter_link.py).

Three of a filter's wishes are not taken as Sendmail takes them. "Discard" holds the message for the postmaster: what
was accepted does not vanish (DESIGN law 2). Fields are added on top. Changes to what the sender wrote are not done
(law 7), and the transcript names each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from glasspost.ids import write_id
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Arrival, Gate, Step
from glasspost.inbound.milter_link import FilterDown, MilterLink
from glasspost.mail import reply as say
from glasspost.mail.address import path_text
from glasspost.mail.envelope import BodyType, Envelope, Recipient
from glasspost.mail.message import SCAN_LIMIT
from glasspost.mail.reply import Reply
from glasspost.protocol import milter as wire
from glasspost.protocol.milter import Answer, Change, MilterChat
from glasspost.storage.spooled import Intake

_NOTED = 1_000  # octets of a field's value that go into the transcript

log = structlog.get_logger("milter")


@dataclass(frozen=True, slots=True)
class MilterSettings:
    """One filter. Times in seconds."""

    address: str
    name: str
    strangers_only: bool = False
    accept_when_down: bool = False
    connect_timeout: float = 5.0
    command_timeout: float = 30.0
    message_timeout: float = 120.0


class _Party:
    """A visit as this gate knows it."""

    __slots__ = ("link", "over", "pardoned", "passed", "put_aside", "saying")

    def __init__(self) -> None:
        self.link: MilterLink | None = None
        self.pardoned = False  # the filter does not want to hear more of this visit
        self.renew()

    def renew(self) -> None:
        """Another transaction."""
        self.saying = False  # the filter has heard MAIL, and not the end
        self.passed = False  # nor does it want to hear more of this message
        self.over: Reply | None = None  # the message is refused with this, whatever comes
        self.put_aside = ""  # why it is to be held


class Milter(Gate):
    """One filter; all listeners of a node share it. Each visit has a connection of its own to it."""

    def __init__(self, settings: MilterSettings) -> None:
        self._settings = settings
        self._key = f"milter {settings.address}"

    # --- steps ------------------------------------------------------------------------------------------------

    def connected(self, client: Client) -> Step:
        if self._spared(client):
            return None
        party = client.facts[self._key] = _Party()
        return self._connect(party, client)

    def greeted(self, client: Client) -> Step:
        party = self._party(client)
        return None if party is None or party.link is None else self._hello(party, client)

    def sender(self, client: Client, envelope: Envelope) -> Step:
        if not self._spared(client):
            client.facts.setdefault(self._key, _Party())  # nobody's mail may pass unseen, however he came here
        party = self._party(client)
        return None if party is None else self._sender(party, client, envelope)

    def recipient(self, client: Client, envelope: Envelope, recipient: Recipient) -> Step:
        party = self._party(client)
        if party is None or party.passed or party.over is not None:
            return None if party is None else party.over
        address = str(recipient.address)
        macros = {"{rcpt_addr}": address, "{rcpt_host}": recipient.address.route, "{rcpt_mailer}": "esmtp"}
        return self._step(party, client, wire.RCPT, lambda chat: chat.rcpt(address, (), macros))

    def data(self, client: Client, envelope: Envelope) -> Step:
        party = self._party(client)
        if party is None or party.passed or party.over is not None:
            return None if party is None else party.over
        if party.link is None or party.link.chat.version <= 3:  # DATA came with version 4
            return None
        return self._step(party, client, wire.DATA, lambda chat: chat.data({}), whole=True)

    def message(self, client: Client, envelope: Envelope, arrival: Arrival) -> Step:
        party = self._party(client)
        return None if party is None else self._message(party, client, arrival)

    def accepted(self, client: Client, intake: Intake) -> None:
        self.forgotten(client)

    def forgotten(self, client: Client) -> None:
        party = client.facts.get(self._key)
        if isinstance(party, _Party):
            self._abort(party)
            party.renew()

    def left(self, client: Client) -> None:
        party = client.facts.pop(self._key, None)
        if isinstance(party, _Party) and party.link is not None:
            party.link.leave()
            party.link = None

    def _spared(self, client: Client) -> bool:
        return self._settings.strangers_only and client.may_relay

    def _party(self, client: Client) -> _Party | None:
        """This visit's, where the filter is to be asked."""
        party = client.facts.get(self._key)
        return party if isinstance(party, _Party) and not party.pardoned and not self._spared(client) else None

    # --- before the message -----------------------------------------------------------------------------------

    async def _connect(self, party: _Party, client: Client) -> Reply | None:
        """Dial and say who is there. A filter that is down is no reason to turn anybody away yet."""
        settings = self._settings
        try:
            party.link = await MilterLink.dial(settings.address, settings.connect_timeout)
        except FilterDown as down:
            self._tell_down(client, down)
            return None
        macros = {
            "j": client.hostname, "v": "glasspost", "{daemon_name}": client.role,
            "{client_addr}": client.ip, "{client_port}": str(client.port), "{client_name}": f"[{client.ip}]",
            "{client_ptr}": "unknown",
        }  # fmt: skip
        connect = wire.CONNECT
        return await self._step(
            party, client, connect, lambda chat: chat.connect(f"[{client.ip}]", client.ip, client.port, macros)
        )

    async def _hello(self, party: _Party, client: Client) -> Reply | None:
        self._abort(party)
        version, _, cipher = client.tls.partition(" ")
        macros = {"{tls_version}": version, "{cipher}": cipher}
        return await self._step(party, client, wire.HELO, lambda chat: chat.helo(client.hello, macros))

    async def _sender(self, party: _Party, client: Client, envelope: Envelope) -> Reply | None:
        self._abort(party)
        party.renew()
        if party.link is None:  # it was down: perhaps it is back
            refusal = await self._connect(party, client)
            if refusal is None and party.link is not None and client.hello:
                refusal = await self._hello(party, client)
            if refusal is not None or party.pardoned:
                return refusal
            if party.link is None:
                return self._without(party, client)
        path, account = path_text(envelope.reverse_path), client.account
        host = envelope.reverse_path.route if envelope.reverse_path is not None else ""
        macros = {"{mail_addr}": path, "{mail_host}": host, "{mail_mailer}": "esmtp"}
        macros |= {"{auth_authen}": str(account.address), "{auth_type}": "PLAIN"} if account is not None else {}
        said = [f"SIZE={envelope.declared_size}"] if envelope.declared_size else []
        said += [f"BODY={envelope.body}"] if envelope.body is not BodyType.SEVEN_BIT else []
        said += ["SMTPUTF8"] if envelope.smtputf8 else []
        party.saying = True
        return await self._step(party, client, wire.MAIL, lambda chat: chat.mail(path, said, macros), whole=True)

    # --- the message ------------------------------------------------------------------------------------------

    async def _message(self, party: _Party, client: Client, arrival: Arrival) -> Reply | None:
        changes: list[Change] = []
        refusal = party.over
        if refusal is None and not party.passed:
            refusal = await self._content(party, client, arrival, changes)
        if refusal is not None:
            return refusal
        for change in changes:
            self._change(client, arrival, change)
        if party.put_aside:
            arrival.hold = arrival.hold or party.put_aside
        return None

    async def _content(self, party: _Party, client: Client, arrival: Arrival, changes: list[Change]) -> Reply | None:
        """Header, body and end. A refusal, or None; then `passed` says whether the filter has heard enough."""
        at = arrival.scan.body_at
        header = arrival.opening(SCAN_LIMIT)[:at]
        for name, value in wire.fields_of(header):
            refusal = await self._step(party, client, wire.HEADER, _header(name, value), whole=True)
            if refusal is not None or party.passed:
                return refusal
        macros = {"i": write_id("q", arrival.queue_number)}
        refusal = await self._step(
            party, client, wire.END_OF_HEADER, lambda chat: chat.end_of_header(macros), whole=True
        )
        if refusal is None and not party.passed:
            refusal = await self._body(party, client, arrival, at)
        if refusal is not None or party.passed:
            return refusal
        limit = self._settings.message_timeout
        refusal = await self._step(
            party, client, wire.END_OF_MESSAGE, lambda chat: chat.end_of_message(macros), whole=True,
            limit=limit, changed=changes.append,
        )  # fmt: skip
        party.saying = False
        if refusal is None and party.over is None:
            client.note(f"milter {self._settings.name}: nothing against the message")
        return refusal

    async def _body(self, party: _Party, client: Client, arrival: Arrival, skip: int) -> Reply | None:
        link = party.link
        if link is None or not link.chat.wants(wire.BODY):
            return None
        async for piece in arrival.chunks():
            rest, skip = piece[skip:], max(0, skip - len(piece))
            for start in range(0, len(rest), wire.CHUNK):
                answer = await self._ask(
                    party, client, wire.BODY, _chunk(rest[start : start + wire.CHUNK]), self._settings.command_timeout
                )
                if answer is not None and answer.verdict == "skip":
                    return None
                refusal = self._meaning(party, client, wire.BODY, answer, whole=True)
                if refusal is not None or party.passed:
                    return refusal
        return None

    def _change(self, client: Client, arrival: Arrival, change: Change) -> None:
        who = f"milter {self._settings.name}"
        if change.what in ("add", "insert"):
            line = wire.field_line(change.name, change.value)
            if line is None:
                client.note(f"{who}: asks to add {change.name[:80]!r}, which would be no field: not done")
                return
            place = len(arrival.fields) if change.what == "add" else max(0, change.index - 1)
            arrival.fields.insert(place, line)
            client.note(f"{who}: adds {line[:_NOTED].decode('utf-8', 'replace').strip()}")
        elif change.what == "quarantine":
            arrival.hold = arrival.hold or f"{who}: {change.value[:200].decode('utf-8', 'replace')}"
        else:
            told = (change.name or change.value)[:200].decode("utf-8", "replace")
            client.note(f"{who}: asks to {change.what} {told}".rstrip() + ": not done; what was sent stays as it came")

    # --- one step ---------------------------------------------------------------------------------------------

    async def _step(
        self, party: _Party, client: Client, step: wire.Step, told: Callable[[MilterChat], None], *,
        whole: bool = False, limit: float = 0.0, changed: Callable[[Change], None] | None = None,
    ) -> Reply | None:  # fmt: skip
        """Say a step, if the filter wants it, and make a reply of its answer. `whole`: a refusal is of the message."""
        answer = await self._ask(party, client, step, told, limit or self._settings.command_timeout, changed)
        return self._meaning(party, client, step, answer, whole=whole)

    async def _ask(
        self, party: _Party, client: Client, step: wire.Step, told: Callable[[MilterChat], None], limit: float,
        changed: Callable[[Change], None] | None = None,
    ) -> Answer | None:  # fmt: skip
        """Its answer; None where it gives none, or is down, which the party knows then."""
        link = party.link
        if link is None or not link.chat.wants(step):
            return None
        try:
            if link.chat.answers(step):
                return await link.ask(told, limit, changed)
            link.say(told)
            await link.drained(limit)
        except FilterDown as down:
            party.link = None
            self._tell_down(client, down)
            if party.saying:
                self._without(party, client)
        return None

    def _meaning(
        self, party: _Party, client: Client, step: wire.Step, answer: Answer | None, *, whole: bool
    ) -> Reply | None:
        """The reply to the client, or None; the party remembers what else an answer means."""
        if answer is None:
            return party.over
        why = f"milter {self._settings.name}: {answer.verdict} at {step.name}"
        match answer.verdict:
            case "continue" | "skip":
                return None
            case "accept":
                client.note(why)
                if step in (wire.CONNECT, wire.HELO):
                    party.pardoned = True
                else:
                    party.passed = True
                return None
            case "discard" if step not in (wire.CONNECT, wire.HELO):
                party.passed, party.put_aside = True, why
                return None
            case "reject":
                refusal = say.FILTER_REFUSED.because(why)
            case "reply" if answer.reply is not None:
                refusal = answer.reply.because(why)
            case _:
                refusal = say.FILTER_DEFERRED.because(why)
        if whole:
            party.over = refusal
            self._abort(party)
        return refusal

    def _abort(self, party: _Party) -> None:
        """The filter need not wait for the rest of a message."""
        if party.saying and party.link is not None:
            party.link.say(MilterChat.abort)
        party.saying = False

    # --- down -------------------------------------------------------------------------------------------------

    def _tell_down(self, client: Client, down: FilterDown) -> None:
        client.note(f"milter {self._settings.name}: {down}")
        log.warning("a milter is down", milter=self._settings.name, fault=str(down))

    def _without(self, party: _Party, client: Client) -> Reply | None:
        """What becomes of a message while the filter is down, as the settings say."""
        if self._settings.accept_when_down:
            client.note(f"milter {self._settings.name}: the message is taken without it, as when_down says")
            party.passed = True
        else:
            party.over = say.FILTER_SILENT.because(f"milter {self._settings.name} is down")
        return party.over


def _header(name: bytes, value: bytes) -> Callable[[MilterChat], None]:
    return lambda chat: chat.header(name, value)


def _chunk(data: bytes) -> Callable[[MilterChat], None]:
    return lambda chat: chat.body(data)
