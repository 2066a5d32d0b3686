"""All settings as rows of one table, read off the classes that declare them.

Lives here: name, meaning, kind, choices and default of each setting and section, and the search for the nearest name.
Does not live here: the settings (settings.py, relay_settings.py), or how the table is shown (settings_text.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from glasspost.node.settings import Config
from glasspost.node.values import Kind, Section


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `name` is dotted, without numbers: `listener.port`, `relay.timeouts.connect`."""

    name: str
    section: str
    key: str
    meaning: str
    kind: str  # "size", "list of durations", "true or false"; for choices, the choices
    choices: tuple[str, ...]  # the only values it may have; empty where it is open
    default: str  # as it would stand in the file; empty where it must be given
    default_in_words: bool  # the default depends on other things, and `default` says how
    many: bool  # its value is a list
    show: Callable[[Any], object]  # one value -> what stands in the file

    @property
    def variable(self) -> str:
        """The environment variable that goes before the file; {number} counts from 0 where there may be several."""
        steps = self.name.split(".")
        if SECTIONS[self.section].repeated:
            steps.insert(1, "{number}")
        return "GLASSPOST_" + "__".join(step if step == "{number}" else step.upper() for step in steps)

    @property
    def secret(self) -> bool:
        """Its value is never printed."""
        return self.kind.endswith("never printed")

    @property
    def is_text(self) -> bool:
        """Its value is text as it comes, also where it looks like a number."""
        return not self.many and self.kind not in _NOT_TEXT


@dataclass(frozen=True, slots=True)
class Table:
    """One section of the file. `repeated` sections are written [[name]], once for each."""

    name: str
    meaning: str
    repeated: bool
    settings: tuple[Setting, ...]

    @property
    def header(self) -> str:
        return f"[[{self.name}]]" if self.repeated else f"[{self.name}]"


_NOT_TEXT = ("whole number", "number from 0 to 1", "true or false", "port number", "size", "duration")


def write_value(value: object) -> str:
    """A value as it stands in a TOML file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(write_value(element) for element in value) + "]"
    if isinstance(value, (int, float)):
        return str(value)
    # JSON's strings are TOML's basic strings, but for DEL, which TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def show_value(setting: Setting, value: Any) -> str:
    """A setting's value as it stands in the file, sizes and durations with their units."""
    return _shown(setting.show, setting.many, value)


def _shown(show: Callable[[Any], object], many: bool, value: Any) -> str:
    return write_value([show(each) for each in value] if many else show(value))


def nearest(word: str, candidates: Iterable[str], likeness: float = 0.6) -> str:
    """The candidate most like `word`, or nothing where none is like it (1 is the same, 0 has nothing in common)."""
    found = get_close_matches(word.lower(), list(candidates), n=1, cutoff=likeness)
    return found[0] if found else ""


def nearest_setting(name: str) -> str:
    """The right name for a dotted one that does not exist: the same key in another section, or the most alike."""
    section, _, key = name.rpartition(".")
    siblings = nearest(key, (row.key for row in SECTIONS[section].settings) if section in SECTIONS else ())
    if siblings:
        return f"{section}.{siblings}"
    everything = (*SETTINGS, *SECTIONS)
    elsewhere = [other for other in everything if other.rpartition(".")[2] == key]
    if len(elsewhere) == 1:
        return elsewhere[0]
    # A whole name shares its section's letters with many others: only a strong likeness means anything.
    return nearest(name, everything, likeness=0.8)


# --- reading the classes ------------------------------------------------------------------------------------------


def _tables(prefix: str, model: type[Section]) -> Iterator[Table]:
    """A class's own settings as a table, then those of the sections within it."""
    own: list[Setting] = []
    inner: list[tuple[str, type[Section], bool]] = []
    for key, field in model.model_fields.items():
        section, repeated = _section_of(field)
        if section is not None:
            inner.append((f"{prefix}.{key}" if prefix else key, section, repeated))
        else:
            own.append(_setting(prefix, key, field))
    if own:
        meaning = " ".join((model.__doc__ or "").split())
        yield Table(prefix, meaning, False, tuple(own))
    for name, section, repeated in inner:
        for table in _tables(name, section):
            yield Table(table.name, table.meaning, repeated or table.repeated, table.settings)


def _section_of(field: FieldInfo) -> tuple[type[Section] | None, bool]:
    """The class of a section, and whether there may be several; None where the field is a setting."""
    kind = field.annotation
    repeated = get_origin(kind) is tuple
    if repeated:
        kind = get_args(kind)[0]
    is_section = isinstance(kind, type) and issubclass(kind, Section)
    return (kind if is_section else None), repeated  # type: ignore[return-value]


def _setting(section: str, key: str, field: FieldInfo) -> Setting:
    many = get_origin(field.annotation) is tuple
    element = get_args(field.annotation)[0] if many else field.annotation
    choices = tuple(str(choice) for choice in get_args(element)) if get_origin(element) is Literal else ()
    marks = [*field.metadata, *getattr(element, "__metadata__", ())]
    kinds = [mark for mark in marks if isinstance(mark, Kind)]
    kind = kinds[0] if kinds else Kind(_either(choices))
    in_words, default = _default(field, kind, many)
    return Setting(
        name=f"{section}.{key}",
        section=section,
        key=key,
        meaning=field.description or "",
        kind=f"list of {kind.name}s" if many else kind.name,
        choices=choices,
        default=default,
        default_in_words=in_words,
        many=many,
        show=kind.show,
    )


def _default(field: FieldInfo, kind: Kind, many: bool) -> tuple[bool, str]:
    """The default as it would stand in the file; where it depends on other things, (True, the factory's docstring)."""
    if field.default_factory is not None:
        return True, " ".join((field.default_factory.__doc__ or "").split())
    if field.default is PydanticUndefined:
        return False, ""
    if isinstance(field.default, SecretStr):
        return False, '""'
    return False, _shown(kind.show, many, field.default)


def _either(choices: tuple[str, ...]) -> str:
    quoted = [f'"{choice}"' for choice in choices]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


SECTIONS: dict[str, Table] = {table.name: table for table in _tables("", Config)}
SETTINGS: dict[str, Setting] = {row.name: row for table in SECTIONS.values() for row in table.settings}
