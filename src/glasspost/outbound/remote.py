"""The courier to other servers: one attempt to bring a message to a route's hosts, and each recipient's outcome.

Lives here: which host is tried after which, what TLS must prove, and when a connection is reused.
Does not live here: where the route leads (routes.py), when to try again (scheduler.py), the sign-in
(sign_in.py), the talk itself (conversation.py, protocol/smtp_client.py).

Within one attempt the next host is tried where a host could not be reached or would not talk (RFC 5321 §5.1). What a
host says about the message or a recipient is the verdict, and no other host is asked to contradict it.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from glasspost.clock import Clock
from glasspost.mail import reply as replies
from glasspost.mail.envelope import Outcome, Verdict
from glasspost.net.certificate import in_short, is_for, shown_by, version_and_cipher
from glasspost.net.dialer import Callee, DialError, tls_fault
from glasspost.net.tls import ClientContexts
from glasspost.outbound import requiretls
from glasspost.outbound.connections import Connections, Place, ReuseSettings, place_of
from glasspost.outbound.conversation import Conversation, ConversationSettings, OpenRecording
from glasspost.outbound.errand import Errand, Setback, complete, envelope, ours, refused
from glasspost.outbound.routes import Host, Route
from glasspost.outbound.sign_in import sign_in
from glasspost.protocol.smtp_client_events import Finished

if TYPE_CHECKING:
    from cryptography import x509

    from glasspost.outbound.bearer import Bearer
    from glasspost.storage.spooled import Message, Queued
    from glasspost.storage.transcripts import Recording


class Dial(Protocol):
    """`net.dialer.dial`, as far as it matters here."""

    async def __call__(
        self,
        host: Callee,
        *,
        protocol_factory: Callable[[], Conversation],
        connect_timeout: float,
        source: str | Sequence[str] | None = None,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, Conversation, str]: ...


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How mail is brought to other servers.

    `source`: addresses of ours to call from, at most one of a family; the system chooses for the others.
    `host_rest`: seconds for which a host that could not be reached is tried after the others of a route.
    """

    conversation: ConversationSettings
    reuse: ReuseSettings = field(default_factory=ReuseSettings)
    source: tuple[str, ...] = ()
    host_rest: float = 60.0

    def conversation_for(self, route: Route) -> ConversationSettings:
        """How to speak on this route: LMTP differs from SMTP in its greeting and at the end of a message."""
        conversation = self.conversation
        if route.protocol != "lmtp":
            return conversation
        return replace(conversation, client=replace(conversation.client, lmtp=True))


class RemoteCourier:
    """Brings mail to other servers. One for the process; `close` it in the end.

    `contexts` has the TLS context that proves nothing (tls "may" and "encrypt"), and those that check the certificate
    (tls "verify"). `bearers`: whoever brings the tokens that routes name.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        dial: Dial,
        open_recording: OpenRecording,
        contexts: ClientContexts,
        clock: Clock,
        bearers: Mapping[str, Bearer] | None = None,
    ) -> None:
        self._settings = settings
        self._dial = dial
        self._open_recording = open_recording
        self._contexts = contexts
        self._clock = clock
        self.bearers = bearers or {}
        self._connections = Connections(settings.reuse)
        self._resting: dict[tuple[str, int], float] = {}  # hosts that could not be reached, and until when they rest

    def adopt(self, settings: RemoteSettings, contexts: ClientContexts, bearers: Mapping[str, Bearer]) -> None:
        """Other settings, authorities and tokens, for connections that are made from now on."""
        self._settings = settings
        self._contexts = contexts
        self.bearers = bearers
        self._connections.settings = settings.reuse

    def connections_open(self, key: str) -> int:
        """How many connections stand for a route's key, busy and idle."""
        return self._connections.count(key)

    async def close(self, patience: float = math.inf) -> None:
        """Say QUIT on idle connections, and wait for it, for as long as always but at most `patience` seconds."""
        await self._connections.close(min(patience, self._settings.conversation.timeouts.quit))

    async def deliver(self, message: Message, recipients: Sequence[Queued], route: Route) -> list[Outcome]:
        """One attempt for these recipients; their outcomes in the same order.

        Raises StoreError where the message's content cannot be read; nothing was delivered by the transaction that
        needed it.
        """
        errand = Errand(message, recipients, [None] * len(recipients))
        setbacks: list[Setback] = []
        possible = requiretls.ways(message, route)
        if not possible:
            return [requiretls.nowhere(route) for _ in recipients]
        for way in possible:
            setbacks = await self._try_hosts(way, errand)
            if not setbacks:
                break
        return complete(errand.outcomes, setbacks)

    async def _try_hosts(self, route: Route, errand: Errand) -> list[Setback]:
        """Bring it to the first host that talks. What stood in the way; nothing where all is decided."""
        setbacks: list[Setback] = []
        for host in self._in_order(route.hosts):
            setback = await self._deliver_at(host, route, errand)
            if setback is None:
                return []
            setback = requiretls.judged(setback, route)
            setbacks.append(setback)
            errand.before.append(f"{setback.outcome.remote_mta}: {setback.outcome.reply}")
            if setback.conclusive:
                break
        return setbacks

    def _in_order(self, hosts: tuple[Host, ...]) -> Sequence[Host]:
        """The route's order, but hosts that could not be reached a moment ago come last (RFC 5321 §4.5.4.1)."""
        if not self._resting:
            return hosts
        now = self._clock.now()
        self._resting = {host: until for host, until in self._resting.items() if until > now}
        return sorted(hosts, key=lambda host: (host.name, host.port) in self._resting)

    # --- one host ---------------------------------------------------------------------------------------------

    async def _deliver_at(self, host: Host, route: Route, errand: Errand) -> Setback | None:
        """Bring the message to one host, in as many transactions as it needs. None when all is decided."""
        place = place_of(route, host)
        may_reuse = True
        while left := errand.left():
            conversation = self._connections.take(place, host.addresses) if may_reuse else None
            reused = conversation is not None
            if conversation is None:
                opened = await self._open(host, route, place, errand)
                if isinstance(opened, Setback):
                    return opened
                conversation = opened
            setback = requiretls.lacking(conversation, route)
            if setback is not None:
                self._connections.put_back(conversation)  # for other mail it may do
                return setback
            finished = await self._transact(conversation, errand, left, route)
            if finished.unanswered:
                if reused and not conversation.silent:
                    may_reuse = False  # it had died, or was closing, while idle: that says nothing about the host
                    continue
                return refused(conversation, conversation.client.broken or replies.LOCAL_ERROR)
            may_reuse = True
            for position, outcome in zip(left, finished.outcomes, strict=True):
                errand.outcomes[position] = outcome
        return None

    async def _transact(self, conversation: Conversation, errand: Errand, left: list[int], route: Route) -> Finished:
        """One transaction for those that are left; the connection goes back to the idle ones afterwards."""
        message = errand.message
        recording = conversation.recording
        recording.mark()
        recording.mention(message.queue_id)
        recording.note(f"{message.queue_id}, {message.size} octets, recipients: {len(left)}")
        try:
            event = await conversation.transact(
                envelope(message, errand.recipients, left, requiretls=route.requiretls),
                message.content,
                message.eight_bit,
            )
        except BaseException:
            conversation.abort()  # cancelled, or the store failed: the end must not be said
            raise
        if not isinstance(event, Finished):
            return Finished([], unanswered=True)
        relayed = sum(outcome is not None and outcome.verdict is Verdict.RELAYED for outcome in event.outcomes)
        recording.note(f"{message.queue_id}: relayed, {relayed} of {len(left)} recipients")
        evidence = ""
        for outcome in event.outcomes:
            if outcome is not None:
                outcome.conversation = recording.id
                if outcome.verdict is not Verdict.RELAYED:
                    evidence = evidence or recording.excerpt()
                    outcome.evidence = evidence
        self._connections.put_back(conversation)
        return event

    # --- opening a connection ---------------------------------------------------------------------------------

    async def _open(self, host: Host, route: Route, place: Place, errand: Errand) -> Conversation | Setback:
        """A connection that is ready for MAIL. Opportunistic TLS that fails is given up for this connection only."""
        opened = await self._call(host, route, place, errand, in_clear=False)
        if isinstance(opened, Setback) and opened.tls_failed and route.tls == "may" and not route.implicit_tls:
            errand.before.append(f"{opened.outcome.reply}; this route may go without")
            return await self._call(host, route, place, errand, in_clear=True)
        return opened

    async def _call(
        self, host: Host, route: Route, place: Place, errand: Errand, *, in_clear: bool
    ) -> Conversation | Setback:
        """Dial and introduce ourselves."""
        loop = asyncio.get_running_loop()
        settings = self._settings

        def open_recording(local: str, peer: str) -> Recording:
            return self._begin_recording(local, peer, f"{peer} for {route.key}, TLS: {route.tls}", errand)

        try:
            _, conversation, _ = await self._dial(
                host,
                protocol_factory=lambda: Conversation(
                    loop, settings.conversation_for(route), host, open_recording, self._connections.forget
                ),
                connect_timeout=settings.conversation.timeouts.connect,
                source=settings.source or None,
                tls=self._context(route) if route.implicit_tls else None,
                server_hostname=host.name.strip("[]") if route.implicit_tls else None,
            )
        except DialError as error:
            return self._unreachable(host, error, errand)
        if not conversation.gone:
            self._connections.add(conversation, place)
        try:
            setback = await self._introduce(conversation, host, route, in_clear)
        except BaseException:
            conversation.abort()
            raise
        if setback is not None:
            conversation.leave()
            return setback
        return conversation

    def _unreachable(self, host: Host, error: DialError, errand: Errand) -> Setback:
        """Nobody to talk to. That, too, is put on record: it is what the sender will ask about."""
        self._resting[host.name, host.port] = self._clock.now() + self._settings.host_rest
        server = host.name if host.name.startswith("/") else f"{host.name}:{host.port}"
        if error.tls:
            reply = replies.TLS_FAILED.saying(server=server, fault=error.reason.removeprefix("TLS: "))
        else:
            reply = replies.NO_ANSWER.saying(server=server, fault=error.reason)
        why = f"{errand.message.queue_id}: {', '.join(host.addresses)}: {error.reason}"
        recording = self._begin_recording("", server, why, errand)
        evidence = recording.excerpt()
        recording.close(str(reply))
        outcome = Outcome(Verdict.DEFERRED, reply, server, conversation=recording.id, evidence=evidence)
        return Setback(outcome, unproved=error.unproved)

    def _begin_recording(self, local: str, peer: str, fact: str, errand: Errand) -> Recording:
        """A recording, found by the message it was begun for, that starts with what happened before."""
        recording = self._open_recording(local, peer)
        recording.mention(errand.message.queue_id)
        for line in errand.before:
            recording.note(f"before: {line}")
        recording.note(fact)
        return recording

    async def _introduce(self, conversation: Conversation, host: Host, route: Route, in_clear: bool) -> Setback | None:
        """Greeting, EHLO, TLS, sign-in. None where the server is ready for MAIL."""
        if conversation.tls is not None:
            setback = self._proved(conversation, route)
            if setback is not None:
                return setback
            conversation.client.secure = True
        reply = await conversation.greeting()
        if reply.code != 220:  # 554: no mail service here; 521: RFC 7504; 4xx: not now
            return refused(conversation, reply)
        reply = await conversation.hello()
        if reply.code // 100 != 2:
            return refused(conversation, reply)
        if conversation.tls is None and route.tls != "none" and not in_clear:
            setback = await self._secure(conversation, host, route)
            if setback is not None:
                return setback
        if route.username:
            return await sign_in(conversation, route, self.bearers)
        return None

    async def _secure(self, conversation: Conversation, host: Host, route: Route) -> Setback | None:
        """STARTTLS as the route demands: tls "may" takes no for an answer, the others do not."""
        optional = route.tls == "may"
        server = conversation.server
        if not conversation.client.offered.starttls:
            if optional:
                return None
            return ours(conversation, replies.SERVER_WITHOUT_TLS.saying(server=server), unproved=True)
        reply = await conversation.ask_for_tls()
        if conversation.client.broken is not None:
            return refused(conversation, reply)
        if reply.code != 220:
            if optional:
                conversation.recording.note("STARTTLS was refused; this route may go without")
                return None
            refusal = replies.TLS_FAILED.saying(server=server, fault=f"STARTTLS: {reply}")
            return ours(conversation, refusal, unproved=reply.permanent)
        try:
            await conversation.secure(self._context(route), host.name.strip("[]"))
        except (OSError, EOFError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            fault = tls_fault(error)
            conversation.recording.note(f"TLS failed: {fault}")
            refusal = replies.TLS_FAILED.saying(server=server, fault=fault)
            unproved = isinstance(error, ssl.SSLCertVerificationError)
            return ours(conversation, refusal, tls_failed=True, unproved=unproved)
        setback = self._proved(conversation, route)
        if setback is not None:
            return setback
        reply = await conversation.hello()  # RFC 3207 §4.2
        return None if reply.code // 100 == 2 else refused(conversation, reply)

    def _proved(self, conversation: Conversation, route: Route) -> Setback | None:
        """TLS stands: put on record what it has proved. Where the name was left to us, look at it, before anything is
        said."""
        tls = conversation.tls
        assert tls is not None
        certificate = shown_by(tls)
        conversation.recording.note(_proof_words(tls, certificate, route))
        if route.tls != "verify" or not route.names:
            return None
        if certificate is not None and any(is_for(certificate, name) for name in route.names):
            return None
        fault = f"its certificate is for none of the names that this destination has: {', '.join(route.names)}"
        return ours(conversation, replies.TLS_FAILED.saying(server=conversation.server, fault=fault), unproved=True)

    def _context(self, route: Route) -> ssl.SSLContext:
        if route.tls != "verify":
            return self._contexts.opportunistic
        return self._contexts.verifying(route.ca_file, any_name=bool(route.names))


def _proof_words(tls: ssl.SSLObject, certificate: x509.Certificate | None, route: Route) -> str:
    """What TLS has proved, for the record: version, cipher, certificate, and how it was verified."""
    shown = in_short(certificate) if certificate is not None else "no certificate"
    if route.tls != "verify":
        proof = f'not checked: TLS "{route.tls}" asks for no proof'
    else:
        by = f"by {route.ca_file.name}" if route.ca_file is not None else "by the system's authorities"
        proof = f"verified {by}, for {' or '.join(route.names) if route.names else 'the host name'}"
    return ", ".join((*version_and_cipher(tls), shown, proof))
