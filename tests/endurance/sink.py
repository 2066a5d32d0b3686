"""A next hop that keeps a ledger of what it took: a line for each message, its X-Id and its queue id.

A process of its own, so that killing the node does not kill it. It speaks just enough SMTP, and is nobody's model.
"""

import asyncio
import re
import sys
from pathlib import Path


class Sink(asyncio.Protocol):
    def __init__(self, ledger) -> None:
        self.ledger = ledger
        self.buffer = b""
        self.in_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            if self.in_body:
                body, end, rest = self.buffer.partition(b"\r\n.\r\n")
                if not end:
                    return
                self.in_body, self.buffer = False, rest
                one = re.search(rb"^X-Id: (\S+)", body, re.MULTILINE)
                queue_id = re.search(rb"\bid (q\w+)", body)  # from the Received field that the node put on top
                if one and queue_id:
                    self.ledger.write(f"{one[1].decode()} {queue_id[1].decode()}\n")
                    self.ledger.flush()
                self.transport.write(b"250 2.0.0 taken\r\n")
                continue
            line, end, rest = self.buffer.partition(b"\r\n")
            if not end:
                return
            self.buffer = rest
            self.command(line.upper())

    def command(self, line: bytes) -> None:
        if line.startswith(b"EHLO"):
            self.transport.write(b"250-sink.test\r\n250-PIPELINING\r\n250 SIZE 100000000\r\n")
        elif line == b"DATA":
            self.in_body = True
            self.transport.write(b"354 go on\r\n")
        elif line == b"QUIT":
            self.transport.write(b"221 bye\r\n")
            self.transport.close()
        else:
            self.transport.write(b"250 ok\r\n")


async def main(ledger: Path) -> None:
    with ledger.open("a") as file:
        server = await asyncio.get_running_loop().create_server(lambda: Sink(file), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
