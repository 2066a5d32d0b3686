"""Whatever stands at the head of a message, it is read without a change; and what we put on top is one field.

Lives here: that invariant, for mail/message.py:

- nothing raises; header and body put together are the message (law 7);
- the quick look finds as many Received fields, the same Subject and the same body as a second, simpler reading;
- what is shown to people is one line without controls;
- a Received or Return-Path field made of anything a stranger said is one field, and ASCII where it must be.

Does not live here: breeding (engine.py), reports (report_target.py).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator

from fuzz.engine import Target
from glasspost.mail.address import Address
from glasspost.mail.message import (
    SCAN_LIMIT,
    header_text,
    header_values,
    received_header,
    return_path_header,
    scan_headers,
    split_header,
)
from glasspost.protocol.grammar import Fault, read_path

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")


def run(data: bytes) -> Iterator[Hashable]:
    header, body = split_header(data)
    assert header + body == data
    scan = scan_headers(data)
    names = _names(data)
    if len(data) < SCAN_LIMIT:
        assert scan.received == names.count(b"received"), "Received fields are counted wrong"
        assert scan.has_date == (b"date" in names) and scan.has_from == (b"from" in names)
    assert 0 <= scan.body_at <= len(data)
    assert scan.separated == (data[: scan.body_at].endswith(b"\n") and _blank_before(data, scan.body_at))
    if scan.separated:
        assert scan.ended and data[: scan.body_at] == header
    subjects = header_values(data, "Subject")
    if scan.subject or b"subject" in names:
        assert subjects and header_text(scan.subject) == subjects[0]
    for name in ("subject", "from", "x", "received", "message-id"):
        for value in header_values(data, name):
            _check_shown(value)
    for line in data.split(b"\n")[:6]:
        shown = header_text(line)
        _check_shown(shown)
        yield "words", b"=?" in line, len(shown) < len(line)
    yield scan.ended, scan.separated, min(scan.received, 3), scan.has_date, scan.has_from, bool(scan.message_id)
    yield "names", min(len(names), 12), len(body) > 0
    yield from _on_top(data)


def _names(data: bytes) -> list[bytes]:
    """The field names of a header, the simple way: line by line, up to the first that is neither field nor
    continuation. A line without an end counts for nothing."""
    names: list[bytes] = []
    for line in data.split(b"\n")[:-1]:
        found = _FIELD.match(line)
        if found is not None and not line.startswith((b" ", b"\t")):
            names.append(line.split(b":")[0].lower())
        elif not (names and line.startswith((b" ", b"\t"))):
            break
    return names


def _blank_before(data: bytes, at: int) -> bool:
    before = data[:at]
    blank = b"\r\n" if before.endswith(b"\r\n") else b"\n"
    return before[: -len(blank)] == b"" or before[: -len(blank)].endswith(b"\n")


def _check_shown(text: str) -> None:
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 or letter in "\u2028\u2029" for letter in text)
    text.encode()


def _on_top(data: bytes) -> Iterator[Hashable]:
    """Fields made of what strangers say: the input's lines as names, its first as an address where it is one."""
    words = [line.decode("utf-8", "replace") for line in data.split(b"\n")[:4]] + [""] * 4
    path = read_path(words[0] if words[0].startswith("<") else f"<{words[0]}>", null=True)
    address = None if isinstance(path, Fault) else path[0]
    for protocol in ("ESMTPS", "UTF8SMTP"):
        made = received_header(
            helo=words[0],
            peer_name=words[1],
            peer_ip=words[2][:45],
            hostname="mail.example.test",
            protocol=protocol,
            tls=words[3],
            queue_id="q0c5example",
            recipient=address if isinstance(address, Address) else None,
            when=1_800_000_000 + len(data),
        )
        _check_field(made, b"received")
        assert protocol == "UTF8SMTP" or made.isascii()
        yield "received", made.count(b"\r\n"), b"for <" in made
    if address is None or address.local.isprintable():
        _check_field(return_path_header(address), b"return-path")


def _check_field(made: bytes, name: bytes) -> None:
    made.decode()
    assert made.endswith(b"\r\n") and made.count(b"\n") == made.count(b"\r\n") == made.count(b"\r")
    assert _names(made) == [name], "more than one field"
    assert scan_headers(made + b"\r\n").separated
    assert all(len(line) <= 998 for line in made.split(b"\r\n")), "a line of over 998 octets"


def seeds() -> list[bytes]:
    return [
        b"Received: from a by b; now\r\nReceived: from c\r\n\tby d; then\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?= x\r\n"
        b"From: a@b\r\nDate: now\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n",
        b"Subject: =?utf-8?b?Z3LDvMOfZQ==?=\r\n =?iso-8859-1?q?=FC?=\r\n\r\n",
        b"no header at all\r\n", b"\r\nbody only\r\n", b"", b"Subject:x", b"Subject: a\n b\n\nbody\n",
        b"a@b.example\nclient.example\n192.0.2.7\nTLSv1.3 TLS_AES_256\nX: y\r\n\r\n",
        b"FROM : x\r\nSubject: \xff\xfe\r\nX: =?nonsense?q?a?= =?utf-8?x?a?= =?utf-8?b?!?=\r\n\r\n.\r\n",
        b'"a b"@[192.0.2.1]\n[192.0.2.1]\n\n\n',
    ]  # fmt: skip


WORDS = (
    b"Received: x\r\n", b"received:", b"Subject: ", b"SUBJECT : ", b"Date: x\r\n", b"From: x\r\n",
    b"Message-ID: <a@b>\r\n", b"\r\n ", b"\r\n\t", b"\n ", b"\r\n\r\n", b"\n\n", b"=?utf-8?q?", b"=?utf-8?b?", b"?=",
    b"=C3=A9", b"=?x?q?a?=", b"=?utf-7?q?+AGE-?=", b"=?idna?q?a?=", b"=?hex?q?6?=", b"=?unicode_escape?q?=5Cud800?=",
    b"=?utf-16?b?2AA=?=", b":", b" :", b"\xc2\x85", b"\xe2\x80\xa8", b"\x85", b"\x0b", b"\x0c", b"\x1c", b"<a@b>",
    b"[192.0.2.1]", b"x" * 1000, b"Received: x\r\n" * 50,
)  # fmt: skip
TARGET = Target("message", run, seeds, WORDS, (__doc__ or "").partition("\n")[0])
