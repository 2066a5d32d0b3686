"""Real peers: programs of other people that glasspost must get along with.

Lives here: the rule for a peer that is not there, the Postfix fixture, and the nodes that are tested.
Does not live here: any peer's configuration (postfix.py), the node as a process (node_process.py).

The rule: at a desk a missing peer skips its tests, and the end of the run says so by the package's name. In
CI (`CI=true`) it fails them: a test that nobody runs proves nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest
from node_process import PASSWORD, NodeProcess, run
from postfix import Postfix

import glasspost
from glasspost.node.permissions import readable_by_all

_HERE = Path(__file__).parent
_REMEDY = "run `make peers`"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.peer)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Names what was not proved, and what it takes to prove it."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {report.longrepr[2] for report in skipped if "peer missing" in str(report.longrepr)}
    if reasons:
        terminalreporter.section("real peers NOT tested", yellow=True, bold=True)
        for reason in sorted(reasons):
            terminalreporter.line(reason.removeprefix("Skipped: "))


def _missing(what: str) -> NoReturn:
    message = f"peer missing: {what}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture
def everybodys_glasspost() -> list[str]:
    """The command, by a Python that everybody may run: one that lies in root's own home is of no use to its user."""
    program = "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from glasspost.cli.main import run; run()"
    path = ":".join([str(Path(glasspost.__file__).parents[1]), *(one for one in sys.path if "site-packages" in one)])
    for python in (Path(sys.executable).resolve(), Path("/usr/bin/python3.11")):
        if python.exists() and readable_by_all(python):
            return [str(python), "-c", program, path]
    _missing("a Python that everybody may run (Debian package: python3); install it outside of root's home")


@pytest.fixture
def program() -> Callable[..., str]:
    """`program("swaks")` is the path of a peer's program; `package` is its Debian package."""

    def find(name: str, package: str = "") -> str:
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path is None:
            _missing(f"{name} (Debian package: {package or name}); {_REMEDY}")
        assert path is not None
        return path

    return find


@pytest.fixture
def postfix(program: Callable[..., str]) -> Iterator[Callable[..., Postfix]]:
    """Starts private Postfix instances, `postfix("next hop")` or `postfix("sender", relay_to=port)`, any
    number of them; all are stopped at the end of the test. See postfix.py for what can be asked."""
    program("postfix")
    if os.geteuid() != 0:
        _missing("Postfix starts as root only; run the tests as root or through sudo")
    with ExitStack() as running:
        yield lambda *args, **options: running.enter_context(Postfix(*args, **options))


# --- nodes --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A running node for all tests that leave no trace but in a mailbox of their own."""
    node = NodeProcess(tmp_path_factory.mktemp("house")).start()
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def mailbox(house: NodeProcess) -> str:
    """The address of an empty mailbox in the house; its password is PASSWORD."""
    return house.new_mailbox()


@pytest.fixture
def new_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """`new_node(more)` starts a node of this test's own, `more` being TOML on top."""
    nodes: list[NodeProcess] = []

    def start(more: str = "", top: str = "") -> NodeProcess:
        folder = tmp_path / f"node{len(nodes)}"
        folder.mkdir()
        nodes.append(NodeProcess(folder, more, top))
        return nodes[-1].start()

    yield start
    for node in nodes:
        if node.running:
            node.stop()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody on this machine can look into, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def fifty(house: NodeProcess) -> list[str]:
    """Fifty mailboxes in the house. Tests that use them tell their messages apart."""
    return house.add_accounts([f"member{number}@fifty.test" for number in range(50)])


# --- programs -----------------------------------------------------------------------------------------------

Swaks = Callable[..., str]
Curl = Callable[..., bytes]


@pytest.fixture
def swaks(program: Callable[..., str], tmp_path: Path) -> Swaks:
    """`swaks(port, recipients, content, *options, expect=(0,))` sends one message; swaks's own transcript."""
    path = program("swaks")

    def send(
        port: int, recipients: str | list[str], content: bytes, *options: str, expect: tuple[int, ...] = (0,)
    ) -> str:
        if any(option.startswith("-tls") for option in options) and "TLS supported" not in run(path, "--support"):
            _missing(f"TLS for swaks (Debian package: libnet-ssleay-perl); {_REMEDY}")
        letter = tmp_path / "letter"
        letter.write_bytes(content.removesuffix(b"\r\n"))  # swaks adds the line end in front of the dot itself
        to = recipients if isinstance(recipients, str) else ",".join(recipients)
        # A large message need not be printed; the dialogue is.
        quiet = ("--suppress-data",)
        return run(
            path, "--server", "127.0.0.1", "--port", str(port), "--helo", "client.test", "--timeout", "20",
            "--from", "bob@src.test", "--to", to, "--data", f"@{letter}", *quiet, *options, expect=expect,
        )  # fmt: skip

    return send


@pytest.fixture
def nodemailer(program: Callable[..., str]) -> Path:
    """The program that sends by nodemailer: `node PATH`, with JSON on its standard input."""
    program("node", "nodejs")
    path = _HERE / "nodemailer" / "send.mjs"
    if not (path.parent / "node_modules").is_dir():
        _missing("nodemailer; run `npm ci` in tests/peers/nodemailer")
    return path


@pytest.fixture
def curl(program: Callable[..., str]) -> Curl:
    """`curl(*arguments)`: what curl wrote to standard output, octet by octet."""
    path = program("curl")

    def call(*arguments: str | Path, stdin: bytes = b"", expect: int = 0) -> bytes:
        command = [path, "--silent", "--show-error", "--max-time", "40", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=60)
        assert done.returncode == expect, f"curl ended with {done.returncode}: {done.stderr.decode()}"
        return done.stdout

    return call


@pytest.fixture
def fetch(curl: Curl, house: NodeProcess) -> Callable[..., bytes]:
    """`fetch(address)`: the message in a mailbox of the house, by curl over POP3; `number` counts from 1."""

    def message(address: str, number: int = 1) -> bytes:
        return curl("-u", f"{address}:{PASSWORD}", f"pop3://127.0.0.1:{house.pop3}/{number}")

    return message
