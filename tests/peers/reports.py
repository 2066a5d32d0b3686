"""Reports (RFC 3464) as somebody else reads them: Python's email package.

Lives here: taking a multipart/report apart.
Does not live here: writing one (glasspost.mail.dsn), or when there is one (the tests).
"""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

HUMAN, STATUS, ORIGINAL = 0, 1, 2


def read_report(content: bytes) -> EmailMessage:
    """A report; fails where it is not one, or its parts are not those of RFC 6522 §3."""
    report = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(report, EmailMessage)
    assert report.get_content_type() == "multipart/report", content.decode(errors="replace")
    assert report.get_param("report-type") in ("delivery-status", "global-delivery-status")
    kinds = [part.get_content_type() for part in report.iter_parts()]
    assert kinds[HUMAN] in ("text/plain", "multipart/mixed")
    assert kinds[STATUS] in ("message/delivery-status", "message/global-delivery-status")
    assert not report.defects
    return report


def said_to_people(report: EmailMessage) -> str:
    """The part that people read: the explanation, and the conversation."""
    (first, *_) = report.iter_parts()
    return "\n".join(part.get_content() for part in first.walk() if part.get_content_type() == "text/plain")


def message_facts(report: EmailMessage) -> EmailMessage:
    """The fields of a report that are about the message."""
    return _status(report)[0]


def facts(report: EmailMessage) -> dict[str, EmailMessage]:
    """The fields of a report about each recipient, by the final recipient's address."""
    groups = [group for group in _status(report)[1:] if group.keys()]
    return {group["Final-Recipient"].partition(";")[2].strip(): group for group in groups}


def _status(report: EmailMessage) -> list[EmailMessage]:
    """The groups of fields. Python knows those of RFC 3464; RFC 6533's it takes for one message with a body."""
    groups: list[EmailMessage] = list(report.iter_parts())[STATUS].get_payload()  # type: ignore[assignment]
    if len(groups) > 1:
        return groups
    others = groups[0].get_payload(decode=True).strip().split(b"\r\n\r\n")  # type: ignore[union-attr]
    return [groups[0], *(email.message_from_bytes(other, policy=email.policy.default) for other in others)]  # type: ignore[misc]
