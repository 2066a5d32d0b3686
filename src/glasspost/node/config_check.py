"""Trying out what the configuration names: ports, data folder, store, certificates, password files, explanations.

Lives here: what can only be known by opening it. Everything is tried, and everything found is told.
Does not live here: whether the settings themselves are right (config.py). Nothing here changes what it tries: a port
is bound and let go, the data folder is written into and cleaned up.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import apsw
from cryptography import x509

from glasspost.clock import Clock
from glasspost.errors import ConfigurationError, Problem, StoreError
from glasspost.explain.shelf import own_cards
from glasspost.inbound.hook_script import HooksBroken, load_script
from glasspost.inbound.rules import Rules
from glasspost.net.old_tls import old_server_context
from glasspost.node.certificates import SELF_SIGNED, is_self_signed
from glasspost.node.config import Reading, Steps
from glasspost.node.permissions import check_folder, open_secrets
from glasspost.node.privileges import identity
from glasspost.node.secret_sources import first_line
from glasspost.node.settings import Config, Listener
from glasspost.storage.folder import Folder
from glasspost.storage.sqlite import open_connection

_SQLITE_MARK = b"SQLite format 3\0"


def findings(reading: Reading, clock: Clock, *, ports: bool = True) -> list[Problem]:
    """Everything that would stop a node from working with this configuration; empty where all is well.

    `ports` false leaves the ports alone: for a configuration whose node runs, and holds them.
    """
    found: list[Problem] = []
    if ports:
        found += _ports(reading)
    found += _data(reading)
    found += _user(reading)
    found += open_secrets(reading)
    found += _certificates(reading, clock)
    found += _smarthosts(reading)
    found += _oauth_clients(reading)
    found += _destinations(reading)
    found += _devices(reading)
    found += _source_addresses(reading)
    found += _explanations(reading)
    found += _hooks(reading)
    found += _rules(reading, clock)
    return found


# --- ports --------------------------------------------------------------------------------------------------------


def _ports(reading: Reading) -> Iterator[Problem]:
    held: list[socket.socket] = []
    try:
        for number, listener in enumerate(reading.config.listener):
            try:
                held.append(_bound(listener.address, listener.port))
            except OSError as error:
                key, reason = _why_not(listener, error)
                yield reading.problem(("listener", number, key), reason)
    finally:
        for each in held:
            each.close()


def _bound(address: str, port: int) -> socket.socket:
    """A socket bound as a listener binds it. Held until all are tried, so that two listeners cannot pass with one
    port: "0.0.0.0" takes it from every other address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address, port))
        # Two sockets may be bound to one port by SO_REUSEADDR alone; only one of them can listen.
        listening.listen(1)
    except OSError:
        listening.close()
        raise
    return listening


def _why_not(listener: Listener, error: OSError) -> tuple[str, str]:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                "port",
                f"Port {listener.port} on {listener.address} is taken already; if by this node, say --running.",
            )
        case errno.EACCES:
            return "port", f"Port {listener.port} needs the right to bind ports below 1024."
        case errno.EADDRNOTAVAIL:
            return "address", f"This machine has no address {listener.address}."
        case _:
            return "port", f"Port {listener.port} on {listener.address} cannot be used: {_told(error)}."


def _source_addresses(reading: Reading) -> Iterator[Problem]:
    for key in ("source_ipv4", "source_ipv6"):
        address = getattr(reading.config.relay, key)
        if not address:
            continue
        try:
            _bound(address, 0).close()
        except OSError as error:
            reason = "This machine has no such address." if error.errno == errno.EADDRNOTAVAIL else _told(error)
            yield reading.problem(("relay", key), f"{address}: {reason}")


def _explanations(reading: Reading) -> Iterator[Problem]:
    """The operator's own entries can be read."""
    folder = reading.config.explain.folder
    if folder is None:
        return
    if not folder.is_dir():
        yield reading.problem(("explain", "folder"), f"{folder} is no folder.")
        return
    try:
        list(own_cards([folder]))
    except ConfigurationError as error:
        yield from error.problems


def _hooks(reading: Reading) -> Iterator[Problem]:
    """The hooks file can be run. It is run once: what it does at its top level is done."""
    file = reading.config.hooks.file
    try:
        if file is not None:
            load_script(file)
    except HooksBroken as error:
        yield reading.problem(("hooks", "file"), f"{error}.")


def _rules(reading: Reading, clock: Clock) -> Iterator[Problem]:
    """The rules about clients, senders and recipients can be read."""
    checks = reading.config.checks
    try:
        Rules(checks.known, checks.rules, checks.rule_files, clock)
    except ConfigurationError as error:
        for one in error.problems:
            yield one if one.key == "checks.rule_files" else reading.problem(("checks", "rules"), one.reason)


# --- data folder and store ----------------------------------------------------------------------------------------


def _data(reading: Reading) -> Iterator[Problem]:
    """The folder takes files, a database can be made in it, and those that are there open."""
    folder = reading.config.node.data
    steps = ("node", "data")
    if not folder.exists():
        # The first start makes it: what counts is whether it could.
        above = next(parent for parent in folder.absolute().parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            yield reading.problem(steps, f"{folder} does not exist, and cannot be made in {above}.")
        return
    try:
        with tempfile.TemporaryDirectory(prefix=".config-check-", dir=folder) as room:
            _try_store(Path(room) / "store")
    except StoreError as error:
        yield reading.problem(steps, f"No store can be kept in {folder}: {error}.")
    except OSError as error:
        yield reading.problem(steps, f"{folder} cannot be written to: {_told(error)}.")
        return
    for path in sorted(folder.iterdir()):
        try:
            if _is_store(path):
                _try_store(path)
        except StoreError as error:
            yield reading.problem(steps, f"The store does not open: {error}.")
        except OSError as error:
            yield reading.problem(steps, f"{path} cannot be read: {_told(error)}.")


def _user(reading: Reading) -> Iterator[Problem]:
    """There is such a user, and nobody else on this machine may read the mail."""
    node = reading.config.node
    try:
        if node.user:
            identity(node.user, node.group)
    except ConfigurationError as error:
        for problem in error.problems:
            yield reading.problem(("node", problem.key.removeprefix("node.")), problem.reason)
    try:
        check_folder(Folder(node.data))
    except StoreError as error:
        yield reading.problem(("node", "data"), f"{error}.")


def _is_store(path: Path) -> bool:
    """A database by its first octets, or by its name where the first octets are gone."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        mark = file.read(len(_SQLITE_MARK))
    return mark == _SQLITE_MARK or (path.suffix in (".db", ".sqlite", ".sqlite3") and mark != b"")


def _try_store(path: Path) -> None:
    """Open it as a node does, read its schema, and see that it can be written. Raises StoreError."""
    connection = open_connection(path, durable=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from None
    finally:
        connection.close()


# --- certificates and secrets -------------------------------------------------------------------------------------


def notices(config: Config) -> list[str]:
    """What a node works with all the same, and what its postmaster should know of."""
    return [SELF_SIGNED] if is_self_signed(config) else []


def _certificates(reading: Reading, clock: Clock) -> Iterator[Problem]:
    config = reading.config
    yield from _certificate(reading, ("tls",), config.tls.certificate, config.tls.key, clock)
    for number, one in enumerate(config.certificate):
        yield from _certificate(reading, ("certificate", number), one.certificate, one.key, clock)


def _certificate(
    reading: Reading, steps: Steps, shown: Path | None, key: Path | None, clock: Clock
) -> Iterator[Problem]:
    if shown is None or key is None:
        return  # a self-signed one is made at the first start
    unread = [
        reading.problem((*steps, setting), f"{path} cannot be read: {reason}.")
        for setting, path in (("certificate", shown), ("key", key))
        if (reason := _unreadable(path))
    ]
    yield from unread
    if unread:
        return
    try:
        chain = x509.load_pem_x509_certificates(shown.read_bytes())
    except ValueError:
        yield reading.problem((*steps, "certificate"), f"{shown} has no certificate in PEM form.")
        return
    yield from _dates(reading, (*steps, "certificate"), chain[0], clock)
    try:
        # An empty passphrase, because OpenSSL would otherwise ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(shown, key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield reading.problem((*steps, "key"), f"{key} is not the key of {shown}.")
        else:
            yield reading.problem((*steps, "key"), f"{key} has no usable private key (PEM, no passphrase).")


def _dates(reading: Reading, steps: Steps, certificate: x509.Certificate, clock: Clock) -> Iterator[Problem]:
    now = clock.now()
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if now > ends.timestamp():
        yield reading.problem(steps, f"The certificate expired on {_day(ends)}.")
    if now < begins.timestamp():
        yield reading.problem(steps, f"The certificate is not valid before {_day(begins)}.")


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _smarthosts(reading: Reading) -> Iterator[Problem]:
    for number, smarthost in enumerate(reading.config.smarthost):
        steps = ("smarthost", number)
        yield from _password_file(reading, (*steps, "password_file"), smarthost.password_file)
        yield from _authorities(reading, (*steps, "ca_file"), smarthost.ca_file)


def _oauth_clients(reading: Reading) -> Iterator[Problem]:
    for number, one in enumerate(reading.config.oauth_client):
        yield from _password_file(reading, ("oauth_client", number, "client_secret_file"), one.client_secret_file)


def _destinations(reading: Reading) -> Iterator[Problem]:
    for number, destination in enumerate(reading.config.destination):
        yield from _authorities(reading, ("destination", number, "ca_file"), destination.ca_file)


def _authorities(reading: Reading, steps: Steps, ca_file: Path | None) -> Iterator[Problem]:
    if ca_file is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        yield reading.problem(steps, f"{ca_file} has no certificate in PEM form.")
    except OSError as error:
        yield reading.problem(steps, f"{ca_file} cannot be read: {_told(error)}.")


def _devices(reading: Reading) -> Iterator[Problem]:
    """The bridge's certificate, and the devices' password files."""
    config = reading.config
    try:
        if config.bridge.certificate is not None and config.bridge.key is not None:
            old_server_context(config.bridge.certificate, config.bridge.key)
    except ConfigurationError as error:
        yield from (reading.problem(("bridge", "certificate"), problem.reason) for problem in error.problems)
    for number, device in enumerate(config.device):
        yield from _password_file(reading, ("device", number, "password_file"), device.password_file)


def _password_file(reading: Reading, steps: tuple[str | int, ...], path: Path | None) -> Iterator[Problem]:
    if path is None:
        return
    try:
        first_line(path)
    except OSError as error:
        yield reading.problem(steps, f"{path} cannot be read: {_told(error)}.")
    except UnicodeDecodeError:
        yield reading.problem(steps, f"{path} is not UTF-8 text.")
    except ValueError as error:
        yield reading.problem(steps, str(error))


def _unreadable(path: Path) -> str:
    """Why the file cannot be read; empty where it can."""
    try:
        path.open("rb").close()
    except OSError as error:
        return _told(error)
    return ""


def _told(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
