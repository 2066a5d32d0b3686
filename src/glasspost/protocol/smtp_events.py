"""What an SMTP server conversation tells the session above it.

Lives here: the events of `SmtpServer.next_event`. Those with a verb in their first line ask: the session owes
`answer(reply)`. `Body`, `Forgotten` and `Left` only tell.
Does not live here: any behaviour.
"""

from __future__ import annotations

from typing import ClassVar

from glasspost.mail.envelope import Envelope, Recipient
from glasspost.protocol.sasl import Question
from glasspost.protocol.smtp_xclient import Brought


class Event:
    """Something the client did."""

    __slots__ = ()
    verb: ClassVar[str] = ""
    asks: ClassVar[bool] = True  # an answer is owed


class Hello(Event):
    """EHLO, HELO or LHLO, with the name the client gives itself. A transaction that was under way is over."""

    __slots__ = ("name", "verb")

    def __init__(self, verb: str, name: str) -> None:
        self.verb = verb  # type: ignore[misc]  # the one event with several verbs
        self.name = name


class Mail(Event):
    """MAIL: may this sender begin a message? The envelope has no recipients yet."""

    __slots__ = ("envelope",)
    verb = "MAIL"

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope


class Rcpt(Event):
    """RCPT: is this recipient taken?"""

    __slots__ = ("recipient",)
    verb = "RCPT"

    def __init__(self, recipient: Recipient) -> None:
        self.recipient = recipient


class Data(Event):
    """DATA: may the message come? The positive answer is the 354."""

    __slots__ = ()
    verb = "DATA"


class Verify(Event):
    """VRFY with its argument."""

    __slots__ = ("text",)
    verb = "VRFY"

    def __init__(self, text: str) -> None:
        self.text = text


class Expand(Event):
    """EXPN with its argument."""

    __slots__ = ("text",)
    verb = "EXPN"

    def __init__(self, text: str) -> None:
        self.text = text


class StartTls(Event):
    """STARTTLS. After the positive answer has been sent, the session does the handshake and calls `secured`."""

    __slots__ = ()
    verb = "STARTTLS"


class SignIn(Event):
    """AUTH has come to a question for the house. `WantsKeys` is answered with `core.sign_in_keys`, or a refusal."""

    __slots__ = ("question",)
    verb = "AUTH"

    def __init__(self, question: Question) -> None:
        self.question = question


class XClient(Event):
    """XCLIENT: a proxy says whom it brings. The positive answer is a greeting, for which `turn_to` has made ready."""

    __slots__ = ("brought",)
    verb = "XCLIENT"

    def __init__(self, brought: Brought) -> None:
        self.brought = brought


class BodyEnded(Event):
    """The message is complete, and asks for its verdict: a 250 says that it is durable."""

    __slots__ = ("octets", "verb")

    def __init__(self, octets: int, verb: str) -> None:
        self.octets = octets
        self.verb = verb  # type: ignore[misc]  # DATA or BDAT


class Body(Event):
    """The next piece of the message, unstuffed. Asks nothing."""

    asks = False
    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Forgotten(Event):
    """The transaction is over without a message: RSET, or a flaw in the body. Asks nothing."""

    asks = False
    __slots__ = ()


class Left(Event):
    """The conversation is over: send what is to be sent, and hang up. Asks nothing."""

    asks = False
    __slots__ = ()
