"""A hooks file: loaded, checked, and loaded again when it has changed.

Lives here: `load_script`, which makes a `Script` of a file or says on which line it is wrong.
Does not live here: calling its functions (hook_runner.py), what they see and say (glasspost/hooks.py).
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from glasspost.errors import GlasspostError
from glasspost.hooks import ARITY, NAMES
from glasspost.stamps import Stamp, stamp_of

_numbers = count(1)


class HooksBroken(GlasspostError):
    """A hooks file that cannot be used. The message names file, line and fault."""


@dataclass(frozen=True, slots=True)
class Script:
    """A hooks file as it was at one moment: its functions by their names."""

    path: Path
    functions: Mapping[str, Callable[..., Any]]
    stamp: Stamp = None

    @property
    def name(self) -> str:
        return self.path.name


def load_script(path: Path) -> Script:
    """Run a hooks file once and take its functions. Raises HooksBroken."""
    stamp = stamp_of(path)  # before reading: a change meanwhile is seen the next time
    try:
        source = path.read_bytes()
    except OSError as error:
        raise HooksBroken(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    # dataclasses and pickle look a class's module up by its name, so it must have one while the file is used.
    module = ModuleType(f"glasspost_hooks_{next(_numbers)}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException as error:  # whatever the file does when it is run, SystemExit too
        del sys.modules[module.__name__]
        raise HooksBroken(fault_words(error, path)) from None
    return Script(path, _functions(module, path), stamp)


def _functions(module: ModuleType, path: Path) -> dict[str, Callable[..., Any]]:
    found = {}
    for name in NAMES:
        function = getattr(module, name, None)
        if function is None:
            continue
        if not callable(function):
            raise HooksBroken(f"{path}: {name} is no function")
        try:
            inspect.signature(function).bind(*range(ARITY[name]))
        except TypeError:
            raise HooksBroken(f"{path}: {name} must take {ARITY[name]} argument(s); see docs/hooks.md") from None
        found[name] = function
    if not found:
        raise HooksBroken(f"{path} has none of the functions {', '.join(NAMES)}")
    return found


def fault_words(error: BaseException, path: Path) -> str:
    """An exception in one line: the file's line it came from, its kind, its text."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(path):
            line = frame.lineno
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())[:300]
    place = f"{path.name}:{line}" if line else path.name
    return f"{place}: {type(error).__name__}{f': {text}' if text else ''}"
