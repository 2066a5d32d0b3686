"""`glasspost torture`: kill a busy node again and again, cut its power, break its disk, and make the account.

Lives here: the command and how it prints.
Does not live here: the torture (torture/campaign.py), the node that is mistreated (torture_node.py).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.errors import Exit, StoreError

if TYPE_CHECKING:
    from glasspost.torture.account import Balance
    from glasspost.torture.campaign import Plan

NODE = (sys.executable, "-m", "glasspost.cli.torture_node")


def torture(
    kills: Annotated[int, typer.Option("--kills", metavar="N", min=1, help="End after N kills of the node.")] = 50,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=1, help="End after S seconds.")] = 3600.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of all chance; 0: another each time.")] = 0,
    clients: Annotated[int, typer.Option("--clients", metavar="N", min=1, help="Clients that send at a time.")] = 8,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="An empty folder to do it in, kept; none: a temporary one."),
    ] = None,
    stroke: Annotated[
        list[str] | None,
        typer.Option("--stroke", metavar="NAME", help="Only this, by its name on the sheet; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Torture a node of its own on loopback, and count: is all that it acknowledged delivered, bounced or queued?

    Ends with 0 where the account balances. Your own node and its data are not touched.
    """
    from glasspost.torture.campaign import Plan

    seed = seed or time.time_ns() % 1_000_000_000
    place = _empty_folder(folder)
    plan = Plan(NODE, place, kills, seconds, seed, clients, stroke or ())
    found = _run(plan, quiet=as_json)
    if as_json:
        typer.echo(json.dumps({"seed": seed, **found.as_json()}, indent=1))
    else:
        typer.echo(f"Torture with --seed {seed}\n\n{found}")
    if found.balances and folder is None:
        shutil.rmtree(place, ignore_errors=True)
    if not found.balances:
        print(f"glasspost: what was found is kept in {place}", file=sys.stderr)
        raise typer.Exit(Exit.FAILED)


def _empty_folder(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="glasspost-torture-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreError(f"{folder} is not empty; name a folder of its own with --folder")
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error.strerror}") from None
    return folder


def _run(plan: Plan, *, quiet: bool) -> Balance:
    import asyncio

    from glasspost.torture.campaign import Campaign

    def tell(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    async def campaign() -> Balance:
        return await Campaign(plan, tell).run()

    return asyncio.run(campaign())
