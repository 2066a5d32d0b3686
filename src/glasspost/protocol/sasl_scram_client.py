"""Signing in elsewhere with SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): both sides prove themselves.

Lives here: our side of the exchange around the scramp library, and what of the server's side is not believed.
Does not live here: the choice of the mechanism and AUTH's lines (sasl_client.py, smtp_client.py), the server's side
(sasl_scram.py), the hash of the certificate (net/channel_binding.py).

The server learns nothing that it could use elsewhere, and must show that it has known the password all along: whoever
says "welcome" without that proof is somebody else (`doubt`). Where TLS has a certificate to bind to and the server
offers no -PLUS, we say that we could have bound: a server that did offer it then knows that somebody took it out.
"""

from __future__ import annotations

from scramp import ScramClient, ScramException

from glasspost.protocol.sasl import Malformed, decode, text_of

MOST_ITERATIONS = 600_000  # of PBKDF2, which takes some 0.2 s: a server may not keep us busy for as long as it likes
_UNPROVED = "it did not prove that it knows the password"


class Disbelief(Exception):
    """What the server said cannot come from one that knows the password. The message says why, in a few words."""


class Unusable(Exception):
    """The name or the password has characters that SCRAM cannot carry (SASLprep, RFC 4013)."""


class ScramSha256Client:
    """One attempt. `end_point`: the hash of the server's certificate (RFC 5929 §4); empty where there is none."""

    opens = True
    confidential = True  # who hears both sides can try passwords at home: the record keeps neither

    def __init__(self, name: str, username: str, password: str, end_point: bytes = b"") -> None:
        self.name = name
        self.doubt = _UNPROVED
        binding = ("tls-server-end-point", end_point) if end_point else None
        try:
            self._library = ScramClient([name], username, password, channel_binding=binding)
        except (ScramException, ValueError):
            raise Unusable from None
        self._steps = [self._first, self._final, self._end]

    def answer(self, challenge: str) -> bytes | None:
        """The next message. Raises Disbelief."""
        return self._steps.pop(0)(challenge) if self._steps else None

    def _first(self, challenge: str) -> bytes:
        return str(self._library.get_client_first()).encode()

    def _final(self, challenge: str) -> bytes:
        try:
            self._library.set_server_first(text_of(decode(challenge)))
            if int(self._library.iterations) > MOST_ITERATIONS:
                raise Disbelief(f"it wants more than {MOST_ITERATIONS} iterations")
            return str(self._library.get_client_final()).encode()
        except (ScramException, ValueError, Malformed) as error:
            raise Disbelief(f"its challenge is none of SCRAM: {error or 'no text in base64'}") from None

    def _end(self, challenge: str) -> bytes:
        """The server's proof, or its complaint about ours: that is followed by a refusal."""
        try:
            final = text_of(decode(challenge))
            if not final.startswith("e="):
                self._library.set_server_final(final)
                self.doubt = ""
        except (ScramException, ValueError, Malformed):
            raise Disbelief("its proof that it knows the password is wrong") from None
        return b""
