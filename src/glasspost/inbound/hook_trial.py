"""A hooks file tried on recorded conversations: which verdicts would have been others.

Lives here: `Trial`, which holds a recorded conversation again with a file's functions, and what it finds.
Does not live here: the record (storage/talks.py), the command (cli/hooks.py), calling hooks (hook_runner.py).

A function is asked where the recorded server took what the client said, and where a hook refused it then: what others
refused, no hook would have seen. The record has no bodies: `data` gets a message of the header fields that are on
record (Message-ID, From, To, Subject), and `whole` is false. `accepted`, `delivered` and `failed` are not called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from glasspost import hooks
from glasspost.inbound.hook_runner import HookFailed, HookRunner
from glasspost.inbound.hook_script import Script
from glasspost.protocol.episodes import FIELDS, RECIPIENT, SENDER, fact_said
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, parse_talk
from glasspost.storage.talks import Conversation

_SAFE = re.compile(r"safe on disk as (q\w{11}): (\d+) octets")
_STEPS = {"EHLO": "helo", "HELO": "helo", "MAIL": "mail", "RCPT": "rcpt"}
_BY_HOOK = re.compile(r"[45]\d\d: hook (\w+)")


@dataclass(frozen=True, slots=True)
class Difference:
    """One verdict that would have been another. `was` and `would` are replies' codes and words, or "taken", "held"."""

    conversation: str
    step: str  # the function: "rcpt"
    about: str  # whom it is about: an address, a name
    was: str
    would: str


class Trial:
    """A file on trial. `asked` counts verdicts, `differences` has those that would have been others."""

    def __init__(self, script: Script, runner: HookRunner) -> None:
        self._script = script
        self._runner = runner
        self.asked = 0
        self.conversations = 0
        self.differences: list[Difference] = []

    async def hold(self, conversation: Conversation, talk: str) -> None:
        """Hold a conversation of kind smtp-in again. `talk` has no header."""
        self.conversations += 1
        await _Retelling(self, conversation).run(talk)

    async def verdict(self, step: str, *words: object) -> hooks.Verdict | None:
        """What the file says to a step; a deferral where it breaks."""
        if step not in self._script.functions:
            return None
        self.asked += 1
        try:
            said = await self._runner.call(self._script, step, *words)
            if said is None or (isinstance(said, hooks.Verdict) and (step == "data" or not said.held)):
                return said
            raise HookFailed(f"{self._script.name}: {step} returned {said!r:.80}, which is no verdict here")
        except HookFailed as failure:
            return hooks.Verdict(451, "4.3.0", f"the hook breaks: {failure}")


class _Retelling:
    """One conversation, line by line, with what its server knew at each."""

    def __init__(self, trial: Trial, conversation: Conversation) -> None:
        self._trial = trial
        self._id = conversation.id
        ip, _, port = conversation.peer.rpartition(":")
        listener, hostname = conversation.local, "localhost"
        self._visit = hooks.Visit(
            "mx", ip.strip("[]"), int(port) if port.isdecimal() else 0, listener, hostname, conversation.id
        )
        self._envelope = hooks.Envelope("")
        self._pending = "connect"  # the function whose answer comes next; empty: none
        self._said = ""  # what it is about
        self._gone = False  # the visit would have ended earlier
        self._dead = False  # the transaction would have
        self._header = ""
        self._size = 0
        self._queue_id = ""
        self._blamed = ""  # the hook that the note before a reply names
        self._held = False

    async def run(self, talk: str) -> None:
        for line in parse_talk(talk):
            text = line.octets.decode("utf-8", "replace")
            if line.who == CLIENT:
                self._client(text)
            elif line.who == NOTE:
                self._note(text)
            elif line.who == SERVER and text[3:4] != "-":
                await self._server(text)
            if self._gone:
                return

    def _client(self, text: str) -> None:
        verb = text[:4].upper()
        self._blamed = ""
        if verb in _STEPS:
            self._pending = _STEPS[verb]
            found = fact_said(CLIENT, text)
            self._said = found[1] if found is not None and found[0] in (SENDER, RECIPIENT) else text[5:].strip()
            if verb == "MAIL":
                size = re.search(r" SIZE=(\d{1,18})", text, re.IGNORECASE)
                body = re.search(r" BODY=(\w+)", text, re.IGNORECASE)
                self._envelope = hooks.Envelope(
                    self._said, (), int(size[1]) if size else 0, " SMTPUTF8" in text.upper(),
                    body[1].upper() if body else "7BIT",
                )  # fmt: skip
                self._dead, self._held, self._header, self._size, self._queue_id = False, False, "", 0, ""
            elif self._pending == "helo":
                self._visit.hello, self._visit.extended = self._said, verb == "EHLO"
        elif verb == "DATA":
            self._pending = "354"
        elif verb == "BDAT":
            self._pending = "data" if text.upper().endswith(" LAST") else ""
        else:
            self._pending = ""

    def _note(self, text: str) -> None:
        name, colon, value = text.partition(": ")
        if colon and name in FIELDS:
            self._header += f"{name}: {value}\r\n"
        elif text.startswith("signed in as "):
            self._visit.account, self._visit.role = text[13:].split(";")[0], "submission"
        elif text.startswith(("TLS: ", "TLS from the start: ")):
            self._visit.tls = value
        elif found := _SAFE.match(text):
            self._queue_id, self._size = found[1], int(found[2])
        elif blamed := _BY_HOOK.match(text):
            self._blamed = blamed[1]
        elif text.startswith("held for the postmaster: hook "):
            self._held = True

    async def _server(self, reply: str) -> None:
        pending, self._pending = self._pending, ""
        if pending == "354" and reply[:3] == "354":
            self._pending = "data"  # the reply to the message itself comes next
        elif pending and pending != "354" and not (self._dead and pending != "mail" and pending != "helo"):
            await self._compare(pending, reply)

    async def _compare(self, step: str, reply: str) -> None:
        taken, by_hook = reply[:1] in "23", self._blamed == step
        if not taken and not by_hook:
            return  # refused by somebody else
        said = await self._trial.verdict(step, self._visit, *self._words(step))
        self._visit.notes.clear()
        was = ("held" if self._held and step == "data" else "taken") if taken else _short(reply)
        would = "taken" if said is None else "held" if said.held else f"{said.code} {said.enhanced} {said.text}"
        if (was[:3], was in ("taken", "held")) != (would[:3], would in ("taken", "held")):
            self._trial.differences.append(Difference(self._id, step, self._about(step), was, would))
        refused = said is not None and not said.held
        if step == "rcpt" and taken and not refused:
            self._envelope = replace(self._envelope, recipients=(*self._envelope.recipients, self._said))
        self._gone = refused and step in ("connect", "helo")
        self._dead = self._dead or (refused and step == "mail") or not (taken or step == "rcpt")

    def _words(self, step: str) -> tuple[object, ...]:
        if step in ("connect", "helo"):
            return ()
        if step == "data":
            octets = f"{self._header}\r\n".encode()
            return self._envelope, hooks.Message(self._queue_id, max(self._size, len(octets) + 1), octets)
        return (self._envelope, self._said)[: hooks.ARITY[step] - 1]

    def _about(self, step: str) -> str:
        if step == "connect":
            return self._visit.ip
        return f"<{self._envelope.sender}>" if step == "data" else self._said or "<>"


def _short(reply: str) -> str:
    """A recorded reply without the conversation's id."""
    return re.sub(r" \[c0\w+\]$", "", reply)
