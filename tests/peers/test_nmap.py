"""nmap's scripts for mail servers find nothing here: no open relay, and no users told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from node_process import NodeProcess

Program = Callable[..., str]


@pytest.fixture(params=["mx", "submission"])
def door(request: pytest.FixtureRequest, house: NodeProcess) -> int:
    """Port by port: both are looked at."""
    return int(getattr(house, request.param))


@pytest.fixture
def scan(program: Program) -> Callable[..., str]:
    """`scan(port, script)`: what a script of nmap reports, words in single spaces."""
    path = program("nmap")

    def look(port: int, script: str, *options: str) -> str:
        # +: also on a port that nmap does not take for SMTP's.
        arguments = [path, "-Pn", "-n", "-p", str(port), "--script", f"+{script}", *options, "127.0.0.1"]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
        assert f"{script}:" in done.stdout, done.stdout
        return " ".join(done.stdout.split())

    return look


def test_no_open_relay(scan: Callable[..., str], door: int) -> None:
    report = scan(door, "smtp-open-relay")
    assert "Server is an open relay" not in report
    refusals = "Server doesn't seem to be an open relay, all tests failed", "Server isn't an open relay, authentication"
    assert any(refusal in report for refusal in refusals), report


def test_vrfy_and_expn_tell_no_users(scan: Callable[..., str], house: NodeProcess, mailbox: str, door: int) -> None:
    user = mailbox.partition("@")[0]
    report = scan(door, "smtp-enum-users", "--script-args", "smtp-enum-users.methods={VRFY,EXPN}")
    assert user not in report
    assert "root" not in report, report


def test_the_commands_it_lists_are_those_that_are_offered(scan: Callable[..., str], house: NodeProcess) -> None:
    report = scan(house.mx, "smtp-commands")
    assert "PIPELINING" in report and "SMTPUTF8" in report
    assert "ETRN" not in report and "XCLIENT" not in report and "AUTH" not in report, report
