"""Sign-in with a password: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), CRAM-MD5 (RFC 2195).

Lives here: what the client's messages mean, step by step.
Does not live here: SCRAM (sasl_scram.py), whether the password is right (storage/sign_in.py).

CRAM-MD5 keeps the password off the wire, and asks for a server that keeps it as it is: see docs/sign-in.md.
"""

from __future__ import annotations

import re
import secrets

from glasspost.protocol.sasl import Challenge, Credentials, Digest, Malformed, Step, Steps, Terms, encode, text_of

_DIGEST = re.compile(rb"(.+) ([0-9a-fA-F]{32})", re.DOTALL)


class Plain(Steps):
    """message = [authzid] NUL authcid NUL passwd (RFC 4616 §2). An authzid other than the authcid is no one we know."""

    def __init__(self, terms: Terms) -> None:
        pass

    def hear(self, data: bytes) -> Step:
        parts = data.split(b"\0")
        if len(parts) != 3 or not parts[1]:
            raise Malformed(base64=False)
        authzid, authcid, password = (text_of(part) for part in parts)
        if authzid not in ("", authcid):
            raise Malformed(base64=False)
        return Credentials("PLAIN", authcid, password)


class Login(Steps):
    """Name and password, each in a line of its own, each asked for."""

    def __init__(self, terms: Terms) -> None:
        self._username: str | None = None

    def begin(self, initial: str | None) -> Step:
        return encode(b"Username:") if initial is None else super().begin(initial)

    def hear(self, data: bytes) -> Step:
        if self._username is None:
            self._username = text_of(data)
            return encode(b"Password:")
        return Credentials("LOGIN", self._username, text_of(data))


class CramMd5(Steps):
    """The server speaks first, and never the same twice; the answer is a name and 32 hexadecimal digits."""

    def __init__(self, terms: Terms) -> None:
        self._challenge = f"<{secrets.token_hex(16)}@{terms.hostname}>".encode()

    def begin(self, initial: str | None) -> Challenge:
        if initial is not None:  # RFC 4954 §4: only where the client speaks first
            raise Malformed(base64=False)
        return encode(self._challenge, secret=True)

    def hear(self, data: bytes) -> Digest:
        found = _DIGEST.fullmatch(data)
        if found is None:
            raise Malformed(base64=False)
        return Digest("CRAM-MD5", text_of(found[1]), self._challenge, bytes.fromhex(found[2].decode()))
