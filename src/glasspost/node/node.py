"""The node: the house put together, opened in the morning, closed in the evening.

Lives here: the order of starting and stopping, and nothing else. `Node.start` reads as the story of a start.
Does not live here: what any room does, or how its settings come about (wiring.py).
"""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import socket
import ssl
import weakref
from collections.abc import Callable
from contextlib import nullcontext

import structlog

from glasspost.clock import Clock, SystemClock
from glasspost.errors import StoreBroken, StoreFull
from glasspost.inbound.bridge import Bridge
from glasspost.inbound.entrance import Entrance
from glasspost.inbound.limits import Burden, ConnectionLimits
from glasspost.inbound.policy import Policy
from glasspost.inbound.session import SmtpSession
from glasspost.inbound.visit import Visit
from glasspost.net.addresses import OwnAddresses
from glasspost.net.connection import Connection
from glasspost.net.dialer import dial
from glasspost.net.dns import Resolver
from glasspost.net.handshakes import FailedHandshakes
from glasspost.net.listening import HandedIn, Inheritance, place_name
from glasspost.net.tls import ClientContexts
from glasspost.net.tokens import TokenDesk
from glasspost.node import device_wiring, reload, wiring
from glasspost.node.certificates import Certificates
from glasspost.node.control import Answer, Control
from glasspost.node.doors import Door, bind, open_server, shown_tls
from glasspost.node.gatehouse import Gatehouse
from glasspost.node.permissions import check_folder, must_be_readable
from glasspost.node.privileges import Privileges
from glasspost.node.settings import Config, Listener
from glasspost.outbound.local import LocalCourier
from glasspost.outbound.remote import RemoteCourier
from glasspost.outbound.reports import Reports
from glasspost.outbound.routes import Router
from glasspost.outbound.scheduler import Scheduler
from glasspost.protocol.pop3_events import Pop3Settings
from glasspost.retrieval.admission import Pop3Visit
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
NO_HURRY = 5.0  # seconds that conversations have before a node that is replaced asks them to leave

log = structlog.get_logger("node")


class Node:
    """One glasspost process. `start` raises a GlasspostError where the house cannot open; `stop` is graceful."""

    def __init__(self, config: Config, clock: Clock | None = None, *, inheritance: Inheritance | None = None) -> None:
        """`inheritance`: sockets that were handed in; listeners take theirs from it before they open any."""
        self.config = config
        self._inheritance = inheritance or Inheritance()
        self.control = Control()
        self.clock = clock or SystemClock()
        self.folder = Folder(config.node.data)
        self.doors: list[Door] = []
        self.life = secrets.token_hex(8)  # tells this start of the node from the next
        self.broken: asyncio.Event = asyncio.Event()  # set when the store can no longer be trusted
        self._shown: list[ssl.SSLContext | None] = []  # the TLS context of each door
        self._bound: list[socket.socket] = []  # one for each door; they stay open when its server is closed
        self.entrances: list[tuple[Listener, Entrance]] = []
        self.pop3_settings: dict[int, Pop3Settings] = {}  # by the listener's place in the configuration
        self.gatehouse: Gatehouse | None = None
        self._own = OwnAddresses()
        self._handshakes = FailedHandshakes(self.clock)
        self._smtp_sessions: set[Visit] = set()
        self._pop3_sessions: weakref.WeakSet[Pop3Visit] = weakref.WeakSet()

    async def start(self) -> None:
        """Open the store, take back what a predecessor left, open the doors, begin to deliver."""
        raise_descriptor_limit()
        loop = asyncio.get_running_loop()
        rights = Privileges.of(self.config.node.user, self.config.node.group)
        rights.make_folder(self.folder.path)
        with rights.as_user():
            self.folder.make()
            check_folder(self.folder)
            self.folder.lock()
        try:
            self._bound = bind(self.config, self._inheritance)
            self._resolver = self._new_resolver(self.config)
            router = self.new_router(self.config)  # reads password files
            with rights.as_user() if self.config.tls.certificate is None else nullcontext():
                # Where none is configured it is made in the data folder, which is the user's.
                self.certificates = Certificates(self.config, self.folder.path)
                self._shown = shown_tls(self.config, self.folder.path, self.certificates)
            bridges = [device_wiring.bridge(self.config, listener) for listener in self.config.listener]
            rights.give_up()
            must_be_readable(self.config)
            if os.geteuid() == 0:
                log.warning(
                    "running as root: name a user in node.user, which the node becomes when its ports are bound"
                )
            self._open_store(loop)
            self._open_rooms(loop, router)
            await self._open_doors(loop, bridges)
            await self.control.open(self.folder.path)
            self.folder.announce((door.role, door.address, door.port, door.tls) for door in self.doors)
        except BaseException:
            await self.control.close()
            self._close_doors(for_good=True)
            await self._close_store()
            self.folder.unlock()
            raise
        self.scheduler.start()
        self.certificates.watch(loop)
        log.info("started", data=str(self.folder.path), doors=[f"{d.role} {d.address}:{d.port}" for d in self.doors])

    async def stop(self, *, keep_sockets: bool = False) -> None:
        """Close the doors, let conversations end within `node.drain`, put work back, close the store.

        One deadline for all: whoever brings mail and whoever takes it have the same seconds. With `keep_sockets` the
        listening sockets stay open (`sockets`), for the process that comes next: until it is there, the kernel keeps
        whoever comes. Nobody is then asked to leave at once: most are gone by themselves in a moment.
        """
        end = asyncio.get_running_loop().time() + self.config.node.drain
        await self.control.close()
        self.certificates.close()
        self._close_doors(for_good=not keep_sockets)
        if keep_sockets:
            await self._wait_until_nobody_is_here(min(end, asyncio.get_running_loop().time() + NO_HURRY))
        for session in list(self._smtp_sessions):
            session.stop()
        for reader in list(self._pop3_sessions):
            reader.leave()
        await asyncio.gather(self._wait_for_sessions(end), self._stop_delivering(end))
        await self._close_store()
        self.folder.unlock()
        log.info("stopped")

    def sockets(self) -> list[HandedIn]:
        """The listening sockets that `stop` has kept, with the names under which a successor looks for them."""
        named = zip(self.config.listener, self._bound, strict=True)
        return [HandedIn(place_name(one.role, one.address, one.port), listening) for one, listening in named]

    def take(self, new: Config) -> Answer:
        """What a reload does: take what can change live, and say what was taken and what waits for a restart. Raises
        ConfigurationError where the new configuration cannot be used; nothing has changed then."""
        changes = reload.compare(self.config, new)
        reload.put_in(self, changes.config)
        self.certificates.look()
        self.config = changes.config
        log.info("reloaded", taken=list(changes.live), waiting_for_a_restart=list(changes.waiting))
        return {"taken": list(changes.live), "waiting": list(changes.waiting)}

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

    def _open_rooms(self, loop: asyncio.AbstractEventLoop, router: Router) -> None:
        """Policy on the way in, scheduler and couriers on the way out."""
        config = self.config
        self.policy = Policy(wiring.policy_settings(config), self.directory, self.mailboxes)
        tokens = TokenDesk(wiring.token_settings(config), self.clock) if config.oauth.offered else None
        self.desk = Desk(self.directory, self.guesses, tokens)
        self.gatehouse = Gatehouse(config, self.folder, self.directory, self._resolver, self.clock)
        self.gatehouse.start(loop)
        self.limits = ConnectionLimits(config.smtp.max_connections, config.smtp.max_connections_per_address)
        self.readers = ConnectionLimits(config.pop3.max_connections, config.pop3.max_connections_per_address)
        self._burden = Burden(config.smtp.max_memory)
        self.remote = RemoteCourier(
            wiring.remote_settings(config),
            dial=dial,
            open_recording=lambda local, peer: self.transcripts.open("smtp-out", local, peer),
            contexts=self.new_contexts(config),
            clock=self.clock,
            bearers=wiring.bearers(config, self.clock),
        )
        self.scheduler = Scheduler(
            wiring.scheduler_settings(config),
            spool=self.spool,
            mailboxes=self.mailboxes,
            directory=self.directory,
            router=router,
            remote=self.remote,
            local=self.new_local_courier(config),
            schedule=wiring.schedule(config),
            reports=self.new_reports(config),
            clock=self.clock,
            tell=self.gatehouse.filters.ear(self.transcripts.tell),
            tell_relayed=self.gatehouse.filters.listens_to_fates,
        )

    def _new_resolver(self, config: Config) -> Resolver:
        servers = [(server.address, server.port) for server in config.dns.servers]
        return Resolver(servers or None, config.dns.timeout, clock=self.clock)

    def new_router(self, config: Config) -> Router:
        resolver = self._resolver if config.dns == self.config.dns else self._new_resolver(config)
        return Router(wiring.routing_settings(config), resolver, self._is_self)

    def new_local_courier(self, config: Config) -> LocalCourier:
        separator, quota = config.mailboxes.detail_separator, config.mailboxes.default_quota
        return LocalCourier(self.directory, self.mailboxes, separator, quota)

    def new_reports(self, config: Config) -> Reports:
        return Reports(wiring.report_settings(config), self.spool, self.directory, self.clock, wiring.explainer(config))

    def new_contexts(self, config: Config) -> ClientContexts:
        """Those of all CA files that are named are made now: what cannot be used is known at once."""
        contexts = ClientContexts()
        for smarthost in config.smarthost:
            contexts.verifying(smarthost.ca_file)
        for destination in config.destination:
            contexts.verifying(destination.ca_file, any_name=bool(destination.names))
        return contexts

    async def _open_doors(self, loop: asyncio.AbstractEventLoop, bridges: list[Bridge | None]) -> None:
        doors = zip(self.config.listener, self._bound, self._shown, bridges, strict=True)
        for number, (listener, listening, shown, bridge) in enumerate(doors):
            starttls = shown if listener.tls == "starttls" else None
            if listener.role == "pop3":
                factory = self._pop3_factory(loop, number, starttls)
            else:
                factory = self._smtp_factory(loop, listener, starttls, bridge)
            server = await open_server(listener, listening, factory, shown)
            address, port = listening.getsockname()[:2]
            self._own.add(address, port)
            self.doors.append(Door(listener.role, address, port, server, listener.tls))

    def _smtp_factory(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        context: ssl.SSLContext | None,
        bridge: Bridge | None,
    ) -> Callable[[], Connection]:
        assert self.gatehouse is not None
        if bridge is not None:
            bridge.guesses = self.guesses
        entrance = Entrance(
            settings=wiring.inbound_settings(self.config, listener),
            policy=self.policy,
            desk=self.desk,
            spool=self.spool,
            transcripts=self.transcripts,
            limits=self.limits,
            clock=self.clock,
            accepted=self.scheduler.accepted,
            may_claim=self.scheduler.may_claim,
            tls_context=context,
            sessions=self._smtp_sessions,
            bridge=bridge,
            burden=self._burden,
            gates=self.gatehouse.gates(listener),
            handshakes=self._handshakes,
        )
        self.entrances.append((listener, entrance))
        return lambda: SmtpSession(loop, entrance)

    def _pop3_factory(
        self, loop: asyncio.AbstractEventLoop, number: int, context: ssl.SSLContext | None
    ) -> Callable[[], Connection]:
        self.pop3_settings[number] = wiring.pop3_settings(self.config, self.config.listener[number])

        def visit() -> Connection:
            settings = self.pop3_settings[number]
            session = Pop3Visit(self.readers, loop, settings, self.desk, self.mailboxes, self._record_pop3, context)
            session.handshakes = self._handshakes
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
        await self.remote.close(max(LAST_WORD, end - loop.time()))

    async def _wait_for_sessions(self, end: float) -> None:
        """Until all have left; those that have not at the end are cut."""
        await self._wait_until_nobody_is_here(end)
        for session in self._visitors():
            session.abort()
        await asyncio.sleep(0)

    async def _wait_until_nobody_is_here(self, end: float) -> None:
        loop = asyncio.get_running_loop()
        while self._visitors() and loop.time() < end:  # noqa: ASYNC110  (they leave)
            await asyncio.sleep(0.02)

    def _visitors(self) -> list[Connection]:
        return [*self._smtp_sessions, *(session for session in self._pop3_sessions if session.is_here)]

    def _close_doors(self, *, for_good: bool) -> None:
        """Accept nobody any more. Not `for_good`: the sockets themselves stay, and whoever comes waits there."""
        for door in self.doors:
            door.server.close()
        if for_good:
            for listening in self._bound:
                listening.close()

    async def _close_store(self) -> None:
        """Whatever part of it is open."""
        for name in ("_resolver", "gatehouse", "transcripts", "database"):
            room = getattr(self, name, None)
            if room is not None:
                await room.close()
        for name in ("directory", "guesses"):
            if hasattr(self, name):
                getattr(self, name).close()

    def _store_broke(self, fault: StoreBroken) -> None:
        """A write failed in the disk's hands: nothing more may be promised by this process."""
        self.broken.set()
        log.critical("the store cannot be trusted any more; stopping", error=str(fault))


def raise_descriptor_limit() -> None:
    """One connection is one descriptor: use all that the system allows this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
