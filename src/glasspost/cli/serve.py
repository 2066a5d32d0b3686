"""`glasspost serve`: run a node in the foreground.

Lives here: signals, the event loop, logging, the banner.
Does not live here: the node (node/node.py).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasspost.errors import StoreBroken

if TYPE_CHECKING:
    from glasspost.node.node import Node


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The configuration file (TOML); none: the defaults.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="The data folder; goes before the configuration's.")
    ] = None,
) -> None:
    """Run a node: take mail, pass it on, hand it out. Ctrl-C stops it gracefully."""
    from glasspost.node.config import load

    settings = load(config, os.environ).with_data(data)
    _log_to_stderr(settings.node.log_level)
    import uvloop

    from glasspost.net.tls import keep_large_buffers_apart
    from glasspost.node.node import Node

    keep_large_buffers_apart()
    node = Node(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(node))


async def _run(node: Node) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(_note_loop_trouble)
    await node.start()
    # What start-up made stays; what a message makes dies by reference count. Cycles are rare: look for them rarely.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    print(banner(node), flush=True)
    broken = loop.create_task(node.broken.wait())
    stopping = loop.create_task(stop.wait())
    await asyncio.wait({broken, stopping}, return_when=asyncio.FIRST_COMPLETED)
    broken.cancel()
    stopping.cancel()
    if node.broken.is_set():
        raise StoreBroken("the store cannot be trusted any more; see the log, check the disk, and start again")
    print("glasspost is closing; mail under way is finished first.", flush=True)
    await node.stop()


def banner(node: Node) -> str:
    """What a newcomer needs to know, with three commands to copy."""
    doors = {door.role: door for door in node.doors}
    lines = ["glasspost is ready."]
    lines += [f"  {door.role:<11}{door.address}:{door.port}" for door in node.doors]
    data = node.folder.path
    mx, pop3 = doors.get("mx"), doors.get("pop3")
    if mx is not None and pop3 is not None:
        program = Path(sys.argv[0])
        name = str(program) if program.parent.name != "bin" or ".venv" in program.parts else program.name
        name = os.path.relpath(name) if ".venv" in program.parts else name
        lines += [
            "",
            "Try it, in another terminal: add an account, send it a message, fetch the message.",
            f"  echo secret | {name} account add alice@example.test --password-stdin --data {data}",
            f"  printf 'From: bob@example.net\\r\\nSubject: hello\\r\\n\\r\\nIt works.\\r\\n' | curl -sS "
            f"smtp://127.0.0.1:{mx.port}/client.test --mail-from bob@example.net "
            "--mail-rcpt alice@example.test -T -",
            f"  curl -sS -u alice@example.test:secret pop3://127.0.0.1:{pop3.port}/1",
            "",
            f"And look through the glass: {name} conversations list --data {data}",
        ]
    return "\n".join([*lines, "Ctrl-C stops it."])


def _log_to_stderr(level: str) -> None:
    """Log lines on stderr: for people on a terminal, as JSON elsewhere.

    A crash is told with its calls, never with the values in them: a password may be among those.
    """
    import logging

    import structlog

    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if not terminal else structlog.dev.set_exc_info,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if terminal
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _note_loop_trouble(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What the loop complains about: strangers' broken handshakes and port scans are no news, the rest is."""
    import ssl

    import structlog

    error = context.get("exception")
    if isinstance(error, (ssl.SSLError, ConnectionError, TimeoutError)):
        return
    structlog.get_logger("loop").error(
        str(context.get("message")), exc_info=error if isinstance(error, BaseException) else None
    )
