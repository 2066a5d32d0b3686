"""The pages of these docs that are made, not written: docs/house.md, docs/commands.md, docs/replies.md.

    python docs/generate.py          write them anew
    python docs/generate.py --check  say which are stale, and fail if any is

Lives here: reading the code, and the pages' form. tests/house/test_docs.py compares the pages with what is made here.
Does not live here: docs/settings.md, which has a maker of its own (src/glasspost/node/settings_text.py).
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "glasspost"
MADE = "<!-- Made from {source} by: python docs/generate.py -->"

# --- docs/house.md ----------------------------------------------------------------------------------------------

FLOORS = (
    ("Floor 6: hands", ("cli",), "What a person types. Starts the node, or looks at what a node left on the disk."),
    ("Floor 5: beside the house", ("torture",), "Knows whole nodes, and nothing of the house knows of it."),
    ("Floor 4: node", ("node",), "Puts the house together: settings, start, stop."),
    ("Floor 3: rooms", ("inbound", "outbound", "retrieval"), "Three duties. They meet only in storage."),
    ("Floor 2: cellars", ("storage", "net"), "They do not know each other."),
    ("Floor 1: protocol", ("protocol",), "Conversations without sockets, clocks or logs."),
    ("Floor 0: words", ("mail", "explain"), "What mail is made of, and what replies mean."),
)
GROUND = ("errors.py", "clock.py", "ids.py", "ip.py", "stamps.py")
PUBLIC = ("hooks.py",)
OUTSIDE = "testing.py"

HOUSE_HEAD = """\
# The house

The code is a house with floors. Code imports downward only, and rooms on one floor do not import each other;
`tests/house/test_floors.py` holds the table of floors and fails when a file breaks it. Floor 5, `console/`, and the
room `trust/` are planned and not built yet.

- A file has 80 to 400 lines and one reason to change. It opens with its law: what lives here, what does not, and where
  that lives instead. The lines below are the first sentences of those openings.
- Names are the RFCs' nouns or a postmaster's words: path, spool, deposit, hold. No `utils`, `helpers`, `common`,
  `base`; no Manager, Handler, Service.
- Refusals are values (`Reply`, `Outcome`), bugs and broken disks are exceptions.
- A protocol file knows no socket and no clock: bytes are fed in, events are pulled out, an answer is given, output is
  taken.
- A message's octets are never changed. A trace header goes on top; the rest goes out as it came in. Of a device's
  message, a sender that is not its own is renamed ([devices.md](devices.md)).

How a message walks through these rooms: [journey.md](journey.md).
"""

OTHER_DIRECTORIES = (
    ("tests", "Tests, in folders named after the rooms they are about.", "*.py"),
    ("bench", "How fast, and beside what: [bench/README.md](../bench/README.md).", "*.py"),
    ("examples", "Programs to copy.", "*.py"),
    ("docs", "These pages, and the program that makes some of them.", "*.*"),
)


def house_page() -> str:
    """docs/house.md: floors, rooms, and a line for each file."""
    parts = [MADE.format(source="the first sentence of every file"), HOUSE_HEAD]
    for title, rooms, words in FLOORS:
        parts.append(f"## {title}\n\n{words}\n")
        for room in rooms:
            folder = PACKAGE / room
            parts.append(f"### `{room}/`\n\n{_room_words(folder)}\n\n{_lines(_files(folder), folder)}\n")
    public = _lines([PACKAGE / name for name in PUBLIC], PACKAGE)
    parts.append(f"### For files of your own\n\nWhat programs of users import.\n\n{public}\n")
    ground = _lines([PACKAGE / name for name in GROUND], PACKAGE)
    parts.append(f"## Ground\n\nEveryone may stand on it.\n\n{ground}\n")
    outside = _lines([PACKAGE / OUTSIDE], PACKAGE)
    parts.append(f"## Outside the house\n\nFor tests, ours and other people's.\n\n{outside}\n")
    parts.append("# Around the house\n")
    for name, words, pattern in OTHER_DIRECTORIES:
        folder = ROOT / name
        parts.append(f"## `{name}/`\n\n{words}\n\n{_lines(_files(folder, pattern), folder)}\n")
    return "\n".join(parts)


def _files(folder: Path, pattern: str = "") -> list[Path]:
    """The files of a folder and below, in the order of their paths; without what programs leave behind."""
    wanted = (pattern,) if pattern else ("*.py", "*.sql")
    left_behind = {"node_modules", "results", "__pycache__", "__init__.py"}
    found = {path for one in wanted for path in folder.rglob(one)}
    return sorted(path for path in found if not left_behind & set(path.relative_to(ROOT).parts))


def _lines(paths: list[Path], folder: Path) -> str:
    return "\n".join(f"- `{path.relative_to(folder)}`: {opening(path)}" for path in paths)


def _room_words(folder: Path) -> str:
    words = opening(folder / "__init__.py").partition(": ")[2]
    return f"{words[0].upper()}{words[1:]}"


def opening(path: Path) -> str:
    """The first sentence of a file: of its docstring, first comment or first paragraph; a decision's title."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    elif path.suffix == ".sql":
        text = " ".join(line[2:].strip() for line in _leading(text, "--"))
        if text.startswith("name:"):  # no word about the file itself
            text = f"The queries of {path.stem}."
    else:
        title, _, text = text[text.index("# ") + 2 :].partition("\n")
        if path.parent.name == "decisions":
            return title
        text = text.lstrip("\n")
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.?!])\s", paragraph, maxsplit=1)[0]


def _leading(text: str, mark: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith(mark):
            return
        yield line


# --- docs/commands.md -------------------------------------------------------------------------------------------

COMMANDS_HEAD = """\
# Commands

Every command with `--data` works on a data folder, while a node runs on it and while none does. A running node sees a
change within a second, the directory's at its next command. `GLASSPOST_DATA` names the folder where `--data` does not;
without either it is `var`.

What goes wrong is told in one line on standard error, and in the exit code:

| code | name | meaning |
|---|---|---|
{codes}
| 130 | | interrupted from the keyboard |

Scripts can rely on the commands, their options, the exit codes and the JSON of `--json`. The text for people may
change. `glasspost --install-completion` teaches the shell to complete all of it.
"""


def commands_page() -> str:
    """docs/commands.md: every command's own help, and the exit codes."""
    codes = "\n".join(f"| {value} | `{name}` | {meaning} |" for name, value, meaning in exit_codes())
    parts = [
        MADE.format(source="the command line and src/glasspost/errors.py"),
        COMMANDS_HEAD.format(codes=codes),
    ]
    for words in command_names():
        depth = "##" if len(words) < 2 else "###"
        parts.append(f"{depth} `{' '.join(('glasspost', *words))}`\n\n```\n{command_help(words)}\n```\n")
    return "\n".join(parts)


def exit_codes() -> list[tuple[str, int, str]]:
    """Name, number and meaning of each exit code, as errors.Exit has them."""
    text = (PACKAGE / "errors.py").read_text(encoding="utf-8")
    body = text[text.index("class Exit(") : text.index("class GlasspostError(")]
    rows = re.findall(r"^    ([A-Z_]+) = (\d+)(?:  # (.+))?$", body, re.MULTILINE)
    return [(name, int(value), meaning or "done") for name, value, meaning in rows]


def command_names() -> list[tuple[str, ...]]:
    """The words of every command, the program itself first, families before their members."""
    import typer

    from glasspost.cli.main import front_door

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, member in getattr(command, "commands", {}).items():
            yield from walk(member, (*words, name))

    return list(walk(typer.main.get_command(front_door()), ()))


def command_help(words: tuple[str, ...]) -> str:
    """What `--help` prints, in 100 columns."""
    from typer.testing import CliRunner

    from glasspost.cli.main import front_door

    environment = {"COLUMNS": "100", "GLASSPOST_DATA": None}
    result = CliRunner().invoke(front_door(), [*words, "--help"], prog_name="glasspost", env=environment)
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines())


# --- docs/replies.md --------------------------------------------------------------------------------------------

REPLIES_HEAD = """\
# Replies

Everything glasspost ever says to a client, and what it says itself about a server that said nothing: each has a name,
in `mail/reply.py` for SMTP and `mail/pop3_reply.py` for POP3. `{words}` in braces are filled in when it is said.

A refusal ends with the id of its conversation: `[c0...]` in SMTP, `(c0...)` in POP3. Whoever complains names the id,
and `glasspost conversations show` prints what happened. A reason that is nobody else's business is noted there, and
not said.

- 2xx: done. 3xx: go on. 4xx: not now, try again. 5xx: no, and trying again does not help.
- The enhanced code behind it (RFC 3463) says more exactly what it is about: x.1.x an address, x.2.x a mailbox, x.3.x
  this server, x.4.x the way to another one, x.5.x the conversation, x.6.x the content, x.7.x policy and security.
"""


def replies_page() -> str:
    """docs/replies.md: every named reply."""
    from glasspost.mail import pop3_reply, reply

    parts = [MADE.format(source="src/glasspost/mail/reply.py and pop3_reply.py"), REPLIES_HEAD, "## SMTP\n"]
    for title, names in sections(reply):
        rows = [f"| `{name}` | {one.code} | {one.enhanced} | {_cell(one.text)} |" for name, one in names]
        parts.append("\n".join([f"### {title}\n", "| name | code | enhanced | text |", "|---|---|---|---|", *rows, ""]))
    parts.append("## POP3\n")
    for title, names in sections(pop3_reply):
        rows = [
            f"| `{name}` | {'+OK' if one.positive else '-ERR'} | {one.code} | {_cell(one.text)} |"
            for name, one in names
        ]
        parts.append("\n".join([f"### {title}\n", "| name | | code | text |", "|---|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def sections(module: ModuleType) -> list[tuple[str, list[tuple[str, Any]]]]:
    """A module's named replies, under the titles its comments give them."""
    found: list[tuple[str, list[tuple[str, Any]]]] = []
    assert module.__file__ is not None
    for line in Path(module.__file__).read_text(encoding="utf-8").splitlines():
        title = re.fullmatch(r"# --- (.+?) -*", line)
        if title:
            found.append((title[1][0].upper() + title[1][1:], []))
        name = re.match(r"([A-Z][A-Z0-9_]*) = ", line)
        if name and found:
            found[-1][1].append((name[1], getattr(module, name[1])))
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("\n", "<br>")


# --- all of them ------------------------------------------------------------------------------------------------

PAGES: dict[str, Callable[[], str]] = {
    "docs/commands.md": commands_page,
    "docs/replies.md": replies_page,
    "docs/house.md": house_page,  # last: it lists the others
}


def main(arguments: list[str]) -> int:
    stale = 0
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            stale += 1
            print(f"{name} is stale; run: python docs/generate.py", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"written: {os.path.relpath(path)}")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
