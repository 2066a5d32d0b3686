"""docs/settings.md, `config explain` and `config show` say what is so: they are made from the settings themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from glasspost.errors import Exit, NotFound
from glasspost.node.catalogue import SECTIONS, SETTINGS
from glasspost.node.config import load, read
from glasspost.node.settings_text import EXAMPLE, explain, page, shown

REQUIRED = (
    "listener.role",
    "listener.port",
    "smarthost.host",
    "oauth_client.name",
    "oauth_client.token_url",
    "oauth_client.client_id",
    "device.name",
    "device.sender",
    "certificate.certificate",
    "certificate.key",
    "destination.domain",
    "milter.address",
    "dns_list.domain",
    "destination.tls",
)
PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m glasspost.node.settings_text docs/settings.md"


def test_the_pages_example_is_right(tmp_path: Path) -> None:
    assert EXAMPLE in page()
    (tmp_path / "g.toml").write_text(EXAMPLE)
    assert load(tmp_path / "g.toml", {}).smarthost[0].tls == "verify"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_meaning_kind_and_default(name: str) -> None:
    row = SETTINGS[name]
    assert row.meaning[0].isupper() and row.meaning.endswith("."), "a meaning is a sentence"
    assert row.kind
    assert row.default or name in REQUIRED
    text = explain(name)
    for part in (row.name, row.variable, row.default):
        assert part in " ".join(text.split())


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_lists_its_settings(name: str) -> None:
    text = explain(name)
    assert all(f"  {row.key} " in text for row in SECTIONS[name].settings)
    assert explain(SECTIONS[name].header) == text, "the name may come with its brackets"


def test_explain_finds_what_was_meant() -> None:
    assert explain("max_recipients").startswith("smtp.max_recipients\n"), "a key without its section, where it is clear"
    assert all(table.header in explain("") for table in SECTIONS.values())
    for wrong, told in {
        "smtp.max_recipient": 'Did you mean "smtp.max_recipients"?',
        "node.vrfy": 'Did you mean "smtp.vrfy"?',
        "rely": 'Did you mean "relay"?',
        "port": "is in several sections: listener.port, smarthost.port",
        "qqqqqqq": "`glasspost config explain` lists the sections.",
    }.items():
        with pytest.raises(NotFound) as raised:
            explain(wrong)
        assert told in str(raised.value)
        assert raised.value.exit_code == Exit.NOT_FOUND


def test_what_is_shown_reads_back_as_the_same_configuration(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(
        EXAMPLE + '[dns]\nservers = ["::1"]\n[mailboxes]\ndetail_separator = "\\""\n[transcripts]\nkeep = 0.25\n'
    )
    first = read(tmp_path / "one.toml", {"GLASSPOST_SMTP__RELAY_NETWORKS": "192.0.2.0/24"})
    (tmp_path / "two.toml").write_text(shown(first))
    assert load(tmp_path / "two.toml", {}) == first.config.with_data(Path.cwd() / "var")
    assert f'max_message_size = "25 MB"  # {tmp_path / "one.toml"}:20' in shown(first)
    assert 'relay_networks = ["192.0.2.0/24"]  # GLASSPOST_SMTP__RELAY_NETWORKS' in shown(first)


def test_a_house_without_listeners_is_shown_as_one(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text("listener = []\n")
    first = read(tmp_path / "one.toml", {})
    (tmp_path / "two.toml").write_text(shown(first))
    assert load(tmp_path / "two.toml", {}).listener == ()


def test_a_password_is_not_shown() -> None:
    environ = {f"GLASSPOST_SMARTHOST__0__{key}": value for key, value in _SECRETIVE.items()}
    text = shown(read(None, environ))
    assert "sesame" not in text
    assert "# password is set, and not shown  # GLASSPOST_SMARTHOST__0__PASSWORD" in text


_SECRETIVE = {"HOST": "smtp.example.net", "USERNAME": "u", "PASSWORD": "open sesame"}
