"""From the configuration to the settings of each room.

Lives here: plain translation, one function per room. The rooms know nothing of the configuration file, and the
configuration knows nothing of the rooms; this file knows both.
Does not live here: starting anything (node.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from glasspost.clock import Clock
from glasspost.explain.explainer import Explainer
from glasspost.inbound.entrance import InboundSettings
from glasspost.inbound.policy import PolicySettings
from glasspost.net.token_endpoint import must_be_possible
from glasspost.net.tokens import TokenSettings
from glasspost.node.device_wiring import for_devices
from glasspost.node.settings import Config, Listener
from glasspost.outbound.bearer import Bearer
from glasspost.outbound.connections import ReuseSettings
from glasspost.outbound.conversation import ConversationSettings, Timeouts
from glasspost.outbound.remote import RemoteSettings
from glasspost.outbound.reports import ReportSettings
from glasspost.outbound.retry import Schedule
from glasspost.outbound.routes import Destination, RoutingSettings, Smarthost
from glasspost.outbound.scheduler import SchedulerSettings
from glasspost.protocol.pop3_events import Pop3Settings
from glasspost.protocol.sasl_mechanisms import BY_PASSWORD, BY_TOKEN
from glasspost.protocol.smtp_client_events import SmtpClientSettings
from glasspost.protocol.smtp_offer import ServerSettings
from glasspost.storage.folder import Folder
from glasspost.storage.guesses import GuessSettings
from glasspost.storage.kept_tokens import token_file
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
    """What a listener of role mx, submission, lmtp or device is like. Only submission signs people in."""
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
        mechanisms=mechanisms(config, listener) if submission else (),
        cleartext_auth=submission and cleartext == "always",
        complaint=token_complaint(config),
        lmtp=listener.role == "lmtp",
    )
    settings = InboundSettings(
        role=listener.role,
        offer=offer,
        greeting_timeout=smtp.greeting_timeout,
        command_timeout=smtp.command_timeout,
        data_timeout=smtp.data_timeout,
        max_received=smtp.max_received,
        cleartext_auth=cleartext,
        xclient_networks=listener.xclient_networks,
    )
    return for_devices(config, listener, settings)


def mechanisms(config: Config, listener: Listener) -> tuple[str, ...]:
    """How clients of a listener may sign in."""
    tokens = BY_TOKEN if config.oauth.offered else ()
    return BY_PASSWORD + tokens + (("CRAM-MD5",) if listener.cram_md5 else ())


def token_complaint(config: Config) -> str:
    """What clients with a refused token are told (RFC 7628 §3.2.2)."""
    oauth = config.oauth
    told = {"status": "invalid_token", "scope": oauth.scope, "openid-configuration": oauth.openid_configuration}
    return json.dumps({key: value for key, value in told.items() if value}, separators=(",", ":"))


def token_settings(config: Config) -> TokenSettings:
    oauth = config.oauth
    return TokenSettings(
        issuer=oauth.issuer,
        audience=oauth.audience,
        scope=oauth.scope,
        name_claim=oauth.name_claim,
        jwks_url=oauth.jwks_url,
        jwks_file=oauth.jwks_file,
        introspection_url=oauth.introspection_url,
        client_id=oauth.client_id,
        client_secret=oauth.secret(),
    )


def guess_settings(config: Config) -> GuessSettings:
    limits = config.sign_in
    return GuessSettings(
        per_address=limits.failures_per_address,
        per_network=limits.failures_per_network,
        per_account=limits.failures_per_account,
        lockout=limits.lockout,
        longest_wait=limits.longest_wait,
        exempt=limits.exempt,
    )


def pop3_settings(config: Config, listener: Listener) -> Pop3Settings:
    return Pop3Settings(
        mechanisms=mechanisms(config, listener),
        complaint=token_complaint(config),
        hostname=config.node.hostname,
        idle_seconds=config.pop3.idle_timeout,
        cleartext_auth=config.pop3.cleartext_auth,
        headers_in_utf8=config.pop3.headers_in_utf8,
        max_failed_sign_ins=config.pop3.max_failures,
        max_errors=config.pop3.max_errors,
    )


def routing_settings(config: Config) -> RoutingSettings:
    smarthosts = {
        one.domain: Smarthost(
            one.host,
            one.port,
            one.tls,
            one.implicit_tls,
            one.username,
            one.secret(),
            one.ca_file,
            one.protocol,
            "" if one.socket is None else str(one.socket.absolute()),
            oauth=one.oauth,
            mechanism=one.mechanism.upper(),
        )
        for one in config.smarthost
    }
    relay = config.relay
    return RoutingSettings(
        hostname=config.node.hostname,
        smarthosts=smarthosts,
        destinations={one.domain: Destination(one.tls, one.names, one.ca_file) for one in config.destination},
        mx_port=relay.mx_port,
        tls=relay.tls,
        ipv4=relay.ipv4,
        ipv6=relay.ipv6,
    )


def bearers(config: Config, clock: Clock, before: Mapping[str, Bearer] | None = None) -> dict[str, Bearer]:
    """Whoever brings tokens, by the name of its [[oauth_client]]. One of `before` that is still the same stays: a
    renewal of its may be under way. Raises GlasspostError where they cannot work."""
    if config.oauth_client:
        must_be_possible()
    found, known = {}, before or {}
    for one in config.oauth_client:
        client = one.client()
        same = one.name in known and known[one.name].client == client
        file = token_file(config.node.data, one.name)
        found[one.name] = known[one.name] if same else Bearer(client, file, clock)
    return found


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
