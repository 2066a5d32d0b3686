"""On which line each key of a TOML file stands."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.node.catalogue import write_value
from glasspost.node.toml_lines import Path, key_lines


def test_all_that_toml_can_do() -> None:
    lines = key_lines(
        """# a comment = 1
top = 1
a.b.c = "x # no comment"   # c = 2
"quoted.key" = 'it"""
        "'"
        + """
'literal "key"'.z = "\\" = \\\\"

[table] # [not a table]
long = \"\"\"
fake = 1
[fake]
\\\"\"\" still ""\"\"\"
raw = '''
fake = 2 '' '''''
after = [ # [
  1, [2,
  3], { x = 1, y.z = [
    "]" ] }, # }
]
  [ spaced . "out" ]
 key = 1979-05-27T07:32:00Z
[[box]]
n = 1
[[box.inner]]
m = 1
[[box.inner]]
[box.inner.deep]
m = 2
[[box]]
n = 3
[[box.inner]]
m = 4
"""
    )
    assert lines["top",] == 2
    assert lines["a", "b", "c"] == lines["a", "b"] == lines["a",] == 3
    assert lines["quoted.key",] == 4
    assert lines['literal "key"', "z"] == 5
    assert lines["table",] == 7
    assert lines["table", "long"] == 8
    assert lines["table", "raw"] == 12
    assert lines["table", "after"] == 14
    assert lines["table", "after", 1] == 15
    assert lines["table", "after", 1, 1] == 16
    assert lines["table", "after", 2, "x"] == lines["table", "after", 2, "y", "z"] == 16
    assert lines["table", "after", 2, "y", "z", 0] == 17
    assert lines["spaced", "out", "key"] == 20
    assert lines["box",] == lines["box", 0] == 21
    assert lines["box", 0, "inner", 1] == 25
    assert lines["box", 0, "inner", 1, "deep", "m"] == 27
    assert lines["box", 1] == 28
    assert lines["box", 1, "inner", 0, "m"] == 31
    assert not any("fake" in path for path in lines)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "a = 1", "[a]", "a = {}", "a = []", 'a = ""'])
def test_small_files_end_where_they_end(text: str) -> None:
    assert set(key_lines(text)) == set(paths(tomllib.loads(text)))


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every key and element of what tomllib read."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, element in inner:
        yield (*path, step)
        yield from paths(element, (*path, step))


words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
values = st.recursive(
    st.integers(-9, 9) | st.booleans() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
blanks = st.sampled_from(["", "\n", "# [x] = '\n", "\r\n"])


def inline(value: Any, gap: str) -> str:
    """A value as TOML; `gap` stands where TOML allows a new line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{write_value(key)} = {inline(each, gap)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + gap + ("," + gap).join(inline(each, gap) for each in value) + gap + "]"
    return write_value(value)


@given(st.lists(st.tuples(words, st.booleans(), st.dictionaries(words, values, max_size=3)), max_size=4), blanks)
def test_every_key_that_tomllib_reads_has_its_line(sections: list[tuple[str, bool, dict[str, Any]]], gap: str) -> None:
    """The walk finds the same keys as tomllib, and each stands on the line it names."""
    text, used = "", set[str]()
    for name, repeated, keys in sections:
        name += "+" if repeated else "-"  # a name is either a table or an array of tables
        if name in used and not repeated:
            continue
        used.add(name)
        text += f"[[{write_value(name)}]]\n" if repeated else f"[{write_value(name)}]\n"
        text += "".join(f"{gap}{write_value(key)} = {inline(value, gap)}\n" for key, value in keys.items())
    lines = key_lines(text)
    assert set(lines) == set(paths(tomllib.loads(text)))
    rows = text.replace("\r\n", "\n").split("\n")
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert write_value(path[-1]) in rows[line - 1]
