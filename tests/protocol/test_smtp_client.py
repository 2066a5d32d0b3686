"""The SMTP client core, at the wire: what it says, and what it makes of each answer.

`Talk` plays the server by hand: `hear` gives the client bytes, `said` is what it sent since last asked.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.mail.address import Address
from glasspost.mail.envelope import BodyType, Envelope, Notify, Outcome, Recipient, Verdict
from glasspost.mail.reply import Reply
from glasspost.mail.xtext import xtext
from glasspost.protocol.chat import Chat, Silence
from glasspost.protocol.smtp_client import SmtpClient
from glasspost.protocol.smtp_client_events import (
    Answered,
    BodyWanted,
    Broken,
    Event,
    Finished,
    SmtpClientSettings,
    Step,
)
from glasspost.protocol.smtp_replies import Nonsense, ReplyReader, read_capabilities

SERVER = "mx.example.org [192.0.2.1]:25"
ANN = Address("ann", "example.com")
BODY = b"Subject: hello\r\n\r\n.dots at the start\r\n"
STUFFED = b"Subject: hello\r\n\r\n..dots at the start\r\n.\r\n"
EVERYTHING = (
    "PIPELINING", "SIZE 10000", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME", "ENHANCEDSTATUSCODES",
)  # fmt: skip


class Record:
    """A tap that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def heard(self, line: bytes) -> None:
        self.lines.append("S: " + line.decode("latin-1"))

    def said(self, text: bytes) -> None:
        self.lines.extend("C: " + line for line in text.decode().splitlines())


class Talk:
    """A client on the other end of a wire that the test holds."""

    def __init__(self, **settings: object) -> None:
        self.tap = Record()
        self.client = SmtpClient(SmtpClientSettings("client.example.com", **settings), self.tap, SERVER)  # type: ignore[arg-type]
        self.events: list[Event] = []
        self.content = BODY

    @classmethod
    def ready(cls, *keywords: str, **settings: object) -> Talk:
        """Past EHLO, with these extensions offered; without any, past HELO."""
        talk = cls(**settings)
        talk.hear("220 mx.example.org ESMTP")
        talk.client.hello()
        if keywords:
            talk.hear(*[f"250-{line}" for line in ("mx.example.org", *keywords[:-1])], f"250 {keywords[-1]}")
        else:
            talk.hear("502 no")
            talk.hear("250 mx.example.org")
        talk.said()
        talk.events.clear()
        return talk

    def hear(self, *lines: str) -> list[Event]:
        """The server says these lines in one segment, but what follows 354 in another, as it comes after the message.
        The message is given as soon as it is wanted."""
        segment = ""
        for number, line in enumerate(lines, 1):
            segment += line + "\r\n"
            if line.startswith("354") or number == len(lines):
                self.client.receive(segment.encode())
                self.pull()
                segment = ""
        return self.events

    def pull(self) -> list[Event]:
        while (event := self.client.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, BodyWanted):
                self.client.body(self.content, last=True)
        return self.events

    def said(self) -> bytes:
        return self.client.take_output()

    def send(self, *names: str, eight_bit: bool = False, **parts: object) -> None:
        """Begin a transaction from ann to these local parts at example.org."""
        recipients = [Recipient(Address(name, "example.org")) for name in names or ("bob",)]
        parts = {"declared_size": len(self.content), **parts}
        self.client.send(Envelope(ANN, recipients, **parts), eight_bit=eight_bit)  # type: ignore[arg-type]
        self.pull()

    @property
    def outcomes(self) -> list[Outcome | None]:
        """Those of the transaction that ended last."""
        return [event for event in self.events if isinstance(event, Finished)][-1].outcomes

    @property
    def verdicts(self) -> list[tuple[str, str] | None]:
        return [outcome and (outcome.verdict.value, str(outcome.reply)) for outcome in self.outcomes]


# --- greeting and EHLO --------------------------------------------------------------------------------------------


def test_a_greeting_of_many_lines_is_one_answer() -> None:
    talk = Talk()
    assert talk.client.awaited is Step.GREETING
    assert talk.hear("220-mx.example.org ESMTP", "220-No spam, please", "220 Welcome") == [
        Answered(Step.GREETING, Reply(220, "", "mx.example.org ESMTP\nNo spam, please\nWelcome"))
    ]


def test_a_greeting_that_refuses_is_an_answer_like_any_other() -> None:
    talk = Talk()
    assert talk.hear("554 No SMTP service here") == [Answered(Step.GREETING, Reply(554, "", "No SMTP service here"))]


def test_ehlo_names_us_and_its_reply_says_what_is_offered() -> None:
    talk = Talk()
    talk.hear("220 hello")
    talk.client.hello()
    assert talk.said() == b"EHLO client.example.com\r\n"
    talk.hear(
        "250-mx.example.org greets you",
        "250-size 1000",
        "250-PIPELINING",
        "250-8BitMIME",
        "250-AUTH PLAIN LOGIN",
        "250-AUTH=LOGIN X-OLD",
        "250-LIMITS MAILMAX=7 RCPTMAX=50 OTHER",
        "250-X-UNKNOWN thing",
        "250-STARTTLS",
        "250 DSN",
    )
    offered = talk.client.offered
    assert (offered.size, offered.size_offered, offered.mail_max, offered.rcpt_max) == (1000, True, 7, 50)
    assert offered.pipelining and offered.eight_bit and offered.starttls and offered.dsn
    assert not (offered.smtputf8 or offered.chunking or offered.binary or offered.enhanced)
    assert offered.auth == ("PLAIN", "LOGIN", "X-OLD")


@pytest.mark.parametrize(
    "line, size", [("SIZE", 0), ("SIZE 0", 0), ("SIZE 12", 12), ("SIZE twelve", 0), ("SIZE " + "9" * 21, 0)]
)
def test_a_size_that_cannot_be_read_is_no_limit(line: str, size: int) -> None:
    offered = read_capabilities(Reply(250, "", f"mx\n{line}"))
    assert offered.size_offered and offered.size == size


def test_binarymime_counts_only_together_with_chunking() -> None:
    assert not read_capabilities(Reply(250, "", "mx\nBINARYMIME")).binary


@pytest.mark.parametrize("code", [500, 502, 504, 550])
def test_a_server_that_does_not_know_ehlo_is_greeted_with_helo(code: int) -> None:
    talk = Talk()
    talk.hear("220 hello")
    talk.client.hello()
    talk.said()
    talk.hear(f"{code} what?")
    assert talk.said() == b"HELO client.example.com\r\n"
    assert talk.hear("250 mx.example.org")[-1] == Answered(Step.HELO, Reply(250, "", "mx.example.org"))
    assert not talk.client.offered.extended


def test_ehlo_that_is_put_off_is_not_followed_by_helo() -> None:
    talk = Talk()
    talk.hear("220 hello")
    talk.client.hello()
    talk.said()
    assert talk.hear("451 later")[-1] == Answered(Step.EHLO, Reply(451, "", "later"))
    assert talk.said() == b""


# --- STARTTLS and AUTH --------------------------------------------------------------------------------------------


def test_what_was_offered_before_tls_is_forgotten() -> None:
    talk = Talk.ready("STARTTLS", "SIZE 5", "AUTH PLAIN")
    talk.client.starttls()
    assert talk.said() == b"STARTTLS\r\n"
    talk.hear("220 go")
    talk.client.secured()
    assert talk.client.secure
    assert not (talk.client.offered.extended or talk.client.offered.auth)
    talk.client.hello()
    assert talk.said() == b"EHLO client.example.com\r\n"
    talk.hear("250-mx", "250 PIPELINING")
    assert talk.client.offered.pipelining


@pytest.mark.parametrize("behind", ["250 injected\r\n", "2", "\r\n"])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_behind_the_reply_to_starttls_end_the_conversation(behind: str, together: bool) -> None:
    talk = Talk.ready("STARTTLS")
    talk.client.starttls()
    if together:
        talk.client.receive(b"220 go\r\n" + behind.encode())
    else:
        talk.hear("220 go")
        talk.client.receive(behind.encode())
    talk.pull()
    assert isinstance(talk.events[-1], Broken)
    assert "bytes behind its reply to STARTTLS" in talk.events[-1].reply.text
    assert not talk.client.usable


def test_plain_goes_in_one_line_and_the_tap_hears_no_password() -> None:
    talk = Talk.ready("AUTH LOGIN PLAIN")
    talk.client.sign_in("ann", "sesame")
    assert talk.said() == b"AUTH PLAIN " + base64.b64encode(b"\0ann\0sesame") + b"\r\n"
    assert talk.hear("235 2.7.0 Welcome")[-1] == Answered(Step.AUTH, Reply(235, "2.7.0", "Welcome"))
    assert "C: AUTH PLAIN [masked]" in talk.tap.lines
    assert not any(base64.b64encode(b"\0ann\0sesame").decode() in line for line in talk.tap.lines)


def test_a_long_password_waits_for_the_servers_leave() -> None:
    talk = Talk.ready("AUTH PLAIN")
    talk.client.sign_in("ann", "x" * 400)
    assert talk.said() == b"AUTH PLAIN\r\n"
    talk.hear("334 ")
    assert talk.said() == base64.b64encode(b"\0ann\0" + b"x" * 400) + b"\r\n"
    assert talk.tap.lines[-1] == "C: [masked]"


def test_login_gives_name_and_password_in_turn() -> None:
    talk = Talk.ready("AUTH LOGIN")
    talk.client.sign_in("ann", "sesame")
    assert talk.said() == b"AUTH LOGIN\r\n"
    talk.hear("334 VXNlcm5hbWU6")
    assert talk.said() == b"YW5u\r\n"
    talk.hear("334 UGFzc3dvcmQ6")
    assert talk.said() == b"c2VzYW1l\r\n"
    assert talk.hear("535 5.7.8 no")[-1] == Answered(Step.AUTH, Reply(535, "5.7.8", "no"))
    assert talk.tap.lines.count("C: [masked]") == 2
    assert not any("c2VzYW1l" in line for line in talk.tap.lines)


def test_a_challenge_too_many_is_cancelled() -> None:
    talk = Talk.ready("AUTH PLAIN")
    talk.client.sign_in("ann", "sesame")
    talk.said()
    talk.hear("334 more")
    assert talk.said() == b"*\r\n"
    assert talk.hear("501 cancelled")[-1] == Answered(Step.AUTH, Reply(501, "", "cancelled"))


def test_no_mechanism_of_ours_is_said_beforehand() -> None:
    assert Talk.ready("AUTH CRAM-MD5 GSSAPI").client.sign_in_mechanism == ""


@pytest.mark.parametrize(
    ("offered", "mechanism", "said", "after_refusal"),
    [
        ("XOAUTH2", "XOAUTH2", b"user=a,n=n@example.org\x01auth=Bearer tok\x01\x01", b""),
        ("XOAUTH2 OAUTHBEARER", "OAUTHBEARER", b"n,a=a=2Cn=3Dn@example.org,\x01auth=Bearer tok\x01\x01", b"\x01"),
    ],
)
def test_a_token_is_brought_as_each_mechanism_has_it(
    offered: str, mechanism: str, said: bytes, after_refusal: bytes
) -> None:
    talk = Talk.ready(f"AUTH PLAIN {offered}")
    assert talk.client.token_mechanism == mechanism
    talk.client.sign_in_by_token("a,n=n@example.org", "tok")
    first = base64.b64encode(said)
    assert talk.said() == b"AUTH " + mechanism.encode() + b" " + first + b"\r\n"
    talk.hear("334 eyJzdGF0dXMiOiI0MDEifQ==")  # RFC 7628 §3.2.3: why not; it waits for a word
    assert talk.said() == base64.b64encode(after_refusal) + b"\r\n"
    assert talk.hear("535 5.7.8 no")[-1] == Answered(Step.AUTH, Reply(535, "5.7.8", "no"))
    assert not any(first.decode() in line for line in talk.tap.lines)


def test_a_long_token_waits_for_the_servers_leave() -> None:
    talk = Talk.ready("AUTH XOAUTH2")
    talk.client.sign_in_by_token("ann@example.org", "t" * 2000)
    assert talk.said() == b"AUTH XOAUTH2\r\n"
    talk.hear("334 ")
    whole = b"user=ann@example.org\x01auth=Bearer " + b"t" * 2000 + b"\x01\x01"
    assert talk.said() == base64.b64encode(whole) + b"\r\n"
    assert talk.tap.lines[-1] == "C: [masked]"


# --- one transaction ----------------------------------------------------------------------------------------------


def test_a_pipelined_message_takes_two_writes() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("bob", "carol")
    assert talk.said() == (
        b"MAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<carol@example.org>\r\nDATA\r\n"
    )
    talk.hear("250 ok", "250 ok", "250 ok", "354 go")
    assert talk.said() == STUFFED
    talk.hear("250 2.0.0 queued as 1234")
    assert talk.verdicts == [("relayed", "250 2.0.0 queued as 1234")] * 2
    assert talk.client.usable
    bob = talk.outcomes[0]
    assert bob is not None and bob.said_by_remote and bob.remote_mta == SERVER and not bob.doubtful


def test_without_pipelining_each_command_waits_for_its_reply() -> None:
    talk = Talk.ready()
    talk.send("bob", "carol")
    said = [talk.said()]
    for reply in ("250 ok", "250 ok", "250 ok", "354 go"):
        talk.hear(reply)
        said.append(talk.said())
    assert said == [
        b"MAIL FROM:<ann@example.com>\r\n",
        b"RCPT TO:<bob@example.org>\r\n",
        b"RCPT TO:<carol@example.org>\r\n",
        b"DATA\r\n",
        STUFFED,
    ]
    talk.hear("250 ok")
    assert [verdict and verdict[0] for verdict in talk.verdicts] == ["relayed", "relayed"]


def test_the_null_reverse_path_is_empty_brackets() -> None:
    talk = Talk.ready("PIPELINING")
    talk.client.send(Envelope(None, [Recipient(Address("a b", "x.example"))]), eight_bit=False)
    assert talk.said() == b'MAIL FROM:<>\r\nRCPT TO:<"a b"@x.example>\r\nDATA\r\n'


def test_parameters_are_given_where_they_are_offered() -> None:
    talk = Talk.ready(*EVERYTHING)
    bob = Recipient(Address("bob", "example.org"), Notify.SUCCESS | Notify.DELAY, "rfc822;B+ob=1@example.org")
    talk.client.send(
        Envelope(ANN, [bob], BodyType.EIGHT_BIT, declared_size=99, ret="HDRS", envid="a b+c"), eight_bit=True
    )
    assert talk.said() == (
        b"MAIL FROM:<ann@example.com> SIZE=99 BODY=8BITMIME RET=HDRS ENVID=a+20b+2Bc\r\n"
        b"RCPT TO:<bob@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2Bob+3D1@example.org\r\n"
        b"DATA\r\n"
    )


def test_parameters_are_left_out_where_they_are_not_offered() -> None:
    talk = Talk.ready("PIPELINING")
    bob = Recipient(Address("bob", "example.org"), Notify.NEVER, "rfc822;bob@example.org")
    talk.client.send(
        Envelope(ANN, [bob], BodyType.EIGHT_BIT, smtputf8=True, declared_size=99, ret="FULL", envid="e"),
        eight_bit=False,
    )
    assert talk.said() == b"MAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"


def test_whether_the_server_reports_onward_is_part_of_the_outcome() -> None:
    for keywords, onward in ((("PIPELINING", "DSN"), True), (("PIPELINING",), False)):
        talk = Talk.ready(*keywords)
        talk.send("bob", "carol")
        talk.hear("250 ok", "250 ok", "550 no", "354 go", "250 ok")
        assert [outcome and outcome.reports_onward for outcome in talk.outcomes] == [onward, False]


@pytest.mark.parametrize(
    "orcpt, wire",
    [
        ("utf-8;bücher@example.org", "utf-8;b\\x{FC}cher@example.org"),
        ("utf-8;b\\x{FC}cher@example.org", "utf-8;b\\x{FC}cher@example.org"),
        ("UTF-8;a+b@example.org", "utf-8;a\\x{2B}b@example.org"),
        ("x400;/c=us/", "x400;/c+3Dus/"),
    ],
)
def test_orcpt_is_ascii_on_the_wire(orcpt: str, wire: str) -> None:
    talk = Talk.ready("DSN", "PIPELINING")
    talk.client.send(Envelope(ANN, [Recipient(Address("bob", "example.org"), orcpt=orcpt)]), eight_bit=False)
    assert f"ORCPT={wire}\r\n".encode() in talk.said()


def test_xtext_leaves_nothing_that_could_end_a_parameter() -> None:
    assert xtext("a b\r\n=+\x7fé") == "a+20b+0D+0A+3D+2B+7F+C3+A9"


def test_a_line_end_in_an_address_is_a_bug_and_never_sent() -> None:
    talk = Talk.ready("PIPELINING")
    with pytest.raises(ValueError, match="line end"):
        talk.send("bob\r\nQUIT")
    assert talk.said() == b""


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keywords", [("PIPELINING",), ()])
def test_mail_refused_refuses_all(keywords: tuple[str, ...]) -> None:
    talk = Talk.ready(*keywords)
    talk.send("bob", "carol")
    talk.hear(*(["550 5.7.1 no", "503 no", "503 no", "503 no"] if keywords else ["550 5.7.1 no"]))
    assert talk.verdicts == [("failed", "550 5.7.1 no")] * 2
    talk.said()
    talk.send("bob")
    assert talk.said().startswith(b"MAIL"), "nothing stands that RSET would have to end"


@pytest.mark.parametrize("keywords", [("PIPELINING",), ()])
def test_rcpt_refused_refuses_that_one(keywords: tuple[str, ...]) -> None:
    talk = Talk.ready(*keywords)
    talk.send("bob", "carol", "dave")
    for line in ("250 ok", "550 5.1.1 unknown", "250 ok", "450 4.2.1 later", "354 go", "250 ok"):
        talk.hear(line)
    assert talk.verdicts == [("failed", "550 5.1.1 unknown"), ("relayed", "250 ok"), ("deferred", "450 4.2.1 later")]


@pytest.mark.parametrize("keywords", [("PIPELINING",), ()])
def test_data_refused_refuses_all_that_were_accepted(keywords: tuple[str, ...]) -> None:
    talk = Talk.ready(*keywords)
    talk.send("bob", "carol")
    for line in ("250 ok", "550 no", "250 ok", "451 4.3.0 disk"):
        talk.hear(line)
    assert talk.verdicts == [("failed", "550 no"), ("deferred", "451 4.3.0 disk")]


def test_the_reply_after_the_dot_is_for_all_that_were_accepted() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("bob", "carol")
    talk.hear("250 ok", "550 no", "250 ok", "354 go", "554 5.7.1 spam")
    assert talk.verdicts == [("failed", "550 no"), ("failed", "554 5.7.1 spam")]


def test_after_a_failed_transaction_rset_goes_in_front_of_the_next() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send()
    talk.hear("250 ok", "550 no", "554 no valid recipients")
    talk.said()
    talk.send("carol")
    assert talk.said() == b"RSET\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<carol@example.org>\r\nDATA\r\n"
    talk.hear("250 reset", "250 ok", "250 ok", "354 go", "250 ok")
    assert talk.verdicts == [("relayed", "250 ok")]
    talk.said()
    talk.send("dave")
    assert talk.said().startswith(b"MAIL")


def test_without_pipelining_no_data_is_said_when_nobody_was_accepted() -> None:
    talk = Talk.ready()
    talk.send()
    talk.said()
    talk.hear("250 ok")
    talk.said()
    talk.hear("550 no")
    assert talk.said() == b""
    assert talk.verdicts == [("failed", "550 no")]
    talk.send("carol")
    assert talk.said() == b"RSET\r\n"
    talk.hear("250 ok")
    assert talk.said() == b"MAIL FROM:<ann@example.com>\r\n"


def test_354_though_nobody_was_accepted_gets_a_lone_dot() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send()
    talk.said()
    talk.hear("250 ok", "550 no", "354 go")
    assert talk.said() == b".\r\n"
    assert not [event for event in talk.events if isinstance(event, Finished)]
    talk.hear("554 no valid recipients")
    assert talk.verdicts == [("failed", "550 no")]
    assert talk.client.usable


# --- too many recipients ------------------------------------------------------------------------------------------


def test_recipients_beyond_our_limit_are_left_for_another_transaction() -> None:
    talk = Talk.ready("PIPELINING", recipients=2)
    talk.send("a", "b", "c")
    talk.hear("250 ok", "250 ok", "250 ok", "354 go", "250 ok")
    assert [verdict and verdict[0] for verdict in talk.verdicts] == ["relayed", "relayed", None]


def test_the_servers_own_limit_is_kept() -> None:
    talk = Talk.ready("PIPELINING", "LIMITS RCPTMAX=1 MAILMAX=2")
    talk.send("a", "b")
    assert talk.said().count(b"RCPT") == 1
    talk.hear("250 ok", "250 ok", "354 go", "250 ok")
    assert talk.outcomes[1] is None
    assert talk.client.usable
    talk.send("b")
    talk.hear("250 ok", "250 ok", "354 go", "250 ok")
    assert not talk.client.usable, "MAILMAX is reached"


@pytest.mark.parametrize("keywords", [("PIPELINING",), ()])
@pytest.mark.parametrize("full", ["452 4.5.3 too many", "452 too many", "552 5.5.3 too many", "552 too many"])
def test_recipients_that_do_not_fit_are_left_for_another_transaction(keywords: tuple[str, ...], full: str) -> None:
    talk = Talk.ready(*keywords)
    talk.send("a", "b", "c")
    for line in ("250 ok", "250 ok", full, *([full] if keywords else []), "354 go", "250 ok"):
        talk.hear(line)
    assert talk.verdicts == [("relayed", "250 ok"), None, None]


def test_a_limit_that_was_shown_is_kept_to() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("a", "b", "c", "d")
    talk.hear("250 ok", "250 ok", "250 ok", "452 4.5.3 full", "452 4.5.3 full", "354 go", "250 ok")
    talk.said()
    talk.send("c", "d", "e")
    assert talk.said().count(b"RCPT") == 2


@pytest.mark.parametrize("reply", ["452 4.2.2 mailbox full", "552 5.2.2 mailbox full"])
def test_a_full_mailbox_is_not_a_full_transaction(reply: str) -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("a", "b")
    talk.hear("250 ok", "250 ok", reply, "354 go", "250 ok")
    assert talk.verdicts[1] == ("deferred" if reply[0] == "4" else "failed", reply)


def test_too_many_from_the_first_recipient_on_is_a_refusal() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("a", "b")
    talk.hear("250 ok", "452 4.5.3 full", "452 4.5.3 full", "554 none")
    assert [verdict and verdict[0] for verdict in talk.verdicts] == ["deferred", "deferred"]


# --- what a server cannot take ------------------------------------------------------------------------------------


def test_a_message_too_large_is_not_begun() -> None:
    talk = Talk.ready("SIZE 10")
    talk.send(declared_size=11)
    assert talk.said() == b""
    assert talk.verdicts == [("failed", f"552 5.3.4 {SERVER} takes at most 10 octets; the message has 11")]
    assert talk.outcomes[0] is not None and not talk.outcomes[0].said_by_remote
    assert talk.client.usable


@pytest.mark.parametrize(
    "path, content_is_8bit, keywords, possible",
    [
        (ANN, False, ("8BITMIME",), True),  # declared, but nothing needs it (RFC 6531 §3.4)
        (ANN, True, ("8BITMIME",), False),  # its headers may be international
        (ANN, True, ("8BITMIME", "SMTPUTF8"), True),
        (Address("änn", "example.com"), False, ("8BITMIME",), False),
        (Address("ann", "bücher.example"), False, ("8BITMIME",), True),  # by its A-labels
    ],
)
def test_smtputf8_is_needed_by_what_is_not_ascii(
    path: Address, content_is_8bit: bool, keywords: tuple[str, ...], possible: bool
) -> None:
    talk = Talk.ready(*keywords)
    talk.client.send(
        Envelope(path, [Recipient(Address("bob", "example.org"))], smtputf8=True), eight_bit=content_is_8bit
    )
    talk.pull()
    said = talk.said()
    assert bool(said) is possible
    if possible:
        assert (b" SMTPUTF8" in said) is ("SMTPUTF8" in keywords)
        assert said.isascii()
    else:
        assert talk.verdicts[0] is not None and talk.verdicts[0][1].startswith("550 5.6.7 ")


def test_only_the_recipient_that_needs_smtputf8_is_refused() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("bob", "käthe")
    assert b"RCPT TO:<bob@example.org>\r\nDATA" in talk.said()
    talk.hear("250 ok", "250 ok", "354 go", "250 ok")
    assert talk.verdicts == [
        ("relayed", "250 ok"),
        ("failed", f"550 5.6.7 {SERVER} does not take international addresses (SMTPUTF8)"),
    ]


def test_international_addresses_go_as_they_are_where_smtputf8_is_offered() -> None:
    talk = Talk.ready("PIPELINING", "SMTPUTF8", "8BITMIME")
    talk.send("käthe")
    said = talk.said().decode()
    assert "MAIL FROM:<ann@example.com> SMTPUTF8\r\n" in said
    assert "RCPT TO:<käthe@example.org>" in said


def test_8bit_content_is_refused_or_sent_as_configured() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send(eight_bit=True, body=BodyType.EIGHT_BIT)
    assert talk.verdicts == [("failed", f"550 5.6.3 {SERVER} does not take 8-bit messages (8BITMIME)")]
    talk = Talk.ready("PIPELINING", send_eight_bit=True)
    talk.send(eight_bit=True, body=BodyType.EIGHT_BIT)
    assert talk.said().startswith(b"MAIL FROM:<ann@example.com>\r\n")


@pytest.mark.parametrize("keywords", [("CHUNKING",), ("BINARYMIME",), ("8BITMIME",)])
def test_binary_content_needs_binarymime(keywords: tuple[str, ...]) -> None:
    talk = Talk.ready(*keywords)
    talk.send(body=BodyType.BINARY)
    assert talk.verdicts == [("failed", f"550 5.6.3 {SERVER} does not take binary messages (BINARYMIME)")]


# --- BDAT ---------------------------------------------------------------------------------------------------------


def test_binary_content_goes_by_bdat_octet_for_octet() -> None:
    talk = Talk.ready("PIPELINING", "CHUNKING", "BINARYMIME")
    talk.content = b"\n.\r\n\0\r.\r\n"
    talk.send("bob", "carol", body=BodyType.BINARY)
    assert talk.said() == (
        b"MAIL FROM:<ann@example.com> BODY=BINARYMIME\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<carol@example.org>\r\n"
    )
    talk.hear("250 ok", "250 ok", "550 no")
    assert talk.said() == b"BDAT 9 LAST\r\n\n.\r\n\0\r.\r\n"
    talk.hear("250 9 octets")
    assert talk.verdicts == [("relayed", "250 9 octets"), ("failed", "550 no")]


def test_bdat_is_used_for_all_where_configured_and_offered() -> None:
    talk = Talk.ready("PIPELINING", "CHUNKING", chunking=True)
    talk.send()
    talk.said()
    talk.hear("250 ok", "250 ok")
    assert talk.said() == b"BDAT %d LAST\r\n" % len(BODY) + BODY
    elsewhere = Talk.ready("PIPELINING", chunking=True)
    elsewhere.send()
    assert elsewhere.said().endswith(b"DATA\r\n")


def test_no_bdat_when_nobody_was_accepted() -> None:
    talk = Talk.ready("PIPELINING", "CHUNKING", chunking=True)
    talk.send()
    talk.said()
    talk.hear("250 ok", "550 no")
    assert talk.said() == b""
    assert talk.verdicts == [("failed", "550 no")]


def chunked(*keywords: str) -> Talk:
    """A transaction that waits for its first chunk."""
    talk = Talk.ready("CHUNKING", *keywords, chunking=True)
    talk.send()
    talk.client.receive(b"250 ok\r\n")
    assert talk.client.next_event() is None or talk.client.wants_body
    talk.client.receive(b"250 ok\r\n")
    assert isinstance(talk.client.next_event(), BodyWanted)
    talk.said()
    return talk


def test_without_pipelining_each_chunk_waits() -> None:
    talk = chunked()
    talk.client.body(b"one", last=False)
    assert talk.said() == b"BDAT 3\r\none"
    assert not talk.client.wants_body
    talk.client.receive(b"250 ok\r\n")
    assert isinstance(talk.client.next_event(), BodyWanted)
    talk.client.body(b"", last=True)
    assert talk.said() == b"BDAT 0 LAST\r\n"
    talk.hear("250 done")
    assert talk.verdicts == [("relayed", "250 done")]


def test_a_chunk_refused_stops_the_message_and_the_replies_on_their_way_are_taken() -> None:
    talk = chunked("PIPELINING")
    talk.client.body(b"one", last=False)
    talk.client.body(b"two", last=False)
    assert talk.said() == b"BDAT 3\r\noneBDAT 3\r\ntwo"
    talk.hear("452 4.3.1 full")
    assert not talk.client.wants_body
    talk.client.body(b"three", last=True)
    assert talk.said() == b""
    talk.hear("503 no")
    assert talk.verdicts == [("deferred", "452 4.3.1 full")]
    talk.send("carol")
    assert talk.said().startswith(b"RSET\r\n"), "RFC 3030 §2: after a failed BDAT the state is not known"


# --- the conversation breaks --------------------------------------------------------------------------------------


def test_421_to_mail_defers_all_and_nothing_was_answered() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("bob", "carol")
    events = talk.hear("421 4.3.2 closing")
    assert talk.verdicts == [("deferred", "421 4.3.2 closing")] * 2
    assert isinstance(events[-2], Finished) and events[-2].unanswered
    assert events[-1] == Broken(Reply(421, "4.3.2", "closing"), said=True)


@pytest.mark.parametrize("before", [2, 3, 4])
def test_421_later_defers_what_is_undecided_without_doubt(before: int) -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("bob", "carol")
    talk.hear(*["250 ok", "550 no", "250 ok", "354 go"][:before], "421 closing")
    assert talk.verdicts == [("failed", "550 no"), ("deferred", "421 closing")]
    finished = next(event for event in talk.events if isinstance(event, Finished))
    assert not finished.unanswered
    assert [outcome and outcome.doubtful for outcome in talk.outcomes] == [False, False]


def test_421_while_idle_ends_the_conversation() -> None:
    talk = Talk.ready("PIPELINING")
    assert talk.hear("421 idle for too long") == [Broken(Reply(421, "", "idle for too long"), said=True)]
    assert not talk.client.usable


@pytest.mark.parametrize(
    "replies, when",
    [
        ([], "after MAIL"),
        (["250 ok"], "after RCPT"),
        (["250 ok", "250 ok"], "after DATA"),
        (["250 ok", "250 o"], "after RCPT"),  # half a reply is none
    ],
)
def test_lost_before_the_message_defers_without_doubt(replies: list[str], when: str) -> None:
    talk = Talk.ready("PIPELINING")
    talk.send()
    talk.client.receive("\r\n".join([*replies, ""])[: -2 if replies and replies[-1].endswith(" o") else None].encode())
    talk.pull()
    talk.client.lost()
    talk.pull()
    assert talk.verdicts == [("deferred", f"451 4.4.2 {SERVER} closed the connection {when}")]
    assert talk.outcomes[0] is not None and not talk.outcomes[0].doubtful and not talk.outcomes[0].said_by_remote


@pytest.mark.parametrize("how", ["lost", "timed_out", "nonsense"])
def test_lost_after_the_dot_is_doubtful_for_those_that_were_accepted(how: str) -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("bob", "carol")
    talk.hear("250 ok", "550 no", "250 ok", "354 go")
    if how == "nonsense":
        talk.hear("hello there")
    else:
        getattr(talk.client, how)()
        talk.pull()
    lost = f"451 4.4.2 {SERVER} was lost after the whole message was sent; it may or may not have arrived"
    assert talk.verdicts == [("failed", "550 no"), ("deferred", lost)]
    assert [outcome and outcome.doubtful for outcome in talk.outcomes] == [False, True]


def test_who_did_not_fit_into_the_lost_transaction_is_not_in_doubt() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send("bob", "carol")
    talk.hear("250 ok", "250 ok", "452 4.5.3 too many", "354 go")
    talk.client.lost()
    talk.pull()
    assert [outcome and (outcome.verdict, outcome.doubtful) for outcome in talk.outcomes] == [
        (Verdict.DEFERRED, True),
        (Verdict.DEFERRED, False),
    ]


def test_lost_within_the_message_is_not_doubtful() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send()
    talk.client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert isinstance(talk.client.next_event(), BodyWanted)
    talk.client.body(b"half of it", last=False)
    assert talk.client.awaited is Step.CONTENT
    talk.client.lost()
    talk.pull()
    when = "while the message was being sent"
    assert talk.verdicts == [("deferred", f"451 4.4.2 {SERVER} closed the connection {when}")]
    assert talk.outcomes[0] is not None and not talk.outcomes[0].doubtful


def test_an_early_refusal_within_the_message_is_the_verdict() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send()
    talk.client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    talk.client.next_event()
    talk.client.body(b"half of it", last=False)
    talk.hear("552 5.3.4 too large")
    assert talk.verdicts == [("failed", "552 5.3.4 too large")]
    assert isinstance(talk.events[-1], Broken)


def test_silence_says_after_what() -> None:
    talk = Talk()
    talk.client.timed_out()
    assert talk.pull() == [
        Broken(Reply(451, "4.4.2", f"{SERVER} was silent for too long before its greeting"), said=False)
    ]


@pytest.mark.parametrize(
    "line, fault",
    [
        ("hello", '"hello"'),
        ("", '""'),
        ("25 ok", '"25 ok"'),
        ("2500 ok", '"2500 ok"'),
        ("100 ok", '"100 ok"'),
        ("650 ok", '"650 ok"'),
        ("250_ok", '"250_ok"'),
        ("250-one\r\n251 two", "a reply that begins with 250 and goes on with 251"),
        ("250-one\r\nok", '"ok"'),
        ("250 bare\nend", "a line with bare CR or LF"),
        ("250 " + "x" * 5000, "a line too long"),
        ("\r\n".join(["250-x"] * 600), "a reply of over 65536 octets or 512 lines"),
        ("\r\n".join(["250-" + "x" * 4000] * 20), "a reply of over 65536 octets or 512 lines"),
        ("354 go", "354 to MAIL"),
    ],
)
def test_nonsense_ends_the_conversation_as_a_value(line: str, fault: str) -> None:
    talk = Talk.ready("PIPELINING")
    talk.send()
    talk.hear(line)
    assert isinstance(talk.events[-1], Broken)
    assert talk.verdicts == [("deferred", f"451 4.5.0 {SERVER} answered something that is not SMTP: {fault}")]


def test_a_reply_when_nothing_was_asked_ends_the_conversation() -> None:
    talk = Talk.ready("PIPELINING")
    talk.hear("250 for your next question")
    assert isinstance(talk.events[-1], Broken)


def test_a_part_of_a_reply_that_comes_too_early_is_never_taken_for_an_answer() -> None:
    talk = Talk.ready("PIPELINING")
    talk.client.receive(b"250 ok\r")
    talk.pull()
    talk.send()
    assert talk.said() == b""
    assert isinstance(talk.events[-1], Broken)


def test_a_reply_to_the_message_that_comes_before_the_message_is_not_believed() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send()
    talk.said()
    talk.client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n250 queued already\r\n")
    talk.pull()
    assert talk.said() == b""
    assert talk.verdicts[0] is not None and talk.verdicts[0][0] == "deferred"


def test_rset_refused_means_that_the_next_message_was_not_heard() -> None:
    talk = Talk.ready("PIPELINING")
    talk.send()
    talk.hear("250 ok", "550 no", "554 none")
    talk.send("carol")
    talk.hear("500 what?")
    finished = [event for event in talk.events if isinstance(event, Finished)][-1]
    assert finished.unanswered and isinstance(talk.events[-1], Broken)


def test_quit() -> None:
    talk = Talk.ready("PIPELINING")
    talk.client.quit()
    assert talk.said() == b"QUIT\r\n"
    assert talk.hear("221 bye") == [Answered(Step.QUIT, Reply(221, "", "bye"))]


# --- any cutting, any garbage -------------------------------------------------------------------------------------


def read_all(pieces: Iterable[bytes]) -> list[Reply | Nonsense]:
    chat = Chat(Silence(), 4096)
    reader = ReplyReader(chat)
    found: list[Reply | Nonsense] = []
    for piece in pieces:
        chat.receive(piece)
        while (reply := reader.take()) is not None:
            found.append(reply)
            if isinstance(reply, Nonsense):
                return found
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


lines = st.one_of(
    st.from_regex(rb"[2-5][0-9][0-9][ -][ -~]{0,20}", fullmatch=True),
    st.sampled_from([b"250-2.1.0 a", b"250 2.1.0 b", b"354 go", b"421 bye", b"250", b"x", b"", b"250 \xff\r"]),
    st.binary(max_size=12),
)
streams = st.lists(lines, max_size=12).map(lambda parts: b"".join(part + b"\r\n" for part in parts))


@given(streams, st.lists(st.integers(0, 400), max_size=8))
def test_however_replies_are_cut_they_read_the_same(data: bytes, places: list[int]) -> None:
    assert read_all(cut(data, places)) == read_all([data])


@given(streams, st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_garbage_never_raises_and_every_recipient_gets_an_outcome(
    data: bytes, places: list[int], pipelining: bool
) -> None:
    """Whatever the server says, cut however: the conversation goes on or breaks, and after the end of the stream every
    recipient has an outcome. Doubt is possible only once the end of the message was sent."""
    talk = Talk.ready("PIPELINING") if pipelining else Talk.ready()
    talk.send("bob", "carol")
    for piece in cut(data, places):
        talk.client.receive(piece)
        talk.pull()
    talk.client.lost()
    talk.pull()
    assert len(talk.outcomes) == 2
    if b"452" not in data and b"552" not in data:  # "too many": those are left for another transaction
        assert None not in talk.outcomes
    if any(outcome is not None and outcome.doubtful for outcome in talk.outcomes):
        assert STUFFED in talk.said()
    relayed = [outcome for outcome in talk.outcomes if outcome is not None and outcome.verdict is Verdict.RELAYED]
    assert all(outcome.reply.positive for outcome in relayed)
