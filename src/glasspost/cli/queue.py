"""`glasspost queue`: what waits, and a postmaster's hands on it.

Lives here: the commands and how they print.
Does not live here: the queue itself (storage/queue.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import apsw
import typer

from glasspost.cli.directory import DEFAULT_DATA, Data
from glasspost.errors import NotFound
from glasspost.explain.typography import visible
from glasspost.storage import queue
from glasspost.storage.database import Database
from glasspost.storage.folder import Folder

app = typer.Typer(help="Look at the queue, and change it.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[
    list[str],
    typer.Argument(metavar="ID...", help="Queue ids (q...), single recipients (q...#2), or `all`."),
]


def _store(data: Path) -> Database:
    folder = Folder(data)
    folder.must_exist()
    return Database(folder.spool, "spool")


@app.command("list")
def list_(
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
    summary: Annotated[bool, typer.Option("--summary", help="Only how many, by domain and state.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most N; 0: all of them.")] = 0,
) -> None:
    """List the recipients that wait, in order of arrival."""
    database = _store(data)
    try:
        if summary:
            _print_summary(queue.summary(database.reader), as_json)
            return
        entries = queue.each(database.reader, limit=limit or -1)
        (_print_json if as_json else _print_list)(entries)
    finally:
        database.close_now()


@app.command()
def show(
    which: Annotated[str, typer.Argument(metavar="ID", help="A queue id (q...).")],
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Show one message that waits: its envelope, and how each recipient stands."""
    database = _store(data)
    try:
        entries = queue.entries(database.reader, _span(which))
    finally:
        database.close_now()
    if not entries:
        raise NotFound(f"{which} is not in the queue; `glasspost conversations show {which}` tells what became of it")
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in entries], indent=1))
        return
    first, now = entries[0], time.time()
    typer.echo(f"{first.queue_id}  {first.size} octets, arrived {_moment(first.arrived)} by {first.conversation}")
    typer.echo(visible(f"from <{first.sender}>"))
    for entry in entries:
        typer.echo(visible(f"to   <{entry.recipient}>  #{entry.number}: {_state(entry, now)}"))
        if entry.attempts:
            last = f"the last {_moment(entry.last_attempt)}: {entry.last_reply}"
            typer.echo(visible(f"     attempts: {entry.attempts}, {last}"))
        if entry.last_conversation:
            typer.echo(visible(f"     said in {entry.last_conversation} with {entry.last_host}"))
        if entry.doubtful:
            typer.echo(f"     in doubt: {entry.doubtful} attempt(s) may have arrived although no answer came")


@app.command()
def retry(which: Which, data: Data = DEFAULT_DATA) -> None:
    """Try waiting ones now instead of when they fall due."""
    _change(data, which, lambda connection, span: queue.retry(connection, span, time.time()), "to be tried now")


@app.command()
def hold(which: Which, data: Data = DEFAULT_DATA) -> None:
    """Keep them back until `release`. One that is under way is held if its attempt fails."""
    _change(data, which, queue.hold, "held", "is held if this attempt fails")


@app.command()
def release(which: Which, data: Data = DEFAULT_DATA) -> None:
    """Let held ones go on, at once."""
    _change(data, which, lambda connection, span: queue.release(connection, span, time.time()), "released")


@app.command()
def bounce(which: Which, data: Data = DEFAULT_DATA) -> None:
    """Return them to their sender, with a report. The running node does it at once, or the next one to start; one that
    is under way is returned if its attempt fails."""

    def change(connection: apsw.Connection, span: tuple[int, int]) -> int:
        return queue.bounce(connection, span, time.time())

    _change(data, which, change, "to be returned", "is bounced if this attempt fails")


@app.command()
def remove(which: Which, data: Data = DEFAULT_DATA) -> None:
    """Throw them away. Nobody is told. An attempt that is under way may still deliver."""
    _change(data, which, queue.remove, "removed", "this attempt may still deliver")


@app.command()
def doubts(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """List attempts that may have arrived although no answer came: why somebody may have got a message twice."""
    database = _store(data)
    try:
        found = queue.doubts(database.reader)
    finally:
        database.close_now()
    if as_json:
        typer.echo(json.dumps([asdict(doubt) for doubt in found], indent=1))
        return
    for doubt in found:
        typer.echo(visible(f"{_moment(doubt.noted)}  {doubt.queue_id}  <{doubt.recipient}>: {doubt.reason}"))
    typer.echo(f"{len(found)} in doubt" if found else "Nothing is in doubt.")


def _change(
    data: Path,
    which: list[str],
    change: Callable[[apsw.Connection, tuple[int, int]], int],
    done: str,
    under_way: str = "",
) -> None:
    """`under_way` is said of those that a node has in hand; empty: nothing."""
    spans = [_span(one) for one in which]

    def job(connection: apsw.Connection) -> tuple[int, int]:
        in_hand = sum(queue.in_hand(connection, span) for span in spans) if under_way else 0
        return sum(change(connection, span) for span in spans), in_hand

    database = _store(data)
    try:
        count, in_hand = database.apply(job)
    finally:
        database.close_now()
    if not count:
        raise NotFound(f"nothing in the queue matches {' '.join(which)}; `glasspost queue list` shows what waits")
    typer.echo(f"{count} recipient{'' if count == 1 else 's'} {done}")
    if in_hand:
        typer.echo(f"{in_hand} of them under way: {under_way}")


def _span(text: str) -> tuple[int, int]:
    if text == "all":
        return queue.EVERYTHING
    span = queue.span(text)
    if span is None:
        raise NotFound(f"{text} is not a queue id; they look like q02k30htpcaj, or q02k30htpcaj#2 for one recipient")
    return span


def _print_list(entries: Iterable[queue.Entry]) -> None:
    now, count = time.time(), 0
    for count, entry in enumerate(entries, 1):  # noqa: B007  (how many there were)
        typer.echo(visible(f"{_name(entry)}  {_state(entry, now):<26}  <{entry.sender}> -> <{entry.recipient}>"))
        if entry.last_reply:
            typer.echo(visible(f"    {entry.last_reply}"))
    typer.echo(f"{count} waiting" if count else "The queue is empty.")


def _print_json(entries: Iterable[queue.Entry]) -> None:
    """One array, as it comes."""
    text = "["
    for entry in entries:
        typer.echo(text + json.dumps([asdict(entry)], indent=1)[1:-2], nl=False)
        text = ","
    typer.echo("[]" if text == "[" else "\n]")


def _print_summary(piles: list[queue.Pile], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(pile) for pile in piles], indent=1))
        return
    for pile in piles:
        typer.echo(visible(f"{pile.count:>9}  {pile.state:<10}  {pile.domain}"))
    typer.echo(f"{sum(pile.count for pile in piles):>9}  in all")


def _name(entry: queue.Entry) -> str:
    return f"{entry.queue_id}#{entry.number}"


def _state(entry: queue.Entry, now: float) -> str:
    if entry.wish:
        return "to be returned"
    if entry.state != "waiting":
        return entry.state
    wait = entry.due - now
    if wait <= 0:
        return "due"
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if wait >= size:
            return f"next attempt in {wait / size:.0f} {word}"
    return f"next attempt in {wait:.0f} s"


def _moment(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when)) if when else "never"
