"""rspamd and opendkim at the gates: GTUBE is refused, ham passes, symbols and signatures are on record."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from filters import PrivateOpendkim, PrivateRspamd
from node_process import NodeProcess

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
HEADER = (
    b"From: Bob <bob@here.test>\r\nTo: Alice <owner1@here.test>\r\nSubject: lunch\r\n"
    b"Message-ID: <lunch.1@src.test>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
)
HAM = HEADER + b"Dear Alice,\r\n\r\nshall we meet for lunch tomorrow, as every week?\r\n\r\nYours, Bob\r\n"
SPAM = HEADER + GTUBE + b"\r\n"


@pytest.fixture(scope="module")
def rspamd() -> Iterator[Callable[[str], PrivateRspamd]]:
    """One for all tests of this file: it takes its time to start."""
    running: list[PrivateRspamd] = []

    def start(program: str) -> PrivateRspamd:
        if not running:
            running.append(PrivateRspamd(program))
        return running[0]

    yield start
    for one in running:
        one.stop()


def root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("peer missing: filters start under users of their own; run the tests as root or through sudo")


def talk_of(node: NodeProcess, letter: bytes) -> str:
    """The conversation in which a message came."""
    found = re.search(rb"\tid (q0\w+)", letter)
    assert found is not None
    return str(node.talks_about(found[1].decode(), 1)[0]["talk"])


@pytest.mark.parametrize("way", ["http", "milter"])
def test_rspamd_refuses_gtube_and_passes_ham(
    way: str,
    rspamd: Callable[[str], PrivateRspamd],
    program: Callable[..., str],
    new_node: Callable[..., NodeProcess],
    swaks: Any,
) -> None:
    root_only()
    peer = rspamd(program("rspamd"))
    settings = f'[rspamd]\nurl = "http://127.0.0.1:{peer.http}"'
    if way == "milter":
        settings = f'[[milter]]\nname = "rspamd"\naddress = "127.0.0.1:{peer.milter}"'
    node = new_node(settings)
    mailbox = node.new_mailbox()
    said = swaks(node.mx, mailbox, SPAM, expect=(26,))
    assert f"{'550 5.7.1' if way == 'http' else '554 5.7.1'} " in said
    assert "tube" in said, "in rspamd's own words"
    swaks(node.mx, mailbox, HAM)
    (letter,) = node.wait_for_mail(mailbox)
    assert letter.endswith(HAM)
    talk = talk_of(node, letter)
    refused = node.tell("conversations", "search", "reply:55*", "--limit", "1").split()[0]
    spam_talk = node.talks_about(refused, 1)[0]["talk"]
    if way == "http":
        assert "# rspamd: reject, 15 of 15: GTUBE 0" in spam_talk
        assert "# rspamd: no action, " in talk
        assert "MIME_GOOD" in talk
    else:
        assert "# 554: milter rspamd: reply at end of message" in spam_talk
        assert "# milter rspamd: adds X-Spamd-Result: default: False" in talk
        assert "MIME_GOOD" in talk
        assert b"X-Spamd-Result: default: False" in letter.partition(b"Received: ")[0]


def test_opendkim_signs_and_its_signature_holds(
    program: Callable[..., str], new_node: Callable[..., NodeProcess], swaks: Any
) -> None:
    root_only()
    keygen = program("opendkim-genkey", "opendkim-tools")
    signer = PrivateOpendkim(program("opendkim"), keygen, signs=True)
    try:
        node = new_node(f'[[milter]]\nname = "opendkim"\naddress = "127.0.0.1:{signer.port}"')
        mailbox = node.new_mailbox()
        swaks(node.mx, mailbox, HAM)
        (letter,) = node.wait_for_mail(mailbox)
        assert letter.endswith(HAM), "octet by octet"
        top = letter.partition(b"\r\nReceived: ")[0]
        assert b"DKIM-Signature: v=1; a=rsa-sha256;" in top
        assert b"d=here.test; s=glass;" in top
        assert "# milter opendkim: adds DKIM-Signature: v=1;" in talk_of(node, letter)
        record = (signer.folder / "glass.txt").read_text()
        assert signature_holds(letter, record)
        assert not signature_holds(letter.replace(b"lunch tomorrow", b"lunch today"), record)
        assert not signature_holds(letter.replace(b"Subject: lunch", b"Subject: dinner"), record)
    finally:
        signer.stop()


def signature_holds(letter: bytes, record: str) -> bool:
    """Whether the DKIM signature is right: header and body as relaxed/relaxed has them (RFC 6376 §3.4)."""
    import base64
    import hashlib

    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    key = load_der_public_key(base64.b64decode("".join(re.findall(r'"([^"]*)"', record)).partition("p=")[2]))
    assert isinstance(key, rsa.RSAPublicKey)
    header, _, body = letter.partition(b"\r\n\r\n")
    fields = re.findall(rb"^([!-9;-~]+)[ \t]*:(.*(?:\n[ \t].*)*)", header + b"\r\n", re.MULTILINE)

    def relaxed(name: bytes, value: bytes) -> bytes:
        return name.lower() + b":" + re.sub(rb"[ \t]+", b" ", re.sub(rb"\r\n(?=[ \t])|\r$", b"", value)).strip()

    signature = next(value for name, value in fields if name.lower() == b"dkim-signature")
    tags = dict(re.findall(r"(\w+)=([^;]*)", re.sub(r"\s+", "", signature.decode())))
    lines = re.sub(rb"[ \t]+(?=\r\n)", b"", re.sub(rb"[ \t]+", b" ", body)).rstrip(b"\r\n") + b"\r\n"
    if base64.b64encode(hashlib.sha256(lines).digest()).decode() != tags["bh"]:
        return False
    wanted = tags["h"].lower().split(":")
    given = {name.lower().decode(): relaxed(name, value) for name, value in fields}
    signed = b"".join(given[name] + b"\r\n" for name in wanted if name in given)
    bare = relaxed(b"DKIM-Signature", re.sub(rb"(\bb=)[A-Za-z0-9+/=\s]+", rb"\1", signature))
    try:
        key.verify(base64.b64decode(tags["b"]), signed + bare, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
