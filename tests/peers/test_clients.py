"""Other people's SMTP clients in front of glasspost: curl, Python's smtplib, and netcat.

Each has habits of its own: curl sends as fast as it reads, smtplib waits for every reply, netcat shuts its side of the
connection as soon as it has nothing more to say.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

import pytest
from letters import EIGHT_BIT, PLAIN, PRICKLY, UTF8_HEADER, large, put_on_top
from node_process import PASSWORD, NodeProcess, run

ON_TOP = ["Return-Path", "Delivered-To", "Received"]
Program = Callable[..., str]
Curl = Callable[..., bytes]


@contextmanager
def smtp(port: int) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=20) as client:
        yield client


# --- curl ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [PRICKLY, EIGHT_BIT, large()], ids=["prickly", "8bit", "25 MB"])
def test_curl_sends_and_fetches(house: NodeProcess, mailbox: str, curl: Curl, fetch: Curl, content: bytes) -> None:
    url = f"smtp://127.0.0.1:{house.mx}/client.test"
    curl(url, "--mail-from", "bob@src.test", "--mail-rcpt", mailbox, "-T", "-", stdin=content)

    assert put_on_top(fetch(mailbox), content) == ON_TOP


def test_curl_with_fifty_recipients(house: NodeProcess, fifty: list[str], curl: Curl, fetch: Curl) -> None:
    recipients = [word for address in fifty for word in ("--mail-rcpt", address)]
    content = b"Subject: fifty by curl\r\n\r\nhello\r\n"
    curl(f"smtp://127.0.0.1:{house.mx}", "--mail-from", "bob@src.test", *recipients, "-T", "-", stdin=content)

    last = house.count(fifty[-1])
    assert put_on_top(fetch(fifty[-1], last), content) == ON_TOP
    assert all(house.messages(address)[-1].endswith(content) for address in fifty[::7])


def test_curl_goes_on_with_the_recipients_that_are_taken(
    house: NodeProcess, mailbox: str, curl: Curl, fetch: Curl
) -> None:
    recipients = ("--mail-rcpt", "nobody@here.test", "--mail-rcpt", mailbox, "--mail-rcpt-allowfails")
    curl(f"smtp://127.0.0.1:{house.mx}", "--mail-from", "bob@src.test", *recipients, "-T", "-", stdin=PLAIN)

    assert put_on_top(fetch(mailbox), PLAIN) == ON_TOP


def test_curl_submits_over_tls(house: NodeProcess, mailbox: str, curl: Curl, fetch: Curl) -> None:
    url = f"smtp://127.0.0.1:{house.submission}"
    sign_in = ("--ssl-reqd", "--insecure", "-u", f"{mailbox}:{PASSWORD}")
    curl(url, *sign_in, "--mail-from", mailbox, "--mail-rcpt", mailbox, "-T", "-", stdin=PLAIN)

    assert b" with ESMTPSA (TLSv1.3 " in fetch(mailbox)


def test_curl_asks_vrfy_expn_and_help(house: NodeProcess, curl: Curl) -> None:
    url = f"smtp://127.0.0.1:{house.mx}"
    assert b"252 2.1.5" in curl("-v", "--stderr", "-", url, "--mail-rcpt", "bob@here.test")
    assert b"214 2.0.0" in curl("-v", "--stderr", "-", url, "-X", "HELP")
    assert b"502 5.5.1" in curl("-v", "--stderr", "-", url, "--mail-rcpt", "all", "-X", "EXPN", expect=8)


def test_curl_lists_a_mailbox_and_deletes(house: NodeProcess, mailbox: str, curl: Curl) -> None:
    with smtp(house.mx) as client:
        for _ in range(3):
            client.sendmail("bob@src.test", mailbox, PLAIN)
    box, owner = f"pop3://127.0.0.1:{house.pop3}", ("-u", f"{mailbox}:{PASSWORD}")

    listed = curl(*owner, f"{box}/").decode().split("\r\n")
    assert [line.split()[0] for line in listed if line] == ["1", "2", "3"]
    assert len({line for line in curl(*owner, "-X", "UIDL", f"{box}/").splitlines() if line}) == 3
    curl(*owner, "-X", "DELE", "--head", f"{box}/2")
    assert house.count(mailbox) == 2
    # Over TLS, as a mail reader would.
    assert curl(*owner, "--ssl-reqd", "--insecure", f"{box}/1").endswith(PLAIN)


# --- smtplib ------------------------------------------------------------------------------------------------


def test_smtplib_sends_a_message_object(house: NodeProcess, mailbox: str, fetch: Curl) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Bob <bob@src.test>", mailbox, "Grüße"
    message.set_content("An attachment, and a line that begins with a dot:\n.\n..\n")
    message.add_attachment(b"\0\1\2" * 10_000, maintype="application", subtype="octet-stream", filename="file.bin")
    message.set_boundary("=-glass")  # or each writing of it has another
    with smtp(house.mx) as client:
        refused = client.send_message(message)

    assert refused == {}
    assert put_on_top(fetch(mailbox), message.as_bytes(policy=SMTP)) == ON_TOP


def test_smtplib_with_addresses_in_utf_8(house: NodeProcess) -> None:
    address = house.add_account("用户@例子.test")
    message = EmailMessage(policy=SMTPUTF8)
    message["From"], message["To"], message["Subject"] = "Zoë <zoë@src.test>", f"用户 <{address}>", "你好"
    message.set_content("Grüße\n")
    with smtp(house.mx) as client:
        client.send_message(message)
        client.sendmail("zoë@src.test", address, UTF8_HEADER, mail_options=["SMTPUTF8", "BODY=8BITMIME"])

    first, second = house.messages(address)
    assert put_on_top(first, message.as_bytes()) == put_on_top(second, UTF8_HEADER) == ON_TOP
    assert f"Return-Path: <zoë@src.test>\r\nDelivered-To: {address}\r\n".encode() in second
    assert b" with UTF8SMTP\r\n" in second
    assert f"for <{address}>".encode() in second


def test_a_domain_in_utf_8_and_its_a_labels_are_one(house: NodeProcess) -> None:
    address = house.add_account("zoë@grüße.test")
    with smtp(house.mx) as client:
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        for domain in ("xn--gre-6ka8l.test", "GRÜßE.test"):
            client.sendmail("bob@src.test", f"zoë@{domain}", UTF8_HEADER, mail_options=options)

    assert [put_on_top(arrived, UTF8_HEADER) for arrived in house.messages(address)] == [ON_TOP, ON_TOP]


def test_smtplib_is_told_the_size_limit_and_refused_at_mail(house: NodeProcess) -> None:
    with smtp(house.mx) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == str(50 * 1024 * 1024)
        code, text = client.mail("bob@src.test", [f"SIZE={50 * 1024 * 1024 + 1}"])
    assert (code, text[:5]) == (552, b"5.3.4")


def test_smtplib_goes_on_after_a_refused_transaction(house: NodeProcess, mailbox: str) -> None:
    with smtp(house.mx) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
            client.sendmail("bob@src.test", ["nobody@here.test", "x@elsewhere.test"], PLAIN)
        refused = client.sendmail("bob@src.test", [mailbox, "nobody@here.test"], PLAIN)

    assert {code for code, _ in refusal.value.recipients.values()} == {550}
    assert list(refused) == ["nobody@here.test"]
    assert house.count(mailbox) == 1


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_smtplib_signs_in_over_tls(house: NodeProcess, mailbox: str, mechanism: str) -> None:
    with smtp(house.submission) as client:
        client.starttls(context=_trusting())
        client.ehlo()
        client.user, client.password = mailbox, PASSWORD
        code, _ = client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
        client.sendmail(mailbox, mailbox, PLAIN)

    assert code == 235
    assert house.count(mailbox) == 1


def test_smtplib_with_a_wrong_password_may_try_again(house: NodeProcess, mailbox: str) -> None:
    with smtp(house.submission) as client:
        client.starttls(context=_trusting())
        with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
            client.login(mailbox, "wrong")
        client.login(mailbox, PASSWORD)
    assert refusal.value.smtp_code == 535


def _trusting() -> ssl.SSLContext:
    """The certificate was made at the first start: nobody can verify it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- netcat -------------------------------------------------------------------------------------------------


def test_netcat_says_everything_at_once_and_shuts_its_side(
    house: NodeProcess, mailbox: str, program: Program, fetch: Curl
) -> None:
    nc = program("nc", "netcat-openbsd")
    dialogue = f"HELO client.test\r\nMAIL FROM:<bob@src.test>\r\nRCPT TO:<{mailbox}>\r\nDATA\r\n".encode()
    dotted = PRICKLY.replace(b"\r\n.", b"\r\n..")
    said = run(nc, "-N", "127.0.0.1", str(house.mx), stdin=dialogue + dotted + b".\r\n")

    assert [line[:3] for line in said.splitlines()] == ["220", "250", "250", "250", "354", "250"], said
    assert put_on_top(fetch(mailbox), PRICKLY) == ON_TOP


def test_netcat_with_line_feeds_alone_gets_no_message_through(
    house: NodeProcess, mailbox: str, program: Program
) -> None:
    nc = program("nc", "netcat-openbsd")
    dialogue = f"HELO client.test\nMAIL FROM:<bob@src.test>\nRCPT TO:<{mailbox}>\nDATA\nSubject: x\n\nx\n.\nQUIT\n"
    said = run(nc, "-N", "127.0.0.1", str(house.mx), stdin=dialogue.encode())

    assert "354" not in said
    assert house.count(mailbox) == 0
