"""`glasspost limits`: who has failed to sign in too often, and letting them in again.

Lives here: what is typed and what is printed. Does not live here: the counts (storage/guesses.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.cli.directory import DEFAULT_DATA, Data
from glasspost.errors import NotFound
from glasspost.explain.typography import visible

if TYPE_CHECKING:
    from glasspost.storage.guesses import Guesses

app = typer.Typer(help="Who has failed to sign in too often.", no_args_is_help=True)


@app.command("list")
def list_(
    data: Data = DEFAULT_DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    shut_out: Annotated[bool, typer.Option("--shut-out", help="Only those who are shut out now.")] = False,
) -> None:
    """List the failed sign-ins that count now: by address, network, account, and pair of address and account."""
    with _guesses(data) as guesses:
        found = [one for one in guesses.failures() if one.until or not shut_out] if guesses else []
    if as_json:
        rows = [
            {"kind": one.kind, "name": one.name, "failures": round(one.count, 2), "last": one.last, "until": one.until}
            for one in found
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    for one in found:
        until = time.strftime("shut out until %H:%M:%S", time.localtime(one.until)) if one.until else ""
        typer.echo(visible(f"{one.kind:<8}  {one.count:>6.1f}  {one.name}  {until}".rstrip()))
    typer.echo(f"{len(found)} in all" if found else "Nobody is counted.")


@app.command()
def clear(
    which: Annotated[
        str, typer.Argument(metavar="NAME", help="An address, a network or an account, as `list` shows it; or `all`.")
    ],
    data: Data = DEFAULT_DATA,
) -> None:
    """Forget failures: whoever was shut out for them may try again at once."""
    with _guesses(data) as guesses:
        count = 0
        if guesses:
            count = guesses.clear_all() if which == "all" else guesses.clear(which)
    if not count and which != "all":
        raise NotFound(f"nothing is counted for {which}; `glasspost limits list` shows what is")
    typer.echo(f"{count} count{'' if count == 1 else 's'} forgotten")


@contextmanager
def _guesses(data: Path) -> Iterator[Guesses | None]:
    """The counts of a data folder; None where no node has made any yet."""
    from glasspost.storage.folder import Folder
    from glasspost.storage.guesses import Guesses

    folder = Folder(data)
    folder.must_exist()
    if not folder.limits.exists():
        yield None
        return
    guesses = Guesses(folder.limits)
    try:
        yield guesses
    finally:
        guesses.close()
