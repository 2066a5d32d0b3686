"""aiosmtpd on uvloop, taking everything and keeping nothing.

    python black_hole.py PORT FILE [CERTIFICATE KEY]

Lives here: the smallest program one can write with aiosmtpd; how many messages it has taken stands in FILE.
Does not live here: what it is compared with (peers/aiosmtpd.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import sys
from typing import Any

from aiosmtpd.smtp import SMTP


class Counting:
    """aiosmtpd's handler: 250 for everything."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._count = 0
        os.pwrite(self._file, b"0", 0)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self._count += 1
        os.pwrite(self._file, b"%d" % self._count, 0)
        return "250 OK"


async def main() -> None:
    port, path, identity = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    handler = Counting(path)
    context = None
    if identity:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*identity)
    loop = asyncio.get_running_loop()

    def visit() -> SMTP:
        return SMTP(
            handler, hostname="bench.test", ident="bench", data_size_limit=52_428_800, loop=loop, tls_context=context
        )

    server = await loop.create_server(visit, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    try:
        import uvloop as runner
    except ImportError:
        runner = asyncio
    runner.run(main())
