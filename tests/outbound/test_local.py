"""Recipients who live here and came through the spool: where each of them goes now."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from glasspost.mail.envelope import Notify, Outcome, Verdict
from glasspost.outbound.local import LocalCourier
from glasspost.storage.accounts import Directory
from glasspost.storage.mailboxes import Mailboxes
from glasspost.storage.spool import Spool
from glasspost.storage.spooled import Settlement
from stores import BODY, HEAD, NOW, Store, accepted, address, intake_for, settled


@dataclass
class Village:
    store: Store
    spool: Spool
    directory: Directory
    boxes: Mailboxes
    courier: LocalCourier

    def account(self, name: str) -> int:
        return self.directory.account_at(address(f"{name}@example.test")).id

    async def deliver(self, *to: str, notify: Notify = Notify.UNSET, orcpt: str = "") -> list[Outcome]:
        intake = intake_for(self.spool, *to, notify=notify)
        for recipient in intake.recipients:
            recipient.orcpt = orcpt
        await accepted(self.spool, intake)
        self.queued = await self.spool.claim(NOW, 100)
        return await self.courier.deliver(self.queued[0].message, self.queued)


@pytest.fixture
async def village(tmp_path: Path, furniture: Path) -> AsyncIterator[Village]:
    """alice and bob live here, carol is disabled, team is alice, bob and eve@elsewhere.test."""
    shutil.copy(furniture, tmp_path / "directory.db")
    directory = Directory(tmp_path / "directory.db", look_again=0)
    store = Store(tmp_path)
    spool = store.node()
    boxes = Mailboxes(spool.database)
    yield Village(store, spool, directory, boxes, LocalCourier(directory, boxes, "+", 0))
    directory.close()
    async with asyncio.timeout(10):
        await store.close()


async def test_one_outcome_for_each_in_their_order(village: Village) -> None:
    outcomes = await village.deliver(
        "bob@example.test", "nobody@example.test", "Alice+news@EXAMPLE.test", "carol@example.test"
    )
    assert [(outcome.verdict, str(outcome.reply)) for outcome in outcomes] == [
        (Verdict.DELIVERED, "250 2.1.5 <bob@example.test>: in the mailbox"),
        (Verdict.FAILED, "550 5.1.1 <nobody@example.test>: nobody here has this address"),
        (Verdict.DELIVERED, "250 2.1.5 <Alice+news@EXAMPLE.test>: in the mailbox"),
        (Verdict.FAILED, "550 5.2.1 <carol@example.test>: mailbox disabled"),
    ]
    assert [outcome.deposits for outcome in outcomes] == [
        ((village.account("bob"), address("bob@example.test")),),
        (),
        ((village.account("alice"), address("Alice+news@EXAMPLE.test")),),
        (),
    ]


async def test_nothing_is_deposited_before_it_is_settled(village: Village) -> None:
    (outcome,) = await village.deliver("alice@example.test")
    assert village.store.counts() == {"message": 1, "chunk": 1, "recipient": 1}
    settlement = Settlement(village.queued[0], attempted=NOW, deposits=outcome.deposits)
    await settled(village.spool, [settlement])
    maildrop = await village.boxes.lock(village.account("alice"))
    assert maildrop is not None
    (letter,) = [b"".join([piece async for piece in maildrop.chunks(one)]) for one in maildrop.deposits]
    assert letter == b"Return-Path: <anna@example.org>\r\nDelivered-To: alice@example.test\r\n" + HEAD + BODY


async def test_an_alias_of_many_goes_to_all_of_them(village: Village) -> None:
    (outcome,) = await village.deliver("team@example.test")
    assert {account for account, _ in outcome.deposits} == {village.account("alice"), village.account("bob")}
    (onward,) = outcome.forwards
    assert (onward.address, onward.notify) == (address("eve@elsewhere.test"), Notify.UNSET)
    assert onward.orcpt == "rfc822;team@example.test"


@pytest.mark.parametrize(
    ("wished", "onward"),
    [
        (Notify.SUCCESS, Notify.NEVER),
        (Notify.SUCCESS | Notify.FAILURE, Notify.FAILURE),
        (Notify.DELAY, Notify.DELAY),
        (Notify.NEVER, Notify.NEVER),
        (Notify.UNSET, Notify.UNSET),
    ],
)
async def test_an_alias_of_many_tells_its_own_success(village: Village, wished: Notify, onward: Notify) -> None:
    """RFC 3461 §5.2.7.3 (c): SUCCESS does not go along; the alias itself is reported as expanded."""
    (outcome,) = await village.deliver("team@example.test", notify=wished, orcpt="rfc822;us@list.test")
    assert (outcome.forwards[0].notify, outcome.forwards[0].orcpt) == (onward, "rfc822;us@list.test")


async def test_an_alias_of_one_passes_every_wish_on(village: Village) -> None:
    """RFC 3461 §5.2.7.2."""
    village.directory.add_alias(address("away@example.test"), [address("eve@elsewhere.test")])
    (outcome,) = await village.deliver("away@example.test", notify=Notify.SUCCESS | Notify.DELAY)
    assert outcome.deposits == ()
    assert [one.notify for one in outcome.forwards] == [Notify.SUCCESS | Notify.DELAY]


async def test_a_full_mailbox_defers(village: Village) -> None:
    alice = address("alice@example.test")
    village.directory.set_quota(alice, 2 * len(HEAD + BODY))
    assert (await village.deliver("alice@example.test"))[0].verdict is Verdict.DELIVERED
    village.boxes.octets_used(village.account("alice"))
    village.boxes.deposited(village.account("alice"), len(HEAD + BODY) + 1)
    (outcome,) = await village.courier.deliver(village.queued[0].message, village.queued)
    assert (outcome.verdict, outcome.reply.enhanced) == (Verdict.DEFERRED, "4.2.2")
    village.directory.set_quota(alice, 0)
    (outcome,) = await village.courier.deliver(village.queued[0].message, village.queued)
    assert outcome.verdict is Verdict.DELIVERED


async def test_a_domain_that_was_given_up_meanwhile_is_routed_anew(village: Village) -> None:
    (outcome,) = await village.deliver("bob@elsewhere.test")
    assert (outcome.verdict, outcome.reply.transient) == (Verdict.DEFERRED, True)
