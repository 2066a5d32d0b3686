"""Messages to send with other people's programs, and the comparison of what arrived with what was sent.

Lives here: small, 8-bit, international and large messages; which header fields were put on top.
Does not live here: sending and fetching (the tests).
"""

from __future__ import annotations

import base64
import functools
import random
import re
from email.message import EmailMessage

PLAIN = b"From: Bob <bob@src.test>\r\nSubject: hello\r\nMessage-ID: <plain@src.test>\r\n\r\nA line.\r\n"
# Lines that a careless program loses, changes or takes for the end.
PRICKLY = (
    b"From: Bob <bob@src.test>\r\nSubject:  two  spaces \r\nX-Folded: one\r\n\ttwo\r\n three\r\n\r\n"
    b".one dot in front\r\n..two dots\r\n.\r\n..\r\n \r\n\r\nFrom the start of a line\r\ntrailing blank \r\n"
    + b"x" * 998
    + b"\r\n\r\n\r\nlast line\r\n"
)
EIGHT_BIT = "From: Bob <bob@src.test>\r\nSubject: 8bit\r\n\r\nGrüße, 你好, \u0085\u2028.\r\n".encode()
UTF8_HEADER = "From: Zoë <zoë@src.test>\r\nSubject: 你好，世界\r\n\r\nGrüße.\r\n".encode()
HALF_ANSI = b"Subject: octets\r\n\r\nnot UTF-8: \xff\xfe\xe4\xf6\xfc \x80\x01\x1b\r\n"


@functools.cache
def large(megabytes: int = 25) -> bytes:
    """A message with an attachment, so large on the wire: 1 MB is 1,000,000 octets."""
    message = EmailMessage()
    message["From"] = "Bob <bob@src.test>"
    message["Subject"] = f"{megabytes} MB"
    message["MIME-Version"] = "1.0"
    message["Content-Type"] = 'multipart/mixed; boundary="=-glass"'
    head = message.as_bytes().rstrip(b"\n").replace(b"\n", b"\r\n") + b"\r\n\r\n"
    octets = random.Random(megabytes).randbytes(megabytes * 1_000_000 * 76 // 78 * 3 // 4)
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return (
        head + b"--=-glass\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ) + (encoded + b"--=-glass--\r\n")


_FIELD = re.compile(rb"([!-9;-~]+):[^\n]*\n(?:[ \t][^\n]*\n)*")


def put_on_top(arrived: bytes, sent: bytes) -> list[str]:
    """The names of the header fields that were put on top of a message; fails where any octet below is another."""
    if not arrived.endswith(sent):
        ours, theirs = arrived[-len(sent) - 200 :], sent
        raise AssertionError(f"changed on the way: {len(theirs)} octets sent, the end is {ours[-400:]!r}")
    top, names = arrived[: -len(sent)], []
    while top:
        field = _FIELD.match(top)
        assert field is not None, f"put on top, and no header field: {top[:200]!r}"
        names.append(field.group(1).decode())
        top = top[field.end() :]
    return names


def unix(content: bytes) -> bytes:
    """The same with the line ends of files, for programs that write files."""
    return content.replace(b"\r\n", b"\n")
