"""Filters of other people, and hooks: the gates that look at mail with rules from outside the house.

Lives here: which gates there are and in which order they stand; opening and closing what they share.
Does not live here: any gate (inbound/), how sessions walk through them (inbound/gates.py).

The order is from what costs least to what costs most; whoever is refused early costs nobody later anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from glasspost.inbound.gates import Gate
from glasspost.inbound.hooks import Hooks
from glasspost.inbound.milter import Milter, MilterSettings
from glasspost.inbound.rspamd import Rspamd, RspamdSettings
from glasspost.node.settings import Config
from glasspost.storage.fates import Fate


class Filters:
    """All of a node's. Made before the doors open, closed after the last visitor has gone."""

    def __init__(self, config: Config) -> None:
        """Raises a GlasspostError where a gate cannot be made: a hooks file that is broken."""
        self._hooks = _hooks(config)
        self._milters = [Milter(one) for one in milter_settings(config)]
        self._rspamd = Rspamd(rspamd_settings(config)) if config.rspamd.url else None

    def gates(self) -> list[Gate]:
        """They in their order."""
        gates: list[Gate] = []
        if self._hooks is not None:
            gates.append(self._hooks)
        gates += self._milters
        if self._rspamd is not None:
            gates.append(self._rspamd)
        return gates

    @property
    def listens_to_fates(self) -> bool:
        """Whether any gate wants to hear what becomes of recipients."""
        return self._hooks is not None

    def ear(self, record: Callable[[Sequence[Fate]], None]) -> Callable[[Sequence[Fate]], None]:
        """Who is to be told of fates: the record, and any gate that listens. The record has no use for those whom the
        next server took: the talk tells of them."""
        hooks = self._hooks
        if hooks is None:
            return record

        def hear(fates: Sequence[Fate]) -> None:
            record([fate for fate in fates if fate.what != "relayed"])
            for fate in fates:
                hooks.heard(fate)

        return hear

    async def close(self) -> None:
        if self._hooks is not None:
            await self._hooks.close()
        if self._rspamd is not None:
            await self._rspamd.close()


def _hooks(config: Config) -> Hooks | None:
    hooks = config.hooks
    if hooks.file is None:
        return None
    return Hooks(hooks.file, limit=hooks.timeout, threads=hooks.threads, message_limit=hooks.message_limit)


def milter_settings(config: Config) -> list[MilterSettings]:
    return [
        MilterSettings(
            one.address,
            one.name or one.address,
            strangers_only=one.clients == "strangers",
            accept_when_down=one.when_down == "accept",
            connect_timeout=one.connect_timeout,
            command_timeout=one.command_timeout,
            message_timeout=one.message_timeout,
        )
        for one in config.milter
    ]


def rspamd_settings(config: Config) -> RspamdSettings:
    rspamd = config.rspamd
    return RspamdSettings(
        rspamd.url,
        strangers_only=rspamd.clients == "strangers",
        accept_when_down=rspamd.when_down == "accept",
        timeout=rspamd.timeout,
        max_size=rspamd.max_size,
    )
