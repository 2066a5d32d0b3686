"""What a step of `glasspost send` means, and what a recipient's fate means for the exit code.

Lives here: the meaning of answers, of our own words where nobody answered, and of verdicts.
Does not live here: what servers' replies mean in general (explain/), the words (send_words.py), how meanings are shown
(send_view.py for people, send_report.py for programs).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from glasspost.cli.send_words import say
from glasspost.explain.explainer import explain
from glasspost.explain.notes import noted
from glasspost.mail.reply import Reply
from glasspost.net.certificate import TlsFacts
from glasspost.outbound.sights import Heard, Phase
from glasspost.outbound.trial import Finding
from glasspost.protocol.smtp_client_events import Step
from glasspost.protocol.smtp_replies import read_capabilities


class SendExit(IntEnum):
    """How far `glasspost send` came: its exit code, beside those of every command (errors.Exit)."""

    NAME = 10
    CONNECT = 11
    GREETING = 12
    HELLO = 13
    TLS = 14
    AUTH = 15
    MAIL = 16
    RCPT = 17
    DATA = 18
    CONTENT = 19
    SOME = 20  # some recipients were accepted, some were not
    DOUBT = 21  # the message left, and the answer to it was lost


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a step means. Empty strings where there is nothing to do. `by`: how explain/ found it, or "step"."""

    what: str
    next: str = ""
    who: str = ""
    retry: str = ""
    by: str = "step"


_GOOD = {
    Step.GREETING: "greeting",
    Step.STARTTLS: "starttls",
    Step.RSET: "rset",
    Step.MAIL: "mail",
    Step.DATA: "data",
    Step.CHUNK: "chunk",
    Step.DOT: "content",
    Step.QUIT: "quit",
    Step.LONE_DOT: "lone-dot",
}
_SAID_IN_WORDS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING")
_HELLOS = (Step.EHLO, Step.HELO, Step.LHLO)


def meaning_of_answer(heard: Heard, lang: str, lmtp: bool = False) -> Meaning:
    """What a reply means here and now. A good one means what its step makes of it; the others are explained."""
    reply, step = heard.reply, heard.step
    if not reply.positive or reply.code == 0 or step is None:
        return _explained("\n".join(line.decode("utf-8", "replace") for line in heard.lines), lang)
    if step in _HELLOS:
        return Meaning(offers_words(reply, lang) if step is not Step.HELO else say("ehlo-bare", lang))
    if step is Step.RCPT:
        return Meaning(say("rcpt", lang, who=heard.command.partition("<")[2].partition(">")[0]))
    if step is Step.AUTH:
        return Meaning(say("auth" if reply.code // 100 == 2 else "auth-more", lang))
    if step is Step.CHUNK and heard.command.endswith(" LAST"):
        return Meaning(say("content", lang))
    if step is Step.DOT and lmtp:
        return Meaning(say("content-lmtp", lang))
    return Meaning(say(_GOOD[step], lang)) if step in _GOOD else _explained(str(reply), lang)


def offers_words(reply: Reply, lang: str) -> str:
    """What an EHLO reply offers, as a sentence."""
    offers = _offers(reply, lang)
    return say("ehlo", lang, offers=offers) if offers else say("ehlo-bare", lang)


def _offers(reply: Reply, lang: str) -> str:
    """The extensions of an EHLO reply, in words: what the person at the keyboard can use."""
    offered = read_capabilities(reply)
    names = {line.split(" ")[0].partition("=")[0].upper() for line in reply.text.split("\n")[1:]}
    size = f"{offered.size / 1_048_576:.4g}"
    words = [say("offers-size", lang, size=size)] if offered.size else []
    words += [say("offers-starttls", lang)] if offered.starttls else []
    words += [say("offers-auth", lang, names="/".join(offered.auth))] if offered.auth else []
    words += [say(f"offers-{name.lower()}", lang) for name in _SAID_IN_WORDS if name in names]
    others = names - {"", "SIZE", "STARTTLS", "AUTH", "HELP", "ENHANCEDSTATUSCODES", *_SAID_IN_WORDS}
    words += [say("offers-other", lang, count=len(others))] if others else []
    if len(words) < 2:
        return "".join(words)
    return say("offers-and", lang, some=say("offers-comma", lang).join(words[:-1]), last=words[-1])


def _explained(text: str, lang: str) -> Meaning:
    found = explain(text, lang)
    retry = found.retry_words if found.retry else ""
    who = found.act_words if found.act != "nobody" else ""
    return Meaning(found.what, found.next, who, retry, found.by)


def meaning_of_ours(reply: Reply, phase: Phase, lang: str, doubtful: bool = False) -> Meaning:
    """What a reply means that no server said: ours, for what stood in the way."""
    if doubtful:
        return Meaning(say("doubt", lang), say("doubt-next", lang))
    if reply.enhanced == "4.5.0":  # another service on that port, most likely: that is said of the whole reply
        return _explained(str(reply), lang)
    fault = _fault_in(reply)
    known = explain(fault, lang)
    if known.by == "failure":
        told = _explained(fault, lang)
        return _with_hint(told, phase, lang) if known.name.startswith("failure-certificate") else told
    if phase is Phase.NAME:
        return _explained(str(reply), lang) if reply.code == 556 else Meaning(say("name", lang), say("name-next", lang))
    if reply.enhanced == "4.7.4":
        return Meaning(say("no-tls", lang), say("no-tls-next", lang))
    key = _OURS.get(phase, "broken")
    if reply.enhanced.startswith("4.4.") and phase is not Phase.CONNECT:
        key = "broken"
    elif reply.permanent:
        key = "impossible"
    text = {"tls": "tls-fault", "auth": "auth-fault"}.get(key, key)
    return _with_hint(Meaning(say(text, lang, fault=noted(fault, lang)), say(f"{key}-next", lang)), phase, lang)


def _with_hint(meaning: Meaning, phase: Phase, lang: str) -> Meaning:
    """Where a certificate stood in the way, also which options look past it."""
    if phase is not Phase.TLS:
        return meaning
    blank = "" if lang == "zh" else " "
    return replace(meaning, next=f"{meaning.next}{blank}{say('tls-hint', lang)}")


_OURS = {Phase.CONNECT: "connect", Phase.TLS: "tls", Phase.AUTH: "auth"}


def _fault_in(reply: Reply) -> str:
    """The part of a reply of ours that names the fault: behind the server's name."""
    text = reply.text
    for mark in (" does not answer: ", " failed: ", " that fits: ", " our sign-in: "):
        if mark in text:
            return text.partition(mark)[2]
    return text


# --- verdicts and the exit code -----------------------------------------------------------------------------------


def status_of(finding: Finding) -> str:
    """One word for a recipient: accepted, refused, not-now, in-doubt, asked, stopped; a name in send_words.py."""
    outcome = finding.outcome
    if outcome is None:
        return "asked"
    if outcome.doubtful:
        return "in-doubt"
    if outcome.reply.positive:
        return "accepted"
    if not outcome.said_by_remote:
        return "stopped"
    return "refused" if outcome.reply.permanent else "not-now"


def meaning_of_finding(finding: Finding, lang: str) -> Meaning:
    outcome = finding.outcome
    if outcome is None:
        return Meaning(say("asked-only", lang, phase=say(f"phase-{finding.phase}", lang)))
    if outcome.reply.positive:
        return Meaning(say("content", lang))
    if outcome.said_by_remote and not outcome.doubtful:
        return _explained(str(outcome.reply).replace(" / ", "\n"), lang)
    return meaning_of_ours(outcome.reply, finding.phase, lang, outcome.doubtful)


def exit_code(findings: Sequence[Finding]) -> int:
    """0 where all is well; SOME or DOUBT; else the phase that the message came furthest to."""
    bad = [one for one in findings if status_of(one) not in ("accepted", "asked")]
    if not bad:
        return 0
    if any(status_of(one) == "in-doubt" for one in bad):
        return SendExit.DOUBT
    if len(bad) < len(findings):
        return SendExit.SOME
    return max(SendExit[one.phase.name] for one in bad)


def proof_words(facts: TlsFacts, lang: str, name: str) -> str:
    """What the certificate proves, or why it proves nothing."""
    if not facts.fault:
        return say("verified", lang)
    names = ", ".join(facts.names[:6]) or say("nobody", lang)
    day = time.strftime("%Y-%m-%d", time.gmtime(facts.begins if facts.fault == "not-yet" else facts.ends))
    fault = say(facts.fault, lang, day=day, name=name, names=names, issuer=facts.issuer)
    return say("not-verified", lang, fault=fault)
