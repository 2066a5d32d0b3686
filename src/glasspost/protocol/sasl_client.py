"""Signing in elsewhere: which mechanism is used, and what is said in it, without the wire.

Lives here: the choice among what the server offers, PLAIN (RFC 4616), LOGIN, OAUTHBEARER (RFC 7628) and XOAUTH2; and
an exchange as the lines of AUTH (RFC 4954 §4).
Does not live here: SCRAM (sasl_scram_client.py), where tokens come from (outbound/bearer.py), the hash of the server's
certificate (net/channel_binding.py), the server's side (sasl.py and its neighbours).

The strongest mechanism that the server offers is used, and no other is tried after it: whoever could make it fail
would choose the weakest for us.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from glasspost.protocol.smtp_secrets import MASK

PASSWORD_MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")  # the best first
TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")
_COMMAND_LIMIT = 512  # octets with CRLF, RFC 5321 §4.5.3.1.4

Line = tuple[bytes, bytes | None]  # what is said, and what the tap may know of it where that is less


class Exchange(Protocol):
    """One attempt to sign in. `opens`: the first answer may go with the command (RFC 4954 §4, initial response).
    `doubt`: why a yes of the server is not to be believed; empty where it is. `confidential`: what the server says is
    not for the record, either."""

    name: str
    opens: bool
    doubt: str
    confidential: bool

    def answer(self, challenge: str) -> bytes | None:
        """What to say to a challenge, which is in base64 as it came; None where there is nothing more to say. Raises
        sasl_scram_client.Disbelief."""
        ...


class Recital:
    """Answers that do not depend on what the server says, and prove nothing about it."""

    doubt = ""
    confidential = False

    def __init__(self, name: str, *answers: bytes, opens: bool) -> None:
        self.name = name
        self.opens = opens
        self._answers = deque(answers)

    def answer(self, challenge: str) -> bytes | None:
        return self._answers.popleft() if self._answers else None


class Attempt:
    """An exchange as lines of SMTP. `doubt`: as in Exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._held_back: bytes | None = None  # the initial response, where that is too long for the command
        self.doubt = exchange.doubt

    def command(self) -> Line:
        """AUTH, with the initial response where that fits into a command line."""
        command = b"AUTH " + self._exchange.name.encode()
        if not self._exchange.opens:
            return command + b"\r\n", None
        first = base64.b64encode(self._exchange.answer("") or b"") or b"="
        if len(command) + len(first) + 3 <= _COMMAND_LIMIT:
            return command + b" " + first + b"\r\n", command + b" [masked]\r\n"
        self._held_back = first
        return command + b"\r\n", None

    def answer(self, challenge: str) -> Line | None:
        """The line for a challenge. None where the server is not to be talked to any more: `doubt` says why."""
        from glasspost.protocol.sasl_scram_client import Disbelief

        line, self._held_back = self._held_back, None
        if line is None:
            try:
                answer = self._exchange.answer(challenge)
            except Disbelief as error:
                self.doubt = str(error)
                return None
            self.doubt = self._exchange.doubt
            if answer is None:
                return b"*\r\n", None  # RFC 4954 §4: it asks for more than there is; cancel
            line = base64.b64encode(answer)
        return line + b"\r\n", b"[masked]\r\n"

    def public(self, line: bytes) -> bytes:
        """What the tap may know of a line of the server's."""
        return line[:4] + MASK if self._exchange.confidential and line[:3] == b"334" else line


def password_mechanism(offered: Sequence[str], end_point: bytes = b"") -> str:
    """The mechanism that a password is used with; empty where none fits. `end_point`: the hash of the server's
    certificate, empty where there is none to bind to."""
    usable = (name for name in PASSWORD_MECHANISMS if end_point or not name.endswith("-PLUS"))
    return next((name for name in usable if name in offered), "")


def token_mechanism(offered: Sequence[str]) -> str:
    """The mechanism that a token is used with; empty where none fits."""
    return next((name for name in TOKEN_MECHANISMS if name in offered), "")


def by_password(offered: Sequence[str], username: str, password: str, end_point: bytes = b"") -> Exchange:
    """Sign in with a password; `password_mechanism` is not empty."""
    name = password_mechanism(offered, end_point)
    if name.startswith("SCRAM-"):
        from glasspost.protocol.sasl_scram_client import ScramSha256Client, Unusable

        plain = [name for name in offered if not name.startswith("SCRAM-")]
        try:
            return ScramSha256Client(name, username, password, end_point)
        except Unusable:  # the server cannot have keys of this password, either
            if not password_mechanism(plain):
                return Recital(name, opens=False)  # it is begun, and called off
            return by_password(plain, username, password)
    user, secret = username.encode(), password.encode()
    if name == "PLAIN":
        return Recital("PLAIN", b"\0" + user + b"\0" + secret, opens=True)
    return Recital("LOGIN", user, secret, opens=False)


def by_token(offered: Sequence[str], username: str, token: str) -> Exchange:
    """Sign in with an access token; `token_mechanism` is not empty.

    The server answers a bad token with a challenge that says why, and waits for a word before it refuses.
    """
    bearer = b"auth=Bearer " + token.encode() + b"\x01\x01"
    if token_mechanism(offered) == "OAUTHBEARER":
        name = username.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 §4
        return Recital("OAUTHBEARER", b"n,a=" + name.encode() + b",\x01" + bearer, b"\x01", opens=True)
    return Recital("XOAUTH2", b"user=" + username.encode() + b"\x01" + bearer, b"", opens=True)
