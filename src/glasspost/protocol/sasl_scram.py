"""Sign-in with SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): the password never crosses the wire.

Lives here: the exchange around the scramp library: whose keys are wanted, which of several keys a proof fits, and the
server's own proof. Does not live here: where keys come from (storage/sign_in.py), how they are made
(storage/scram.py), the hash of the certificate (net/channel_binding.py).

Three traps are stepped around. The library asks for keys in the midst of a step, and fails at once where there are
none, so the message is first read with keys of nobody's, to learn the name. A user may have several passwords (app
passwords) under one salt: which of them was used is found out by trying all, always as many as anyone may have.
And the proof is only told wrong at the end, in the words for a wrong password, whatever was wrong about it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any

from scramp import ScramException, ScramMechanism

from glasspost.protocol.sasl import Malformed, Proof, ScramKeys, Step, Terms, WantsKeys, decode, encode, text_of

MOST_KEYS = 24  # passwords that one user may have; so many are always tried

_Keys = tuple[bytes, bytes, bytes, int]  # salt, StoredKey, ServerKey, iterations, as the library has them
_NOBODY: _Keys = (b"\0" * 16, b"\0" * 32, b"\0" * 32, 4096)


class ScramSha256:
    """`plus`: the client must prove that it sees the certificate that we show (RFC 5929 §4)."""

    def __init__(self, terms: Terms, *, plus: bool = False) -> None:
        self._name = "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256"
        self._mechanism = ScramMechanism(self._name)
        self._binding = ("tls-server-end-point", terms.end_point) if terms.end_point else None
        self._nonce = secrets.token_hex(16)
        self._first = ""
        self._said = ""
        self._username = ""
        self._keys: ScramKeys | None = None
        self._proof: Proof | None = None

    def begin(self, initial: str | None) -> Step:
        return encode(b"") if initial is None else self.go_on("" if initial == "=" else initial)

    def go_on(self, line: str) -> Step:
        message = decode(line)
        if not self._first:
            return self._client_first(text_of(message))
        if self._proof is None:
            return self._client_final(text_of(message))
        if message:  # the client's answer to our proof is empty (RFC 4954 §4: the 334 has carried it)
            raise Malformed(base64=False)
        return self._proof

    def keys(self, keys: ScramKeys) -> Step:
        """Say nonce, salt and iterations: of users who do not exist as well."""
        self._keys = keys
        server = self._server(lambda: (keys.salt, *keys.pairs[0], keys.iterations))
        self._said = str(server.get_server_first())
        return encode(self._said.encode(), secret=True)

    def _client_first(self, message: str) -> WantsKeys:
        self._first = message
        self._server(lambda: _NOBODY)
        return WantsKeys(self._name, self._username)

    def _client_final(self, message: str) -> Step:
        keys = self._keys
        assert keys is not None
        number = fitting(keys, f"{self._first.split(',', 2)[2]},{self._said}", message)
        stored, server_key = keys.pairs[number or 0]
        server = self._server(lambda: (keys.salt, stored, server_key, keys.iterations))
        server.get_server_first()
        try:
            server.set_client_final(message)
            final = str(server.get_server_final())
        except (ScramException, ValueError):
            return Proof(self._name, self._username, None)
        if number is None:  # the library has found right what we have not: do not believe it
            return Proof(self._name, self._username, None)
        self._proof = Proof(self._name, self._username, number)
        return encode(final.encode(), secret=True)

    def _server(self, keys: Callable[[], _Keys]) -> Any:
        """The library's side of the conversation, with the first message heard. The nonce is always the same."""

        def keys_for(username: str) -> _Keys:
            self._username = username
            return keys()

        server = self._mechanism.make_server(keys_for, channel_binding=self._binding, s_nonce=self._nonce)
        try:
            server.set_client_first(self._first)
        except (ScramException, ValueError):
            raise Malformed(base64=False) from None
        return server


def fitting(keys: ScramKeys, first_messages: str, final: str) -> int | None:
    """The number of the pair that the proof in the client's last message fits (RFC 5802 §3). The work does not depend
    on which that is, nor on how many there are."""
    without, _, proof = final.rpartition(",p=")
    try:
        octets = base64.b64decode(proof, validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    message = f"{first_messages},{without}".encode()
    found = None
    nobody = (b"\0" * 32, b"")
    pairs = [*keys.pairs, *[nobody] * (MOST_KEYS - len(keys.pairs))]
    for number, (stored, _server_key) in enumerate(pairs):
        signature = hmac.digest(stored, message, "sha256")
        key = bytes(a ^ b for a, b in zip(octets.ljust(32, b"\0"), signature, strict=False))
        if hmac.compare_digest(hashlib.sha256(key).digest(), stored) and len(octets) == 32:
            found = number if found is None else found
    return found
