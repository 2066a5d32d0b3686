"""Signing in at a smarthost by SCRAM: at a node of ours, bound to its certificate, and at Dovecot's submission."""

from __future__ import annotations

import os
import smtplib
from collections.abc import Callable, Iterator

import pytest
from dovecot import PASSWORD as BOX_PASSWORD
from dovecot import Dovecot
from letters import PLAIN
from node_process import PASSWORD, NodeProcess, free_port, until

NewNode = Callable[..., NodeProcess]
ALICE = "alice@boxes.test"


def smarthost(port: int, tls: str, username: str, password: str) -> str:
    return (
        f'[[smarthost]]\nhost = "127.0.0.1"\nport = {port}\ntls = "{tls}"\n'
        f'username = "{username}"\npassword = "{password}"\n[smtp]\nrelay_networks = ["127.0.0.0/8"]'
    )


def send(node: NodeProcess, recipient: str) -> None:
    with smtplib.SMTP("127.0.0.1", node.mx, "client.test", 20) as client:
        assert client.sendmail("bob@src.test", [recipient], PLAIN) == {}


def way_out(node: NodeProcess) -> str:
    """The last conversation of its own with another server."""
    return node.newest_talk("smtp-out")


def test_at_a_node_of_ours_bound_to_its_certificate(new_node: NewNode) -> None:
    far = new_node()
    owner = far.add_account("owner@far.test")
    near = new_node(smarthost(far.submission, "encrypt", owner, PASSWORD))
    send(near, owner)
    far.wait_for_mail(owner)
    talk = way_out(near)
    assert "C: AUTH SCRAM-SHA-256-PLUS [masked]" in talk
    assert talk.count("S: 334 [masked]") == 2


@pytest.mark.parametrize("mechanism", ["scram-sha-256", "plain", "login"])
def test_a_weaker_one_only_where_the_postmaster_says_so(new_node: NewNode, mechanism: str) -> None:
    far = new_node()
    owner = far.add_account("owner@far.test")
    wanted = smarthost(far.submission, "encrypt", owner, PASSWORD).replace(
        "\n[smtp]", f'\nmechanism = "{mechanism}"\n[smtp]'
    )
    near = new_node(wanted)
    send(near, owner)
    far.wait_for_mail(owner)
    assert f"C: AUTH {mechanism.upper()}" in way_out(near)
    assert "SCRAM-SHA-256-PLUS [masked]" not in way_out(near)


def test_a_wrong_password_waits_and_no_weaker_mechanism_is_tried(new_node: NewNode) -> None:
    far = new_node()
    owner = far.add_account("owner@far.test")
    near = new_node(smarthost(far.submission, "encrypt", owner, "another"))
    send(near, owner)
    wait_for_refusal(near)
    assert way_out(near).count("C: AUTH ") == 1


def wait_for_refusal(node: NodeProcess) -> None:
    """Until it is on the queue that the sign-in was refused."""

    def refused() -> bool:
        return any("refused our sign-in" in (one["last_reply"] or "") for one in node.ask("queue", "list"))

    until(refused, "refusal", 20)


@pytest.fixture
def boxes(program: Callable[..., str], new_node: NewNode) -> Iterator[tuple[int, NodeProcess]]:
    """The port of Dovecot's submission server, which asks for SCRAM-SHA-256, and the node that it passes mail to."""
    path = program("dovecot", "dovecot-lmtpd and dovecot-submissiond")
    if os.geteuid() != 0:
        pytest.skip("Dovecot must be started by root")
    behind = new_node()
    port = free_port()
    more = f"""
protocols = lmtp submission
auth_mechanisms = scram-sha-256 plain
hostname = boxes.test
submission_relay_host = 127.0.0.1
submission_relay_port = {behind.mx}
service submission-login {{
  inet_listener submission {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener submissions {{
    port = 0
  }}
}}
"""
    with Dovecot(path, ALICE, more=more):
        yield port, behind


def test_at_dovecot(new_node: NewNode, boxes: tuple[int, NodeProcess]) -> None:
    port, behind = boxes
    mailbox = behind.new_mailbox()
    near = new_node(smarthost(port, "none", ALICE, BOX_PASSWORD))
    send(near, mailbox)
    behind.wait_for_mail(mailbox)
    assert "C: AUTH SCRAM-SHA-256 [masked]" in way_out(near)


def test_at_dovecot_with_a_wrong_password(new_node: NewNode, boxes: tuple[int, NodeProcess]) -> None:
    port, _ = boxes
    near = new_node(smarthost(port, "none", ALICE, "another"))
    send(near, "x@here.test")
    wait_for_refusal(near)
    assert "C: AUTH PLAIN" not in way_out(near)
