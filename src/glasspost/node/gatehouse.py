"""Which gates a listener has.

Lives here: the one place where gates are put together, in their order: rules, limits, pregreet, introductions, DNS
lists, greylisting, filters; and what they share for as long as a node runs. Another gate is another line here.
Does not live here: any gate (inbound/), or what may be set (abuse_settings.py).

A gate that could never have anything to say at a listener is left out, so that nobody pays for it: all checks for
strangers, where every client that can reach the listener is of a known network. Each step then asks only those gates
that have something to say there (inbound/gates.py).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator

from glasspost.clock import Clock
from glasspost.inbound.backscatter import Reports, SenderDomain
from glasspost.inbound.dns_lists import DnsList, DnsLists
from glasspost.inbound.gates import Gate, Gates
from glasspost.inbound.greylisting import Greylisting
from glasspost.inbound.introductions import HelloName, ReverseName
from glasspost.inbound.pregreet import Pregreet, Tarpit
from glasspost.inbound.rates import AccountRates, ClientRates, ClientRateSettings, MailRates, MailRateSettings
from glasspost.inbound.rules import ClientRules, NameRules, Rules
from glasspost.inbound.submission import Completion, OwnAddresses
from glasspost.net.dns import Resolver
from glasspost.node.filters import Filters
from glasspost.node.settings import Config, Listener
from glasspost.storage.accounts import Directory
from glasspost.storage.folder import Folder
from glasspost.storage.greylist import Greylist, GreylistSettings


class Gatehouse:
    """The gates of one node. Raises ConfigurationError where rules cannot be read, StoreError where the greylist
    cannot be opened."""

    def __init__(self, config: Config, folder: Folder, directory: Directory, resolver: Resolver, clock: Clock) -> None:
        self._config = config
        self._directory = directory
        self._resolver = resolver
        self._clock = clock
        checks, limits = config.checks, config.limits
        self._rules = Rules(checks.known, checks.rules, checks.rule_files, clock)
        self._client_rates = ClientRates(
            ClientRateSettings(
                limits.connections, limits.network_connections, limits.unknown_recipients, limits.mistakes
            ),
            clock,
        )
        self._mail_rates = MailRates(MailRateSettings(limits.messages, limits.recipients), clock)
        self._account_rates = AccountRates(MailRateSettings(limits.account_messages, limits.account_recipients), clock)
        self._pregreet = Pregreet(checks.pregreet, clock)
        self.filters = Filters(config)
        self._greylist = self._open_greylist(folder)

    def _open_greylist(self, folder: Folder) -> Greylist | None:
        setting = self._config.greylist
        if not setting.enabled:
            return None
        times = GreylistSettings(setting.delay, setting.retry_within, setting.remember, setting.known_after)
        return Greylist(folder.greylist, times, self._clock)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """What is remembered on the disk begins to be written."""
        if self._greylist is not None:
            self._greylist.start(loop)

    async def close(self) -> None:
        """The last of it is written, and the filters hear no more."""
        await self.filters.close()
        if self._greylist is not None:
            await self._greylist.close()

    def adopt(self, config: Config) -> None:
        """After a reload: what gates are made of from now on. What is counted and remembered stays."""
        self._config = config

    def gates(self, listener: Listener) -> Gates:
        """The gates of one listener, in the order in which they are asked."""
        return Gates(tuple(self._gates(listener)))

    def _gates(self, listener: Listener) -> Iterator[Gate]:
        checks, limits = self._config.checks, self._config.limits
        strangers = self._strangers_come(listener)
        if strangers or checks.rules or checks.rule_files or listener.role == "submission":
            yield ClientRules(self._rules)
        if self._rules.about_names:
            yield NameRules(self._rules, self._config.mailboxes.detail_separator)
        if strangers:
            yield self._client_rates
            if limits.messages.many or limits.recipients.many:
                yield self._mail_rates
        signs_in = listener.role in ("submission", "device")
        if signs_in and (limits.account_messages.many or limits.account_recipients.many):
            yield self._account_rates
        if strangers and limits.tarpit:
            yield Tarpit(limits.tarpit, limits.tarpit_longest, self._clock)
        if strangers and listener.role == "mx":
            yield from self._checks_of_strangers()
        if listener.role == "submission":
            yield from self._submission()
        yield from self.filters.gates()

    def _checks_of_strangers(self) -> Iterator[Gate]:
        config, checks = self._config, self._config.checks
        if checks.pregreet:
            yield self._pregreet
        if checks.hello != "off":
            yield HelloName(self._directory, refuses=checks.hello == "refuse")
        if checks.reverse_name != "off":
            yield ReverseName(self._resolver, checks.reverse_name, checks.dns_timeout)
        if checks.own_senders or checks.single_report:
            yield Reports(
                self._directory,
                config.mailboxes.detail_separator,
                single=checks.single_report,
                own=checks.own_senders,
            )
        if checks.sender_domain != "off":
            yield SenderDomain(self._resolver, checks.dns_timeout, refuses=checks.sender_domain == "refuse")
        if config.dns_list:
            yield DnsLists(
                [DnsList(one.domain, one.score, one.answers) for one in config.dns_list],
                self._resolver,
                refuse_at=checks.refuse_score,
                spare_at=checks.spare_score,
                timeout=checks.dns_timeout,
            )
        if self._greylist is not None:
            yield Greylisting(self._greylist)

    def _submission(self) -> Iterator[Gate]:
        submission = self._config.submission
        own = OwnAddresses(self._directory, self._config.mailboxes.detail_separator, submission.more_names())
        if submission.own_addresses:
            yield own
        if submission.complete:
            yield Completion(self._config.node.hostname, self._clock, own.owns)

    def _strangers_come(self, listener: Listener) -> bool:
        """Whether a client that is of no known network can reach a listener: only this machine reaches its loopback
        addresses."""
        address = ipaddress.ip_address(listener.address)
        if (
            not address.is_loopback or listener.proxy_networks or listener.xclient_networks
        ):  # a proxy brings clients from anywhere
            return True
        reach = ipaddress.ip_network("127.0.0.0/8" if address.version == 4 else "::1/128")
        return not any(
            known.version == reach.version and reach.subnet_of(known)  # type: ignore[arg-type]
            for known in self._config.checks.known
        )
