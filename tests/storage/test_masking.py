"""Addresses under pseudonyms: none is left, the same stays the same, and who has the key finds it again."""

from __future__ import annotations

import asyncio
import grp
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.ids import write_id
from glasspost.mail.message import scan_headers
from glasspost.protocol.talk import parse_talk
from glasspost.storage.fates import Fate
from glasspost.storage.filters import read_search
from glasspost.storage.folder import Folder
from glasspost.storage.masking import Pseudonyms, read_key, read_or_make_key
from glasspost.storage.readers import grant
from glasspost.storage.search import search
from glasspost.storage.story import find
from glasspost.storage.talks import Talks
from glasspost.storage.transcripts import Transcripts

KEY = b"k" * 32
MASKED = Pseudonyms(KEY)
ALICE = MASKED.mask("alice.smith@example.org")


def test_the_domain_stays_and_the_rest_is_the_same_each_time() -> None:
    assert ALICE.startswith("~") and ALICE.endswith("@example.org") and len(ALICE) == 11 + len("@example.org")
    assert MASKED.mask("Alice.Smith@EXAMPLE.ORG").startswith(ALICE.partition("@")[0])
    assert MASKED.mask('"alice.smith"@example.org') == ALICE
    assert MASKED.mask(ALICE) == ALICE
    assert MASKED.mask("alice.smith@example.net").partition("@")[0] != ALICE.partition("@")[0]
    assert Pseudonyms(b"x" * 32).mask("alice.smith@example.org") != ALICE


@pytest.mark.parametrize(
    "line",
    [
        "C 0.000: MAIL FROM:<{}> SIZE=1 AUTH=<{}>",
        "C 0.000: RCPT TO:<{}> ORCPT=rfc822;{}",
        "C 0.000: VRFY {}",
        "S 0.000: 550 5.1.1 <{}>: nobody here",
        "S 0.000: 550 5.1.1 {}... User unknown",
        "# 0.000: signed in as {}; messages: 2",
        "# 0.000: sign-in refused for '{}'",
        "# 0.000: From: Smith, Alice <{}>",
        "# 0.000: To: =?utf-8?q?x?= <{}>, {}",
        "# 0.000: Message-ID: <{}>",
    ],
)
@pytest.mark.parametrize("address", ["alice.smith@example.org", '"alice smith"@example.org', "alice+tag@[192.0.2.1]"])
def test_no_address_is_left_in_any_line(line: str, address: str) -> None:
    masked = MASKED.mask_talk(line.replace("{}", address))
    assert "alice" not in masked.lower() and "smith" not in masked.lower()
    assert masked.count("~") == line.count("{}")
    parse_talk(masked)


def test_what_is_no_address_stays() -> None:
    talk = "S 0.000: 220 mail.example.org ESMTP\nC 0.100: EHLO client.example\nC 0.200: RCPT TO:<Postmaster>\nS 0.3: ok"
    assert MASKED.mask_talk(talk) == talk


def test_names_without_a_domain_are_masked_where_they_name_somebody() -> None:
    talk = MASKED.mask_talk(
        "C 0.000: USER alice\nC 0.000: RCPT TO:<alice@example.org>\nS 0.000: 550 5.1.1 Alice: unknown\n"
        "# 0.000: sign-in refused for 'alice'"
    )
    assert "alice" not in talk.lower()
    assert "550 5.1.1 ~" in talk


@given(st.text(alphabet='ab@<>.,;:" \\~=\n', max_size=200))
def test_masking_never_fails_and_masking_twice_is_masking_once(text: str) -> None:
    once = MASKED.mask(text)
    assert MASKED.mask(once) == once


def test_a_long_line_costs_one_pass() -> None:
    MASKED.mask_talk("C 0.000: " + "a" * 200_000)
    MASKED.mask_talk("C 0.000: " + '"' * 50_000)
    MASKED.mask_talk("C 0.000: " + "@" * 200_000)


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "transcripts.key"
    assert read_key(path) is None
    key = read_or_make_key(path)
    assert read_or_make_key(path) == key == read_key(path) and len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_masked_record_holds_no_address_and_no_subject_and_why_still_answers(tmp_path: Path) -> None:
    house = Transcripts(tmp_path / "transcripts.db", pseudonyms=MASKED, subjects=False)
    house.start(asyncio.get_running_loop())
    queue_id = write_id("q", 7)
    recording = house.open("smtp-in", "127.0.0.1:25", "192.0.2.1:1")
    for line in (b"MAIL FROM:<alice.smith@example.org>", b"RCPT TO:<carol.jones@example.net>", b"DATA"):
        recording.heard(line)
    header = b"From: A <alice.smith@example.org>\r\nMessage-ID: <zebra.1@example.org>\r\nSubject: Secret plans\r\n\r\n"
    recording.header(scan_headers(header))
    recording.note(f"safe on disk as {queue_id}: 1 octets, 0 into mailboxes, 1 queued")
    recording.mention(queue_id)
    recording.close()
    house.tell([Fate(queue_id, 1.0, "carol.jones@example.net", "failed", "550 5.1.1 carol.jones: unknown")])
    await house.flush()
    await house.close()
    stored = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))  # noqa: ASYNC240
    for secret in (b"alice", b"smith", b"carol", b"jones", b"zebra", b"Secret", b"secret", b"plans"):
        assert secret not in stored
    talks = Talks(tmp_path / "transcripts.db")
    for asked in ("alice.smith@example.org", "Carol.Jones@example.net", "<zebra.1@example.org>", ALICE):
        [story] = find(talks, asked, lambda queue_id: [], MASKED).stories
        assert story.queue_id == queue_id and story.sender == ALICE
        assert find(talks, asked, lambda queue_id: []).stories == [] or asked == ALICE, "not without the key"
    assert [hit.conversation.id for hit in search(talks, read_search("from:@example.org", 0.0))] == [recording.id]
    assert find(talks, "Secret", lambda queue_id: [], MASKED).stories == []
    talks.close()


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder of the test's own that everybody may pass: pytest's are shut."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_a_group_may_read_the_record_and_nothing_else(passable: Path) -> None:
    group = grp.getgrnam("games")
    folder = Folder(passable / "data")
    folder.make()
    house = Transcripts(folder.transcripts)
    house.start(asyncio.get_running_loop())
    house.open("smtp-in", "127.0.0.1:25", "192.0.2.1:1").close("seen")
    await house.flush()
    folder.spool.write_text("not for everybody")
    folder.spool.chmod(0o644)
    grant(folder, "games")
    look = (
        "import os, sys; from pathlib import Path; from glasspost.storage.talks import Talks\n"
        "os.setgroups([int(sys.argv[2])]); os.setgid(65534); os.setuid(65534); data = Path(sys.argv[1])\n"
        "print(Talks(data / 'transcripts.db').conversations()[0].verdict)\n"
        "for name in ('spool.db', ''):\n"
        "    try: list(data.iterdir()) if not name else (data / name).read_bytes(); print('open')\n"
        "    except PermissionError: print('shut')\n"
    )

    async def seen(gid: int) -> str:
        command = [sys.executable, "-c", look, str(folder.path), str(gid)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        return done.stdout or done.stderr.strip().splitlines()[-1]

    assert await seen(group.gr_gid) == "seen\nshut\nshut\n", "while the node runs"
    assert "may not read it" in await seen(65534) or "no conversations" in await seen(65534)
    await house.close()
    assert await seen(group.gr_gid) == "seen\nshut\nshut\n", "and while none does"
    grant(folder, "")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert "seen" not in await seen(group.gr_gid)
