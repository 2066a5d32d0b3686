"""Whatever stands in MAIL or RCPT is a value or a refusal in words, and a value that is written reads back the same.

Lives here: that invariant, for protocol/grammar.py, smtp_parameters.py, smtp_commands.py, mail/address.py and xtext.py:

- nothing raises;
- an address's text, in brackets, is read as that address again, and as the store reads it;
- what we pass on (MAIL and RCPT as our client writes them) is read by our server as the same envelope;
- xtext and the RFC 6533 form give back what was written in them; no value hides a line end.

Does not live here: breeding (engine.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from fuzz.engine import Target
from fuzz.talks import client_side
from glasspost.mail.address import Address, a_label, address_from_text
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.reply import Reply
from glasspost.mail.xtext import ascii_only, from_unitext, from_xtext, unitext, utf8_from_xtext, xtext
from glasspost.protocol.grammar import (
    Fault,
    read_original_recipient,
    read_parameters,
    read_path,
    read_xtext,
)
from glasspost.protocol.smtp_commands import mail_line, rcpt_line
from glasspost.protocol.smtp_parameters import read_mail, read_rcpt
from glasspost.protocol.smtp_replies import Capabilities

EVERYTHING = Capabilities(True, True, 0, True, True, True, True, True, True, True, True)
LARGEST = 1 << 70


def run(data: bytes) -> Iterator[Hashable]:
    """Each line of an input is an argument of its own. What is no UTF-8 never gets here (the core says NOT_TEXT)."""
    for line in data.split(b"\n")[:8]:
        text = line.decode("utf-8", "ignore").replace("\r", "")
        yield from _path(text)
        yield from _texts(text)
        yield from _mail(text)
        yield from _rcpt(text)


def _path(text: str) -> Iterator[Hashable]:
    for null in (True, False):
        found = read_path(text, null=null)
        if isinstance(found, Fault):
            yield "path", found.reason[:30]
            continue
        address, rest = found
        assert text.lstrip(" ").endswith(rest)
        if address is None:
            assert null
            continue
        _check_address(address)
        parameters = read_parameters(rest)
        yield "path", address.needs_utf8, address.quoted_local[:1] == '"', address.domain[:1] == "["
        yield "parameters", parameters.reason[-30:] if isinstance(parameters, Fault) else min(len(parameters), 5)


def _check_address(address: Address) -> None:
    written = str(address)
    assert read_path(f"<{written}>", null=False) == (address, ""), "an address that cannot be read back"
    assert address_from_text(written) == address, "an address that the store cannot read back"
    for text in (address.local, address.domain, address.route, written):
        assert not any(letter in text for letter in "\r\n\0\u2028\u2029\x85"), "a line end in an address"
    assert a_label(address.route) == address.route, "the comparable form is not comparable"


def _texts(text: str) -> Iterator[Hashable]:
    plain = from_xtext(text)
    if plain is not None:
        assert from_xtext(xtext(plain)) == plain and plain.isprintable() and plain.isascii()
    printable = "".join(letter for letter in text if " " <= letter <= "~")
    assert from_xtext(xtext(printable)) == printable
    assert utf8_from_xtext(xtext(text)) == text
    sayable = "".join(letter for letter in text if letter.isprintable() and letter != "\\")
    assert from_unitext(unitext(sayable)) == sayable and unitext(sayable).isascii()
    assert ascii_only(text).isascii()
    unescaped = from_unitext(text)
    assert unescaped is None or not any(ord(letter) < 32 for letter in unescaped)
    read = read_xtext(text)
    yield "xtext", isinstance(read, Fault), plain is None
    original = read_original_recipient(text)
    if isinstance(original, Fault):
        yield "orcpt", original.reason[:30]
    else:
        assert original.isprintable() or not original.isascii()
        assert not any(letter in original for letter in "\r\n\0\u2028\u2029\x85")
        yield "orcpt", original[:5].lower()


def _mail(text: str) -> Iterator[Hashable]:
    for utf8 in (True, False):
        envelope = read_mail(text, LARGEST, utf8=utf8)
        if isinstance(envelope, Reply):
            yield "mail", utf8, envelope.code, envelope.text[:40]
            continue
        yield "mail", utf8, envelope.body, envelope.smtputf8, envelope.ret, bool(envelope.envid)
        again = read_mail(_argument(mail_line(envelope, envelope.smtputf8, EVERYTHING)), LARGEST, utf8=True)
        assert isinstance(again, Envelope), f"what we pass on is refused: {again}"
        # 7BIT content that needs SMTPUTF8 goes on as 8BITMIME: that is what it is.
        assert (again.reverse_path, again.smtputf8, again.ret, again.envid, again.declared_size) == (
            envelope.reverse_path,
            envelope.smtputf8,
            envelope.ret,
            envelope.envid,
            envelope.declared_size,
        )


def _rcpt(text: str) -> Iterator[Hashable]:
    for utf8 in (True, False):
        recipient = read_rcpt(text, utf8=utf8)
        if isinstance(recipient, Reply):
            yield "rcpt", utf8, recipient.code, recipient.text[:40]
            continue
        yield "rcpt", utf8, recipient.notify, recipient.orcpt[:5].lower()
        again = read_rcpt(_argument(rcpt_line(recipient, EVERYTHING)), utf8=True)
        assert isinstance(again, Recipient), f"what we pass on is refused: {again}"
        assert (again.address, again.notify) == (recipient.address, recipient.notify)
        if recipient.orcpt[:6].lower() != "utf-8;":
            assert again.orcpt == recipient.orcpt


def _argument(line: str) -> str:
    assert line.endswith("\r\n") and "\r" not in line[:-2] and "\n" not in line[:-2]
    return line[5:-2]


def seeds() -> list[bytes]:
    """The arguments of all talks, and some that no talk has."""
    lines = {
        line[5:] for data in client_side() for line in data.split(b"\r\n") if line[:4].upper() in (b"MAIL", b"RCPT")
    }
    made = [
        b'FROM:<"a b\\"c"@[192.0.2.1]> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=a+2Bb AUTH=<>',
        "TO:<@a,@b.c:grüße@bücher.example> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;gr\\x{FC}sse@x".encode(),
        b"TO:<postmaster> ORCPT=rfc822;a+40b", b"FROM:<a@[IPv6:2001:db8::1]>", b"FROM:<>", b"TO: <a@b> NOTIFY=NEVER",
        b"<a@b>\nrfc822;a+2Bb\nutf-8;\\x{1F600}\nTO:<a@b.c>",
    ]  # fmt: skip
    return [*sorted(lines), *made]


WORDS = (
    b"FROM:<", b"TO:<", b"TO:<a@b>", b"FROM:<>", b"@a.b,@c.d:", b'"', b'\\"', b"\\\\", b"@", b">", b"<",
    b"[192.0.2.1]", b"[IPv6:2001:db8::1]", b"[IPv6:::1%eth0]", b"postmaster", b" SIZE=", b" BODY=7BIT",
    b" BODY=8BITMIME", b" BODY=BINARYMIME", b" SMTPUTF8", b" RET=HDRS", b" RET=FULL", b" ENVID=", b" AUTH=<>",
    b" NOTIFY=NEVER", b" NOTIFY=SUCCESS", b",FAILURE", b",DELAY", b" ORCPT=rfc822;", b" ORCPT=utf-8;", b"\\x{FC}",
    b"\\x{10FFFF}", b"\\x{D800}", b"\\x{0A}", b"+0A", b"+2B", b"+3D", b"+C3+BC", b"\xc3\xbc", b"\xe2\x80\xa8",
    b"\xc2\x85", b"\xef\xbc\x8e", b"xn--", b"\xf0\x9f\x98\x80", b"\xe2\x80\x8d", b"a" * 250, b"a" * 1020, b".",
    b"..", b"-", b"--", b"=", b" ", b"  ",
)  # fmt: skip
TARGET = Target("grammar", run, seeds, WORDS, (__doc__ or "").partition("\n")[0])
