"""Mail that demands TLS: which ways it may go, and what it means where a server cannot give what it demands.

Lives here: REQUIRETLS for a sending server (RFC 8689 §4.2.1, §5).
Does not live here: how the demand comes in (protocol/smtp_parameters.py), TLS itself and what it proves (remote.py),
what a report on such mail repeats (storage/spooled.py, reports.py).

Such mail goes to servers only that TLS has proved, and that offer REQUIRETLS themselves. What is proved is the name in
the certificate, so the name must be sure as well: that of a smarthost, or one that the postmaster has written down for
the destination. MX records alone come over the unprotected DNS, and are not enough (RFC 8689 §2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from glasspost.mail import reply as replies
from glasspost.mail.envelope import Outcome, Verdict
from glasspost.outbound.conversation import Conversation
from glasspost.outbound.errand import Setback, ours
from glasspost.outbound.routes import Route

if TYPE_CHECKING:
    from glasspost.storage.spooled import Message


def ways(message: Message, route: Route) -> tuple[Route, ...]:
    """The route for a message as it must be taken, and then how else it may be; none where it must not go at all.

    A report about such mail is not thrown away where its way is unsafe (RFC 8689 §5): it goes as other mail then, and
    repeats no more than the header.
    """
    if not message.requiretls:
        return (route,)
    strict = (replace(route, tls="verify", requiretls=True),) if route.names_are_sure else ()
    return strict if message.reverse_path is not None else (*strict, route)


def nowhere(route: Route) -> Outcome:
    """The outcome for mail that has no way."""
    domain = route.key.partition(":")[2]
    fault = f"which servers take mail for {domain} is known from the unprotected DNS only"
    return Outcome(Verdict.FAILED, replies.REQUIRETLS_UNPROVED.saying(fault=fault))


def lacking(conversation: Conversation, route: Route) -> Setback | None:
    """Why a server that TLS has proved is not good enough for this route; None where it is."""
    if not route.requiretls or conversation.client.offered.requiretls:
        return None
    return ours(conversation, replies.REQUIRETLS_MISSING.saying(server=conversation.server))


def judged(setback: Setback, route: Route) -> Setback:
    """A setback as it counts on this route: where proof is demanded, a server that has none will not get the mail
    later either (RFC 8689 §4.2.1)."""
    if not (route.requiretls and setback.unproved):
        return setback
    reply = replies.REQUIRETLS_UNPROVED.saying(fault=setback.outcome.reply.text)
    return replace(setback, outcome=replace(setback.outcome, verdict=Verdict.FAILED, reply=reply))
