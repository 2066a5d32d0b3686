"""The ways that mail goes, as the scheduler knows them: asked for once, and remembered for a moment.

Lives here: the memory of the router's answers, and what a router that broke is taken to have said.
Does not live here: finding a way (routes.py, net/dns.py), going it (remote.py).
"""

from __future__ import annotations

from typing import Protocol

import structlog

from glasspost.clock import Clock
from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.outbound.routes import Route
from glasspost.storage.accounts import Directory

ROUTE_MEMORY = 30.0  # seconds a route is used again without asking the router
ROUTES_REMEMBERED = 10_000

log = structlog.get_logger("scheduler")


class Guide(Protocol):
    """Whoever knows the way (outbound/routes.py)."""

    async def route(self, domain: str) -> Route | Reply: ...


class Ways:
    """What a `Guide` said lately. Domains are in comparable form."""

    def __init__(self, guide: Guide, directory: Directory, clock: Clock) -> None:
        self._guide = guide
        self._directory = directory
        self._clock = clock
        self._remembered: dict[str, tuple[Route | Reply | None, float]] = {}

    def turn_to(self, guide: Guide) -> None:
        """Ask this one from now on; what the other one said is forgotten."""
        self._guide = guide
        self._remembered.clear()

    def known(self, domain: str) -> tuple[Route | Reply | None] | None:
        """A remembered answer, in a tuple (a local domain's is None); None: ask."""
        if domain in self._directory.local_domains() or not domain:
            return (None,)
        found = self._remembered.get(domain)
        if found is None or found[1] < self._clock.now():
            return None
        return (found[0],)

    async def ask(self, domain: str) -> Route | Reply:
        """The way to a domain that is not local, or the reply that says why there is none. Never raises."""
        try:
            route: Route | Reply = await self._guide.route(domain)
        except Exception as error:
            log.exception("routing failed", domain=domain)
            route = say.LOCAL_ERROR.because(repr(error))
        if len(self._remembered) >= ROUTES_REMEMBERED:
            self._remembered.clear()
        self._remembered[domain] = (route, self._clock.now() + ROUTE_MEMORY)
        return route

    def forget(self, domain: str) -> None:
        """What was known may have been repaired."""
        self._remembered.pop(domain, None)
