"""The arguments of MAIL and RCPT: path and ESMTP parameters to envelope values, or to the refusal they deserve.

Lives here: what SIZE, BODY, SMTPUTF8, RET, ENVID, AUTH, REQUIRETLS, NOTIFY and ORCPT mean (RFC 1870, 6152, 3030, 6531,
3461, 4954; RFC 8689 §4.3).
Does not live here: how a path is written (grammar.py), when a command may come (smtp_table.py).
"""

from __future__ import annotations

from glasspost.mail import reply as say
from glasspost.mail.envelope import BodyType, Envelope, Notify, Recipient
from glasspost.mail.reply import Reply
from glasspost.protocol.grammar import Fault, read_original_recipient, read_parameters, read_path, read_xtext
from glasspost.protocol.smtp_table import TABLE


def read_mail(argument: str, max_size: int, *, utf8: bool, tls: bool = False) -> Envelope | Reply:
    """MAIL's argument as an envelope without recipients. `utf8`: SMTPUTF8 is offered; `tls`: TLS is on, and REQUIRETLS
    offered. RFC 5321 §4.1.1.2."""
    if argument[:5].upper() != "FROM:":
        return say.SYNTAX.saying(syntax=TABLE["MAIL"].syntax)
    path = read_path(argument[5:], null=True)
    if isinstance(path, Fault):
        return say.BAD_SENDER.saying(fault=path.reason)
    sender, rest = path
    envelope = Envelope(sender)
    if rest:
        parameters = read_parameters(rest)
        if isinstance(parameters, Fault):
            return say.BAD_PARAMETER.saying(parameter="MAIL", fault=parameters.reason)
        for keyword, value in parameters.items():
            refusal = _take_mail_parameter(envelope, keyword, value, max_size, utf8=utf8, tls=tls)
            if refusal is not None:
                return refusal
    if sender is not None and sender.needs_utf8 and not envelope.smtputf8:
        return say.NEEDS_SMTPUTF8
    if sender is not None and not sender.domain:
        return say.BAD_SENDER.saying(fault="there is no @ and no domain")
    return envelope


def _take_mail_parameter(
    envelope: Envelope, keyword: str, value: str | None, max_size: int, *, utf8: bool, tls: bool
) -> Reply | None:
    """Put one parameter into the envelope, or say why not."""
    match keyword:
        case "SIZE":
            if value is None or not value.isascii() or not value.isdigit() or len(value) > 20:
                return say.BAD_PARAMETER.saying(parameter="SIZE", fault="it must be a number of octets")
            envelope.declared_size = int(value)
            if envelope.declared_size > max_size:
                return say.MESSAGE_TOO_LARGE.saying(limit=max_size)
        case "BODY":
            try:
                envelope.body = BodyType((value or "").upper())
            except ValueError:
                return say.BAD_PARAMETER.saying(parameter="BODY", fault="it must be 7BIT, 8BITMIME or BINARYMIME")
        case "SMTPUTF8" if utf8:
            if value is not None:
                return say.BAD_PARAMETER.saying(parameter="SMTPUTF8", fault="it takes no value")
            envelope.smtputf8 = True
        case "REQUIRETLS" if tls:
            if value is not None:
                return say.BAD_PARAMETER.saying(parameter="REQUIRETLS", fault="it takes no value")
            envelope.requiretls = True
        case "RET":
            envelope.ret = (value or "").upper()
            if envelope.ret not in ("FULL", "HDRS"):
                return say.BAD_PARAMETER.saying(parameter="RET", fault="it must be FULL or HDRS")
        case "ENVID":
            decoded = read_xtext(value or "")
            if isinstance(decoded, Fault) or not 0 < len(value or "") <= 100:
                fault = decoded.reason if isinstance(decoded, Fault) else "it must have 1 to 100 characters"
                return say.BAD_PARAMETER.saying(parameter="ENVID", fault=fault)
            envelope.envid = decoded
        case "AUTH":
            # RFC 4954 §5: who first submitted the message, as a relay claims. Taken and not believed.
            if not value:
                return say.BAD_PARAMETER.saying(parameter="AUTH", fault="it must be an address or <>")
        case _:
            return say.UNKNOWN_PARAMETER.saying(parameter=keyword)
    return None


def read_rcpt(argument: str, *, utf8: bool) -> Recipient | Reply:
    """RCPT's argument as a recipient. `utf8`: the transaction said SMTPUTF8. RFC 5321 §4.1.1.3."""
    if argument[:3].upper() != "TO:":
        return say.SYNTAX.saying(syntax=TABLE["RCPT"].syntax)
    path = read_path(argument[3:], null=False)
    if isinstance(path, Fault):
        return say.BAD_RECIPIENT.saying(fault=path.reason)
    address, rest = path
    assert address is not None
    if address.needs_utf8 and not utf8:
        return say.NEEDS_SMTPUTF8
    recipient = Recipient(address)
    if rest:
        parameters = read_parameters(rest)
        if isinstance(parameters, Fault):
            return say.BAD_PARAMETER.saying(parameter="RCPT", fault=parameters.reason)
        for keyword, value in parameters.items():
            refusal = _take_rcpt_parameter(recipient, keyword, value)
            if refusal is not None:
                return refusal
    return recipient


def _take_rcpt_parameter(recipient: Recipient, keyword: str, value: str | None) -> Reply | None:
    match keyword:
        case "NOTIFY":
            notify = _read_notify(value or "")
            if notify is None:
                return say.BAD_PARAMETER.saying(
                    parameter="NOTIFY", fault="it must be NEVER, or some of SUCCESS,FAILURE,DELAY"
                )
            recipient.notify = notify
        case "ORCPT":
            original = read_original_recipient(value or "")
            if isinstance(original, Fault) or len(value or "") > 500:
                fault = original.reason if isinstance(original, Fault) else "it is longer than 500 characters"
                return say.BAD_PARAMETER.saying(parameter="ORCPT", fault=fault)
            recipient.orcpt = original
        case _:
            return say.UNKNOWN_PARAMETER.saying(parameter=keyword)
    return None


_WISHES = {"SUCCESS": Notify.SUCCESS, "FAILURE": Notify.FAILURE, "DELAY": Notify.DELAY}


def _read_notify(value: str) -> Notify | None:
    """NOTIFY's value (RFC 3461 §4.1): NEVER stands alone, the others may be joined, each once."""
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return Notify.NEVER
    notify = Notify.UNSET
    for word in words:
        flag = _WISHES.get(word)
        if flag is None or flag in notify:
            return None
        notify |= flag
    return notify
