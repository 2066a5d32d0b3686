"""Who may send what to whom: the verdicts on MAIL, RCPT, VRFY and EXPN.

Lives here: the rules that keep this from being an open relay, and where an accepted recipient goes.
Does not live here: order and syntax (protocol/), counting connections (limits.py), looking into the message
(checks.py). Every rule answers at once from the directory: nothing here waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from glasspost.inbound.client import Client
from glasspost.ip import IpNetwork, is_within
from glasspost.mail import reply as say
from glasspost.mail.address import Address
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.reply import Reply
from glasspost.protocol.grammar import Fault, read_path
from glasspost.storage.accounts import Directory
from glasspost.storage.mailboxes import Mailboxes
from glasspost.storage.resolution import Account, Disabled, Local, NoSuchUser


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Whose mail is taken. Domains in comparable form."""

    relay_domains: frozenset[str] = frozenset()
    relay_networks: tuple[IpNetwork, ...] = ()
    tell_vrfy: bool = False
    tell_expn: bool = False
    detail_separator: str = "+"
    default_quota: int = 0  # octets; 0: none


@dataclass(slots=True)
class Destinations:
    """Where the recipients of one transaction go, gathered while RCPT is said.

    Each account gets one copy, however many of its addresses were named.
    """

    deposits: dict[int, Address] = field(default_factory=dict)
    accounts: list[Account] = field(default_factory=list)
    recipients: list[Recipient] = field(default_factory=list)
    seen: set[tuple[Address, str]] = field(default_factory=set)

    def mark(self) -> tuple[int, int, int]:
        """How far it has come, to try one more recipient on."""
        return len(self.deposits), len(self.accounts), len(self.recipients)

    def back_to(self, mark: tuple[int, int, int]) -> None:
        """Forget what was added since `mark`."""
        deposits, accounts, recipients = mark
        while len(self.deposits) > deposits:
            self.deposits.popitem()
        del self.accounts[accounts:]
        for recipient in self.recipients[recipients:]:
            self.seen.discard((recipient.address, recipient.orcpt))
        del self.recipients[recipients:]

    def add(self, recipient: Recipient) -> None:
        key = (recipient.address, recipient.orcpt)
        if key not in self.seen:
            self.seen.add(key)
            self.recipients.append(recipient)


class Policy:
    """The rules of one node. All methods answer at once."""

    def __init__(self, settings: PolicySettings, directory: Directory, mailboxes: Mailboxes) -> None:
        self.settings = settings
        self.directory = directory
        self.mailboxes = mailboxes

    def trusts(self, ip: str) -> bool:
        """Whether an address may relay without signing in."""
        return is_within(ip, self.settings.relay_networks)

    def judge_sender(self, client: Client, envelope: Envelope) -> Reply:
        """MAIL: on a submission port only whoever may relay sends at all (RFC 6409 §4.3)."""
        if client.role == "submission" and not client.may_relay:
            return say.AUTH_REQUIRED
        return say.SENDER_OK

    def judge_recipient(
        self, client: Client, envelope: Envelope, recipient: Recipient, destinations: Destinations, limit: int
    ) -> Reply:
        """RCPT: whether it is taken, and if so, where it goes (added to `destinations`, at most `limit` of them)."""
        address = recipient.address
        found = self.directory.resolve(address, separator=self.settings.detail_separator)
        targets = len(found.accounts) + len(found.forwards) if isinstance(found, Local) else 1
        if len(destinations.recipients) + len(destinations.deposits) + targets > limit:
            return say.TOO_MANY_RECIPIENTS
        if isinstance(found, Local):
            return self._take_local(envelope, recipient, found, destinations)
        if isinstance(found, NoSuchUser):
            return say.NO_SUCH_USER.saying(address=address).because(found.reason)
        if isinstance(found, Disabled):
            return say.MAILBOX_DISABLED.saying(address=address)
        if client.role == "lmtp":  # the last server on the way: it brings nothing further (RFC 2033 §1)
            return say.NOT_A_MAILBOX_HERE.saying(address=address)
        if not (client.may_relay or address.route in self.settings.relay_domains):
            return say.RELAY_DENIED.saying(address=address).because(
                "neither a domain of ours, nor in smtp.relay_domains, nor a client who may relay"
            )
        destinations.add(recipient)
        return say.RECIPIENT_OK

    def _take_local(self, envelope: Envelope, recipient: Recipient, found: Local, destinations: Destinations) -> Reply:
        for account in found.accounts:
            if not self.has_room(account, envelope.declared_size):
                return say.MAILBOX_FULL.saying(address=recipient.address).because(f"quota of {account.address}")
        if recipient.notify.wants_success:
            # A report on success is owed: the recipient goes the long way, where reports are made.
            destinations.add(recipient)
            return say.RECIPIENT_OK
        for account in found.accounts:
            if account.id not in destinations.deposits:
                destinations.deposits[account.id] = recipient.address
                destinations.accounts.append(account)
        for forward in found.forwards:
            # RFC 3461 §5.2.7.2, §5.2.7.3: the wishes and the original address go along with a forwarded recipient.
            original = recipient.orcpt or _original(recipient.address)
            destinations.add(Recipient(forward, recipient.notify, original))
        return say.RECIPIENT_OK

    def has_room(self, account: Account, octets: int) -> bool:
        """Whether a message of so many octets still fits an account's quota."""
        quota = account.quota or self.settings.default_quota
        return not quota or self.mailboxes.octets_used(account.id) + max(octets, 1) <= quota

    def overfull(self, destinations: Destinations, octets: int) -> Account | None:
        """The first account that a message, now that its real size is known, does not fit into."""
        for account in destinations.accounts:
            if not self.has_room(account, octets):
                return account
        return None

    def verify(self, text: str) -> Reply:
        """VRFY: by default nobody is told anything (RFC 5321 §7.3)."""
        if not self.settings.tell_vrfy:
            return say.VERIFY_NOT_SAID
        address, utf8 = _mailbox(text)
        if isinstance(address, Fault):
            return say.BAD_RECIPIENT.saying(fault=address.reason)
        if address.needs_utf8 and not utf8:
            return say.VERIFY_NOT_SAID  # the answer would repeat it, which this client may not bear
        found = self.directory.resolve(address, separator=self.settings.detail_separator)
        match found:
            case Local():
                return say.VERIFIED.saying(address=address)
            case NoSuchUser() | Disabled():
                return say.NO_SUCH_USER.saying(address=address)
            case _:
                return say.VERIFY_NOT_SAID

    def expand(self, text: str) -> Reply:
        """EXPN: by default not offered."""
        if not self.settings.tell_expn:
            return say.EXPAND_NOT_SAID
        address, utf8 = _mailbox(text)
        if isinstance(address, Fault):
            return say.BAD_RECIPIENT.saying(fault=address.reason)
        found = self.directory.resolve(address, separator=self.settings.detail_separator)
        if not utf8 and (address.needs_utf8 or (isinstance(found, Local) and _names_utf8(found))):
            return say.VERIFY_NOT_SAID
        if not isinstance(found, Local):
            return say.NO_SUCH_USER.saying(address=address)
        members = [f"<{account.address}>" for account in found.accounts] + [f"<{path}>" for path in found.forwards]
        return say.EXPANDED.saying(members="\n".join(members))


def _mailbox(text: str) -> tuple[Address | Fault, bool]:
    """VRFY's and EXPN's argument: a mailbox, with or without angle brackets; and whether the client takes UTF-8 in
    the answer, as SMTPUTF8 behind it says (RFC 6531 §3.7.4.2)."""
    utf8 = text.upper().endswith(" SMTPUTF8")
    text = (text[: -len(" SMTPUTF8")] if utf8 else text).strip()
    path = read_path(text if text.startswith("<") else f"<{text}>", null=False)
    if isinstance(path, Fault):
        return path, utf8
    assert path[0] is not None
    return path[0], utf8


def _names_utf8(found: Local) -> bool:
    """Whether the list of an alias's members needs UTF-8."""
    return any(path.needs_utf8 for path in found.forwards) or not all(one.address.isascii() for one in found.accounts)


def _original(address: Address) -> str:
    return f"{'utf-8' if address.needs_utf8 else 'rfc822'};{address}"
