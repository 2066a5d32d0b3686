"""What `glasspost send` saw and found out, for programs: JSON, and the talk for a file.

Lives here: both forms. They are made of the same sights and meanings as the live view.
Does not live here: the meanings (send_meaning.py), the live view (send_view.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from glasspost.cli.send_meaning import (
    Meaning,
    SendExit,
    exit_code,
    meaning_of_answer,
    meaning_of_finding,
    meaning_of_ours,
    proof_words,
    status_of,
)
from glasspost.cli.send_words import say, seconds
from glasspost.mail.reply import Reply
from glasspost.outbound import sights
from glasspost.outbound.trial import Finding
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, Line, escape, print_talk


def as_json(
    seen: Sequence[sights.Sight], findings: Sequence[Finding], message: dict[str, object], took: float, lang: str
) -> dict[str, object]:
    """Everything there is to know, for JSON."""
    code = exit_code(findings)
    return {
        "message": message,
        "steps": [step for sight in seen if (step := _step(sight, lang)) is not None],
        "recipients": [_recipient(one, lang) for one in findings],
        "seconds": round(took, 6),
        "exit_code": int(code),
        "exit_name": SendExit(code).name if code else "OK",
    }


def _step(sight: sights.Sight, lang: str) -> dict[str, object] | None:
    step: dict[str, object] = {"at": round(sight.at, 6)}
    if isinstance(sight, sights.Heard):
        meaning = meaning_of_answer(sight, lang)
        name = sight.step.name if sight.step else ""
        step |= {"kind": "reply", "step": name, "command": sight.command, **_reply(sight.reply)}
        step |= {"lines": [escape(line) for line in sight.lines], "took": round(sight.took, 6)}
    elif isinstance(sight, sights.Calling):
        where = f"{sight.name}:{sight.port}"
        meaning = Meaning(say("calling", lang, server=where))
        step |= {"kind": "call", "server": where, "addresses": list(sight.addresses)}
    elif isinstance(sight, sights.Connected):
        meaning = Meaning(say("connected", lang, server=sight.server))
        step |= {"kind": "connected", "server": sight.server, "ours": sight.ours, "took": round(sight.took, 6)}
    elif isinstance(sight, sights.Secured):
        meaning = Meaning(proof_words(sight.facts, lang, sight.name))
        step |= {"kind": "tls", "took": round(sight.took, 6), "verified": not sight.facts.fault, **asdict(sight.facts)}
    elif isinstance(sight, sights.Gone):
        meaning = Meaning(say("sent", lang, octets=sight.octets, took=seconds(sight.took)))
        step |= {"kind": "message", "octets": sight.octets, "took": round(sight.took, 6)}
    elif isinstance(sight, sights.Noted):
        meaning = meaning_of_ours(sight.reply, sight.phase, lang)
        step |= {"kind": "note", "phase": sight.phase.value, **_reply(sight.reply)}
    else:
        return None
    return step | {"meaning": meaning.what, "next": meaning.next, "by": meaning.by}


def _reply(reply: Reply) -> dict[str, object]:
    return {"code": reply.code, "enhanced": reply.enhanced, "text": reply.text}


def _recipient(finding: Finding, lang: str) -> dict[str, object]:
    outcome, meaning = finding.outcome, meaning_of_finding(finding, lang)
    return {
        "address": str(finding.recipient.address),
        "verdict": status_of(finding),
        "phase": finding.phase.value,
        "server": outcome.remote_mta if outcome else "",
        "said_by_server": outcome.said_by_remote if outcome else False,
        "reply": _reply(outcome.reply) if outcome else None,
        "meaning": meaning.what,
        "who": meaning.who,
        "next": meaning.next,
        "retry": meaning.retry,
    }


def as_talk(seen: Sequence[sights.Sight]) -> str:
    """The conversations as talks (docs/talks.md), with times. They know no more than the tap heard: no secrets."""
    lines: list[Line] = []
    for sight in seen:
        if isinstance(sight, sights.Said):
            lines += [Line(CLIENT, line, sight.at) for line in sight.lines]
        elif isinstance(sight, sights.Heard):
            lines += [Line(SERVER, line, sight.at) for line in sight.lines]
        elif (note := _note(sight)) is not None:
            lines.append(Line(NOTE, note.encode(), sight.at))
    return print_talk(lines, times=True)


def _note(sight: sights.Sight) -> str | None:
    if isinstance(sight, sights.Calling):
        return f"glasspost send, calling {sight.name}:{sight.port}, {', '.join(sight.addresses)}"
    if isinstance(sight, sights.Connected):
        return f"connected to {sight.server} from {sight.ours}"
    if isinstance(sight, sights.Secured):
        facts = sight.facts
        return (
            f"{facts.version}, {facts.cipher}, certificate of {facts.subject}: {proof_words(facts, 'en', sight.name)}"
        )
    if isinstance(sight, sights.Gone):
        return f"message: {sight.octets} octets"  # a replay makes up one of this size
    if isinstance(sight, sights.Noted):
        return str(sight.reply)
    if isinstance(sight, sights.Closed):
        return "end"
    return None
