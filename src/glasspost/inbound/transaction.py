"""One mail transaction of a visit: where its recipients go, its message as it comes, and what is kept of it.

Lives here: `Transaction`: judging recipients and the whole message, and making the intake that the spool commits.
Does not live here: the rules (policy.py, checks.py, gates.py), the conversation (session.py), the commit
(storage/spool.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace

from glasspost.inbound.checks import judge_message, store_refusal, traced_intake
from glasspost.inbound.client import Client
from glasspost.inbound.device_content import DeviceContent
from glasspost.inbound.entrance import Entrance
from glasspost.inbound.gates import Arrival
from glasspost.inbound.limits import Share
from glasspost.inbound.policy import Destinations
from glasspost.mail import reply as say
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.message import SCAN_LIMIT, HeaderScan
from glasspost.mail.reply import Reply
from glasspost.protocol.smtp_leniency import Leniency
from glasspost.protocol.smtp_server import SmtpServer
from glasspost.storage.spooled import Intake

TARGET_LIMIT = 4_000  # recipients of one message after aliases (a message has at most 4096, storage/bodies.py)


class Transaction:
    """From an accepted MAIL to the commit of its message."""

    __slots__ = ("_client", "_content", "_entrance", "apart", "destinations", "draft", "share")

    def __init__(self, entrance: Entrance, client: Client, on_room: Callable[[], None]) -> None:
        """`on_room`: called when the disk has caught up with the sender."""
        self._entrance = entrance
        self._client = client
        self.destinations = Destinations()
        self.draft = entrance.spool.new_draft(on_room)
        self.apart: dict[int, Reply] = {}  # LMTP: recipients, by their place, that are refused behind the message
        self.share = Share(entrance.burden)
        self._content: DeviceContent | None = None
        if client.device is not None:
            completes = Leniency.HEADER in entrance.settings.offer.lenient
            self._content = DeviceContent(client.device, self._gather, client.note, completes=completes)

    def add(self, data: bytes) -> None:
        """The next octets of the message."""
        if self._content is None:
            self.share.add(self.draft, data)
        else:
            self._content.feed(data)

    def _gather(self, data: bytes) -> None:
        self.share.add(self.draft, data)

    def ended(self) -> None:
        """The message is here whole."""
        if self._content is not None:
            self._content.end()

    def discard(self) -> None:
        """The message is not wanted, or its sender is gone before it was whole."""
        self.draft.discard()
        self.share.drop(self.draft)

    def judge_recipient(self, envelope: Envelope, recipient: Recipient) -> Reply:
        """Whether policy takes it; then it is among the destinations."""
        return self._entrance.policy.judge_recipient(self._client, envelope, recipient, self.destinations, TARGET_LIMIT)

    def judge_message(self, scan: HeaderScan, envelope: Envelope) -> Reply | None:
        """Why the message is refused now that it is here whole; None where it is not."""
        draft, destinations, entrance = self.draft, self.destinations, self._entrance
        refusal = judge_message(scan, entrance.settings.max_received)
        if refusal is None and destinations.deposits and draft.size > envelope.declared_size:
            if entrance.settings.offer.lmtp:
                return self._judge_each_again(envelope)
            full = entrance.policy.overfull(destinations, draft.size)
            if full is not None:
                refusal = say.MESSAGE_OVER_QUOTA.saying(address=full.address)
        if refusal is None and draft.error is not None:
            refusal = store_refusal(draft.error)
        return refusal

    def _judge_each_again(self, envelope: Envelope) -> Reply | None:
        """LMTP: the message's size is known now, and a recipient without room for it is refused alone. A refusal for
        the message only where nobody is left."""
        self.destinations = Destinations()
        sized = replace(envelope, declared_size=self.draft.size)
        for place, recipient in enumerate(envelope.recipients):
            reply = self.judge_recipient(sized, recipient)
            if not reply.positive:
                self.apart[place] = reply
        return self.apart[0] if len(self.apart) == len(envelope.recipients) else None

    def intake(self, core: SmtpServer, tls: ssl.SSLObject | None, arrival: Arrival | None) -> Intake:
        """The message with its trace on top and where it goes: what the spool is to commit. `arrival`: what gates
        said of it, where there are any."""
        destinations, entrance = self.destinations, self._entrance
        intake = traced_intake(core, self.draft, self._client.ip, tls, entrance.clock.now())
        if self._content is not None:
            opening, hostname = self.draft.opening(SCAN_LIMIT), core.settings.hostname
            intake.head += self._content.on_top(
                opening, self.draft.size, hostname=hostname, queue_id=intake.queue_id, now=intake.arrived
            )
        if arrival is not None and arrival.fields:
            intake.head = b"".join(arrival.fields) + intake.head
        if arrival is not None and arrival.without_header:
            intake.head += b"\r\n"
        if arrival is not None and arrival.hold:
            assert core.envelope is not None
            intake.recipients = core.envelope.recipients  # also local ones: they are delivered when it is released
            intake.hold = True
            return intake
        intake.deposits = list(destinations.deposits.items())
        intake.recipients = destinations.recipients
        intake.claim = bool(intake.recipients) and entrance.may_claim(intake)
        return intake
