"""How a POP3 client says who it is: USER and PASS (RFC 1939 §7), AUTH (RFC 5034).

Lives here: whether passwords may be asked for on this connection, the name that waits for its password, the SASL
exchange under way, and whether the next line may hold a secret.
Does not live here: what SASL's lines mean (sasl.py), whether a password is right (storage/accounts.py), masking
(pop3_secrets.py).
"""

from __future__ import annotations

from glasspost.mail import pop3_reply as replies
from glasspost.mail.pop3_reply import Pop3Reply
from glasspost.protocol import sasl
from glasspost.protocol.pop3_events import Pop3Settings, SignIn

MECHANISMS = ("PLAIN",)


class Introduction:
    """One client's attempts to sign in. Each step gives a reply to say, a challenge, or the SignIn to be checked.

    `exchange` is set while the client's next line answers a challenge. `secret_may_follow` is set from the first
    name or mechanism on: a line that is no command is then likely to be a password.
    """

    __slots__ = ("_choice", "_from_loopback", "_username", "exchange", "secret_may_follow", "secured")

    def __init__(self, settings: Pop3Settings, *, secured: bool, from_loopback: bool) -> None:
        self._choice = settings.cleartext_auth
        self._from_loopback = from_loopback
        self.secured = secured
        self.forget()

    def forget(self) -> None:
        """Nothing was said yet: at the beginning, once TLS stands, and once somebody is signed in."""
        self._username = ""
        self.exchange: sasl.Exchange | None = None
        self.secret_may_follow = False

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What AUTH takes on this connection as it is. Where there is none, USER is not taken either."""
        allowed = self.secured or self._choice == "always" or (self._choice == "loopback" and self._from_loopback)
        return MECHANISMS if allowed else ()

    def user(self, name: str) -> Pop3Reply:
        self.secret_may_follow = True
        if not self.mechanisms:
            return replies.NEEDS_TLS
        self._username = name
        return replies.USER_OK

    def password(self, password: str) -> SignIn | Pop3Reply:
        """PASS. The name is used up, right or wrong: another attempt begins with USER."""
        username, self._username = self._username, ""
        if not self.mechanisms:
            return replies.NEEDS_TLS
        return SignIn(username, password) if username else replies.SAY_USER_FIRST

    def auth(self, mechanism: str, initial: str | None) -> SignIn | Pop3Reply | sasl.Challenge:
        self.secret_may_follow = True
        if mechanism.upper() not in MECHANISMS:
            return replies.MECHANISM_UNKNOWN
        if not self.mechanisms:
            return replies.NEEDS_TLS
        exchange = sasl.Exchange(mechanism.upper())
        try:
            return self._taken(exchange, exchange.begin(initial))
        except sasl.Malformed as fault:
            return replies.NOT_BASE64 if fault.base64 else replies.NOT_PLAIN

    def response(self, line: str) -> SignIn | Pop3Reply | sasl.Challenge:
        """The client's line in an exchange; `*` calls it off (RFC 5034 §4)."""
        exchange, self.exchange = self.exchange, None
        assert exchange is not None
        if line == "*":
            return replies.AUTH_CANCELLED
        try:
            return self._taken(exchange, exchange.go_on(line))
        except sasl.Malformed as fault:
            return replies.NOT_BASE64 if fault.base64 else replies.NOT_PLAIN

    def _taken(self, exchange: sasl.Exchange, step: sasl.Challenge | sasl.Credentials) -> SignIn | sasl.Challenge:
        if isinstance(step, sasl.Credentials):
            return SignIn(step.username, step.password)
        self.exchange = exchange
        return step
