"""Whatever strangers chose is in a delivery report's text and never in its structure.

Lives here: that invariant, for mail/dsn.py, dsn_fields.py and dsn_text.py, with the standard library's email package as
the reader:

- nothing raises; the same report is made of the same facts twice;
- CR and LF come only as a pair, no line is longer than 998 octets, and it is ASCII unless something in it may not be;
- it is a multipart/report of three parts, and the machine's part has exactly our fields, once for each recipient: an
  address, an ENVID, a reply of another server cannot add one, nor end a part early.

Does not live here: breeding (engine.py).
"""

from __future__ import annotations

import base64
import email
import email.policy
from collections.abc import Hashable, Iterator
from email.message import Message

from fuzz.engine import Target
from glasspost.mail.address import Address
from glasspost.mail.dsn import compose_report
from glasspost.mail.dsn_fields import Kind, ReportedRecipient
from glasspost.mail.envelope import Outcome, Verdict
from glasspost.mail.message import split_header
from glasspost.mail.reply import Reply
from glasspost.protocol.grammar import Fault, read_original_recipient, read_path

_KINDS: tuple[Kind, ...] = ("failed", "delayed", "delivered", "relayed", "expanded")
_OURS = {
    "original-envelope-id", "reporting-mta", "received-from-mta", "arrival-date", "original-recipient",
    "final-recipient", "action", "status", "remote-mta", "diagnostic-code", "last-attempt-date", "final-log-id",
    "will-retry-until", "x-glasspost-finding", "x-glasspost-doubtful",
}  # fmt: skip


def run(data: bytes) -> Iterator[Hashable]:
    """Lines of the input: two addresses, ORCPT, reply, remote MTA, ENVID, evidence; what follows is the original."""
    choice, data = (data[0], data[1:]) if data else (0, b"")
    lines = [line.decode("utf-8", "replace") for line in data.split(b"\n", 7)] + [""] * 8
    original = data.split(b"\n", 7)[-1]
    kind = _KINDS[choice % len(_KINDS)]
    recipients = [
        ReportedRecipient(
            _address(lines[number]),
            _outcome(choice, lines),
            orcpt=_original(lines[2]),
            attempts=choice % 3,
            last_attempt=1_800_000_000.0 if choice & 8 else 0.0,
            will_retry_until=1_800_000_500.0 if kind == "delayed" else None,
        )
        for number in range(1 + (choice >> 4 & 1))
    ]
    head = split_header(original)[0]

    def made() -> bytes:
        return compose_report(
            kind,
            reporting_mta="mail.example.test",
            reverse_path=_address(lines[1] if choice & 32 else "anna@example.org"),
            envid="".join(letter for letter in lines[5] if " " <= letter <= "~")[:100],
            arrived=1_800_000_000.0,
            queue_id="q0c5example",
            recipients=recipients,
            original_head=head,
            original=original if choice & 64 else None,
            smtputf8=bool(choice & 128),
            when=1_800_000_100.0,
            report_id="q0c5report",
            received_from="client.example (192.0.2.7)" if choice & 16 else "",
        )

    report = made()
    assert made() == report, "the same facts, another report"
    assert report.count(b"\r\n") == report.count(b"\n") == report.count(b"\r"), "a bare CR or LF"
    assert all(len(line) <= 998 for line in report.split(b"\r\n")), "a line of over 998 octets"
    assert b"\0" not in report
    international = choice & 128 or (choice & 32 and _address(lines[1]).needs_utf8)
    if not international and not (choice & 64 and not original.isascii()):
        assert report.isascii(), "8-bit without need"
    yield from _structure(report, kind, len(recipients))


def _structure(report: bytes, kind: str, recipients: int) -> Iterator[Hashable]:
    message = email.message_from_bytes(report, policy=email.policy.compat32)
    assert message.get_content_type() == "multipart/report"
    assert len(message.get_all("from") or []) == len(message.get_all("to") or []) == 1
    parts = message.get_payload()
    assert isinstance(parts, list) and len(parts) == 3, "not three parts"
    status = parts[1]
    assert isinstance(status, Message)
    assert status.get_content_type() in ("message/delivery-status", "message/global-delivery-status")
    groups = _groups(report, message.get_boundary() or "")
    assert len(groups) == 1 + recipients, "another number of groups"
    for number, names in enumerate(groups):
        assert set(names) <= _OURS, f"a field that is not ours: {set(names) - _OURS}"
        assert len(set(names)) == len(names), "a field twice"
        assert ("final-recipient" in names) == (number > 0)
    third = parts[2].get_content_type()  # type: ignore[union-attr]
    assert third in ("text/rfc822-headers", "message/rfc822", "message/global", "message/global-headers"), third
    yield kind, status.get_content_type(), third, tuple(tuple(names) for names in groups)
    yield parts[0].get_content_type(), status.get("content-transfer-encoding")  # type: ignore[union-attr]


def _groups(report: bytes, boundary: str) -> list[list[str]]:
    """The field names of each group of the machine's part, cut out by hand: email reads only one of its two types."""
    part = report.split(f"\r\n--{boundary}".encode())[2]
    text = part.partition(b"\r\n\r\n")[2]
    if b"\r\ncontent-transfer-encoding: base64" in part.lower():
        text = base64.b64decode(text)
    blocks = [block for block in text.decode().split("\r\n\r\n") if block.strip()]
    return [[line.split(":")[0].lower() for line in block.split("\r\n") if line and line[0] != " "] for block in blocks]


def _address(text: str) -> Address:
    found = read_path(f"<{text}>", null=False)
    return Address("bob", "example.test") if isinstance(found, Fault) or found[0] is None else found[0]


def _original(text: str) -> str:
    found = read_original_recipient(text)
    return "" if isinstance(found, Fault) else found


def _outcome(choice: int, lines: list[str]) -> Outcome:
    verdict = Verdict.FAILED if choice % 5 == 0 else Verdict.DEFERRED
    reply = Reply(550 if choice & 1 else 451, ("5.1.1", "4.4.1", "", "9.9")[choice & 3], lines[3].replace("/", "\n"))
    return Outcome(
        verdict,
        reply,
        lines[4],
        said_by_remote=bool(choice & 2),
        doubtful=bool(choice & 4),
        conversation="c00000000001",
        evidence=lines[6].replace("\\n", "\n"),
    )


def seeds() -> list[bytes]:
    original = b"Received: x\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n\r\nbody\r\n"
    eight = "Subject: grüße\r\n\r\nbödy\r\n".encode()
    plain = (
        b"bob@example.test\ncarol@example.test\nrfc822;bob@example.test\n550 no such user/really\n"
        b"mx1.example.test [192.0.2.1]:25\nenv 1\nC: EHLO a\\nS: 250 ok\n"
    )
    utf8 = "grüße@bücher.test\nü@x.test\nutf-8;gr\\x{FC}@x\nfünf\nmx\n\nC: ü\n".encode()
    return [
        bytes([choice]) + lines + body
        for lines, body in ((plain, original), (utf8, eight), (plain, eight), (b"", b""))
        for choice in (0, 1, 2, 3, 4, 0x50, 0x55, 0xC0, 0xE5, 0x6A)
    ]


WORDS = (
    b"\r\nFinal-Recipient: rfc822; evil@x", b"\nAction: failed", b"\r\n\r\n", b"\n", b"--=_q0c5report", b"--",
    b"\r\n.\r\n", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"=?utf-8?q?=0D=0A?=",
    b"\xc3\xbc", b"\xff", b"\0", b"x" * 1000, b"word " * 300, b"Content-Type: text/plain\r\n", b"rfc822;", b"utf-8;",
    b"Subject: x\r\n", b'"a b"@c.d', b"\xe2\x80\x8d", b"\xf0\x9f\x98\x80" * 200, b"/", b"\\n", b"C: x\\n" * 300,
    b"Message-ID: <a@b>\r\n",
)  # fmt: skip
TARGET = Target("report", run, seeds, WORDS, (__doc__ or "").partition("\n")[0])
