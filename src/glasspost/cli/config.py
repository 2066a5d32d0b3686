"""`glasspost config`: check, explain and show the configuration.

Lives here: the three commands and what they print.
Does not live here: reading the configuration (node/config.py), trying it out (node/config_check.py), the words about
each setting (node/settings_text.py).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.errors import ConfigurationError

if TYPE_CHECKING:
    from glasspost.node.config import Reading

app = typer.Typer(help="Check, explain and show the configuration.", no_args_is_help=True)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The configuration file (TOML); none: the defaults.")
]
DataFolder = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The data folder; goes before the configuration's.")
]


def _complete_key(incomplete: str) -> list[str]:
    from glasspost.node.catalogue import SECTIONS, SETTINGS

    return [name for name in (*SECTIONS, *SETTINGS) if name.startswith(incomplete)]


@app.command()
def check(
    config: ConfigFile = None,
    data: DataFolder = None,
    running: Annotated[
        bool, typer.Option("--running", help="The node runs with it now: leave the ports alone, they are its own.")
    ] = False,
) -> None:
    """Read the configuration, and try out what it names: ports, data folder, store, certificates, password files."""
    from glasspost.clock import SystemClock
    from glasspost.node.config_check import findings, notices

    reading = _read(config, data)
    found = findings(reading, SystemClock(), ports=not running)
    if found:
        raise ConfigurationError(found)
    count = len(reading.config.listener)
    listeners = f"{count} listener{'' if count == 1 else 's'}"
    for notice in notices(reading.config):
        typer.echo(notice, err=True)
    typer.echo(f"OK: {reading.file}; {listeners}; data in {reading.config.node.data.absolute()}")


@app.command()
def explain(
    key: Annotated[
        str, typer.Argument(help="A setting or a section: smtp.max_errors, smtp.", autocompletion=_complete_key)
    ] = "",
) -> None:
    """Say what a setting means, its default and its unit; of a section, its settings; without KEY, the sections."""
    from glasspost.node.settings_text import explain as explained

    typer.echo(explained(key))


@app.command()
def show(config: ConfigFile = None, data: DataFolder = None) -> None:
    """Print the settings that hold, as a TOML file, with the place where each was said. Never prints a password."""
    from glasspost.node.settings_text import shown

    typer.echo(shown(_read(config, data)), nl=False)


def _read(config: Path | None, data: Path | None) -> Reading:
    from glasspost.node.config import Origin, Reading, read

    reading = read(config, os.environ)
    if data is None:
        return reading
    origins = {**reading.origins, ("node", "data"): Origin("--data")}
    return Reading(reading.config.with_data(data), reading.file, origins)
