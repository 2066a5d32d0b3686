"""A talk that is printed reads back as the very octets it was made from; any text is a talk or says where it is none.

Lives here: that invariant, for protocol/talk.py; and the like one for node/toml_lines.py, the other small reader of
text that people wrote: for every TOML text that tomllib takes, each key and element has a line, and nothing raises.
Does not live here: breeding (engine.py).
"""

from __future__ import annotations

import tomllib
from collections.abc import Hashable, Iterator
from typing import Any

from fuzz.engine import Target
from fuzz.talks import texts
from glasspost.node.toml_lines import Path, key_lines
from glasspost.protocol.talk import CLIENT, NOTE, SERVER, Line, TalkError, escape, parse_talk, print_talk, unescape

TALK_LAW = (__doc__ or "").partition("\n")[0]
TOML_LAW = "For every TOML text that tomllib takes, each key and each element has the line on which it stands."


def run(data: bytes) -> Iterator[Hashable]:
    text = data.decode("utf-8", "surrogateescape")
    try:
        lines = parse_talk(text)
    except TalkError as error:
        yield "no talk", str(error).split(":")[1][:30]
    else:
        yield tuple(line.who + ("t" if line.at is not None else "") for line in lines[:6])
        _check_printed(lines, times=True)
        _check_printed(lines, times=False)
    written = escape(data)
    assert unescape(written) == data, "octets that do not come back"
    assert written.isprintable() or not written, "a talk that steers a terminal"
    yield "escaped", len(written) > len(data)
    made = [
        Line((CLIENT, SERVER, NOTE)[number % 3], octets, number / 8 if number % 2 else None)
        for number, octets in enumerate(data.split(b"\n")[:40])
    ]
    assert parse_talk(print_talk(made, times=True)) == made
    assert [one.octets for one in parse_talk(print_talk(made))] == [one.octets for one in made]


def _check_printed(lines: list[Line], *, times: bool) -> None:
    printed = print_talk(lines, times=times)
    again = parse_talk(printed)
    assert [(one.who, one.octets) for one in again] == [(one.who, one.octets) for one in lines]
    assert print_talk(again, times=times) == printed, "printing is not stable"
    if times:
        for one, other in zip(again, lines, strict=True):
            assert (one.at is None) == (other.at is None)
            assert one.at is None or other.at is None or abs(one.at - other.at) <= max(0.001, other.at * 1e-12)


def run_toml(data: bytes) -> Iterator[Hashable]:
    text = data.decode("utf-8", "ignore").replace("\r\n", "\n")
    if len(text) > 4_000 or text.count("[") + text.count("{") + text.count(".") > 200:
        return  # a configuration is small, and tomllib itself is recursive
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        yield "no toml", str(error)[:12]
        return
    lines = key_lines(text)
    last = text.count("\n") + 1
    for path in _paths(tree, ()):
        assert path in lines, f"{path} has no line"
        assert 1 <= lines[path] <= last
    yield tuple(sorted({len(path) for path in lines})), min(len(lines), 30)


def _paths(value: Any, path: Path) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _paths(inner, (*path, number))


def seeds() -> list[bytes]:
    timed = b"C 0.000: EHLO a\nS 12.345: 250 ok\n# 1.500: a note\n# 1.5: no time\nC:\nS 3.000:\n\n#\nC: end \\x20\n"
    return [timed, b"C: a\\\\b\\xff\n# 0.001:\n# \\x31.000: x\n", *(text.encode() for text in texts())]


def toml_seeds() -> list[bytes]:
    return [
        b'[node]\nhostname = "a.example"\ndata = \'x\'\n[[listener]]\nrole = "mx"\nport = 25\n[[listener]]\nport = 0\n',
        b'a.b.c = 1\n"q.x" = [1, 2, [3, {a = 1, b = "}"}], # x\n 4]\n[t.u]\nx = """\nm\\"l\n"""\n'
        b"[t.\"v w\"]\ny = '''z'''\n",
        b'[[a]]\n[[a.b]]\nc = 1979-05-27T07:32:00Z\n[[a.b]]\nd = {e.f = [], g = ""}\n[a.h]\ni = inf\n[[a]]\nj = 0x1f\n',
        b"x = ''''two quotes'''''\ny = \"\"\"\"\"\"\nz = [\n]\n# only\n",
    ]


WORDS = (
    b"C: ", b"S: ", b"# ", b"C 0.001: ", b"S 99.999:", b"# 1.000: ", b"# 1.000:", b"\\", b"\\\\", b"\\x", b"\\x00",
    b"\\xff", b"\\xe2\\x80\\xa8", b"\xe2\x80\xa8", b"\xc2\xa0", b"\xff", b"\xed\xa0\x80", b" \n", b"\r\n", b"\x0b",
    b"\x1c", b"\xc2\x85", b"9" * 400 + b".000: ",
)  # fmt: skip
TOML_WORDS = (
    b"[a]\n", b"[[a]]\n", b"[a.b]\n", b"[[a.b]]\n", b"a = 1\n", b"b = \"x\"\n", b"c = 'y'\n", b'"""', b"'''", b'"',
    b"'", b"\\\"", b"\\\\", b"\\u00e9", b"{", b"}", b"[", b"]", b",", b" = ", b".", b"#", b"# c\n", b"true", b"1.5",
    b"\n", b"a.b = {c = 1}\n", b"x = [\n1,\n]\n", b"1979-05-27 07:32:00\n",
)  # fmt: skip
TARGET = Target("talk", run, seeds, WORDS, TALK_LAW)
TOML = Target("toml-lines", run_toml, toml_seeds, TOML_WORDS, TOML_LAW)
