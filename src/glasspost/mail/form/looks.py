"""What makes a message look like spam by its form, whatever it says.

Lives here: the subject's manners, HTML without text, images without words, links and names that pretend, programs as
attachments.
Does not live here: judging by words, senders or reputation; that is a filter's work, and not done here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from glasspost.mail.form.body import Body, Part
from glasspost.mail.form.finding import Finding, Section, finding
from glasspost.mail.form.header import read_addresses

PROGRAMS = (
    ".ade", ".adp", ".apk", ".appx", ".bat", ".cab", ".chm", ".cmd", ".com", ".cpl", ".dll", ".exe", ".hta", ".iso",
    ".jar", ".js", ".jse", ".lnk", ".msi", ".msp", ".pif", ".ps1", ".reg", ".scr", ".vb", ".vbe", ".vbs", ".wsf",
    ".wsh",
)  # fmt: skip
LETTERS = 8  # a subject with fewer cannot shout: "RE: SOS"
WORDS_PER_IMAGE = 10

_REPLY = re.compile(r"\s*(?:re|aw|antw|sv|回复|答复)\s*[:：]", re.IGNORECASE)
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_LINK = re.compile(r"<a\b[^>]*\bhref\s*=\s*[\"']?([^\"'\s>]+)[^>]*>(.*?)</a>", re.IGNORECASE | re.DOTALL)
_HIDDEN = re.compile(r"<(style|script|head|title)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_IMAGE = re.compile(r"<img\b", re.IGNORECASE)
_HOST = re.compile(r"(?:https?://)?((?:[a-z0-9-]+\.)+[a-z]{2,})(?:[/:?#].*)?", re.IGNORECASE)


def judge_looks(message: Section, body: Body) -> Iterator[Finding]:
    """What a filter would count against the message without reading it."""
    if message.fields:
        yield from _subject(message)
    yield from _name(message)
    yield from _alternatives(body)
    for part in body.parts:
        if part.kind == "text/html":
            yield from _html(part)
        if part.filename.lower().rstrip(". ").endswith(PROGRAMS):
            yield finding("dangerous-attachment", part.line, text=part.filename)
    if not any(part.text.strip() or (part.size and not part.kind.startswith("text/")) for part in body.parts):
        yield finding("empty-body", 0)


def _subject(message: Section) -> Iterator[Finding]:
    subject = message.first("subject")
    text = subject.text.strip() if subject is not None else ""
    if subject is None or not text:
        yield finding("no-subject", subject.line if subject is not None else 0)
        return
    letters = [letter for letter in text if letter.isalpha()]
    cased = [letter for letter in letters if letter.lower() != letter.upper()]
    loud = len(cased) >= LETTERS and sum(map(str.isupper, cased)) > 0.8 * len(cased)
    if loud or re.search(r"[!！]{2,}|[$€£¥]{3,}|[?？]{3,}", text):
        yield finding("shouting-subject", subject.line, text=text)
    if _REPLY.match(text) and not message.first("in-reply-to") and not message.first("references"):
        yield finding("false-reply", subject.line)


def _name(message: Section) -> Iterator[Finding]:
    author = message.first("from")
    addresses = read_addresses(author) if author is not None else None
    if author is None or not addresses:
        return
    shown = author.text.rpartition("<")[0]
    for pretended in _ADDRESS.findall(shown):
        if pretended.lower() not in [one.lower() for one in addresses]:
            yield finding("name-has-other-address", author.line, text=pretended)
            return


def _alternatives(body: Body) -> Iterator[Finding]:
    texts = [part for part in body.parts if part.kind == "text/plain" and not part.filename]
    pages = [part for part in body.parts if part.kind == "text/html" and not part.filename]
    if pages and not any(part.text.strip() for part in texts):
        yield finding("html-without-text", pages[0].line)
    for page in pages:
        beside = [part for part in texts if part.within == page.within == ("multipart/alternative", page.within[1])]
        if beside and beside[0].line > page.line:
            yield finding("html-before-text", page.line)
            return


def _html(part: Part) -> Iterator[Finding]:
    images = len(_IMAGE.findall(part.text))
    words = _TAG.sub(" ", _HIDDEN.sub(" ", part.text)).split()
    letters = sum(map(len, words))
    if images and len(words) < WORDS_PER_IMAGE * images and letters < 8 * WORDS_PER_IMAGE * images:
        yield finding("only-images", part.line)
    told: set[str] = set()
    for target, label in _LINK.findall(part.text):
        for one in _link(target, _TAG.sub("", label).strip(), part.line):
            if one.rule.name not in told:
                told.add(one.rule.name)
                yield one


def _link(target: str, label: str, line: int) -> Iterator[Finding]:
    try:
        split = urlsplit(target)
        host = (split.hostname or "").lower()
    except ValueError:
        return
    if split.scheme not in ("http", "https") or not host:
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        yield finding("link-to-ip-address", line, text=target)
    shown = _HOST.fullmatch(label)
    if shown and not _same_site(shown[1].lower(), host):
        yield finding("link-shows-other-host", line, text=shown[1], host=host)


def _same_site(shown: str, host: str) -> bool:
    """Whether one name is the other, or lies below it; www does not count."""
    one, other = shown.removeprefix("www."), host.removeprefix("www.")
    return one == other or one.endswith("." + other) or other.endswith("." + one)
