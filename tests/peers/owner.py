"""Somebody who signs in by every mechanism that there is, and the node that offers them.

Lives here: the owner's secrets, and `Place`: a node with additional listeners on which all of them work.
Does not live here: the programs that sign in (test_sign_in.py, test_nodemailer.py).
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from node_process import PASSWORD, NodeProcess

OWNER = "owner@here.test"
_KEY = ec.generate_private_key(ec.SECP256R1())  # its tokens fit into a line of msmtp's settings
TOKEN = jwt.encode(
    {"iss": "https://id.test", "aud": "mail", "email": OWNER, "exp": time.time() + 3600}, _KEY, "ES256", {"kid": "1"}
)
BY_TOKEN = ("OAUTHBEARER", "XOAUTH2")
_MORE = """
[[listener]]
role = "submission"
port = 0
cram_md5 = true
[[listener]]
role = "submission"
port = 0
tls = "implicit"
[[listener]]
role = "pop3"
port = 0
cram_md5 = true
[oauth]
issuer = "https://id.test"
audience = "mail"
jwks_file = "jwks.json"
"""


class Place:
    """A node that offers everything, on the ports of its additional listeners: `submission` and `pop3` with STARTTLS
    and STLS and for old devices as well, `implicit` for today's programs."""

    def __init__(self, folder: Path) -> None:
        key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(_KEY.public_key()))
        (folder / "jwks.json").write_text(json.dumps({"keys": [{**key, "kid": "1"}]}))
        self.node = NodeProcess(folder, _MORE).start()
        self.node.add_account(OWNER)
        self.app = self.node.tell("account", "app-password", "add", OWNER, "old", "--cram-md5").strip()
        self.submission, self.implicit, self.pop3 = (port for _, port in self.node.doors[-3:])

    def secret(self, mechanism: str) -> str:
        """What signs in by a mechanism, as it is called in AUTH."""
        return TOKEN if mechanism in BY_TOKEN else self.app if mechanism == "CRAM-MD5" else PASSWORD
