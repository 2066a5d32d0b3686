"""What each verb of an SMTP client means: its argument read, and what it asks of the house.

Lives here: one function for each row of smtp_table.py. It gives the event that asks, or has the core refuse.
Does not live here: whether the verb may come at all (smtp_server.py asks the table first), the grammar of paths and
parameters (grammar.py, smtp_parameters.py), what a positive answer leads to (smtp_server.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from glasspost.mail import reply as say
from glasspost.mail.envelope import BodyType
from glasspost.mail.reply import Reply
from glasspost.protocol.grammar import Fault
from glasspost.protocol.smtp_events import Data, Event, Expand, Hello, Left, Mail, Rcpt, StartTls, Verify, XClient
from glasspost.protocol.smtp_leniency import NAME_LIMIT, Leniency, hello_name, with_brackets
from glasspost.protocol.smtp_parameters import read_mail, read_rcpt
from glasspost.protocol.smtp_table import TABLE, State, help_overview, help_page
from glasspost.protocol.smtp_xclient import read_xclient

if TYPE_CHECKING:
    from glasspost.protocol.smtp_server import SmtpServer

_BDAT = re.compile(r"([0-9]{1,12})( +LAST)?", re.IGNORECASE | re.ASCII)


def _ehlo(core: SmtpServer, argument: str, verb: str = "EHLO") -> Event | None:
    if not argument or not argument.isascii() or not argument.isprintable() or len(argument) > NAME_LIMIT:
        if core.forgives(Leniency.HELLO_NAME):
            core.repaired(Leniency.HELLO_NAME, f"{verb} without a name, or with none that can be used")
            return Hello(verb, hello_name(argument))
        return core.refuse(say.SYNTAX.saying(syntax=TABLE[verb].syntax))
    return Hello(verb, argument)


def _helo(core: SmtpServer, argument: str) -> Event | None:
    return _ehlo(core, argument, "HELO")


def _lhlo(core: SmtpServer, argument: str) -> Event | None:
    return _ehlo(core, argument, "LHLO")


def _mail(core: SmtpServer, argument: str) -> Event | None:
    limit = core.settings.max_transactions
    if limit and core.transactions >= limit:
        core.close(say.TOO_MANY_TRANSACTIONS)
        return Left()
    found = read_mail(_path_argument(core, argument), core.settings.max_size, utf8=core.settings.smtputf8, tls=core.tls)
    if isinstance(found, Reply):
        return core.refuse(found)
    return Mail(found)


def _path_argument(core: SmtpServer, argument: str) -> str:
    """The argument of MAIL or RCPT, with the brackets that a device left out."""
    if not core.forgives(Leniency.BRACKETS) or (mended := with_brackets(argument)) is None:
        return argument
    core.repaired(Leniency.BRACKETS, f"read as {mended}")
    return mended


def _rcpt(core: SmtpServer, argument: str) -> Event | None:
    assert core.envelope is not None
    found = read_rcpt(_path_argument(core, argument), utf8=core.envelope.smtputf8)
    if isinstance(found, Reply):
        return core.refuse(found)
    if len(core.envelope.recipients) >= core.settings.max_recipients:
        return core.refuse(say.TOO_MANY_RECIPIENTS, count=False)
    return Rcpt(found)


def _data(core: SmtpServer, argument: str) -> Event | None:
    assert core.envelope is not None
    if argument:
        return core.refuse(say.NO_ARGUMENT.saying(verb="DATA"))
    if core.envelope.body is BodyType.BINARY:
        return core.refuse(say.BINARY_NEEDS_BDAT)
    return Data()


def _bdat(core: SmtpServer, argument: str) -> Event | None:
    """RFC 3030 §2. A chunk that may not come is read all the same, and refused behind its last octet."""
    match = _BDAT.fullmatch(argument)
    if match is None:
        return core.refuse(say.SYNTAX.saying(syntax=TABLE["BDAT"].syntax))
    core.begin_chunk(int(match[1]), last=match[2] is not None)
    return None


def _rset(core: SmtpServer, argument: str) -> Event | None:
    if argument:
        return core.refuse(say.NO_ARGUMENT.saying(verb="RSET"))
    core.chat.say(say.RESET.encode())
    return core.abandon()


def _noop(core: SmtpServer, argument: str) -> None:
    core.chat.say(say.OK.encode())


def _help(core: SmtpServer, argument: str) -> Event | None:
    verb = argument.strip().upper()
    if verb and (verb not in TABLE or not core.offers(verb)):
        return core.unknown(verb)
    text = help_page(verb) if verb else help_overview(core.offers)
    core.chat.say(say.HELP.saying(text=text).encode())
    return None


def _quit(core: SmtpServer, argument: str) -> Event | None:
    if argument:
        return core.refuse(say.NO_ARGUMENT.saying(verb="QUIT"))
    core.chat.say(say.BYE.encode())
    core.state = State.CLOSED
    return Left()


def _vrfy(core: SmtpServer, argument: str) -> Event | None:
    return Verify(argument) if argument else core.refuse(say.SYNTAX.saying(syntax=TABLE["VRFY"].syntax))


def _expn(core: SmtpServer, argument: str) -> Event | None:
    return Expand(argument) if argument else core.refuse(say.SYNTAX.saying(syntax=TABLE["EXPN"].syntax))


def _starttls(core: SmtpServer, argument: str) -> Event | None:
    """Octets behind the line would cross into TLS: the conversation ends (DESIGN law 6)."""
    if argument:
        return core.refuse(say.NO_ARGUMENT.saying(verb="STARTTLS"))
    if core.tls:
        return core.refuse(say.BAD_SEQUENCE.saying(advice="TLS is already on"))
    if core.chat.unread:
        core.close(say.TLS_INJECTED)
        return Left()
    return StartTls()


def _auth(core: SmtpServer, argument: str) -> Event | None:
    if core.signed_in:
        return core.refuse(say.BAD_SEQUENCE.saying(advice="You are signed in already"))
    return core.go_on_signing_in(core.introduction.auth(argument, tls=core.tls))


def _xclient(core: SmtpServer, argument: str) -> Event | None:
    found = read_xclient(argument)
    if isinstance(found, Fault):
        return core.refuse(say.BAD_PARAMETER.saying(parameter="XCLIENT", fault=found.reason))
    return XClient(found)


HEAR: dict[str, Callable[[SmtpServer, str], Event | None]] = {
    "EHLO": _ehlo,
    "HELO": _helo,
    "LHLO": _lhlo,
    "MAIL": _mail,
    "RCPT": _rcpt,
    "DATA": _data,
    "BDAT": _bdat,
    "RSET": _rset,
    "NOOP": _noop,
    "HELP": _help,
    "QUIT": _quit,
    "VRFY": _vrfy,
    "EXPN": _expn,
    "STARTTLS": _starttls,
    "AUTH": _auth,
    "XCLIENT": _xclient,
}
