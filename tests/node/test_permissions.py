"""Secrets that everybody can read, and files that none of ours can: said at the start, whatever setting names them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from glasspost.errors import ConfigurationError
from glasspost.node.config import read
from glasspost.node.permissions import SECRET_FILES, must_be_readable, open_secrets, settings_of
from glasspost.node.privileges import Privileges
from glasspost.node.settings import Config

EVERYTHING = """
[tls]
certificate = "a.crt"
key = "tls.key"
[[certificate]]
certificate = "b.crt"
key = "second.key"
[bridge]
certificate = "c.crt"
key = "bridge.key"
[[device]]
name = "printer"
sender = "office@example.org"
username = "printer"
password_file = "printer.password"
[[smarthost]]
host = "mail.example.org"
username = "us"
password_file = "smarthost.password"
[oauth]
issuer = "https://id.example.org"
audience = "mail"
introspection_url = "https://id.example.org/ask"
client_id = "us"
client_secret_file = "introspection.secret"
[[oauth_client]]
name = "provider"
token_url = "https://id.example.org/token"
client_id = "us"
client_secret_file = "client.secret"
"""
FILES = {
    "tls.key", "second.key", "bridge.key", "printer.password", "smarthost.password", "introspection.secret",
    "client.secret",
}  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may pass through, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def write(folder: Path, text: str, mode: int, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("secret\n")
        (folder / name).chmod(mode)
    (folder / "glasspost.toml").write_text(text)
    (folder / "glasspost.toml").chmod(0o600)
    return folder / "glasspost.toml"


def test_every_secret_file_that_everybody_can_read_is_named_at_its_line(folder: Path) -> None:
    path = write(folder, EVERYTHING, 0o644, *FILES)
    found = open_secrets(read(path, {}))
    assert {problem.reason.rpartition("/")[2] for problem in found} == FILES
    assert all(
        EVERYTHING.splitlines()[problem.line - 1].startswith(problem.key.rpartition(".")[2]) for problem in found
    )


def test_closed_ones_are_nobodys_business(folder: Path) -> None:
    assert open_secrets(read(write(folder, EVERYTHING, 0o640, *FILES), {})) == []


@pytest.mark.parametrize(
    "text",
    [
        '[[device]]\nname = "p"\nsender = "o@example.org"\nusername = "p"\npassword = "s"\n',
        '[[smarthost]]\nhost = "h.example"\nusername = "p"\npassword = "s"\n',
        '[[oauth_client]]\nname = "p"\ntoken_url = "https://i.example/t"\nclient_id = "u"\nclient_secret = "s"\n',
    ],
)
def test_a_secret_within_an_open_configuration_is_found(folder: Path, text: str) -> None:
    path = write(folder, text, 0o600)
    assert open_secrets(read(path, {})) == []
    path.chmod(0o644)
    (problem,) = open_secrets(read(path, {}))
    assert "glasspost.toml" in problem.reason


def test_a_new_setting_for_a_secret_file_cannot_be_forgotten() -> None:
    """By its name: whoever calls one otherwise adds it to SECRET_FILES."""
    from glasspost.node.catalogue import SETTINGS

    names = {key.rpartition(".")[2] for key in SETTINGS}
    telling = {name for name in names if name.endswith("_file") and ("secret" in name or "password" in name)}
    assert telling | {"key"} == SECRET_FILES
    assert any(isinstance(value, SecretStr) for _, value in settings_of(Config.model_validate(SMARTHOST)))


SMARTHOST: dict[str, Any] = {"smarthost": [{"host": "h.example", "username": "u", "password": "p"}]}
LATE = {
    "oauth.client_secret_file": {
        "oauth": {
            "issuer": "https://id.example.org", "audience": "m", "client_id": "u", "client_secret_file": "FILE",
            "introspection_url": "https://id.example.org/ask",
        },
    },
    "oauth.jwks_file": {"oauth": {"issuer": "https://id.example.org", "audience": "m", "jwks_file": "FILE"}},
    "hooks.file": {"hooks": {"file": "FILE"}},
    "checks.rule_files": {"checks": {"rule_files": ["FILE"]}},
    "oauth_client.client_secret_file": {
        "oauth_client": [
            {"name": "p", "token_url": "https://i.example/t", "client_id": "u", "client_secret_file": "FILE"}
        ],
    },
}  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("key", LATE)
def test_a_file_only_root_can_read_stops_a_start_as_somebody_else(folder: Path, key: str) -> None:
    """It is opened after the change of user, or later still: that is said at once, with the file and the user."""

    def put_in(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {name: put_in(value) for name, value in tree.items()}
        if isinstance(tree, list):
            return [put_in(value) for value in tree]
        return str(folder / "late") if tree == "FILE" else tree

    (folder / "late").write_text("secret\n")
    (folder / "late").chmod(0o600)
    config = Config.model_validate(put_in(LATE[key]))
    must_be_readable(config)  # root can
    with Privileges.of("nobody", "").as_user(), pytest.raises(ConfigurationError) as caught:
        must_be_readable(config)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert "The user nobody cannot read" in problem.reason
    (folder / "late").chmod(0o644)
    with Privileges.of("nobody", "").as_user():
        must_be_readable(config)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_was_read_before_the_change_of_user_may_be_roots_alone(folder: Path) -> None:
    path = write(folder, EVERYTHING.partition("[oauth]")[0], 0o600, *FILES)
    config = read(path, {}).config
    with Privileges.of("nobody", "").as_user():
        must_be_readable(config)
