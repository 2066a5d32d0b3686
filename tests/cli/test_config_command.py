"""`glasspost config`: check, explain, show, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from glasspost.cli.config import app
from glasspost.errors import ConfigurationError, Exit, NotFound

LISTENER = '[[listener]]\nrole = "mx"\nport = 0\n'


def run(*words: str) -> str:
    """What the command prints; raises what it raises, as cli/main.py will see it."""
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_check_says_ok_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "g.toml"
    file.write_text(LISTENER)
    said = run("check", "--config", str(file), "--data", str(tmp_path / "mail"))
    assert said == f"OK: {file}; 1 listener; data in {tmp_path / 'mail'}\n"


def test_check_says_loudly_that_a_certificate_is_self_signed(tmp_path: Path) -> None:
    file = tmp_path / "g.toml"
    file.write_text(LISTENER)
    said = CliRunner().invoke(app, ["check", "--config", str(file), "--data", str(tmp_path / "mail")])
    assert "NO CERTIFICATE IS CONFIGURED: a self-signed one is shown" in said.stderr
    file.write_text(LISTENER + 'tls = "none"\n')
    assert CliRunner().invoke(app, ["check", "--config", str(file), "--data", str(tmp_path / "mail")]).stderr == ""


def test_check_tells_everything_with_the_exit_code_of_configurations(tmp_path: Path) -> None:
    file = tmp_path / "g.toml"
    file.write_text(LISTENER + '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\n')
    with pytest.raises(ConfigurationError) as raised:
        run("check", "--config", str(file), "--data", str(file))
    assert raised.value.exit_code == Exit.CONFIGURATION == 4
    assert [(problem.file, problem.line, problem.key) for problem in raised.value.problems] == [
        ("--data", 0, "node.data"),
        (str(file), 5, "tls.certificate"),
        (str(file), 6, "tls.key"),
    ]


def test_check_leaves_the_ports_of_a_running_node_alone(tmp_path: Path) -> None:
    file = tmp_path / "g.toml"
    file.write_text('[[listener]]\nrole = "mx"\naddress = "192.0.2.1"\nport = 25\n')
    with pytest.raises(ConfigurationError):
        run("check", "--config", str(file))
    assert run("check", "--config", str(file), "--running", "--data", str(tmp_path)).startswith("OK")


def test_explain_fits_a_terminal() -> None:
    for key in ("", "smtp", "smtp.max_memory", "destination"):
        assert max(len(line) for line in run("explain", key).splitlines()) < 80, key


def test_explain_prints_meaning_default_and_unit() -> None:
    said = run("explain", "smtp.max_message_size")
    assert "The largest message taken" in said
    assert '"50 MB"' in said
    assert "1 KB = 1024 octets" in said
    with pytest.raises(NotFound, match="Did you mean"):
        run("explain", "smtp.max_mesage_size")


def test_show_prints_what_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSPOST_SMTP__MAX_ERRORS", "7")
    said = run("show", "--data", str(tmp_path))
    assert "max_errors = 7  # GLASSPOST_SMTP__MAX_ERRORS\n" in said
    assert f'data = "{tmp_path}"  # --data\n' in said
