"""The grammar of SMTP commands: paths, parameters, xtext.

Lives here: text of one command argument to values, or to a `Fault` that says in words what is wrong with it.
Does not live here: which command may come when (smtp_table.py), which parameters mean what (smtp_server.py).

The ABNF stands above each pattern (RFC 5321 §4.1.2, RFC 6531 §3.3, RFC 3461 §4). Every pattern walks its input once:
none can be made to backtrack.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

from glasspost.mail.address import Address
from glasspost.mail.xtext import from_xtext, is_xtext, utf8_from_xtext


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an argument, in words for the reply."""

    reason: str


# RFC 6531 §3.3: UTF8-non-ascii joins atext, qtextSMTP and sub-domain. Not the C1 controls and the two separators,
# which others take for line ends (RFC 5198 §2), and no surrogates, which are no characters.
_UTF8 = "\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"

# atext         = ALPHA / DIGIT / "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "/" / "=" / "?" / "^" / "_"
#                 / "`" / "{" / "|" / "}" / "~"                                        ; RFC 5322 §3.2.3
# Dot-string    = Atom *("." Atom)
_ATEXT = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_UTF8}-]"
_DOT_STRING = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
# Quoted-string = DQUOTE *QcontentSMTP DQUOTE
# QcontentSMTP  = qtextSMTP / quoted-pairSMTP ; qtextSMTP = %d32-33 / %d35-91 / %d93-126 ; pair = "\" %d32-126
_QUOTED_STRING = rf'"(?:[\x20\x21\x23-\x5b\x5d-\x7e{_UTF8}]|\\[\x20-\x7e])*"'
# Domain        = sub-domain *("." sub-domain) ; sub-domain = Let-dig [Ldh-str]
_LET_DIG = rf"[A-Za-z0-9{_UTF8}]"
_SUB_DOMAIN = rf"{_LET_DIG}(?:-*{_LET_DIG})*"
_DOMAIN = rf"{_SUB_DOMAIN}(?:\.{_SUB_DOMAIN})*"
# address-literal = "[" ( IPv4 / IPv6 / General ) "]" ; judged by `_literal` below
_LITERAL = r"\[[\x21-\x5a\x5e-\x7e]+\]"
# Path          = "<" [ A-d-l ":" ] Mailbox ">" ; A-d-l = At-domain *( "," At-domain ): accepted and ignored (§4.1.2)
_SOURCE_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
_PATH = re.compile(rf"<{_SOURCE_ROUTE}(?P<local>{_DOT_STRING}|{_QUOTED_STRING})@(?P<domain>{_DOMAIN}|{_LITERAL})>")
_POSTMASTER = re.compile(r"<postmaster>", re.IGNORECASE)

# esmtp-param   = esmtp-keyword ["=" esmtp-value] ; keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
# esmtp-value   = 1*(%d33-60 / %d62-126)                                     ; RFC 6531 §3.3 adds UTF8-non-ascii
_PARAMETER = re.compile(rf"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e{_UTF8}]+))?")

_QUOTED_PAIR = re.compile(r"\\(.)")

# Octets of a path, as UTF-8. RFC 5321 §4.5.3.1.3 asks for at least 256; and a header field that names it (Received,
# Return-Path) must fit into a line of 998 octets.
PATH_LIMIT = 900


def read_path(text: str, *, null: bool) -> tuple[Address | None, str] | Fault:
    """A path at the beginning of `text`, and what stands behind it. `null` allows `<>`.

    RFC 5321 §4.1.2. A blank between the colon and the path, which many programs send, does no harm and is taken.
    """
    text = text.lstrip(" ")
    if text.startswith("<>"):
        return (None, text[2:]) if null else Fault("the recipient is empty")
    close = _closing_bracket(text)
    if close < 0:
        if not text.startswith("<"):
            return Fault("it must stand in angle brackets, like <user@example.org>")
        return Fault("the closing bracket is missing")
    address = _read_mailbox(text[: close + 1])
    if isinstance(address, Fault):
        return address
    return address, text[close + 1 :]


def _closing_bracket(text: str) -> int:
    """Where the path ends: the first `>` outside a quoted string. -1 where there is none."""
    if not text.startswith("<"):
        return -1
    close = text.find(">")
    if close < 0 or '"' not in text[:close]:
        return close
    quoted = re.match(rf"<{_SOURCE_ROUTE}{_QUOTED_STRING}[^>]*>", text)
    return quoted.end() - 1 if quoted else close


@lru_cache(maxsize=1024)
def _read_mailbox(path: str) -> Address | Fault:
    if len(path.encode("utf-8", "replace")) > PATH_LIMIT:
        return Fault(f"it is longer than {PATH_LIMIT} octets")
    match = _PATH.fullmatch(path)
    if match is None:
        if _POSTMASTER.fullmatch(path):
            return Address(path[1:-1], "")
        return _diagnose(path[1:-1])
    local, domain = match["local"], match["domain"]
    if local.startswith('"'):
        local = _QUOTED_PAIR.sub(r"\1", local[1:-1])
    if len(domain) > 255:
        return Fault("the domain is longer than 255 characters")
    if domain.startswith("["):
        fault = _literal(domain)
        if fault is not None:
            return fault
    return Address(local, domain)


def _literal(domain: str) -> Fault | None:
    """Whether an address literal holds an address (RFC 5321 §4.1.3)."""
    inner = domain[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        return Fault("what stands in the brackets is not an IP address")
    return None


def _diagnose(mailbox: str) -> Fault:
    """Why a mailbox is none, as exactly as can be said."""
    local, at, domain = mailbox.rpartition("@")
    if not at:
        return Fault("there is no @ and no domain")
    if not domain:
        return Fault("the domain behind the @ is empty")
    if not local:
        return Fault("nothing stands before the @")
    if not re.fullmatch(rf"{_DOMAIN}|{_LITERAL}", domain):
        return Fault("the domain is not well-formed")
    if " " in local and not local.startswith('"'):
        return Fault("a blank before the @ needs quotes")
    if ".." in local or local.startswith(".") or local.endswith("."):
        return Fault("a dot at the edge, or two in a row, needs quotes")
    return Fault("the part before the @ is not well-formed")


def read_parameters(text: str) -> dict[str, str | None] | Fault:
    """The ESMTP parameters behind a path: keyword in upper case to value, None where it has none.

    RFC 5321 §4.1.2. `text` begins with the blank behind the path, or is empty.
    """
    if not text:
        return {}
    if not text.startswith(" "):
        return Fault("a blank must stand between the path and its parameters")
    found: dict[str, str | None] = {}
    for word in text.split(" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            return Fault(f"{ascii(word[:40])[1:-1]} is not KEYWORD or KEYWORD=value")
        keyword = match[1].upper()
        if keyword in found:
            return Fault(f"{keyword} is given twice")
        found[keyword] = match[2]
    return found


def read_xtext(text: str) -> str | Fault:
    """xtext to text (RFC 3461 §4): `+3D` is `=`. The value must be printable ASCII."""
    decoded = from_xtext(text)
    if decoded is None:
        return Fault("it is not printable ASCII" if is_xtext(text) else "it is not xtext (RFC 3461)")
    return decoded


# hexpoint of RFC 6533 §3: \x{HEX}, without leading zeros, not for printable ASCII except the few that must be.
_UTF8_ADDRESS = re.compile(rf"(?:[\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e{_UTF8}]|\\x\{{[0-9A-Fa-f]+\}})*")
_HEXPOINT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_ONE_LINE = re.compile(rf"[\x20-\x7e{_UTF8}]*")


def read_original_recipient(text: str) -> str | Fault:
    """ORCPT's value to "type;address" (RFC 3461 §4.2, RFC 6533 §3 for the type utf-8)."""
    kind, semicolon, value = text.partition(";")
    if not semicolon or not re.fullmatch(r"[A-Za-z0-9-]+", kind):
        return Fault("it must be type;address, like rfc822;user@example.org")
    if kind.lower() == "utf-8":
        if not _UTF8_ADDRESS.fullmatch(value):
            return Fault("its address is not well-formed (RFC 6533)")
        try:
            address = _HEXPOINT.sub(lambda match: chr(int(match[1], 16)), value)
        except (ValueError, OverflowError):
            return Fault("its address has a code point that does not exist")
        # What is decoded here stands in a header or a command later, and must not begin a line of its own there.
        return f"utf-8;{address}" if _ONE_LINE.fullmatch(address) else Fault("its address has a control character")
    decoded = read_xtext(value)
    if isinstance(decoded, Fault):
        # Postfix 3.7 writes an international address so: its UTF-8 as xtext, under the type of ASCII addresses.
        address = utf8_from_xtext(value) if kind.lower() == "rfc822" else ""
        return f"utf-8;{address}" if address and _ONE_LINE.fullmatch(address) else decoded
    return f"{kind};{decoded}"
