"""The next hop is not there, or does not want the mail: it waits, it is tried again, it goes out or comes back.

Postfix is the next hop, and the sender is told by a report in a mailbox, with the conversation that failed inside.
"""

from __future__ import annotations

import email.utils
from collections.abc import Callable

from letters import PLAIN, unix
from node_process import NodeProcess, free_port
from postfix import Postfix
from reports import ORIGINAL, facts, message_facts, read_report, said_to_people

Swaks = Callable[..., str]
StartPostfix = Callable[..., Postfix]
NewNode = Callable[..., NodeProcess]

CONFIG = """
[smtp]
relay_domains = ["example.org"]
[relay]
schedule = ["1 s"]
jitter = 0.0
idle_timeout = "0 s"
{relay}
[[smarthost]]
host = "127.0.0.1"
port = {port}
tls = "none"
"""


async def test_mail_waits_for_a_next_hop_that_is_down_and_leaves_when_it_comes_up(
    postfix: StartPostfix, new_node: NewNode, swaks: Swaks
) -> None:
    port = free_port()
    node = new_node(CONFIG.format(port=port, relay=""))
    said = swaks(node.mx, ["one@example.org", "two@example.org"], PLAIN)
    queue_id = said.partition("Safe on disk as ")[2].split()[0]

    waiting = node.wait_for_queue(2)
    assert {entry["queue_id"] for entry in waiting} == {queue_id}
    assert {entry["recipient"] for entry in waiting} == {"one@example.org", "two@example.org"}
    node.talks_about(queue_id, 2)  # it has been tried at least once
    entry = node.ask("queue", "show", queue_id)[0]
    assert entry["attempts"] >= 1
    assert entry["last_reply"].startswith("451 4.4.1 ")
    assert queue_id in node.tell("queue", "show", queue_id)

    next_hop = postfix("next hop", port=port)
    delivered = await next_hop.wait_for(2)

    assert {mail.recipient for mail in delivered} == {"one@example.org", "two@example.org"}
    assert all(mail.content.endswith(unix(PLAIN)) for mail in delivered)
    assert node.wait_for_queue(0) == []
    came, *attempts = node.talks_about(queue_id, 3, "S: 250 2.0.0 Ok: queued as")
    assert (came["kind"], {one["kind"] for one in attempts}) == ("smtp-in", {"smtp-out"})
    assert "C: RCPT TO:<one@example.org>" in came["talk"]
    assert "connection refused" in attempts[0]["talk"]


async def test_waiting_mail_survives_kill_9_and_goes_out_later(
    postfix: StartPostfix, new_node: NewNode, swaks: Swaks
) -> None:
    port = free_port()
    node = new_node(CONFIG.format(port=port, relay=""))
    swaks(node.mx, "one@example.org", PLAIN)
    node.kill()
    next_hop = postfix("next hop", port=port)
    node.start()

    (mail,) = await next_hop.wait_for(1)

    assert mail.content.endswith(unix(PLAIN))
    assert node.wait_for_queue(0) == []


def test_a_refusal_for_ever_comes_back_at_once_with_the_conversation(
    postfix: StartPostfix, new_node: NewNode, swaks: Swaks
) -> None:
    next_hop = postfix("next hop", refuse=["gone@example.org"])
    node = new_node(CONFIG.format(port=next_hop.port, relay=""))
    sender = node.new_mailbox()
    said = swaks(node.mx, "gone@example.org", PLAIN, "--from", sender)

    (content,) = node.wait_for_mail(sender)

    report = read_report(content)
    about = facts(report)["gone@example.org"]
    assert content.startswith(b"Return-Path: <>\r\n")
    assert email.utils.parseaddr(report["To"])[1] == sender
    assert message_facts(report)["Reporting-MTA"] == "dns; glass.test"
    assert (about["Action"], about["Status"]) == ("failed", "5.1.1")
    assert "550 5.1.1 <gone@example.org>: Recipient address rejected: No such user here" in about["Diagnostic-Code"]
    text = said_to_people(report)
    assert "gone@example.org" in text
    assert "C: RCPT TO:<gone@example.org>" in text, "the conversation that failed"
    assert "S: 550 5.1.1 <gone@example.org>: Recipient address rejected" in text
    assert list(report.iter_parts())[ORIGINAL].as_bytes().replace(b"\r\n", b"\n").endswith(unix(PLAIN))
    assert node.wait_for_queue(0) == []
    assert len(node.talks_about(said.partition("Safe on disk as ")[2].split()[0], 2)) == 2


def test_not_now_for_ever_comes_back_when_the_time_is_up(
    postfix: StartPostfix, new_node: NewNode, swaks: Swaks
) -> None:
    next_hop = postfix("next hop", defer=["busy@example.org"])
    node = new_node(CONFIG.format(port=next_hop.port, relay='expire = "3 s"\ndelay_notice = "1 s"'))
    sender = node.new_mailbox()
    swaks(node.mx, "busy@example.org", PLAIN, "--from", sender)

    delayed, failed = (read_report(content) for content in node.wait_for_mail(sender, 2))

    about = facts(delayed)["busy@example.org"]
    assert (about["Action"], about["Status"]) == ("delayed", "4.2.0")
    assert "Will-Retry-Until" in about
    about = facts(failed)["busy@example.org"]
    assert about["Action"] == "failed"
    assert "C: RCPT TO:<busy@example.org>" in said_to_people(failed)
    assert "S: 450 4.2.0 <busy@example.org>" in said_to_people(failed)
    assert node.wait_for_queue(0) == []


def test_the_postmasters_hands(new_node: NewNode, swaks: Swaks) -> None:
    """hold, release, retry, bounce, remove, beside the running node."""
    node = new_node(CONFIG.format(port=free_port(), relay="").replace('"1 s"', '"1 h"'))
    sender = node.new_mailbox()
    said = swaks(node.mx, ["one@example.org", "two@example.org", "three@example.org"], PLAIN, "--from", sender)
    queue_id = said.partition("Safe on disk as ")[2].split()[0]
    node.talks_about(queue_id, 2)

    node.tell("queue", "hold", f"{queue_id}#1")
    assert [entry["state"] for entry in node.ask("queue", "list")] == ["held", "waiting", "waiting"]
    node.tell("queue", "release", f"{queue_id}#1")
    node.tell("queue", "remove", f"{queue_id}#3")
    assert [entry["state"] for entry in node.ask("queue", "list")] == ["waiting", "waiting"]
    node.tell("queue", "retry", f"{queue_id}#2")
    node.talks_about(queue_id, 3)  # tried again, although it was not due for an hour
    node.tell("queue", "bounce", queue_id)

    contents = node.wait_for_mail(sender)
    returned = {address for content in contents for address in facts(read_report(content))}
    while len(returned) < 2:  # both in one report, or one each
        contents = node.wait_for_mail(sender, len(contents) + 1)
        returned = {address for content in contents for address in facts(read_report(content))}
    assert returned == {"one@example.org", "two@example.org"}
    assert node.wait_for_queue(0) == []


def test_there_is_no_bounce_for_a_bounce(postfix: StartPostfix, new_node: NewNode, swaks: Swaks) -> None:
    next_hop = postfix("next hop", refuse=["gone@example.org"])
    node = new_node(CONFIG.format(port=next_hop.port, relay=""))
    said = swaks(node.mx, "gone@example.org", PLAIN, "--from", "<>")

    queue_id = said.partition("Safe on disk as ")[2].split()[0]
    (_, outgoing) = node.talks_about(queue_id, 2)
    assert "C: MAIL FROM:<>" in outgoing["talk"]
    assert node.wait_for_queue(0) == []
    assert [one["kind"] for one in node.ask("conversations", "list")] == ["smtp-out", "smtp-in"]
