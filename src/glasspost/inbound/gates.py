"""Gates: whoever else has a say about a client, a sender, a recipient or a message.

Lives here: what a gate is, what it sees of a message, and how a session walks through several of them.
Does not live here: any rule. Each gate has a file of its own; the rules of relaying are policy.py and come first, so
a gate is asked only about what would be taken otherwise.

A gate answers at once (None: nothing against it; a Reply: refused with these words), or gives a coroutine that does,
where it must wait: a name server, a filter, somebody's hook. While it waits the session owes an answer and parses
nothing. A visit without gates pays one look at an empty tuple.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Sequence

from glasspost.inbound.client import Client
from glasspost.mail.envelope import Envelope, Recipient
from glasspost.mail.message import HeaderScan
from glasspost.mail.reply import Reply
from glasspost.storage.bodies import Draft
from glasspost.storage.spooled import Intake

Step = Reply | None | Awaitable[Reply | None]


class Arrival:
    """A message that has come in whole and is not accepted yet, as gates see it. They may add header fields on top
    and ask for it to be held; its own octets stay as they came (DESIGN law 7)."""

    __slots__ = ("_draft", "fields", "hold", "scan")

    def __init__(self, draft: Draft, scan: HeaderScan) -> None:
        self._draft = draft
        self.scan = scan
        self.fields: list[bytes] = []  # whole header fields, each ending in CRLF: put on top, above our Received
        self.hold = ""  # why it is to be held for the postmaster instead of delivered; empty: it is not

    @property
    def queue_number(self) -> int:
        return self._draft.id

    @property
    def size(self) -> int:
        """Octets, without what we put on top."""
        return self._draft.size

    def opening(self, limit: int) -> bytes:
        """Its first octets, at most 64 KB of a large one."""
        return self._draft.opening(limit)

    def chunks(self) -> AsyncIterator[bytes]:
        """All of it in order, in pieces of at most 256 KB."""
        return self._draft.chunks()


class Gate:
    """One gate. As it stands it lets everything through: override what you have something to say about."""

    def connected(self, client: Client) -> Step:
        """Somebody has connected and not been greeted yet. A refusal is said instead of the greeting."""
        return None

    def greeted(self, client: Client) -> Step:
        """EHLO or HELO, with `client.hello`."""
        return None

    def sender(self, client: Client, envelope: Envelope) -> Step:
        """MAIL. The envelope has no recipients yet."""
        return None

    def recipient(self, client: Client, envelope: Envelope, recipient: Recipient) -> Step:
        """RCPT, of a recipient that policy takes. `envelope` has those accepted before."""
        return None

    def data(self, client: Client, envelope: Envelope) -> Step:
        """DATA or the first BDAT: the recipients are known."""
        return None

    def message(self, client: Client, envelope: Envelope, arrival: Arrival) -> Step:
        """The message is here whole."""
        return None

    def accepted(self, client: Client, intake: Intake) -> None:
        """It is safe on disk."""

    def forgotten(self, client: Client) -> None:
        """The transaction ended without a message: RSET, a new EHLO, a refusal at its end."""

    def left(self, client: Client) -> None:
        """The visit is over. Also of clients that were turned away; called once."""


class Gates:
    """The gates of a listener, in their order. The first refusal ends the walk."""

    __slots__ = ("_gates",)

    def __init__(self, gates: Sequence[Gate] = ()) -> None:
        self._gates = tuple(gates)

    def __bool__(self) -> bool:
        return bool(self._gates)

    def ask(self, step: str, *words: object) -> Step:
        """Ask all of them about one step: `connected`, `greeted`, `sender`, `recipient`, `data`, `message`."""
        for number, gate in enumerate(self._gates):
            found: Step = getattr(gate, step)(*words)
            if found is None:
                continue
            if isinstance(found, Reply):
                return found
            return self._wait(found, step, self._gates[number + 1 :], words)
        return None

    async def _wait(
        self, first: Awaitable[Reply | None], step: str, others: Sequence[Gate], words: tuple[object, ...]
    ) -> Reply | None:
        refusal = await first
        for gate in others:
            if refusal is not None:
                return refusal
            found: Step = getattr(gate, step)(*words)
            refusal = await found if inspect.isawaitable(found) else found
        return refusal

    def tell(self, step: str, *words: object) -> None:
        """Tell all of them: `accepted`, `forgotten`, `left`."""
        for gate in self._gates:
            getattr(gate, step)(*words)
