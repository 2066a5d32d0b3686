"""`glasspost send` to a real Postfix: recipients that it refuses, its TLS, its pipelining, BDAT, mail for nobody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from postfix import Postfix
from rich.cells import cell_len

from glasspost.cli.main import main

StartPostfix = Callable[..., Postfix]


@pytest.fixture
def send(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    def run(server: Postfix, *arguments: str) -> tuple[int, str]:
        line = ["send", "--server", f"127.0.0.1:{server.port}", "--from", "ann@example.net", "--helo", "client.test"]
        code = main([*line, *arguments])
        return code, capsys.readouterr().out

    return run


FIVE = [part for name in ("ada", "bea", "cleo", "dora", "eve") for part in ("--to", f"{name}@example.org")]


@pytest.mark.parametrize("pipelining", ["--pipelining", "--no-pipelining", "--chunking"])
async def test_five_recipients_of_whom_two_are_unknown(
    postfix: StartPostfix, send: Callable[..., tuple[int, str]], pipelining: str
) -> None:
    server = postfix("next hop", refuse=["bea@example.org", "dora@example.org"])
    import asyncio

    code, out = await asyncio.to_thread(send, server, *FIVE, "--json", "--subject", "Grüße", pipelining)
    assert code == 20
    verdicts = {one["address"]: one["verdict"] for one in json.loads(out)["recipients"]}
    assert [name for name, verdict in verdicts.items() if verdict == "refused"] == [
        "bea@example.org",
        "dora@example.org",
    ]
    delivered = await server.wait_for(3)
    assert {one.recipient for one in delivered} == {"ada@example.org", "cleo@example.org", "eve@example.org"}
    assert all(b"=?utf-8?B?" in one.content for one in delivered)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_refusal_is_shown_and_explained(
    postfix: StartPostfix, send: Callable[..., tuple[int, str]], lang: str
) -> None:
    server = postfix("next hop", refuse=["bea@example.org"])
    code, out = send(server, "--to", "bea@example.org", "--lang", lang)
    assert code == 17
    assert "S: 550 5.1.1 <bea@example.org>: Recipient address rejected" in out
    assert ("Next: " if lang == "en" else "下一步：") in out
    assert max(cell_len(line) for line in out.split("\n")) < 80


def test_relaying_is_denied_and_nothing_is_left_behind(
    postfix: StartPostfix, send: Callable[..., tuple[int, str]]
) -> None:
    server = postfix("next hop")
    code, out = send(server, "--to", "x@elsewhere.test")
    assert code == 17 and "Relay access denied" in out
    assert server.queue_length == 0


def test_a_certificate_that_nobody_vouches_for(
    postfix: StartPostfix, send: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    authority: Any = trustme.CA()
    chain = Path(str(tmp_path / "chain.pem"))
    authority.issue_cert("postfix.test").private_key_and_cert_chain_pem.write_to_path(str(chain))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": str(chain)}
    server = postfix("next hop", settings=tls)
    code, out = send(server, "--to", "ada@example.org")
    assert code == 0 and "NOT verified: it is not for 127.0.0.1" in out
    code, out = send(server, "--to", "ada@example.org", "--tls", "require")
    assert code == 14
    code, out = send(
        server,
        "--to",
        "ada@example.org",
        "--tls",
        "require",
        "--ca",
        str(tmp_path / "ca.pem"),
        "--tls-name",
        "postfix.test",
    )
    assert code == 0 and "verified: a known authority vouches" in out
