"""`glasspost account app-password`: further passwords of an account, one for each program or device.

Lives here: what is typed and what is printed. Does not live here: what is stored (storage/app_passwords.py).
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer

from glasspost.cli.directory import (
    DEFAULT_DATA,
    AsJson,
    Data,
    Name,
    account_app,
    open_directory,
    print_json,
    print_table,
    read_address,
)

app = typer.Typer(help="Further passwords of an account, one for each program or device.", no_args_is_help=True)
account_app.add_typer(app, name="app-password")

Title = Annotated[str, typer.Argument(metavar="NAME", help='What to call it: "phone", "doorbell".')]


@app.command("add")
def add(
    address: Name,
    name: Title,
    purpose: Annotated[
        Literal["send", "fetch", "both"], typer.Option("--for", help="What it may do: send, fetch, or both.")
    ] = "both",
    cram_md5: Annotated[
        bool, typer.Option("--cram-md5", help="Make it good for CRAM-MD5, too. It is then stored readable.")
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Make an app password, and print it: it is not shown again."""
    where = read_address(address)
    with open_directory(data) as directory:
        password = directory.lock.add_app_password(where, name, purpose, cram_md5=cram_md5)
    if as_json:
        print_json({"address": address, "name": name, "for": purpose, "cram_md5": cram_md5, "password": password})
    else:
        print(password)


@app.command("list")
def list_(address: Name, data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Print an account's app passwords: their names, not the passwords."""
    with open_directory(data) as directory:
        found = directory.lock.app_passwords(read_address(address))
    if as_json:
        print_json(
            [
                {"name": one.name, "for": one.purpose, "cram_md5": one.plain is not None, "created": one.created}
                for one in found
            ]
        )
        return
    rows = [
        (one.name, one.purpose, "yes" if one.plain else "no", time.strftime("%Y-%m-%d", time.localtime(one.created)))
        for one in found
    ]
    print_table(("NAME", "FOR", "CRAM-MD5", "MADE"), rows)


@app.command("remove")
def remove(address: Name, name: Title, data: Data = DEFAULT_DATA) -> None:
    """Revoke an app password, from the next sign-in on."""
    with open_directory(data) as directory:
        directory.lock.remove_app_password(read_address(address), name)
    print(f'the app password "{name}" of {address} is revoked')
