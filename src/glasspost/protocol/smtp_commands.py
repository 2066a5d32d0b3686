"""How the client writes a transaction's envelope: MAIL and RCPT with their parameters.

Lives here: which parameters a message needs and a server takes, what makes a message impossible to send there,
and the commands' text (RFC 5321 §4.1.1.2, §4.1.1.3, RFC 1870, RFC 3030, RFC 3461, RFC 6152, RFC 6531, RFC 6533,
RFC 8689).
Does not live here: when they are sent and what the server answers (smtp_client.py); how a server reads them
(grammar.py); xtext (mail/xtext.py).
"""

from __future__ import annotations

import re

from glasspost.mail import reply as replies
from glasspost.mail.address import Address, a_label
from glasspost.mail.envelope import BodyType, Envelope, Recipient
from glasspost.mail.reply import Reply
from glasspost.mail.xtext import xtext
from glasspost.protocol.smtp_replies import Capabilities

# QCHAR and EmbeddedUnicodeChar of utf-8-addr-xtext (RFC 6533 §3): "\x{HEX}" stands for what is no QCHAR.
_NOT_QCHAR = re.compile(r"\\(?!x\{[0-9A-F]{2,6}\})|[^!-*,-<>-~]")


def impossible(
    envelope: Envelope, eight_bit: bool, offered: Capabilities, server: str, send_eight_bit: bool
) -> Reply | None:
    """Why this server cannot take this message for anybody; None where it can.

    `eight_bit`: the content has octets over 127. `send_eight_bit`: send such content also where 8BITMIME is
    not offered, as nearly every server passes it on unharmed, instead of giving up.
    """
    if offered.size and envelope.declared_size > offered.size:  # RFC 1870 §6.1
        return replies.TOO_LARGE_FOR_REMOTE.saying(server=server, limit=offered.size, size=envelope.declared_size)
    if not offered.smtputf8 and (
        _only_with_utf8(envelope.reverse_path)
        # Headers may be international at any depth (RFC 6531 §3.2); without an octet over 127 none is.
        or (envelope.smtputf8 and eight_bit)
    ):
        return replies.NEEDS_REMOTE_SMTPUTF8.saying(server=server)
    if envelope.body is BodyType.BINARY:
        return None if offered.binary else replies.NEEDS_REMOTE_BINARY.saying(server=server)
    if eight_bit and not (offered.eight_bit or send_eight_bit):  # RFC 6152 §3
        return replies.NEEDS_REMOTE_8BIT.saying(server=server)
    return None


def impossible_recipient(recipient: Recipient, offered: Capabilities, server: str) -> Reply | None:
    """Why this server cannot take this one recipient; None where it can."""
    if not offered.smtputf8 and _only_with_utf8(recipient.address):
        return replies.NEEDS_REMOTE_SMTPUTF8.saying(server=server)
    return None


def mail_line(envelope: Envelope, eight_bit: bool, offered: Capabilities) -> str:
    """The MAIL command, with what this message needs of what the server offers."""
    line = f"MAIL FROM:<{_path(envelope.reverse_path, offered)}>"
    if not offered.extended:
        return line + "\r\n"
    if offered.size_offered and envelope.declared_size:
        line += f" SIZE={envelope.declared_size}"
    if envelope.body is BodyType.BINARY:
        line += " BODY=BINARYMIME"
    elif offered.eight_bit and (eight_bit or envelope.body is BodyType.EIGHT_BIT):
        line += " BODY=8BITMIME"
    if offered.smtputf8 and _needs_utf8(envelope, eight_bit):
        line += " SMTPUTF8"
    if envelope.requiretls and offered.requiretls:
        line += " REQUIRETLS"
    if offered.dsn:
        if envelope.ret:
            line += f" RET={envelope.ret}"
        if envelope.envid:
            line += f" ENVID={xtext(envelope.envid)}"
    return line + "\r\n"


def rcpt_line(recipient: Recipient, offered: Capabilities) -> str:
    """One RCPT command, with the sender's DSN wishes where the server takes them (RFC 3461 §5.2.1)."""
    address = recipient.address
    text = str(address) if address.local.isascii() and address.domain.isascii() else _path(address, offered)
    if not offered.dsn or not (recipient.notify or recipient.orcpt):
        return f"RCPT TO:<{text}>\r\n"
    line = f"RCPT TO:<{text}>"
    if recipient.notify:
        line += f" NOTIFY={recipient.notify}"
    if recipient.orcpt:
        line += f" ORCPT={_orcpt(recipient.orcpt)}"
    return line + "\r\n"


def _orcpt(orcpt: str) -> str:
    """An original recipient: its type, and its address in xtext, or in the ASCII form of the type `utf-8`."""
    kind, _, address = orcpt.partition(";")
    if kind.lower() == "utf-8" or not address.isascii():
        return "utf-8;" + _NOT_QCHAR.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", address)
    return f"{kind};{xtext(address)}"


def _needs_utf8(envelope: Envelope, eight_bit: bool) -> bool:
    """Whether SMTPUTF8 is to be said. RFC 6531 §3.4: not where neither envelope nor content needs it."""
    if envelope.smtputf8 and eight_bit:
        return True
    if envelope.reverse_path is not None and envelope.reverse_path.needs_utf8:
        return True
    return any(recipient.address.needs_utf8 for recipient in envelope.recipients)


def _only_with_utf8(path: Address | None) -> bool:
    """Whether a path cannot be written without SMTPUTF8. A domain can, by its A-labels (RFC 6531 §3.2)."""
    if path is None or not path.needs_utf8:
        return False
    return not (path.local.isascii() and a_label(path.domain).isascii())


def _path(path: Address | None, offered: Capabilities) -> str:
    if path is None:
        return ""
    if path.needs_utf8 and not offered.smtputf8:
        return str(path._replace(domain=a_label(path.domain)))
    return str(path)
