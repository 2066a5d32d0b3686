"""nodemailer signs in by every mechanism that it knows, and hears the truth about a wrong password."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from node_process import PASSWORD, NodeProcess

OWNER = "owner@here.test"
KEY = ec.generate_private_key(ec.SECP256R1())
TOKEN = jwt.encode(
    {"iss": "https://id.test", "aud": "mail", "email": OWNER, "exp": time.time() + 3600}, KEY, "ES256", {"kid": "1"}
)
MORE = """
[[listener]]
role = "submission"
port = 0
cram_md5 = true
[[listener]]
role = "submission"
port = 0
tls = "implicit"
[oauth]
issuer = "https://id.test"
audience = "mail"
jwks_file = "jwks.json"
"""


class Place:
    """A node for the tests of this file, and what its owner signs in with."""

    def __init__(self, folder: Path) -> None:
        key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
        (folder / "jwks.json").write_text(json.dumps({"keys": [{**key, "kid": "1"}]}))
        self.node = NodeProcess(folder, MORE).start()
        self.node.add_account(OWNER)
        self.app = self.node.tell("account", "app-password", "add", OWNER, "old", "--cram-md5").strip()
        self.starttls, self.implicit = (port for _, port in self.node.doors[-2:])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("nodemailer"))
    yield place
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


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
@pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"])
def test_it_signs_in(place: Place, send: Send, method: str, implicit: bool) -> None:
    auth = {"user": OWNER, "method": method}
    if method == "XOAUTH2":
        auth |= {"type": "OAuth2", "accessToken": TOKEN}
    else:
        auth["pass"] = place.app if method == "CRAM-MD5" else PASSWORD
    if implicit and method == "CRAM-MD5":
        pytest.skip("that listener is for today's programs")
    done = send(place.implicit if implicit else place.starttls, auth, implicit=implicit)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("250 2.0.0 Safe on disk as q")
    assert f"signed in as {OWNER} by {method}" in place.node.newest_talk("smtp-in")


@pytest.mark.parametrize("user", [OWNER, "nobody@here.test"])
def test_a_wrong_password_is_refused_in_one_way(place: Place, send: Send, user: str) -> None:
    done = send(place.starttls, {"user": user, "pass": "wrong", "method": "PLAIN"})
    assert done.returncode == 1
    assert done.stderr.startswith("EAUTH 535 "), done.stderr
    assert "535 5.7.8 User name or password is wrong" in done.stderr
