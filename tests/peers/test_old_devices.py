"""Programs that speak as old devices do reach a strict provider through the bridge: openssl with TLS 1.0, a shell
script with nc.

Does not live here: the ESP8266 (tests/devices/test_bridge_from_a_board.py), outages (tests/node/test_device_bridge.py).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bridges import ACCOUNT, Provider, bridge, port_of, strict_provider, talks

Program = Callable[..., str]
NC_EXAMPLE = Path(__file__).parents[2] / "examples" / "nc" / "send_mail.sh"

# What a client needs to speak TLS 1.0 at all today: Debian's own configuration forbids it.
OPENSSL_CONF = """\
openssl_conf = settings
[settings]
ssl_conf = ssl
[ssl]
system_default = old
[old]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
"""
TALK = (
    "MAIL FROM:scanner@localhost\n"
    "RCPT TO:dave@client.example\n"
    "DATA\n"
    "Subject: a scan\n"
    "\n"
    "One page.\n"
    ".\n"
    "QUIT\n"
)  # s_client makes CR LF of each end (-crlf)


async def told(*command: str, stdin: str, **environment: str) -> tuple[int, str]:
    """Run a program beside the bridge, which lives in this process; its exit code, and all it printed."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        input=stdin.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        env=os.environ | environment,
    )
    return done.returncode, done.stdout.decode(errors="replace")


async def scan_arrived(provider: Provider) -> None:
    (letter,) = await provider.arrived()
    assert (letter.sender, letter.recipients, letter.tls) == (ACCOUNT, ["dave@client.example"], "TLSv1.3")
    assert letter.content.endswith(b"\r\nSubject: a scan\r\n\r\nOne page.\r\n")


@pytest.mark.parametrize(("option", "version"), [("-tls1", "TLSv1"), ("-tls1_1", "TLSv1.1")])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_openssl_with_old_tls(program: Program, tmp_path: Path, tls: str, option: str, version: str) -> None:
    openssl = program("openssl")
    (tmp_path / "openssl.cnf").write_text(OPENSSL_CONF)
    async with strict_provider(tmp_path) as provider, bridge(tmp_path / "node", provider, tls) as node:
        where = ["-connect", f"127.0.0.1:{port_of(node)}", "-quiet", "-crlf", option]
        where += ["-starttls", "smtp"] if tls == "starttls" else []
        code, said = await told(openssl, "s_client", *where, stdin=TALK, OPENSSL_CONF=str(tmp_path / "openssl.cnf"))
        assert "Safe on disk" in said, said
        await scan_arrived(provider)
    assert code == 0
    assert f"# repaired: old-tls: {version}" in talks(node)


async def test_a_shell_script_with_nc(program: Program, tmp_path: Path) -> None:
    program("nc", "netcat-openbsd")
    async with strict_provider(tmp_path) as provider, bridge(tmp_path / "node", provider) as node:
        port = str(port_of(node))
        script = ("sh", str(NC_EXAMPLE), "127.0.0.1", port, "anna@client.example", "Disk is full")
        code, said = await told(*script, stdin="First line\n.\nLast line\n")
        assert code == 0, said
        (letter,) = await provider.arrived()
    assert (letter.sender, letter.recipients) == (ACCOUNT, ["anna@client.example"])
    assert letter.message["Subject"] == "Disk is full"
    assert letter.message.get_content() == "First line\r\n.\r\nLast line\r\n"


async def test_the_script_says_when_its_mail_was_not_taken(program: Program, tmp_path: Path) -> None:
    program("nc", "netcat-openbsd")
    async with strict_provider(tmp_path) as provider:
        strangers = [{"name": "other", "sender": ACCOUNT, "networks": ["192.0.2.0/24"]}]
        async with bridge(tmp_path / "node", provider, device=strangers) as node:
            port = str(port_of(node))
            code, said = await told("sh", str(NC_EXAMPLE), "127.0.0.1", port, "anna@client.example", "x", stdin="x\n")
    assert code == 1
    assert "550 5.7.1 Only devices that the configuration names" in said
