"""The docs do not lie: what is made from the code is fresh, and what is named exists.

Beside this file: settings (test_settings_doc.py), replies (test_replies.py), the RFC index (test_rfc_index.py), the
journey (test_journey.py).
"""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from glasspost.cli.main import main
from glasspost.errors import Exit
from glasspost.mail import reply as say
from glasspost.node.settings import Config
from glasspost.protocol.smtp_offer import ServerSettings, keywords
from glasspost.protocol.talk import parse_talk

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "glasspost"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md", *ROOT.glob("examples/*/*.md")]
)

# What a page may name: a path below the root, below the package, or a file beside the page.
FOLDERS = "|".join(sorted(path.name for path in (*PACKAGE.iterdir(), *ROOT.iterdir()) if path.is_dir()))
NAMED_FILE = re.compile(rf"`((?:{FOLDERS})/[\w./-]*\.(?:py|sql|md|toml|talk|mjs)|[\w-]+\.(?:py|sql))`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def maker() -> ModuleType:
    """docs/generate.py, which is no package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = maker()


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- made pages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATE.PAGES)
def test_a_made_page_is_not_stale(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == GENERATE.PAGES[name](), "run: python docs/generate.py"


def test_the_house_map_has_every_file_and_says_something_of_it() -> None:
    page = GENERATE.house_page()
    for path in PACKAGE.rglob("*"):
        if path.suffix in (".py", ".sql") and path.name != "__init__.py":
            assert f"`{path.name}`" in page or f"/{path.name}`" in page, f"{path} has no line in the map"
    for line in page.splitlines():
        if line.startswith("- `"):
            said = line.partition("`: ")[2]
            assert len(said) >= 10, line
            assert "Lives here" not in said, f"the first sentence must stand alone: {line}"


def test_the_commands_page_has_every_command() -> None:
    page = GENERATE.commands_page()
    for words in (
        "serve",
        "domain add",
        "account add",
        "alias add",
        "queue list",
        "mailbox export",
        "conversations show",
    ):
        assert f"`glasspost {words}`" in page
    assert len(GENERATE.command_names()) == page.count("\nUsage: glasspost")


def test_every_exit_code_is_documented() -> None:
    assert [(name, value) for name, value, _ in GENERATE.exit_codes()] == [(one.name, one.value) for one in Exit]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], Exit.OK),
        (["nonsense"], Exit.USAGE),
        (["queue", "list", "--nonsense"], Exit.USAGE),
        (["config", "explain", "nonsense.nonsense"], Exit.NOT_FOUND),
        (["config", "check", "--config", "{}/wrong.toml"], Exit.CONFIGURATION),
        (["queue", "list", "--data", "{}/nowhere"], Exit.STORE),
    ],
)
def test_exit_codes_are_what_the_page_says(
    arguments: list[str], code: Exit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.toml").write_text("[smtp]\nmax_recipents = 3\n")
    assert main([word.format(tmp_path) for word in arguments]) == code
    assert len(capsys.readouterr().err.splitlines()) == (0 if code is Exit.OK else 1), "an error is one line"


# --- written pages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path = (page.parent / target).resolve()
        assert path.exists(), f"{name_of(page)} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_named_exists(page: Path) -> None:
    names = {path.name for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    names |= {path.name for path in PACKAGE.rglob("*.sql")}
    for name in NAMED_FILE.findall(page.read_text(encoding="utf-8")):
        if "/" not in name:
            assert name in names, f"{name_of(page)} names {name}"
            continue
        places = (ROOT / name, PACKAGE / name, ROOT / "tests" / name, page.parent / name)
        assert any(place.exists() for place in places), f"{name_of(page)} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_can_be_read(page: Path) -> None:
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        match language:
            case "toml":
                tomllib.loads(text)
            case "json":
                json.loads(text)
            case "talk":
                assert parse_talk(text)
            case _:
                assert language in ("", "sh", "eml", "python", "sql"), f"what is ```{language}?"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_shown_exist(page: Path) -> None:
    known = {" ".join(words) for words in GENERATE.command_names()}
    families = {words[0] for words in GENERATE.command_names() if len(words) == 2}
    for command in commands_shown(page.read_text(encoding="utf-8")):
        words = re.findall(r"^[a-z-]+|(?<= )[a-z-]+", command)
        if words[0] in families and len(words) > 1:
            for member in words[1].split("|"):
                assert f"{words[0]} {member}" in known, f"{name_of(page)} shows glasspost {command}"
        else:
            assert words[0] in known, f"{name_of(page)} shows glasspost {command}"


def commands_shown(text: str) -> list[str]:
    """What stands behind `glasspost` where it is typed: in a line of an example, or between backticks."""
    typed = [line for _, example in FENCE.findall(text) for line in example.splitlines()]
    typed += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    found = [re.search(r"^(?:\$ |.*\| )?(?:\S*/)?glasspost ([a-z].*?)(?<!\.)$", line.strip()) for line in typed]
    return [match[1] for match in found if match]


def test_pages_can_be_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in readme, f"README.md does not link docs/{page.name}"


def test_no_page_names_a_place_outside() -> None:
    """No path of somebody's machine; no address to download from."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(?:root|home|work|tmp)/", text), name_of(page)


@pytest.mark.parametrize("number", range(1, len(list((ROOT / "docs" / "decisions").glob("*.md"))) + 1))
def test_decisions_are_numbered_and_have_one_form(number: int) -> None:
    (page,) = (ROOT / "docs" / "decisions").glob(f"{number:04}-*.md")
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {number:04}: ")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Context", "Decision", "Why", "What it costs"]


# --- the first five minutes --------------------------------------------------------------------------------------


def test_the_readme_shows_the_banner(monkeypatch: pytest.MonkeyPatch) -> None:
    from glasspost.cli.serve import banner

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", [".venv/bin/glasspost"])
    doors = [
        SimpleNamespace(role=listener.role, address=listener.address, port=listener.port)
        for listener in Config().listener
    ]
    node: Any = SimpleNamespace(doors=doors, folder=SimpleNamespace(path="var"))
    assert f"```\n{banner(node)}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_shows_what_is_said() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    refusal = say.NO_SUCH_USER.saying(address="alcie@example.test").tagged("c02k35gvy15q")
    (talk,) = [text for language, text in FENCE.findall(readme) if language == "talk"]
    assert f"S: {refusal}\n" in talk
    assert f"< {refusal}\n" in readme
    smtp = Config().smtp
    offer = ServerSettings("vm", smtp.max_message_size, smtp.max_recipients, tls_available=True)
    for line in keywords(offer, tls=False, mechanisms=offer.mechanisms).splitlines():
        assert re.search(rf"^S: 250[ -]{re.escape(line)}$", talk, re.MULTILINE), f"EHLO offers {line}"
