"""A message's story as text: one timeline, at the width of a terminal.

Lives here: what is told in which order, and its words in English and Chinese.
Does not live here: what is known (storage/story.py), how lines and meanings are laid out (dialogue.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from glasspost.cli.dialogue import broken, laid_out
from glasspost.explain.notes import noted
from glasspost.protocol.episodes import RELAYED, TRANSACTION, fact
from glasspost.storage.fates import Fate
from glasspost.storage.queue import Entry
from glasspost.storage.story import Scene, Story

_WORDS = {
    "en": {
        "from": "from", "to": "to", "subject": "subject", "id": "id", "state": "state", "account": "account",
        "null": "<> (a report)", "came": "came in from {peer}", "visit": "a visit from {peer}",
        "attempt": "attempt {number}: {peer}", "nobody": "attempt {number}: {peer} could not be talked to",
        "deferred": "{recipient}: deferred, next attempt {due}", "failed": "{recipient}: failed, for ever",
        "given up": "{recipient}: given up, after {time} without success", "delivered": "{recipient}: into the mailbox",
        "report": "the report itself: {reply}", "bounce": "the sender was told, in {other}",
        "late": "the sender was told that it is late, in {other}",
        "original": "a report of this server's about {other}", "why": "why then: {why}", "in": "in {time}",
        "waits": "{recipient} waits; next attempt {due}", "under way": "{recipient}: an attempt is under way now",
        "held": "{recipient} is held: glasspost queue release {id}", "last": "last heard: {reply}",
        "never": "not tried yet", "stands": " ({state})", "now": "at once", "queue": "the queue",
        "doubt": "attempts that may have arrived although no answer came: {count}",
    },
    "zh": {
        "from": "发件人", "to": "收件人", "subject": "主题", "id": "标识", "state": "状态", "account": "账号",
        "null": "<>（系统报告）", "came": "收到，来自 {peer}", "visit": "{peer} 来访",
        "attempt": "第 {number} 次投递：{peer}", "nobody": "第 {number} 次投递：无法与 {peer} 对话",
        "deferred": "{recipient}：推迟，下次投递 {due}", "failed": "{recipient}：失败，不再重试",
        "given up": "{recipient}：{time}内一直未成功，放弃", "delivered": "{recipient}：已投入邮箱",
        "report": "报告本身：{reply}", "bounce": "已通知发件人，见 {other}",
        "late": "已通知发件人邮件延误，见 {other}",
        "original": "本服务器关于 {other} 的报告", "why": "原因：{why}", "in": "{time} 后",
        "waits": "{recipient} 等待中；下次投递 {due}", "under way": "{recipient}：正在投递",
        "held": "{recipient} 被扣留：glasspost queue release {id}", "last": "最近的答复：{reply}",
        "never": "尚未尝试", "stands": "（{state}）", "now": "马上", "queue": "队列",
        "doubt": "{count} 次投递没有得到答复，可能已送达",
    },
}  # fmt: skip
_HEADER = re.compile(r"# (?:\d+\.\d{3}: )?(?:Message-ID|From|To|Subject): ")
_SCHEDULE = re.compile(r"after (\d+) attempts? the schedule waits (\d+) (day|hour|minute|second)s?")
_UNITS = {"day": "天", "hour": "小时", "minute": "分钟", "second": "秒"}
_PERIODS = {"en": ("days", "hours", "minutes", "seconds"), "zh": ("天", "小时", "分钟", "秒")}
_INDENT = "    "


def moment(seconds: float) -> str:
    """A time for people: UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def story_lines(story: Story, lang: str, now: float) -> Iterator[str]:
    """The whole story."""
    words = _WORDS[lang]
    yield from _heading(story, lang)
    known: set[str] = set()  # meanings that were told at length
    told: list[tuple[float, list[str]]] = []
    if story.arrival is not None:
        told.append((story.arrival.at, list(_arrival(story, story.arrival, lang, known))))
    by_conversation: dict[str, list[Fate]] = {}
    for fate in story.fates:
        by_conversation.setdefault(fate.conversation, []).append(fate)
    for number, scene in enumerate(story.attempts, 1):
        own = by_conversation.get(scene.conversation.id, [])
        fates = [fate for fate in own if _of_scene(fate, scene, story.attempts)]
        told.append((scene.at, list(_attempt(number, scene, fates, story, lang, known))))
        for fate in fates:
            own.remove(fate)
    for fate in [fate for rest in by_conversation.values() for fate in rest]:
        lines = [moment(fate.at), *_fate(fate, story, lang)]
        told.append((fate.at, lines))
    for _, lines in sorted(told, key=lambda one: one[0]):
        yield ""
        yield from lines
    if story.waiting:
        yield ""
        yield f"{moment(now)}  {words['queue']}"
        for entry in story.waiting:
            yield from _waiting(entry, story.fates, lang, now)


def _of_scene(fate: Fate, scene: Scene, attempts: list[Scene]) -> bool:
    """Whether a fate is of this attempt: the last one of its conversation that began before it."""
    before = [one for one in attempts if one.conversation.id == fate.conversation and one.at <= fate.at + 0.002]
    return not before or before[-1] is scene


def _heading(story: Story, lang: str) -> Iterator[str]:
    from glasspost.explain.typography import padded, width

    words = _WORDS[lang]
    if story.queue_id:
        yield story.queue_id
    null = bool(story.original) and not story.sender
    facts = [
        ("from", words["null"] if null else story.sender or story.author),
        ("to", ", ".join(story.recipients) or story.addressees),
        ("account", story.account),
        ("subject", story.subject),
        ("id", story.message_id),
        ("state", noted(story.state, lang)),
    ]
    facts = [(words[name], text) for name, text in facts if text]
    wide = max((width(name) for name, _ in facts), default=0)
    for name, text in facts:
        yield from broken(text, f"{padded(name, wide)}  ", " " * (wide + 2))


def _arrival(story: Story, scene: Scene, lang: str, known: set[str]) -> Iterator[str]:
    """How it came in. Where it was accepted, notes and refusals alone; where it was not, all that was said."""
    conversation = scene.conversation
    words = _WORDS[lang]["came" if story.queue_id else "visit"].format(peer=conversation.peer)
    yield from broken(f"{moment(scene.at)}  {words}, {conversation.id}", "", _INDENT)
    refused = not story.queue_id
    notes = [line for line in scene.opening.lines if line[:1] == "#"]
    opening = notes if scene.transaction else scene.opening.lines
    lines = [*opening, *(scene.transaction.lines if scene.transaction else [])]
    if not refused:
        lines = [line for line in lines if line[:1] == "#" or line[line.find(": ") + 2 :][:1] in ("4", "5")]
    lines = [line for line in lines if not _HEADER.match(line)]
    yield from laid_out(lines, lang, _INDENT, name=conversation.id, known=known)


def _attempt(number: int, scene: Scene, fates: list[Fate], story: Story, lang: str, known: set[str]) -> Iterator[str]:
    conversation = scene.conversation
    words = _WORDS[lang]["attempt" if scene.transaction else "nobody"]
    told = words.format(number=number, peer=conversation.peer)
    yield from broken(f"{moment(scene.at)}  {told}, {conversation.id}", "", _INDENT)
    lines = [line for line in scene.lines if (found := fact(line)) is None or found[0] not in (TRANSACTION, RELAYED)]
    facts = [line for line in scene.opening.lines if line[:1] == "#"] if scene.transaction else []
    yield from laid_out([*facts, *lines], lang, _INDENT, name=conversation.id, known=known)
    for fate in fates:
        yield from _fate(fate, story, lang)


def _fate(fate: Fate, story: Story, lang: str) -> Iterator[str]:
    words = _WORDS[lang]
    told = words.get(fate.what, "{recipient}: " + fate.what).format(
        recipient=fate.recipient,
        due=moment(fate.due) if fate.due else "",
        reply=noted(fate.reply, lang),
        time=_period(fate.at - story.began, lang),
    )
    yield from broken(told, f"{_INDENT}=> ", _INDENT + "   ")
    if fate.what == "report":
        if fate.other:
            yield from broken(words["original"].format(other=fate.other), _INDENT + "   ", _INDENT + "   ")
        return
    if not fate.conversation and fate.reply:
        yield from laid_out([f"# {fate.reply}"], lang, _INDENT + "   ")
    if fate.why:
        yield from broken(words["why"].format(why=_why(fate.why, lang)), _INDENT + "   ", _INDENT + "     ")
    if fate.other:
        told = words["late" if fate.what == "deferred" else "bounce"].format(other=fate.other)
        state = story.reports.get(fate.other, "")
        stands = words["stands"].format(state=noted(state, lang)) if state else ""
        yield from broken(told + stands, _INDENT + "   ", _INDENT + "   ")


def _waiting(entry: Entry, fates: list[Fate], lang: str, now: float) -> Iterator[str]:
    """How a recipient stands now, and what comes next, and why then."""
    words = _WORDS[lang]
    left = entry.due - now
    due = words["now"] if left <= 0 else f"{moment(entry.due)} ({words['in'].format(time=_period(left, lang))})"
    state = entry.state if entry.state in ("held", "under way") else "waits"
    told = words[state].format(recipient=entry.recipient, due=due, id=f"{entry.queue_id}#{entry.number}")
    yield from broken(told, f"{_INDENT}=> ", _INDENT + "   ")
    deferred = [fate for fate in fates if fate.recipient == entry.recipient and fate.what == "deferred"]
    margin = _INDENT + "   "
    if not entry.attempts and not entry.last_reply and state == "waits":
        yield margin + words["never"]
    if deferred and deferred[-1].why and state == "waits" and abs(deferred[-1].due - entry.due) < 1:
        yield from broken(words["why"].format(why=_why(deferred[-1].why, lang)), margin, margin + "  ")
    if entry.last_reply:
        yield from broken(words["last"].format(reply=noted(entry.last_reply, lang)), margin, margin + "  ")
    if entry.doubtful:
        yield from broken(words["doubt"].format(count=entry.doubtful), margin, margin)


def _why(text: str, lang: str) -> str:
    """The record's reason, in the language."""
    found = _SCHEDULE.fullmatch(text) if lang == "zh" else None
    if found is not None:
        return f"第 {found[1]} 次投递之后，按重试计划等待 {found[2]} {_UNITS[found[3]]}"
    return noted(text, lang)


def _period(seconds: float, lang: str) -> str:
    units = _PERIODS[lang]
    for size, unit in zip((86_400, 3_600, 60), units, strict=False):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} {units[-1]}"
