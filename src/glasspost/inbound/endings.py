"""How a visit ended, where its replies alone do not tell: lost, cut short, or broken by a bug of ours.

Lives here: the words for the record, where an exception came from, and its line in the log. The exception's own words
are in neither log nor record: they may quote what a client sent, a password among it.
Does not live here: what the client hears, and the end of its connection (session.py).
"""

from __future__ import annotations

import traceback
from pathlib import Path

import structlog

from glasspost.protocol.smtp_server import SmtpServer
from glasspost.protocol.smtp_table import State

log = structlog.get_logger("smtp")

_HOUSE = Path(__file__).resolve().parents[1]
FRAMES_LOGGED = 12  # of the innermost calls


def how_it_ended(core: SmtpServer | None, error: Exception | None) -> str:
    """In words; empty where both said goodbye. `error`: what took the connection away."""
    if core is not None and core.state is State.CLOSED:
        return ""  # after QUIT many cut the connection instead of closing it: nothing was left to lose
    if error is not None:
        return f"lost: {((error.strerror if isinstance(error, OSError) else '') or str(error)).lower()}"
    if core is None:
        return ""
    return "hung up in the middle of a message" if core.in_message else "hung up without QUIT"


def place(error: BaseException) -> str:
    """What it is, and the innermost line of the house it came through: `KeyError at inbound/session.py:212, _run`."""
    frames = _frames(error)
    ours = [frame for frame in frames if not frame.startswith("/")] or frames
    return f"{type(error).__name__} at {ours[-1]}" if ours else type(error).__name__


def report(error: BaseException, conversation: str) -> str:
    """Log it, with the calls that led there; returns its `place`."""
    where = place(error)
    log.error("a session met a bug of ours", conversation=conversation, error=where, calls=_frames(error))
    return where


def _frames(error: BaseException) -> list[str]:
    """File, line and function of each call, outermost first; files of the house by their place in it."""
    found = []
    for frame in traceback.extract_tb(error.__traceback__)[-FRAMES_LOGGED:]:
        path = Path(frame.filename)
        name = path.relative_to(_HOUSE) if path.is_relative_to(_HOUSE) else path
        found.append(f"{name}:{frame.lineno}, {frame.name}")
    return found
