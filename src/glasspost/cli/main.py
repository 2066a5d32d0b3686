"""The command line's front door.

Lives here: the list of commands, and the promise that an error is one line that says what to do, never a traceback.
Does not live here: any command (one file per family beside this one).
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from glasspost import __version__
from glasspost.cli import (
    app_passwords,
    check,
    config,
    conversations,
    directory,
    explain,
    hooks,
    limits,
    mailbox,
    oauth,
    process,
    queue,
    replay,
    route,
    send,
    serve,
    talk,
    torture,
    why,
)
from glasspost.errors import ConfigurationError, Exit, GlasspostError

app = typer.Typer(
    name="glasspost",
    help="A mail server made of glass.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve.serve)
app.command()(process.reload)
app.command()(process.restart)
app.command(epilog=send.EPILOG)(send.send)
# "-ERR [IN-USE]" is a text to explain, not an option.
app.command(context_settings={"ignore_unknown_options": True})(explain.explain)
app.command()(check.check)
app.command()(why.why)
app.command()(route.route)
app.add_typer(directory.domain_app, name="domain")
app.add_typer(directory.account_app, name="account")
directory.account_app.add_typer(app_passwords.app, name="app-password")
app.add_typer(directory.alias_app, name="alias")
app.add_typer(limits.app, name="limits")
app.add_typer(oauth.app, name="oauth")
app.add_typer(queue.app, name="queue")
app.add_typer(mailbox.app, name="mailbox")
app.add_typer(conversations.conversations_app, name="conversations")
app.add_typer(config.app, name="config")
app.add_typer(hooks.app, name="hooks")
app.command()(talk.talk)
app.command()(replay.replay)
app.command()(torture.torture)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"glasspost {__version__}")
        raise typer.Exit


@app.callback()
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
    try:
        result = app(arguments, standalone_mode=False)
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
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

    print("\n".join(map(visible, f"glasspost: {text}".splitlines())), file=sys.stderr)
