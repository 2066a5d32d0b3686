"""The command line's front door.

Lives here: the list of commands, and the promise that an error is one line that says what to do, never a traceback.
Does not live here: any command (one file per family beside this one).
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

import typer

from glasspost import __version__
from glasspost.cli.output import to_nobody
from glasspost.errors import ConfigurationError, Exit, GlasspostError

# The disk's no: what is written or printed on one that is full.
_NO_ROOM = {errno.ENOSPC: "no room left on the disk", errno.EDQUOT: "the quota of the disk is used up"}

# Every command: its word, the file beside this one, its name there. A function is a command, a Typer a family of them.
# They are imported when they are typed: what `serve` needs is no burden for `why`, which is to answer at once.
COMMANDS = (
    ("serve", "serve", "serve"),
    ("reload", "process", "reload"),
    ("restart", "process", "restart"),
    ("send", "send", "send"),
    ("explain", "explain", "explain"),
    ("check", "check", "check"),
    ("why", "why", "why"),
    ("route", "route", "route"),
    ("talk", "talk", "talk"),
    ("replay", "replay", "replay"),
    ("torture", "torture", "torture"),
    ("domain", "directory", "domain_app"),
    ("account", "app_passwords", "account_app"),
    ("alias", "directory", "alias_app"),
    ("limits", "limits", "app"),
    ("oauth", "oauth", "app"),
    ("queue", "queue", "app"),
    ("mailbox", "mailbox", "app"),
    ("conversations", "conversations", "conversations_app"),
    ("config", "config", "app"),
    ("hooks", "hooks", "app"),
)


def front_door(word: str = "") -> typer.Typer:
    """All commands, or the one of that word alone: with no others to look for, none is imported."""
    app = typer.Typer(
        name="glasspost",
        help="A mail server made of glass.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for name, file, attribute in COMMANDS:
        if word in ("", name):
            module = import_module(f"glasspost.cli.{file}")
            found = getattr(module, attribute)
            if isinstance(found, typer.Typer):
                app.add_typer(found, name=name)
            else:
                app.command(name, **_particulars(name, module))(found)
    return app


def _particulars(name: str, module: Any) -> dict[str, Any]:
    """What a command wants from typer beside its function."""
    if name == "explain":  # "-ERR [IN-USE]" is a text to explain, not an option
        return {"context_settings": {"ignore_unknown_options": True}}
    return {"epilog": module.EPILOG} if name == "send" else {}


def _typed(arguments: Sequence[str]) -> str:
    """The command that was typed, where that is clear at first sight; empty: all must be known."""
    first = arguments[0] if arguments else ""
    return first if any(first == name for name, _, _ in COMMANDS) else ""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"glasspost {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A mail server made of glass."""


def run() -> None:
    """The `glasspost` command."""
    sys.exit(main())


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code (errors.Exit)."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        result = front_door(_typed(given))(given, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else Exit.OK
    except ConfigurationError as error:
        for problem in error.problems:
            _complain(str(problem))
        return Exit.CONFIGURATION
    except GlasspostError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has had enough; nothing is wrong. Python must not try to flush again.
        to_nobody(sys.stdout)
        return Exit.OK
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        to_nobody(sys.stdout)
        where = f" for {error.filename}" if error.filename else ""
        _complain(f"{_NO_ROOM[error.errno]}{where}; make room, and try again")
        return Exit.STORE
    except typer.Abort:
        return 130
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of typer's, whose class is not public
            said = str(error.format_message()).rstrip()
            if said.startswith("Usage: "):  # a family without a command: its help is all there is to say
                print(said, file=sys.stderr)
            else:
                _complain(f"{said}{'' if said.endswith(('.', '?', '!')) else '.'} Try --help.")
            return Exit.USAGE
        raise


def _complain(text: str) -> None:
    from glasspost.explain.typography import visible

    with suppress(OSError):  # the exit code says it, where stderr is on a full disk
        print("\n".join(map(visible, f"glasspost: {text}".splitlines())), file=sys.stderr, flush=True)
