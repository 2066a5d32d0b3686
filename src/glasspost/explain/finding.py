"""What was found in a pasted text: one reply or failure, and what is known around it.

Lives here: the value that the readers of reports, logs and bounces give.
Does not live here: the readers (finder.py and report_fields.py, log_lines.py, bounce_text.py), the meaning
(explainer.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

# What stands around a server's words and is not theirs: who said it, in reply to what, and who gave up.
_AROUND = (
    re.compile(r"^\((.*)\)$", re.DOTALL),
    re.compile(r"^(.*?)\s*\(in reply to [^()]*\)?\)?$", re.DOTALL),
    re.compile(r"^(.*?)\s*Giving up on \S+$", re.DOTALL),
    re.compile(r"^(?:host|server) \S+(?: \S+)? (?:said|says|refused to talk to me): (.*)$", re.DOTALL),
    re.compile(
        r"^(?:.*?\s)?SMTP error from remote (?:mail server|mailer) after [^:]+(?::<[^>]*>[^:]*)?:\s*"
        r"(?:host \S+ \[[^\]]*\]:\s*)?(.*)$",
        re.DOTALL,
    ),
    re.compile(r"^(?:.*\s)?Remote host said:\s*(.*)$", re.DOTALL),
    re.compile(r"^#\s*(.*?)[\s#]*$", re.DOTALL),
)

LONGEST = 4000  # characters of a reply that are looked at; RFC 5321 §4.5.3.1.5 gives a line 512


@dataclass(frozen=True, slots=True)
class Finding:
    """`text`: the server's words, or the failure. `place`: report, log, bounce or text. `line`: where it stood, from 1.
    `recipient`, `action` (RFC 3464 §2.3.3), `status` (an enhanced code told beside the words) and `server` (who said
    it) are empty where they are not told."""

    text: str
    place: str
    line: int = 1
    recipient: str = ""
    action: str = ""
    status: str = ""
    server: str = ""

    def bare(self) -> Finding:
        """The same without what a program put around the server's words."""
        text = self.text.strip()[:LONGEST]
        before = ""
        while before != text:
            before = text
            for around in _AROUND:
                found = around.match(text)
                if found and found[1]:
                    text = found[1].strip()
        return replace(self, text=text)
