"""From the configuration to the settings of each room.

Lives here: plain translation, one function per room. The rooms know nothing of the configuration file, and the
configuration knows nothing of the rooms; this file knows both.
Does not live here: starting anything (node.py).
"""

from __future__ import annotations

from glasspost.explain.explainer import Explainer
from glasspost.inbound.entrance import InboundSettings
from glasspost.inbound.policy import PolicySettings
from glasspost.node.settings import Config, Listener
from glasspost.outbound.connections import ReuseSettings
from glasspost.outbound.conversation import ConversationSettings, Timeouts
from glasspost.outbound.remote import RemoteSettings
from glasspost.outbound.reports import ReportSettings
from glasspost.outbound.retry import Schedule
from glasspost.outbound.routes import RoutingSettings, Smarthost
from glasspost.outbound.scheduler import SchedulerSettings
from glasspost.protocol.pop3_events import Pop3Settings
from glasspost.protocol.smtp_client_events import SmtpClientSettings
from glasspost.protocol.smtp_offer import ServerSettings
from glasspost.storage.folder import Folder
from glasspost.storage.masking import Pseudonyms, read_or_make_key


def policy_settings(config: Config) -> PolicySettings:
    return PolicySettings(
        relay_domains=frozenset(config.smtp.relay_domains),
        relay_networks=config.smtp.relay_networks,
        tell_vrfy=config.smtp.vrfy == "tell",
        tell_expn=config.smtp.expn == "tell",
        detail_separator=config.mailboxes.detail_separator,
        default_quota=config.mailboxes.default_quota,
    )


def inbound_settings(config: Config, listener: Listener) -> InboundSettings:
    """What a listener of role mx or submission is like. Only submission signs people in."""
    smtp = config.smtp
    submission = listener.role == "submission"
    cleartext = config.submission.cleartext_auth
    offer = ServerSettings(
        hostname=config.node.hostname,
        max_size=smtp.max_message_size,
        max_recipients=smtp.max_recipients,
        max_transactions=smtp.max_transactions,
        max_errors=smtp.max_errors,
        line_limit=smtp.line_limit,
        repair_newlines=smtp.bare_newline == "repair",
        smtputf8=smtp.smtputf8,
        tls_available=listener.tls == "starttls",
        mechanisms=("PLAIN", "LOGIN") if submission else (),
        cleartext_auth=submission and cleartext == "always",
    )
    return InboundSettings(
        role=listener.role,
        offer=offer,
        greeting_timeout=smtp.greeting_timeout,
        command_timeout=smtp.command_timeout,
        data_timeout=smtp.data_timeout,
        max_received=smtp.max_received,
        cleartext_auth=cleartext,
    )


def pop3_settings(config: Config) -> Pop3Settings:
    return Pop3Settings(
        hostname=config.node.hostname,
        idle_seconds=config.pop3.idle_timeout,
        cleartext_auth=config.pop3.cleartext_auth,
        headers_in_utf8=config.pop3.headers_in_utf8,
        max_failed_sign_ins=config.pop3.max_failures,
        max_errors=config.pop3.max_errors,
    )


def routing_settings(config: Config) -> RoutingSettings:
    smarthosts = {
        one.domain: Smarthost(one.host, one.port, one.tls, one.implicit_tls, one.username, one.secret())
        for one in config.smarthost
    }
    relay = config.relay
    return RoutingSettings(
        hostname=config.node.hostname,
        smarthosts=smarthosts,
        mx_port=relay.mx_port,
        tls=relay.tls,
        ipv4=relay.ipv4,
        ipv6=relay.ipv6,
    )


def remote_settings(config: Config) -> RemoteSettings:
    relay, limits = config.relay, config.relay.timeouts
    client = SmtpClientSettings(
        hostname=config.node.hostname,
        send_eight_bit=relay.eight_bit == "send",
        recipients=relay.recipients_per_transaction,
    )
    timeouts = Timeouts(
        connect=limits.connect,
        greeting=limits.greeting,
        hello=limits.ehlo,
        mail=limits.mail,
        rcpt=limits.rcpt,
        data=limits.data,
        block=limits.block,
        dot=limits.dot,
        quit=limits.quit,
    )
    return RemoteSettings(
        ConversationSettings(client, timeouts),
        ReuseSettings(idle=relay.idle_timeout, messages=relay.messages_per_connection),
        source=tuple(address for address in (relay.source_ipv4, relay.source_ipv6) if address),
    )


def schedule(config: Config) -> Schedule:
    relay = config.relay
    return Schedule(relay.schedule, relay.jitter, relay.expire, relay.delay_notice)


def scheduler_settings(config: Config) -> SchedulerSettings:
    relay = config.relay
    return SchedulerSettings(relay.paused, relay.concurrency, relay.max_connections, relay.window)


def pseudonyms(config: Config, folder: Folder) -> Pseudonyms | None:
    """What addresses are called on record; None where they are kept. Raises StoreError."""
    if not config.transcripts.enabled or config.transcripts.addresses == "keep":
        return None
    return Pseudonyms(read_or_make_key(folder.transcripts_key))


def explainer(config: Config) -> Explainer:
    """With the operator's own entries. Raises ConfigurationError where one is wrong."""
    return Explainer([config.explain.folder] if config.explain.folder else [])


def report_settings(config: Config) -> ReportSettings:
    reports = config.reports
    languages = ("en", "zh") if reports.language == "both" else (reports.language,)
    return ReportSettings(
        config.node.hostname, reports.full_original_limit, config.mailboxes.detail_separator, languages
    )
