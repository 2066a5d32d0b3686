"""The grammar of SMTP arguments: tables with the RFCs' examples, what is wrong said in words, and hostile input."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.mail.address import Address
from glasspost.mail.envelope import BodyType, Envelope, Notify, Recipient
from glasspost.mail.reply import Reply
from glasspost.protocol.grammar import (
    PATH_LIMIT,
    Fault,
    read_original_recipient,
    read_parameters,
    read_path,
    read_xtext,
)
from glasspost.protocol.smtp_parameters import read_mail, read_rcpt

# --- paths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        # RFC 5321, §3.3, §4.1.1.3, appendix D
        ("<Smith@bar.com>", "Smith", "bar.com"),
        ("<Jones@foo.com>", "Jones", "foo.com"),
        ("<userx@y.foo.org>", "userx", "y.foo.org"),
        ("<@hosta.int,@jkl.org:userc@d.bar.org>", "userc", "d.bar.org"),
        ("<@foo.com:Jones@bar.com>", "Jones", "bar.com"),
        # §4.1.2: Dot-string and Quoted-string
        ("<a.b.c@x.example>", "a.b.c", "x.example"),
        ("<!#$%&'*+-/=?^_`{|}~@x.example>", "!#$%&'*+-/=?^_`{|}~", "x.example"),
        ('<"Joe.\\\\Blow"@x.example>', "Joe.\\Blow", "x.example"),
        ('<"a b"@x.example>', "a b", "x.example"),
        ('<"a\\"b"@x.example>', 'a"b', "x.example"),
        ('<"a>b"@x.example>', "a>b", "x.example"),
        ('<"a@b"@x.example>', "a@b", "x.example"),
        ('<""@x.example>', "", "x.example"),
        ('<"plain"@x.example>', "plain", "x.example"),
        ("<@a.example:\"<@>\"@x.example>", "<@>", "x.example"),
        # Domain: letters, digits, hyphens; a single label; a name of digits
        ("<a@localhost>", "a", "localhost"),
        ("<a@3com.example>", "a", "3com.example"),
        ("<a@x--y.example>", "a", "x--y.example"),
        ("<a@xn--mnchen-3ya.example>", "a", "xn--mnchen-3ya.example"),
        # §4.1.3: address literals
        ("<a@[123.255.37.2]>", "a", "[123.255.37.2]"),
        ("<a@[IPv6:::1]>", "a", "[IPv6:::1]"),
        ("<a@[ipv6:2001:DB8::ff00:42:8329]>", "a", "[ipv6:2001:DB8::ff00:42:8329]"),
        ("<a@[IPv6:::ffff:192.0.2.1]>", "a", "[IPv6:::ffff:192.0.2.1]"),
        # RFC 6531 §3.3
        ("<grüße@münchen.example>", "grüße", "münchen.example"),
        ("<用户@例子.example>", "用户", "例子.example"),
        ('<"ü ü"@x.example>', "ü ü", "x.example"),
        # §4.5.1
        ("<Postmaster>", "Postmaster", ""),
        ("<pOSTmASTER>", "pOSTmASTER", ""),
        ("  <a@x.example>", "a", "x.example"),
    ],
)  # fmt: skip
def test_a_path(text: str, local: str, domain: str) -> None:
    assert read_path(text, null=False) == (Address(local, domain), "")


@pytest.mark.parametrize("behind", ["", " SIZE=1", "SIZE=1", ">", " <b@x.example>"])
def test_what_stands_behind_a_path_is_handed_on(behind: str) -> None:
    assert read_path(f'<"a>"@x.example>{behind}', null=False) == (Address("a>", "x.example"), behind)
    assert read_path(f"<>{behind}", null=True) == (None, behind)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "angle brackets"),
        ("a@x.example", "angle brackets"),
        ("<a@x.example", "closing bracket is missing"),
        ("<>", "the recipient is empty"),
        ("< >", "no @"),
        ("<a>", "no @ and no domain"),
        ("<@x.example>", "nothing stands before the @"),
        ("<a@>", "behind the @ is empty"),
        ("<a@@x.example>", "before the @ is not well-formed"),
        ("<a@b@x.example>", "before the @ is not well-formed"),
        ("<a b@x.example>", "a blank before the @ needs quotes"),
        ("<.a@x.example>", "a dot at the edge"),
        ("<a.@x.example>", "a dot at the edge"),
        ("<a..b@x.example>", "two in a row"),
        ("<a@x..example>", "domain is not well-formed"),
        ("<a@.example>", "domain is not well-formed"),
        ("<a@x.example.>", "domain is not well-formed"),
        ("<a@-x.example>", "domain is not well-formed"),
        ("<a@x-.example>", "domain is not well-formed"),
        ("<a@x_y.example>", "domain is not well-formed"),
        ("<a@x y>", "domain is not well-formed"),
        ("<a @x.example>", "a blank before the @"),
        ("<a@[192.0.2.1>", "domain is not well-formed"),
        ("<a@192.0.2.1]>", "domain is not well-formed"),
        ("<a@[192.0.2]>", "not an IP address"),
        ("<a@[192.0.2.01]>", "not an IP address"),
        ("<a@[IPv6:192.0.2.1]>", "not an IP address"),
        ("<a@[2001:db8::1]>", "not an IP address"),
        ("<a@[IPv6:1::2::3]>", "not an IP address"),
        ("<a@[x400:c=de]>", "not an IP address"),
        ('<"a@x.example>', "not well-formed"),
        ('<"a"b@x.example>', "before the @ is not well-formed"),
        ('<a"b"@x.example>', "before the @ is not well-formed"),
        ('<"a\x7f"@x.example>', "before the @ is not well-formed"),
        ('<"a\x00"@x.example>', "before the @ is not well-formed"),
        ("<a\x00@x.example>", "before the @ is not well-formed"),
        ("<a\t@x.example>", "before the @ is not well-formed"),
        ("<a\x85b@x.example>", "before the @ is not well-formed"),
        ("<a@x\u2028.example>", "domain is not well-formed"),
        ("<a(comment)@x.example>", "before the @ is not well-formed"),
        ("<@a.example b@x.example>", "before the @"),
        ("<@a.example,b@x.example>", "before the @"),
        ("<@a.example,:b@x.example>", "before the @"),
        ("<a@" + "d." * 130 + "example>", "longer than 255 characters"),
        ("<" + "l" * PATH_LIMIT + "@x.example>", "longer than 900 octets"),
    ],
)
def test_no_path_and_why(text: str, reason: str) -> None:
    fault = read_path(text, null=False)
    assert isinstance(fault, Fault)
    assert reason in fault.reason
    assert fault.reason.isprintable() and fault.reason.isascii()


def test_names_may_be_as_long_as_the_rfc_has_them() -> None:
    """RFC 5321 §4.5.3.1: local part 64, domain 255, path 256; and more."""
    domain = ".".join(["d" * 63] * 3 + ["d" * 63])
    assert len(domain) == 255
    assert read_path(f"<{'l' * 64}@{domain}>", null=False) == (Address("l" * 64, domain), "")
    assert read_path(f"<{'l' * 400}@x.example>", null=False) == (Address("l" * 400, "x.example"), "")


MAILBOXES = st.builds(
    Address,
    st.one_of(
        st.from_regex(r"[a-z0-9!#$%+-]+(\.[a-z0-9]+)*", fullmatch=True),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20),
        st.text(st.characters(min_codepoint=0xA0, max_codepoint=0x2FFF), min_size=1, max_size=9),
    ),
    st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)*", fullmatch=True).filter(lambda name: len(name) < 250),
)


@given(MAILBOXES, st.sampled_from(["", "@a.example:", "@a.example,@b.example:"]), st.sampled_from(["", " SIZE=3"]))
def test_an_address_that_is_written_is_read_again(address: Address, route: str, behind: str) -> None:
    """Quoting is undone, whatever characters the local part has; nothing of it leaks into what stands behind."""
    assert read_path(f"<{route}{address}>{behind}", null=False) == (address, behind)


@given(st.text(st.sampled_from('<>@".,:\\[] aü\x00-='), max_size=40))
def test_whatever_is_read_is_an_address_or_a_fault(text: str) -> None:
    found = read_path(text, null=True)
    if isinstance(found, Fault):
        return
    address, rest = found
    assert text.endswith(rest)
    if address is not None and address.domain:
        assert read_path(f"<{address}>", null=False) == (address, "")


# --- parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        (" ", {}),
        (" SIZE=1000000", {"SIZE": "1000000"}),
        (" BODY=8BITMIME SMTPUTF8", {"BODY": "8BITMIME", "SMTPUTF8": None}),
        ("  size=1   Ret=HDRS ", {"SIZE": "1", "RET": "HDRS"}),
        (" ENVID=QQ314159 AUTH=<>", {"ENVID": "QQ314159", "AUTH": "<>"}),
        (" X-1=ü", {"X-1": "ü"}),
    ],
)
def test_parameters(text: str, found: dict[str, str | None]) -> None:
    assert read_parameters(text) == found


@pytest.mark.parametrize("text", ["SIZE=1", " =1", " SIZE=", " SIZE=1=2", " -A=1", " A_B=1", " A=\x00", " ü=1", " A A"])
def test_no_parameters(text: str) -> None:
    fault = read_parameters(text)
    assert isinstance(fault, Fault)
    assert fault.reason.isprintable() and fault.reason.isascii()


@pytest.mark.parametrize(
    ("text", "decoded"),
    [("QQ314159", "QQ314159"), ("a+3Db", "a=b"), ("+2B+2B", "++"), ("a+20b", "a b"), ("", "")],
)
def test_xtext(text: str, decoded: str) -> None:
    """RFC 3461 §4."""
    assert read_xtext(text) == decoded


@pytest.mark.parametrize("text", ["a=b", "a b", "+", "+2", "+2b", "+ZZ", "a+0D+0Ab", "+00", "+FF", "ü", "a\x7f"])
def test_no_xtext(text: str) -> None:
    """Nothing that is decoded can end a line later, in a header or a command."""
    assert isinstance(read_xtext(text), Fault)


@pytest.mark.parametrize(
    ("text", "original"),
    [
        ("rfc822;Bob@Example.COM", "rfc822;Bob@Example.COM"),
        ("RFC822;a+2Bb@x.example", "RFC822;a+b@x.example"),
        ("x400;/G+3Dx/S+3Dy", "x400;/G=x/S=y"),
        ("utf-8;gr\\x{FC}n@x.example", "utf-8;grün@x.example"),
        ("UTF-8;grün@x.example", "utf-8;grün@x.example"),
    ],
)
def test_original_recipient(text: str, original: str) -> None:
    """RFC 3461 §4.2, RFC 6533 §3."""
    assert read_original_recipient(text) == original


@pytest.mark.parametrize(
    "text",
    ["", "bob@x.example", ";bob", "rfc 822;bob", "rfc822;a=b", "rfc822;a+0Ab", "utf-8;\\x{110000}", "utf-8;\\x{}",
     "utf-8;\\x{D800}", "utf-8;a\\x{0A}b", "utf-8;a\\x{0D}\\x{0A}b", "utf-8;a b", "utf-8;\\x{00}", "utf-8;\\x{85}a"],
)  # fmt: skip
def test_no_original_recipient(text: str) -> None:
    assert isinstance(read_original_recipient(text), Fault)


@given(st.text())
def test_an_original_recipient_never_holds_a_line_end(text: str) -> None:
    for kind in ("rfc822;", "utf-8;"):
        found = read_original_recipient(kind + text)
        if isinstance(found, str):
            assert found.splitlines() == [found]
            assert "\x00" not in found
            found.encode()


# --- MAIL and RCPT ----------------------------------------------------------------------------------------------


def test_mail_with_everything() -> None:
    argument = "FROM:<@a.example:Bob@x.example> SIZE=12 BODY=binarymime SMTPUTF8 RET=full ENVID=a+2Bb AUTH=bob"
    assert read_mail(argument, 100, utf8=True) == Envelope(
        Address("Bob", "x.example"), body=BodyType.BINARY, smtputf8=True, declared_size=12, ret="FULL", envid="a+b"
    )


def test_rcpt_with_everything() -> None:
    argument = "TO:<Bob@x.example> NOTIFY=delay,FAILURE ORCPT=rfc822;Bob@old.example"
    assert read_rcpt(argument, utf8=False) == Recipient(
        Address("Bob", "x.example"), Notify.DELAY | Notify.FAILURE, "rfc822;Bob@old.example"
    )


@pytest.mark.parametrize(
    ("argument", "code", "enhanced"),
    [
        ("", 501, "5.5.4"),
        ("FROM", 501, "5.5.4"),
        ("FROM <a@x.example>", 501, "5.5.4"),
        ("FROM:", 501, "5.1.7"),
        ("FROM:<a>", 501, "5.1.7"),
        ("FROM:<Postmaster>", 501, "5.1.7"),
        ("FROM:<> SIZE=101", 552, "5.3.4"),
        ("FROM:<> SIZE=１", 501, "5.5.4"),
        ("FROM:<> BODY=16BIT", 501, "5.5.4"),
        ("FROM:<> RET=HALF", 501, "5.5.4"),
        ("FROM:<> ENVID=" + "x" * 101, 501, "5.5.4"),
        ("FROM:<> AUTH", 501, "5.5.4"),
        ("FROM:<> FUTURERELEASE=1", 555, "5.5.4"),
        ("FROM:<ü@x.example>", 553, "5.6.7"),
        ("FROM:<a@ü.example>", 553, "5.6.7"),
    ],
)
def test_mail_refused(argument: str, code: int, enhanced: str) -> None:
    refusal = read_mail(argument, 100, utf8=True)
    assert isinstance(refusal, Reply)
    assert (refusal.code, refusal.enhanced) == (code, enhanced)
    assert "\n" not in refusal.text and "{" not in refusal.text and refusal.text.isascii()


@pytest.mark.parametrize(
    ("argument", "code", "enhanced"),
    [
        ("", 501, "5.5.4"),
        ("TO:", 501, "5.1.3"),
        ("TO:<>", 501, "5.1.3"),
        ("TO:<a@x.example> NOTIFY=", 501, "5.5.4"),
        ("TO:<a@x.example> NOTIFY=SUCCESS,,DELAY", 501, "5.5.4"),
        ("TO:<a@x.example> NOTIFY=NEVER,NEVER", 501, "5.5.4"),
        ("TO:<a@x.example> ORCPT=rfc822;" + "x" * 500, 501, "5.5.4"),
        ("TO:<a@x.example> SIZE=1", 555, "5.5.4"),
        ("TO:<ü@x.example>", 553, "5.6.7"),
    ],
)
def test_rcpt_refused(argument: str, code: int, enhanced: str) -> None:
    refusal = read_rcpt(argument, utf8=False)
    assert isinstance(refusal, Reply)
    assert (refusal.code, refusal.enhanced) == (code, enhanced)
    assert "\n" not in refusal.text and "{" not in refusal.text and refusal.text.isascii()


# --- hostile input ----------------------------------------------------------------------------------------------

MANY = 12_000  # characters, more than any line may have; a pattern that backtracks would take minutes, or for ever

HOSTILE = {
    "hyphens in a domain": "<a@a" + "-" * MANY + ">",
    "letters and hyphens": "<a@" + "a-" * (MANY // 2) + ">",
    "labels": "<a@" + "a." * (MANY // 2) + ">",
    "labels without an end": "<a@" + "a." * (MANY // 2),
    "atoms": "<" + "a." * (MANY // 2) + "@>",
    "atoms without an at": "<" + "a." * (MANY // 2) + ">",
    "a source route": "<" + "@a," * (MANY // 3) + ">",
    "a source route without an end": "<@a" + ",@a-a" * (MANY // 5),
    "source routes and a quote": '<@a' + ",@a-a" * (MANY // 5) + '"' + ">",
    "an open quote": '<"' + "a" * MANY + ">",
    "quoted pairs": '<"' + "\\a" * (MANY // 2) + ">",
    "backslashes": '<"' + "\\" * (MANY + 1) + '"@x>',
    "quotes": "<" + '"' * MANY + ">",
    "quotes and ats": "<" + '"a"@' * (MANY // 4) + ">",
    "closing brackets in a quote": '<"' + ">" * MANY,
    "closing brackets behind a quote": '<"a"' + ">" * MANY,
    "ats": "<" + "@" * MANY + ">",
    "opening brackets": "<" * MANY,
    "a literal": "<a@[" + "1" * MANY + "]>",
    "colons in a literal": "<a@[IPv6:" + ":" * MANY + "]>",
    "letters beyond ASCII": "<" + "ü" * MANY + "@" + "ü-" * (MANY // 2) + ">",
    "a blank before it": " " * MANY + "<a@x.example>",
    "parameters": "<a@x.example>" + " A" * (MANY // 2),
    "blanks": "<a@x.example>" + " " * MANY + "=",
    "a keyword": "<a@x.example> " + "A-" * (MANY // 2) + "_",
    "a value": "<a@x.example> A=" + "1" * MANY + "=",
    "xtext": "<a@x.example> ENVID=" + "+41" * (MANY // 3) + "+",
    "an original recipient": "<a@x.example> ORCPT=utf-8;" + "\\x{41}" * (MANY // 6) + "\\x{",
    "hexpoints": "<a@x.example> ORCPT=utf-8;\\x{" + "0" * MANY + "}",
    "notify": "<a@x.example> NOTIFY=" + "NEVER," * (MANY // 6),
    "a size": "<a@x.example> SIZE=" + "9" * MANY,
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_input_keeps_a_pattern_busy(text: str) -> None:
    began = time.perf_counter()
    read_mail(f"FROM:{text}", 100, utf8=True)
    read_rcpt(f"TO:{text}", utf8=True)
    read_path(text, null=True)
    read_parameters(text.partition(">")[2])
    read_xtext(text)
    read_original_recipient(f"utf-8;{text}")
    assert time.perf_counter() - began < 1.0
