"""The part of a delivery report that people read.

Lives here: every sentence a report can say, in one place so that it can be said in another language too, and how the
sentences are laid out.
Does not live here: the fields for machines (mail/dsn_fields.py), what other servers' replies mean in depth (explain/).

Whoever reads this is worried and knows nothing of mail servers. So: what happened to whom, why, what to do, whether
anything goes on by itself; then, for those who can use it, what the other server said. Nothing is claimed that is not
known: doubt is said as doubt.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from glasspost.mail.dsn_fields import Kind, ReportedRecipient, printable, remote_name, said, status_of
from glasspost.mail.message import date_text

WIDTH = 74

# --- the sentences: English -------------------------------------------------------------------------------------

_SUBJECT = {
    "failed": "Not delivered: your message to {whom}",
    "delayed": "Delayed: your message to {whom} (nothing to do)",
    "delivered": "Delivered: your message to {whom}",
    "relayed": "Handed on: your message to {whom}",
    "expanded": "Delivered and passed on: your message to {whom}",
}
_SUBJECT_DOUBTFUL = "Not certain to have arrived: your message to {whom}"
_SUBJECT_PARTLY_DOUBTFUL = "Not delivered, or not for certain: your message to {whom}"
_WHOM_MANY = "{count} recipients"

_OPENING = {
    "failed": "Your message could not be delivered to:",
    "delayed": "Your message has not been delivered yet to:",
    "delivered": "Your message was delivered to the mailbox of:",
    "relayed": "Your message was handed on to the next mail server for:",
    "expanded": "Your message arrived, and was passed on to the people behind this address:",
}
_OPENING_DOUBTFUL = "It is not certain whether your message reached:"
_NOTHING_TO_DO = "You need not do anything. This is only to let you know."

_SUCCESS = {
    "delivered": "You asked to be told. It does not mean that anybody has read the message yet.",
    "relayed": (
        "You asked to be told. That server does not confirm deliveries, so no further confirmation will come from "
        "here. If it cannot deliver the message, it should tell you so."
    ),
    "expanded": (
        "You asked to be told. If the message cannot be delivered to one of them, you may get another report."
    ),
}

_KEEP_TRYING = "We keep trying by ourselves until {until}."
_KEEP_TRYING_OPEN = "We keep trying by ourselves."
_WILL_TELL = "If it has not been delivered by then, we will write to you again."
_WILL_NOT_TELL = "As the message asked for no report of failure, we will not write again if it fails."
_DO_NOT_RESEND = "Please do not send it again: it might then arrive twice."
_GAVE_UP = "We tried {attempts} over {period}, and have now given up. We will not try again."
_WILL_NOT_TRY = "We will not try again."
_DOUBT = (
    "The connection was lost after the whole message had been handed over, but before the other server confirmed it. "
    "So it may have arrived, or not."
)
_DOUBT_ADVICE = "Ask the recipient, in another way, whether it arrived before you send it again."
_WHY = "Why:"
_ADVICE = "What you can do:"

# What a status code (RFC 3463, RFC 5248, RFC 7504) means to the sender: why, and what to do about it. The class digit
# is left out: whether it is for ever is said elsewhere.
_REASONS: dict[str, tuple[str, str]] = {
    "1.1": ("There is no such address there.", "Look for a typing error in the address, and send the message again."),
    "1.2": ("The part behind the @ does not exist.", "Look for a typing error behind the @, and send it again."),
    "1.3": ("The other server cannot read this address.", "Look for a typing error in the address."),
    "1.6": ("The recipient has moved to another address.", "Ask the recipient for the new address."),
    "1.10": ("The part behind the @ takes no mail at all.", "Look for a typing error behind the @."),
    "2.0": ("The mailbox cannot be used at present.", "Try another way to reach the recipient."),
    "2.1": ("The mailbox is switched off.", "Try another way to reach the recipient."),
    "2.2": ("The recipient's mailbox is full.", "Tell the recipient in another way; send it again when there is room."),
    "2.3": ("The message is too large for this mailbox.", "Send it again with smaller attachments, or with none."),
    "3.1": ("The receiving server has no room left.", "Send it again later."),
    "3.2": ("The receiving server takes no mail at present.", "Send it again later."),
    "3.4": (
        "The message is too large for the receiving server.",
        "Send it again with smaller attachments, or with none.",
    ),
    "4.1": ("The other server does not answer.", "Send it again later, or try another way to reach the recipient."),
    "4.2": ("The connection to the other server broke off.", "Send it again later."),
    "4.3": ("It could not be found out where mail for this address goes.", "Look at the part behind the @."),
    "4.4": ("No mail server could be found for this address.", "Look for a typing error behind the @."),
    "4.6": ("The message went in circles between mail servers.", "Show this report to whoever runs your mail."),
    "4.7": ("The message could not be delivered in time.", "Send it again later, or try another way."),
    "6.7": (
        "The address has letters that the other mail server does not understand.",
        "Ask the recipient for an address in plain Latin letters.",
    ),
    "7.4": ("No safely encrypted connection could be made.", "Show this report to whoever runs your mail."),
    "7.5": ("No safely encrypted connection could be made.", "Show this report to whoever runs your mail."),
    "7.8": ("This mail server could not sign in to the next one.", "Show this report to whoever runs your mail."),
}
# The same, where only the middle digit tells.
_REASONS_BY_SUBJECT: dict[str, tuple[str, str]] = {
    "1": ("There is something wrong with the address.", "Look for a typing error in the address."),
    "2": ("The recipient's mailbox did not take the message.", "Try another way to reach the recipient."),
    "3": ("The receiving server could not take the message.", "Send it again later."),
    "4": ("The way to the other mail server is disturbed.", "Send it again later."),
    "5": ("The two mail servers did not understand each other.", "Show this report to whoever runs your mail."),
    "6": ("The receiving server cannot take a message of this form.", "Show this report to whoever runs your mail."),
    "7": (
        "A rule of the mail server forbids this message.",
        "Read below what it says; show this report to whoever runs your mail if it does not help.",
    ),
}
_REASON_UNKNOWN = {
    "failed": (
        "The receiving server refused the message.",
        "Read below what it says; show this report to whoever runs your mail if it does not help.",
    ),
    "delayed": ("The receiving server asked us to come again later.", ""),
}

_MEANING = "What that means:"
_THEY_SAID = "What the other mail server ({server}) said:"
_THEY_SAID_NAMELESS = "What the other mail server said:"
_WE_FOUND = "What we found:"
_ABOUT = "About {address}:"
_MESSAGE = "The message this is about:"
_MESSAGE_SUBJECT, _MESSAGE_TIME, _MESSAGE_ID = "Subject:", "Taken in:", "Our name:"
_CONVERSATION_HERE = (
    "Below this text is the conversation our mail server had with the other one, word for word. Whoever looks after "
    "the mail will find in it what went wrong."
)
_SIGNED = "Written without human help by the mail server {host}. A person can be reached at postmaster@{host}."
_AND_MORE = "(and {count} more; all of them are in the second part of this report)"

_UNITS = (("day", "days", 86400), ("hour", "hours", 3600), ("minute", "minutes", 60))
_LESS_THAN_A_MINUTE = "less than a minute"
_ATTEMPTS = ("once", "{count} times")

CONVERSATION_WITH = "# --- the conversation with {server} ---"
CONVERSATION_CUT = "# ... {count} lines are left out here; the server's own record {conversation} has them ..."
DESCRIPTION_WORDS = "What happened"
DESCRIPTION_CONVERSATION = "The conversation between the mail servers"
DESCRIPTION_FIELDS = "Delivery report"
DESCRIPTION_MESSAGE = "Your message"
DESCRIPTION_HEADERS = "The beginning of your message"
PREAMBLE = "This is a report about a message you sent, in MIME format."

_LISTED = 50  # recipients named in a group; a list of thousands helps nobody

# --- how they are laid out --------------------------------------------------------------------------------------


def report_subject(kind: Kind, recipients: Sequence[ReportedRecipient]) -> str:
    """The Subject of a report: what happened, and to whom."""
    one = len(recipients) == 1
    whom = printable(str(recipients[0].address)) if one else _WHOM_MANY.format(count=len(recipients))
    doubts = {recipient.outcome.doubtful for recipient in recipients} if kind == "failed" else {False}
    if doubts == {False}:
        return _SUBJECT[kind].format(whom=whom)
    return (_SUBJECT_DOUBTFUL if doubts == {True} else _SUBJECT_PARTLY_DOUBTFUL).format(whom=whom)


def report_text(
    kind: Kind,
    *,
    host: str,
    arrived: float,
    when: float,
    queue_id: str,
    subject: str,
    recipients: Sequence[ReportedRecipient],
    conversation_follows: bool,
) -> str:
    """The first part of a report, lines ending in \\n. Our own sentences keep to 74 columns."""
    blocks: list[str] = []
    for number, group in enumerate(_groups(kind, recipients)):
        if number:
            blocks.append("-" * 20)
        blocks.extend(_group_blocks(kind, group, arrived, when))
    about = [f"{_MESSAGE_TIME:9} {date_text(arrived)}", f"{_MESSAGE_ID:9} {printable(queue_id)}"]
    if subject:
        about.insert(0, f"{_MESSAGE_SUBJECT:9} {printable(subject)[:200]}")
    blocks.append("\n".join([_MESSAGE, "", *(_indented(line, 14) for line in about)]))
    if conversation_follows:
        blocks.append(_wrapped(_CONVERSATION_HERE))
    blocks.append(_wrapped(_SIGNED.format(host=printable(host))))
    return "\n\n".join(blocks) + "\n"


def _groups(kind: Kind, recipients: Sequence[ReportedRecipient]) -> list[list[ReportedRecipient]]:
    """Recipients of whom the same is to be said, together, in order of first appearance."""
    groups: dict[tuple[object, ...], list[ReportedRecipient]] = {}
    for recipient in recipients:
        told = (
            recipient.outcome.doubtful,
            _reason(kind, recipient),
            _given_up(kind, recipient) and recipient.attempts,
            recipient.will_retry_until if kind == "delayed" else None,
            recipient.notify.wants_failure,
        )
        groups.setdefault(told, []).append(recipient)
    return list(groups.values())


def _group_blocks(kind: Kind, group: list[ReportedRecipient], arrived: float, when: float) -> Iterator[str]:
    first = group[0]
    doubtful = kind == "failed" and first.outcome.doubtful
    yield "\n".join([_OPENING_DOUBTFUL if doubtful else _OPENING[kind], "", *_address_lines(group)])
    if kind not in ("failed", "delayed"):
        yield _wrapped(_SUCCESS[kind])
        yield _NOTHING_TO_DO
        return
    why, advice = _reason(kind, first)
    if kind == "delayed":
        yield _NOTHING_TO_DO
        yield _wrapped(_prospect(first))
        yield _wrapped(f"{_WHY} {_DOUBT if first.outcome.doubtful else why}")
    else:
        yield _wrapped(f"{_WHY} {_DOUBT if doubtful else why}")
        yield _wrapped(f"{_ADVICE} {_DOUBT_ADVICE if doubtful else advice}")
        yield _wrapped(_end(kind, first, arrived, when))
    yield from _evidence_blocks(group)


def _reason(kind: Kind, recipient: ReportedRecipient) -> tuple[str, str]:
    """Why, and what to do about it."""
    if kind not in ("failed", "delayed"):
        return "", ""
    subject, _, detail = status_of(kind, recipient.outcome.reply)[2:].partition(".")
    return _REASONS.get(f"{subject}.{detail}") or _REASONS_BY_SUBJECT.get(subject) or _REASON_UNKNOWN[kind]


def _given_up(kind: Kind, recipient: ReportedRecipient) -> bool:
    """Whether it failed by lasting too long, not by a refusal."""
    reply = recipient.outcome.reply
    return kind == "failed" and recipient.attempts > 0 and (reply.transient or reply.enhanced.endswith(".4.7"))


def _prospect(recipient: ReportedRecipient) -> str:
    """What still happens by itself to a delayed message."""
    until = recipient.will_retry_until
    trying = _KEEP_TRYING_OPEN if until is None else _KEEP_TRYING.format(until=date_text(until))
    told = _WILL_TELL if recipient.notify.wants_failure else _WILL_NOT_TELL
    return f"{trying} {told} {_DO_NOT_RESEND}"


def _end(kind: Kind, recipient: ReportedRecipient, arrived: float, when: float) -> str:
    if not _given_up(kind, recipient):
        return _WILL_NOT_TRY
    count = recipient.attempts
    attempts = _ATTEMPTS[0] if count == 1 else _ATTEMPTS[1].format(count=count)
    return _GAVE_UP.format(attempts=attempts, period=period_text(when - arrived))


def _evidence_blocks(group: list[ReportedRecipient]) -> Iterator[str]:
    """What the other side said, each saying once, with the server that said it; above it what that means, where more
    is known than the status code tells."""
    sayings: dict[tuple[bool, str, str], list[ReportedRecipient]] = {}
    for recipient in group:
        outcome = recipient.outcome
        server = remote_name(outcome.remote_mta) if outcome.remote_mta else ""
        sayings.setdefault((outcome.said_by_remote, server, said(outcome.reply)), []).append(recipient)
    for number, ((by_remote, server, text), whom) in enumerate(sayings.items()):
        if number >= _LISTED:
            yield _wrapped(_AND_MORE.format(count=len(sayings) - number))
            return
        head = _WE_FOUND
        if by_remote:
            head = _THEY_SAID.format(server=server) if server else _THEY_SAID_NAMELESS
        if whom[0].meaning:
            yield "\n".join([_MEANING, "", *(f"    {line}" for line in whom[0].meaning)])
        lines = [_wrapped(head), ""]
        if len(sayings) > 1 and len(whom) == 1:
            lines = [_ABOUT.format(address=printable(str(whom[0].address))), *lines]
        yield "\n".join([*lines, _indented(text)])


def _address_lines(group: list[ReportedRecipient]) -> list[str]:
    lines = [f"    {printable(str(recipient.address))}" for recipient in group[:_LISTED]]
    if len(group) > _LISTED:
        lines.append("    " + _AND_MORE.format(count=len(group) - _LISTED))
    return lines


def period_text(seconds: float) -> str:
    """A period as people say it, in the two largest units that matter: `4 days 20 hours`."""
    left = int(seconds)
    words: list[str] = []
    for one, many, size in _UNITS:
        count, left = divmod(left, size) if left > 0 else (0, 0)
        if count and len(words) < 2:
            words.append(f"{count} {one if count == 1 else many}")
        elif words:
            break  # `2 days 5 minutes` says more than anybody means
    return " ".join(words) or _LESS_THAN_A_MINUTE


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _indented(text: str, hang: int = 4) -> str:
    """Somebody else's words: indented, wrapped at spaces only."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="    ",
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
