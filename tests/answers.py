"""A server that says what a test tells it to say, on loopback: `async with Answers(RCPT="550 5.1.1 nobody")`.

Lives here: `Answers`, one answer for each verb, the same every time, or a function of the line. Commands that it was
told nothing about are answered as a willing server does.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

Answer = str | Callable[[str], str]

_WILLING: dict[str, Answer] = {
    "GREETING": "220 mx.example.org ESMTP",
    "EHLO": "250-mx.example.org\n250-PIPELINING\n250 ENHANCEDSTATUSCODES",
    "LHLO": "250-mx.example.org\n250-PIPELINING\n250 ENHANCEDSTATUSCODES",
    "HELO": "250 mx.example.org",
    "STARTTLS": "220 2.0.0 go ahead",
    "MAIL": "250 2.1.0 sender fine",
    "RCPT": "250 2.1.5 recipient fine",
    "DATA": "354 go ahead",
    "DOT": "250 2.0.0 taken",
    "RSET": "250 2.0.0 forgotten",
    "QUIT": "221 2.0.0 bye",
}


class Answers:
    """Verbs are keys; besides GREETING, DOT (after the message; in LMTP once for each RCPT taken), and RESPONSE
    (a line that goes on with AUTH). An answer "" hangs up. `heard` are the commands, `messages` what DATA brought."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, implicit: bool = False, **answers: Answer) -> None:
        self._answers = _WILLING | answers
        self._tls = tls
        self._implicit = implicit
        self._tasks: set[asyncio.Task[None]] = set()
        self.heard: list[str] = []
        self.messages: list[bytes] = []
        self.port = 0

    async def __aenter__(self) -> Answers:
        self._server = await asyncio.start_server(
            self._begin, "127.0.0.1", 0, ssl=self._tls if self._implicit else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._talk(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (OSError, EOFError):
            pass  # the client has gone, or would not have our certificate
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken, lmtp = 0, False
        code = self._say(writer, "GREETING", "")
        while code and (line := (await reader.readline()).decode().rstrip("\r\n")):
            self.heard.append(line)
            verb = "RESPONSE" if code == "334" else line.partition(" ")[0].upper()
            lmtp = lmtp or verb == "LHLO"
            code = self._say(writer, verb, line)
            if verb == "MAIL":
                taken = 0
            elif verb == "RCPT" and code.startswith("2"):
                taken += 1
            elif verb == "STARTTLS" and code == "220":
                assert self._tls is not None
                await writer.start_tls(self._tls)
            elif verb == "DATA" and code == "354":
                self.messages.append(await _message(reader))
                for _ in range(taken if lmtp else 1):
                    code = self._say(writer, "DOT", "")
            elif verb == "QUIT":
                return

    def _say(self, writer: asyncio.StreamWriter, verb: str, line: str) -> str:
        """Its code; empty where it hung up."""
        answer = self._answers.get(verb, "500 5.5.1 what?")
        text = answer if isinstance(answer, str) else answer(line)
        writer.write("".join(f"{one}\r\n" for one in text.split("\n") if one).encode())
        return text[:3]


async def _message(reader: asyncio.StreamReader) -> bytes:
    """A message up to its dot, as it is on the wire."""
    lines = []
    while (line := await reader.readline()) != b".\r\n":
        if not line:
            raise EOFError
        lines.append(line)
    return b"".join(lines)
