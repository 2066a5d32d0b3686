"""Every reply that glasspost ever sends, as a named value.

Lives here: the `Reply` value, how it is written and read, and the names. A reply has a public text, which a stranger
reads and which may end up in a worried person's bounce, and a private reason, which only the transcript keeps.
Does not live here: when a reply is given (protocol/, inbound/), or what other servers' replies mean (explain/).

Codes: RFC 5321 §4.2. Enhanced codes: RFC 3463, RFC 5248; they follow the code in 2xx, 4xx and 5xx replies but not in
the greeting, nor in the replies to HELO and EHLO (RFC 2034 §3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)\s*")


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer: basic code, enhanced code (may be empty), text (lines split by \\n), private reason."""

    code: int
    enhanced: str
    text: str
    reason: str = ""
    _wire: bytes = field(default=b"", init=False, repr=False, compare=False)  # once it was encoded: most are constant

    @property
    def positive(self) -> bool:
        """Done or go on: 2xx and 3xx."""
        return self.code < 400

    @property
    def transient(self) -> bool:
        """Try again later: 4xx."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """Do not try again: 5xx."""
        return self.code >= 500

    def because(self, reason: str) -> Reply:
        """The same reply with a private reason, for the transcript only."""
        return Reply(self.code, self.enhanced, self.text, reason)

    def saying(self, **words: object) -> Reply:
        """The same reply with the `{named}` places of its text filled in."""
        return Reply(self.code, self.enhanced, self.text.format(**words), self.reason)

    def tagged(self, conversation: str) -> Reply:
        """The same reply, ended with the conversation's id, so that a complaint leads to its evidence."""
        return Reply(self.code, self.enhanced, f"{self.text} [{conversation}]", self.reason)

    def encode(self) -> bytes:
        """The reply as it goes over the wire, one or more lines (RFC 5321 §4.2.1)."""
        return self._wire or self._encoded()

    def _encoded(self) -> bytes:
        if "\n" in self.text:
            wire = _encode_lines(self)
        else:
            wire = f"{self.code} {self.enhanced} {self.text}\r\n".encode() if self.enhanced else self._plain()
        object.__setattr__(self, "_wire", wire)
        return wire

    def _plain(self) -> bytes:
        line = f"{self.code} {self.text}"
        # RFC 4954 §4: the space behind 334 stays where nothing follows it.
        return (line if self.code == 334 else line.rstrip(" ")).encode() + b"\r\n"

    def __str__(self) -> str:
        parts = (str(self.code), self.enhanced, self.text.replace("\n", " / "))
        return " ".join(part for part in parts if part)


def _encode_lines(reply: Reply) -> bytes:
    enhanced = f"{reply.enhanced} " if reply.enhanced else ""
    lines = reply.text.split("\n")
    last = len(lines) - 1
    return b"".join(
        f"{reply.code}{' ' if number == last else '-'}{enhanced}{line}".rstrip(" ").encode() + b"\r\n"
        for number, line in enumerate(lines)
    )


def read_reply(lines: list[str]) -> Reply:
    """A reply as another server wrote it: its lines without CRLF, already known to belong together.

    An enhanced code is taken only where its class agrees with the basic code, as RFC 2034 §4 demands; it is removed
    from each line that carries the same one.
    """
    code = int(lines[0][:3])
    texts = [line[4:] for line in lines]
    found = _ENHANCED.match(texts[0])
    if found is None or found.group(1) != str(code // 100):
        return Reply(code, "", "\n".join(texts))
    enhanced = f"{found.group(1)}.{int(found.group(2))}.{int(found.group(3))}"
    mark = found.group(0).rstrip()
    stripped = [
        text[len(mark) :].lstrip() if text.startswith(mark) and text[len(mark) :][:1] in ("", " ", "\t") else text
        for text in texts
    ]
    return Reply(code, enhanced, "\n".join(stripped))


# --- greeting, EHLO, leave-taking -------------------------------------------------------------------------------
GREETING = Reply(220, "", "{hostname} ESMTP glasspost")
LMTP_GREETING = Reply(220, "", "{hostname} LMTP glasspost")
HELLO = Reply(250, "", "{hostname} greets {client}")  # EHLO appends its keywords as further lines
BYE = Reply(221, "2.0.0", "Bye")
CLOSING = Reply(421, "4.3.2", "{hostname} is closing for maintenance; try again later")
TOO_SLOW = Reply(421, "4.4.2", "{hostname} waited too long for you; closing")
WRONG_END = Reply(421, "4.5.2", "A message ends with CR LF, dot, CR LF; LF, dot, LF is no end. Nothing was stored")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors; closing")
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections; try again later")
TOO_MANY_CONNECTIONS_FROM_YOU = Reply(421, "4.7.0", "Too many connections from your address; try again later")
TOO_MANY_TRANSACTIONS = Reply(421, "4.7.0", "That is enough for one connection; please connect again")
OUT_OF_ORDER = Reply(421, "4.3.0", "Something broke on our side; closing. Nothing of yours is lost: try again")

# --- plain acknowledgements -------------------------------------------------------------------------------------
OK = Reply(250, "2.0.0", "OK")
RESET = Reply(250, "2.0.0", "Forgotten; start again with MAIL")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
GO_AHEAD = Reply(354, "", "Go ahead; end with a dot on a line of its own")
CHUNK_OK = Reply(250, "2.0.0", "{octets} octets received")
QUEUED = Reply(250, "2.0.0", "Safe on disk as {queue_id}")
HELP = Reply(214, "2.0.0", "{text}")
VERIFY_NOT_SAID = Reply(252, "2.1.5", "Not verified here; send the message and it will be tried")
VERIFIED = Reply(250, "2.1.5", "<{address}>")
EXPANDED = Reply(250, "2.1.5", "{members}")
LHLO_INSTEAD = Reply(500, "5.5.1", "This is LMTP: say LHLO")
EXPAND_NOT_SAID = Reply(502, "5.5.1", "EXPN is not offered here")

# --- the client broke the protocol ------------------------------------------------------------------------------
UNKNOWN_COMMAND = Reply(500, "5.5.1", "Unknown command{hint}")
LINE_TOO_LONG = Reply(500, "5.5.6", "Line too long; at most {limit} octets")
BARE_NEWLINE = Reply(500, "5.5.2", "Lines end with CR LF, both, and with nothing else")
NOT_TEXT = Reply(500, "5.5.2", "That line is not text")
NOT_OFFERED = Reply(502, "5.5.1", "{verb} is not offered here")
SYNTAX = Reply(501, "5.5.4", "Syntax: {syntax}")
BAD_PARAMETER = Reply(501, "5.5.4", "{parameter}: {fault}")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Parameter not known here: {parameter}")
NO_ARGUMENT = Reply(501, "5.5.4", "{verb} takes no argument")
BAD_SEQUENCE = Reply(503, "5.5.1", "{advice}")
BAD_SENDER = Reply(501, "5.1.7", "Not a valid sender address: {fault}")
BAD_RECIPIENT = Reply(501, "5.1.3", "Not a valid recipient address: {fault}")
NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "This address needs SMTPUTF8 on MAIL")
BARE_NEWLINE_IN_BODY = Reply(
    550, "5.6.0", "The message has a bare CR or LF; lines must end with CR LF. Nothing was stored"
)
BINARY_NEEDS_BDAT = Reply(503, "5.5.1", "BODY=BINARYMIME must be sent with BDAT, not DATA")

# --- XCLIENT, STARTTLS and AUTH ---------------------------------------------------------------------------------
XCLIENT_REFUSED = Reply(550, "5.7.0", "XCLIENT is for the proxies that the configuration names")
XCLIENT_NOBODY = Reply(550, "5.7.8", "XCLIENT: no account here goes by the name in LOGIN")
TLS_READY = Reply(220, "2.0.0", "Ready to start TLS")
TLS_NOT_AVAILABLE = Reply(454, "4.7.0", "TLS is not available just now")
TLS_INJECTED = Reply(421, "4.7.0", "Bytes came behind STARTTLS before TLS began; closing")
AUTH_REQUIRED = Reply(530, "5.7.0", "Sign in first (AUTH)")
AUTH_NEEDS_TLS = Reply(538, "5.7.11", "Say STARTTLS first: passwords travel only encrypted")
AUTH_OK = Reply(235, "2.7.0", "Welcome")
AUTH_CHALLENGE = Reply(334, "", "{challenge}")
AUTH_FAILED = Reply(535, "5.7.8", "User name or password is wrong")
AUTH_TOO_MANY_FAILURES = Reply(421, "4.7.0", "Too many failed sign-ins; try again later")
AUTH_TRY_LATER = Reply(454, "4.7.0", "Sign-in cannot be checked just now; try again later")
AUTH_CANCELLED = Reply(501, "5.5.4", "Sign-in cancelled")
AUTH_BAD_BASE64 = Reply(501, "5.5.2", "That is not base64")
AUTH_UNKNOWN = Reply(504, "5.5.4", "Sign-in mechanism not offered; see EHLO")

# --- policy: sender, recipient, message -------------------------------------------------------------------------
DEPOSITED = Reply(250, "2.1.5", "<{address}>: in the mailbox")
NO_SUCH_USER = Reply(550, "5.1.1", "<{address}>: nobody here has this address")
NOT_A_MAILBOX_HERE = Reply(550, "5.7.1", "<{address}>: only mail for mailboxes of this server is taken here")
RELAY_DENIED = Reply(550, "5.7.1", "<{address}>: this server takes no mail for that domain")
NOT_A_DEVICE = Reply(550, "5.7.1", "Only devices that the configuration names may send here")
MAILBOX_FULL = Reply(452, "4.2.2", "<{address}>: mailbox full; try again later")
MAILBOX_DISABLED = Reply(550, "5.2.1", "<{address}>: mailbox disabled")
MESSAGE_OVER_QUOTA = Reply(452, "4.2.2", "<{address}>: too large for what is left in the mailbox")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients in one transaction; send the rest in another")
NO_VALID_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
MESSAGE_TOO_LARGE = Reply(552, "5.3.4", "Message too large; at most {limit} octets")
TOO_MUCH_AT_ONCE = Reply(452, "4.3.1", "Too much mail is coming in just now; try again later")
SYSTEM_FULL = Reply(452, "4.3.1", "No room on our disk just now; try again later")
LOCAL_ERROR = Reply(451, "4.3.0", "Something broke on our side; try again later")
# What filters and hooks say in words of their own goes out as they say it; these are for when they have none.
FILTER_REFUSED = Reply(550, "5.7.1", "A mail filter here does not take this")
FILTER_DEFERRED = Reply(451, "4.7.1", "A mail filter here asks you to try again later")
FILTER_SILENT = Reply(451, "4.3.0", "Our mail filter does not answer just now; try again later")
HOOK_BROKE = Reply(451, "4.3.0", "A rule of this server could not be asked just now; try again later")
MAIL_LOOP = Reply(554, "5.4.6", "This message has been through {hops} servers: it goes in circles")

# --- against abuse: who comes, how often, with what -------------------------------------------------------------
CLIENT_DENIED = Reply(554, "5.7.1", "{client}: refused by the rules of this server")
SENDER_DENIED = Reply(550, "5.7.1", "<{address}>: this server takes no mail from this sender")
RECIPIENT_DENIED = Reply(550, "5.7.1", "<{address}>: this address takes no mail")
CONNECTIONS_TOO_FAST = Reply(421, "4.7.0", "Too many connections from your address lately; try again in {wait}")
NETWORK_TOO_FAST = Reply(421, "4.7.0", "Too many connections from your network lately; try again in {wait}")
TOO_MANY_MISTAKES = Reply(421, "4.7.0", "Too many errors from your address lately; try again in {wait}")
TOO_MANY_UNKNOWN = Reply(421, "4.7.0", "Too many unknown recipients or senders from your address; try again in {wait}")
MESSAGES_TOO_FAST = Reply(450, "4.7.1", "Too many messages from your address lately; try again in {wait}")
RECIPIENTS_TOO_FAST = Reply(452, "4.5.3", "Too many recipients from your address lately; try again in {wait}")
ACCOUNT_MESSAGES_TOO_FAST = Reply(
    450, "4.7.1", "Your account has sent as many messages as it may for now; try again in {wait}"
)
ACCOUNT_RECIPIENTS_TOO_FAST = Reply(
    452, "4.5.3", "Your account has written to as many recipients as it may for now; try again in {wait}"
)
SPOKE_EARLY = Reply(554, "5.5.1", "You spoke before the greeting; wait for the 220")
HELLO_REFUSED = Reply(550, "5.7.1", "The name in EHLO or HELO is not taken: {fault}")
REVERSE_NAME_REFUSED = Reply(550, "5.7.25", "Your address has no confirmed name in the DNS: {fault}")
REVERSE_NAME_LATER = Reply(450, "4.7.25", "Your address has no confirmed name in the DNS: {fault}")
SENDER_UNKNOWN_HERE = Reply(550, "5.1.0", "<{address}>: nobody here has this address to send from")
SENDER_DOMAIN_REFUSED = Reply(550, "5.1.8", "<{address}>: the sender's domain cannot take a reply: {fault}")
SENDER_DOMAIN_LATER = Reply(451, "4.1.8", "<{address}>: the sender's domain cannot be looked up: {fault}")
ONE_RECIPIENT_OF_REPORTS = Reply(452, "4.5.3", "A report (null sender) has one recipient; send to the next one apart")
LISTED = Reply(550, "5.7.1", "{client} is on the list {server}: {text}")
GREYLISTED = Reply(451, "4.7.1", "Greylisted: we do not know each other yet; try again in {wait}")

# --- submission: whose names, and what a message must have ------------------------------------------------------
SENDER_NOT_YOURS = Reply(550, "5.7.1", "<{address}>: your account may not send from this address")
AUTHOR_NOT_YOURS = Reply(550, "5.7.1", "From: <{address}>: your account may not write in this name")
AUTHOR_UNREADABLE = Reply(550, "5.6.0", "The From field cannot be read: {fault}")
HEADER_BROKEN = Reply(550, "5.6.0", "The header is broken: {fault}")
HEADER_TOO_LARGE = Reply(552, "5.3.4", "The header of the message does not end within {limit} octets")

# --- what the client says where the other side said nothing -----------------------------------------------------
NO_ANSWER = Reply(451, "4.4.1", "{server} does not answer: {fault}")
CONNECTION_LOST = Reply(451, "4.4.2", "{server} closed the connection {when}")
SERVER_TIMED_OUT = Reply(451, "4.4.2", "{server} was silent for too long {when}")
SERVER_TALKS_NONSENSE = Reply(451, "4.5.0", "{server} answered something that is not SMTP: {fault}")
SERVER_WITHOUT_TLS = Reply(451, "4.7.4", "{server} offers no TLS, which this destination requires")
TLS_FAILED = Reply(451, "4.7.5", "TLS with {server} failed: {fault}")
REQUIRETLS_MISSING = Reply(550, "5.7.30", "{server} does not offer REQUIRETLS, which this message demands")
REQUIRETLS_UNPROVED = Reply(550, "5.7.10", "This message demands proved encryption on its way (REQUIRETLS): {fault}")
SIGN_IN_REFUSED = Reply(451, "4.7.8", "{server} refused our sign-in: {fault}")
SIGN_IN_IMPOSSIBLE = Reply(451, "4.7.0", "{server} offers no sign-in that fits: {fault}")
SERVER_UNPROVED = Reply(451, "4.7.0", "{server} is not believed at sign-in: {fault}")
TOKEN_DELAYED = Reply(451, "4.7.0", "There is no token of {name} to sign in with just now: {fault}")
TOKEN_MISSING = Reply(451, "4.7.8", "There is no token of {name} to sign in with: {fault}")
NO_SUCH_DOMAIN = Reply(550, "5.1.2", "The domain {domain} does not exist")
NULL_MX = Reply(556, "5.1.10", "The domain {domain} takes no mail (null MX)")
DNS_UNREADABLE = Reply(451, "4.4.3", "The name servers for {domain} do not answer usefully: {fault}")
NO_HOST = Reply(550, "5.4.4", "The domain {domain} has no mail server with an address")
ROUTES_TO_SELF = Reply(554, "5.4.6", "Mail for {domain} leads back to this server, which does not take it")
SMARTHOST_UNUSABLE = Reply(451, "4.3.5", "Our smarthost {host} cannot be used: {fault}")
NEEDS_REMOTE_SMTPUTF8 = Reply(550, "5.6.7", "{server} does not take international addresses (SMTPUTF8)")
NEEDS_REMOTE_8BIT = Reply(550, "5.6.3", "{server} does not take 8-bit messages (8BITMIME)")
NEEDS_REMOTE_BINARY = Reply(550, "5.6.3", "{server} does not take binary messages (BINARYMIME)")
TOO_LARGE_FOR_REMOTE = Reply(552, "5.3.4", "{server} takes at most {limit} octets; the message has {size}")
LOST_AFTER_DOT = Reply(
    451, "4.4.2", "{server} was lost after the whole message was sent; it may or may not have arrived"
)
BOUNCED_BY_OPERATOR = Reply(554, "5.7.0", "The postmaster returned this message")
