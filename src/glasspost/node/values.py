"""What the value of a setting may look like: sizes, durations, names, addresses, paths.

Lives here: the types the settings are declared with, how each is read from the file and written back for people,
and the class that all sections are made of.
Does not live here: which settings there are (settings.py).

A reader raises ValueError with the whole sentence the operator will see behind the key.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from glasspost.ip import IpNetwork
from glasspost.mail.address import a_label

KB = 1024
MB = 1024 * KB
GB = 1024 * MB
TB = 1024 * GB

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

_SIZE_UNITS = {"TB": TB, "GB": GB, "MB": MB, "KB": KB}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:(B|octets?|bytes?)|([KMGT])(?:i?B)?)?", re.IGNORECASE)

_DURATION_UNITS = {"weeks": WEEK, "days": DAY, "h": HOUR, "min": MINUTE, "s": 1.0, "ms": 0.001}
_DURATION_WORDS = {
    "weeks": "w week weeks",
    "days": "d day days",
    "h": "h hour hours",
    "min": "m min minute minutes",
    "s": "s sec second seconds",
    "ms": "ms",
}
_SECONDS = {word: _DURATION_UNITS[unit] for unit, words in _DURATION_WORDS.items() for word in words.split()}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*")

# RFC 5321 §4.1.2: sub-domain = Let-dig [Ldh-str]; RFC 1035 §2.3.4: 63 octets a label, 253 a name in text.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type is called, for people; `show` turns a value into what stands in a TOML file."""

    name: str
    show: Callable[[Any], object] = str


# --- sizes --------------------------------------------------------------------------------------------------


def read_size(value: object) -> int:
    """Octets from `25 MB`, `256 kb`, `1.5 GB`, or a whole number. Units are powers of 1024."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{_quoted(value)} is no size. Write "25 MB" (KB, MB, GB, TB), or a number of octets.')
    octets = float(found[1]) * _SIZE_UNITS.get(f"{(found[3] or '').upper()}B", 1)
    return int(found[1]) if found[1].isdigit() and not found[3] else round(octets)


def write_size(octets: int) -> str | int:
    """The shortest exact form: `50 MB`; a plain number where no unit divides it."""
    for unit, factor in _SIZE_UNITS.items():
        if octets and octets % factor == 0:
            return f"{octets // factor} {unit}"
    return octets


# --- durations ----------------------------------------------------------------------------------------------


def read_duration(value: object) -> float:
    """Seconds from `5 min`, `4h`, `1 h 30 min`, `250 ms`, `5 days`, or a number of seconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 and math.isfinite(value):
        return float(value)
    seconds = _sum_of_parts(value.strip().lower()) if isinstance(value, str) else None
    if seconds is None:
        units = "ms, s, min, h, days, weeks"
        raise ValueError(f'{_quoted(value)} is no duration. Write "5 min" ({units}), or a number of seconds.')
    return seconds


def _sum_of_parts(text: str) -> float | None:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    total, at = 0.0, 0
    while at < len(text):
        part = _DURATION_PART.match(text, at)
        if part is None or part[2] not in _SECONDS:
            return None
        total += float(part[1]) * _SECONDS[part[2]]
        at = part.end()
    return total if text else None


def write_duration(seconds: float) -> str | int | float:
    """The shortest exact form: `5 min`, `4 h`, `30 days`, `2 s`; a plain number where no unit divides it."""
    if seconds == 0:
        return 0
    for unit, factor in _DURATION_UNITS.items():
        if unit not in ("weeks", "ms") and seconds % factor == 0:
            count = int(seconds // factor)
            return "1 day" if unit == "days" and count == 1 else f"{count} {unit}"
    return seconds


# --- names and addresses ------------------------------------------------------------------------------------


def read_name(value: object) -> str:
    """A domain name in its comparable form: lower case, A-labels."""
    name = a_label(value.strip()) if isinstance(value, str) else ""
    if not _NAME.fullmatch(name):
        raise ValueError(f'{_quoted(value)} is no domain name. Write it like "mail.example.org".')
    return name


def read_domain_pattern(value: object) -> str:
    """`*`, a domain name, or `.example.org`: every name below example.org."""
    if value == "*":
        return "*"
    dot = "." if isinstance(value, str) and value.startswith(".") else ""
    try:
        return dot + read_name(value[len(dot) :] if isinstance(value, str) else value)
    except ValueError:
        raise ValueError(f'{_quoted(value)} is no destination. Write "example.org", ".example.org" or "*".') from None


def read_ip(value: object) -> str:
    """An IPv4 or IPv6 address, as text in its short form."""
    try:
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        raise ValueError(f'{_quoted(value)} is no IP address. Write it like "127.0.0.1" or "::1".') from None


def read_optional_ip(value: object) -> str:
    """An IP address, or nothing."""
    return "" if value == "" else read_ip(value)


def read_host(value: object) -> str:
    """A domain name or an IP address."""
    try:
        return read_ip(value)
    except ValueError:
        pass
    try:
        return read_name(value)
    except ValueError:
        raise ValueError(f"{_quoted(value)} is neither a host name nor an IP address.") from None


def read_optional_host(value: object) -> str:
    """A domain name or an IP address, or nothing."""
    return "" if value == "" else read_host(value)


def read_network(value: object) -> IpNetwork:
    """A network in CIDR form; one address alone is a network of one."""
    if isinstance(value, IpNetwork):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        spare = " It has bits set behind its prefix." if "host bits" in str(error) else ""
        raise ValueError(f'{_quoted(value)} is no network. Write it like "192.0.2.0/24".{spare}') from None


class NameServer(NamedTuple):
    """One DNS server."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def read_name_server(value: object) -> NameServer:
    """`127.0.0.1`, `127.0.0.1:5353`, `::1` or `[::1]:5353`. Port 53 where none is given."""
    if isinstance(value, NameServer):
        return value
    text = value if isinstance(value, str) else ""
    parts = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?|([^:]+)(?::(\d+))?|(.*:.*:.*)", text)
    address = parts and (parts[1] or parts[3] or parts[5])
    port = int((parts and (parts[2] or parts[4])) or 53)
    try:
        if not 1 <= port <= 65535:
            raise ValueError
        return NameServer(str(ipaddress.ip_address(address or "")), port)
    except ValueError:
        raise ValueError(
            f'{_quoted(value)} is no DNS server. Write "192.0.2.1", "192.0.2.1:5353" or "[2001:db8::1]:53".'
        ) from None


# --- paths --------------------------------------------------------------------------------------------------


def read_path(value: object, info: ValidationInfo) -> Path | None:
    """A path, None where empty. A relative one starts at the configuration file's folder, `~` at home."""
    if value is None or value == "":
        return None
    if not isinstance(value, (str, os.PathLike)) or "\0" in os.fspath(value):
        raise ValueError("Must be the path of a file or folder, in quotes.")
    folder = (info.context or {}).get("folder")
    path = Path(value).expanduser()
    return path if folder is None else Path(folder) / path


def _path_text(path: Path | None) -> str:
    return "" if path is None else str(path)


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _as_is(value: Any) -> Any:
    return value


# --- the types ----------------------------------------------------------------------------------------------

Number = Annotated[int, Field(strict=True), Kind("whole number", _as_is)]
Share = Annotated[float, Field(strict=True, ge=0, le=1), Kind("number from 0 to 1", _as_is)]
Flag = Annotated[bool, Field(strict=True), Kind("true or false", _as_is)]
Text = Annotated[str, Field(strict=True), Kind("text", _as_is)]
Secret = Annotated[SecretStr, Kind("text, never printed", _as_is)]
Size = Annotated[int, BeforeValidator(read_size), Kind("size", write_size)]
Duration = Annotated[float, BeforeValidator(read_duration), Kind("duration", write_duration)]
Port = Annotated[int, Field(strict=True, ge=0, le=65535), Kind("port number", _as_is)]
Name = Annotated[str, BeforeValidator(read_name), Kind("domain name")]
DomainPattern = Annotated[str, BeforeValidator(read_domain_pattern), Kind('domain name, ".domain" or "*"')]
Host = Annotated[str, BeforeValidator(read_host), Kind("host name or IP address")]
OptionalHost = Annotated[str, BeforeValidator(read_optional_host), Kind("host name or IP address, or empty")]
Ip = Annotated[str, BeforeValidator(read_ip), Kind("IP address")]
Network = Annotated[IpNetwork, BeforeValidator(read_network), Kind("network")]
Resolver = Annotated[NameServer, BeforeValidator(read_name_server), Kind("DNS server")]
Folder = Annotated[Path, BeforeValidator(read_path), Kind("path", _path_text)]
File = Annotated[Path | None, BeforeValidator(read_path), Kind("path, or empty", _path_text)]
RequiredFile = Annotated[Path, BeforeValidator(read_path), Kind("path", _path_text)]
OptionalIp = Annotated[str, BeforeValidator(read_optional_ip), Kind("IP address, or empty")]
Count = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(ge=1)]


class Section(BaseModel):
    """A section of the configuration file: no other keys than its own, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Settings that are right each, but not together: (dotted key, reason). Asked once each is right."""
        return iter(())

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Section:
        faults = list(self.contradictions())
        if faults:
            raise PydanticCustomError("contradiction", "settings contradict each other", {"faults": faults})
        return self
