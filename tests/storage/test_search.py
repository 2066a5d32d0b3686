"""Searching: what may be typed, what it means, and that the index proposes all that is to be found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from glasspost.ids import write_id
from glasspost.mail.message import scan_headers
from glasspost.protocol.episodes import episodes
from glasspost.storage import passages as passages_module
from glasspost.storage.filters import BadFilter, Search, read_search
from glasspost.storage.masking import Pseudonyms
from glasspost.storage.passages import Passages
from glasspost.storage.search import search
from glasspost.storage.story import tell
from glasspost.storage.talks import Talks
from glasspost.storage.transcripts import Recording, Transcripts
from glasspost.testing import ManualClock

NOW = 1_790_000_000.0
HERE = "127.0.0.1:25"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
async def house(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Transcripts]:
    house = Transcripts(tmp_path / "transcripts.db", clock=clock)
    house.start(asyncio.get_running_loop())
    yield house
    await house.close()


def bring(
    recording: Recording, sender: bytes, recipient: bytes, *, refusal: bytes = b"", subject: str = "", number: int = 0
) -> None:
    """One transaction: refused, or accepted as message `number`."""
    recording.heard(b"MAIL FROM:<" + sender + b"> SIZE=10")
    recording.said(b"250 2.1.0 Sender OK\r\n")
    recording.heard(b"rcpt to:<" + recipient + b">")
    recording.said(refusal + b"\r\n" if refusal else b"250 2.1.5 Recipient OK\r\n")
    if refusal:
        return
    header = f"From: Somebody <{sender.decode()}>\r\nTo: {recipient.decode()}\r\nSubject: {subject}\r\n"
    recording.header(scan_headers(f"{header}Message-ID: <m{number}@client.example>\r\n\r\n".encode()))
    recording.note(f"safe on disk as {write_id('q', number)}: 10 octets, 0 into mailboxes, 1 queued")
    recording.mention(write_id("q", number))


def visit(house: Transcripts, *, peer: str = "192.0.2.1:4711", kind: str = "smtp-in") -> Recording:
    recording = house.open(kind, HERE, peer)
    recording.said(b"220 mail.example.org ESMTP\r\n")
    recording.heard(b"EHLO client.example")
    return recording


async def stored(house: Transcripts) -> dict[str, str]:
    """Three visits and a call, each named by what it is."""
    names = {}
    two = visit(house)
    bring(two, b"bob@client.example", b"alice@example.org", subject="Lunch at noon", number=1)
    bring(two, b"carol@client.example", b"dave@example.org", refusal=b"550-5.1.1 no\r\n550 5.1.1 such user")
    names[two.id] = "two"
    guess = visit(house, peer="[2001:db8::7]:99")
    guess.note("sign-in refused for alice@example.org")
    guess.said(b"535 5.7.8 User name or password is wrong\r\n")
    names[guess.id] = "guess"
    utf8 = visit(house, peer="192.0.2.10:1")
    bring(
        utf8, "jürgen@client.example".encode(), b"alice@example.org", subject="=?utf-8?B?6K6i5Y2V56Gu6K6k?=", number=2
    )
    names[utf8.id] = "utf8"
    call = house.open("smtp-out", HERE, "mx1.example.net [192.0.2.25]:25")
    call.mention(write_id("q", 2))
    call.note(f"{write_id('q', 2)}, 10 octets, recipients: 1")
    call.said(b"MAIL FROM:<jurgen@client.example>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\n")
    call.heard(b"250 ok")
    call.heard(b"451 4.7.1 Greylisted, try again")
    names[call.id] = "call"
    for recording in (two, guess, utf8, call):
        recording.close()
    await house.flush()
    return names


async def found(tmp_path: Path, names: dict[str, str], text: str, pseudonyms: Pseudonyms | None = None) -> str:
    talks = Talks(tmp_path / "transcripts.db")
    try:
        hits = list(search(talks, read_search(text, NOW, pseudonyms)))
    finally:
        talks.close()
    return " ".join(names[hit.conversation.id] for hit in hits)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from:bob@client.example", "two"),
        ("from:BOB", "two"),
        ("from:<bob@client.example>", "two"),
        ("from:@client.example", "call utf8 two"),
        ("from:client.example", "call utf8 two"),
        ("from:lient.example", ""),
        ("from:b*@client.*", "two"),
        ("from:*ob@client.example", "two"),
        ("from:alice@example.org", "guess"),
        ("to:alice@example.org", "utf8 guess two"),
        ("to:alice@example.org kind:smtp-in subject:lunch", "two"),
        ("from:bob to:dave", ""),  # not of one and the same message
        ("from:carol to:dave reply:550", "two"),
        ("from:bob reply:550", ""),
        ("reply:5.1.1", "two"),
        ("reply:5.7.*", "guess"),
        ("reply:5*", "guess two"),
        ('reply:"550 5.1.1"', "two"),
        ("reply:4.7.1", "call"),
        ("reply:5.1", ""),
        ("to:alice@example.org -subject:lunch", "utf8 guess"),
        ("-from:@client.example", "guess"),
        ('subject:"at noon"', "two"),
        ('subject:"noon at"', ""),
        ("subject:lun*", "two"),
        ("subject:unch", ""),
        ("subject:确认", "utf8"),
        ("订单", "utf8"),
        ("from:jürgen", "utf8"),
        ("id:m1@client.example", "two"),
        ("<m2@client.example>", "utf8"),
        (f"id:{write_id('q', 2)}", "call utf8"),
        ("peer:192.0.2.1", "two"),
        ("peer:192.0.2.*", "call utf8 two"),
        ("peer:mx1.example.net", "call"),
        ("peer:2001:db8::7", "guess"),
        ("kind:smtp-out", "call"),
        ("-kind:smtp-in", "call"),
        ("text:greylisted", "call"),
        ('text:"password is wrong"', "guess"),
        ("since:1h until:2027-01-01 reply:550", "two"),
        ("since:2027-01-01", ""),
        ("until:2026-01-01 reply:550", ""),
    ],
)
async def test_what_a_search_finds(house: Transcripts, tmp_path: Path, text: str, expected: str) -> None:
    names = await stored(house)
    assert await found(tmp_path, names, text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("form:bob", 'there is no filter "form:"; did you mean "from:"?'),
        ("xyzzy:bob", 'there is no filter "xyzzy:"; there are from, to, subject, id, reply,'),
        ("from:", 'nothing stands behind "from:"'),
        ('subject:"open', "a quote is open in: "),
        ("kind:smtp_in", '"smtp_in" is no kind of conversation; did you mean "smtp-in"?'),
        ("since:lately", '"lately" is no moment: write 30m, 2h, 7d,'),
        ("-since:1h", "since: cannot be turned round; say until:"),
        ("reply:no", '"no" is no reply: write codes, like 550,'),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(BadFilter) as caught:
        read_search(text, NOW)
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_moments() -> None:
    def since(text: str) -> float:
        return NOW - read_search(f"since:{text}", NOW).since

    assert (since("30m"), since("2h"), since("7d"), since("1w")) == (1_800, 7_200, 604_800, 604_800)
    assert since("today") == NOW % 86_400 and since("yesterday") == NOW % 86_400 + 86_400
    assert since("2026-09-21T14:00Z") == since("2026-09-21T14:00") == since("2026-09-21T16:00+02:00") == 800


async def test_a_transaction_is_found_whole_however_its_lines_came_into_the_store(
    house: Transcripts, tmp_path: Path
) -> None:
    """A person at a terminal: each line is a segment of its own; the index knows what belongs together."""
    slow = visit(house)
    for line in (b"MAIL FROM:<bob@client.example>", b"RCPT TO:<alice@example.org>", b"DATA"):
        slow.heard(line)
        await house.flush()
    slow.said(b"554 5.7.1 no\r\n")
    await house.flush()
    names = {slow.id: "slow"}
    for text in ("from:bob to:alice reply:5.7.1", "from:bob@client.example reply:554 peer:192.0.2.1"):
        assert read_search(text, NOW).index_query
        assert await found(tmp_path, names, text) == "slow"
    bring(slow, b"bob@client.example", b"eve@example.org", number=3)
    await house.flush()
    assert await found(tmp_path, names, "from:bob to:eve reply:5.7.1") == ""
    slow.close()


async def test_a_very_long_conversation_is_read_around_the_hit(
    house: Transcripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passages_module, "WINDOW", 3)
    long = visit(house)
    for number in range(20):
        bring(long, b"bob%d@client.example" % number, b"alice@example.org", number=number + 1)
        await house.flush()
    long.close()
    await house.flush()
    assert await found(tmp_path, {long.id: "long"}, "from:bob2 to:alice") == "long"
    assert await found(tmp_path, {long.id: "long"}, "from:bob19 to:alice") == "long"


async def test_all_of_a_very_long_conversation_is_found_and_told(
    house: Transcripts, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours on one connection: each message is found where it was spoken of, with how the conversation began."""
    monkeypatch.setattr(passages_module, "WINDOW", 3)
    long = visit(house)
    long.note("signed in as 'printer'")
    for number in range(30):
        clock.advance(1)
        recipient = b"eve@x.example" if number % 9 else b"al@x.example"
        bring(long, b"bob%d@client.example" % number, recipient, number=number)
        await house.flush()
    long.close()
    await house.flush()
    talks = Talks(tmp_path / "transcripts.db")
    try:
        for text, expected in (("to:al@x.example", 4), ("to:eve@x.example", 26), ("text:eve@x.example", 26)):
            hits = list(search(talks, read_search(text, NOW)))
            found = [part.queue_id for hit in hits for part in hit.transactions]
            assert len(found) == len(set(found)) == expected
        for number in range(30):
            story = tell(Passages(talks), write_id("q", number), lambda _: [])
            assert story is not None and story.arrival is not None
            assert (story.sender, story.account) == (f"bob{number}@client.example", "printer")
    finally:
        talks.close()


async def test_what_retention_removes_is_out_of_the_index(
    house: Transcripts, tmp_path: Path, clock: ManualClock
) -> None:
    names = await stored(house)
    assert house._database is not None
    for seconds in (15 * 86_400, 61):
        clock.advance(seconds)
        async with asyncio.timeout(10):
            while house._retaining:
                await house._database.written(lambda connection: None)
    talks = Talks(tmp_path / "transcripts.db")
    assert list(talks.proposed('"alice example.org"', 0.0)) == []
    talks.close()
    assert await found(tmp_path, names, "reply:550") == ""


def test_the_index_is_asked_for_no_more_than_the_search_demands() -> None:
    assert read_search("-from:bob text:x", NOW).index_query == ""
    assert read_search("from:bob@x.example -to:eve", NOW).index_query == '{sender} : ("bob x.example")'
    assert Search().index_query == ""


def test_a_talk_is_cut_where_transactions_begin() -> None:
    opening, first, second = episodes(
        "S 0.000: 220 x\nC 0.100: MAIL FROM:<a@x>\nS 0.100: 550 5.7.1 no\nC 0.200: MAIL FROM:<b@x>\nS 0.300: 250 ok\n"
    )
    assert (len(opening.lines), len(first.lines), len(second.lines)) == (1, 2, 2)
    assert (first.all("refusal"), second.at) == (["550 5.7.1"], 0.2)
