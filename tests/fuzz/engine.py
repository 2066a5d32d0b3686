"""A fuzzer of our own: it breeds inputs, keeps those that show something new, and says what broke.

Lives here: mutation, the pool of inputs worth keeping, watching lines, shrinking a finding, reading and writing the
corpus. All chance comes from one seed, and a target is a pure function of its octets, so a finding is its file.
Does not live here: what is fuzzed and what must hold (the targets: their first sentences), the command line (run.py).

An input is worth keeping where a target reports a feature that was not seen before (a reply in a state, an event
behind another), or where it runs a line that was not run before. Lines are watched with `sys.settrace`, which is slow,
so only for one input of many, and only in functions that still have lines nobody has seen.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
PACKAGE = str(HERE.parents[1] / "src" / "glasspost")
LONGEST = 24_000  # octets of an input: more than the longest line that is taken
USUAL = 2_500  # octets of most inputs: many small ones find more than a few large ones
WATCH_ONE_OF = 8  # inputs whose lines are watched
SLOW = 5.0  # seconds of processor time for one input: nothing here is meant to backtrack
INTERESTING = (
    b"\0", b"\r", b"\n", b"\r\n", b".", b"\r\n.\r\n", b" ", b"\t", b"\x7f", b"\x80", b"\xff", b"\xc3\xa9",
    b"\xe2\x80\xa8", b"<", b">", b'"', b"\\", b"@", b":", b";", b"=", b"+", b"-", b"0", b"9" * 25,
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Something to be fuzzed. `run` gives features and raises where its invariant does not hold."""

    name: str
    run: Callable[[bytes], Iterable[Hashable]]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()
    invariant: str = ""


@dataclass
class Finding:
    """An input for which the invariant does not hold, as small as it got, and why."""

    data: bytes
    error: str
    where: str


@dataclass
class Account:
    """What a run came to."""

    target: str
    executions: int = 0
    seconds: float = 0.0
    pool: int = 0
    features: int = 0
    lines: int = 0
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.target:<14} {self.executions:>9} executions  {self.seconds:>6.0f} s  {self.features:>6} features"
            f"  {self.lines:>5} lines  {self.pool:>5} kept  {len(self.findings)} findings"
        )


class Lines:
    """Which lines of the package were run. Functions of which all lines are known are not watched any more."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()
        self._left: dict[CodeType, set[int]] = {}
        self._fresh = 0

    def watch(self, run: Callable[[], Any]) -> int:
        """Run it; how many lines were new. What it raises goes through."""
        self._fresh = 0
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            run()
        finally:
            sys.settrace(before)
        return self._fresh

    def _enter(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        code = frame.f_code
        left = self._left.get(code)
        if left is None:
            ours = code.co_filename.startswith(PACKAGE)
            left = {line for _, _, line in code.co_lines() if line is not None} if ours else set()
            self._left[code] = left
        return self._line if left else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        left = self._left[frame.f_code]
        if event == "line" and frame.f_lineno in left:
            left.discard(frame.f_lineno)
            self.seen.add((frame.f_code, frame.f_lineno))
            self._fresh += 1
        return self._line if left else None


class Fuzzer:
    """One target, one seed. `fuzz` may be called again and goes on where it stopped."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.chance = random.Random(seed)
        self.account = Account(target.name)
        self.lines = Lines()
        self.features: set[Hashable] = set()
        self.pool: list[bytes] = []
        self._known_faults: set[str] = set()

    def learn(self, inputs: Iterable[bytes]) -> None:
        """The inputs to begin with: corpus and seeds. All of them are run."""
        for data in inputs:
            self.try_out(data, watched=True)
            if data not in self.pool:
                self.pool.append(data)

    def fuzz(self, seconds: float) -> None:
        """Breed and run until the time is over."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            for _ in range(50):
                self.try_out(self.breed(), watched=self.account.executions % WATCH_ONE_OF == 0)
        self.account.seconds += time.monotonic() - begun
        self.account.pool, self.account.features = len(self.pool), len(self.features)
        self.account.lines = len(self.lines.seen)

    def try_out(self, data: bytes, *, watched: bool) -> None:
        """Run one input. It is kept where it shows something new."""
        self.account.executions += 1
        shown: set[Hashable] = set()
        fresh = 0
        begun = time.process_time()
        try:
            if watched:
                fresh = self.lines.watch(lambda: shown.update(self.target.run(data)))
            else:
                shown.update(self.target.run(data))
            spent = time.process_time() - begun
            assert spent < SLOW, f"{spent:.1f} s for {len(data)} octets"
        except Exception as error:
            self._found(data, error)
            return
        if fresh or not shown <= self.features:
            self.features |= shown
            self.pool.append(data)

    # --- breeding ---------------------------------------------------------------------------------------------

    def breed(self) -> bytes:
        """A new input: one from the pool, changed in a few places."""
        chance = self.chance
        # Half of the time one of the youngest: they are the least explored.
        young = chance.random() < 0.5
        data = chance.choice(self.pool[-64:] if young else self.pool)
        for _ in range(1 << chance.randrange(4)):
            data = chance.choice(_CHANGES)(self, data)
        return data[: LONGEST if chance.random() < 0.04 else USUAL]

    def _place(self, data: bytes) -> int:
        return self.chance.randrange(len(data) + 1)

    def _stretch(self, data: bytes) -> tuple[int, int]:
        """A stretch of the input; short ones are likelier."""
        start = self._place(data)
        return start, min(len(data), start + int(self.chance.paretovariate(0.8)))

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self.chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self.chance.randrange(8))]) + data[at + 1 :]

    def _insert(self, data: bytes) -> bytes:
        at = self._place(data)
        word = self.chance.choice(self.target.words or INTERESTING)
        return data[:at] + word + data[at:]

    def _insert_interesting(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self.chance.choice(INTERESTING) + data[at:]

    def _overwrite(self, data: bytes) -> bytes:
        start, end = self._stretch(data)
        return data[:start] + self.chance.choice((*self.target.words, *INTERESTING)) + data[end:]

    def _cut(self, data: bytes) -> bytes:
        start, end = self._stretch(data)
        return data[:start] + data[end:]

    def _repeat(self, data: bytes) -> bytes:
        start, end = self._stretch(data)
        times = self.chance.choice((2, 2, 3, 8, 100, 500, 2048))
        return data[:end] + (data[start:end] * times)[:13_000] + data[end:]

    def _splice(self, data: bytes) -> bytes:
        other = self.chance.choice(self.pool)
        return data[: self._place(data)] + other[self._place(other) :]

    def _line_from_elsewhere(self, data: bytes) -> bytes:
        lines = self.chance.choice(self.pool).splitlines(keepends=True)
        own = data.splitlines(keepends=True)
        if lines:
            own.insert(self.chance.randrange(len(own) + 1), self.chance.choice(lines))
        return b"".join(own)

    def _line_away(self, data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        if lines:
            del lines[self.chance.randrange(len(lines))]
        return b"".join(lines)

    def _lines_swapped(self, data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        if len(lines) > 1:
            one, other = self.chance.randrange(len(lines)), self.chance.randrange(len(lines))
            lines[one], lines[other] = lines[other], lines[one]
        return b"".join(lines)

    def _number(self, data: bytes) -> bytes:
        found = list(re.finditer(rb"[0-9]+", data))
        if not found:
            return data
        one = self.chance.choice(found)
        value = self.chance.choice((0, 1, int(one[0][:9]) + 1, max(0, int(one[0][:9]) - 1), 2**31, 10**20))
        return data[: one.start()] + str(value).encode() + data[one.end() :]

    def _case(self, data: bytes) -> bytes:
        start, end = self._stretch(data)
        return data[:start] + data[start:end].swapcase() + data[end:]

    # --- findings ---------------------------------------------------------------------------------------------

    def _found(self, data: bytes, error: Exception) -> None:
        where = _place_of(error)
        if where in self._known_faults:
            return
        self._known_faults.add(where)
        small = self._shrunk(data, where)
        self.account.findings.append(Finding(small, f"{type(error).__name__}: {error}", where))

    def _shrunk(self, data: bytes, where: str) -> bytes:
        """The input with all that may go taken away, as long as it breaks at the same place."""
        end = time.monotonic() + 20
        size = max(1, len(data) // 2)
        while size and time.monotonic() < end:
            at = 0
            while at < len(data) and time.monotonic() < end:
                shorter = data[:at] + data[at + size :]
                if _breaks_at(self.target, shorter) == where:
                    data = shorter
                else:
                    at += size
            size //= 2
        return data


_CHANGES = (
    Fuzzer._flip, Fuzzer._insert, Fuzzer._insert, Fuzzer._insert_interesting, Fuzzer._overwrite, Fuzzer._cut,
    Fuzzer._cut, Fuzzer._repeat, Fuzzer._splice, Fuzzer._line_from_elsewhere, Fuzzer._line_from_elsewhere,
    Fuzzer._line_away, Fuzzer._lines_swapped, Fuzzer._number, Fuzzer._case,
)  # fmt: skip


def _place_of(error: Exception) -> str:
    """Where it broke: the kind of the fault and the lines that led there, so that one fault is found once."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename != __file__]
    path = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[:-4:-1])
    return f"{type(error).__name__} at {path}"


def _breaks_at(target: Target, data: bytes) -> str:
    try:
        set(target.run(data))
    except Exception as error:
        return _place_of(error)
    return ""


def cuttings(data: bytes, count: int, *, at: Iterable[int] = ()) -> list[list[bytes]]:
    """Ways to cut octets into segments: whole, octet by octet where they are few, and by chance. The chance hangs on
    the octets themselves, so an input needs no seed. `at`: places where each of them is cut."""
    chance = random.Random(hashlib.blake2b(data, digest_size=8).digest())
    always = sorted(set(at))
    ways = [always]
    if len(data) <= 600:
        ways.append(list(range(1, len(data))))
    while len(ways) < count:
        places = {chance.randrange(len(data) + 1) for _ in range(chance.choice((1, 2, 5, 20, 60)))}
        ways.append(sorted(places | set(always)))
    return [_pieces(data, places) for places in ways]


def _pieces(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *places, len(data)]
    return [data[start:end] for start, end in pairwise(edges) if end > start]


def read_corpus(name: str) -> list[bytes]:
    """The committed inputs of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def write_input(name: str, data: bytes, prefix: str = "") -> Path:
    """Put an input into the corpus. Its name is its hash: the same input is there once."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prefix}{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path
