"""The node: the house put together, opened in the morning, closed in the evening.

Lives here: the order of starting and stopping, and nothing else. `Node.start` reads as the story of a start.
Does not live here: what any room does, or how its settings come about (wiring.py).
"""

from __future__ import annotations

import asyncio
import resource
import ssl
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from glasspost.clock import Clock, SystemClock
from glasspost.errors import Busy, StoreBroken, StoreFull
from glasspost.inbound.entrance import Entrance
from glasspost.inbound.limits import Burden, ConnectionLimits
from glasspost.inbound.policy import Policy
from glasspost.inbound.session import SmtpSession
from glasspost.inbound.visit import Visit
from glasspost.net.addresses import OwnAddresses
from glasspost.net.connection import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS, Connection
from glasspost.net.dialer import dial
from glasspost.net.dns import Resolver
from glasspost.net.tls import ClientContexts
from glasspost.net.tokens import TokenDesk
from glasspost.node import device_wiring, wiring
from glasspost.node.certificates import Certificates
from glasspost.node.gatehouse import Gatehouse
from glasspost.node.settings import Config, Listener
from glasspost.outbound.local import LocalCourier
from glasspost.outbound.remote import RemoteCourier
from glasspost.outbound.reports import Reports
from glasspost.outbound.routes import Router
from glasspost.outbound.scheduler import Scheduler
from glasspost.retrieval.pop3 import Pop3Session
from glasspost.retrieval.turned_away import TurnedAway
from glasspost.storage.accounts import Directory
from glasspost.storage.database import Database
from glasspost.storage.folder import Folder
from glasspost.storage.guesses import Guesses
from glasspost.storage.mailboxes import Mailboxes
from glasspost.storage.readers import grant
from glasspost.storage.sign_in import Desk
from glasspost.storage.spool import Spool
from glasspost.storage.transcripts import Recording, Transcripts

LAST_WORD = 0.5  # seconds for QUIT to a next hop when the time for everything else is over

log = structlog.get_logger("node")


@dataclass(slots=True)
class Door:
    """An open listener."""

    role: str
    address: str
    port: int
    server: asyncio.Server
    tls: str = "none"


class Node:
    """One glasspost process. `start` raises a GlasspostError where the house cannot open; `stop` is graceful."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.folder = Folder(config.node.data)
        self.doors: list[Door] = []
        self.broken: asyncio.Event = asyncio.Event()  # set when the store can no longer be trusted
        self._own = OwnAddresses()
        self._gatehouse: Gatehouse | None = None
        self._smtp_sessions: set[Visit] = set()
        self._pop3_sessions: weakref.WeakSet[Pop3Session] = weakref.WeakSet()

    async def start(self) -> None:
        """Open the store, take back what a predecessor left, open the doors, begin to deliver."""
        raise_descriptor_limit()
        loop = asyncio.get_running_loop()
        self.folder.make()
        self.folder.lock()
        try:
            self._open_store(loop)
            self.certificates = Certificates(self.config, self.folder.path)
            self._open_rooms()
            assert self._gatehouse is not None
            self._gatehouse.start(loop)
            await self._open_doors(loop, self.certificates.context)
            self.folder.announce((door.role, door.address, door.port, door.tls) for door in self.doors)
        except BaseException:
            await self._close_store()
            self.folder.unlock()
            raise
        self.scheduler.start()
        self.certificates.watch(loop)
        log.info("started", data=str(self.folder.path), doors=[f"{d.role} {d.address}:{d.port}" for d in self.doors])

    async def stop(self) -> None:
        """Close the doors, let conversations end within `node.drain`, put work back, close the store.

        One deadline for all: whoever brings mail and whoever takes it have the same seconds.
        """
        end = asyncio.get_running_loop().time() + self.config.node.drain
        self.certificates.close()
        for door in self.doors:
            door.server.close()
        for session in list(self._smtp_sessions):
            session.stop()
        for reader in list(self._pop3_sessions):
            reader.leave()
        await asyncio.gather(self._wait_for_sessions(end), self._stop_delivering(end))
        await self._close_store()
        self.folder.unlock()
        log.info("stopped")

    # --- starting ---------------------------------------------------------------------------------------------

    def _open_store(self, loop: asyncio.AbstractEventLoop) -> None:
        config = self.config
        self.database = Database(self.folder.spool, "spool")
        self.database.on_broken = self._store_broke
        self.directory = Directory(self.folder.directory, hosts=frozenset({config.node.hostname}), clock=self.clock)
        self.guesses = Guesses(self.folder.limits, wiring.guess_settings(config), self.clock)
        self.transcripts = Transcripts(
            self.folder.transcripts,
            clock=self.clock,
            enabled=config.transcripts.enabled,
            keep_seconds=config.transcripts.keep,
            max_octets=config.transcripts.max_size,
            pseudonyms=wiring.pseudonyms(config, self.folder),
            subjects=config.transcripts.subjects == "keep",
        )
        if config.transcripts.enabled:
            grant(self.folder, config.transcripts.readers)
        self.spool = Spool(self.database, config.node.hostname, config.relay.lease)
        self.spool.recover(self.clock.now())
        self._give_back()
        self.mailboxes = Mailboxes(self.database)
        self.database.start(loop)
        self.transcripts.start(loop)

    def _give_back(self) -> None:
        """What a deep queue or full mailboxes once took of the disk, and nobody needs any more."""
        try:
            given = self.database.shrink()
        except StoreFull:  # writing it anew takes room, too
            return
        if given:
            log.info("the spool has shrunk", megabytes=round(given / 1e6))

    def _open_rooms(self) -> None:
        """Policy on the way in, scheduler and couriers on the way out."""
        config = self.config
        self.policy = Policy(wiring.policy_settings(config), self.directory, self.mailboxes)
        tokens = TokenDesk(wiring.token_settings(config), self.clock) if config.oauth.offered else None
        self.desk = Desk(self.directory, self.guesses, tokens)
        self._limits = ConnectionLimits(config.smtp.max_connections, config.smtp.max_connections_per_address)
        self._burden = Burden(config.smtp.max_memory)
        servers = [(server.address, server.port) for server in config.dns.servers]
        self._resolver = Resolver(servers or None, config.dns.timeout, clock=self.clock)
        gatehouse = self._gatehouse = Gatehouse(config, self.folder, self.directory, self._resolver, self.clock)
        router = Router(wiring.routing_settings(config), self._resolver, self._is_self)
        self._remote = RemoteCourier(
            wiring.remote_settings(config),
            dial=dial,
            open_recording=lambda local, peer: self.transcripts.open("smtp-out", local, peer),
            contexts=self._client_contexts(),
            clock=self.clock,
            bearers=wiring.bearers(config, self.clock),
        )
        separator, quota = config.mailboxes.detail_separator, config.mailboxes.default_quota
        self.scheduler = Scheduler(
            wiring.scheduler_settings(config),
            spool=self.spool,
            mailboxes=self.mailboxes,
            directory=self.directory,
            router=router,
            remote=self._remote,
            local=LocalCourier(self.directory, self.mailboxes, separator, quota),
            schedule=wiring.schedule(config),
            reports=Reports(wiring.report_settings(config), self.spool, self.directory, self.clock),
            clock=self.clock,
            tell=gatehouse.filters.ear(self.transcripts.tell),
            tell_relayed=gatehouse.filters.listens_to_fates,
        )

    def _client_contexts(self) -> ClientContexts:
        """Those of all CA files that are named are made now: what cannot be used is known at the start."""
        contexts = ClientContexts()
        for smarthost in self.config.smarthost:
            contexts.verifying(smarthost.ca_file)
        for destination in self.config.destination:
            contexts.verifying(destination.ca_file, any_name=bool(destination.names))
        return contexts

    async def _open_doors(self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext | None) -> None:
        for listener in self.config.listener:
            shown = context
            if listener.role == "device":
                shown = device_wiring.tls_context(self.config, self.folder.path, context)
            if listener.role == "pop3":
                factory = self._pop3_factory(loop, listener, context if listener.tls == "starttls" else None)
            else:
                factory = self._smtp_factory(loop, listener, shown if listener.tls == "starttls" else None)
            implicit = shown if listener.tls == "implicit" else None
            try:
                server = await loop.create_server(
                    factory,
                    listener.address,
                    listener.port,
                    backlog=listener.backlog,
                    ssl=implicit,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS if implicit else None,
                    ssl_shutdown_timeout=SHUTDOWN_SECONDS if implicit else None,
                )
            except OSError as error:
                await self._close_doors()
                place = f"{listener.address} port {listener.port}"
                raise Busy(f"{place} cannot be opened for {listener.role}: {error.strerror or error}") from None
            port = server.sockets[0].getsockname()[1]
            self._own.add(listener.address, port)
            self.doors.append(Door(listener.role, listener.address, port, server, listener.tls))

    def _smtp_factory(
        self, loop: asyncio.AbstractEventLoop, listener: Listener, context: ssl.SSLContext | None
    ) -> Callable[[], asyncio.Protocol]:
        assert self._gatehouse is not None
        entrance = Entrance(
            settings=wiring.inbound_settings(self.config, listener),
            policy=self.policy,
            desk=self.desk,
            spool=self.spool,
            transcripts=self.transcripts,
            limits=self._limits,
            clock=self.clock,
            accepted=self.scheduler.accepted,
            may_claim=self.scheduler.may_claim,
            tls_context=context,
            sessions=self._smtp_sessions,
            bridge=device_wiring.bridge(self.config, listener),
            burden=self._burden,
            gates=self._gatehouse.gates(listener),
        )
        return lambda: SmtpSession(loop, entrance)

    def _pop3_factory(
        self, loop: asyncio.AbstractEventLoop, listener: Listener, context: ssl.SSLContext | None
    ) -> Callable[[], asyncio.Protocol]:
        settings = wiring.pop3_settings(self.config, listener)

        def visit() -> Connection:
            if sum(reader.is_open for reader in self._pop3_sessions) >= self.config.pop3.max_connections:
                return TurnedAway(loop, self._record_pop3)
            session = Pop3Session(loop, settings, self.desk, self.mailboxes, self._record_pop3, context)
            self._pop3_sessions.add(session)
            return session

        return visit

    def _record_pop3(self, local: str, peer: str) -> Recording:
        return self.transcripts.open("pop3", local, peer)

    def _is_self(self, address: str, port: int) -> bool:
        return self._own.contains(address, port)

    # --- stopping ---------------------------------------------------------------------------------------------

    async def _stop_delivering(self, end: float) -> None:
        """No new attempts; those under way have until `end`, and so have the goodbyes, which get a moment at least."""
        loop = asyncio.get_running_loop()
        await self.scheduler.stop(end - loop.time())
        await self._remote.close(max(LAST_WORD, end - loop.time()))

    async def _wait_for_sessions(self, end: float) -> None:
        """Until all have left; those that have not at the end are cut."""
        while self._visitors() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  (they leave on their own)
            await asyncio.sleep(0.02)
        for session in self._visitors():
            session.abort()
        await asyncio.sleep(0)

    def _visitors(self) -> list[Connection]:
        return [*self._smtp_sessions, *(session for session in self._pop3_sessions if session.is_open)]

    async def _close_doors(self) -> None:
        for door in self.doors:
            door.server.close()

    async def _close_store(self) -> None:
        """Whatever part of it is open."""
        for name in ("_resolver", "_gatehouse", "transcripts", "database"):
            room = getattr(self, name, None)
            if room is not None:
                await room.close()
        for name in ("directory", "guesses"):
            if hasattr(self, name):
                getattr(self, name).close()

    def _store_broke(self, fault: StoreBroken) -> None:
        """A write failed in the disk's hands: nothing more may be promised by this process."""
        log.critical("the store cannot be trusted any more; stopping", error=str(fault))
        self.broken.set()


def raise_descriptor_limit() -> None:
    """One connection is one descriptor: use all that the system allows this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
