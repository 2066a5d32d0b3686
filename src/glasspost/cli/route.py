"""`glasspost route`: what would happen to mail for an address now.

Lives here: what is typed, and the answer as text and JSON.
Does not live here: finding it out (route_answer.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from glasspost.cli.directory import AsJson, read_address
from glasspost.errors import Exit
from glasspost.explain.typography import visible

Facts = dict[str, Any]

_TLS = {
    "none": "none: the conversation is readable on its way",
    "may": "where it is offered, with any certificate",
    "encrypt": "demanded, with any certificate",
    "verify": "demanded, and the certificate must be right",
}
_KINDS = {
    "account": "a mailbox here",
    "alias": "an alias",
    "catch-all": "the domain's catch-all: nobody has this very name",
    "postmaster": "the postmaster, who always leads to somebody (RFC 5321 §4.5.1)",
    "unknown": "a domain of ours, and nobody there",
    "disabled": "a mailbox here that is switched off",
    "relay": "not ours: it goes to another server",
}
_BY = {
    "smarthost": "a smarthost takes it",
    "mx": "MX, in this order; equal ones at random",
    "address": "no MX: the domain's own address (RFC 5321 §5.1)",
    "literal": "the address is in the domain",
}


def route(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The recipient.")],
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The configuration file (TOML); none: the defaults.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="GLASSPOST_DATA", help="The data folder; else node.data.", metavar="DIR"),
    ] = None,
    dns: Annotated[
        str, typer.Option("--dns", metavar="ADDRESS[:PORT]", help="The name server to ask; else as configured.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Say what would happen to mail for an address now: mailbox, alias, smarthost, MX hosts, or refused and why.

    Nothing is sent and nobody is called but name servers. Exit code 7: it would be refused, or there is no way.
    """
    from glasspost.cli.route_answer import answer, fails
    from glasspost.cli.send_way import name_servers
    from glasspost.node.config import load
    from glasspost.storage.folder import Folder

    wanted = read_address(address)
    settings = load(config, os.environ)
    facts = answer(wanted, settings, Folder(data or settings.node.data), name_servers(dns) or [])
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(visible, _told(facts))))
    if fails(facts):
        raise typer.Exit(Exit.REFUSED)


# --- in words -----------------------------------------------------------------------------------------------------


def _told(facts: Facts) -> Iterator[str]:
    from glasspost.node.values import write_size

    yield f"{facts['address']}: {_KINDS[facts['kind']]}"
    if facts["refused"]:
        why = f" ({facts['why']})" if facts.get("why") else ""
        yield f"  refused    {facts['refused']}{why}"
        return
    yield f"  taken      from {facts['who']}, up to {write_size(facts['max_message_size'])} a message"
    if facts["detail"]:
        yield f"  detail     {facts['detail']}"
    for one in facts["accounts"]:
        room = f", {write_size(one['used'])} of {write_size(one['quota'])} used" if one["quota"] else ""
        yield f"  mailbox    {one['address']}{room}"
    for one in facts["skipped"]:
        yield f"  skipped    {one}: it leads nowhere, or to a mailbox that is switched off"
    for one in facts["onward"]:
        yield from _way(one, alone=one["address"] == facts["address"])


def _way(facts: Facts, *, alone: bool) -> Iterator[str]:
    if not alone:
        yield f"  on to      {facts['address']}"
    if "no_way" in facts:
        yield f"  no way     {facts['no_way']}"
        yield (
            "  then       it comes back to its sender" if facts["permanent"] else "  then       it is tried again later"
        )
        return
    yield f"  route      {_BY[facts['by']]}"
    for host in facts["hosts"]:
        rank = "" if host["preference"] is None else f"{host['preference']} "
        yield f"  host       {rank}{host['name']} port {host['port']}: {', '.join(host['addresses'])}"
    implicit = "from the first byte; " if facts["implicit_tls"] else ""
    yield f"  tls        {implicit}{_TLS[facts['tls']]}"
    if facts["signs_in"]:
        yield "  signs in   with the smarthost's user name"
    limits = facts["limits"]
    each = limits["recipients_per_transaction"]
    yield f"  limits     {limits['connections']} connections at a time, {each} recipients a transaction"
    yield from _queue(facts)


def _queue(facts: Facts) -> Iterator[str]:
    from glasspost.cli.why_text import moment

    queue = facts["queue"]
    if queue["waiting"] or queue["held"]:
        held = f", {queue['held']} held" if queue["held"] else ""
        yield f"  queue      {queue['waiting']} wait for {facts['domain']}{held}"
    if queue["last_reply"]:
        yield f"  heard      {moment(queue['last_attempt'])}: {queue['last_reply']}"
    if facts["next"] == "paused":
        yield "  next       not before relay.paused is false"
    elif facts["next"] == "rests":
        yield f"  next       at once, or with those that wait where the destination rests: {moment(queue['next_due'])}"
    else:
        yield "  next       at once"
