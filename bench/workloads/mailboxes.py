"""Local mail: into mailboxes over SMTP, out of them over POP3.

Lives here: deposit and fetch as one journey; fetching one full mailbox.
Does not live here: mail for elsewhere (relay.py).
"""

from __future__ import annotations

import time
from functools import partial

from course import Column, Course, Workload
from load import Load, LoadError, finish, run_program
from meter import Meter, Sample
from server import LOCAL, Server, Setup, box
from workloads.relay import LIMIT, reached


class Local(Workload):
    name = "local"
    title = "Into mailboxes, then all fetched over POP3"
    method = (
        "{boxes} smtp-source at once send {messages} messages of 10 KB to {boxes} mailboxes; when all are in "
        "them, {boxes} POP3 sessions at once (programs/reader.py) fetch and delete everything. The clock runs "
        "from the first connection to the last QUIT. Sent = fetched, octets fetched = octets announced, mailboxes "
        "empty. Postfix delivers by virtual(8) into Maildirs, Dovecot serves them; passwords cost the same on "
        "both sides."
    )
    columns = (
        Column("rate", "messages/s"),
        Column("cpu", "CPU s/1000", 3),
        Column("machine", "machine CPU s/1000", 3),
        Column("flushes", "flushes/message", 2),
        Column("deposited", "in the mailboxes after s", 2),
        Column("fetched", "fetching took s", 2),
    )
    peers = ("glasspost", "postfix+dovecot")
    needs = frozenset({LOCAL})
    boxes = 10

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        messages = course.extent.messages // self.boxes * self.boxes
        with course.servers(self.name, peers, Setup(LOCAL, boxes=self.boxes)) as servers:
            for server in servers:
                course.attempt("warm-up", "local", server.name, partial(self.once, server, self.boxes * 10))
            course.found.pop("warm-up", None)
            for _ in course.rounds:
                for server in servers:
                    course.attempt(self.name, "10 KB", server.name, partial(self.once, server, messages))

    def once(self, server: Server, messages: int) -> Sample:
        meter = Meter(server)
        deposit(server, messages, self.boxes)
        deposited = meter.elapsed()
        found = run_program("reader", LIMIT, server.pop3_port, "--boxes", self.boxes, "--delete")
        sample = meter.read(messages)
        sample.figures |= {"deposited": deposited, "fetched": found["seconds"]}
        left = run_program("reader", LIMIT, server.pop3_port, "--boxes", self.boxes)
        if found["messages"] != messages or found["octets"] != found["announced"] or left["messages"]:
            sample.fault = f"sent {messages}, fetched {found['messages']}, left {left['messages']}"
        return sample


def deposit(server: Server, messages: int, boxes: int, size: int = 10_240) -> None:
    """The same number into each mailbox; returns when all are in them."""
    load = Load(messages // boxes, size, 2, True)
    sources = [load.start(server.port, box(number)) for number in range(1, boxes + 1)]
    for source in sources:
        finish(source, LIMIT)
    if not reached(server.at_rest, LIMIT):
        raise LoadError(f"{server.stored()} messages are not in their mailboxes after {LIMIT:.0f} s")


class Fetch(Workload):
    name = "pop3"
    title = "POP3: a mailbox of 10,000 messages"
    method = (
        "One session signs in, asks STAT and retrieves {box} messages of 10 KB one by one, deleting none. The "
        "mailbox was filled over SMTP and fetched once before. Open: from connecting to the answer to STAT. All "
        "fetched, octets = octets announced."
    )
    columns = (
        Column("rate", "messages/s"),
        Column("mb", "MB/s"),
        Column("cpu", "CPU s/1000", 3),
        Column("machine", "machine CPU s/1000", 3),
        Column("open", "open ms"),
    )
    peers = ("glasspost", "postfix+dovecot")
    needs = frozenset({LOCAL})

    def run(self, course: Course, peers: list[type[Server]]) -> None:
        messages = course.extent.box
        with course.servers(self.name, peers, Setup(LOCAL, boxes=1)) as servers:
            for server in servers:
                finish(Load(messages, 10_240, 20, True).start(server.port, box(1)), LIMIT)
                if not reached(server.at_rest, LIMIT):
                    raise LoadError(f"{server.name}: the mailbox was not filled within {LIMIT:.0f} s")
                run_program("reader", LIMIT, server.pop3_port)
            for _ in course.rounds:
                for server in servers:
                    course.attempt(self.name, "10 KB", server.name, partial(self.once, server, messages))

    def once(self, server: Server, messages: int) -> Sample:
        time.sleep(0.3)
        meter = Meter(server)
        found = run_program("reader", LIMIT, server.pop3_port)
        sample = meter.read(messages)
        rate = messages / found["seconds"]
        sample.figures |= {"rate": rate, "mb": found["octets"] / 1e6 / found["seconds"], "open": 1000 * found["open"]}
        if found["messages"] != messages or found["octets"] != found["announced"]:
            sample.fault = f"{found['messages']} of {messages}, {found['octets']} of {found['announced']} octets"
        return sample
