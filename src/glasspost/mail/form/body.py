"""The body, judged: MIME structure, boundaries, encodings, charsets.

Lives here: RFC 2045 and RFC 2046, part by part; the parts' decoded text for looks.py.
Does not live here: whether the contents look like spam (looks.py), whether lines are too long (lines.py).
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.policy import default as _policy
from typing import Any

from glasspost.mail.form.finding import Field, Finding, Section, finding, read_section

DEPTH = 30  # parts within parts; more is an attack on whoever reads it
ENCODINGS = ("7bit", "8bit", "binary", "quoted-printable", "base64")

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s]")
_BAD_QP = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*$)")


@dataclass(frozen=True, slots=True)
class Part:
    """A part without parts of its own. `kind` like "text/html"; `text` decoded, empty for what is no text; `within`:
    the kind of the multipart around it, and its number among the whole message's multiparts."""

    kind: str
    filename: str
    text: str
    line: int
    within: tuple[str, int]
    size: int


class Body:
    """A message's body, looked through once. `findings` and `parts` are in the order of its lines."""

    def __init__(self, message: Section) -> None:
        self.findings: list[Finding] = []
        self.parts: list[Part] = []
        self._multiparts = 0
        if message.first("content-type") and not message.first("mime-version"):
            kind = message.first("content-type")
            self.findings.append(finding("missing-mime-version", kind.line if kind else 0))
        self._look(message, ("", 0), 0)

    def _look(self, section: Section, within: tuple[str, int], depth: int) -> None:
        written = section.first("content-type")
        header = _read("content-type", written)
        kind = str(header.content_type) if header is not None else "text/plain"
        if written is not None and (header is None or not _is_kind(written.value)):
            self.findings.append(finding("bad-content-type", written.line, text=written.value))
        encoding = self._encoding(section)
        if kind.startswith("multipart/"):
            self._multipart(section, kind, header, encoding, depth)
        elif kind == "message/rfc822":
            inner = read_section(section.body, section.line)
            if depth < DEPTH:
                self._look(inner, ("message/rfc822", 0), depth + 1)
        else:
            self._leaf(section, kind, header, encoding, within)

    def _encoding(self, section: Section) -> str:
        written = section.first("content-transfer-encoding")
        encoding = written.value.partition("(")[0].strip().lower() if written is not None else "7bit"
        if written is not None and encoding not in ENCODINGS and not encoding.startswith("x-"):
            self.findings.append(finding("bad-encoding", written.line, text=written.value))
        return encoding

    # --- multiparts ---------------------------------------------------------------------------------------------

    def _multipart(self, section: Section, kind: str, header: Any, encoding: str, depth: int) -> None:
        written = section.first("content-type")
        line = written.line if written is not None else section.line
        if depth >= DEPTH:
            self.findings.append(finding("too-deep", line, limit=DEPTH))
            return
        if encoding in ("base64", "quoted-printable"):
            self.findings.append(finding("encoded-multipart", line, text=encoding))
        boundary = str(header.params.get("boundary", "")) if header is not None else ""
        if not boundary:
            self.findings.append(finding("no-boundary", line))
            return
        if len(boundary) > 70 or boundary != boundary.rstrip():
            self.findings.append(finding("bad-boundary", line))
        self._multiparts += 1
        number = self._multiparts
        pieces, closed = _parts(section.body, boundary.encode("utf-8", "replace"))
        if not pieces:
            self.findings.append(finding("boundary-not-found", line, text=boundary))
        elif not closed:
            self.findings.append(finding("boundary-not-closed", section.line + len(section.body) - 1, text=boundary))
        for start, lines in pieces:
            self._look(read_section(lines, section.line + start), (kind, number), depth + 1)

    # --- leaves -------------------------------------------------------------------------------------------------

    def _leaf(self, section: Section, kind: str, header: Any, encoding: str, within: tuple[str, int]) -> None:
        octets = self._decoded(section, encoding)
        text = ""
        if kind.startswith("text/"):
            charset = str(header.params.get("charset", "us-ascii")) if header is not None else "us-ascii"
            text = self._text(octets, charset, section, encoding)
        self.parts.append(Part(kind, _filename(section, header), text, section.line, within, len(octets)))

    def _decoded(self, section: Section, encoding: str) -> bytes:
        whole = b"\n".join(section.body)
        if encoding == "base64":
            return self._base64(section, whole)
        if encoding == "quoted-printable":
            for number, line in enumerate(section.body):
                found = _BAD_QP.search(line)
                if found:
                    shown = line[found.start() : found.start() + 10].decode("ascii", "replace")
                    self.findings.append(finding("bad-quoted-printable", section.line + number, text=shown))
                    break
            return binascii.a2b_qp(whole)
        if not whole.isascii():
            at = next(number for number, line in enumerate(section.body) if not line.isascii())
            rule = "eight-bit-in-7bit" if encoding == "7bit" else "eight-bit"
            self.findings.append(finding(rule, section.line + at))
        return whole

    def _base64(self, section: Section, whole: bytes) -> bytes:
        for number, line in enumerate(section.body):
            found = _NOT_BASE64.search(line)
            if found:
                shown = line[found.start() : found.start() + 20].decode("ascii", "replace")
                self.findings.append(finding("bad-base64", section.line + number, text=shown))
                return b""
        try:
            return base64.b64decode(b"".join(whole.split()), validate=True)
        except binascii.Error as error:
            self.findings.append(finding("bad-base64", section.line, text=str(error)))
            return b""

    def _text(self, octets: bytes, charset: str, section: Section, encoding: str) -> str:
        written = section.first("content-type")
        line = written.line if written is not None else section.line
        try:
            codecs.lookup(charset)
        except (LookupError, ValueError):
            self.findings.append(finding("unknown-charset", line, text=charset))
            return octets.decode("utf-8", "replace")
        try:
            return octets.decode(charset)
        except (UnicodeDecodeError, LookupError):
            if encoding != "7bit":  # there, octets above 127 are told already
                self.findings.append(finding("wrong-charset", line, text=charset))
            return octets.decode("utf-8", "replace")


def _read(name: str, written: Field | None) -> Any:
    """A structured field as the library reads it; None where it breaks, or where there is none."""
    if written is None:
        return None
    try:
        return _policy.header_factory(name, written.value)
    except Exception:  # the library's parser breaks on some of what strangers write
        return None


def _is_kind(value: str) -> bool:
    return re.match(r"\s*[\w!#$&^.+-]+/[\w!#$&^.+-]+\s*(?:;|\(|$)", value) is not None


def _filename(section: Section, header: Any) -> str:
    disposition = _read("content-disposition", section.first("content-disposition"))
    named = disposition.params.get("filename", "") if disposition is not None else ""
    return str(named or (header.params.get("name", "") if header is not None else ""))


def _parts(lines: Sequence[bytes], boundary: bytes) -> tuple[list[tuple[int, Sequence[bytes]]], bool]:
    """The parts between the delimiter lines, each with the index of its first line; and whether the last is closed."""
    delimiter, closing = b"--" + boundary, b"--" + boundary + b"--"
    pieces: list[tuple[int, Sequence[bytes]]] = []
    start = -1
    for number, line in _marks(lines, delimiter):
        if start >= 0:
            pieces.append((start, lines[start:number]))
        if line.rstrip() == closing:
            return pieces, True
        start = number + 1
    if start >= 0:
        pieces.append((start, lines[start:]))
    return pieces, False


def _marks(lines: Sequence[bytes], delimiter: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines):
        if line.startswith(delimiter) and line.rstrip() in (delimiter, delimiter + b"--"):
            yield number, line
