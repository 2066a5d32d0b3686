"""What of a POP3 client's line may be put on record.

Lives here: the public form of a line. Rather too much is masked than too little: a password typed at the wrong
moment, behind a misspelt verb, or on a line of its own is as secret as one behind PASS.
Does not live here: when a line is heard (chat.py), what it means (pop3_server.py).
"""

from __future__ import annotations

import re

from glasspost.protocol.pop3_table import VERBS, nearest_verb

MASK = b"[masked]"

_WORDS = re.compile(rb"\s*(\S*)\s*(.*)", re.DOTALL)
_VERBS = frozenset(name.encode() for name in VERBS)
# Words behind which other programs, or a person's fingers, put a secret: LOGIN bob x, PASSWORD x, passx, A1 AUTH x.
_TELLTALE = re.compile(rb"(.*?(?:pas+|pwd|auth|apop|login))(.*)", re.DOTALL | re.IGNORECASE)
# A first argument of AUTH that is none of these may be a response whose mechanism was forgotten.
_MECHANISM = re.compile(
    rb"(PLAIN|LOGIN|EXTERNAL|ANONYMOUS|NTLM|GSSAPI|GS2-KRB5|KERBEROS_V4|XOAUTH2|OAUTHBEARER|CRAM-MD5|DIGEST-MD5"
    rb"|SCRAM-SHA-(?:1|256|512)(?:-PLUS)?)",
    re.IGNORECASE,
)


def public_form(line: bytes, *, response: bool, loose: bool) -> bytes:
    """The line as the tap may hear it.

    `response`: it answers a SASL challenge. `loose`: a name was given or a mechanism asked for and nobody is signed
    in yet, so that a line that is no command is likely to be a password.
    """
    if response:
        return line if line == b"*" else MASK
    found = _WORDS.fullmatch(line)
    assert found is not None  # the pattern matches everything
    word, rest = found.groups()
    verb = word.upper()
    if verb == b"PASS":
        return word + b" " + MASK if rest else word
    if verb == b"AUTH":
        mechanism, *responses = rest.split() or [b""]
        if mechanism and not _MECHANISM.fullmatch(mechanism):
            return word + b" " + MASK
        return b" ".join([word, mechanism, MASK] if responses else [word, mechanism]).rstrip()
    if verb == b"USER":
        name, *more = rest.split() or [b""]
        return b" ".join([word, name, MASK] if more else [word, name]).rstrip()
    if verb in _VERBS:
        return line
    return MASK if loose and line.strip() else _unknown(line, word, rest)


def _unknown(line: bytes, word: bytes, rest: bytes) -> bytes:
    """A line whose verb is not in the table."""
    telltale = _TELLTALE.fullmatch(line)
    if telltale:
        shown, hidden = telltale.groups()
        return shown + MASK if hidden.strip() else line
    if rest and nearest_verb(word.decode("ascii", "replace")) in ("PASS", "AUTH", "USER"):
        return word + b" " + MASK
    return line
