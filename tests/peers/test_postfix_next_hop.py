"""swaks -> glasspost -> Postfix -> Maildir: glasspost as the client of a real server.

Postfix stands for every next hop that people have: it announces PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN, CHUNKING.
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Callable

import pytest
from letters import EIGHT_BIT, PLAIN, PRICKLY, UTF8_HEADER, large, put_on_top, unix
from node_process import NodeProcess, free_port
from postfix import Postfix
from reports import facts, message_facts, read_report

Swaks = Callable[..., str]
StartPostfix = Callable[..., Postfix]
NewNode = Callable[..., NodeProcess]

SMARTHOST = """
[smtp]
relay_domains = ["example.org", "example.net", "例子.test"]
[relay]
schedule = ["1 s"]
jitter = 0.0
idle_timeout = "0 s"
[[smarthost]]
host = "127.0.0.1"
port = {port}
tls = "none"
"""


@pytest.fixture
def next_hop(postfix: StartPostfix) -> Postfix:
    return postfix("next hop", domains=["example.org", "example.net", "例子.test"], refuse=["gone@example.org"])


@pytest.fixture
def node(next_hop: Postfix, new_node: NewNode) -> NodeProcess:
    return new_node(SMARTHOST.format(port=next_hop.port))


async def test_messages_arrive_as_they_were_sent(next_hop: Postfix, node: NodeProcess, swaks: Swaks) -> None:
    letters = [PLAIN, PRICKLY, EIGHT_BIT, large()]
    for content in letters:
        swaks(node.mx, "user@example.org", content)

    delivered = await next_hop.wait_for(4)

    arrived = sorted((mail.content for mail in delivered), key=len)
    for content, mail in zip(sorted(letters, key=len), arrived, strict=True):
        assert put_on_top(mail, unix(content)) == ["Received", "Received"], "Postfix's, and below it ours"
    assert {mail.sender for mail in delivered} == {"bob@src.test"}
    assert node.wait_for_queue(0) == []


async def test_fifty_recipients_go_in_one_transaction(next_hop: Postfix, node: NodeProcess, swaks: Swaks) -> None:
    recipients = [f"user{number}@example.{'org' if number % 2 else 'net'}" for number in range(50)]
    said = swaks(node.mx, recipients, PLAIN)

    delivered = await next_hop.wait_for(50)

    assert {mail.recipient for mail in delivered} == set(recipients)
    assert all(put_on_top(mail.content, unix(PLAIN)) == ["Received", "Received"] for mail in delivered)
    queue_id = said.partition("Safe on disk as ")[2].split()[0]
    (_, outgoing) = node.talks_about(queue_id, 2)
    assert outgoing["kind"] == "smtp-out", "one conversation for both domains: the smarthost is the destination"
    assert outgoing["talk"].count("C: MAIL FROM:<bob@src.test>") == 1
    assert outgoing["talk"].count("C: RCPT TO:<") == 50
    assert outgoing["talk"].count("C: DATA") == 1


async def test_addresses_in_utf_8(next_hop: Postfix, node: NodeProcess) -> None:
    with smtplib.SMTP("127.0.0.1", node.mx, local_hostname="client.test") as client:
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        client.sendmail("zoë@src.test", ["用户@example.org", "用户@例子.test"], UTF8_HEADER, mail_options=options)

    delivered = await next_hop.wait_for(2)

    assert {mail.recipient for mail in delivered} == {"用户@example.org", "用户@例子.test"}
    assert {mail.sender for mail in delivered} == {"zoë@src.test"}
    for mail in delivered:
        assert put_on_top(mail.content, unix(UTF8_HEADER)) == ["Received", "Received"]


async def test_a_refused_recipient_bounces_and_the_others_arrive(
    next_hop: Postfix, node: NodeProcess, swaks: Swaks
) -> None:
    sender = node.new_mailbox()
    swaks(node.mx, ["one@example.org", "gone@example.org", "two@example.net"], PLAIN, "--from", sender)

    assert {mail.recipient for mail in await next_hop.wait_for(2)} == {"one@example.org", "two@example.net"}
    (content,) = node.wait_for_mail(sender)
    report = read_report(content)
    assert facts(report)["gone@example.org"]["Action"] == "failed"
    assert list(facts(report)) == ["gone@example.org"]


async def test_dsn_parameters_are_carried_and_the_next_hop_reports(postfix: StartPostfix, new_node: NewNode) -> None:
    """Postfix takes the wish over (RFC 3461 §5.2.1); its report comes back to us, and into the sender's mailbox."""
    port = free_port()
    node = new_node(SMARTHOST.format(port=port))
    next_hop = postfix("next hop", port=port, settings={"relayhost": f"[127.0.0.1]:{node.mx}"})
    sender = node.new_mailbox()
    with smtplib.SMTP("127.0.0.1", node.mx, local_hostname="client.test") as client:
        client.ehlo()
        client.mail(sender, ["RET=HDRS", "ENVID=QQ+2B314"])
        client.rcpt("user@example.org", ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first+2Bname@example.net"])
        client.rcpt("silent@example.org", ["NOTIFY=NEVER"])
        said = client.data(PLAIN)[1].decode()

    await next_hop.wait_for(2)
    (_, outgoing) = node.talks_about(said.split()[-1], 2)
    talk = outgoing["talk"]
    assert re.search(r"^C: MAIL FROM:<\S+> .*RET=HDRS ENVID=QQ\+2B314", talk, re.MULTILINE)
    assert "C: RCPT TO:<user@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Bname@example.net\n" in talk
    assert re.search(r"^C: RCPT TO:<silent@example\.org> NOTIFY=NEVER", talk, re.MULTILINE)
    (content,) = node.wait_for_mail(sender)  # one report only: theirs
    report = read_report(content)
    assert message_facts(report)["Reporting-MTA"] == "dns; postfix.test"
    assert message_facts(report)["Original-Envelope-Id"] == "QQ+314"
    assert facts(report)["user@example.org"]["Action"] == "delivered"
    assert facts(report)["user@example.org"]["Original-Recipient"] == "rfc822;first+name@example.net"
    assert list(facts(report)) == ["user@example.org"]


async def test_success_is_reported_by_us_where_the_next_hop_has_no_dsn(
    postfix: StartPostfix, new_node: NewNode
) -> None:
    silent = postfix("next hop", settings={"smtpd_discard_ehlo_keywords": "dsn"})
    node = new_node(SMARTHOST.format(port=silent.port))
    sender = node.new_mailbox()
    with smtplib.SMTP("127.0.0.1", node.mx, local_hostname="client.test") as client:
        client.sendmail(sender, "user@example.org", PLAIN, mail_options=["ENVID=x42"], rcpt_options=["NOTIFY=SUCCESS"])

    await silent.wait_for(1)
    (content,) = node.wait_for_mail(sender)
    report = read_report(content)

    assert facts(report)["user@example.org"]["Action"] == "relayed"
    assert message_facts(report)["Original-Envelope-Id"] == "x42"
