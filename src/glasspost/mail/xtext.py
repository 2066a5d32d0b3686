"""How delivery-report parameters and addresses are written where not every character may stand.

Lives here: xtext (RFC 3461 §4), for ENVID and ORCPT on the wire; unitext (RFC 6533 §3), for international addresses
in 7-bit places.
Does not live here: reading MAIL and RCPT parameters (protocol/grammar.py), writing reports (mail/dsn.py).
"""

from __future__ import annotations

import re

# RFC 3461 §4: xtext = *( xchar / hexchar ); xchar = "!" to "~" except "+" and "="; hexchar = "+" 2HEXDIG, upper case
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
_NOT_XCHAR = re.compile(r"[^!-*,-<>-~]+")
_PRINTABLE = re.compile(r"[ -~]*")

# RFC 6533 §3: QCHAR = "!" to "~" except "+", "=" and "\"; everything else is EmbeddedUnicodeChar "\x{HEXPOINT}"
_NOT_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")


def xtext(text: str) -> str:
    """`text` as xtext. Meant for printable ASCII; anything else is written octet by octet of its UTF-8."""
    return _NOT_XCHAR.sub(lambda found: "".join(f"+{octet:02X}" for octet in found[0].encode()), text)


def is_xtext(text: str) -> bool:
    """Whether `text` is written as xtext, whatever it says."""
    return _XTEXT.fullmatch(text) is not None


def from_xtext(text: str) -> str | None:
    """What an xtext says; None where it is no xtext, or says something other than printable ASCII.

    The latter is forbidden (RFC 3461 §4.2, §4.4), and a line end hidden in an ENVID would otherwise end up in a report.
    """
    if not is_xtext(text):
        return None
    plain = _HEXCHAR.sub(lambda found: chr(int(found[1], 16)), text)
    return plain if _PRINTABLE.fullmatch(plain) else None


def utf8_from_xtext(text: str) -> str:
    """What an xtext of UTF-8 says, which RFC 3461 does not know, but some servers write; empty where it is none."""
    octets = _HEXCHAR.sub(lambda found: chr(int(found[1], 16)), text) if is_xtext(text) else ""
    try:
        return octets.encode("latin-1").decode()
    except UnicodeDecodeError:
        return ""


def unitext(text: str) -> str:
    """An address in the 7-bit form `utf-8-addr-xtext` (RFC 6533 §3)."""
    return _NOT_QCHAR.sub(_embed, text)


def from_unitext(text: str) -> str | None:
    """The address behind any of the three forms of a `utf-8` address; None where it is none of them."""
    rest = _EMBEDDED.sub("", text)
    if "\\" in rest or not rest.isprintable():
        return None
    points = [int(digits, 16) for digits in _EMBEDDED.findall(text)]
    if any(point > 0x10FFFF or 0xD800 <= point <= 0xDFFF or point < 0x20 for point in points):
        return None
    return _EMBEDDED.sub(lambda found: chr(int(found[1], 16)), text)


def ascii_only(text: str) -> str:
    """Any text in ASCII without loss of meaning: what is not ASCII is written as `\\x{HEXPOINT}`."""
    return text if text.isascii() else _NOT_ASCII.sub(_embed, text)


def _embed(found: re.Match[str]) -> str:
    return f"\\x{{{ord(found[0]):02X}}}"
