"""One message on its way to another server, as the client's side knows it: who was accepted, and each one's outcome.

Lives here: who is in a transaction and which commands that takes; its state; what the reply to each of its steps means.
This is the one place where replies become outcomes: refused at MAIL, all; at RCPT, that one; at DATA or after the dot,
all that were accepted; lost after the dot, in doubt.
Does not live here: what is said when (smtp_client.py), the commands' text and what makes a message impossible for a
server (smtp_commands.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from glasspost.mail import reply as replies
from glasspost.mail.envelope import BodyType, Envelope, Outcome, Verdict
from glasspost.mail.reply import Reply
from glasspost.protocol.dots import DotWriter
from glasspost.protocol.smtp_client_events import SmtpClientSettings, Step
from glasspost.protocol.smtp_commands import impossible, impossible_recipient, mail_line, rcpt_line
from glasspost.protocol.smtp_replies import Capabilities


class Transaction:
    """One message on its way: what was said, and what is known so far.

    `outcomes` stand in the envelope's order; `sent` are the places in it that RCPT names, in order. `passes_wishes`:
    the server takes the sender's DSN wishes along. `lmtp`: each recipient gets its own reply after the message
    (RFC 2033 §4.2).
    """

    __slots__ = (
        "accepted",
        "answered",
        "asked",
        "body_open",
        "chunked",
        "chunks",
        "fits",
        "heard",
        "lmtp",
        "mail_taken",
        "outcomes",
        "over",
        "passes_wishes",
        "script",
        "sent",
        "server",
        "whole",
        "writer",
    )

    def __init__(
        self,
        outcomes: list[Outcome | None],
        sent: list[int],
        chunked: bool,
        server: str,
        passes_wishes: bool,
        lmtp: bool = False,
    ) -> None:
        self.outcomes = outcomes
        self.sent = sent
        self.server = server
        self.passes_wishes = passes_wishes
        self.lmtp = lmtp
        self.heard = 0  # how many RCPTs have their reply
        self.accepted: list[int] = []
        self.script: deque[tuple[Step, bytes]] = deque()  # commands not said yet, where nothing is pipelined
        self.chunked = chunked
        self.writer = DotWriter()
        self.answered = False  # MAIL has its reply
        self.mail_taken = False
        self.asked = False  # DATA was answered with 354: the server waits for a message
        self.chunks = 0  # BDATs whose reply is still to come
        self.fits = 0  # recipients after which the server has said "too many"; 0 while it has not
        self.body_open = False  # content may be sent
        self.whole = False  # all content and its end were sent
        self.over = False  # the server has forgotten the transaction: no RSET is needed

    @property
    def undecided(self) -> bool:
        """Whether those that were accepted have no outcome yet: they get theirs together."""
        return self.outcomes[self.accepted[0]] is None

    @property
    def content_due(self) -> bool:
        """Whether content, or more of it, is what comes next."""
        return bool((self.asked or self.chunked) and self.accepted) and not self.whole and self.undecided

    # --- what the replies mean; each method gives the fault of a reply that fits no question, else "" -----------

    def heard_rset(self, reply: Reply) -> str:
        return "" if reply.code // 100 == 2 else f"{reply.code} to RSET"

    def heard_mail(self, reply: Reply) -> str:
        self.answered = True
        if reply.code // 100 == 2:
            self.mail_taken = True
        elif reply.positive:
            return f"{reply.code} to MAIL"
        else:
            self.decide(self.sent, reply)
            self.script.clear()
        return ""

    def heard_rcpt(self, reply: Reply) -> str:
        place = self.sent[self.heard]
        self.heard += 1
        if reply.code // 100 == 2:
            if self.mail_taken:
                self.accepted.append(place)
        elif reply.positive:
            return f"{reply.code} to RCPT"
        elif self.accepted and _too_many(reply):
            # RFC 5321 §4.5.3.1.10: those that did not fit go in another transaction, at once.
            if reply.enhanced:
                self.fits = len(self.accepted)
            while self.script and self.script[0][0] is Step.RCPT:
                self.script.popleft()
        else:
            self.decide((place,), reply)
        return ""

    def heard_data(self, reply: Reply) -> str:
        if reply.code // 100 == 3:
            self.asked = True
        elif reply.positive:
            return f"{reply.code} to DATA"
        else:
            self.decide(self.accepted, reply)
        return ""

    def heard_dot(self, reply: Reply) -> str:
        if reply.code // 100 == 3:
            return f"{reply.code} after the final dot"
        self.asked = False
        self.over = True
        undecided = [place for place in self.accepted if self.outcomes[place] is None]
        self.decide(undecided[:1] if self.lmtp else undecided, reply)
        return ""

    def heard_chunk(self, reply: Reply) -> str:
        self.chunks -= 1
        if reply.code // 100 == 3:
            return f"{reply.code} to BDAT"
        if not reply.positive:
            # RFC 3030 §2: send no more of it. The replies to what is already on its way are still to come.
            self.decide(self.accepted, reply)
            self.body_open = False
        elif self.whole and not self.chunks:
            self.over = self.undecided
            self.decide(self.accepted, reply)
        return ""

    # --- outcomes -----------------------------------------------------------------------------------------------

    def decide(self, places: Iterable[int], reply: Reply) -> None:
        """The server's verdict on those of `places` that have none yet."""
        for place in places:
            if self.outcomes[place] is None:
                outcome = _outcome_of(reply, self.server, said=True)
                outcome.reports_onward = self.passes_wishes and outcome.verdict is Verdict.RELAYED
                self.outcomes[place] = outcome

    def abandon(self, reply: Reply, said: bool) -> None:
        """The conversation broke. What is undecided is deferred: in doubt, once the end was sent and unless the server
        itself `said` that it did not take it."""
        doubtful = self.whole and not said
        for place in self.sent:
            if self.outcomes[place] is not None:
                continue
            outcome = Outcome(Verdict.DEFERRED, reply, self.server, said)
            if doubtful and place in self.accepted:
                outcome.reply = replies.LOST_AFTER_DOT.saying(server=self.server).because(reply.text)
                outcome.doubtful = True
            self.outcomes[place] = outcome


def begin(
    envelope: Envelope,
    eight_bit: bool,
    offered: Capabilities,
    settings: SmtpClientSettings,
    limit: int,
    server: str,
    until: Step | None = None,
) -> tuple[Transaction, list[tuple[Step, bytes]]]:
    """A transaction for the first `limit` of the recipients, with its commands up to DATA, or up to the first BDAT.

    What this server cannot take has its outcome already. Where `sent` is empty there is nothing to be said. `until`
    MAIL or RCPT: the commands end there, and those that were not refused stay without an outcome.
    """
    outcomes: list[Outcome | None] = [None] * len(envelope.recipients)
    refusal = impossible(envelope, eight_bit, offered, server, settings.send_eight_bit)
    lines = [(Step.MAIL, mail_line(envelope, eight_bit, offered).encode())]
    sent: list[int] = []
    for place, recipient in enumerate(envelope.recipients):
        verdict = refusal or impossible_recipient(recipient, offered, server)
        if verdict is not None:
            outcomes[place] = _outcome_of(verdict, server)
        elif len(sent) < limit:
            sent.append(place)
            lines.append((Step.RCPT, rcpt_line(recipient, offered).encode()))
    chunked = envelope.body is BodyType.BINARY or (settings.chunking and offered.chunking)
    chunked = chunked and not settings.lmtp and until is None
    if until is not None:
        if until is Step.MAIL:
            del lines[1:]
    elif not chunked:
        lines.append((Step.DATA, b"DATA\r\n"))
    return Transaction(outcomes, sent, chunked, server, offered.dsn, settings.lmtp), lines


def _outcome_of(reply: Reply, server: str, said: bool = False) -> Outcome:
    """The outcome that a reply to a transaction means for one recipient."""
    if reply.positive:
        return Outcome(Verdict.RELAYED, reply, server, said)
    return Outcome(Verdict.FAILED if reply.permanent else Verdict.DEFERRED, reply, server, said)


def _too_many(reply: Reply) -> bool:
    """Whether RCPT was refused because the transaction is full: 452, or 552 as RFC 821 had it (RFC 5321 §4.5.3.1.10).

    Where there is no enhanced code, it may also be another shortage; another transaction will show.
    """
    return (reply.code == 452 and reply.enhanced in ("", "4.5.3")) or (
        reply.code == 552 and reply.enhanced in ("", "5.5.3")
    )
