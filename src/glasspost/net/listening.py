"""Listening sockets: opened by us, or handed in by whoever started us.

Lives here: binding, taking over the sockets of systemd or of the process before us (sd_listen_fds(3): LISTEN_FDS,
LISTEN_PID, LISTEN_FDNAMES), and handing ours on to the next one.
Does not live here: what is said on the connections (inbound/, retrieval/), when a process is replaced (node/).

A socket that is handed on never closes: while nobody accepts, the kernel keeps who comes in the socket's backlog.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass

FIRST = 3  # the first descriptor that is handed in, by the convention
_OUT_OF_THE_WAY = 100  # descriptors from here on are in nobody's way when the others are put in order
VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@dataclass(slots=True)
class HandedIn:
    """A listening socket that goes from one process to the next. Names need not differ: equals keep their order."""

    name: str
    socket: socket.socket


def open_listener(address: str, port: int, backlog: int) -> socket.socket:
    """A socket that listens. "::" is every IPv6 address, and no IPv4 one. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address, port))
        listening.listen(backlog)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def place_name(role: str, address: str, port: int) -> str:
    """What a listener's socket is called when it is handed on. Colons part names from each other, so none is in it."""
    return f"{role}-{address.replace(':', '_')}-{port}"


class Inheritance:
    """The sockets handed in to this process, each to be taken once; those that nobody takes are closed."""

    def __init__(self, sockets: Iterable[HandedIn] = ()) -> None:
        self._left = list(sockets)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Inheritance:
        """What LISTEN_FDS names, if it is meant for this process. The variables are taken out: no child is to believe
        that they are for it."""
        said = {name: environ.pop(name, "") for name in VARIABLES}
        if said["LISTEN_PID"] != str(os.getpid()) or not said["LISTEN_FDS"].isdecimal():
            return cls()
        count = int(said["LISTEN_FDS"])
        names = said["LISTEN_FDNAMES"].split(":") if said["LISTEN_FDNAMES"] else []
        sockets = []
        for position in range(count):
            descriptor = FIRST + position
            os.set_inheritable(descriptor, False)
            listening = socket.socket(fileno=descriptor)
            listening.setblocking(False)
            sockets.append(HandedIn(names[position] if position < len(names) else "", listening))
        return cls(sockets)

    def take(self, name: str, role: str, address: str, port: int) -> socket.socket | None:
        """The socket for a listener: the one with its name, the one its predecessor had, or the one that is bound to
        its place. None: there is none, open one."""
        found = (
            (name and self._named(name))
            or self._named(place_name(role, address, port))
            or (port and self._bound_to(address, port))
        )
        if not found:
            return None
        self._left.remove(found)
        return found.socket

    def close(self) -> list[str]:
        """Close what nobody took; their names or places."""
        spare = [one.name or str(one.socket.getsockname()) for one in self._left]
        for one in self._left:
            one.socket.close()
        self._left.clear()
        return spare

    def _named(self, name: str) -> HandedIn | None:
        return next((one for one in self._left if one.name == name), None)

    def _bound_to(self, address: str, port: int) -> HandedIn | None:
        for one in self._left:
            place = one.socket.getsockname()
            if isinstance(place, tuple) and (place[0], place[1]) == (address, port):
                return one
        return None


def hand_on(sockets: Sequence[HandedIn], environ: MutableMapping[str, str]) -> None:
    """Put the sockets where the next program of this process expects them, and say so in its environment. Nothing but
    exec may follow: whatever had these descriptors has lost them."""
    copies = [fcntl.fcntl(one.socket.fileno(), fcntl.F_DUPFD, _OUT_OF_THE_WAY) for one in sockets]
    for position, copy in enumerate(copies):
        os.dup2(copy, FIRST + position, inheritable=True)
        os.close(copy)
    environ.update(
        LISTEN_FDS=str(len(copies)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=":".join(one.name for one in sockets)
    )
