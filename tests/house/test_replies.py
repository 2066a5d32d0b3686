"""The named replies as a whole: each is really said, is plain text, and fits into its line once it is filled in.

Lives here: what is true of all replies of both protocols, and of their use in the house.
Does not live here: how a reply is written and read (tests/mail/test_reply.py), docs/replies.md (test_docs.py).
"""

from __future__ import annotations

import ast
from pathlib import Path
from string import Formatter

import pytest

from glasspost.mail import pop3_reply, reply
from glasspost.mail.pop3_reply import Pop3Reply
from glasspost.mail.reply import Reply

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "glasspost"
SMTP = {name: value for name, value in vars(reply).items() if isinstance(value, Reply)}
POP3 = {name: value for name, value in vars(pop3_reply).items() if isinstance(value, Pop3Reply)}
LINE_LIMIT = 512  # octets with CRLF: RFC 5321 §4.5.3.1.5, RFC 2449 §4
CONVERSATION = "c02k34w86nq7"

# What stands in the braces, as long as it may well become.
ADDRESS = f"{'a' * 64}@{'d' * 63}.{'e' * 63}.example.org"
HOST = f"{'mx' * 30}.mail.provider.example"
FILLS = {
    "address": ADDRESS,
    "advice": "This message is being sent with BDAT; go on with BDAT, or say RSET",
    "challenge": "UGFzc3dvcmQ6",
    "client": HOST,
    "count": 100_000,
    "domain": HOST,
    "fault": "certificate verify failed: unable to get local issuer certificate (every one of its addresses was tried)",
    "hint": "; did you mean STARTTLS?",
    "hops": 100,
    "host": HOST,
    "hostname": HOST,
    "last": 100_000,
    "name": "microsoft365",
    "mechanism": "SCRAM-SHA-256-PLUS",
    "left": 100_000,
    "limit": 52_428_800,
    "members": "\n".join([f"<{ADDRESS}>"] * 3),
    "number": 100_000,
    "octets": 52_428_800,
    "parameter": "X" * 64,
    "queue_id": "q02k34w86px3",
    "removed": 100_000,
    "server": f"{HOST} [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:587",
    "size": 52_428_800,
    "syntax": "RCPT TO:<address> [parameters]",
    "text": "Commands:\nEHLO     say hello and ask what this server can do",
    "uid": "q02k34w86px3",
    "verb": "STARTTLS",
    "wait": "90 min",
    "when": "after the message was sent",
}


def places(text: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(text) if name]


def filled(named: Reply | Pop3Reply) -> Reply | Pop3Reply:
    return named.saying(**{place: FILLS[place] for place in places(named.text)})


def names_used(module: str) -> set[str]:
    """The names of a module that any other file of the house uses, whatever it calls the module."""
    package, _, short = module.rpartition(".")
    used = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        aliases = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == package:
                aliases |= {alias.asname or alias.name for alias in node.names if alias.name == short}
            elif isinstance(node, ast.ImportFrom) and node.module == module:
                used |= {alias.name for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
                used.add(node.attr)
    return used


@pytest.mark.parametrize(("named", "module"), [(SMTP, reply), (POP3, pop3_reply)], ids=["smtp", "pop3"])
def test_every_named_reply_is_said_somewhere(named: dict[str, object], module: object) -> None:
    unused = set(named) - names_used(module.__name__)  # type: ignore[attr-defined]
    assert unused == set(), "delete them, or say them"


@pytest.mark.parametrize("name", SMTP)
def test_an_smtp_reply_is_plain_text_and_agrees_with_itself(name: str) -> None:
    one = SMTP[name]
    assert one.text.isascii()
    assert not one.text.endswith((".", " ")), "the conversation's id comes behind it"
    if one.enhanced:
        assert one.enhanced[0] == str(one.code)[0]
    else:
        assert one.code in (220, 250, 334, 354), "RFC 2034 §3: only the greeting, HELO, EHLO and 3xx go without"


@pytest.mark.parametrize("name", SMTP)
def test_an_smtp_reply_fits_into_its_lines(name: str) -> None:
    one = filled(SMTP[name])
    assert isinstance(one, Reply)
    said = one.tagged(CONVERSATION) if one.code >= 400 else one
    lines = said.encode().splitlines(keepends=True)
    assert all(line.endswith(b"\r\n") and len(line) <= LINE_LIMIT for line in lines)


@pytest.mark.parametrize("name", POP3)
def test_a_pop3_reply_is_one_plain_line_that_fits(name: str) -> None:
    one = filled(POP3[name])
    assert isinstance(one, Pop3Reply)
    assert POP3[name].text.isascii()
    assert "[" not in POP3[name].text, "RFC 2449 §3: only a response code begins with a bracket"
    said = str(one if one.positive else one.tagged(CONVERSATION))
    assert "\n" not in said
    assert len(said.encode()) + 2 <= LINE_LIMIT
    assert not one.code or not one.positive


def test_every_fill_is_used() -> None:
    assert {place for one in (*SMTP.values(), *POP3.values()) for place in places(one.text)} == set(FILLS)
