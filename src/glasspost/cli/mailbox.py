"""`glasspost mailbox`: what is in a mailbox, and getting it out.

Lives here: the commands, and the mbox and eml forms of an export.
Does not live here: maildrops (storage/mailboxes.py).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from glasspost.cli.directory import DEFAULT_DATA, Data, read_address
from glasspost.errors import GlasspostError, NotFound
from glasspost.explain.typography import visible

if TYPE_CHECKING:
    from glasspost.storage import mailboxes
    from glasspost.storage.database import Database

app = typer.Typer(help="Look into mailboxes, and export them.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="The account's address.")]
T = TypeVar("T")


def _with_mailbox(data: Path, address: str, work: Callable[[Database, list[mailboxes.Held]], T]) -> T:
    """Open the store, find the account's mailbox, work with what it holds."""
    from glasspost.storage import mailboxes
    from glasspost.storage.accounts import Directory
    from glasspost.storage.database import Database
    from glasspost.storage.folder import Folder

    folder = Folder(data)
    folder.must_exist()
    directory = Directory(folder.directory)
    try:
        account = directory.account_at(read_address(address))
    finally:
        directory.close()
    database = Database(folder.spool, "spool")
    try:
        return work(database, mailboxes.listed(database.reader, account.id))
    finally:
        database.close_now()


@app.command("list")
def list_(address: Address, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """List a mailbox, in order of arrival."""
    held = _with_mailbox(data, address, lambda _database, found: found)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in held], indent=1))
        return
    for number, one in enumerate(held, 1):
        arrived = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.arrived))
        typer.echo(visible(f"{number:>5}  {one.uid}  {arrived}  {one.octets:>10}  <{one.reverse_path}>"))
    typer.echo(f"{len(held)} message{'' if len(held) == 1 else 's'}" if held else "The mailbox is empty.")


@app.command()
def show(
    address: Address,
    which: Annotated[str, typer.Argument(metavar="N|ID", help="Its number in the list, or its id (q...).")],
    data: Data = DEFAULT_DATA,
) -> None:
    """Print one message, octet by octet."""

    from glasspost.storage import mailboxes

    def work(database: Database, held: list[mailboxes.Held]) -> bytes:
        for number, one in enumerate(held, 1):
            if which in (str(number), one.uid):
                return mailboxes.read_whole(database, one)
        raise NotFound(f"there is no message {which} in this mailbox; `glasspost mailbox list {address}` shows them")

    typer.echo(_with_mailbox(data, address, work), nl=False)


@app.command()
def export(
    address: Address,
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="A file for mbox, a folder for eml.")],
    form: Annotated[str, typer.Option("--format", metavar="mbox|eml", help="One file, or a file each.")] = "mbox",
    data: Data = DEFAULT_DATA,
) -> None:
    """Copy a mailbox out: one mbox file (mboxrd), or a folder of .eml files with the octets as they are."""
    from glasspost.storage import mailboxes

    if form not in ("mbox", "eml"):
        raise GlasspostError(f"--format is mbox or eml, not {form}")

    def work(database: Database, held: list[mailboxes.Held]) -> int:
        try:
            if form == "eml":
                to.mkdir(parents=True, exist_ok=True)
                for one in held:
                    (to / f"{one.uid}.eml").write_bytes(mailboxes.read_whole(database, one))
            else:
                with to.open("wb") as file:
                    for one in held:
                        file.write(_mboxrd(one, mailboxes.read_whole(database, one)))
        except OSError as error:
            raise GlasspostError(f"{error.filename or to}: {error.strerror}") from None
        return len(held)

    count = _with_mailbox(data, address, work)
    typer.echo(f"{count} message{'' if count == 1 else 's'} written to {to}")


_FROM_LINE = re.compile(rb"^(>*From )", re.MULTILINE)


def _mboxrd(held: mailboxes.Held, content: bytes) -> bytes:
    """One message as mboxrd has it (RFC 4155 describes the family): LF line ends, `From ` quoted reversibly."""
    sender = held.reverse_path or "MAILER-DAEMON"
    stamp = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(held.arrived))
    body = _FROM_LINE.sub(rb">\1", content.replace(b"\r\n", b"\n"))
    return f"From {sender} {stamp}\n".encode() + body + (b"\n" if body.endswith(b"\n") else b"\n\n")
