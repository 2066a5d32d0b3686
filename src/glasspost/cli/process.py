"""`glasspost reload` and `glasspost restart`: a running node takes a new configuration, or a new program its place.

Lives here: asking the node, waiting for its successor, and what is printed.
Does not live here: what the node does (serve.py, node/reload.py, node/succession.py).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from glasspost.cli.directory import DEFAULT_DATA, Data
from glasspost.errors import Exit, GlasspostError, NotFound
from glasspost.node.control import Answer, ask

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_LOOK_AGAIN = 0.1  # seconds between two looks for the successor
_START = 60.0  # seconds that the successor may take, beside the old node's `node.drain`


class Refused(GlasspostError):
    """The node's own words, with the exit code it gave them."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("\n".join(answer["why"]))
        self.exit_code = Exit(answer.get("exit", Exit.FAILED))


def reload(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Have the running node read its configuration again; no connection is dropped. Says what waits for a restart."""
    answer = _asked(data, "reload")
    if as_json:
        typer.echo(json.dumps({name: answer[name] for name in ("taken", "waiting")}))
        return
    taken, waiting = answer["taken"], answer["waiting"]
    if not taken and not waiting:
        typer.echo("Nothing in the configuration has changed. Certificates were looked at.")
    if taken:
        typer.echo(f"Holds now, for what comes from now on: {', '.join(taken)}")
    if waiting:
        typer.echo(f"Waits for a restart: {', '.join(waiting)}")


def restart(data: Data = DEFAULT_DATA) -> None:
    """Replace the running node by a new one, with program and configuration as they are now; nobody who connects
    meanwhile is refused."""
    answer = _asked(data, "restart")
    end = time.monotonic() + float(answer["drain"]) + _START
    while time.monotonic() < end:
        time.sleep(_LOOK_AGAIN)
        try:
            now = ask(data, {"do": "status"})
        except GlasspostError:
            continue  # between the two
        if now.get("life") not in (None, answer["life"]):
            typer.echo(f"Restarted: glasspost {now['version']}, process {now['pid']}.")
            return
    raise GlasspostError("the old node has left, and no new one answers; its log says why")


def _asked(data: Path, what: str) -> Answer:
    if not data.is_dir():
        raise NotFound(f"there is no data folder {data}; name it with --data")
    answer = ask(data, {"do": what}, patience=120.0)
    if not answer["ok"]:
        raise Refused(answer)
    return answer
