"""`glasspost explain`, as typed: languages, sources of the text, layout at 80 columns, JSON, exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from glasspost.cli.main import main
from glasspost.errors import Exit
from glasspost.explain.typography import width

PASTES = Path(__file__).resolve().parents[1] / "explain" / "pastes"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "GLASSPOST_EXPLAIN__FOLDER", "GLASSPOST_EXPLAIN__LANGUAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = Exit.OK) -> str:
    assert main(["explain", *arguments]) == code
    return capsys.readouterr().out


def test_a_reply_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "550 5.7.26 no words that are known") == (
        "  550 5.7.26 no words that are known\n"
        "\n"
        "  What happened  More than one authentication check of the message failed: SPF,\n"
        "                 DKIM or DMARC. The server cannot tell that the message really\n"
        "                 comes from the domain it names.\n"
        "  Who must act   the administrator of the sending side\n"
        "  What to do     The administrator of the sender's domain must set up SPF and\n"
        "                 DKIM for every server that sends for it.\n"
        "  Try again?     Only after something has been changed.\n"
        "  Known by       only the enhanced status code was recognised, not the text\n"
        "  Source         RFC 7372 §3.4\n"
    )


def test_chinese_columns_stand_under_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "4.4.2", "--lang", "zh") == (
        "  4.4.2\n"
        "\n"
        "  发生了什么  连接已建立，但在邮件传完之前中断或超时。\n"
        "  应由谁处理  无需任何人处理\n"
        "  怎么处理    发信服务器会自动重试。如果只有大邮件受影响，发件方管理员应检查防火\n"
        "              墙或 MTU 问题。\n"
        "  重试有用吗  有用，请稍后再试。\n"
        "  判断依据    识别出了这个代码\n"
        "  来源        RFC 3463 §3.5\n"
    )


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("LANG", "zh_CN.UTF-8", "这是什么"),
        ("LC_ALL", "zh_TW", "这是什么"),
        ("LANG", "de_DE.UTF-8", "What it is"),
        ("GLASSPOST_EXPLAIN__LANGUAGE", "zh", "这是什么"),
    ],
)
def test_the_language_comes_from_the_environment_unless_it_is_said(
    variable: str, value: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert word in said(capsys, "EHLO")
    assert "What it is" in said(capsys, "EHLO", "--lang", "en")


def test_words_need_no_quotes_and_minus_err_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert "What happened" in said(capsys, "550", "5.1.1", "no", "such", "user")
    assert "another session" in said(capsys, "-ERR [IN-USE] wait")
    assert "another session" in said(capsys, "-ERR", "[IN-USE]", "wait")


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("path", sorted(PASTES.glob("*.txt")), ids=lambda path: path.stem)
def test_pastes_are_explained_within_80_columns(path: Path, lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "--file", str(path), "--lang", lang)
    for line in out.splitlines():
        assert width(line) <= 80, line
        assert line == line.rstrip()


def test_each_recipient_of_a_report_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "--file", str(PASTES / "postfix_report.txt"))
    assert "ann@example.org · failed · mx.example.org · line 3" in out
    assert "bea@example.org · delayed · line" in out
    assert "  What happened  The machine answered, but nothing takes connections" in out


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = b"250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    out = said(capsys)
    assert "It offers:" in out
    assert "  PIPELINING  The client may send several commands at once" in out
    assert "  SIZE        The largest message" in out


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = json.loads(said(capsys, "550 5.1.1 x", "--json"))
    assert one["name"] == "enhanced-no-such-mailbox"
    assert (one["code"], one["enhanced"], one["act"], one["retry"]) == ("550", "5.1.1", "sender", "changed")
    assert one["what"]
    two = json.loads(said(capsys, "--file", str(PASTES / "postfix_report.txt"), "--json", "--lang", "zh"))
    assert [one["recipient"] for one in two] == ["ann@example.org", "bea@example.org"]
    assert two[1]["act_words"] == "无需任何人处理"


def test_entries_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[[entry]]\nname = "a"\npattern = "grumble"\n[entry.en]\nwhat = "It grumbles."\n')
    assert "It grumbles." in said(capsys, "550 grumble", "--data-file", str(own))
    config = tmp_path / "elsewhere" / "glasspost.toml"
    config.parent.mkdir()
    config.write_text('[explain]\nfolder = ".."\nlanguage = "zh"\n')
    out = said(capsys, "550 grumble", "--config", str(config))
    assert "It grumbles." in out
    assert "发生了什么" in out
    monkeypatch.setenv("GLASSPOST_EXPLAIN__FOLDER", str(tmp_path))
    assert "It grumbles." in said(capsys, "550 grumble")
    own.write_text("[[entry]]\n")
    assert main(["explain", "550"]) == Exit.CONFIGURATION
    assert capsys.readouterr().err.startswith(f"glasspost: {own}:1: entry 1: name is missing")
    assert main(["config", "check"]) == Exit.CONFIGURATION
    assert "name is missing" in capsys.readouterr().err


def test_what_nothing_is_known_of_has_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nothing is known about this text." in said(capsys, "hello there", code=Exit.NOT_FOUND)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["550", "--lnag", "zh"], "There is no option --lnag"),
        (["550", "--lang", "fr"], '"fr" is no language'),
        (["550", "--file", "x"], "not both"),
    ],
)
def test_a_slip_is_told_in_one_line(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *arguments]) == Exit.USAGE
    error = capsys.readouterr().err
    assert complaint in error
    assert len(error.splitlines()) == 1


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--file", str(tmp_path / "none")]) == Exit.NOT_FOUND
    assert "cannot be read: no such file" in capsys.readouterr().err


def test_empty_input_is_a_slip(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert main(["explain"]) == Exit.USAGE
    assert "Nothing was asked" in capsys.readouterr().err


def test_nothing_that_a_terminal_obeys_is_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "550 5.1.1 \x1b]0;mine\x07 no \x9b31m such \u202e user")
    assert not any(letter in shown for letter in "\x1b\x07\x9b\u202e")
