"""The floors: code imports only downward (docs/house.md), and every file opens with its law.

The table here is the law itself. A room may take from every floor below it, and within its own room; rooms on one
floor do not know each other.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "glasspost"

FLOORS = {
    "errors": 0, "clock": 0, "ids": 0, "ip": 0, "stamps": 0,
    "mail": 1, "explain": 1,
    "hooks": 2,  # the public types of a hooks file
    "protocol": 2,
    "storage": 3, "net": 3, "trust": 3,
    "inbound": 4, "outbound": 4, "retrieval": 4,
    "node": 5,
    "console": 6,
    "torture": 6,  # above node: its victims are whole nodes, and nothing of the house may know of it
    "cli": 7,
}  # fmt: skip
OUTSIDE = {"testing"}  # stands outside the house: for tests and users' tests
MAY_USE_STAND_INS = {"torture"}  # it is a test that users can run: its names come from testing.Nameserver
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager", "managers"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms of the house that a file imports anything from, at the top or inside a function."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor"
            if node.module == "glasspost":
                names = [f"glasspost.{alias.name}" for alias in node.names]
            elif node.module:
                names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("glasspost.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_downward(path: Path) -> None:
    room = room_of(path)
    if room in OUTSIDE or room == "__init__":
        return
    assert room in FLOORS, f"{room} is not in the table of floors"
    allowed = OUTSIDE if room in MAY_USE_STAND_INS else set()
    for other in imported_rooms(path) - {room} - allowed:
        assert other in FLOORS, f"{path.name} imports {other}, which is not in the table of floors"
        assert FLOORS[other] < FLOORS[room], f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_opens_with_its_law(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    assert docstring, "no docstring"
    if path.name == "__init__.py":
        return
    text = docstring.lower()
    lives = "lives here" in text or "everything that" in text or "laws are kept here" in text
    assert lives, "the docstring does not say what lives here"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_has_a_name_and_a_size_one_can_remember(path: Path) -> None:
    assert path.stem not in NAMES_THAT_SAY_NOTHING
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_the_check_itself_sees_an_upward_import(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def f():\n    from glasspost.node import node\n")
    assert imported_rooms(wrong) == {"node"}
