"""Sign-in with a token: OAUTHBEARER (RFC 7628), and XOAUTH2, which came before it.

Lives here: what the client's message means, and what a refused token is answered with before the refusal.
Does not live here: whether a token is good (net/tokens.py), whose it is (storage/sign_in.py).

A refused client hears a JSON object first (RFC 7628 §3.2.2), answers it with anything, and only then hears no. Without
that step many clients do not fetch a new token.
"""

from __future__ import annotations

import re

from glasspost.protocol.sasl import Bearer, Malformed, Step, Steps, Terms, encode, text_of

_GS2 = re.compile(r"n,(?:a=([^,]*))?,")  # RFC 7628 §3.1: there is no channel binding
_PAIR = re.compile(r"([A-Za-z]+)=([\x20-\x7e\t\r\n]*)")
_TOKEN = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)  # RFC 6750 §2.1


class OauthBearer(Steps):
    """gs2-header kvsep *(key "=" value kvsep) kvsep, where kvsep is %x01 (RFC 7628 §3.1)."""

    def __init__(self, terms: Terms) -> None:
        self._complaint = encode(terms.complaint.encode())

    def hear(self, data: bytes) -> Step:
        header, mark, rest = text_of(data).partition("\x01")
        gs2 = _GS2.fullmatch(header)
        if gs2 is None or not mark or not rest.endswith("\x01"):
            raise Malformed(base64=False)
        pairs = _pairs(rest.removesuffix("\x01"))
        name = (gs2[1] or "").replace("=2C", ",").replace("=3D", "=")
        return Bearer("OAUTHBEARER", name, _token(pairs), self._complaint)


class Xoauth2(Steps):
    """ "user=" name kvsep "auth=Bearer " token kvsep kvsep, as Google and Microsoft describe it."""

    def __init__(self, terms: Terms) -> None:
        self._complaint = encode(terms.complaint.encode())

    def hear(self, data: bytes) -> Step:
        name, mark, rest = text_of(data).partition("\x01")
        if not mark or name[:5].lower() != "user=" or not name[5:]:
            raise Malformed(base64=False)
        return Bearer("XOAUTH2", name[5:], _token(_pairs(rest)), self._complaint)


def _pairs(text: str) -> dict[str, str]:
    """The pairs of a message, each ended by %x01; the last one's end may be the message's."""
    found: dict[str, str] = {}
    for part in text.split("\x01"):
        if not part:
            continue
        pair = _PAIR.fullmatch(part)
        if pair is None or pair[1].lower() in found:
            raise Malformed(base64=False)
        found[pair[1].lower()] = pair[2]
    return found


def _token(pairs: dict[str, str]) -> str:
    found = _TOKEN.fullmatch(pairs.get("auth", ""))
    if found is None:
        raise Malformed(base64=False)
    return found[1]
