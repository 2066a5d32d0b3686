"""What an idle TLS connection costs in memory, beside the same connection in the clear.

    python bench/tls_memory.py [--connections 500]

A node of its own for each way; its memory (PSS) is weighed without and with the connections, each of which has said
EHLO, or CAPA. A first hundred connections come and go before, so that what a node needs once is not counted.

Lives here: the node's configuration, the connections, and the division.
Does not live here: weighing (processes.py).
"""

from __future__ import annotations

import argparse
import gc
import resource
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from load import free_port, wait_for_greeting
from processes import Tree

_GLASSPOST = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "glasspost"
_CONFIG = """\
[node]
hostname = "bench.test"
data = "{data}"
[smtp]
max_connections_per_address = 0
[[listener]]
role = "mx"
port = {mx}
[[listener]]
role = "submission"
port = {submission}
tls = "implicit"
"""
_LIMIT = 20.0  # KB


def _hello(line: socket.socket, greeted: bool = False) -> None:
    if not greeted:
        line.recv(4096)
    line.sendall(b"EHLO client.test\r\n")
    said = b""
    while b"250 HELP" not in said:
        said += line.recv(4096)


def clear(ports: dict[str, int], context: ssl.SSLContext) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", ports["mx"]), 30)
    _hello(line)
    return line


def starttls(ports: dict[str, int], context: ssl.SSLContext) -> socket.socket:
    line = clear(ports, context)
    line.sendall(b"STARTTLS\r\n")
    line.recv(4096)
    secured = context.wrap_socket(line)
    _hello(secured, greeted=True)
    return secured


def implicit(ports: dict[str, int], context: ssl.SSLContext) -> socket.socket:
    secured = context.wrap_socket(socket.create_connection(("127.0.0.1", ports["submission"]), 30))
    _hello(secured)
    return secured


Way = Callable[[dict[str, int], ssl.SSLContext], socket.socket]


def kilobytes(way: Way, count: int, folder: Path) -> float:
    """What one of `count` idle connections costs a node, in KB of 1024 octets."""
    ports = {"mx": free_port(), "submission": free_port()}
    config = folder / f"{way.__name__}.toml"
    config.write_text(_CONFIG.format(data=folder / way.__name__, **ports))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    node = Tree([str(_GLASSPOST), "serve", "--config", str(config)], folder / f"{way.__name__}.log")
    try:
        wait_for_greeting(ports["mx"], 30)
        with ExitStack() as held:
            for _ in range(100):
                held.enter_context(way(ports, context))
        before, _ = node.memory()
        with ExitStack() as held:
            for _ in range(count):
                held.enter_context(way(ports, context))
            after, _ = node.memory()
        return (after - before) * 1024 / count
    finally:
        node.stop()
        gc.collect()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--connections", type=int, default=500)
    count = parser.parse_args().connections
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        cost = {way.__name__: kilobytes(way, count, Path(folder)) for way in (clear, starttls, implicit)}
    for name, kb in cost.items():
        print(f"{name:<9}{kb:6.1f} KB a connection")
    tls = max(cost["starttls"], cost["implicit"]) - cost["clear"]
    print(f"TLS itself {tls:.1f} KB; the limit is {_LIMIT:.0f}")
    return 0 if tls <= _LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
