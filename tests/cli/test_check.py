"""`glasspost check`, as it is typed: text in both languages, JSON, exit codes."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import pytest

from glasspost.cli.main import main
from glasspost.errors import Exit
from glasspost.mail.message import date_text

GOOD = (
    f"Date: {date_text(time.time())}\r\nFrom: Ann <ann@example.org>\r\nTo: bob@example.net\r\n"
    "Subject: The plan\r\nMessage-ID: <1@example.org>\r\n\r\nHello Bob.\r\n"
)
BAD = GOOD.replace("From:", "From: eve@example.org\r\nFrom:").replace("The plan", "BUY THIS NOW") + "a\nb\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "one.eml"


def test_a_good_message(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(GOOD.encode())
    assert main(["check", str(file), "--lang", "en"]) == Exit.OK
    assert capsys.readouterr().out == "A strict server takes it. Nothing in its form looks like spam.\n"


def test_each_finding_has_place_rule_and_cure(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(BAD.encode())
    assert main(["check", str(file), "--lang", "en"]) == Exit.FAILED
    told = capsys.readouterr().out
    assert "error  line 9 (2 times)  bare-lf  RFC 5321 §2.3.8\n    LF without CR, while" in told
    assert "error  line 3  doubled  RFC 5322 §3.6\n    From is there 2 times; it may be there once.\n" in told
    assert "spam  line 5  shouting-subject\n" in told
    assert told.endswith("A strict server refuses it. One thing in its form looks like spam.\n")
    assert max(map(len, told.splitlines())) <= 80


def test_in_chinese(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(BAD.encode())
    assert main(["check", str(file), "--lang", "zh"]) == Exit.FAILED
    told = capsys.readouterr().out
    assert "错误  第 3 行  doubled  RFC 5322 §3.6\n    From 出现 2 次，只能有一次。" in told
    assert told.endswith("严格的服务器会拒收。形式上有 1 处像垃圾邮件。\n")


def test_from_standard_input_and_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BAD.encode())))
    assert main(["check", "--json", "--lang", "en"]) == Exit.FAILED
    facts = json.loads(capsys.readouterr().out)
    assert facts["acceptable"] is False
    assert facts["counts"] == {"error": 2, "warning": 0, "spam": 1, "note": 0}
    [first, *_] = facts["findings"]
    assert (first["rule"], first["line"], first["section"]) == ("doubled", 3, "RFC 5322 §3.6")


def test_spam_alone_fails_only_where_asked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(GOOD.replace("The plan", "BUY THIS NOW").encode())
    assert main(["check", str(file)]) == Exit.OK
    assert main(["check", str(file), "--strict"]) == Exit.FAILED


def test_what_cannot_be_read_is_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(file)]) == Exit.NOT_FOUND
    file.write_bytes(b"")
    assert main(["check", str(file)]) == Exit.USAGE
    assert main(["check", str(file), "--max-size", "huge"]) == Exit.USAGE
    assert capsys.readouterr().err.count("\n") == 3
