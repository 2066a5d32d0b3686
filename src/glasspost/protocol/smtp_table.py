"""SMTP as a table: every verb, when it may come, whether policy is asked, where it leads.

Everything that decides whether a command may come, and what it does to the state, is in this file. It does not know
how a command is parsed (grammar.py), who answers (inbound/), or that there are sockets. `HELP` is printed from here.

The states are RFC 5321 §4.1.4's order of commands, given names. Waiting for a verdict is not a state: it is a flag of
the core (`owed`), since it can happen in most of them and changes nothing in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum


class State(Enum):
    FRESH = "connected, not greeted"  # also right after TLS began: everything before is forgotten
    READY = "greeted, no transaction"
    SENDER = "MAIL was accepted"
    RECIPIENTS = "at least one RCPT was accepted"
    CHUNKS = "at least one BDAT was accepted, none was the last"
    BODY = "DATA was accepted, the message flows"  # no verb can come: all is body until CR LF . CR LF
    SIGNING_IN = "a sign-in exchange is under way"  # no verb can come: each line belongs to the exchange
    CLOSED = "nothing is heard any more"

    __hash__ = object.__hash__  # each is the only one of its kind: the words need not be looked at for every command


_ANY = frozenset({State.FRESH, State.READY, State.SENDER, State.RECIPIENTS, State.CHUNKS})


@dataclass(frozen=True, slots=True)
class Row:
    """One verb. `then` is the state after a positive answer; None leaves it. A refusal never changes the state."""

    verb: str
    states: frozenset[State]
    asks: bool  # somebody above the core must answer
    then: State | None
    syntax: str
    purpose: str
    section: str
    more: tuple[str, ...] = ()


TABLE: dict[str, Row] = {
    row.verb: row
    for row in (
        Row(
            "EHLO", _ANY, True, State.READY, "EHLO domain", "say hello and ask what this server can do",
            "RFC 5321 §4.1.1.1",
            ("The domain is your own name, or your address in brackets: EHLO [192.0.2.1].",
             "Ends a transaction that is under way."),
        ),
        Row(
            "HELO", _ANY, True, State.READY, "HELO domain", "say hello in the old way, without extensions",
            "RFC 5321 §4.1.1.1", ("For the simplest of clients; everything a telnet session needs.",),
        ),
        Row(
            "LHLO", _ANY, True, State.READY, "LHLO domain", "say hello, as EHLO does, where LMTP is spoken",
            "RFC 2033 §4.1",
            ("Behind the message comes one reply for each recipient that was accepted.",),
        ),
        Row(
            "MAIL", frozenset({State.READY}), True, State.SENDER, "MAIL FROM:<address> [parameters]",
            "begin a message; failures are reported to this address", "RFC 5321 §4.1.1.2",
            ("MAIL FROM:<> begins a report, which itself is never reported about.",
             "SIZE=octets  BODY=7BIT|8BITMIME|BINARYMIME  SMTPUTF8  RET=FULL|HDRS  ENVID=text",
             "REQUIRETLS, under TLS: never in the clear, on no hop, or back to the sender.",
             "After it: RCPT, one for each recipient."),
        ),
        Row(
            "RCPT", frozenset({State.SENDER, State.RECIPIENTS}), True, State.RECIPIENTS,
            "RCPT TO:<address> [parameters]", "name one recipient; say it again for each of them",
            "RFC 5321 §4.1.1.3",
            ("Each recipient is accepted or refused for itself.",
             "NOTIFY=NEVER or NOTIFY=SUCCESS,FAILURE,DELAY  ORCPT=rfc822;address",
             "After it: more RCPT, then DATA."),
        ),
        Row(
            "DATA", frozenset({State.RECIPIENTS}), True, State.BODY, "DATA", "send the message, header and body",
            "RFC 5321 §4.1.1.4",
            ("The answer is 354. Then send the header, an empty line, the text.",
             "A dot on a line of its own ends it; a line that begins with a dot gets one more in front.",
             "The 250 that follows means: the message is safe on disk."),
        ),
        Row(
            "BDAT", frozenset({State.RECIPIENTS, State.CHUNKS}), True, State.CHUNKS, "BDAT octets [LAST]",
            "send the message in counted pieces", "RFC 3030 §2",
            ("The octets follow the line at once; no dots are added or taken off.",
             "LAST ends the message; BDAT 0 LAST is allowed."),
        ),
        Row("RSET", _ANY, False, None, "RSET", "forget the transaction under way", "RFC 5321 §4.1.1.5"),
        Row("NOOP", _ANY, False, None, "NOOP [anything]", "do nothing, and say OK", "RFC 5321 §4.1.1.9"),
        Row("QUIT", _ANY, False, State.CLOSED, "QUIT", "say goodbye", "RFC 5321 §4.1.1.10"),
        Row(
            "VRFY", _ANY, True, None, "VRFY address", "ask whether an address exists", "RFC 5321 §4.1.1.6",
            ("By default nobody is told (252): address collectors would ask all day.",),
        ),
        Row(
            "EXPN", _ANY, True, None, "EXPN list", "ask who is behind an alias", "RFC 5321 §4.1.1.7",
            ("By default not offered (502).",),
        ),
        Row("HELP", _ANY, False, None, "HELP [command]", "list the commands, or explain one", "RFC 5321 §4.1.1.8"),
        Row(
            "STARTTLS", frozenset({State.READY}), True, State.FRESH, "STARTTLS", "go on encrypted",
            "RFC 3207 §4", ("After the 220 the TLS handshake begins; then say EHLO again.",),
        ),
        Row(
            "AUTH", frozenset({State.READY}), True, State.READY, "AUTH mechanism [initial-response]", "sign in",
            "RFC 4954 §4", ("EHLO lists the mechanisms. A lone * cancels.",),
        ),
        Row(
            "XCLIENT", frozenset({State.FRESH, State.READY}), True, State.FRESH, "XCLIENT attribute=value [...]",
            "say on whose behalf you speak, as a proxy", "Postfix XCLIENT_README",
            ("NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT, as xtext or [UNAVAILABLE].",
             "The answer is a new greeting; then say EHLO again."),
        ),
    )
}  # fmt: skip


def needs_only_a_hello(verb: str, state: State) -> bool:
    """Whether a verb that may not come in `state` could, had the client said EHLO or HELO."""
    return state is State.FRESH and State.READY in TABLE[verb].states


def advice(verb: str, state: State, *, lmtp: bool = False) -> str:
    """What to say instead, when `verb` may not come in `state`: the text of a 503."""
    if state is State.FRESH:
        return "Say LHLO first" if lmtp else "Say EHLO or HELO first"
    if verb in ("STARTTLS", "AUTH", "XCLIENT"):
        return f"{verb} cannot come within a transaction; say RSET first"
    if verb == "MAIL":
        return "A transaction is under way; finish it or say RSET"
    if verb == "RCPT" and state is State.READY:
        return "Say MAIL first"
    if verb in ("DATA", "BDAT") and state is State.READY:
        return "Say MAIL and RCPT first"
    if verb in ("DATA", "BDAT") and state is State.SENDER:
        return "Say RCPT first"
    return "This message is being sent with BDAT; go on with BDAT, or say RSET"


def nearest(verbs: Iterable[str], word: str) -> str:
    """The one of these verbs that a mistyped word may have meant; empty where none is near."""
    return next(iter(get_close_matches(word.upper()[:12], list(verbs), 1, 0.6)), "")


def help_overview(offered: Callable[[str], bool]) -> str:
    """The text of HELP: every command that is offered here on a line."""
    lines = [f"{row.verb:<9}{row.purpose}" for row in TABLE.values() if offered(row.verb)]
    return "\n".join(["Commands:", *lines, "HELP and a command explains that command"])


def help_page(verb: str) -> str:
    """The text of HELP with a command."""
    row = TABLE[verb]
    return "\n".join(
        [
            row.syntax,
            f"{row.purpose[0].upper()}{row.purpose[1:]}.",
            *row.more,
            f"({row.section.replace('§', 'section ')})",
        ]
    )
