"""What is in the spool: messages, recipients, and what goes in and comes out.

Lives here: the values that the spool, its scheduler and the couriers hand each other.
Does not live here: any SQL (spool.py, spool_jobs.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from glasspost.ids import write_id
from glasspost.mail.address import Address
from glasspost.mail.envelope import BodyType, Envelope, Notify, Recipient
from glasspost.mail.message import return_path_header
from glasspost.storage.bodies import Content, Draft

WAITING, CLAIMED, HELD = 0, 1, 2


@dataclass(slots=True)
class Message:
    """A message in the spool. `arrived` in seconds since the epoch, `size` in octets with the trace header."""

    id: int
    reverse_path: Address | None
    body: BodyType
    smtputf8: bool
    eight_bit: bool
    ret: str
    envid: str
    size: int
    arrived: float
    conversation: str
    content: Content
    in_hand: int = 0  # recipients of it that this node's scheduler holds
    requiretls: bool = False
    tls_optional: bool = (
        False  # a recipient's policy, where one demands TLS, is not to stand in the way (RFC 8689 §4.2.2)
    )

    @property
    def queue_id(self) -> str:
        return write_id("q", self.id)

    @property
    def returns_header_only(self) -> bool:
        """Whether a report may repeat no more of it than its header: the sender's wish (RFC 3461 §4.3), or the rule for
        mail that demands TLS (RFC 8689 §5)."""
        return self.ret == "HDRS" or self.requiretls


def flags_of(envelope: Envelope, eight_bit: bool) -> int:
    """The `flags` of a message as the spool keeps them."""
    return envelope.smtputf8 | eight_bit << 1 | envelope.requiretls << 2 | envelope.tls_optional << 3


@dataclass(slots=True)
class Queued:
    """One recipient waiting in the spool, as a scheduler holds it."""

    id: int
    message: Message
    address: Address
    notify: Notify
    orcpt: str
    attempts: int = 0
    generation: int = 1
    last_reply: str = ""
    delay_told: bool = False
    wish: str = ""  # the postmaster's: "bounce" or "retry"
    doubtful: int = 0
    begun: bool = False  # an attempt is under way, or being settled
    withdrawn: bool = False  # somebody has held, removed or taken it meanwhile: not to be tried
    due: float = 0.0  # when it was to be tried, or was wished to be


@dataclass(slots=True)
class Intake:
    """A message about to be accepted: everything that goes into its one commit.

    `deposits` are (account id, forward-path) of local mailboxes; `recipients` wait in the spool. `claim` hands the
    recipients to this node at once (`queued` holds them); otherwise they wait until `due`.
    """

    draft: Draft
    envelope: Envelope
    head: bytes
    arrived: float
    conversation: str
    deposits: list[tuple[int, Address]] = field(default_factory=list)
    recipients: list[Recipient] = field(default_factory=list)
    claim: bool = False
    hold: bool = False  # its recipients wait for the postmaster
    due: float = 0.0
    stranded: str = ""  # the destination whose rest they wait for; "" where it is not a single one
    queued: list[Queued] = field(default_factory=list)
    queue_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.queue_id = write_id("q", self.draft.id)

    @property
    def size(self) -> int:
        return len(self.head) + self.draft.size


@dataclass(frozen=True, slots=True)
class Rest:
    """A destination for which nobody more is claimed: who waits for it and falls due meanwhile comes again at `due`,
    and hears `reply`. Not whom a postmaster wished to be tried after it began (`since`), nor who arrived by `notice_by`
    and was not told yet that it takes longer, nor who arrived by `expire_by`: with those there is something to do
    before."""

    due: float
    reply: str | None  # None: what was heard before
    since: float
    notice_by: float
    expire_by: float


@dataclass(slots=True)
class Settlement:
    """What one attempt came to for one recipient. `due` None: delivered, failed or expired, and gone."""

    queued: Queued
    due: float | None = None
    attempted: float = 0.0
    reply: str = ""
    host: str = ""
    conversation: str = ""
    doubtful: bool = False
    delay_told: bool = False
    stranded: str = ""  # the destination it waits for; "" where what stands in the way is about the message
    deposits: tuple[tuple[int, Address], ...] = ()  # into these accounts' maildrops, in the same commit: never twice
    forwards: tuple[Recipient, ...] = ()  # these take its place in the spool


def deposit_header(message_reverse_path: Address | None, forward_path: Address) -> bytes:
    """What a maildrop puts on top of a message (RFC 5321 §4.4): Return-Path, and the address it came to."""
    return return_path_header(message_reverse_path) + f"Delivered-To: {forward_path}\r\n".encode()
