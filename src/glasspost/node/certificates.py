"""The node's certificates: which are shown, the self-signed one where none is configured, and the eye on their files.

Lives here: `Certificates`, made at a node's start and closed at its end, and what is said of it in the log.
Does not live here: choosing one for a client (net/shown.py), making the self-signed one (net/tls.py), trying out what
is configured (config_check.py).
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog

from glasspost.net.shown import Pair, ShownCertificates
from glasspost.net.tls import self_signed
from glasspost.node.settings import Config

log = structlog.get_logger("tls")

SELF_SIGNED = (
    "NO CERTIFICATE IS CONFIGURED: a self-signed one is shown, which nobody can verify. "
    "Name one in tls.certificate and tls.key."
)


def pairs(config: Config) -> list[Pair]:
    """The pairs of files that are configured, the one for everybody first."""
    named = [(config.tls.certificate, config.tls.key), *((one.certificate, one.key) for one in config.certificate)]
    return [Pair(certificate, key) for certificate, key in named if certificate is not None and key is not None]


def is_self_signed(config: Config) -> bool:
    """Whether clients are shown a certificate of our own making: listeners with TLS, and no certificate for them."""
    return config.tls.certificate is None and any(listener.tls != "none" for listener in config.listener)


class Certificates:
    """What the listeners of a node show. Raises ConfigurationError where a certificate cannot be used at the start;
    later a bad file is said in the log, and the certificate before it is kept."""

    def __init__(self, config: Config, folder: Path) -> None:
        """`folder`: where the self-signed certificate is kept."""
        shown = pairs(config)
        if is_self_signed(config):
            log.warning(SELF_SIGNED, hostname=config.node.hostname)
            shown.insert(0, Pair(*self_signed(folder, config.node.hostname)))
        self._interval = config.tls.reload
        self._alarm: asyncio.TimerHandle | None = None
        self._shown = (
            ShownCertificates(shown, config.tls.minimum)
            if any(listener.tls != "none" for listener in config.listener)
            else None
        )
        self.watched = [self._shown] if self._shown is not None else []  # and what devices are shown besides

    @property
    def context(self) -> ssl.SSLContext | None:
        """What listeners take; None where none has TLS."""
        return self._shown.context if self._shown is not None else None

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at the files from now on, every `tls.reload` seconds."""
        if self._shown is not None and self._interval:
            self._alarm = loop.call_later(self._interval, self._look_again, loop)

    def look(self) -> None:
        """Show from now on what has changed on the disk, and say so. A few calls of stat(2) where nothing has."""
        for change in [change for shown in self.watched for change in shown.look()]:
            if change.fault:
                log.error(
                    "THE NEW CERTIFICATE CANNOT BE USED, the one before it is shown on",
                    certificate=str(change.pair.certificate), key=str(change.pair.key), fault=change.fault,
                )  # fmt: skip
            else:
                log.info("new certificate", certificate=str(change.pair.certificate), names=list(change.names))

    def close(self) -> None:
        """Look no more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self.look()
        finally:
            self.watch(loop)
