"""Every reply that the POP3 server ever sends, as a named value.

Lives here: the `Pop3Reply` value, how it is written, and the names.
Does not live here: when a reply is given (protocol/pop3_server.py, retrieval/pop3.py), SMTP's replies (reply.py).

A reply is `+OK text` or `-ERR [CODE] text` (RFC 1939 §3). Response codes: RFC 2449 §8 (IN-USE), RFC 3206 (SYS/TEMP,
SYS/PERM, AUTH), RFC 6856 §5 (UTF8). A text without a response code must not contain an opening bracket
(RFC 2449 §3, `schar`): the conversation's id, with which every refusal ends, stands between parentheses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Pop3Reply:
    """A POP3 server's answer: whether it is positive, response code (may be empty), one line of text."""

    positive: bool
    text: str
    code: str = ""

    def saying(self, **words: object) -> Pop3Reply:
        """The same reply with the `{named}` places of its text filled in."""
        return replace(self, text=self.text.format(**words))

    def tagged(self, conversation: str) -> Pop3Reply:
        """The same reply, ended with the conversation's id, so that a complaint leads to its evidence."""
        return replace(self, text=f"{self.text} ({conversation})")

    def encode(self) -> bytes:
        """The reply as it goes over the wire; at most 512 octets (RFC 2449 §4)."""
        return _encode(self)

    def __str__(self) -> str:
        parts = ("+OK" if self.positive else "-ERR", f"[{self.code}]" if self.code else "", self.text)
        return " ".join(part for part in parts if part)


@lru_cache(maxsize=512)
def _encode(reply: Pop3Reply) -> bytes:
    return str(reply).encode()[:510] + b"\r\n"


def _yes(text: str) -> Pop3Reply:
    return Pop3Reply(True, text)


def _no(text: str, code: str = "") -> Pop3Reply:
    return Pop3Reply(False, text, code)


# --- greeting and leave-taking ------------------------------------------------------------------------------
GREETING = _yes("{hostname} POP3 glasspost")  # no timestamp in angle brackets: APOP is not offered
TOO_MANY_CONNECTIONS = _no("Too many connections; try again later", "SYS/TEMP")
TOO_MANY_CONNECTIONS_FROM_YOU = _no("Too many connections from your address; try again later", "SYS/TEMP")
BYE = _yes("Bye")
BYE_REMOVED = _yes("Bye; removed: {removed}, left: {left}")
NOT_REMOVED = _no("Nothing was removed: something broke on our side; try again later", "SYS/TEMP")
TOO_MANY_ERRORS = _no("Too many errors; closing")
OUT_OF_ORDER = _no("Something broke on our side; closing. Nothing was removed", "SYS/TEMP")

# --- the client broke the protocol --------------------------------------------------------------------------
UNKNOWN_COMMAND = _no("Unknown command{hint}")
LINE_TOO_LONG = _no("Line too long; at most {limit} octets")
BARE_NEWLINE = _no("Lines end with CR LF, both, and with nothing else")
NOT_TEXT = _no("That line is not text in UTF-8")
SYNTAX = _no("Syntax: {syntax}")
NOT_SIGNED_IN = _no("Sign in first, with USER and PASS or with AUTH")
ALREADY_SIGNED_IN = _no("{verb} comes before signing in; you are signed in")

# --- before signing in --------------------------------------------------------------------------------------
CAPABILITIES = _yes("What this server can do")
MECHANISMS = _yes("Sign-in mechanisms")
USER_OK = _yes("Go on with PASS")
SAY_USER_FIRST = _no("Say USER first")
UTF8_ON = _yes("UTF-8 from here on")
TLS_READY = _yes("Begin TLS")
TLS_NOT_OFFERED = _no("TLS is not offered here")
TLS_ALREADY = _no("TLS is in use already")
TLS_AFTER_UTF8 = _no("STLS comes before UTF8")
TLS_INJECTED = _no("Bytes came behind STLS before TLS began; closing")
NEEDS_TLS = _no("Say STLS first: passwords travel only encrypted", "AUTH")
MECHANISM_UNKNOWN = _no("Sign-in mechanism not offered; see CAPA")
AUTH_CANCELLED = _no("Sign-in cancelled")
NOT_BASE64 = _no("That is not base64")
NOT_AS_AGREED = _no("That is not a message of {mechanism}", "AUTH")
SIGN_IN_FAILED = _no("User name or password is wrong", "AUTH")
TOO_MANY_FAILURES = _no("Too many failed sign-ins; try again later", "SYS/TEMP")
SIGN_IN_LATER = _no("Sign-in cannot be checked just now; try again later", "SYS/TEMP")
IN_USE = _no("Another session has this maildrop open; try again later", "IN-USE")
MAILDROP_LATER = _no("The maildrop cannot be opened just now; try again later", "SYS/TEMP")

# --- in the maildrop ----------------------------------------------------------------------------------------
OPEN = _yes("Welcome; messages: {count}")
DROP_LISTING = _yes("{count} {octets}")
LISTING_FOLLOWS = _yes("Messages: {count}")
SCAN_LISTING = _yes("{number} {octets}")
UNIQUE_ID_LISTING = _yes("{number} {uid}")
MESSAGE_FOLLOWS = _yes("{octets} octets")
TOP_FOLLOWS = _yes("The top follows")
MARKED = _yes("Message {number} will be removed at QUIT")
UNMARKED = _yes("No message is marked; messages: {count}")
NOTHING_DONE = _yes("Here")
NO_SUCH_MESSAGE = _no("No message {number}; the last is {last}")
NOT_A_NUMBER = _no("Messages have numbers, from 1 to {last}")
ALREADY_MARKED = _no("Message {number} is marked for removal")
NEEDS_UTF8 = _no("This message has a header in UTF-8: say UTF8 before signing in to fetch it", "UTF8")
MESSAGE_LATER = _no("The message cannot be read just now; try again later", "SYS/TEMP")
