"""XCLIENT: a proxy in front of us says, within the conversation, on whose behalf it speaks (Postfix, XCLIENT_README).

Lives here: reading the attributes, from their xtext (RFC 3461 §4) to values, or to a `Fault` in words.
Does not live here: when the command may come (smtp_table.py), who may say it and what becomes of it
(inbound/visit.py), the PROXY header, which comes before the conversation (net/proxy_header.py).

An attribute that is not named keeps its value, so several commands may follow one another, as Postfix allows. One
that is `[UNAVAILABLE]` or `[TEMPUNAVAIL]` is known not to be known: never what it was of the proxy itself.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from glasspost.protocol.grammar import Fault, read_xtext

KEYWORD = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"  # as EHLO lists it
NOT_KNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
NOBODYS_ADDRESS = "0.0.0.0"  # for a client whose address is not known: in no network that anybody would trust
_VALUE_LIMIT = 255  # characters
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(slots=True)
class Brought:
    """A client as a proxy describes it. None: not said. Empty, or port 0: known not to be known."""

    name: str | None = None
    address: str | None = None
    port: int | None = None
    proto: str | None = None  # "SMTP" or "ESMTP", as the client greeted the proxy
    hello: str | None = None
    login: str | None = None  # whom the proxy let in
    local_address: str | None = None  # where the client came in at the proxy
    local_port: int | None = None

    def words(self) -> str:
        """All that was said, for the transcript."""
        said = {
            "name": self.name, "address": self.address, "port": self.port, "greeted with": self.proto,
            "as": self.hello, "signed in as": self.login, "came in at": self.local_address,
            "at port": self.local_port,
        }  # fmt: skip
        return ", ".join(f"{key} {value or 'unknown'}" for key, value in said.items() if value is not None)


def read_xclient(argument: str) -> Brought | Fault:
    """The attributes of one command: `NAME=... ADDR=...`, in any order and case, each at most once."""
    brought = Brought()
    seen: set[str] = set()
    for word in argument.split():
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        if not equals or not value:
            return Fault("each attribute is NAME=value")
        if keyword in seen:
            return Fault(f"{keyword} is given twice")
        seen.add(keyword)
        text = "" if value.upper() in NOT_KNOWN else read_xtext(value)
        fault = text if isinstance(text, Fault) else _take(brought, keyword, text)
        if fault is not None:
            return Fault(f"{keyword}: {fault.reason}") if keyword in _ATTRIBUTES else fault
    return brought if seen else Fault("no attribute is given")


_ATTRIBUTES = frozenset(KEYWORD.split()[1:])


def _take(brought: Brought, keyword: str, text: str) -> Fault | None:
    """Put one attribute in its place, or say what is wrong with it. Empty: it is not known."""
    if len(text) > _VALUE_LIMIT:
        return Fault(f"it is longer than {_VALUE_LIMIT} characters")
    match keyword:
        case "NAME":
            brought.name = text
        case "HELO":
            brought.hello = text
        case "LOGIN":
            brought.login = text
        case "ADDR" | "DESTADDR":
            address = _read_address(text)
            if address is None:
                return Fault("it is no IP address")
            if keyword == "ADDR":
                brought.address = address
            else:
                brought.local_address = address
        case "PORT" | "DESTPORT":
            if text and (not _PORT.fullmatch(text) or int(text) > 65535):
                return Fault("it is no port")
            if keyword == "PORT":
                brought.port = int(text or "0")
            else:
                brought.local_port = int(text or "0")
        case "PROTO":
            if text.upper() not in ("", "SMTP", "ESMTP"):
                return Fault("it must be SMTP or ESMTP")
            brought.proto = text.upper()
        case _:
            return Fault(f"{ascii(keyword[:40])[1:-1]} is no attribute of XCLIENT")
    return None


def _read_address(text: str) -> str | None:
    """An address as XCLIENT writes it: IPv6 with `IPV6:` before it. None where it is none."""
    if not text:
        return ""
    bare = text[5:] if text[:5].upper() == "IPV6:" else text
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return None if "%" in bare or (bare is not text and address.version == 4) else str(address)
