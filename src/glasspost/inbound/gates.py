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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

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

    __slots__ = ("_draft", "fields", "hold", "scan", "without_header")

    def __init__(self, draft: Draft, scan: HeaderScan) -> None:
        self._draft = draft
        self.scan = scan
        self.fields: list[bytes] = []  # whole header fields, each ending in CRLF: put on top, above our Received
        self.without_header = False  # all of it is text: a blank line comes between what is put on top and it
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

    def cut(self, start: int, end: int) -> None:
        """Take octets out of its header: for the one exception to the law, docs/decisions/0014-bcc.md."""
        self._draft.cut(start, end)


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

    def refused(self, client: Client, step: str, reply: Reply) -> Step:
        """A step before the message is about to be refused with `reply`, by policy or by a gate. Another reply goes in
        its place; 421 ends the visit. Waiting delays it."""
        return None

    def accepted(self, client: Client, intake: Intake) -> None:
        """It is safe on disk."""

    def forgotten(self, client: Client) -> None:
        """The transaction ended without a message: RSET, a new EHLO, a refusal at its end."""

    def left(self, client: Client) -> None:
        """The visit is over. Also of clients that were turned away; called once."""


STEPS = ("connected", "greeted", "sender", "recipient", "data", "message", "refused", "accepted", "forgotten", "left")


class Gates:
    """The gates of a listener, in their order. The first refusal ends the walk. At each step only those are called
    that have something to say there."""

    __slots__ = ("_steps", "watched")

    def __init__(self, gates: Sequence[Gate] = ()) -> None:
        self._steps = {step: tuple(_callers(gates, step)) for step in STEPS}
        # The steps at which any of them has something to say: the others cost nothing.
        self.watched = frozenset(step for step, calls in self._steps.items() if calls)

    def ask(self, step: str, *words: object) -> Step:
        """Ask all of them about one step of `STEPS`, up to `refused`."""
        calls = self._steps[step]
        for number, call in enumerate(calls):
            found: Step = call(*words)
            if found is None:
                continue
            if isinstance(found, Reply):
                return found
            return self._wait(found, calls[number + 1 :], words)
        return None

    async def _wait(
        self, first: Awaitable[Reply | None], others: Sequence[Callable[..., Step]], words: tuple[object, ...]
    ) -> Reply | None:
        refusal = await first
        for call in others:
            if refusal is not None:
                return refusal
            found: Step = call(*words)
            refusal = await found if inspect.isawaitable(found) else found
        return refusal

    def judge(self, client: Client, reply: Reply, step: str, *words: object) -> Reply | Awaitable[Reply]:
        """The answer to a step, where policy would say `reply`: gates may refuse what it takes, and are told of every
        refusal (`refused`)."""
        if reply.positive:
            found = self.ask(step, client, *words)
            if found is not None and not isinstance(found, Reply):
                return self._judge_later(found, client, reply, step)
            reply = found or reply
        return reply if reply.positive else self._refuse(client, step, reply)

    async def _judge_later(self, found: Awaitable[Reply | None], client: Client, reply: Reply, step: str) -> Reply:
        reply = await found or reply
        if reply.positive:
            return reply
        refusal = self._refuse(client, step, reply)
        return refusal if isinstance(refusal, Reply) else await refusal

    def _refuse(self, client: Client, step: str, reply: Reply) -> Reply | Awaitable[Reply]:
        found = self.ask("refused", client, step, reply)
        if found is None or isinstance(found, Reply):
            return found or reply
        return _replaced(found, reply)

    def tell(self, step: str, *words: object) -> None:
        """Tell all of them: `accepted`, `forgotten`, `left`."""
        for call in self._steps[step]:
            call(*words)


def _callers(gates: Sequence[Gate], step: str) -> Iterator[Callable[..., Any]]:
    """What of each gate is called at a step: nothing where it leaves the step as `Gate` has it."""
    for gate in gates:
        call = getattr(gate, step)
        if getattr(call, "__func__", None) is not getattr(Gate, step):
            yield call


async def _replaced(found: Awaitable[Reply | None], reply: Reply) -> Reply:
    return await found or reply
