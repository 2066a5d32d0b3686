"""The gate of rspamd, asked over HTTP about each message.

Lives here: the question (POST /checkv2, the envelope in header fields), and what each action of its answer means.
Does not live here: rspamd as a milter (milter.py), any score or rule: those are rspamd's.

rspamd answers with an action and the symbols that led to it; all go into the transcript. Fields are added on top. A
rewritten subject becomes a field of its own, as what the sender wrote stays (DESIGN law 7). "greylist" lets the
message through: it is rspamd's advice to its own greylisting, which says "soft reject" when it means it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from multidict import CIMultiDict

from glasspost.ids import write_id
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Arrival, Gate, Step
from glasspost.mail import reply as say
from glasspost.mail.address import path_text
from glasspost.mail.envelope import Envelope
from glasspost.mail.reply import Reply
from glasspost.protocol.milter import field_line

ANSWER_LIMIT = 4 << 20  # octets of an answer
SYMBOLS_NOTED = 60
_NOT_PLAIN = re.compile(r"[^ -~]+")

log = structlog.get_logger("rspamd")


@dataclass(frozen=True, slots=True)
class RspamdSettings:
    """Where it is. `timeout` in seconds, `max_size` in octets (0: no limit)."""

    url: str
    strangers_only: bool = True
    accept_when_down: bool = False
    timeout: float = 30.0
    max_size: int = 20 << 20


class RspamdDown(Exception):
    """No useful answer. The text says why."""


class Rspamd(Gate):
    """All listeners of a node share one, and its connections."""

    def __init__(self, settings: RspamdSettings) -> None:
        self._settings = settings
        self._http: aiohttp.ClientSession | None = None

    def message(self, client: Client, envelope: Envelope, arrival: Arrival) -> Step:
        settings = self._settings
        if settings.strangers_only and client.may_relay:
            return None
        if settings.max_size and arrival.size > settings.max_size:
            client.note(f"rspamd: not asked about a message of {arrival.size} octets; rspamd.max_size says so")
            return None
        return self._judge(client, envelope, arrival)

    async def _judge(self, client: Client, envelope: Envelope, arrival: Arrival) -> Reply | None:
        try:
            told = await self._ask(client, envelope, arrival)
            client.note(_finding(told))
            return _act(told, client, arrival)
        except RspamdDown as down:
            log.warning("rspamd is down", fault=str(down))
            if self._settings.accept_when_down:
                client.note(f"rspamd: {down}; the message is taken without it, as when_down says")
                return None
            return say.FILTER_SILENT.because(f"rspamd: {down}")

    async def _ask(self, client: Client, envelope: Envelope, arrival: Arrival) -> dict[str, Any]:
        """rspamd's answer. Raises RspamdDown."""
        limit = self._settings.timeout
        if self._http is None:
            # No proxy from the environment, no cookies: it is a neighbour, not the web.
            self._http = aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with (
                asyncio.timeout(limit),
                self._http.post(
                    f"{self._settings.url}/checkv2",
                    data=arrival.chunks(),
                    headers=_headers(client, envelope, arrival),
                    allow_redirects=False,
                ) as answer,
            ):
                if answer.status != 200:
                    raise RspamdDown(f"it answered {answer.status} {_NOT_PLAIN.sub('?', answer.reason or '')[:80]}")
                body = b""
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > ANSWER_LIMIT:
                        raise RspamdDown("its answer has no end")
        except TimeoutError:
            raise RspamdDown(f"it did not answer within {limit:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise RspamdDown(f"it cannot be reached: {' '.join(str(error).split())[:200]}") from None
        try:
            told = json.loads(body)
        except ValueError:
            raise RspamdDown("its answer is no JSON") from None
        if not isinstance(told, dict) or not isinstance(told.get("action"), str):
            raise RspamdDown(f"its answer has no action{_error(told)}")
        return told

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()


def _headers(client: Client, envelope: Envelope, arrival: Arrival) -> CIMultiDict[str]:
    """The envelope, as rspamd's protocol has it."""
    told: CIMultiDict[str] = CIMultiDict()
    version, _, cipher = client.tls.partition(" ")
    for name, value in (
        ("Content-Length", str(arrival.size)),
        ("Content-Type", "application/octet-stream"),
        ("IP", client.ip.partition("%")[0]),
        ("Helo", client.hello),
        ("From", path_text(envelope.reverse_path)),
        ("Queue-Id", write_id("q", arrival.queue_number)),
        ("MTA-Name", client.hostname),
        ("User", str(client.account.address) if client.account is not None else ""),
        ("TLS-Version", version),
        ("TLS-Cipher", cipher),
        *(("Rcpt", str(one.address)) for one in envelope.recipients),
    ):
        if value:
            # What a stranger says goes into a header field here: no line end may be in it.
            told.add(name, "".join(char if char.isprintable() else "?" for char in value))
    return told


def _error(told: object) -> str:
    error = told.get("error") if isinstance(told, dict) else None
    return f": {_NOT_PLAIN.sub('?', str(error))[:200]}" if error else ""


def _finding(told: dict[str, Any]) -> str:
    """Action, score and symbols in one line, the weightiest first."""
    symbols = told.get("symbols")
    found = []
    for name, one in symbols.items() if isinstance(symbols, dict) else ():
        score = one.get("score") if isinstance(one, dict) else None
        found.append((_number(score), str(name)))
    found.sort(key=lambda pair: (-abs(pair[0]), pair[1]))
    names = ", ".join(f"{name} {score:g}" for score, name in found[:SYMBOLS_NOTED])
    more = f" and {len(found) - SYMBOLS_NOTED} more" if len(found) > SYMBOLS_NOTED else ""
    score, required = _number(told.get("score")), _number(told.get("required_score"))
    return f"rspamd: {told['action']}, {score:g} of {required:g}: {names or 'no symbols'}{more}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _act(told: dict[str, Any], client: Client, arrival: Arrival) -> Reply | None:
    """Do what the action says; a refusal, or None."""
    action = told["action"]
    why = f"rspamd: {action}, {_number(told.get('score')):g}"
    if action == "reject":
        return _worded(say.FILTER_REFUSED, told).because(why)
    if action == "soft reject":
        return _worded(say.FILTER_DEFERRED, told).because(why)
    for name, value in _fields(told):
        line = field_line(name.encode("utf-8", "replace"), value.encode("utf-8", "replace"))
        if line is None:
            client.note(f"rspamd: asks to add {name[:80]!r}, which would be no field: not done")
        else:
            arrival.fields.append(line)
    milter = told.get("milter")
    removed = milter.get("remove_headers") if isinstance(milter, dict) else None
    if isinstance(removed, dict) and removed:
        names = ", ".join(str(name)[:80] for name in removed)
        client.note(f"rspamd: asks to remove {names}: not done where the sender wrote it")
    if action == "quarantine":
        arrival.hold = arrival.hold or why
    return None


def _worded(reply: Reply, told: dict[str, Any]) -> Reply:
    """The refusal in rspamd's words, where it has some."""
    messages = told.get("messages")
    text = messages.get("smtp_message") if isinstance(messages, dict) else None
    plain = _NOT_PLAIN.sub("?", text).strip()[:400] if isinstance(text, str) else ""
    return Reply(reply.code, reply.enhanced, plain) if plain else reply


def _fields(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The fields to be put on top."""
    milter, action = told.get("milter"), told["action"]
    added = milter.get("add_headers") if isinstance(milter, dict) else None
    names = set()
    for name, given in added.items() if isinstance(added, dict) else ():
        for one in given if isinstance(given, list) else [given]:
            value = one.get("value") if isinstance(one, dict) else one
            if isinstance(value, str):
                names.add(str(name).lower())
                yield str(name), value
    signatures = told.get("dkim-signature")
    for value in signatures if isinstance(signatures, list) else [signatures]:
        if isinstance(value, str):
            yield "DKIM-Signature", value
    if action in ("add header", "rewrite subject") and "x-spam" not in names:
        yield "X-Spam", "Yes"
    subject = told.get("subject")
    if action == "rewrite subject" and isinstance(subject, str):
        yield "X-Spam-Subject", _NOT_PLAIN.sub("?", subject)[:900]
