"""Signing in at another server, on a connection that stands (RFC 4954).

Lives here: what a sign-in needs, and what its failure means for the mail.
Does not live here: what is said (protocol/sasl_client.py), where tokens come from (bearer.py).

The message is never to blame: it waits until the settings, or the provider, are put right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from glasspost.errors import GlasspostError
from glasspost.ip import is_loopback
from glasspost.mail import reply as replies
from glasspost.mail.reply import Reply
from glasspost.net.token_endpoint import TokenDelayed
from glasspost.outbound.conversation import Conversation
from glasspost.outbound.errand import Setback, ours, refused

if TYPE_CHECKING:
    from glasspost.outbound.bearer import Bearer
    from glasspost.outbound.routes import Route


async def sign_in(conversation: Conversation, route: Route, bearers: Mapping[str, Bearer]) -> Setback | None:
    """AUTH, as the route says. A secret goes over TLS, or does not leave the machine. None where it worked."""
    client, server = conversation.client, conversation.server
    if not client.secure and not is_loopback(conversation.peer[0]):
        fault = "passwords travel only encrypted"
        return ours(conversation, replies.SIGN_IN_IMPOSSIBLE.saying(server=server, fault=fault))
    client.only_mechanism = route.mechanism
    if not (client.token_mechanism if route.oauth else conversation.can_sign_in()):
        offered = ", ".join(client.offered.auth) or "no AUTH"
        return ours(conversation, replies.SIGN_IN_IMPOSSIBLE.saying(server=server, fault=f"it offers {offered}"))
    if route.oauth:
        bearer = bearers.get(route.oauth)
        if bearer is None:  # a reload has taken it away since the route was made
            fault = "there is no such [[oauth_client]] any more"
            return ours(conversation, replies.TOKEN_MISSING.saying(name=route.oauth, fault=fault))
        reply = await _by_token(conversation, route, bearer)
        if isinstance(reply, Setback):
            return reply
    else:
        reply = await conversation.sign_in(route.username, route.password)
    if reply.code // 100 == 2:
        return None
    if client.broken is not None:
        return refused(conversation, reply)
    # The other hosts are not asked after a final no: they would refuse as well, and lock the account in the end.
    setback = ours(conversation, replies.SIGN_IN_REFUSED.saying(server=server, fault=str(reply)))
    setback.conclusive = reply.permanent
    return setback


async def _by_token(conversation: Conversation, route: Route, bearer: Bearer) -> Reply | Setback:
    """With the token that we have; once more with a new one where the server refuses that for good."""
    try:
        token = await bearer.token()
        reply = await conversation.sign_in_by_token(route.username, token)
        if reply.permanent and conversation.client.broken is None:
            newer = await bearer.renewed(token)
            if newer != token and conversation.is_open:
                conversation.recording.note("the token was refused; here is a new one")
                return await conversation.sign_in_by_token(route.username, newer)
    except GlasspostError as error:
        told = replies.TOKEN_DELAYED if isinstance(error, TokenDelayed) else replies.TOKEN_MISSING
        setback = ours(conversation, told.saying(name=route.oauth, fault=str(error)))
        setback.conclusive = True  # the other hosts take the same token
        return setback
    return reply
