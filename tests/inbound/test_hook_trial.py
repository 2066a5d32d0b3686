"""A hooks file on trial: recorded conversations, told again, and the verdicts that would have been others."""

from __future__ import annotations

from pathlib import Path

import pytest

from glasspost.inbound.hook_runner import HookRunner
from glasspost.inbound.hook_script import load_script
from glasspost.inbound.hook_trial import Difference, Trial
from glasspost.storage.talks import Conversation

VISIT = Conversation("c02k34w86nq7", "smtp-in", 1.0, 2.0, "127.0.0.1:25", "192.0.2.7:4711", "", 0, 0)
TALK = """\
S: 220 mx.example ESMTP glasspost
C: EHLO client.example
S: 250-mx.example greets client.example
S: 250 HELP
C: MAIL FROM:<dave@client.example> SIZE=99
S: 250 2.1.0 Sender OK
C: RCPT TO:<alice@example.test>
S: 250 2.1.5 Recipient OK
C: RCPT TO:<nobody@example.test>
S: 550 5.1.1 <nobody@example.test>: nobody here has this address [c02k34w86nq7]
C: RCPT TO:<old.bob@example.test>
# 550: hook rcpt (rules.py): old addresses
S: 550 5.7.1 This address is closed [c02k34w86nq7]
C: DATA
S: 354 Go ahead
# Subject: Buy now
# safe on disk as q02k34w86px3: 345 octets, 1 into mailboxes, 0 queued
S: 250 2.0.0 Safe on disk as q02k34w86px3
C: QUIT
S: 221 2.0.0 Bye
"""


OLD = """
def rcpt(visit, envelope, recipient):
    if recipient.startswith("old."):
        return refuse("This address is closed")
"""


async def tried(tmp_path: Path, source: str, talk: str = TALK) -> Trial:
    path = tmp_path / "rules.py"
    path.write_text(f"from glasspost.hooks import refuse, defer, hold\n{source}")
    trial = Trial(load_script(path), HookRunner(5.0, 1))
    await trial.hold(VISIT, talk)
    return trial


def differences(trial: Trial) -> list[tuple[str, str, str, str]]:
    return [(one.step, one.about, one.was, one.would) for one in trial.differences]


async def test_a_file_that_says_the_same_makes_no_difference(tmp_path: Path) -> None:
    trial = await tried(tmp_path, OLD)
    assert trial.differences == []
    assert trial.asked == 2, "nobody@ was refused by somebody else, and no hook would have seen it"


async def test_what_would_be_refused_and_what_would_be_let_in_now(tmp_path: Path) -> None:
    source = """
def rcpt(visit, envelope, recipient):
    if recipient == "alice@example.test" and envelope.sender == "dave@client.example" and visit.ip == "192.0.2.7":
        return defer("Not now")
"""
    trial = await tried(tmp_path, source)
    assert trial.differences == [
        Difference(VISIT.id, "rcpt", "alice@example.test", "taken", "451 4.7.1 Not now"),
        Difference(VISIT.id, "rcpt", "old.bob@example.test", "550 5.7.1 This address is closed", "taken"),
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('def connect(v): return refuse("Go")', [("connect", "192.0.2.7", "taken", "550 5.7.1 Go")]),
        ('def helo(v): return refuse("Go") if v.hello == "client.example" else None',
         [("helo", "client.example", "taken", "550 5.7.1 Go")]),
        ('def mail(v, e): return refuse("Go") if e.size == 99 and v.hello else None',
         [("mail", "dave@client.example", "taken", "550 5.7.1 Go")]),
        ('def data(v, e, m): return hold("odd") if m.header("subject") == ["Buy now"] and not m.whole else None',
         [("data", "<dave@client.example>", "taken", "held")]),
        ('def data(v, e, m): return defer(str(e.recipients[0])) if m.size == 345 else None',
         [("data", "<dave@client.example>", "taken", "451 4.7.1 alice@example.test")]),
        ('def mail(v, e): raise KeyError("list")',
         [("mail", "dave@client.example", "taken", "451 4.3.0 the hook breaks: rules.py:2: KeyError: 'list'")]),
    ],
)  # fmt: skip
async def test_each_function_is_told_what_the_server_knew_then(
    tmp_path: Path, source: str, expected: list[tuple[str, str, str, str]]
) -> None:
    assert differences(await tried(tmp_path, source + OLD)) == expected


async def test_after_a_refusal_at_the_door_nothing_more_is_asked(tmp_path: Path) -> None:
    trial = await tried(tmp_path, 'def connect(v): return refuse("Go")\ndef mail(v, e): return None')
    assert trial.asked == 1


async def test_a_message_in_bdat_chunks_is_judged_at_the_last(tmp_path: Path) -> None:
    talk = TALK.replace("C: DATA\nS: 354 Go ahead\n", "C: BDAT 10\nS: 250 2.0.0 10 octets received\nC: BDAT 5 LAST\n")
    trial = await tried(tmp_path, 'def data(v, e, m): return hold("odd")' + OLD, talk)
    assert differences(trial) == [("data", "<dave@client.example>", "taken", "held")]
