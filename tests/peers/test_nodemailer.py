"""nodemailer signs in by every mechanism that it knows, and hears the truth about a wrong password."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from owner import OWNER, Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("nodemailer"))
    try:
        yield place
    finally:
        place.node.stop()


@pytest.fixture
def send(nodemailer: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`send(port, auth, implicit=False)`: one message to OWNER; what nodemailer said about it."""

    def run(port: int, auth: dict[str, str], *, implicit: bool = False) -> subprocess.CompletedProcess[str]:
        transport = {
            "host": "127.0.0.1", "port": port, "secure": implicit, "requireTLS": not implicit,
            "tls": {"rejectUnauthorized": False}, "auth": auth, "name": "client.test", "authMethod": auth["method"],
        }  # fmt: skip
        message = {"from": OWNER, "to": OWNER, "subject": f"by {auth['method']}", "text": "hello"}
        options = json.dumps({"transport": transport, "message": message})
        return subprocess.run(["node", nodemailer], input=options, text=True, capture_output=True, timeout=60)

    return run


Send = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("door", "method"),
    [
        *(("submission", method) for method in ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2")),
        *(("implicit", method) for method in ("PLAIN", "LOGIN", "XOAUTH2")),  # CRAM-MD5 is for old devices
    ],
)
def test_it_signs_in(place: Place, send: Send, door: str, method: str) -> None:
    auth = {"user": OWNER, "method": method}
    if method == "XOAUTH2":
        auth |= {"type": "OAuth2", "accessToken": place.secret(method)}
    else:
        auth["pass"] = place.secret(method)
    done = send(getattr(place, door), auth, implicit=door == "implicit")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("250 2.0.0 Safe on disk as q")
    assert f"signed in as {OWNER} by {method}" in place.node.newest_talk("smtp-in")


@pytest.mark.parametrize("user", [OWNER, "nobody@here.test"])
def test_a_wrong_password_is_refused_in_one_way(place: Place, send: Send, user: str) -> None:
    done = send(place.submission, {"user": user, "pass": "wrong", "method": "PLAIN"})
    assert done.returncode == 1
    assert done.stderr.startswith("EAUTH 535 "), done.stderr
    assert "535 5.7.8 User name or password is wrong" in done.stderr
