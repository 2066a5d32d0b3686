"""`glasspost hooks`: a hooks file, checked and tried on what was recorded.

Lives here: what is typed and what is printed.
Does not live here: the trial (inbound/hook_trial.py), what a hooks file is (docs/hooks.md).
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.cli.directory import DEFAULT_DATA, AsJson, Data, Mistyped
from glasspost.cli.record import talks_in
from glasspost.explain.typography import visible

if TYPE_CHECKING:
    from glasspost.inbound.hook_trial import Trial
    from glasspost.storage.talks import Conversation, Talks

app = typer.Typer(help="Rules of your own, in a Python file.", no_args_is_help=True)


@app.callback()
def _hooks() -> None:
    """Rules of your own, in a Python file."""


@app.command("test")
def test_hooks(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The hooks file.")],
    since: Annotated[str, typer.Option(help="How far back: 2h, 7d, today, 2026-11-23.", metavar="WHEN")] = "7d",
    timeout: Annotated[float, typer.Option(min=0.01, help="How long one call may take, in seconds.")] = 10.0,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Run a hooks file over recorded conversations, and list the verdicts that would have been others.

    Nothing is sent and nothing is changed, unless the file does so itself: its functions are really called. The
    record has no bodies; `data` sees the header fields that are on record.
    """
    from glasspost.inbound.hook_runner import HookRunner
    from glasspost.inbound.hook_script import load_script
    from glasspost.inbound.hook_trial import Trial
    from glasspost.storage.filters import BadFilter, read_moment

    try:
        begin = read_moment(since, time.time())
    except BadFilter as error:
        raise Mistyped(str(error)) from None
    script = load_script(file)
    with talks_in(data) as talks:
        trial = Trial(script, HookRunner(timeout, threads=1))
        asyncio.run(_hold_all(trial, talks, begin))
    if as_json:
        facts = {
            "conversations": trial.conversations,
            "asked": trial.asked,
            "differences": [asdict(one) for one in trial.differences],
        }
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for one in trial.differences:
        print(visible(f"{one.conversation}  {one.step:<7}  {one.about}"))
        print(visible(f"    was:   {one.was}"))
        print(visible(f"    would: {one.would}"))
    count = len(trial.differences)
    print(
        f"{trial.conversations} conversation{'' if trial.conversations == 1 else 's'}, {trial.asked} "
        f"verdict{'' if trial.asked == 1 else 's'} asked, {count or 'none'} would have been "
        f"{'another' if count == 1 else 'others'}."
    )


async def _hold_all(trial: Trial, talks: Talks, begin: float) -> None:
    """The oldest first, as they were."""
    for number in reversed(list(talks.numbers(begin, float("inf")))):
        conversation: Conversation | None = talks.numbered(number)
        if conversation is not None and conversation.kind == "smtp-in":
            await trial.hold(conversation, "".join(talks.pieces(conversation)))
