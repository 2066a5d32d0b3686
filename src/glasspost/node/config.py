"""Reading the configuration: file, then environment, then defaults; and pointing at whatever is wrong.

Lives here: `load`, and how each fault becomes one line that says where it is, why it is one, and what was meant.
Does not live here: the settings themselves (settings.py), or trying out what they name (config_check.py).

The first start needs no file. A file with a fault stops the start: all faults are told at once, never only the first,
and nothing unknown is passed over, as a setting with a slip in its name would silently not hold.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from glasspost.errors import ConfigurationError, Problem
from glasspost.node.catalogue import SECTIONS, SETTINGS, nearest, nearest_setting
from glasspost.node.settings import Config
from glasspost.node.toml_lines import key_lines

Steps = tuple[str | int, ...]  # the way to a setting: ("listener", 0, "port")

_PREFIX = "GLASSPOST_"
_ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting was said: file and line, or an environment variable."""

    file: str
    line: int = 0
    variable: str = ""

    def __str__(self) -> str:
        return self.variable or (f"{self.file}:{self.line}" if self.line else self.file)


@dataclass(frozen=True, slots=True)
class Reading:
    """A configuration, and where each of its settings was said."""

    config: Config
    file: str  # name of the file; "defaults" where there is none
    origins: Mapping[Steps, Origin]

    def problem(self, steps: Steps, reason: str, meant: str = "") -> Problem:
        """A fault of this setting, told at the place where it was said, or else where its section begins."""
        return _problem(self.file, self.origins, steps, reason, meant)


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration from this file (None: no file) and environment. Raises ConfigurationError with all faults."""
    return read(path, environ).config


def read(path: Path | None, environ: Mapping[str, str]) -> Reading:
    """Like `load`, and remembers where everything was said."""
    file = "defaults" if path is None else str(path)
    text = "" if path is None else _text_of(path)
    tree, origins = _parse(file, text)
    problems = _overlay(tree, origins, environ)
    folder = None if path is None else path.absolute().parent
    try:
        config = Config.model_validate(tree, context={"folder": folder})
    except ValidationError as error:
        problems += _problems(file, origins, error)
    if problems:
        raise ConfigurationError(sorted(problems, key=lambda problem: (problem.line == 0, problem.line)))
    return Reading(config, file, origins)


# --- the file -----------------------------------------------------------------------------------------------------


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = f"Cannot be read: {(error.strerror or str(error)).lower()}."
        raise ConfigurationError([Problem(str(path), 0, "configuration file", reason)]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError([Problem(str(path), line, "text", "Is not UTF-8.")]) from None


def _parse(file: str, text: str) -> tuple[dict[str, Any], dict[Steps, Origin]]:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([_syntax_problem(file, text, str(error))]) from None
    except RecursionError:
        raise ConfigurationError([Problem(file, 0, "TOML", "Brackets are nested too deep.")]) from None
    return tree, {steps: Origin(file, line) for steps, line in key_lines(text).items()}


def _syntax_problem(file: str, text: str, message: str) -> Problem:
    """What tomllib says, in one line of ours. It stops at the first fault, so there is only one to tell."""
    found = re.fullmatch(r"(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    what, number, column = found.groups() if found else (message, None, None)
    lines = text.splitlines() or [""]
    line = int(number) if number else len(lines)
    key = re.match(r"\s*([\w.\"'-]+)\s*(?:=|$)", lines[min(line, len(lines)) - 1])
    where = f", column {column}" if column else ""
    hint = ' Text stands in "quotes".' if what.startswith(("Invalid value", "Expected newline")) else ""
    return Problem(file, line, key[1] if key else "TOML", f"Is not TOML: {what[:1].lower()}{what[1:]}{where}.{hint}")


# --- the environment ----------------------------------------------------------------------------------------------


def _overlay(tree: dict[str, Any], origins: dict[Steps, Origin], environ: Mapping[str, str]) -> list[Problem]:
    """Put GLASSPOST_SECTION__KEY variables over the file. Those without a double underscore are not settings."""
    variables = [name for name in environ if name.startswith(_PREFIX) and "__" in name]
    problems = []
    for steps, name in sorted(((_steps(name), name) for name in variables), key=_in_order):
        if _put(tree, steps, _from_environment(steps, environ[name])):
            for covered in [other for other in origins if other[: len(steps)] == steps]:
                del origins[covered]
            origins[steps] = Origin(_ENVIRONMENT, 0, name)
        else:
            problems.append(Problem(_ENVIRONMENT, 0, name, "Leads nowhere; numbers count from 0, without gaps."))
    return problems


def _steps(variable: str) -> Steps:
    parts = variable.removeprefix(_PREFIX).lower().split("__")
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def _in_order(entry: tuple[Steps, str]) -> list[tuple[bool, str | int]]:
    """By numbers where there are numbers, so that listener 10 comes behind listener 9."""
    return [(isinstance(step, int), step) for step in entry[0]]


def _from_environment(steps: Steps, text: str) -> object:
    """The text as the type that the setting wants: lists are divided by commas."""
    setting = SETTINGS.get(_dotted(steps))
    if setting is None or setting.is_text:
        return text
    if setting.many:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(tree: Any, steps: Steps, value: object) -> bool:
    """Set a value deep in the tree; False where there is no way to it."""
    for step, after in zip(steps, (*steps[1:], None), strict=True):
        if isinstance(step, int):
            if not isinstance(tree, list) or step > len(tree):
                return False
            if step == len(tree):
                tree.append({})
        elif not isinstance(tree, dict):
            return False
        if after is None:
            tree[step] = value
            return True
        if isinstance(step, str):
            tree.setdefault(step, [] if isinstance(after, int) else {})
        tree = tree[step]
    return False


# --- faults -------------------------------------------------------------------------------------------------------


def _problems(file: str, origins: Mapping[Steps, Origin], error: ValidationError) -> Iterator[Problem]:
    for fault in error.errors(include_url=False):
        steps: Steps = fault["loc"]
        match fault["type"]:
            case "default_factory_not_called":
                continue  # only says that another fault of the same section is told already
            case "contradiction":
                for key, reason in fault["ctx"]["faults"]:
                    inner = (int(step) if step.isdecimal() else step for step in key.split("."))
                    yield _problem(file, origins, (*steps, *inner), reason)
            case "extra_forbidden":
                yield _unknown(file, origins, steps, fault["input"])
            case _:
                yield _problem(file, origins, steps, *_reason(_dotted(steps), fault))


def _problem(file: str, origins: Mapping[Steps, Origin], steps: Steps, reason: str, meant: str = "") -> Problem:
    """A fault at the place where the setting, or else the nearest thing around it, was said."""
    name = _dotted(steps)
    for length in range(len(steps), 0, -1):
        origin = origins.get(steps[:length]) or _said_within(origins, steps[:length])
        if origin is not None:
            itself = length == len(steps) or isinstance(steps[-1], int)
            return Problem(origin.file, origin.line, (origin.variable if itself else "") or name, reason, meant)
    return Problem(file, 0, name, reason, meant)


def _said_within(origins: Mapping[Steps, Origin], steps: Steps) -> Origin | None:
    """A variable that said a part of this, where the file said nothing of it."""
    within = (origin for other, origin in origins.items() if origin.variable and other[: len(steps)] == steps)
    return next(within, None)


def _unknown(file: str, origins: Mapping[Steps, Origin], steps: Steps, value: object) -> Problem:
    name = _dotted(steps)
    is_table = isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict))
    meant = (nearest(name, SECTIONS) if is_table else "") or nearest_setting(name)
    section = ".".join(name.split(".")[:-1])
    origin = origins.get(steps)
    if origin is not None and origin.variable:
        meant = SETTINGS[meant].variable if meant in SETTINGS else ""
    elif section and meant.startswith(f"{section}."):
        meant = meant.removeprefix(f"{section}.")
    reason = "There is no such section." if is_table and not section else "There is no such setting."
    return _problem(file, origins, steps, reason, meant)


def _reason(name: str, fault: Any) -> tuple[str, str]:
    """Why a value is refused, in a sentence, and what may have been meant. A secret's value is never in it."""
    value, told = fault["input"], fault.get("ctx", {})
    setting = SETTINGS.get(name)
    match fault["type"]:
        case "value_error":
            return str(told["error"]), ""
        case "missing":
            return "Must be given.", ""
        case "literal_error" if setting is not None:
            meant = nearest(value, setting.choices) if isinstance(value, str) else ""
            return f"Must be {setting.kind}.", meant
        case "tuple_type" if name in SECTIONS:
            return f"Write [[{name}]], in double brackets: there may be several.", ""
        case "model_type" if name in SECTIONS and isinstance(value, list):
            return f"Write [{name}], in single brackets: there is only one.", ""
        case "model_type" if name in SECTIONS:
            return f"Is a section: write {SECTIONS[name].header}, and its settings below.", ""
        case "tuple_type":
            return 'Must be a list: ["...", "..."].', ""
        case "too_short":
            return "Must not be empty.", ""
        case "string_too_long":
            return f"Must have at most {told['max_length']} character.", ""
        case "greater_than_equal":
            return f"Must be at least {told['ge']:g}.", ""
        case "less_than_equal":
            return f"Must be at most {told['le']:g}.", ""
        case "greater_than":
            return f"Must be more than {told['gt']:g}.", ""
        case "int_type" | "int_from_float":
            return "Must be a whole number.", ""
        case "bool_type":
            return "Must be true or false.", ""
        case "float_type":
            return "Must be a number.", ""
        case "string_type":
            return 'Must be text, in "quotes".', ""
        case "path_type":
            return "Must be the path of a file or folder, in quotes.", ""
        case _:
            return f"{fault['msg']}.", ""


def _dotted(steps: Steps) -> str:
    """A setting's name as the documentation has it: without numbers."""
    return ".".join(step for step in steps if isinstance(step, str))
