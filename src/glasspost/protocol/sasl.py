"""Sign-in exchanges (RFC 4422), server's side: the words that mechanisms and house speak with each other.

Lives here: what an exchange gives at each step (something to say, or something the house must be asked), and how its
lines are coded. Does not live here: the mechanisms (sasl_mechanisms.py and the files it names), whether a password is
right (storage/sign_in.py), how the lines travel (smtp_server, pop3_server).

An exchange gives a `Challenge` to say, or a question for the house. All questions end the exchange with the house's
yes or no, but for `WantsKeys`, which it answers with `ScramKeys`, and the exchange goes on (`Exchange.keys`).
"""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

LINE_LIMIT = 12_288  # RFC 4954 §4: the longest base64 line that must be taken


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server says next, already base64. `secret`: the transcript only learns that something was said."""

    text: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """Is this the password? It is kept out of `repr`, and so out of logs and tracebacks."""

    mechanism: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Is this token good, and whose is it? `username` is whom the client says it is; empty: whoever the token says.

    `complaint` is what the client is told first where the answer is no (RFC 7628 §3.2.3)."""

    mechanism: str
    username: str
    token: str = field(repr=False)
    complaint: Challenge = Challenge("")


@dataclass(frozen=True, slots=True)
class Digest:
    """Is this the HMAC-MD5 of `challenge`, keyed with a secret of this user's (RFC 2195)?"""

    mechanism: str
    username: str
    challenge: bytes = field(repr=False)
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class WantsKeys:
    """Which keys would prove this user (RFC 5802)? The answer is for users who do not exist, too."""

    mechanism: str
    username: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The exchange has seen a proof: `key` is the number of the key pair that it fits, None where it fits none."""

    mechanism: str
    username: str
    key: int | None


Question = Credentials | Bearer | Digest | WantsKeys | Proof
Step = Challenge | Question


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What the house keeps of a user's passwords for SCRAM: one salt, and StoredKey and ServerKey of each of them."""

    salt: bytes
    iterations: int
    pairs: tuple[tuple[bytes, bytes], ...] = field(repr=False)


class Terms(NamedTuple):
    """What exchanges on one connection stand on. `end_point`: the hash of the certificate shown (RFC 5929 §4), empty
    where there is no TLS or no such hash. `complaint`: the JSON that refused tokens are answered with."""

    hostname: str = "localhost"
    end_point: bytes = b""
    complaint: str = '{"status":"invalid_token"}'


class Malformed(Exception):
    """The client's line is not what the mechanism says. `base64` tells a broken encoding from broken content."""

    def __init__(self, *, base64: bool) -> None:
        super().__init__()
        self.base64 = base64


class Exchange(Protocol):
    """One sign-in under way. `begin` takes the initial response (None where there is none), `go_on` each next line,
    both as they came, in base64; `keys` the answer to WantsKeys. All may raise Malformed."""

    def begin(self, initial: str | None) -> Step: ...
    def go_on(self, line: str) -> Step: ...
    def keys(self, keys: ScramKeys) -> Step: ...


class Steps(ABC):
    """What most exchanges have in common: the client speaks first, in one place or the other, and no keys are asked."""

    def begin(self, initial: str | None) -> Step:
        if initial is None:
            return Challenge("")
        return self.hear(b"" if initial == "=" else decode(initial))  # RFC 4954 §4: "=" is an empty response

    def go_on(self, line: str) -> Step:
        return self.hear(decode(line))

    @abstractmethod
    def hear(self, data: bytes) -> Step:
        """The client's next message, out of its base64."""

    def keys(self, keys: ScramKeys) -> Step:
        raise AssertionError("no keys were asked for")


def decode(line: str) -> bytes:
    """A client's line out of its base64. Raises Malformed."""
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(base64=True) from None


def encode(data: bytes, *, secret: bool = False) -> Challenge:
    """A message of the server's, as it is said."""
    return Challenge(base64.b64encode(data).decode(), secret)


def text_of(data: bytes) -> str:
    """A message that has to be UTF-8. Raises Malformed."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed(base64=False) from None


Take = Callable[[], Step]  # one step of an exchange, ready to be taken
