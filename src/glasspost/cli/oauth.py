"""`glasspost oauth`: getting the tokens that smarthosts want, and how they stand.

Lives here: the commands, the talk with the person who signs in, and how they print. No token is ever printed.
Does not live here: asking the issuer (net/token_endpoint.py), the file (storage/kept_tokens.py), renewing while the
node runs (outbound/bearer.py).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glasspost.errors import GlasspostError, NotFound, StoreError
from glasspost.explain.typography import visible

if TYPE_CHECKING:
    from glasspost.net.token_endpoint import Grant, OauthClient
    from glasspost.node.settings import Config

app = typer.Typer(help="Get the tokens that smarthosts want, and see how they stand.", no_args_is_help=True)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The configuration file (TOML) with [[oauth_client]].")
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The data folder; goes before the configuration's.")
]


@app.command()
def login(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of an [[oauth_client]].")],
    config: ConfigFile = None,
    data: Data = None,
    refresh_token_stdin: Annotated[
        bool,
        typer.Option("--refresh-token-stdin", help="Read a refresh token, got elsewhere, from standard input."),
    ] = False,
) -> None:
    """Sign in: open a page in any browser, type a code, agree. A running node uses the new token at once."""
    import asyncio

    from glasspost.clock import SystemClock
    from glasspost.net.token_endpoint import must_be_possible
    from glasspost.outbound.bearer import kept_from
    from glasspost.storage.folder import Folder
    from glasspost.storage.kept_tokens import token_file, write_tokens

    must_be_possible()
    settings = _load(config, data)
    clients = {one.name: one for one in settings.oauth_client}
    if name not in clients:
        known = f"; there is {', '.join(clients)}" if clients else ""
        raise NotFound(f'there is no [[oauth_client]] with the name "{name}"{known}')
    client = clients[name].client()
    grant = asyncio.run(_by_refresh_token(client) if refresh_token_stdin else _by_device_code(client))
    folder = Folder(settings.node.data)
    folder.make()
    file = token_file(folder.path, name)
    write_tokens(file, kept_from(grant, SystemClock().now()))
    typer.echo(f"Signed in. The tokens are in {file}, for its owner's eyes only.")
    if not grant.refresh_token:
        typer.echo("The issuer gave nothing to renew it with; most want the scope offline_access for that.", err=True)


@app.command()
def status(
    config: ConfigFile = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List each [[oauth_client]], and how its token stands."""
    settings = _load(config, data)
    rows = [_row(one.name, settings.node.data) for one in settings.oauth_client]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        typer.echo(visible(f"{row['name']:<16}  {row['state']:<10}  {_told(row)}".rstrip()))
    if not rows:
        typer.echo("The configuration has no [[oauth_client]].")


def _load(config: Path | None, data: Path | None) -> Config:
    from glasspost.node.config import load

    return load(config, os.environ).with_data(data)


# --- signing in -----------------------------------------------------------------------------------------------------


async def _by_refresh_token(client: OauthClient) -> Grant:
    """It is tried out at once: a wrong one is told here, and not by mail that waits."""
    from dataclasses import replace

    from glasspost.net.token_endpoint import renew

    token = sys.stdin.readline().strip()
    if not token:
        raise GlasspostError("there is no refresh token on standard input")
    grant = await renew(client, token)
    return grant if grant.refresh_token else replace(grant, refresh_token=token)


async def _by_device_code(client: OauthClient) -> Grant:
    """RFC 8628 §3.3 to §3.5."""
    import asyncio

    from glasspost.net.token_endpoint import Grant, TokenDelayed, ask_for_device_code, redeem

    if not client.device_url:
        raise GlasspostError(
            f"{client.name} has no device_url; get a refresh token elsewhere, and give it with --refresh-token-stdin"
        )
    device = await ask_for_device_code(client)
    typer.echo(visible(f"Open {device.url} in a browser and type {device.user_code}"))
    if device.complete_url:
        typer.echo(visible(f"or open {device.complete_url}"))
    minutes = max(1, round(device.seconds / 60))
    typer.echo(f"Waiting, for at most {minutes} minute{'' if minutes == 1 else 's'}.")
    loop = asyncio.get_running_loop()
    end, interval = loop.time() + device.seconds, device.interval
    while loop.time() + interval < end:
        await asyncio.sleep(interval)
        answer = await redeem(client, device)
        if isinstance(answer, Grant):
            return answer
        interval += answer or 0.0
    raise TokenDelayed("nobody has typed the code in time; begin anew")


# --- how they stand -------------------------------------------------------------------------------------------------


def _row(name: str, data: Path) -> dict[str, Any]:
    """`state`: "none", "good", "ended" (the next mail renews it), "refused" (somebody must sign in), "unreadable"."""
    from glasspost.storage.kept_tokens import read_tokens, token_file

    try:
        kept = read_tokens(token_file(data, name))
    except StoreError as error:
        return {"name": name, "state": "unreadable", "fault": str(error)}
    if kept is None:
        return {"name": name, "state": "none", "fault": ""}
    good = kept.access_token and kept.expires > time.time()
    renewable = bool(kept.refresh_token) and not kept.refused
    return {
        "name": name,
        "state": "good" if good and not kept.refused else "ended" if renewable else "refused",
        "fault": kept.refused,
        "signed_in": kept.signed_in,
        "obtained": kept.obtained,
        "expires": kept.expires,
        "renewable": renewable,
    }


def _told(row: dict[str, Any]) -> str:
    if row["state"] == "none":
        return f"get one with `glasspost oauth login {row['name']}`"
    if row["state"] == "good":
        until = time.strftime("until %Y-%m-%d %H:%M:%S", time.localtime(row["expires"]))
        return until if row["renewable"] else f"{until}, and cannot be renewed"
    if row["state"] == "ended":
        return "the next mail renews it"
    if row["state"] == "refused":
        return f"sign in anew with `glasspost oauth login {row['name']}`: {row['fault'] or 'it has ended'}"
    return str(row["fault"])
