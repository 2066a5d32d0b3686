"""One attempt's errand: what is to be brought to whom, what is known of each recipient, and what stood in the way.

Lives here: the state of an attempt while it goes from host to host, and how setbacks become outcomes.
Does not live here: which host is tried next (remote.py), the talk itself (conversation.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from glasspost.mail import reply as replies
from glasspost.mail.envelope import Envelope, Outcome, Recipient, Verdict
from glasspost.mail.reply import Reply
from glasspost.outbound.conversation import Conversation

if TYPE_CHECKING:
    from glasspost.storage.spooled import Message, Queued


@dataclass(slots=True)
class Setback:
    """Why a host is no use. `conclusive`: the other hosts of the route will do no better."""

    outcome: Outcome
    conclusive: bool = False
    tls_failed: bool = False  # the opportunistic handshake: worth one more try in the clear
    unproved: bool = False  # TLS that proves the server is not to be had here, now or later


@dataclass(slots=True)
class Errand:
    """One message for some recipients, and what is known about each so far."""

    message: Message
    recipients: Sequence[Queued]
    outcomes: list[Outcome | None]
    before: list[str] = field(default_factory=list)  # what happened at hosts tried earlier, for the next recording

    def left(self) -> list[int]:
        return [place for place, outcome in enumerate(self.outcomes) if outcome is None]


def envelope(
    message: Message, recipients: Sequence[Queued], places: list[int], *, requiretls: bool = False
) -> Envelope:
    """The transaction's envelope for the recipients at these places. `requiretls`: this server is to hear of it."""
    chosen = [recipients[place] for place in places]
    return Envelope(
        message.reverse_path,
        [Recipient(recipient.address, recipient.notify, recipient.orcpt) for recipient in chosen],
        message.body,
        message.smtputf8,
        message.size,
        message.ret,
        message.envid,
        requiretls,
    )


def complete(outcomes: list[Outcome | None], setbacks: list[Setback]) -> list[Outcome]:
    """Those that no host has decided on get the setback that says most.

    For ever is only what every host said for ever: one that could not be asked may still take the mail.
    """
    if not setbacks:
        return [outcome for outcome in outcomes if outcome is not None]
    transient = [setback for setback in setbacks if setback.outcome.verdict is not Verdict.FAILED]
    last = (transient or setbacks)[-1].outcome
    return [replace(last) if outcome is None else outcome for outcome in outcomes]


def refused(conversation: Conversation, reply: Reply) -> Setback:
    """The server will not talk, or the conversation broke: try the next host."""
    client = conversation.client
    if reply is client.broken:
        return _setback(conversation, reply, said=client.broken_by_server)
    if reply.positive:
        fault = f"{reply.code} where it must say yes or no"
        return ours(conversation, replies.SERVER_TALKS_NONSENSE.saying(server=conversation.server, fault=fault))
    return _setback(conversation, reply, said=True)


def ours(conversation: Conversation, reply: Reply, *, tls_failed: bool = False, unproved: bool = False) -> Setback:
    """It is we who will not go on with this server."""
    conversation.recording.note(str(reply))
    setback = _setback(conversation, reply, said=False)
    setback.tls_failed, setback.unproved = tls_failed, unproved
    return setback


def _setback(conversation: Conversation, reply: Reply, said: bool) -> Setback:
    recording = conversation.recording
    verdict = Verdict.FAILED if reply.permanent else Verdict.DEFERRED
    return Setback(
        Outcome(
            verdict,
            reply,
            conversation.server,
            said,
            conversation=recording.id,
            evidence=recording.excerpt(),
        )
    )
