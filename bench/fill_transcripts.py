"""A record of very many conversations: made, weighed, and asked.

    python bench/fill_transcripts.py --data DIR [--conversations 1000000]

Half of the conversations bring a message, a third of those conversations pass one on, some are refused, some are
strangers guessing passwords. They are stored by the node's own code; then `glasspost why` and `conversations search`
are asked as an operator would, each in a process of its own, and timed with everything that a process costs.

Lives here: the made-up conversations, and the questions.
Does not live here: storing (storage/transcript_jobs.py), searching (storage/search.py).
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from glasspost.errors import Exit
from glasspost.ids import write_id
from glasspost.storage.database import Database
from glasspost.storage.excerpts import HEADER, MENTION, Entry
from glasspost.storage.folder import Folder
from glasspost.storage.transcript_jobs import Archive, Part

FLUSH = 2_000  # conversations in one flush
BEGUN = 1_790_000_000.0
FIRST = 86_000_000_000_000  # the first conversation's number
WORDS = [f"{a}{b}" for a in ("in", "re", "or", "de", "con", "pro", "ab", "sub") for b in range(2_500)]
GREETED = (
    b"250-mail.example.org greets client.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
    b"250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250 HELP\r\n"
)
QUESTIONS = (
    ["why", "rare@rare.example"],
    ["why", "<needle.1@client.example>"],
    ["why", "needleword"],
    ["why", "user77@src5.example.org"],
    ["why", "dst7.example.net"],
    ["why", "in77"],
    ["conversations", "search", "reply:5.7.*"],
    ["conversations", "search", "from:@src5.example.org to:rare@rare.example"],
    ["conversations", "search", "to:@dst7.example.net -reply:4* since:1h"],
    ["conversations", "search", "peer:192.0.2.77 reply:550"],
    ["conversations", "search", "from:user1* subject:re9"],
    ["conversations", "list"],
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--conversations", type=int, default=1_000_000)
    options = parser.parse_args()
    folder = Folder(options.data)
    folder.make()
    if not folder.transcripts.stat().st_size:  # made, and empty
        fill(folder, options.conversations)
    size = folder.transcripts.stat().st_size
    print(f"{size / 1e6:.0f} MB, {size / options.conversations:.0f} octets a conversation")
    ask(options.data)
    return 0


def fill(folder: Folder, count: int) -> None:
    gc.disable()
    dice = random.Random(1)
    database = Database(folder.transcripts, "transcripts", durable=False)
    archive = Archive()
    begun = time.monotonic()
    busy = 0.0
    for start in range(0, count, FLUSH):
        parts = [part(number, count, dice) for number in range(start, min(start + FLUSH, count))]
        at = time.process_time()
        database.apply(lambda connection, parts=parts: archive.store(connection, parts, []))  # type: ignore[misc]
        busy += time.process_time() - at
    database.close_now()
    seconds = time.monotonic() - begun
    print(f"{count} conversations in {seconds:.0f} s; storing one: {busy / count * 1e6:.0f} µs of CPU")


def part(number: int, count: int, dice: random.Random) -> Part:
    """One conversation, whole."""
    at = BEGUN + number / 10
    entries: list[Entry] = []

    def say(who: str, what: bytes) -> None:
        entries.append((at + len(entries) / 1000, who, what))

    peer = f"192.0.2.{number % 250}:{20_000 + number % 40_000}"
    sender = f"user{dice.randrange(50_000)}@src{dice.randrange(300)}.example.org"
    recipient = f"bob{dice.randrange(100_000)}@dst{dice.randrange(1_000)}.example.net"
    if number == count // 3:
        sender, recipient = "user9@src5.example.org", "rare@rare.example"
    subject = " ".join(dice.choices(WORDS, k=5)) + (" needleword" if number == count // 5 else "")
    message_id = "needle.1" if number == count // 7 else f"{dice.getrandbits(60):x}.{number}"
    kind, fate = (
        ("smtp-out", "sent") if number % 6 == 1 else ("smtp-in", ("taken", "taken", "refused", "guess")[number % 4])
    )
    say("S", b"220 mail.example.org ESMTP glasspost\r\n")
    say("C", b"EHLO client.example")
    say("S", GREETED)
    queue_id = write_id("q", FIRST + number)
    if fate == "guess":
        say("C", b"AUTH PLAIN [masked]")
        say("S", b"535 5.7.8 User name or password is wrong\r\n")
        say("#", b"sign-in refused for info@example.org")
    else:
        if kind == "smtp-out":
            queue_id = write_id("q", FIRST + number - 1)
            entries.append((at, MENTION, queue_id.encode()))
            say("#", f"{queue_id}, 4312 octets, recipients: 1".encode())
        say("C", f"MAIL FROM:<{sender}>".encode())
        say("S", b"250 2.1.0 Sender OK\r\n")
        say("C", f"RCPT TO:<{recipient}>".encode())
        refusal = b"550 5.1.1 nobody here has this address\r\n" if number % 5 else b"554 5.7.1 listed\r\n"
        say("S", refusal if fate == "refused" else b"250 2.1.5 Recipient OK\r\n")
        if fate != "refused":
            say("C", b"DATA")
            say("S", b"354 Go ahead; end with a dot on a line of its own\r\n")
            say(HEADER, f"<{message_id}@client.example>\n{sender}\n{recipient}\n{subject}".encode())
            if kind == "smtp-in":
                say("#", f"safe on disk as {queue_id}: 4312 octets, 0 into mailboxes, 1 queued".encode())
                entries.append((at, MENTION, queue_id.encode()))
            say("S", f"250 2.0.0 Safe on disk as {queue_id}\r\n".encode())
            if kind == "smtp-out":
                say("#", f"{queue_id}: relayed, 1 of 1 recipients".encode())
    say("C", b"QUIT")
    say("S", b"221 2.0.0 Bye\r\n")
    return Part((FIRST + number, kind, at, at + 1, "127.0.0.1:25", peer, ""), entries)


def ask(data: Path) -> None:
    """Each question three times: the best and the worst, and the processor's time, which a busy machine leaves alone.
    `--version` is what a process costs that asks nothing."""
    glasspost = Path(sys.executable).with_name("glasspost")
    for question in (["--version"], *QUESTIONS):
        seconds = []
        before = os.times()
        for _ in range(3):
            at = time.monotonic()
            asked = question if question == ["--version"] else [*question, "--data", str(data)]
            done = subprocess.run([glasspost, *asked], capture_output=True, text=True, check=False)
            if done.returncode not in (0, Exit.NOT_FOUND):
                raise SystemExit(f"glasspost {' '.join(question)} failed: {done.stderr}")
            seconds.append(time.monotonic() - at)
        after = os.times()
        cpu = (after.children_user + after.children_system - before.children_user - before.children_system) / 3
        lines = len(done.stdout.splitlines())
        print(
            f"{min(seconds):.2f}-{max(seconds):.2f} s, CPU {cpu:.2f} s  {lines:3} lines  {' '.join(question)}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
