"""What is kept of a password for SCRAM-SHA-256 (RFC 5802 §3, RFC 7677).

Lives here: StoredKey and ServerKey from a password, and the salt of a name, whether anybody has that name or not.
Does not live here: the exchange (protocol/sasl_scram.py), argon2 (passwords.py), the table (app_passwords.py).

The salt of a name is a keyed digest of the name. So all passwords of an account have one salt, as an exchange demands,
which names the salt before it knows the password; and names that nobody has get salts from the same machine: asking
for salts, today and again next year, tells nobody who exists.

Whoever steals the file can try passwords against these keys, faster than against argon2. That is the price of an
exchange that never shows the password: docs/sign-in.md says it to the operator.
"""

from __future__ import annotations

import hashlib
import hmac

from scramp import ScramException, ScramMechanism

ITERATIONS = 10_000  # RFC 7677 §4 asks for 4096 or more; the client has to do them at each sign-in
_SHA256 = ScramMechanism("SCRAM-SHA-256")

Pair = tuple[bytes, bytes]  # StoredKey, ServerKey


def salt_of(secret: bytes, name: str) -> bytes:
    """The salt of a comparable name (`alice@example.org`). `secret` is the directory's own."""
    return hmac.digest(secret, b"salt " + name.encode("utf-8", "surrogatepass"), "sha256")[:16]


def nobodys_keys(secret: bytes, name: str) -> Pair:
    """Keys that no password fits, for a name that nobody has."""
    stored = hmac.digest(secret, b"nobody " + name.encode("utf-8", "surrogatepass"), "sha256")
    return stored, hashlib.sha256(stored).digest()


def keys_of(password: str, salt: bytes) -> Pair | None:
    """The keys of a password; takes some 2 ms. None where the password has characters that SASLprep (RFC 4013) forbids:
    then no client can use it with SCRAM."""
    try:
        _, stored, server, _ = _SHA256.make_auth_info(password, iteration_count=ITERATIONS, salt=salt)
    except (ScramException, ValueError):
        return None
    return stored, server
