"""One program after the other in one process: a restart that refuses nobody.

Lives here: trying the new program's configuration before the old one stops, and becoming the new one.
Does not live here: stopping (node.py), sockets (net/listening.py), who asks (cli/serve.py).

The process stays, so its supervisor keeps it; the program is replaced by exec, so an upgrade takes effect. The order:
the new program reads and tries the configuration while the old one works; the old one accepts nobody more, finishes
what is under way, puts the rest back, closes the store and gives the folder's lock back; only then the new one begins,
with the old one's listening sockets. Whoever calls meanwhile waits in the kernel's backlog until the new one greets.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from glasspost.errors import GlasspostError
from glasspost.net.listening import HandedIn, hand_on

_PATIENCE = 60.0  # seconds for the new program to look at its configuration


async def try_out(options: Sequence[str]) -> None:
    """Have the program, as it is on the disk now, look at the configuration. `options` are those of `serve`. Raises
    GlasspostError with what it says, where it says anything."""
    program = "from glasspost.cli.main import run; run()"
    trial = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, "config", "check", "--running", *options,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_PATIENCE):
            said, _ = await trial.communicate()
    except TimeoutError:
        trial.kill()
        raise GlasspostError("not restarted: the new program did not come to an end with its configuration") from None
    if trial.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or [f"it ended with {trial.returncode}"]
        raise GlasspostError("\n".join(["not restarted, the node goes on as it is:", *lines[-20:]]))


def become_the_next(sockets: Sequence[HandedIn]) -> NoReturn:
    """Replace this program by itself, as it is on the disk now, with the same command line. Does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Until the next program listens for signals: a reload must not kill it, and a stop may.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hand_on(sockets, os.environ)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ)
