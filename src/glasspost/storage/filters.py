"""What is typed to find conversations: `from:alice@example.org -reply:250 since:2h text:"no such user"`.

Lives here: reading a search, what each filter means for a transaction, and what the index can be asked for it.
Does not live here: asking it (search.py), what a line says (protocol/episodes.py).

A filter is a field, a colon and a pattern; `*` in it stands for anything, quotes keep spaces, a minus in front turns it
round. A word without a field is looked for as address, subject, Message-ID or peer. All filters must hold for one and
the same transaction, taken with the conversation's opening.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from glasspost.errors import Exit, GlasspostError
from glasspost.ids import read_id
from glasspost.protocol.episodes import (
    ACCOUNT,
    ADDRESSEES,
    AUTHOR,
    MESSAGE_ID,
    RECIPIENT,
    REFUSAL,
    SENDER,
    SUBJECT,
    Episode,
)
from glasspost.storage.masking import Pseudonyms
from glasspost.storage.talks import KINDS
from glasspost.storage.transcript_jobs import subject_words

FIELDS = {
    "from": "the sender's address: of the envelope, of the header, or who signed in",
    "to": "a recipient's address: of the envelope or the header",
    "subject": "words of the subject, next to each other",
    "id": "a Message-ID, a queue id or a conversation's id",
    "reply": "a refusal's codes: 550, 5.1.1, 5.7.*, 4*",
    "peer": "the other end: address or host name",
    "kind": "smtp-in, smtp-out or pop3",
    "since": "not before: 30m, 2h, 7d, today, yesterday, 2026-11-23, 2026-11-23T10:00 (UTC)",
    "until": "not after: the same words",
    "text": "anything that was said or noted (slow: every talk is read; narrow it with since:)",
}

_WORD = re.compile(r'\s*(-?)(?:([A-Za-z_]+):(?!//))?(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?=\s|$)')
_AGO = re.compile(r"(\d+)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_TOKEN = re.compile(r"[^\W_]|[.\-_+=!#$%&*/?^`{|}~]")
_ADDRESS = re.compile(r'(?:"[^"]*"|[^\s<>(),:;"@]+)@[^\s<>(),:;"]+')
_COLUMNS = {
    "from": "sender", "to": "recipient", "subject": "subject", "id": "message_id", "reply": "reply", "peer": "peer",
    "": "sender recipient message_id subject peer",
}  # fmt: skip


class BadFilter(GlasspostError):
    """A search that cannot be read."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter. `name` is empty for a word without a field."""

    name: str
    pattern: str
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """A search, read. Times in seconds since the epoch; 0 and infinity where none was given."""

    filters: tuple[Filter, ...] = ()
    kinds: tuple[str, ...] = KINDS
    since: float = 0.0
    until: float = float("inf")
    pseudonyms: Pseudonyms | None = field(default=None, compare=False)

    @property
    def index_query(self) -> str:
        """What the index is asked: never less than the search finds, often more. Empty where it cannot help."""
        parts = [part for one in self.filters if not one.negative for part in [self._index_part(one)] if part]
        return " AND ".join(parts)

    @property
    def message(self) -> str:
        """The queue id that is asked for, if one is: what is about it is on record by its number."""
        ids = [one.pattern.strip().lower() for one in self.filters if one.name == "id" and not one.negative]
        return next((name for name in ids if (found := read_id(name)) is not None and found[0] == "q"), "")

    @property
    def conversation(self) -> int:
        """The number of the conversation that is asked for by its id; 0: none is."""
        ids = [read_id(one.pattern) for one in self.filters if one.name == "id" and not one.negative]
        return next((found[1] for found in ids if found is not None and found[0] == "c"), 0)

    @property
    def needles(self) -> tuple[str, ...]:
        """The forms of one text that must have been said; none where none is asked for."""
        texts = [one.pattern for one in self.filters if one.name == "text" and not one.negative]
        return self._forms(max(texts, key=len)) if texts else ()

    def _index_part(self, one: Filter) -> str:
        columns = _COLUMNS.get(one.name)
        if columns is None or (one.name == "id" and read_id(one.pattern)):
            return ""
        either = {phrase for pattern in self._forms(one.pattern) for phrase in _phrases(one.name, pattern)}
        if not either or "" in either:
            return ""
        return f"{{{columns}}} : ({' OR '.join(sorted(either))})"

    def _forms(self, pattern: str) -> tuple[str, ...]:
        """A pattern as it was typed, and as it stands in a record that masks addresses."""
        if self.pseudonyms is None or "@" not in pattern or "*" in pattern:
            return (pattern,)
        return pattern, self.pseudonyms.mask(pattern)

    def matches(self, opening: Episode, transaction: Episode, peer: str, conversation_id: str) -> bool:
        """Whether all filters hold for a transaction (which may be the opening itself) of a conversation."""
        parts = (opening,) if transaction is opening else (opening, transaction)
        return all(
            any(_holds(one.name, form, parts, peer, conversation_id) for form in self._forms(one.pattern))
            is not one.negative
            for one in self.filters
        )


def read_search(text: str, now: float, pseudonyms: Pseudonyms | None = None) -> Search:
    """A search as somebody typed it. Raises BadFilter, in one line with the nearest right name."""
    filters: list[Filter] = []
    kinds: tuple[str, ...] = KINDS
    since, until = 0.0, float("inf")
    at = 0
    while text[at:].strip():
        found = _WORD.match(text, at)
        if found is None:
            raise BadFilter(f"a quote is open in: {text[at:].strip()}")
        at = found.end()
        minus, name, quoted, plain = found.groups()
        name = (name or "").lower()
        pattern = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        _check(name, pattern)
        if name == "kind":
            kinds = tuple(kind for kind in kinds if (kind == pattern.lower()) is not bool(minus))
        elif name in ("since", "until"):
            if minus:
                raise BadFilter(f"{name}: cannot be turned round; say {'until' if name == 'since' else 'since'}:")
            moment = read_moment(pattern, now)
            since, until = (max(since, moment), until) if name == "since" else (since, min(until, moment))
        else:
            filters.append(Filter(name, pattern, bool(minus)))
    return Search(tuple(filters), kinds, since, until, pseudonyms)


def _check(name: str, pattern: str) -> None:
    if name and name not in FIELDS:
        near = difflib.get_close_matches(name, FIELDS, 1, 0.5)
        hint = f'; did you mean "{near[0]}:"?' if near else f"; there are {', '.join(FIELDS)}"
        raise BadFilter(f'there is no filter "{name}:"{hint}')
    if not pattern:
        raise BadFilter(f'nothing stands behind "{name}:"' if name else "an empty word finds nothing")
    if name == "kind" and pattern.lower() not in KINDS:
        near = difflib.get_close_matches(pattern.lower(), KINDS, 1, 0.3)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise BadFilter(f'"{pattern}" is no kind of conversation{hint}')
    if name == "reply" and not re.fullmatch(r"[245*][\d*]{0,2}(?:[ .].*)?|[245]\.[\d.*]*", pattern):
        raise BadFilter(f'"{pattern}" is no reply: write codes, like 550, 5.1.1, 5.7.* or 4*')


def read_moment(text: str, now: float) -> float:
    """A moment as somebody wrote it, in seconds since the epoch. Raises BadFilter."""
    word = text.strip().lower()
    ago = _AGO.fullmatch(word)
    if ago is not None:
        return now - int(ago[1]) * _SECONDS[ago[2]]
    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if word in ("today", "yesterday"):
        return (midnight - timedelta(days=word == "yesterday")).timestamp()
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadFilter(f'"{text}" is no moment: write 30m, 2h, 7d, today, 2026-11-23 or 2026-11-23T10:00') from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- the index ------------------------------------------------------------------------------------------------


def _phrases(name: str, pattern: str) -> list[str]:
    """What of a pattern the index knows, as FTS5 phrases; one of them must be there. "" where it cannot help."""
    if name == "reply":
        basic, _, enhanced = pattern.partition(" ")
        if "." in basic:
            basic, enhanced = "", basic
        parts = [_phrase(word) for word in (basic, f"e{enhanced}" if enhanced else "") if word]
        return [" AND ".join(part for part in parts if part)]
    phrases = []
    if name in ("subject", ""):
        phrases.append(_phrase(_starred(pattern)))
    if name != "subject":
        phrases.append(_phrase(pattern))
    return phrases


def _starred(pattern: str) -> str:
    """A pattern in words as the index has a subject's."""
    return "*".join(subject_words(part) for part in pattern.split("*"))


def _phrase(pattern: str) -> str:
    """A phrase of the words that a pattern has for certain; those cut by a star only as beginnings."""
    words: list[str] = []
    word = ""
    for char in pattern + " ":
        if char == "*" or _TOKEN.fullmatch(char):
            word += char
        elif word:
            words.append(word)
            word = ""
    certain = [one for one in words if "*" not in one]
    if len(certain) == len(words):
        return '"' + " ".join(words) + '"' if words else ""
    cut = [one.partition("*")[0] for one in words if "*" in one and not one.startswith("*")]
    return " AND ".join([f'"{one}"' for one in certain] + [f'"{one}" *' for one in cut])


# --- one transaction ------------------------------------------------------------------------------------------


def _holds(name: str, pattern: str, parts: tuple[Episode, ...], peer: str, conversation_id: str) -> bool:
    def said(*kinds: str) -> list[str]:
        return [value for part in parts for kind in kinds for value in part.all(kind)]

    match name:
        case "from":
            return _is_address(pattern, said(SENDER, ACCOUNT), said(AUTHOR))
        case "to":
            return _is_address(pattern, said(RECIPIENT, ACCOUNT), said(ADDRESSEES))
        case "subject":
            return any(_in_subject(pattern, subject) for subject in said(SUBJECT))
        case "id":
            ids = [conversation_id, *(part.queue_id for part in parts)]
            return any(_is_id(pattern, one) for one in said(MESSAGE_ID)) or pattern.lower() in ids
        case "reply":
            return any(_is_reply(pattern, codes) for codes in said(REFUSAL))
        case "peer":
            return _is_peer(pattern, peer)
        case "text":
            needle = pattern.casefold()
            return any(needle in line.casefold() for part in parts for line in part.lines)
    return any(
        _holds(field, pattern, parts, peer, conversation_id) for field in ("from", "to", "id", "subject", "peer")
    )


def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.IGNORECASE | re.DOTALL)


def _is_address(pattern: str, paths: list[str], headers: list[str]) -> bool:
    """A pattern with @ is a whole address, or a domain behind the @; without, a local part, a domain, or a word of a
    display name."""
    addresses = paths + [found[0] for header in headers for found in _ADDRESS.finditer(header)]
    pattern = pattern.strip("<>")
    regex = _regex(pattern.removeprefix("@") if pattern[:1] == "@" else pattern)
    for address in addresses:
        local, _, domain = address.rpartition("@")
        if pattern[:1] == "@":
            if regex.fullmatch(domain):
                return True
        elif regex.fullmatch(address) or ("@" not in pattern and (regex.fullmatch(local) or regex.fullmatch(domain))):
            return True
    names = [word for header in headers for word in _folded(_ADDRESS.sub(" ", header)).split()]
    return "@" not in pattern and any(regex.fullmatch(name) for name in names)


def _in_subject(pattern: str, subject: str) -> bool:
    wanted = "*".join(_folded(part) for part in pattern.split("*"))
    either = re.compile(rf"(?<!\S){'.*'.join(re.escape(part) for part in wanted.split('*'))}(?!\S)")
    return bool(wanted) and either.search(_folded(subject)) is not None


def _folded(text: str) -> str:
    """Words as the index compares them: without marks, in one case."""
    decomposed = unicodedata.normalize("NFKD", subject_words(text))
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()


def _is_id(pattern: str, message_id: str) -> bool:
    return _regex(pattern.strip("<>")).fullmatch(message_id.strip("<> ")) is not None


def _is_reply(pattern: str, codes: str) -> bool:
    basic, _, enhanced = codes.partition(" ")
    regex = _regex(pattern)
    return any(regex.fullmatch(one) for one in (basic, enhanced, codes) if one)


def _is_peer(pattern: str, peer: str) -> bool:
    host = peer.rpartition(":")[0]
    regex = _regex(pattern.strip("[]"))
    return any(regex.fullmatch(one.strip("[]")) for one in (peer, host, *host.split(" ")) if one)
