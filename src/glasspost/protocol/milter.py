"""The milter protocol, version 6, the mail server's side of it: packets out, packets in.

Lives here: `MilterChat`: negotiation, which steps a filter wants to hear of, the packet of each step, and what a filter
may answer, as values. No socket, no clock.
Does not live here: dialing and deadlines (inbound/milter_link.py), what an answer means for mail (inbound/milter.py).

A packet is a length (32 bits, of what follows), a letter, and data; texts end in a zero octet. After each step that a
filter has not waived, exactly one verdict is owed; at the end of the message changes may come before it. There is no
RFC: the protocol is what Sendmail's libmilter and Postfix speak.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from glasspost.mail.reply import Reply, read_reply

VERSION = 6
CHUNK = 65_535  # octets of a message in one packet
PACKET_LIMIT = 1 << 20  # octets of one answer

# What filters may ask to be done to a message. These are offered; more would be a promise that is not kept.
ADD_HEADERS, CHANGE_HEADERS, QUARANTINE, CHOOSE_MACROS = 0x01, 0x10, 0x20, 0x100
OFFERED_ACTIONS = ADD_HEADERS | CHANGE_HEADERS | QUARANTINE | CHOOSE_MACROS

SKIP, LEADING_SPACE = 0x400, 0x100000


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a conversation: its letter, the bit by which a filter waives it, the one by which it waives only its
    answer, and its number in a filter's choice of macros (None: it shares that of the end of message)."""

    name: str
    letter: bytes
    unwanted: int
    silent: int
    macros: int | None = None


CONNECT = Step("connect", b"C", 0x01, 0x1000, 0)
HELO = Step("helo", b"H", 0x02, 0x2000, 1)
MAIL = Step("mail", b"M", 0x04, 0x4000, 2)
RCPT = Step("rcpt", b"R", 0x08, 0x8000, 3)
DATA = Step("data", b"T", 0x200, 0x10000, 4)
HEADER = Step("header", b"L", 0x20, 0x80)
END_OF_HEADER = Step("end of header", b"N", 0x40, 0x40000, 6)
BODY = Step("body", b"B", 0x10, 0x80000)
END_OF_MESSAGE = Step("end of message", b"E", 0, 0, 5)
STEPS = (CONNECT, HELO, MAIL, RCPT, DATA, HEADER, END_OF_HEADER, BODY, END_OF_MESSAGE)

# The steps that may be waived, in whole or in their answers; 0x100 and 0x20000 are about commands nobody
# knows, which are never sent.
OFFERED_STEPS = sum(step.unwanted | step.silent for step in STEPS) | 0x100 | 0x20000 | SKIP | LEADING_SPACE


class MilterError(Exception):
    """The filter said something that is not the milter protocol."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict: "continue", "accept", "reject", "tempfail", "discard", "skip", "shutdown", or "reply" with one."""

    verdict: str
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Something a filter wants done: "add" or "insert" a field, "quarantine" (the reason is `value`), or whatever else
    it names, which is not done. `index` is an inserted field's place, 0 the top."""

    what: str
    name: bytes = b""
    value: bytes = b""
    index: int = 0


class Progress:
    """The filter is still working."""


Heard = Answer | Change | Progress

_VERDICTS = {
    b"c": "continue", b"a": "accept", b"r": "reject", b"t": "tempfail", b"d": "discard", b"s": "skip",
    b"f": "shutdown", b"4": "shutdown",
}  # fmt: skip
_OTHER_CHANGES = {
    b"+": "add a recipient", b"2": "add a recipient", b"-": "take a recipient away", b"b": "replace the body",
    b"e": "change the sender",
}  # fmt: skip
_REPLY = re.compile(r"([45]\d\d)([ -].*)?", re.DOTALL)
_NOT_PLAIN = re.compile(r"[^ -~]+")


class MilterChat:
    """One conversation with a filter, for one visit. Feed `receive`, pull `next_heard`, send what `take_output` has."""

    __slots__ = ("_input", "_output", "_symbols", "actions", "negotiated", "steps", "version")

    def __init__(self) -> None:
        self._input = bytearray()
        self._output: list[bytes] = []
        self._symbols: dict[int, frozenset[str]] = {}
        self.negotiated = False
        self.version = VERSION
        self.actions = 0  # what the filter may ask for
        self.steps = 0  # what it has waived
        self._say(b"O", struct.pack("!III", VERSION, OFFERED_ACTIONS, OFFERED_STEPS))

    # --- out --------------------------------------------------------------------------------------------------

    def wants(self, step: Step) -> bool:
        """Whether the filter hears of a step at all."""
        return not step.unwanted & self.steps

    def answers(self, step: Step) -> bool:
        """Whether it answers to it."""
        return not step.silent & self.steps

    @property
    def may_skip(self) -> bool:
        return bool(SKIP & self.steps)

    def connect(self, host: str, ip: str, port: int, macros: Mapping[str, str]) -> None:
        family, address = ("6", f"IPv6:{ip}") if ":" in ip else ("4", ip)
        self._macros(CONNECT, macros)
        self._say(b"C", _text(host) + family.encode() + struct.pack("!H", port) + _text(address))

    def helo(self, name: str, macros: Mapping[str, str]) -> None:
        self._macros(HELO, macros)
        self._say(b"H", _text(name))

    def mail(self, path: str, parameters: Iterable[str], macros: Mapping[str, str]) -> None:
        self._macros(MAIL, macros)
        self._say(b"M", b"".join(map(_text, (f"<{path}>", *parameters))))

    def rcpt(self, path: str, parameters: Iterable[str], macros: Mapping[str, str]) -> None:
        self._macros(RCPT, macros)
        self._say(b"R", b"".join(map(_text, (f"<{path}>", *parameters))))

    def data(self, macros: Mapping[str, str]) -> None:
        self._macros(DATA, macros)
        self._say(b"T", b"")

    def header(self, name: bytes, value: bytes) -> None:
        """`value` as it stands in the message behind the colon, without the last line end."""
        value = value.replace(b"\r\n", b"\n")
        if not LEADING_SPACE & self.steps and value[:1] in (b" ", b"\t"):
            value = value[1:]
        self._say(b"L", name + b"\0" + value.replace(b"\0", b"") + b"\0")

    def end_of_header(self, macros: Mapping[str, str]) -> None:
        self._macros(END_OF_HEADER, macros)
        self._say(b"N", b"")

    def body(self, chunk: bytes) -> None:
        """At most CHUNK octets."""
        self._say(b"B", chunk)

    def end_of_message(self, macros: Mapping[str, str]) -> None:
        self._macros(END_OF_MESSAGE, macros)
        self._say(b"E", b"")

    def abort(self) -> None:
        """The message at hand is over; nothing is answered."""
        self._say(b"A", b"")

    def quit(self) -> None:
        self._say(b"Q", b"")

    def take_output(self) -> bytes:
        output = b"".join(self._output)
        self._output.clear()
        return output

    def _macros(self, step: Step, macros: Mapping[str, str]) -> None:
        """What may be told along with a step; a filter that has chosen hears only of its choice."""
        chosen = self._symbols.get(step.macros) if step.macros is not None else None
        pairs = [(name, value) for name, value in macros.items() if chosen is None or name.strip("{}") in chosen]
        told = b"".join(_text(name) + _text(value) for name, value in pairs if value)
        if told:
            self._say(b"D", step.letter + told)

    def _say(self, letter: bytes, data: bytes) -> None:
        self._output.append(struct.pack("!I", len(data) + 1) + letter + data)

    # --- in ---------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        self._input += data

    def next_heard(self) -> Heard | None:
        """The next thing the filter said; None where it is not here whole. Raises MilterError."""
        if len(self._input) < 4:
            return None
        (length,) = struct.unpack_from("!I", self._input)
        if not 1 <= length <= PACKET_LIMIT:
            raise MilterError(f"a packet of {length} octets")
        if len(self._input) < 4 + length:
            return None
        letter, data = bytes(self._input[4:5]), bytes(self._input[5 : 4 + length])
        del self._input[: 4 + length]
        return self._understood(letter, data)

    def _understood(self, letter: bytes, data: bytes) -> Heard:
        if not self.negotiated:
            if letter != b"O":
                raise MilterError(f"{letter!r} where it should negotiate")
            self._negotiate(data)
            return Answer("continue")
        if letter in _VERDICTS:
            return Answer(_VERDICTS[letter])
        if letter == b"y":
            return Answer("reply", _reply(data))
        if letter == b"p":
            return Progress()
        if letter == b"q":
            return Change("quarantine", value=_strings(data, 1)[0])
        if letter == b"h":
            name, value = _strings(data, 2)
            return Change("add", name, value)
        if letter in (b"i", b"m"):
            if len(data) < 4:
                raise MilterError("a field without its place")
            (index,) = struct.unpack_from("!I", data)
            name, value = _strings(data[4:], 2)
            return Change("insert" if letter == b"i" else "change the field", name, value, index)
        if letter in _OTHER_CHANGES:
            return Change(_OTHER_CHANGES[letter], value=b"" if letter == b"b" else data.split(b"\0")[0])
        raise MilterError(f"an answer {letter!r} that is not known")

    def _negotiate(self, data: bytes) -> None:
        if len(data) < 12:
            raise MilterError("a negotiation that is cut short")
        self.version, self.actions, self.steps = struct.unpack_from("!III", data)
        if not 2 <= self.version <= VERSION:
            raise MilterError(f"version {self.version} of the protocol")
        if self.steps & ~OFFERED_STEPS:
            raise MilterError("it asks for steps that were not offered")
        rest = data[12:]
        while len(rest) >= 5:
            (stage,) = struct.unpack_from("!I", rest)
            names, _, rest = rest[4:].partition(b"\0")
            words = names.decode("ascii", "replace").replace(",", " ").split()
            self._symbols[stage] = frozenset(word.strip("{}") for word in words)
        self.negotiated = True


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape").replace(b"\0", b"") + b"\0"


def _strings(data: bytes, count: int) -> list[bytes]:
    parts = data.split(b"\0")
    if len(parts) < count:
        raise MilterError("a text is missing")
    return parts[:count]


def _reply(data: bytes) -> Reply:
    """The reply that a filter chose, made harmless: it goes to the client, and into bounces."""
    text = data.rstrip(b"\0").decode("utf-8", "replace").replace("%%", "%")
    lines = [_NOT_PLAIN.sub("?", line)[:400] for line in text.replace("\r", "").split("\n")[:8] if line]
    if not lines or not all(_REPLY.fullmatch(line) and line[:3] == lines[0][:3] for line in lines):
        raise MilterError(f"a reply that is none: {text[:60]!r}")
    return read_reply(lines)


# --- a message's header, as filters hear it -----------------------------------------------------------------------

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*(?:\r?\n[ \t].*)*)\r?\n?")


def fields_of(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The fields of a header section in order: name, and what stands behind the colon without the last line end."""
    for found in _FIELD.finditer(header):
        yield found[1], found[2].removesuffix(b"\r")


def field_line(name: bytes, value: bytes) -> bytes | None:
    """A field that a filter wants on top, as a whole one with CRLF; None where it would not be a field."""
    if not re.fullmatch(rb"[!-9;-~]{1,200}", name):
        return None
    lines = [line.rstrip(b"\r").replace(b"\r", b" ") for line in value.split(b"\n")]
    kept = [
        lines[0].strip(),
        *(line if line[:1] in (b" ", b"\t") else b"\t" + line for line in lines[1:] if line.strip()),
    ]
    if any(len(line) > 998 for line in kept):
        return None
    return name + b": " + b"\r\n".join(kept) + b"\r\n"
