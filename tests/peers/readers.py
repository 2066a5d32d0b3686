"""fetchmail and mpop: two programs that fetch mail over POP3 and put it into files.

Lives here: their configuration, one run over any number of mailboxes, the messages they wrote.
Does not live here: what is expected of them (test_fetch.py, test_postfix_sender.py).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from node_process import PASSWORD

Reader = Callable[..., list[bytes]]


def fetchmail(
    program: str, folder: Path, port: int, addresses: Iterable[str], *, tls: bool = False, keep: bool = False
) -> list[bytes]:
    """One poll of all these mailboxes. The messages as fetchmail hands them to a delivery agent, with CRLF."""
    inbox = folder / "inbox"
    inbox.mkdir(exist_ok=True)
    agent = folder / "agent"
    agent.write_text(f'#!/bin/sh\nexec cat >"$(mktemp {inbox}/XXXXXXXX)"\n')
    agent.chmod(0o700)
    # `invisible` and `no rewrite`: nothing of its own on top, nothing changed below.
    options = f'{"keep" if keep else "nokeep"} fetchall no rewrite forcecr mda "{agent}" '
    # Certificates of a first start cannot be verified; without TLS it must not try.
    options += "sslproto TLS1.2+ no sslcertck" if tls else 'sslproto ""'
    users = "\n".join(f'  user "{address}" there with password "{PASSWORD}" options {options}' for address in addresses)
    rc = folder / "fetchmailrc"
    server = f"poll 127.0.0.1 protocol pop3 service {port} auth password no dns:"
    rc.write_text(f"set no bouncemail\nset invisible\n{server}\n{users}\n")
    rc.chmod(0o600)
    # 1: there was no mail in one of them.
    _run([program, "--nodetach", "--fetchmailrc", rc], folder, {"FETCHMAILHOME": str(folder)}, (0, 1))
    return _take(inbox)


def mpop(
    program: str, folder: Path, port: int, addresses: Iterable[str], *, tls: bool = False, keep: bool = False
) -> list[bytes]:
    """One poll of all these mailboxes, pipelined. The messages as mpop puts them into a Maildir, with LF."""
    maildir = folder / "maildir"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True, exist_ok=True)
    accounts = "".join(f"account a{n}\nuser {address}\n" for n, address in enumerate(addresses))
    conf = folder / "mpoprc"
    conf.write_text(
        f"defaults\nhost 127.0.0.1\nport {port}\npassword {PASSWORD}\nauth user\nkeep {'on' if keep else 'off'}\n"
        + ("tls on\ntls_starttls on\ntls_certcheck off\n" if tls else "tls off\n")
        + f"uidls_file {folder}/uidls\nreceived_header off\ndelivery maildir {maildir}\n{accounts}"
    )
    conf.chmod(0o600)
    _run([program, "--file", conf, "--all-accounts"], folder, {}, (0,))
    return _take(maildir / "new")


def _run(command: list[str | Path], folder: Path, more: dict[str, str], expect: tuple[int, ...]) -> None:
    environment = {**os.environ, "HOME": str(folder), "LC_ALL": "C.UTF-8", **more}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode in expect, f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"


def _take(folder: Path) -> list[bytes]:
    """What was written, each message once."""
    messages = []
    for path in folder.iterdir():
        messages.append(path.read_bytes())
        path.unlink()
    return messages
