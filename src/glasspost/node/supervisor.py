"""Telling systemd how it stands (sd_notify(3)).

Lives here: one datagram at a time to NOTIFY_SOCKET. Where nobody supervises, nothing is said.
Does not live here: when something is to be told (cli/serve.py).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"


def reloading() -> str:
    """That a reload begins; READY says that it is over."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def tell_supervisor(what: str, environ: Mapping[str, str] = os.environ) -> None:
    """Never raises: a supervisor that does not listen is no reason to stop."""
    place = environ.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagrams:
            datagrams.connect("\0" + place[1:] if place.startswith("@") else place)
            datagrams.send(what.encode())
    except OSError:
        pass
