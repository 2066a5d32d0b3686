"""Signing in elsewhere: which mechanism is used, and what is said in it, without the wire.

Lives here: the choice among what the server offers, PLAIN (RFC 4616), LOGIN, OAUTHBEARER (RFC 7628) and XOAUTH2.
Does not live here: AUTH's lines and what the record hears of them (smtp_client.py), where tokens come from
(outbound/bearer.py), the server's side (sasl.py and its neighbours).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

PASSWORD_MECHANISMS = ("PLAIN", "LOGIN")  # the best first
TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")


class Exchange(Protocol):
    """One attempt to sign in. `opens`: the first answer may go with the command (RFC 4954 §4, initial response)."""

    name: str
    opens: bool

    def answer(self, challenge: str) -> bytes | None:
        """What to say to a challenge, which is in base64 as it came; None where there is nothing more to say."""
        ...


class Recital:
    """Answers that do not depend on what the server says."""

    def __init__(self, name: str, *answers: bytes, opens: bool) -> None:
        self.name = name
        self.opens = opens
        self._answers = deque(answers)

    def answer(self, challenge: str) -> bytes | None:
        return self._answers.popleft() if self._answers else None


def password_mechanism(offered: Sequence[str]) -> str:
    """The mechanism that a password is used with; empty where none fits."""
    return next((name for name in PASSWORD_MECHANISMS if name in offered), "")


def token_mechanism(offered: Sequence[str]) -> str:
    """The mechanism that a token is used with; empty where none fits."""
    return next((name for name in TOKEN_MECHANISMS if name in offered), "")


def by_password(offered: Sequence[str], username: str, password: str) -> Exchange:
    """Sign in with a password; `password_mechanism` is not empty."""
    user, secret = username.encode(), password.encode()
    if password_mechanism(offered) == "PLAIN":
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
