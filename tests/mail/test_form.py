"""A message judged by its form: each rule with a message that breaks it and nothing else, and good messages."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from glasspost.mail.address import address_from_text
from glasspost.mail.compose import Letter, Mailbox, compose
from glasspost.mail.form.judgement import judge
from glasspost.mail.form.rules import LANGUAGES, RULES, SEVERITIES

NOW = 1_795_428_000.0  # Mon, 23 Nov 2026 10:00:00 +0000
HEAD = (
    "Date: Mon, 23 Nov 2026 10:00:00 +0000\nFrom: Ann <ann@example.org>\nTo: bob@example.net\n"
    "Subject: The plan\nMessage-ID: <1@example.org>\n"
)
MIME = HEAD + "MIME-Version: 1.0\n"
GOOD = HEAD + "\nHello Bob,\nhere it is.\n"
TWO = MIME + (
    'Content-Type: multipart/alternative; boundary="b"\n\n--b\nContent-Type: text/plain\n\nHello\n'
    "--b\nContent-Type: text/html\n\n<p>Hello</p>\n--b--\n"
)


def message(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8", "surrogateescape")


def found(data: bytes, limit: int = 25_000_000) -> dict[str, int]:
    return {one.rule.name: one.line for one in judge(data, NOW, limit).findings}


def without(field: str) -> str:
    return re.sub(rf"(?m)^{field}:.*\n", "", GOOD, count=1)


def changed(field: str, value: str) -> str:
    return re.sub(rf"(?m)^{field}:.*$", lambda _: f"{field}: {value}", GOOD, count=1)


def page(html: str) -> str:
    return TWO.replace("<p>Hello</p>", html)


# What breaks a rule, and the line that is named.
BROKEN: dict[str, tuple[str, int]] = {
    "line-too-long": (GOOD + "x" * 999 + "\n", 9),
    "header-line-long": (changed("Subject", "The plan " * 12), 4),
    "no-header": ("Hello\n", 1),
    "no-blank-line": (HEAD + "Hello Bob\n", 6),
    "space-before-colon": (GOOD.replace("Subject:", "Subject :"), 4),
    "blank-continuation": (GOOD.replace("The plan\n", "The plan\n \n"), 5),
    "header-8bit": (changed("Subject", "caf\udce9"), 4),
    "header-utf8": (changed("Subject", "café"), 4),
    "missing-date": (without("Date"), 0),
    "missing-from": (without("From"), 0),
    "missing-message-id": (without("Message-ID"), 0),
    "missing-to": (without("To"), 0),
    "doubled": (HEAD + "Subject: again\n\nHello\n", 6),
    "bcc": (HEAD + "Bcc: eve@example.net\n\nHello\n", 6),
    "sender-wanted": (changed("From", "ann@example.org, eve@example.org"), 2),
    "bad-address": (changed("To", "bob@example.net, <"), 3),
    "empty-address": (changed("To", ""), 3),
    "address-without-domain": (changed("To", "bob@localhost"), 3),
    "bad-date": (changed("Date", "yesterday"), 1),
    "date-ahead": (changed("Date", "Mon, 30 Nov 2026 10:00:00 +0000"), 1),
    "date-old": (changed("Date", "Thu, 01 Jan 1970 00:00:00 +0000"), 1),
    "bad-message-id": (changed("Message-ID", "1"), 5),
    "encoded-word-long": (changed("Subject", "=?utf-8?Q?" + "a" * 70 + "?="), 4),
    "encoded-word-broken": (changed("Subject", "=?utf-8?B?4q?="), 4),
    "many-received": ("Received: by x; Mon, 23 Nov 2026 10:00:00 +0000\n" * 51 + GOOD, 1),
    "missing-mime-version": (HEAD + "Content-Type: text/plain\n\nHello\n", 6),
    "bad-content-type": (MIME + "Content-Type: text\n\nHello\n", 7),
    "no-boundary": (MIME + "Content-Type: multipart/mixed\n\nHello\n", 7),
    "boundary-not-found": (TWO.replace('boundary="b"', 'boundary="c"'), 7),
    "boundary-not-closed": (TWO.replace("--b--\n", ""), 16),
    "bad-boundary": (TWO.replace('"b"', f'"{"b" * 71}"').replace("--b", "--" + "b" * 71), 7),
    "bad-encoding": (MIME + "Content-Transfer-Encoding: utf-8\n\nHello\n", 7),
    "encoded-multipart": (TWO.replace("\n\n--b", "\nContent-Transfer-Encoding: base64\n\n--b", 1), 7),
    "bad-base64": (MIME + "Content-Transfer-Encoding: base64\n\nSGVs\nbG8*\n", 10),
    "bad-quoted-printable": (MIME + "Content-Transfer-Encoding: quoted-printable\n\na = b\n", 9),
    "eight-bit-in-7bit": (GOOD + "café\n", 9),
    "eight-bit": (MIME + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nX\ncafé\n", 11),
    "unknown-charset": (MIME + "Content-Type: text/plain; charset=klingon\n\nHello\n", 7),
    "wrong-charset": (
        MIME + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=E9\n", 7
    ),
    "no-subject": (without("Subject"), 0),
    "shouting-subject": (changed("Subject", "BUY THIS NOW"), 4),
    "false-reply": (changed("Subject", "Re: The plan"), 4),
    "name-has-other-address": (changed("From", '"boss@bank.example" <eve@example.org>'), 2),
    "html-without-text": (MIME + "Content-Type: text/html\n\n<p>Hello Bob, here it is.</p>\n", 9),
    "html-before-text": (TWO.replace("plain", "tmp").replace("html", "plain").replace("tmp", "html"), 12),
    "only-images": (page("<img src=a><img src=b>"), 16),
    "link-shows-other-host": (page("<p>Hello, see <a href='https://evil.example/'>www.bank.example</a></p>"), 16),
    "link-to-ip-address": (page("<p>Hello, see <a href='http://192.0.2.1/'>this</a></p>"), 16),
    "dangerous-attachment": (
        TWO.replace("Content-Type: text/html", 'Content-Disposition: attachment; filename="a.pdf.EXE"\nContent-Type: '
        "application/octet-stream"), 17
    ),
    "empty-body": (HEAD + "\n", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_rule_is_found_at_its_line_and_nothing_else(name: str) -> None:
    text, line = BROKEN[name]
    told = found(message(text))
    assert told.get(name) == line, told
    assert set(told) - {name, "header-line-long", "empty-body"} == set()


def test_every_rule_is_tried() -> None:
    by_octets = {"bare-cr", "bare-lf", "unix-lines", "nul", "too-large", "too-deep"}
    assert set(BROKEN) | by_octets == set(RULES)


@pytest.mark.parametrize("text", [GOOD, TWO, GOOD.replace("bob@example.net", "undisclosed-recipients:;")])
def test_a_good_message_is_left_alone(text: str) -> None:
    assert found(message(text)) == {}


def test_what_glasspost_send_composes_is_good() -> None:
    ann, bob = address_from_text("ann@example.org"), address_from_text("bob@example.net")
    letter = Letter(
        sender=Mailbox(ann, "Änn"), to=(Mailbox(bob),), when=NOW, message_id="<1@example.org>", subject="Grüße 你好",
        text="Hällo", html="<p>Hällo, a page with some words</p>",
    )  # fmt: skip
    assert judge(compose(letter), NOW).findings == ()


def test_line_ends_are_judged_octet_by_octet() -> None:
    assert found(GOOD.encode()) == {"unix-lines": 0}
    assert found(message(GOOD) + b"one\ntwo\n") == {"bare-lf": 9}
    assert found(message(GOOD) + b"one\rtwo\r\n") == {"bare-cr": 9}
    assert found(message(GOOD) + b"a\0b\r\n") == {"nul": 9}
    [one] = judge(message(GOOD) + b"one\ntwo\n", NOW).findings
    assert one.count == 2


def test_a_message_can_be_too_large_and_too_deep() -> None:
    assert found(message(GOOD), limit=20) == {"too-large": 0}
    nested = MIME
    for number in range(40):
        nested += f'Content-Type: multipart/mixed; boundary="b{number}"\n\n--b{number}\n'
    assert "too-deep" in found(message(nested))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_told_in_both_languages_with_the_same_places(name: str) -> None:
    rule = RULES[name]
    assert rule.severity in SEVERITIES and re.fullmatch(r"RFC \d+ §[\d.]+|", rule.section)
    for texts in (rule.what, rule.cure):
        places = {lang: set(re.findall(r"{\w+}", texts[lang])) for lang in LANGUAGES}
        assert places["en"] == places["zh"]
        assert re.search(r"[一-鿿]", texts["zh"])


def test_nothing_a_stranger_writes_breaks_the_judge() -> None:
    chance = random.Random(4)
    seeds = [message(text) for text, _ in BROKEN.values()]
    for _ in range(1500):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 12)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice(
                [b"", b"\0", b'"', b"\\", b"(", b"=?", b"\r", b"\n", b"<", b"\xff", b";", b"@"]
            )
        judgement = judge(bytes(data) or b"x", NOW)
        for one in judgement.findings:
            assert one.what("en") and one.cure("zh")


def test_the_page_has_every_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text(encoding="utf-8")
    for rule in RULES.values():
        assert f"| `{rule.name}` | {rule.severity} | {rule.what['en']} | {rule.section} |\n" in page
