"""What of a configuration can change while the node runs, and what waits for a restart.

Lives here: the table of it; `compare`: what differs between the configuration that holds and a new one, and the one
that may hold from now on; `put_in`, which brings that to the rooms.
Does not live here: reading the file (config.py), who asks for a reload (cli/serve.py).

The table names what can change. Whatever it does not name waits for a restart: a setting forgotten here is told to
wait, and never half taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glasspost.node import wiring
from glasspost.node.catalogue import SECTIONS, SETTINGS
from glasspost.node.settings import Config
from glasspost.node.values import Section

if TYPE_CHECKING:
    from glasspost.node.node import Node

# Sections and settings that change live, for what comes from now on: standing connections keep what they were offered.
LIVE = frozenset(
    (
        "node.drain", "node.log_level",
        "smtp", "submission", "pop3",
        "relay", "relay.timeouts", "smarthost", "oauth_client", "destination", "dns",
        "mailboxes", "reports", "explain",
    )
)  # fmt: skip
# Within those, what does not.
FIXED = frozenset(("smtp.max_memory", "relay.lease", "relay.window", "relay.paused"))


@dataclass(frozen=True, slots=True)
class Changes:
    """`live` and `waiting` are names of settings, as documented. `config` holds what may change now, and the old values
    of the rest."""

    config: Config
    live: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def put_in(node: Node, config: Config) -> None:
    """Bring a configuration, of which only what is live differs, to the rooms of a node. Whatever can fail (password
    files, authorities, clients for tokens) is made first: where it raises GlasspostError, nothing has changed."""
    router = node.new_router(config)
    contexts = node.new_contexts(config)
    bearers = wiring.bearers(config, node.clock, node.remote.bearers)
    smtp, pop3 = config.smtp, config.pop3
    node.policy.settings = wiring.policy_settings(config)
    node.limits.change(smtp.max_connections, smtp.max_connections_per_address)
    node.readers.change(pop3.max_connections, pop3.max_connections_per_address)
    assert node.gatehouse is not None
    node.gatehouse.adopt(config)
    for listener, entrance in node.entrances:
        entrance.settings = wiring.inbound_settings(config, listener)
        entrance.gates = node.gatehouse.gates(listener)
    for number in node.pop3_settings:
        node.pop3_settings[number] = wiring.pop3_settings(config, config.listener[number])
    node.remote.adopt(wiring.remote_settings(config), contexts, bearers)
    scheduler = node.scheduler
    scheduler.ways.turn_to(router)
    scheduler.settings = wiring.scheduler_settings(config)
    scheduler.schedule = wiring.schedule(config)
    scheduler.local = node.new_local_courier(config)
    scheduler.reports = node.new_reports(config)


def changes_live(setting: str) -> bool:
    """Whether a setting's new value is taken by a reload."""
    section = SETTINGS[setting].section
    return (setting in LIVE or section in LIVE) and setting not in FIXED


def compare(old: Config, new: Config) -> Changes:
    """What a reload from `old` to `new` takes, and what it leaves."""
    changed = [name for name in SETTINGS if _said(old, name) != _said(new, name)]
    live = tuple(name for name in changes_of(changed, live=True))
    waiting = tuple(name for name in changes_of(changed, live=False))
    config = new
    for name in waiting:
        config = _put_back(config, old, name)
    return Changes(config, live, waiting)


def changes_of(names: list[str], *, live: bool) -> list[str]:
    """Those that change live, or those that do not."""
    return [name for name in names if changes_live(name) is live]


def _said(config: Config, name: str) -> object:
    """A setting's value; of a section that may stand several times, all of them. Secrets compare as they are."""
    section, _, key = name.rpartition(".")
    return [getattr(one, key) for one in _sections(config, section)]


def _sections(config: Config, name: str) -> list[Section]:
    found: object = config
    for step in name.split("."):
        found = getattr(found, step)
    return list(found) if isinstance(found, tuple) else [found]  # type: ignore[list-item]


def _put_back(config: Config, old: Config, name: str) -> Config:
    """The configuration with the old value of a setting. Of sections that stand several times all are put back: what is
    new in them has no old value."""
    section, _, key = name.rpartition(".")
    steps = section.split(".")
    if SECTIONS[section].repeated:
        return config.model_copy(update={steps[0]: getattr(old, steps[0])})
    before = _sections(old, section)[0]
    return _with(config, steps, key, getattr(before, key))


def _with(section: Section, steps: list[str], key: str, value: object) -> Config:
    """A copy of a section with a value deep within."""
    if not steps:
        return section.model_copy(update={key: value})  # type: ignore[return-value]
    inner = _with(getattr(section, steps[0]), steps[1:], key, value)
    return section.model_copy(update={steps[0]: inner})  # type: ignore[return-value]
