"""SMTP smuggling: whatever else is put in place of CR LF . CR LF, one message in is one message out, also where Postfix
stands behind us or in front of us.

The content carries a second message's commands behind a false end. Whoever takes that for an end obeys them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import product

import pytest
from node_process import NodeProcess
from postfix import Postfix

StartPostfix = Callable[..., Postfix]
NewNode = Callable[..., NodeProcess]

LINE_ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r")
PAIRS = list(product(LINE_ENDS, repeat=2))
FALSE_ENDS = [(before, after) for before, after in PAIRS if b"\r\n.\r\n" not in before + b"." + after]
NAMES = [repr(before + b"." + after)[2:-1] for before, after in FALSE_ENDS]
SECOND = b"Subject: smuggled"


def carrier(before: bytes, after: bytes, recipient: str) -> bytes:
    """A message with a false end in it, and behind that what somebody would like to be heard as commands."""
    inner = (
        f"MAIL FROM:<eve@src.test>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        f"From: <eve@src.test>\r\n{SECOND.decode()}\r\n\r\nThe second message\r\n.\r\n"
    )
    return b"From: <bob@src.test>\r\nSubject: carrier\r\n\r\nHello" + before + b"." + after + inner.encode()


def bring(port: int, recipient: str, content: bytes) -> str:
    """One transaction and QUIT, all that follows the 354 in one piece. What the server said from then on."""
    with socket.create_connection(("127.0.0.1", port), 20) as peer, peer.makefile("rb") as lines:
        lines.readline()
        for command in ("HELO client.test", "MAIL FROM:<bob@src.test>", f"RCPT TO:<{recipient}>", "DATA"):
            peer.sendall(command.encode() + b"\r\n")
            answer = lines.readline()
        assert answer.startswith(b"354"), answer
        peer.sendall(content + b"QUIT\r\n")
        return lines.read().decode()


@pytest.mark.parametrize(("before", "after"), FALSE_ENDS, ids=NAMES)
def test_nothing_of_it_is_taken(house: NodeProcess, mailbox: str, before: bytes, after: bytes) -> None:
    """As it stands by default: one refusal, and the goodbye."""
    said = bring(house.mx, mailbox, carrier(before, after, mailbox)).splitlines()
    assert [line[:3] for line in said] == ["550", "221"], said
    assert not any(SECOND in mail.partition(b"\r\n\r\n")[0] for mail in house.messages(mailbox))


async def test_where_newlines_are_repaired_one_goes_in_and_one_comes_out_behind_postfix(
    postfix: StartPostfix, new_node: NewNode
) -> None:
    behind = postfix("next hop", domains=["example.org"])
    node = new_node(
        f'[smtp]\nbare_newline = "repair"\nrelay_domains = ["example.org"]\n'
        f'[[smarthost]]\nhost = "127.0.0.1"\nport = {behind.port}\ntls = "none"\n'
    )
    taken = 0
    for before, after in FALSE_ENDS:
        said = bring(node.mx, "user@example.org", carrier(before, after, "eve@example.org")).splitlines()
        assert [line[:3] for line in said] == ["250", "221"], (before, after, said)
        taken += 1

    delivered = await behind.wait_for(taken)

    assert node.wait_for_queue(0) == []
    assert len(delivered) == taken
    assert {mail.recipient for mail in delivered} == {"user@example.org"}
    assert not any(SECOND in mail.content.partition(b"\n\n")[0] for mail in delivered)


async def test_what_postfix_takes_for_one_message_is_one_here(
    postfix: StartPostfix, house: NodeProcess, mailbox: str
) -> None:
    """Postfix may see other ends than we do; what it then sends us as one message stays one."""
    before_us = postfix("sender", relay_to=house.mx)
    queued = 0
    for before, after in FALSE_ENDS:
        queued += bring(before_us.port, mailbox, carrier(before, after, mailbox)).count("queued as")
    await before_us.wait_until_idle()
    assert queued >= len(FALSE_ENDS)
    assert len(house.wait_for_mail(mailbox, queued)) == queued
