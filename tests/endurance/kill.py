"""Kill a busy node again and again, and see whether anything it acknowledged is missing.

    python tests/endurance/kill.py --kills 200

A real node under load: half of the mail goes into a local mailbox, half on to a next hop that keeps a ledger. The
node is ended by SIGKILL at random moments and started anew. In the end it is left to finish, and the account is made:
every message with a 250 is found, in the mailbox exactly once, at the next hop once, or more than once only where the
node itself recorded a doubt.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
GLASSPOST = Path(sys.executable).with_name("glasspost")

_CONFIG = """
[node]
hostname = "node.test"
drain = "5 s"
[[listener]]
role = "mx"
port = {port}
[smtp]
relay_domains = ["away.test"]
max_connections_per_address = 0
[relay]
schedule = ["1 s"]
[[smarthost]]
host = "127.0.0.1"
port = {sink}
tls = "none"
"""


@dataclass
class Account:
    """What was promised and what was found."""

    kills: int = 0
    acknowledged: list[str] = field(default_factory=list)
    mailbox: Counter[str] = field(default_factory=Counter)
    next_hop: Counter[str] = field(default_factory=Counter)
    doubtful: set[str] = field(default_factory=set)
    still_queued: int = 0

    @property
    def missing(self) -> list[str]:
        return [one for one in self.acknowledged if not (self.mailbox[one] or self.next_hop[one])]

    @property
    def doubled_in_mailbox(self) -> list[str]:
        return [one for one, count in self.mailbox.items() if count > 1]

    @property
    def doubled_without_doubt(self) -> list[str]:
        return [one for one, count in self.next_hop.items() if count > 1 and one not in self.doubtful]

    @property
    def balances(self) -> bool:
        return not (self.missing or self.doubled_in_mailbox or self.doubled_without_doubt or self.still_queued)

    def __str__(self) -> str:
        doubled = sum(count > 1 for count in self.next_hop.values())
        return "\n".join(
            [
                f"kills                        {self.kills:>8}",
                f"acknowledged (250)           {len(self.acknowledged):>8}",
                f"found in the mailbox         {sum(self.mailbox.values()):>8}",
                f"found at the next hop        {len(self.next_hop):>8}",
                f"  of these more than once    {doubled:>8}",
                f"  of these without a doubt   {len(self.doubled_without_doubt):>8}",
                f"doubled in the mailbox       {len(self.doubled_in_mailbox):>8}",
                f"still queued                 {self.still_queued:>8}",
                f"MISSING                      {len(self.missing):>8}",
            ]
        )


class Node:
    """The node under test, as a process."""

    def __init__(self, folder: Path, sink_port: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.data = folder / "data"
        self.config = folder / "node.toml"
        self.config.write_text(_CONFIG.format(port=self.port, sink=sink_port))
        self.log = (folder / "node.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [GLASSPOST, "serve", "--config", self.config, "--data", self.data]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError("the node did not start; see node.log") from None
                time.sleep(0.01)
        raise RuntimeError("the node did not open its port in 20 s")

    def end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)

    def tell(self, *words: str, secret: str = "") -> str:
        command = [GLASSPOST, *words, "--data", self.data]
        return subprocess.run(command, input=secret, text=True, capture_output=True, check=True, timeout=60).stdout


class Load(threading.Thread):
    """One client that sends as fast as it is answered, and connects anew whenever it is cut off."""

    def __init__(self, name: str, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.name, self.port, self.stop = name, port, stop
        self.acknowledged: list[str] = []

    def run(self) -> None:
        count = 0
        while not self.stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                    stream = connection.makefile("rwb")
                    self._expect(stream, None, b"220")
                    self._expect(stream, b"HELO load.test", b"250")
                    while not self.stop.is_set():
                        count += 1
                        self._send(stream, f"{self.name}-{count}", "here" if count % 2 else "away")
            except (OSError, EOFError):
                time.sleep(0.01)

    def _send(self, stream, one: str, where: str) -> None:
        self._expect(stream, b"MAIL FROM:<load@load.test>", b"250")
        self._expect(stream, b"RCPT TO:<box@%s.test>" % where.encode(), b"250")
        self._expect(stream, b"DATA", b"354")
        body = f"X-Id: {one}\r\nSubject: load\r\n\r\n" + "some text\r\n" * random.randint(1, 400) + "."
        self._expect(stream, body.encode(), b"250")
        self.acknowledged.append(one)

    @staticmethod
    def _expect(stream, line: bytes | None, code: bytes) -> None:
        if line is not None:
            stream.write(line + b"\r\n")
            stream.flush()
        answer = stream.readline()
        if not answer.startswith(code):
            raise EOFError(answer)


def run(kills: int, folder: Path, clients: int = 8, seed: int = 0) -> Account:
    """Do it, and make the account."""
    chance = random.Random(seed)
    ledger = folder / "ledger"
    sink = subprocess.Popen([sys.executable, HERE / "sink.py", ledger], stdout=subprocess.PIPE, text=True)
    stop = threading.Event()
    account = Account()
    try:
        assert sink.stdout is not None
        node = Node(folder, int(sink.stdout.readline()))
        node.start()
        node.tell("account", "add", "box@here.test", "--password-stdin", secret="secret\n")
        loads = [Load(f"client{number}", node.port, stop) for number in range(clients)]
        for load in loads:
            load.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.02, 0.6))
            node.end(signal.SIGKILL)
            account.kills += 1
            node.start()
        stop.set()
        for load in loads:
            load.join(30)
        _drain(node, account)
        node.end(signal.SIGTERM)
        account.acknowledged = [one for load in loads for one in load.acknowledged]
        _count(node, ledger, account)
    finally:
        stop.set()
        sink.kill()
        sink.wait()
        if "node" in locals() and node.process is not None and node.process.poll() is None:
            node.process.kill()
            node.process.wait()
    return account


def _drain(node: Node, account: Account) -> None:
    """Wait until the queue is empty, at most two minutes."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        account.still_queued = len(json.loads(node.tell("queue", "list", "--json")))
        if not account.still_queued:
            return
        time.sleep(0.3)


def _count(node: Node, ledger: Path, account: Account) -> None:
    taken = [line.split() for line in ledger.read_text().splitlines()]
    account.next_hop = Counter(one for one, _ in taken)
    export = node.data.parent / "export"
    node.tell("mailbox", "export", "box@here.test", "--format", "eml", "--to", str(export))
    for message in export.iterdir():
        account.mailbox[_id_in(message.read_bytes())] += 1
    doubted = {doubt["queue_id"] for doubt in json.loads(node.tell("queue", "doubts", "--json"))}
    account.doubtful = {one for one, queue_id in taken if queue_id in doubted}


def _id_in(message: bytes) -> str:
    for line in message.split(b"\r\n"):
        if line.startswith(b"X-Id: "):
            return line[6:].decode()
    return "?"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    with tempfile.TemporaryDirectory(prefix="glasspost-kill-", dir="/var/tmp") as folder:
        account = run(options.kills, Path(folder), seed=options.seed)
    print(f"seed {options.seed}\n{account}")
    return 0 if account.balances else 1


if __name__ == "__main__":
    sys.exit(main())
