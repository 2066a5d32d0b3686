"""How a POP3 client says who it is: USER and PASS (RFC 1939 §7), AUTH (RFC 5034).

Lives here: whether passwords may be asked for on this connection, the name that waits for its password, the SASL
exchange under way, and whether the next line may hold a secret.
Does not live here: what SASL's lines mean (sasl.py), whether a password is right (storage/sign_in.py), masking
(pop3_secrets.py).
"""

from __future__ import annotations

from glasspost.mail import pop3_reply as replies
from glasspost.mail.pop3_reply import Pop3Reply
from glasspost.protocol import sasl, sasl_mechanisms
from glasspost.protocol.pop3_events import Pop3Settings


class Introduction:
    """One client's attempts to sign in. Each step gives a reply to say, a challenge, or a question for the house.

    `expecting` is set while the client's next line answers a challenge. `secret_may_follow` is set from the first
    name or mechanism on: a line that is no command is then likely to be a password.
    """

    __slots__ = (
        "_exchange",
        "_from_loopback",
        "_mechanism",
        "_refusal",
        "_settings",
        "_terms",
        "_username",
        "expecting",
        "secret_may_follow",
        "secured",
    )

    def __init__(self, settings: Pop3Settings, *, secured: bool, from_loopback: bool, end_point: bytes = b"") -> None:
        """`end_point`: with TLS, the hash of the certificate shown (RFC 5929 §4)."""
        self._settings = settings
        self._from_loopback = from_loopback
        self._terms = sasl.Terms(settings.hostname, end_point, settings.complaint)
        self.secured = secured
        self.forget()

    def over_tls(self, end_point: bytes) -> Introduction:
        """TLS stands: a new beginning (RFC 2595 §4)."""
        return Introduction(self._settings, secured=True, from_loopback=self._from_loopback, end_point=end_point)

    def forget(self) -> None:
        """Nothing was said yet: at the beginning, and once somebody is signed in."""
        self._username = ""
        self.call_off()
        self.secret_may_follow = False

    def call_off(self) -> None:
        """The exchange under way is over."""
        self._exchange: sasl.Exchange | None = None
        self._refusal: Pop3Reply | None = None
        self.expecting = False

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What AUTH takes on this connection as it is. Where there is none, USER is not taken either."""
        choice = self._settings.cleartext_auth
        allowed = self.secured or choice == "always" or (choice == "loopback" and self._from_loopback)
        return sasl_mechanisms.possible(self._settings.mechanisms, self._terms) if allowed else ()

    def user(self, name: str) -> Pop3Reply:
        self.secret_may_follow = True
        if not self.mechanisms:
            return replies.NEEDS_TLS
        self._username = name
        return replies.USER_OK

    def password(self, password: str) -> sasl.Credentials | Pop3Reply:
        """PASS. The name is used up, right or wrong: another attempt begins with USER."""
        username, self._username = self._username, ""
        if not self.mechanisms:
            return replies.NEEDS_TLS
        return sasl.Credentials("USER", username, password) if username else replies.SAY_USER_FIRST

    def auth(self, mechanism: str, initial: str | None) -> Pop3Reply | sasl.Step:
        self.secret_may_follow = True
        name = mechanism.upper()
        if name not in self._settings.mechanisms:
            return replies.MECHANISM_UNKNOWN
        if not self.mechanisms:
            return replies.NEEDS_TLS
        if name not in self.mechanisms:
            return replies.MECHANISM_UNKNOWN
        self._mechanism = name
        exchange = sasl_mechanisms.exchange(name, self._terms)
        return self._taken(exchange, lambda: exchange.begin(initial))

    def response(self, line: str) -> Pop3Reply | sasl.Step:
        """The client's line in an exchange; `*` calls it off (RFC 5034 §4)."""
        exchange, refusal = self._exchange, self._refusal
        self.call_off()
        if refusal is not None:
            return refusal  # RFC 7628 §3.2.3: the client has heard what is wrong; its answer says nothing
        if line == "*":
            return replies.AUTH_CANCELLED
        assert exchange is not None
        return self._taken(exchange, lambda: exchange.go_on(line))

    def keys(self, keys: sasl.ScramKeys) -> Pop3Reply | sasl.Step:
        """The house's answer to WantsKeys."""
        exchange = self._exchange
        assert exchange is not None
        return self._taken(exchange, lambda: exchange.keys(keys))

    def refused(self, question: sasl.Question, reply: Pop3Reply) -> Pop3Reply | sasl.Challenge:
        """The house says no: the refusal, or what has to be said before it."""
        self.call_off()
        if not isinstance(question, sasl.Bearer) or reply.code != "AUTH":
            return reply
        self._refusal, self.expecting = reply, True
        return question.complaint

    def _taken(self, exchange: sasl.Exchange, take: sasl.Take) -> Pop3Reply | sasl.Step:
        self.call_off()
        try:
            step = take()
        except sasl.Malformed as fault:
            return replies.NOT_BASE64 if fault.base64 else replies.NOT_AS_AGREED.saying(mechanism=self._mechanism)
        self.expecting = isinstance(step, sasl.Challenge)
        if isinstance(step, (sasl.Challenge, sasl.WantsKeys)):
            self._exchange = exchange
        return step
