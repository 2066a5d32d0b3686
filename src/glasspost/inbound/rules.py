"""Allow and deny: the postmaster's own word on clients, senders and recipients.

Lives here: the grammar of rules, finding the one that fits, files of them that may change while the node runs, and
the gate that acts on them; also the known networks, which are rules that nobody has to write.
Does not live here: the rules (configuration and files), who may relay (policy.py).

    deny  client 192.0.2.0/24      they were told twice
    allow client 192.0.2.25
    deny  sender .spam.example     every name below it
    allow sender news@spam.example
    deny  recipient old@example.org

The most exact rule wins: the longer network, the whole address before its domain, a domain before those it is below;
of two for the same the first. A rule about a recipient holds for all its details (old+news@example.org). An allowed
client is spared all checks for strangers, not the rules of relaying. An allowed sender is only spared a broader deny:
anybody can claim to be it. An allowed recipient gets mail that greylisting and DNS lists would refuse.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from glasspost.clock import Clock
from glasspost.errors import ConfigurationError, Problem
from glasspost.inbound.client import Client
from glasspost.inbound.gates import Gate, Step
from glasspost.ip import IpNetwork, read_ip
from glasspost.mail import reply as say
from glasspost.mail.address import Address, a_label, address_from_text
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.stamps import stamp_of
from glasspost.storage.resolution import fold

LOOK_AGAIN = 10.0  # seconds between two looks at whether a file has changed
_RULE = re.compile(r"(allow|deny)\s+(client|sender|recipient)\s+(\S+)(?:\s+(.*))?")


class Rule(NamedTuple):
    """One rule. `pattern` is in comparable form, `reason` the postmaster's, for the transcript."""

    allows: bool
    about: str
    pattern: str | IpNetwork
    reason: str
    place: str

    @property
    def words(self) -> str:
        verdict = "allow" if self.allows else "deny"
        return f"{verdict} {self.about} {self.pattern} ({self.place}{f': {self.reason}' if self.reason else ''})"


def read_rule(text: str, place: str) -> Rule:
    """One line of the grammar above. Raises ValueError, saying what is wrong with it."""
    found = _RULE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'"{text.strip()}" is no rule. Write "deny sender user@example.org", or allow, or client.')
    verdict, about, pattern, reason = found.groups()
    return Rule(verdict == "allow", about, _pattern(about, pattern), reason or "", place)


def _pattern(about: str, text: str) -> str | IpNetwork:
    if about == "client":
        return ipaddress.ip_network(text)  # its ValueError says what is wrong
    if text == "<>":
        return "<>"
    if "@" in text:
        return _key(address_from_text(text))
    dot = "." if text.startswith(".") else ""
    domain = a_label(text[len(dot) :])
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", domain):
        raise ValueError(f'"{text}" is neither an address, nor a domain, nor ".domain" for all below it.')
    return dot + domain


def _key(address: Address) -> str:
    return f"{fold(address.local)}@{address.route}"


class RuleBook:
    """Rules in the order of their exactness."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._networks: dict[tuple[int, int], dict[int, Rule]] = {}
        self._names: dict[tuple[str, str], Rule] = {}
        for rule in rules:
            if isinstance(rule.pattern, str):
                self._names.setdefault((rule.about, rule.pattern), rule)
            else:
                kind = (rule.pattern.version, rule.pattern.prefixlen)
                self._networks.setdefault(kind, {}).setdefault(int(rule.pattern.network_address), rule)
        self._lengths = sorted(self._networks, key=lambda kind: -kind[1])

    def client(self, ip: str) -> Rule | None:
        """The rule for a client's address: that of the longest network."""
        try:
            address = read_ip(ip)
        except ValueError:
            return None
        number, bits = int(address), address.max_prefixlen
        for version, length in self._lengths:
            if version == address.version:
                rule = self._networks[version, length].get(number >> (bits - length) << (bits - length))
                if rule is not None:
                    return rule
        return None

    def name(self, about: str, address: Address | None, separator: str = "") -> Rule | None:
        """The rule for a sender or a recipient; None is the null sender. `separator` parts a user from a detail: what
        is said of the user holds for all details, where nothing is said of one."""
        if not self._names:
            return None
        if address is None:
            return self._names.get((about, "<>"))
        domain = address.route
        user = _key(address).partition(separator)[0] if separator and separator in address.local[1:] else ""
        for pattern in (_key(address), f"{user}@{domain}", domain):
            if rule := self._names.get((about, pattern)):
                return rule
        while domain:
            domain = domain.partition(".")[2]
            if rule := self._names.get((about, f".{domain}")):
                return rule
        return None


class Rules:
    """The rules that hold now. Files are read again when they have changed; one with a mistake in it changes nothing,
    and `mistake` says what it is."""

    def __init__(self, known: Sequence[IpNetwork], lines: Sequence[str], files: Sequence[Path], clock: Clock) -> None:
        """Raises ConfigurationError where a rule or a file cannot be read."""
        self._known = [Rule(True, "client", network, "", "a known network") for network in known]
        self._lines = [_told(line, "checks.rules", "", number) for number, line in enumerate(lines, 1)]
        self._files = tuple(files)
        self._clock = clock
        self._stamps = self._look()
        self._looked = clock.now()
        self.mistake = ""
        self.book = self._read()

    @property
    def about_names(self) -> bool:
        """Whether there may ever be rules about senders or recipients."""
        return bool(self._files) or any(rule.about != "client" for rule in self._lines)

    def refresh(self) -> None:
        """Read the files again if they have changed; looks no more often than every `LOOK_AGAIN` seconds."""
        if not self._files or abs(self._clock.now() - self._looked) < LOOK_AGAIN:
            return
        self._looked = self._clock.now()
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self.book = self._read()
            self.mistake = ""
        except ConfigurationError as error:
            self.mistake = " ".join(str(error).split())

    def _look(self) -> list[object]:
        return [stamp_of(path) for path in self._files]

    def _read(self) -> RuleBook:
        rules = list(self._lines)
        for path in self._files:
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError([Problem(str(path), 0, "checks.rule_files", str(error))]) from None
            for number, line in enumerate(text.splitlines(), 1):
                if line.partition("#")[0].strip():
                    rules.append(_told(line.partition("#")[0], "checks.rule_files", str(path), number))
        return RuleBook([*rules, *self._known])


class ClientRules(Gate):
    """The rules about clients: the first gate of all, because it says who is spared the others."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def connected(self, client: Client) -> Step:
        rules = self._rules
        rules.refresh()
        if rules.mistake:
            client.note(f"rules not read anew: {rules.mistake}")
        rule = rules.book.client(client.ip)
        if rule is None:
            return None
        if rule.allows:
            client.spared = rule.words
            return None
        return say.CLIENT_DENIED.saying(client=client.ip).because(rule.words)


class NameRules(Gate):
    """The rules about senders and recipients. They bind everybody, also who has signed in. A denied sender may still
    write to the postmaster."""

    def __init__(self, rules: Rules, separator: str) -> None:
        """`separator`: what parts a user from a detail in addresses of ours (user+detail)."""
        self._rules = rules
        self._separator = separator

    def sender(self, client: Client, envelope: Envelope) -> Step:
        rule = self._rules.book.name("sender", envelope.reverse_path)
        client.facts["denied sender"] = None if rule is None or rule.allows else rule
        return None

    def recipient(self, client: Client, envelope: Envelope, recipient: Recipient) -> Step:
        """Senders are refused here and not at MAIL, so that the transcript knows whom they wanted."""
        rule = self._rules.book.name("recipient", recipient.address, self._separator)
        client.facts["allowed recipient"] = rule is not None and rule.allows
        if rule is not None and not rule.allows:
            return say.RECIPIENT_DENIED.saying(address=recipient.address).because(rule.words)
        denied: Rule | None = client.facts.get("denied sender")
        if denied is not None and not is_postmaster(recipient):
            address = envelope.reverse_path or ""
            return say.SENDER_DENIED.saying(address=address).because(denied.words)
        return None


def is_postmaster(recipient: Recipient) -> bool:
    """Whether this is the one address that must stay reachable whatever is thought of a sender (RFC 5321 §4.5.1), or
    the one for complaints (RFC 2142 §4)."""
    return recipient.address.local.lower() in ("postmaster", "abuse")


def _told(line: str, key: str, path: str, number: int) -> Rule:
    """A rule, or where its mistake is."""
    place = f"{Path(path).name}:{number}" if path else key
    try:
        return read_rule(line, place)
    except ValueError as error:
        raise ConfigurationError([Problem(path or "configuration", number if path else 0, key, str(error))]) from None
