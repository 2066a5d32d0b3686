"""Sign-in exchanges, server's side: PLAIN and LOGIN.

Lives here: what the client's base64 lines mean, step by step (RFC 4616; draft-murchison-sasl-login for LOGIN).
Does not live here: whether a password is right (storage/accounts.py), how the lines travel (smtp_server, pop3_server).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field

LINE_LIMIT = 12_288  # RFC 4954 §4: the longest base64 line that must be taken


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client signs in with. `password` is kept out of `repr`, and so out of logs and tracebacks."""

    mechanism: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server says next, already base64."""

    text: str


class Malformed(Exception):
    """The client's line is not what the mechanism says. `base64` tells a broken encoding from broken content."""

    def __init__(self, *, base64: bool) -> None:
        super().__init__()
        self.base64 = base64


class Exchange:
    """One sign-in under way. `begin` takes the initial response (None where there is none), `go_on` each next line.

    Both return a Challenge to say or the Credentials to check, and raise Malformed.
    """

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism
        self._username: str | None = None

    def begin(self, initial: str | None) -> Challenge | Credentials:
        if initial is None:
            return Challenge("" if self._mechanism == "PLAIN" else "VXNlcm5hbWU6")  # "Username:"
        return self.go_on("" if initial == "=" else initial)

    def go_on(self, line: str) -> Challenge | Credentials:
        data = _decode(line)
        if self._mechanism == "PLAIN":
            return _plain(data)
        if self._username is None:
            self._username = _text(data)
            return Challenge("UGFzc3dvcmQ6")  # "Password:"
        return Credentials("LOGIN", self._username, _text(data))


def _plain(data: bytes) -> Credentials:
    """message = [authzid] NUL authcid NUL passwd (RFC 4616 §2). An authzid other than the authcid is no one we know."""
    parts = data.split(b"\0")
    if len(parts) != 3 or not parts[1]:
        raise Malformed(base64=False)
    authzid, authcid, password = (_text(part) for part in parts)
    if authzid not in ("", authcid):
        raise Malformed(base64=False)
    return Credentials("PLAIN", authcid, password)


def _decode(line: str) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(base64=True) from None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed(base64=False) from None


Step = Callable[[], Challenge | Credentials]  # one step of an exchange, ready to be taken
