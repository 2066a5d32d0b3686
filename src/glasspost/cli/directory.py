"""Commands about who lives here: `glasspost domain`, `glasspost account`, `glasspost alias`.

Lives here: what is typed and what is printed.
Does not live here: the directory itself (storage/accounts.py).

All of them work on the data folder, while a node runs on it and while none does; a running node sees a change at its
next command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.errors import Exit, GlasspostError, NotFound
from glasspost.mail.address import Address, address_from_text

if TYPE_CHECKING:
    from glasspost.storage.accounts import Account, Directory
    from glasspost.storage.database import Database

domain_app = typer.Typer(help="The domains whose mail ends here.", no_args_is_help=True)
account_app = typer.Typer(help="The mailboxes and their owners.", no_args_is_help=True)
alias_app = typer.Typer(help="Addresses that lead to others.", no_args_is_help=True)

# readable=False: whoever may read the record may pass through the folder, and not list it (transcripts.readers).
Data = Annotated[
    Path, typer.Option("--data", envvar="GLASSPOST_DATA", help="The data folder.", metavar="DIR", readable=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
QuotaText = Annotated[str, typer.Option(help="How much the mailbox may hold: 500MB, 2GB; 0: no limit.", metavar="SIZE")]
Name = Annotated[str, typer.Argument(metavar="ADDRESS")]
DomainName = Annotated[str, typer.Argument(metavar="DOMAIN")]
DEFAULT_DATA = Path("var")


class Mistyped(GlasspostError):
    """The command line itself is wrong."""

    exit_code = Exit.USAGE


# --- domains ---------------------------------------------------------------------------------------------------


@domain_app.command("add")
def add_domain(name: DomainName, data: Data = DEFAULT_DATA) -> None:
    """Take mail for a domain from now on."""
    with open_directory(data, create=True) as directory:
        print(f"{directory.add_domain(name)} is ours now")


@domain_app.command("list")
def list_domains(data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Print the domains, and how much is in each."""
    with open_directory(data) as directory:
        domains = directory.domains()
    if as_json:
        print_json([{"name": one.name, "accounts": one.accounts, "aliases": one.aliases} for one in domains])
        return
    print_table(("DOMAIN", "ACCOUNTS", "ALIASES"), [(one.name, str(one.accounts), str(one.aliases)) for one in domains])


@domain_app.command("remove")
def remove_domain(name: DomainName, data: Data = DEFAULT_DATA) -> None:
    """Take no more mail for a domain. It must be empty."""
    with open_directory(data) as directory:
        directory.remove_domain(name)
    print(f"{name} is not ours any more")


# --- accounts --------------------------------------------------------------------------------------------------


@account_app.command("add")
def add_account(
    address: Name, password_stdin: FromStdin = False, quota: QuotaText = "0", data: Data = DEFAULT_DATA
) -> None:
    """Make a mailbox. Its domain is added as well where it is new."""
    where = read_address(address)
    octets = _octets(quota)
    password = _password(password_stdin)
    with open_directory(data, create=True) as directory:
        known = where.route in directory.local_domains()
        account = directory.add_account(where, password, quota=octets, create_domain=True)
    if not known:
        print(f"{where.route} is ours now")
    print(f"{account.address} has a mailbox now")


@account_app.command("list")
def list_accounts(
    domain: Annotated[str, typer.Argument(metavar="[DOMAIN]", help="Only those of this domain.")] = "",
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Print the accounts."""
    with open_directory(data) as directory:
        accounts = directory.accounts(domain)
    if as_json:
        print_json([_account_facts(one) for one in accounts])
        return
    rows = [(one.address, _size(one.quota), "yes" if one.enabled else "no") for one in accounts]
    print_table(("ADDRESS", "QUOTA", "ENABLED"), rows)


@account_app.command("remove")
def remove_account(
    address: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Remove its mail without asking.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Remove an account, and its mail. No alias may lead to it."""
    where = read_address(address)
    with open_directory(data) as directory:
        held = _mail_of(data, directory.account_at(where).id)
        if held and not yes:
            _must_agree(f"{address} holds {_messages(held)}; remove them, too?")
        # The account goes first: the other way round, mail would be lost where the account cannot go.
        gone = _remove_mail(data, directory.remove_account(where))
    print(f"{address} is removed" + (f", with {_messages(gone)}" if gone else ""))


@account_app.command("disable")
def disable_account(address: Name, data: Data = DEFAULT_DATA) -> None:
    """Take no mail for an account, and let nobody sign in to it. Its mail stays."""
    with open_directory(data) as directory:
        directory.set_enabled(read_address(address), False)
    print(f"{address} is disabled")


@account_app.command("enable")
def enable_account(address: Name, data: Data = DEFAULT_DATA) -> None:
    """Undo `disable`."""
    with open_directory(data) as directory:
        directory.set_enabled(read_address(address), True)
    print(f"{address} is enabled")


@account_app.command("password")
def change_password(address: Name, password_stdin: FromStdin = False, data: Data = DEFAULT_DATA) -> None:
    """Give an account a new password."""
    where = read_address(address)
    with open_directory(data) as directory:
        directory.account_at(where)  # before anybody types a password for nothing
        directory.set_password(where, _password(password_stdin))
    print(f"{address} has a new password")


@account_app.command("quota")
def change_quota(
    address: Name, quota: Annotated[str, typer.Argument(metavar="SIZE")], data: Data = DEFAULT_DATA
) -> None:
    """Change how much an account's mailbox may hold: 500MB, 2GB; 0: no limit."""
    octets = _octets(quota)
    with open_directory(data) as directory:
        directory.set_quota(read_address(address), octets)
    print(f"{address} may hold {_size(octets)}" if octets else f"{address} has no limit now")


# --- aliases ---------------------------------------------------------------------------------------------------


@alias_app.command("add")
def add_alias(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="*@domain takes what nobody else does.")],
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...")],
    data: Data = DEFAULT_DATA,
) -> None:
    """Let an address lead to others, here or elsewhere. Targets it has already are kept."""
    with open_directory(data, create=True) as directory:
        wanted = [read_address(target) for target in targets]
        alias = directory.add_alias(read_address(address, catch_all=True), wanted)
    print(f"{alias.address} leads to {', '.join(alias.targets)}")


@alias_app.command("list")
def list_aliases(
    domain: Annotated[str, typer.Argument(metavar="[DOMAIN]", help="Only those of this domain.")] = "",
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Print the aliases and where they lead."""
    with open_directory(data) as directory:
        aliases = directory.aliases(domain)
    if as_json:
        print_json([{"address": one.address, "targets": list(one.targets)} for one in aliases])
        return
    print_table(("ADDRESS", "LEADS TO"), [(one.address, ", ".join(one.targets)) for one in aliases])


@alias_app.command("remove")
def remove_alias(
    address: Name,
    targets: Annotated[list[str] | None, typer.Argument(metavar="[TARGET]...", help="Only these.")] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Remove an alias, or only some of its targets."""
    with open_directory(data) as directory:
        wanted = [read_address(target) for target in targets or ()]
        directory.remove_alias(read_address(address, catch_all=True), wanted)
    print(f"{address} leads no more to {', '.join(targets)}" if targets else f"{address} is removed")


# --- reading and printing ---------------------------------------------------------------------------------------


def read_address(text: str, *, catch_all: bool = False) -> Address:
    """An address somebody typed. Raises Mistyped."""
    if catch_all and text.startswith("*@") and len(text) > 2:
        return Address("*", text[2:])
    try:
        address = address_from_text(text.strip())
    except ValueError:
        raise Mistyped(f'"{text}" is not an address; it should look like alice@example.test') from None
    if not address.domain or address.local == "*":
        raise Mistyped(f'"{text}" is not an address; it should look like alice@example.test')
    return address


def _octets(text: str) -> int:
    """Octets from a size somebody typed, read as in the configuration. Raises Mistyped."""
    from glasspost.node.values import read_size

    try:
        return read_size(text)
    except ValueError as error:
        raise Mistyped(str(error)) from None


def _size(octets: int) -> str:
    from glasspost.node.values import write_size

    return str(write_size(octets)) if octets else "-"


def _password(from_stdin: bool) -> str:
    """The password, from standard input or from the person at the terminal."""
    if from_stdin:
        try:
            password = sys.stdin.readline().rstrip("\r\n")
        except UnicodeDecodeError:
            raise Mistyped("the password on standard input is not text") from None
        if not password:
            raise Mistyped("no password came on standard input")
        return password
    if not sys.stdin.isatty():
        raise Mistyped("no terminal to ask for the password; use --password-stdin")
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


def _must_agree(question: str) -> None:
    if not sys.stdin.isatty():
        raise Mistyped(f"{question} Say --yes")
    typer.confirm(question, abort=True)


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


@contextmanager
def open_directory(data: Path, *, create: bool = False) -> Iterator[Directory]:
    """The directory of a data folder. Only what adds something may make a new one: elsewhere a folder without one is
    most likely a mistyped --data."""
    from glasspost.storage.accounts import Directory
    from glasspost.storage.folder import Folder

    folder = Folder(data)
    if create:
        folder.make()
    else:
        folder.must_exist()
        if not folder.directory.exists():
            raise NotFound(f"nobody lives in {data} yet; add an account first, or name the folder with --data")
    directory = Directory(folder.directory)
    try:
        yield directory
    finally:
        directory.close()


def _mail_of(data: Path, account_id: int) -> int:
    """How many messages the mailbox holds."""
    from glasspost.storage import mailboxes

    return _in_spool(data, lambda database: len(mailboxes.listed(database.reader, account_id)))


def _remove_mail(data: Path, account_id: int) -> int:
    """Remove all of them; returns how many there were."""
    from glasspost.storage import mailboxes

    return _in_spool(
        data,
        lambda database: database.apply(lambda connection: mailboxes.remove_all(connection, account_id)),
    )


def _in_spool(data: Path, work: Callable[[Database], int]) -> int:
    """Work on the spool file; 0 where no node has made one yet."""
    from glasspost.storage.database import Database
    from glasspost.storage.folder import Folder

    path = Folder(data).spool
    if not path.exists():
        return 0
    database = Database(path, "spool")
    try:
        return work(database)
    finally:
        database.close_now()


def _account_facts(account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "address": account.address,
        "quota": account.quota,
        "enabled": account.enabled,
        "created": account.created,
    }


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from glasspost.explain.typography import padded, visible, width

    shown = [tuple(map(visible, row)) for row in [head, *rows]]
    widths = [max(width(row[column]) for row in shown) for column in range(len(head))]
    for row in shown:
        print("  ".join(padded(cell, wide) for cell, wide in zip(row, widths, strict=True)).rstrip())
