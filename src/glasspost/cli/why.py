"""`glasspost why`: what became of a message, and why.

Lives here: what is typed, the short list where several are meant, and the JSON.
Does not live here: finding and putting together what is known (storage/story.py), the timeline's text (why_text.py).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glasspost.cli.directory import DEFAULT_DATA, AsJson, Data
from glasspost.errors import NotFound, StoreError

if TYPE_CHECKING:
    from glasspost.storage.folder import Folder
    from glasspost.storage.queue import Entry
    from glasspost.storage.story import Found, Scene, Story, Waiting

Lang = Annotated[str, typer.Option("--lang", metavar="LANG", help="Explanations in en or zh; else as LANG has it.")]


_MORE = {"en": " and {} more", "zh": " 等 {} 人"}
_FOUND = {
    "en": "{} found; `glasspost why ID` tells one of them.",
    "zh": "找到 {} 个；用 `glasspost why ID` 查看其中之一。",
}
_MAY_BE_MORE = {
    "en": "There may be more: say more exactly what is meant, or use\n`glasspost conversations search`.",
    "zh": "可能还有更多：请把条件说得更具体，或使用\n`glasspost conversations search`。",
}


BEHIND = "the node is too busy to write its record out just now: ask again when it is calmer"


def why(
    query: Annotated[
        list[str],
        typer.Argument(metavar="QUERY...", help="An address, a Message-ID, q... or c..., or words of a subject."),
    ],
    lang: Lang = "",
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Tell what became of a message: how it came in, every attempt and what it means, what comes next.

    Where several are meant they are listed. Also for mail that was never accepted.
    """
    from glasspost.cli.dialogue import language
    from glasspost.storage.folder import Folder
    from glasspost.storage.masking import Pseudonyms, read_key
    from glasspost.storage.story import find
    from glasspost.storage.talks import Talks

    chosen = language(lang)
    folder = Folder(data)
    folder.must_exist()
    asked = " ".join(query)
    key = read_key(folder.transcripts_key)
    talks = Talks(folder.transcripts)
    try:
        found = find(talks, asked, waiting_in(folder), Pseudonyms(key) if key else None)
        behind = talks.behind
    finally:
        talks.close()
    if not found.stories:
        masked = folder.transcripts_key.exists() and key is None and "@" in asked
        hint = "; addresses are masked on record, and only the node's own user has the key" if masked else ""
        perhaps = BEHIND if behind else "it may be too old, or be stored in a moment"
        raise NotFound(f"nothing is on record about {asked}; {perhaps}{hint}")
    if as_json:
        print(json.dumps(_found_facts(found, chosen), indent=2, ensure_ascii=False))
    elif len(found.stories) == 1:
        from glasspost.cli.why_text import story_lines

        print("\n".join(story_lines(found.stories[0], chosen, time.time())))
    else:
        print("\n".join(_listed(found, chosen)))


def waiting_in(folder: Folder) -> Waiting:
    """What waits in the folder's queue. Nothing for those who may read the record only."""
    from glasspost.storage.queue import entries, span
    from glasspost.storage.talks import open_to_read

    def waiting(queue_id: str) -> list[Entry]:
        within = span(queue_id)
        if within is None or not folder.spool.exists():
            return []
        try:
            connection = open_to_read(folder.spool)
        except StoreError:
            return []
        try:
            return entries(connection, within)
        finally:
            connection.close()

    return waiting


def _listed(found: Found, lang: str) -> list[str]:
    """One message, or visit, in two lines: when and where it stands, whose it is and what about."""
    from glasspost.cli.dialogue import COLUMNS
    from glasspost.cli.why_text import moment
    from glasspost.explain.notes import noted
    from glasspost.explain.typography import shortened, visible

    lines = []
    for story in sorted(found.stories, key=lambda one: -one.began):
        name = story.queue_id or (story.arrival.conversation.id if story.arrival else "")
        lines.append(f"{name}  {moment(story.began)}  {noted(story.state, lang)}")
        recipients = story.recipients
        more = _MORE[lang].format(len(recipients) - 1) if len(recipients) > 1 else ""
        ends = story.sender or story.account or "<>"
        if recipients:  # a visit to a mailbox has none
            ends = f"{ends} -> {recipients[0]}{more}"
        lines.append(shortened(visible(f"    {ends}  {story.subject}".rstrip()), COLUMNS))
    if found.more:
        lines.append(_MAY_BE_MORE[lang])
    else:
        lines.append(_FOUND[lang].format(len(found.stories)))
    return lines


def _found_facts(found: Found, lang: str) -> dict[str, Any]:
    return {"more": found.more, "found": [_story_facts(story, lang) for story in found.stories]}


def _story_facts(story: Story, lang: str) -> dict[str, Any]:
    return {
        "queue_id": story.queue_id or None,
        "state": story.state,
        "sender": story.sender,
        "recipients": story.recipients,
        "account": story.account or None,
        "from": story.author,
        "to": story.addressees,
        "subject": story.subject,
        "message_id": story.message_id,
        "report_about": story.original or None,
        "arrival": _scene_facts(story.arrival, lang) if story.arrival else None,
        "attempts": [_scene_facts(scene, lang) for scene in story.attempts],
        "fates": [asdict(fate) for fate in story.fates],
        "waiting": [asdict(entry) for entry in story.waiting],
    }


def _scene_facts(scene: Scene, lang: str) -> dict[str, Any]:
    from glasspost.cli.dialogue import explained

    parts = [scene.opening] + ([scene.transaction] if scene.transaction else [])
    lines = [line for part in parts for line in part.lines]
    conversation = scene.conversation
    return {
        "conversation": conversation.id,
        "kind": conversation.kind,
        "peer": conversation.peer,
        "at": scene.at,
        "verdict": conversation.verdict,
        "lines": [
            {"line": line, "meaning": asdict(meaning) if meaning is not None else None}
            for line, meaning in explained(lines, lang)
        ],
    }
