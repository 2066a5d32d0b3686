"""What the transcript may keep of a client's line: everything but secrets.

Lives here: the public form of lines that carry a password, also misplaced ones (a password sent after AUTH was
refused arrives as an unknown command) and misspelt ones (`AUHT PLAIN ...`). Where in doubt the line is masked: a
transcript can be read without it, a password that was written down cannot be taken back.
Does not live here: the tap (chat.py), which only ever hears the public form; when a secret may come (smtp_sign_in.py).
"""

from __future__ import annotations

import re

from glasspost.protocol.smtp_table import TABLE, nearest

MASK = b"[masked]"

_VERBS = frozenset(verb.encode() for verb in TABLE) - {b"AUTH"}
# How most lines begin: no secret in them, no second look.
_PLAIN = frozenset((b"MAIL ", b"RCPT ", b"DATA", b"EHLO ", b"HELO ", b"QUIT"))
# What may stand behind AUTH as it is. Anything else may be a response whose mechanism was forgotten.
_MECHANISM = re.compile(
    rb"PLAIN|LOGIN|EXTERNAL|ANONYMOUS|NTLM|GSSAPI|XOAUTH2|OAUTHBEARER|CRAM-MD5|DIGEST-MD5"
    rb"|SCRAM-SHA-(?:1|256|512)(?:-PLUS)?",
    re.IGNORECASE,
)
_WORD = re.compile(rb"[A-Za-z]{1,12}")
# In a line that is no command: words behind which people and programs put a secret, and what looks like base64.
_TELLTALE = re.compile(rb"auth|plain|login|pass|pwd|cram|user", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{8,}|[A-Za-z0-9+/]{2,}={1,2}")


def public_line(line: bytes, *, signing_in: bool, secret_may_follow: bool = False) -> bytes:
    """The public form of one line. `signing_in`: an exchange is under way, so the line is a secret as it stands.
    `secret_may_follow`: somebody tried to sign in, so a line that is no command is likely to be a password."""
    if signing_in:
        return line if line == b"*" else MASK
    if line[:5] in _PLAIN:
        return line
    word, blank, rest = line.partition(b" ")
    verb = word.upper()
    if verb in _VERBS:
        return line
    if verb == b"AUTH":
        mechanism, second, response = rest.partition(b" ")
        if not _MECHANISM.fullmatch(mechanism):
            return word + blank + (MASK if rest else b"")
        return word + blank + mechanism + second + (MASK if response else b"")
    if secret_may_follow:
        return MASK if line else line
    if not (_TELLTALE.search(line) or _BASE64.search(line) or (rest and _nearly_auth(word))):
        return line
    # Something in it may be a password: only what looks like a verb is kept.
    return word + b" " + MASK if _WORD.fullmatch(word) and blank else MASK


def _nearly_auth(word: bytes) -> bool:
    return nearest(TABLE, word.decode("ascii", "replace")) == "AUTH"
