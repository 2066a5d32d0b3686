"""`glasspost serve`: run a node in the foreground.

Lives here: signals, what the node can be asked for (reload, restart, status), the event loop, logging, the banner.
Does not live here: the node (node/node.py), asking it (process.py).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from glasspost import __version__
from glasspost.cli.output import to_nobody
from glasspost.errors import ConfigurationError, GlasspostError, StoreBroken
from glasspost.node.supervisor import READY, STOPPING, reloading, tell_supervisor

if TYPE_CHECKING:
    from glasspost.node.control import Answer
    from glasspost.node.node import Node
    from glasspost.node.settings import Config

# How long a busy loop thread keeps the interpreter from the writer. Python's 5 ms count for each statement of a commit.
SWITCH_SECONDS = 0.0005


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The configuration file (TOML); none: the defaults.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="The data folder; goes before the configuration's.")
    ] = None,
) -> None:
    """Run a node: take mail, pass it on, hand it out. Ctrl-C stops it gracefully, SIGHUP reloads its configuration."""
    source = Source(config, data)
    settings = source.read()
    os.umask(0o077)
    import uvloop

    from glasspost.net.listening import Inheritance
    from glasspost.net.tls import keep_large_buffers_apart
    from glasspost.node.node import Node
    from glasspost.node.succession import become_the_next

    keep_large_buffers_apart()
    sys.setswitchinterval(SWITCH_SECONDS)
    node = Node(settings, inheritance=Inheritance.from_environment(os.environ))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        replaced = runner.run(_run(node, source))
    if replaced:
        become_the_next(node.sockets())


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from, now and at each reload."""

    file: Path | None
    data: Path | None

    def read(self) -> Config:
        """The configuration as it stands now. Raises ConfigurationError, also where everybody can read its secrets."""
        from glasspost.node.config import read
        from glasspost.node.permissions import open_secrets

        reading = read(self.file, os.environ)
        loose = open_secrets(reading)
        if loose:
            raise ConfigurationError(loose)
        config = reading.config.with_data(self.data)
        _log_to_stderr(config.node.log_level)
        return config

    def options(self) -> list[str]:
        """The same, as options of a command."""
        found = []
        for name, path in (("--config", self.file), ("--data", self.data)):
            found += [name, str(path)] if path is not None else []
        return found


def _offer(node: Node, source: Source, replace: asyncio.Event) -> None:
    """What the node can be asked for while it runs."""
    from glasspost.node.succession import try_out

    async def reload(_: Answer) -> Answer:
        return node.take(source.read())

    async def restart(_: Answer) -> Answer:
        await try_out(source.options())
        replace.set()
        return {"life": node.life, "drain": node.config.node.drain}

    async def status(_: Answer) -> Answer:
        return {"life": node.life, "pid": os.getpid(), "version": __version__}

    node.control.offer("reload", reload)
    node.control.offer("restart", restart)
    node.control.offer("status", status)


def _reload(node: Node, source: Source) -> None:
    """SIGHUP. What is wrong goes to the log, and nothing has changed then."""
    import structlog

    tell_supervisor(reloading())
    try:
        node.take(source.read())
    except GlasspostError as error:
        structlog.get_logger("node").error("not reloaded, everything is as before", why=str(error).splitlines())
    tell_supervisor(READY)


async def _run(node: Node, source: Source) -> bool:
    """Until the node has stopped. Returns whether another is to take its place."""
    stop, replace = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(_note_loop_trouble)
    _offer(node, source, replace)
    await node.start()
    loop.add_signal_handler(signal.SIGHUP, _reload, node, source)
    # What start-up made stays; what a message makes dies by reference count. Cycles are rare: look for them rarely.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    _say(banner(node))
    tell_supervisor(READY)
    ends = [loop.create_task(event.wait()) for event in (node.broken, stop, replace)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    if node.broken.is_set():
        raise StoreBroken("the store cannot be trusted any more; see the log, check the disk, and start again")
    if stop.is_set():
        tell_supervisor(STOPPING)
        _say("glasspost is closing; mail under way is finished first.")
        await node.stop()
        return False
    _say("glasspost makes room for its successor; mail under way is finished first.")
    await node.stop(keep_sockets=True)
    return not stop.is_set()  # who says stop meanwhile means it


def _say(text: str) -> None:
    """A line for whoever watches. A full disk, or a reader who is gone, is no reason to stop: it is said to nobody."""
    try:
        print(text, flush=True)
    except OSError:
        to_nobody(sys.stdout)


class _Steady:
    """stderr for log lines: one that cannot be written, because the log lies on a disk that is full, is lost, and
    nothing else with it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


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
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Steady(sys.stderr))),
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
