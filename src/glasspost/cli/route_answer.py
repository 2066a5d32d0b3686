"""Where mail for an address would go just now, found out without sending any.

Lives here: the walk that a message would take through policy, directory, routing and queue, as plain facts.
Does not live here: how the facts are printed (route.py), the decisions themselves (inbound/policy.py,
storage/resolution.py, outbound/routes.py).

What only a running node has in memory (which lanes rest) is not known here; what the data folder tells of it is: what
waits for a domain, when it falls due, and what its servers said last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glasspost.mail import reply as say
from glasspost.mail.address import Address
from glasspost.mail.reply import Reply
from glasspost.net.addresses import OwnAddresses
from glasspost.net.dns import Found, Resolver
from glasspost.outbound.routes import Route, Router
from glasspost.storage.accounts import Directory
from glasspost.storage.bodies import queries
from glasspost.storage.folder import Folder
from glasspost.storage.resolution import Disabled, Local, NoSuchUser, fold, is_own_literal
from glasspost.storage.sqlite import row
from glasspost.storage.talks import open_to_read

if TYPE_CHECKING:
    from glasspost.node.settings import Config

Facts = dict[str, Any]


def answer(address: Address, config: Config, folder: Folder, servers: Sequence[tuple[str, int]]) -> Facts:
    """What would happen to mail for `address`. `servers` are the name servers to ask; none: those of the configuration,
    or the system's. Raises StoreError."""
    directory = Directory(folder.directory, hosts=frozenset({config.node.hostname})) if _lives(folder) else None
    try:
        facts, onward = _at_the_door(address, config, folder, directory)
        ours = directory.local_domains() if directory else frozenset()
        away = [one for one in onward if one.route not in ours and not is_own_literal(one.route)]
        facts["onward"] = asyncio.run(_ways(away, config, folder, servers))
        return facts
    finally:
        if directory:
            directory.close()


def fails(facts: Facts) -> bool:
    """Whether somebody would get it back, or be refused, or had to wait for a way."""
    return bool(facts["refused"]) or any("no_way" in one for one in facts["onward"])


def _lives(folder: Folder) -> bool:
    return _has_something(folder.directory)


def _has_something(file: Path) -> bool:
    """A new folder's files are there, and empty."""
    return file.exists() and file.stat().st_size > 0


# --- at the door --------------------------------------------------------------------------------------------------


def _at_the_door(
    address: Address, config: Config, folder: Folder, directory: Directory | None
) -> tuple[Facts, list[Address]]:
    """What the policy says to RCPT, and which addresses elsewhere the mail goes on to."""
    facts: Facts = {"address": str(address), "kind": "", "refused": "", "accounts": [], "detail": "", "skipped": []}
    facts |= {"who": "anybody", "max_message_size": config.smtp.max_message_size}
    found = directory.resolve(address, separator=config.mailboxes.detail_separator) if directory else None
    if isinstance(found, Local):
        facts["kind"] = _kind(address, found, directory)
        facts["detail"] = found.detail
        facts["skipped"] = [str(one) for one in found.skipped]
        facts["accounts"] = [_account(one, config, folder) for one in found.accounts]
        full = [one for one in facts["accounts"] if one["quota"] and one["used"] >= one["quota"]]
        if full:
            facts["refused"] = _line(say.MAILBOX_FULL.saying(address=address))
        return facts, list(found.forwards)
    if isinstance(found, NoSuchUser):
        facts |= {"kind": "unknown", "refused": _line(say.NO_SUCH_USER.saying(address=address)), "why": found.reason}
        return facts, []
    if isinstance(found, Disabled):
        facts |= {"kind": "disabled", "refused": _line(say.MAILBOX_DISABLED.saying(address=address))}
        return facts, []
    facts["kind"] = "relay"
    if address.route not in config.smtp.relay_domains:
        facts["who"] = "whoever may relay"
    return facts, [address]


def _kind(address: Address, found: Local, directory: Directory | None) -> str:
    """By which name in the directory the mail found its way: alias, account or catch-all."""
    assert directory is not None
    names = {fold(address.local)}
    if found.detail:
        names.add(fold(address.local[: -len(found.detail) - 1]))
    folded = [(fold(one.address.rpartition("@")[0]), one) for one in directory.aliases(address.route)]
    if any(name in names for name, _ in folded):
        return "alias"
    if any(fold(one.address.rpartition("@")[0]) in names for one in directory.accounts(address.route)):
        return "account"
    return "catch-all" if any(name == "*" for name, _ in folded) else "postmaster"


def _account(account: Any, config: Config, folder: Folder) -> Facts:
    quota = account.quota or config.mailboxes.default_quota
    return {"address": account.address, "quota": quota, "used": _used(folder, account.id)}


def _used(folder: Folder, account_id: int) -> int:
    if not _has_something(folder.spool):
        return 0
    connection = open_to_read(folder.spool)
    try:
        return int(row(connection, queries.usage, (account_id,))[1])
    finally:
        connection.close()


# --- on the way out -----------------------------------------------------------------------------------------------


async def _ways(
    away: Sequence[Address], config: Config, folder: Folder, servers: Sequence[tuple[str, int]]
) -> list[Facts]:
    from glasspost.node.wiring import routing_settings

    own = OwnAddresses()
    for listener in config.listener:
        own.add(listener.address, listener.port)
    for _, door, port, _ in folder.doors():
        own.add(door, port)
    named = [(server.address, server.port) for server in config.dns.servers]
    resolver = Resolver(list(servers) or named or None, config.dns.timeout)
    router = Router(routing_settings(config), resolver, own.contains)
    try:
        routes = {domain: await router.route(domain) for domain in dict.fromkeys(one.route for one in away)}
        return [await _way(one, routes[one.route], resolver, config, folder) for one in away]
    finally:
        await resolver.close()


async def _way(address: Address, route: Route | Reply, resolver: Resolver, config: Config, folder: Folder) -> Facts:
    facts: Facts = {"address": str(address), "domain": address.route, "queue": _queue(address.route, folder)}
    if isinstance(route, Reply):
        return facts | {
            "no_way": _line(route),
            "permanent": route.permanent,
            "next": "" if route.permanent else "later",
        }
    by = "smarthost" if route.key.startswith("smarthost:") else "literal" if address.route.startswith("[") else "mx"
    preferences: dict[str, int] = {}
    if by == "mx":
        records = await resolver.mx(address.route)
        preferences = {one.host: one.preference for one in records.records} if isinstance(records, Found) else {}
        by = "mx" if preferences else "address"  # no MX: the domain's own address (RFC 5321 §5.1)
    relay = config.relay
    facts |= {
        "by": by,
        "hosts": [
            {"name": one.name, "preference": preferences.get(one.name), "port": one.port, "addresses": one.addresses}
            for one in route.hosts
        ],
        "tls": route.tls,
        "implicit_tls": route.implicit_tls,
        "signs_in": bool(route.username),
        "limits": {
            "connections": relay.concurrency,
            "recipients_per_transaction": relay.recipients_per_transaction,
            "messages_per_connection": relay.messages_per_connection,
            "expire": relay.expire,
        },
    }
    return facts | {"next": _next(facts["queue"], paused=relay.paused)}


def _queue(domain: str, folder: Folder) -> Facts:
    """What waits for a domain, and what was heard there last."""
    none: Facts = {"waiting": 0, "held": 0, "next_due": None, "attempts": 0, "last_reply": "", "last_attempt": None}
    if not _has_something(folder.spool):
        return none
    connection = open_to_read(folder.spool)
    try:
        waiting, held, due, attempts = row(connection, queries.queue_of_domain, (domain,))
        last = connection.execute(queries.last_heard_of_domain, (domain,)).fetchone()
    finally:
        connection.close()
    if not waiting and not held:
        return none
    heard, when = last or ("", None)
    return {
        "waiting": waiting, "held": held, "next_due": due, "attempts": attempts or 0,
        "last_reply": heard, "last_attempt": when,
    }  # fmt: skip


def _next(queue: Facts, *, paused: bool) -> str:
    """When a message would be tried: "paused" (not at all), "rests" (others wait after a failure), "now"."""
    if paused:
        return "paused"
    return "rests" if queue["waiting"] and queue["attempts"] else "now"


def _line(reply: Reply) -> str:
    return " ".join(part for part in (str(reply.code), reply.enhanced, reply.text.replace("\n", " ")) if part)
