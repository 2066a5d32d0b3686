"""How an SMTP client says who it is: AUTH (RFC 4954), on one connection.

Lives here: whether passwords may be asked for, the exchange under way, what a refused token hears first, and whether
a line may hold a secret.
Does not live here: what the exchange's lines mean (sasl.py), whether a password is right (storage/sign_in.py), when
AUTH may come (smtp_table.py), masking (smtp_secrets.py).
"""

from __future__ import annotations

from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.protocol import sasl, sasl_mechanisms
from glasspost.protocol.smtp_offer import ServerSettings
from glasspost.protocol.smtp_table import TABLE


class Introduction:
    """One client's attempts to sign in. Each step gives a refusal, a challenge to say, or a question for the house.

    `secret_may_follow` is set from the first AUTH until somebody is signed in: whoever was refused may send the
    password all the same, and it then arrives as a command that nobody knows.
    """

    __slots__ = ("_exchange", "_refusal", "_settings", "_terms", "secret_may_follow")

    def __init__(self, settings: ServerSettings, end_point: bytes = b"") -> None:
        self._settings = settings
        self._terms = sasl.Terms(settings.hostname, end_point, settings.complaint)
        self.forget()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What AUTH takes on this connection, once it may be said at all."""
        return sasl_mechanisms.possible(self._settings.mechanisms, self._terms)

    def forget(self) -> None:
        """Nothing was said yet: at the beginning, and once somebody is signed in."""
        self.call_off()
        self.secret_may_follow = False

    def call_off(self) -> None:
        """The exchange under way is over."""
        self._exchange: sasl.Exchange | None = None
        self._refusal: Reply | None = None

    def auth(self, argument: str, *, tls: bool) -> Reply | sasl.Step:
        """The AUTH command, with or without an initial response (RFC 4954 §4)."""
        self.secret_may_follow = True
        mechanism, _, initial = argument.partition(" ")
        if not mechanism:
            return say.SYNTAX.saying(syntax=TABLE["AUTH"].syntax)
        if not (tls or self._settings.cleartext_auth):
            return say.AUTH_NEEDS_TLS
        if mechanism.upper() not in self.mechanisms:
            return say.AUTH_UNKNOWN
        exchange = sasl_mechanisms.exchange(mechanism.upper(), self._terms)
        return self._taken(exchange, lambda: exchange.begin(initial or None))

    def response(self, line: bytes) -> Reply | sasl.Step:
        """The client's answer to a challenge. A lone `*` calls the exchange off."""
        exchange, refusal = self._exchange, self._refusal
        self.call_off()
        if refusal is not None:
            return refusal  # RFC 7628 §3.2.3: the client has heard what is wrong; its answer says nothing
        if line == b"*":
            return say.AUTH_CANCELLED
        assert exchange is not None
        text = line.decode("ascii", "replace")
        return self._taken(exchange, lambda: exchange.go_on(text))

    def keys(self, keys: sasl.ScramKeys) -> Reply | sasl.Step:
        """The house's answer to WantsKeys."""
        exchange = self._exchange
        assert exchange is not None
        return self._taken(exchange, lambda: exchange.keys(keys))

    def refused(self, question: sasl.Question, reply: Reply) -> Reply | sasl.Challenge:
        """The house says no: the refusal, or what has to be said before it."""
        self.call_off()
        if not isinstance(question, sasl.Bearer) or reply.transient:
            return reply
        self._refusal = reply
        return question.complaint

    def _taken(self, exchange: sasl.Exchange, take: sasl.Take) -> Reply | sasl.Step:
        self._exchange = None
        try:
            step = take()
        except sasl.Malformed as fault:
            return say.AUTH_BAD_BASE64 if fault.base64 else say.AUTH_FAILED
        if isinstance(step, (sasl.Challenge, sasl.WantsKeys)):
            self._exchange = exchange
        return step
