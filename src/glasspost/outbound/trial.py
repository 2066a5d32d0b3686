"""A trial: one message for servers of somebody's choice, while somebody watches.

Lives here: the order of things from the call to QUIT, how far a trial goes, and what became of each recipient.
Does not live here: the conversation on the socket (conversation.py), what is seen of it (watching.py), mail of the
queue, which goes by remote.py: a trial keeps nothing, tries nothing again, and tells at once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from glasspost.ip import is_loopback
from glasspost.mail import reply as replies
from glasspost.mail.address import a_label
from glasspost.mail.envelope import Envelope, Outcome, Recipient, Verdict
from glasspost.mail.reply import Reply
from glasspost.net.certificate import tls_facts
from glasspost.net.dialer import DialError, dial, tls_fault
from glasspost.outbound.conversation import ConversationSettings
from glasspost.outbound.routes import Host
from glasspost.outbound.sights import Calling, Closed, Connected, Heard, Noted, Phase, Secured, Watch, phase_of
from glasspost.outbound.watching import WatchedConversation, Watcher, forms_of
from glasspost.protocol.smtp_client_events import Finished, Step
from glasspost.protocol.talk import escape


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried, and how.

    `hosts` are called in order, until one talks. `tls`: "auto" takes it where STARTTLS is offered, "require" wants it,
    "implicit" begins with it, "none" does without. `context` is for the handshake; `believed` knows the authorities by
    which a certificate is judged. `tls_name`: who must be there, where that is not the host's name. `until`: the last
    phase; None: all of them. `pause`: seconds to wait before each thing we say.
    """

    hosts: tuple[Host, ...]
    envelope: Envelope
    content: bytes = field(repr=False)
    conversation: ConversationSettings
    context: ssl.SSLContext
    believed: ssl.SSLContext
    tls: str = "auto"
    tls_name: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    source: str = ""
    pause: float = 0.0
    until: Phase | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one recipient. `phase`: where it was decided. `outcome` None: not refused as far as was asked."""

    recipient: Recipient
    phase: Phase
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why a visit ended before its message. `elsewhere`: another host may be tried."""

    phase: Phase
    reply: Reply
    said: bool
    elsewhere: bool = False


class Trial:
    """Runs a plan once. `watch` is shown everything as it happens.

    `wall` is the time of day in seconds, for certificates; `began` (of the loop's clock) is when the first of several
    trials began.
    """

    def __init__(self, plan: Plan, watch: Watch, wall: Callable[[], float], began: float | None = None) -> None:
        self._plan = plan
        self._watch = watch
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time() if began is None else began
        self._server = ""

    def now(self) -> float:
        return self._loop.time() - self._began

    async def run(self) -> list[Finding]:
        """What became of each recipient, in the envelope's order."""
        for host in self._plan.hosts:
            found = await self._visit(host)
            if isinstance(found, list):
                return [self._public(one) for one in found]
            stop = found
            if not stop.elsewhere:
                break
        if stop.reply.positive:  # as far as was asked
            return [Finding(one, stop.phase, None) for one in self._plan.envelope.recipients]
        outcome = _outcome(self._watcher().public(stop.reply), self._server, stop.said)
        return [Finding(one, stop.phase, outcome) for one in self._plan.envelope.recipients]

    def _public(self, finding: Finding) -> Finding:
        if finding.outcome is not None:
            finding.outcome.reply = self._watcher().public(finding.outcome.reply)
        return finding

    # --- one host ---------------------------------------------------------------------------------------------

    async def _visit(self, host: Host) -> list[Finding] | _Stop:
        called = await self._call(host)
        if isinstance(called, _Stop):
            return called
        try:
            stop = await self._introduce(called, host)
            return stop if stop is not None else await self._transact(called)
        finally:
            called.leave()
            await called.left()
            if called.client.broken_at in (None, Step.QUIT):
                self._watch(Closed(self.now()))

    async def _call(self, host: Host) -> WatchedConversation | _Stop:
        plan = self._plan
        begin = self.now()
        name = self._tls_name(host)
        implicit = plan.tls == "implicit"

        def opened(conversation: WatchedConversation) -> None:
            self._server = conversation.server
            self._watch(Connected(self.now(), conversation.server, _our_end(conversation), self.now() - begin))
            if implicit:
                conversation.client.secure = True
                self._look_at_tls(conversation, name, begin)

        self._server = f"{host.name}:{host.port}"
        self._watch(Calling(begin, host.name, host.port, host.addresses))
        try:
            _, conversation, _ = await dial(
                host,
                protocol_factory=lambda: WatchedConversation(
                    self._loop, plan.conversation, host, self._watcher(), opened, plan.pause
                ),
                connect_timeout=plan.conversation.timeouts.connect,
                source=plan.source or None,
                tls=plan.context if implicit else None,
                server_hostname=name if implicit else None,
            )
        except DialError as error:
            fault = error.reason.removeprefix("TLS: ")
            if error.tls:
                return self._stop(Phase.TLS, replies.TLS_FAILED.saying(server=self._server, fault=fault))
            unreached = replies.NO_ANSWER.saying(server=self._server, fault=fault)
            return self._stop(Phase.CONNECT, unreached, elsewhere=True)
        return conversation

    def _watcher(self) -> Watcher:
        return Watcher(self._watch, self.now, forms_of(self._plan.username, self._plan.password))

    async def _introduce(self, conversation: WatchedConversation, host: Host) -> _Stop | None:
        """Greeting, EHLO, TLS, sign-in. None where the message, or the question, comes next."""
        plan = self._plan
        reply = await conversation.greeting()
        if reply.code != 220:
            return self._refused(conversation, Phase.GREETING, reply, elsewhere=True)
        if plan.until is Phase.CONNECT:
            return _Stop(Phase.CONNECT, reply, True)
        reply = await conversation.hello()
        if reply.code // 100 != 2:
            return self._refused(conversation, Phase.HELLO, reply, elsewhere=True)
        if plan.until is Phase.HELLO:
            return _Stop(Phase.HELLO, reply, True)
        stop = await self._secure(conversation, host) if plan.tls in ("auto", "require") else None
        if stop is not None or plan.until is Phase.TLS:
            return stop or _Stop(Phase.TLS, reply, True)
        stop = await self._sign_in(conversation) if plan.username else None
        if stop is not None or plan.until is Phase.AUTH:
            return stop or _Stop(Phase.AUTH, reply, True)
        return None

    async def _secure(self, conversation: WatchedConversation, host: Host) -> _Stop | None:
        """STARTTLS: "auto" takes no for an answer, "require" does not. A handshake that fails is the end for both."""
        server = conversation.server
        required = self._plan.tls == "require"
        if not conversation.client.offered.starttls:
            return self._stop(Phase.TLS, replies.SERVER_WITHOUT_TLS.saying(server=server)) if required else None
        reply = await conversation.ask_for_tls()
        if conversation.client.broken is not None:
            return self._refused(conversation, Phase.TLS, reply)
        if reply.code != 220:
            refusal = replies.TLS_FAILED.saying(server=server, fault=f"STARTTLS: {reply}")
            return self._stop(Phase.TLS, refusal) if required else None
        begin, name = self.now(), self._tls_name(host)
        try:
            await conversation.secure(self._plan.context, name)
        except (OSError, EOFError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            return self._stop(Phase.TLS, replies.TLS_FAILED.saying(server=server, fault=tls_fault(error)))
        self._look_at_tls(conversation, name, begin)
        reply = await conversation.hello()  # RFC 3207 §4.2
        return None if reply.code // 100 == 2 else self._refused(conversation, Phase.HELLO, reply)

    def _look_at_tls(self, conversation: WatchedConversation, name: str, begin: float) -> None:
        assert conversation.tls is not None
        took = self.now() - begin
        facts = tls_facts(conversation.tls, name, self._plan.believed, self._wall())
        self._watch(Secured(self.now(), name, facts, took))

    def _tls_name(self, host: Host) -> str:
        return self._plan.tls_name or host.name.strip("[]")

    async def _sign_in(self, conversation: WatchedConversation) -> _Stop | None:
        """AUTH (RFC 4954). A password goes over TLS, or does not leave the machine."""
        client, server = conversation.client, conversation.server
        if not client.secure and not is_loopback(conversation.peer[0]):
            fault = "passwords travel only encrypted"
            return self._stop(Phase.AUTH, replies.SIGN_IN_IMPOSSIBLE.saying(server=server, fault=fault))
        if not conversation.can_sign_in():
            fault = f"it offers {', '.join(client.offered.auth) or 'no AUTH'}"
            return self._stop(Phase.AUTH, replies.SIGN_IN_IMPOSSIBLE.saying(server=server, fault=fault))
        reply = await conversation.sign_in(self._plan.username, self._plan.password)
        return None if reply.code // 100 == 2 else self._refused(conversation, Phase.AUTH, reply)

    def _refused(self, conversation: WatchedConversation, phase: Phase, reply: Reply, elsewhere: bool = False) -> _Stop:
        """The server said no; or it was lost, or talked nonsense, which is ours to say."""
        client = conversation.client
        if reply.positive:
            fault = f"{reply.code} where it does not belong"
            reply = replies.SERVER_TALKS_NONSENSE.saying(server=conversation.server, fault=fault)
        elif client.broken is None or client.broken_by_server:
            return _Stop(phase, reply, True, elsewhere)
        return self._stop(phase, reply, elsewhere)

    def _stop(self, phase: Phase, reply: Reply, elsewhere: bool = False) -> _Stop:
        self._watch(Noted(self.now(), phase, self._watcher().public(reply)))
        return _Stop(phase, reply, False, elsewhere)

    # --- the message ------------------------------------------------------------------------------------------

    async def _transact(self, conversation: WatchedConversation) -> list[Finding]:
        """The message, in as many transactions as it needs on this connection."""
        recipients = self._plan.envelope.recipients
        findings: dict[int, Finding] = {}
        while len(findings) < len(recipients):
            left = [place for place in range(len(recipients)) if place not in findings]
            heard = len(conversation.watcher.replies)
            outcomes = await self._transaction(conversation, [recipients[place] for place in left])
            for place, outcome in zip(left, outcomes, strict=True):
                phase = self._phase(conversation, recipients[place], outcome, heard)
                if phase is not None:
                    findings[place] = Finding(recipients[place], phase, outcome)
        client = conversation.client
        if client.broken is not None and not client.broken_by_server:
            self._watch(Noted(self.now(), phase_of(client.broken_at), self._watcher().public(client.broken)))
        return [findings[place] for place in range(len(recipients))]

    async def _transaction(
        self, conversation: WatchedConversation, recipients: Sequence[Recipient]
    ) -> Sequence[Outcome | None]:
        plan, client = self._plan, conversation.client
        until = {Phase.MAIL: Step.MAIL, Phase.RCPT: Step.RCPT}.get(plan.until or Phase.CONTENT)
        if client.usable:
            envelope = replace(plan.envelope, recipients=list(recipients), declared_size=len(plan.content))
            content = conversation.give(plan.content)
            event = await conversation.transact(envelope, content, not plan.content.isascii(), until)
            if isinstance(event, Finished):
                return event.outcomes
        reply = client.broken or replies.CONNECTION_LOST.saying(server=conversation.server, when="between messages")
        return [_outcome(reply, conversation.server, client.broken_by_server) for _ in recipients]

    def _phase(
        self, conversation: WatchedConversation, recipient: Recipient, outcome: Outcome | None, heard: int
    ) -> Phase | None:
        """Where a recipient's fate was decided, by the replies since number `heard`; None: it is still to be."""
        since = conversation.watcher.replies[heard:]
        if outcome is None:
            if self._plan.until is Phase.MAIL:
                return Phase.MAIL
            asked = self._plan.until is Phase.RCPT and any(_is_about(one, recipient) for one in since)
            return Phase.RCPT if asked else None
        if outcome.reply.positive:
            return Phase.CONTENT
        for one in since:
            if not one.reply.positive and (one.step in (Step.MAIL, Step.DATA) or _is_about(one, recipient)):
                return phase_of(one.step)
        if conversation.client.broken is not None:
            return phase_of(conversation.client.broken_at)
        return Phase.CONTENT if outcome.said_by_remote else Phase.MAIL  # our own no comes before MAIL


def _outcome(reply: Reply, server: str, said: bool) -> Outcome:
    return Outcome(Verdict.FAILED if reply.permanent else Verdict.DEFERRED, reply, server, said)


def _is_about(heard: Heard, recipient: Recipient) -> bool:
    """Whether this is the answer to the RCPT for this recipient, in whichever form its domain was written."""
    if heard.step is not Step.RCPT:
        return False
    address = recipient.address
    forms = (address, address._replace(domain=a_label(address.domain)))
    return any(heard.command.startswith(f"RCPT TO:<{escape(str(form).encode())}>") for form in forms)


def _our_end(conversation: WatchedConversation) -> str:
    assert conversation.transport is not None
    local = conversation.transport.get_extra_info("sockname")
    return f"[{local[0]}]:{local[1]}" if isinstance(local, tuple) else ""
