"""How an SMTP client says who it is: AUTH (RFC 4954), on one connection.

Lives here: whether passwords may be asked for, the exchange under way, and whether a line may hold a secret.
Does not live here: what the exchange's lines mean (sasl.py), whether a password is right (storage/accounts.py), when
AUTH may come (smtp_table.py), masking (smtp_secrets.py).
"""

from __future__ import annotations

from glasspost.mail import reply as say
from glasspost.mail.reply import Reply
from glasspost.protocol import sasl
from glasspost.protocol.smtp_offer import ServerSettings
from glasspost.protocol.smtp_table import TABLE


class Introduction:
    """One client's attempts to sign in. Each step gives a refusal, a challenge to say, or credentials to be checked.

    `secret_may_follow` is set from the first AUTH until somebody is signed in: whoever was refused may send the
    password all the same, and it then arrives as a command that nobody knows.
    """

    __slots__ = ("_exchange", "_settings", "secret_may_follow")

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self.forget()

    def forget(self) -> None:
        """Nothing was said yet: at the beginning, once TLS stands, and once somebody is signed in."""
        self.call_off()
        self.secret_may_follow = False

    def call_off(self) -> None:
        """The exchange under way is over."""
        self._exchange: sasl.Exchange | None = None

    def auth(self, argument: str, *, tls: bool) -> Reply | sasl.Challenge | sasl.Credentials:
        """The AUTH command, with or without an initial response (RFC 4954 §4)."""
        self.secret_may_follow = True
        mechanism, _, initial = argument.partition(" ")
        if not mechanism:
            return say.SYNTAX.saying(syntax=TABLE["AUTH"].syntax)
        if not (tls or self._settings.cleartext_auth):
            return say.AUTH_NEEDS_TLS
        if mechanism.upper() not in self._settings.mechanisms:
            return say.AUTH_UNKNOWN
        exchange = sasl.Exchange(mechanism.upper())
        return self._taken(exchange, lambda: exchange.begin(initial or None))

    def response(self, line: bytes) -> Reply | sasl.Challenge | sasl.Credentials:
        """The client's answer to a challenge. A lone `*` calls the exchange off."""
        exchange = self._exchange
        assert exchange is not None
        self.call_off()
        if line == b"*":
            return say.AUTH_CANCELLED
        text = line.decode("ascii", "replace")
        return self._taken(exchange, lambda: exchange.go_on(text))

    def _taken(self, exchange: sasl.Exchange, step: sasl.Step) -> Reply | sasl.Challenge | sasl.Credentials:
        try:
            result = step()
        except sasl.Malformed as fault:
            return say.AUTH_BAD_BASE64 if fault.base64 else say.AUTH_FAILED
        if isinstance(result, sasl.Challenge):
            self._exchange = exchange
        return result
