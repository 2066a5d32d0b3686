"""The settings, written for people: one explained, all of them as they hold, and the page docs/settings.md.

Lives here: text made from the catalogue, so that what is documented is what is read.
Does not live here: the settings (settings.py), the commands that print this (cli/config.py).

The page is made with `python -m glasspost.node.settings_text docs/settings.md`; a test fails when it is stale.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glasspost.errors import NotFound
from glasspost.node.catalogue import (
    SECTIONS,
    SETTINGS,
    Setting,
    Table,
    nearest_setting,
    show_value,
    write_value,
)
from glasspost.node.config import Reading, Steps

EXAMPLE = """\
[node]
hostname = "mail.example.org"

[[listener]]
role = "mx"
address = "0.0.0.0"
port = 25

[[listener]]
role = "submission"
address = "0.0.0.0"
port = 465
tls = "implicit"

[tls]
certificate = "tls/fullchain.pem"
key = "tls/privkey.pem"

[smtp]
max_message_size = "25 MB"

[relay]
schedule = ["1 min", "5 min", "30 min", "2 h"]

[[smarthost]]
domain = "*"
host = "smtp.example.net"
port = 587
username = "example"
password_file = "smarthost.password"
"""

# Behind two blanks, in the 80 columns that a terminal has.
WIDTH = 77

_UNITS = {
    "size": 'size: "25 MB" (KB, MB, GB, TB; 1 KB = 1024 octets), or a number of octets',
    "duration": 'duration: "5 min" (ms, s, min, h, days, weeks; also "1 h 30 min"), or a number of seconds',
    "list of durations": 'list of durations: ["1 min", "4 h"] (ms, s, min, h, days, weeks), or numbers of seconds',
}


# --- one setting --------------------------------------------------------------------------------------------------


def explain(name: str) -> str:
    """Meaning, kind, default and place of a setting, or the keys of a section. An empty name lists the sections.

    Takes a key without its section, too, where only one section has it. Raises NotFound with the nearest right name.
    """
    wanted = name.strip().strip("[]").lower()
    if not wanted:
        return "\n".join(_aligned((table.header, _first_sentence(table.meaning)) for table in SECTIONS.values()))
    if wanted in SETTINGS:
        return _explained(SETTINGS[wanted])
    if wanted in SECTIONS:
        return _listed(SECTIONS[wanted])
    same_key = [row for row in SETTINGS.values() if row.key == wanted]
    if len(same_key) == 1:
        return _explained(same_key[0])
    if same_key:
        raise NotFound(f'"{name}" is in several sections: {", ".join(row.name for row in same_key)}')
    meant = nearest_setting(wanted)
    hint = f' Did you mean "{meant}"?' if meant else " `glasspost config explain` lists the sections."
    raise NotFound(f'There is no setting "{name}".{hint}')


def _explained(row: Setting) -> str:
    rows = (
        ("Value", _UNITS.get(row.kind, row.kind)),
        ("Default", row.default or "none: must be given"),
        ("In the file", f"{SECTIONS[row.section].header}, {row.key} = ..."),
        ("Environment", row.variable),
    )
    meaning = textwrap.fill(row.meaning, WIDTH, break_on_hyphens=False, break_long_words=False)
    return "\n".join([row.name, "", *textwrap.indent(meaning, "  ").splitlines(), "", *_aligned(rows)])


def _listed(table: Table) -> str:
    meaning = textwrap.fill(table.meaning, WIDTH, break_on_hyphens=False, break_long_words=False)
    inner = [other.name for other in SECTIONS.values() if other.name.startswith(f"{table.name}.")]
    also = ["", *(f"  See also {name}." for name in inner)] if inner else []
    rows = ((row.key, _first_sentence(row.meaning)) for row in table.settings)
    return "\n".join([table.header, "", *textwrap.indent(meaning, "  ").splitlines(), "", *_aligned(rows), *also])


def _aligned(rows: Any) -> Iterator[str]:
    """Two columns; the second wraps under itself."""
    pairs = list(rows)
    width = max(len(left) for left, _ in pairs) + 2
    for left, right in pairs:
        lines = textwrap.wrap(right, max(40, WIDTH - width), break_on_hyphens=False, break_long_words=False)
        yield f"  {left:<{width}}{lines[0] if lines else ''}"
        yield from (" " * (width + 2) + line for line in lines[1:])


def _first_sentence(text: str) -> str:
    head, stop, _ = text.partition(". ")
    return head + "." if stop else text


# --- all settings as they hold ------------------------------------------------------------------------------------


def shown(reading: Reading) -> str:
    """The whole configuration as a TOML file that reads back as the same one, but for passwords: a comment stands in
    their place. What was not left at its default has its origin behind it."""
    lines: list[str] = []
    for table in SECTIONS.values():
        for steps, section in _instances(reading, table):
            lines += ["", table.header]
            for row in table.settings:
                lines += _held(reading, row, (*steps, row.key), getattr(section, row.key))
    # An empty list of tables cannot be written as a table. Where that is not the default, it must be said.
    silent = [] if reading.config.listener else ["listener = []"]
    return "\n".join([*silent, *lines]).strip() + "\n"


def _instances(reading: Reading, table: Table) -> Iterator[tuple[Steps, Any]]:
    steps: tuple[str, ...] = tuple(table.name.split("."))
    section: Any = reading.config
    for step in steps:
        section = getattr(section, step)
    if not table.repeated:
        yield steps, section
        return
    for number, element in enumerate(section):
        yield (*steps, number), element


def _held(reading: Reading, row: Setting, steps: Steps, value: Any) -> Iterator[str]:
    origin = reading.origins.get(steps)
    said = f"  # {origin}" if origin else ""
    if isinstance(value, Path):
        value = value.absolute()  # a relative one would mean another place once this text is a file
    if not row.secret:
        yield f"{row.key} = {show_value(row, value)}{said}"
    elif value.get_secret_value():
        yield f"# {row.key} is set, and not shown{said}"


# --- the page -----------------------------------------------------------------------------------------------------


def page() -> str:
    """docs/settings.md."""
    parts = [_INTRODUCTION.format(example=EXAMPLE)]
    for table in SECTIONS.values():
        parts.append(f"## `{table.header}`\n\n{table.meaning}\n")
        parts.append("| Setting | Value | Default | Meaning |\n|---|---|---|---|")
        parts += [_page_row(row) for row in table.settings]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _page_row(row: Setting) -> str:
    default = (row.default if row.default_in_words else f"`{row.default}`") if row.default else "*must be given*"
    kind = ", ".join(f"`{write_value(choice)}`" for choice in row.choices) or row.kind
    return f"| `{row.key}` | {kind} | {default} | {row.meaning} |"


_INTRODUCTION = """\
<!-- Made from src/glasspost/node/settings.py by: python -m glasspost.node.settings_text docs/settings.md -->
# Settings

glasspost needs no configuration file for its first start. With one (`glasspost serve --config FILE`), the file is
TOML, and has only the settings listed here. An unknown or bad one stops the start; all faults are
told at once, each with its line:

```
glasspost.toml:12: smtp.max_recipents: There is no such setting. Did you mean "max_recipients"?
```

- **Sizes**: `"25 MB"`, with KB, MB, GB or TB (1 KB = 1024 octets), or a number of octets.
- **Durations**: `"5 min"`, `"4h"`, `"1 h 30 min"`, with ms, s, min, h, days or weeks, or a number of seconds.
- **Paths**: relative ones start at the folder of the configuration file; without a file, at the folder where
  glasspost is started. `~` is the home folder.
- **Environment**: `GLASSPOST_SECTION__KEY` goes before the file: `GLASSPOST_SMTP__MAX_ERRORS=20`,
  `GLASSPOST_RELAY__TIMEOUTS__CONNECT="10 s"`. Lists are divided by commas. Sections of which there may be several have
  a number, counted from 0: `GLASSPOST_SMARTHOST__0__PASSWORD=...`.

`glasspost config explain KEY` says the same as this page, `glasspost config show` prints what holds and where it was
said, and `glasspost config check` tries everything out: ports, data folder, store, certificates.

An example:

```toml
{example}```
"""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
