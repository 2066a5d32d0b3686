"""The courier for recipients who live here but came through the spool: reports wanted, alias changed, mail released.

Lives here: asking the directory where a waiting recipient goes now.
Does not live here: the deposit itself. It is a part of the settling commit (storage/spool.py), so a crash can neither
lose nor double it. Most local mail never comes here: it was deposited in the commit that accepted it.
"""

from __future__ import annotations

from collections.abc import Sequence

from glasspost.mail import reply as say
from glasspost.mail.envelope import Notify, Outcome, Recipient, Verdict
from glasspost.storage.accounts import Directory
from glasspost.storage.mailboxes import Mailboxes
from glasspost.storage.resolution import Account, Disabled, Local, NotLocal
from glasspost.storage.spooled import Message, Queued


class LocalCourier:
    """Finds the maildrops of local recipients."""

    def __init__(self, directory: Directory, mailboxes: Mailboxes, separator: str, default_quota: int) -> None:
        self._directory = directory
        self._mailboxes = mailboxes
        self._separator = separator
        self._default_quota = default_quota

    async def deliver(self, message: Message, recipients: Sequence[Queued]) -> list[Outcome]:
        """One outcome for each recipient; a delivered one names the deposits that the settlement will make."""
        return [self._deliver(message, queued) for queued in recipients]

    def _deliver(self, message: Message, queued: Queued) -> Outcome:
        found = self._directory.resolve(queued.address, separator=self._separator)
        match found:
            case Local():
                return self._hand_in(message, queued, found)
            case Disabled():
                return Outcome(Verdict.FAILED, say.MAILBOX_DISABLED.saying(address=queued.address))
            case NotLocal():
                # The domain was given up between routing and now: the next attempt asks anew.
                return Outcome(Verdict.DEFERRED, say.LOCAL_ERROR)
            case _:
                return Outcome(Verdict.FAILED, say.NO_SUCH_USER.saying(address=queued.address))

    def _hand_in(self, message: Message, queued: Queued, found: Local) -> Outcome:
        for account in found.accounts:
            if not self._has_room(account, message.size):
                return Outcome(Verdict.DEFERRED, say.MAILBOX_FULL.saying(address=queued.address))
        original = queued.orcpt or f"{'utf-8' if queued.address.needs_utf8 else 'rfc822'};{queued.address}"
        single = not found.accounts and len(found.forwards) == 1
        notify = queued.notify if single else _without_success(queued.notify)
        return Outcome(
            Verdict.DELIVERED,
            say.DEPOSITED.saying(address=queued.address),
            deposits=tuple((account.id, queued.address) for account in found.accounts),
            forwards=tuple(Recipient(path, notify, original) for path in found.forwards),
        )

    def _has_room(self, account: Account, octets: int) -> bool:
        quota = account.quota or self._default_quota
        return not quota or self._mailboxes.octets_used(account.id) + octets <= quota


def _without_success(notify: Notify) -> Notify:
    """The wishes that go along where an alias has many targets: its own success is told here (RFC 3461 §5.2.7.3)."""
    return notify & ~Notify.SUCCESS or (Notify.NEVER if notify else Notify.UNSET)
