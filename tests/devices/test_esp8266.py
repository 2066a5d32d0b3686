"""examples/esp8266: an ESP8266 sends mail, and never claims more than the server said.

Lives here: what arrives, and what the program says of it, on every MicroPython there is.
Does not live here: how the devices and servers are made (boards.py, counterparts.py).
"""

from __future__ import annotations

import ast
import email
import email.policy
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from boards import EXAMPLE, MODULES, Device, Source, mpy_cross
from counterparts import Server, acting, aiosmtpd_server, knows

MAIL = {
    "sender": "cellar@example.org",
    "recipients": ["anna@example.org", "ben@example.org"],
    "subject": "Cellar",
    "lines": ["All is dry."],
}
ONE = {**MAIL, "recipients": ["anna@example.org"]}

# What MicroPython's ESP8266 port has, of all that the example might use.
BOARD = {
    "binascii": {"a2b_base64", "b2a_base64", "hexlify", "unhexlify"},
    "network": {"STA_IF", "WLAN"},
    "ntptime": {"host", "settime"},
    "socket": {"SOCK_STREAM", "getaddrinfo", "socket"},
    "time": {"gmtime", "localtime", "sleep", "sleep_ms", "ticks_diff", "ticks_ms", "time"},
    "send_mail": {"MailError", "send_mail"},
    "wifi": {"join", "set_clock"},
}


# --- for the board ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
def test_compiles_for_the_esp8266(module: str, tmp_path: Path) -> None:
    done = mpy_cross(module, tmp_path / "out.mpy")
    assert done.returncode == 0, done.stderr
    code = (tmp_path / "out.mpy").read_bytes()
    assert code[:2] == b"M\x06"  # version 6: every MicroPython since 1.19
    assert len(code) < 6_000


@pytest.mark.parametrize("module", MODULES)
def test_uses_only_what_the_board_has(module: str) -> None:
    tree = ast.parse((EXAMPLE / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= BOARD.keys()
        elif isinstance(node, ast.ImportFrom):
            assert {alias.name for alias in node.names} <= BOARD[node.module or ""]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in BOARD:
            assert node.attr in BOARD[node.value.id], f"{node.value.id}.{node.attr}"


async def test_the_whole_example_runs(board: Device, smtp_server: Server) -> None:
    """Join the Wi-Fi, set the clock, send: main.py, with our server in place of its own."""
    said = await board.run(
        "import send_mail, wifi\n"
        "real = send_mail.send_mail\n"
        "def to_us(host, *words, **more):\n"
        f"    return real({smtp_server.host!r}, *words, port={smtp_server.port}, **more)\n"
        "send_mail.send_mail = to_us\n"
        "import network, main\n"
        "print(network.joined)\n"
        "print(wifi.set_clock(), wifi.set_clock('127.0.0.1'))\n"
        "network.WLAN.looks = 0\n"
        "try:\n    wifi.join('nowhere', '', seconds=0.1)\nexcept OSError as error:\n    print(error)\n"
    )
    (letter,) = await smtp_server.arrived()
    assert letter.recipients == ["anna@example.org", "ben@example.org"]
    assert letter.content.endswith(b"\r\n\r\nThe door was opened.\r\n\r\n-- your ESP8266\r\n")
    assert "C: EHLO [127.0.0.1]" in said  # an address literal: the board knows no better name (RFC 5321 §4.1.3)
    assert said.splitlines()[-3:] == [
        "[True, ('my network', 'its password')]",
        "False True",
        "no Wi-Fi: nowhere (status 3)",
    ]


# --- what arrives -------------------------------------------------------------------------------------------


async def test_every_octet_arrives(device: Device, smtp_server: Server) -> None:
    lines = [
        ".",
        "..",
        ".hidden",
        "plain words stay plain",
        "",
        "21 °C = warm ",
        "x" * 90,
        "\rcut\nhere\t.",
        ".",
    ]
    outcome = await device.send(host=smtp_server.host, port=smtp_server.port, **{**MAIL, "lines": lines})
    assert outcome.sent and outcome.refused == {}
    (letter,) = await smtp_server.arrived()
    assert letter.sender == "cellar@example.org"
    assert letter.recipients == ["anna@example.org", "ben@example.org"]
    first, _, content = letter.content.partition(b"\r\n")
    written = parsedate_to_datetime(first.decode().removeprefix("Date: "))
    assert timedelta(0) <= datetime.now(UTC) - written < timedelta(minutes=1)
    assert content == (
        b"From: cellar@example.org\r\n"
        b"To: anna@example.org,\r\n"
        b" ben@example.org\r\n"
        b"Subject: Cellar\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n"
        b"\r\n"
        b".\r\n"
        b"..\r\n"
        b".hidden\r\n"
        b"plain words stay plain\r\n"
        b"\r\n"
        b"21 =C2=B0C =3D warm=20\r\n" + b"x" * 75 + b"=\r\n" + b"x" * 15 + b"\r\n" + b"=0Dcut=0Ahere\t.\r\n" + b".\r\n"
    )
    read = email.message_from_bytes(letter.content, policy=email.policy.default)
    assert read.get_content().split("\r\n")[5] == "21 °C = warm "


async def test_a_text_and_a_file_are_sent_line_by_line(device: Device, smtp_server: Server) -> None:
    where = {"host": smtp_server.host, "port": smtp_server.port}
    await device.send(**where, **{**MAIL, "lines": "one\r\ntwo\n.three"})
    (device.flash / "log.txt").write_bytes(b"one\r\ntwo\n.three\n")
    await device.send(**where, **{**MAIL, "lines": Source("open('log.txt')")})
    bodies = [letter.content.partition(b"\r\n\r\n")[2] for letter in await smtp_server.arrived()]
    assert bodies == [b"one\r\ntwo\r\n.three\r\n"] * 2


@pytest.mark.parametrize(
    "subject",
    [
        "Grüße aus dem Keller",
        "温度过高：" * 12,
        "=?utf-8?B?not this?=",
        "long " * 30,
        "Line\r\nBcc: eve@example.org",
    ],
)
async def test_any_subject_arrives(device: Device, smtp_server: Server, subject: str) -> None:
    await device.send(host=smtp_server.host, port=smtp_server.port, **{**MAIL, "subject": subject})
    (letter,) = await smtp_server.arrived()
    header = letter.content.partition(b"\r\n\r\n")[0]
    assert max(len(line) for line in header.split(b"\r\n")) <= 76  # RFC 2047 §2
    assert b"\r\nBcc:" not in header
    read = email.message_from_bytes(letter.content)
    words = email.header.decode_header(read["Subject"])
    # Each word must be whole by itself: a letter cut in two would not decode.
    assert "".join(word.decode(charset) for word, charset in words) == subject


async def test_no_date_before_the_clock_is_set(device: Device, smtp_server: Server) -> None:
    where = {"host": smtp_server.host, "port": smtp_server.port}
    await device.send(before="send_mail.CLOCK_IS_SET = 9999", **where, **MAIL)
    (letter,) = await smtp_server.arrived()
    assert letter.content.startswith(b"From: ")


async def test_a_message_larger_than_the_memory(device: Device, smtp_server: Server) -> None:
    """200,000 octets in a heap of 28 KB (the Unix port holds us to it): only lines are ever in memory."""
    lines = Source("('.line %05d %s' % (number, 'x' * 50) for number in range(3000))")
    outcome = await device.send(host=smtp_server.host, port=smtp_server.port, **{**MAIL, "lines": lines})
    assert outcome.sent, outcome.error
    (letter,) = await smtp_server.arrived()
    body = letter.content.partition(b"\r\n\r\n")[2]
    assert body == b"".join(b".line %05d %s\r\n" % (number, b"x" * 50) for number in range(3000))


# --- refusals -----------------------------------------------------------------------------------------------


async def test_one_recipient_refused_the_other_served(device: Device, smtp_server: Server) -> None:
    recipients = ["nobody@example.org", "ben@example.org"]
    where = {"host": smtp_server.host, "port": smtp_server.port}
    outcome = await device.send(**where, **{**MAIL, "recipients": recipients})
    assert outcome.sent
    assert list(outcome.refused) == ["nobody@example.org"]
    code, text = outcome.refused["nobody@example.org"]
    assert code == 550
    assert text.startswith("RCPT TO:<nobody@example.org>: 550 5.1.1 ")
    (letter,) = await smtp_server.arrived()
    assert letter.recipients == ["ben@example.org"]


async def test_all_recipients_refused(device: Device, smtp_server: Server) -> None:
    where = {"host": smtp_server.host, "port": smtp_server.port}
    outcome = await device.send(**where, **{**MAIL, "recipients": ["nobody@example.org"]})
    assert not outcome.sent
    assert (outcome.code, outcome.doubtful) == (550, False)
    assert outcome.error.startswith("RCPT TO:<nobody@example.org>: 550 5.1.1 ")
    assert "C: DATA" not in outcome.talk
    assert outcome.talk[-2] == "C: QUIT"  # a refusal is no reason to be rude (RFC 5321 §4.1.1.10)
    assert await smtp_server.arrived() == []


async def test_refused_after_the_dot(device: Device, smtp_server: Server) -> None:
    length = smtp_server.size_limit // 1000 + 1
    lines = Source(f"('x' * 74 for number in range({length * 14}))")
    outcome = await device.send(host=smtp_server.host, port=smtp_server.port, **{**ONE, "lines": lines})
    assert not outcome.sent
    assert (outcome.code, outcome.doubtful) == (552, False)
    assert outcome.error.startswith("the end of the message: 552 ")
    assert await smtp_server.arrived() == []


BEGIN = """
    S: 220 mx.example.org
    C: EHLO
    S: 250 mx.example.org
    C: MAIL
    S: 250 OK
    C: RCPT
    S: 250 OK
    C: DATA
    S: 354 Go ahead
"""


@pytest.mark.parametrize(
    ("answer", "code", "doubtful"),
    [
        ("S: 451 4.3.0 Try later", 451, False),
        ("S: 554-5.7.1 No.\nS: 554 5.7.1 Not today.", 554, False),
        ("S: 421 4.3.2 Closing\n# hangs up", 421, False),
        ("S: 251 Perhaps", 251, True),
        ("S: 354 More", 354, True),
        ("S: 25O OK", 0, True),
        ("S: 250-one\nS: 251 other", 0, True),
        ("# hangs up", 0, True),
    ],
)
async def test_nothing_but_250_is_success(device: Device, answer: str, code: int, doubtful: bool) -> None:
    async with acting(BEGIN + "# message\n" + answer) as (actor, where):
        outcome = await device.send(**where, **ONE)
        await actor.gone.wait()
    assert actor.message.endswith(b"\r\nAll is dry.\r\n.\r\n")
    assert not outcome.sent
    assert (outcome.code, outcome.doubtful) == (code, doubtful), outcome.error
    assert outcome.error.startswith("the end of the message: ")
    assert ("may or may not have arrived" in outcome.error) == doubtful


async def test_an_answer_before_the_question_is_none(device: Device) -> None:
    async with acting(BEGIN + "S: 250 Safe, I promise") as (actor, where):
        outcome = await device.send(**where, **ONE)
        await actor.gone.wait()
    assert not outcome.sent
    assert outcome.error == "the end of the message: the server spoke out of turn"
    assert not actor.rest.endswith(b"\r\n.\r\n")


async def test_silence_ends_in_time(device: Device) -> None:
    async with acting(BEGIN + "# message\n# is silent") as (actor, where):
        outcome = await device.send(**where, **ONE, patience=1)
        await actor.gone.wait()
    assert not outcome.sent
    assert outcome.doubtful
    assert actor.rest == b""  # no QUIT into a broken conversation


async def test_a_reply_that_drips_ends_in_time(device: Device) -> None:
    """The wait is for the whole reply, not for its next piece. On this device's clock each look takes 200 s."""
    clock = (
        "class Clock:\n    now = 0\n    def time(self):\n        self.now += 200\n        return self.now\n"
        "send_mail.time = Clock()\n"
    )
    async with acting("S: 220-mx.example.org") as (actor, where):
        outcome = await device.send(before=clock, **where, **ONE)
        await actor.gone.wait()
    assert outcome.error.endswith(": no whole reply in time")


async def test_a_server_that_leaves_is_asked_nothing_more(device: Device) -> None:
    """421 ends the conversation, whatever it answers (RFC 5321 §3.8): no second recipient, no QUIT."""
    talk = """
        S: 220 mx.example.org
        C: EHLO
        S: 250 mx.example.org
        C: MAIL
        S: 250 OK
        C: RCPT
        S: 421 4.3.2 Closing for maintenance
    """
    async with acting(talk) as (actor, where):
        outcome = await device.send(**where, **MAIL)
        await actor.gone.wait()
    assert outcome.error == "RCPT TO:<anna@example.org>: 421 4.3.2 Closing for maintenance"
    assert (outcome.code, outcome.doubtful, actor.rest) == (421, False, b"")


async def test_a_text_that_fails_halfway_is_not_sent(device: Device) -> None:
    """No dot without the whole message: the server must throw the first half away (RFC 5321 §4.1.1.4)."""
    lines = Source("('line %d' % (1 // (3 - number)) for number in range(9))")
    async with acting(BEGIN) as (actor, where):
        said = await device.run(
            "from send_mail import send_mail\n"
            f"mail = { {**where, **ONE, 'lines': lines}!r}\n"
            "try:\n    send_mail(**mail)\nexcept ZeroDivisionError:\n    print('the sensor failed')\n"
        )
        await actor.gone.wait()
    assert said == "the sensor failed\n"
    assert actor.rest.startswith(b"Date: ") and b"QUIT" not in actor.rest
    assert b"\r\n.\r\n" not in actor.rest


async def test_nobody_listens(device: Device) -> None:
    async with acting("# hangs up") as (_, where):
        pass  # the port is free again
    outcome = await device.send(**where, **ONE)
    assert not outcome.sent and not outcome.doubtful
    assert outcome.error.startswith(f"connecting to 127.0.0.1:{where['port']}: ")
    assert "ECONNREFUSED" in outcome.error or "refused" in outcome.error


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": "a@example.org>\r\nRCPT TO:<eve@example.org"},
        {"recipients": ["anna@example.org", "two words@example.org"]},
        {"recipients": ["grüße@example.org"]},
        {"recipients": []},
        {"hello": "board\r\nQUIT"},
    ],
)
async def test_an_address_cannot_smuggle_a_command(device: Device, wrong: dict[str, object]) -> None:
    outcome = await device.send(host="127.0.0.1", port=9, **{**MAIL, **wrong})
    assert outcome.error.startswith("ValueError: ")
    assert outcome.talk == []


# --- how servers talk ---------------------------------------------------------------------------------------


async def test_a_server_that_talks_much_and_slowly(device: Device) -> None:
    """Replies of many lines, octet by octet, with code-only lines (RFC 5321 §4.2.1), from before EHLO."""
    talk = """
        S: 220-mx.example.org is glad
        S: 220-
        S: 220 to see you
        C: EHLO
        S: 502-What
        S: 502 is that?
        C: HELO
        S: 250
        C: MAIL
        S: 250-OK
        S: 250 really
        C: RCPT
        S: 251 User not local; will forward
        C: DATA
        S: 354-Go
        S: 354 ahead
        # message
        S: 250-2.0.0
        S: 250 2.0.0 Safe
        C: QUIT
        S: 221 Bye
    """
    async with acting(talk, slowly=True) as (actor, where):
        outcome = await device.send(**where, **{**ONE, "lines": ["."]}, hello="[127.0.0.1]")
        await actor.gone.wait()
    assert outcome.sent, outcome.error
    assert actor.heard == [
        "EHLO [127.0.0.1]",
        "HELO [127.0.0.1]",
        "MAIL FROM:<cellar@example.org>",
        "RCPT TO:<anna@example.org>",
        "DATA",
        "QUIT",
    ]
    assert actor.message.endswith(b"\r\n\r\n..\r\n.\r\n")  # on the wire the dot is doubled (RFC 5321 §4.5.2)
    assert outcome.talk[:3] == ["S: 220-mx.example.org is glad", "S: 220-", "S: 220 to see you"]
    assert "# 9 lines of message" in outcome.talk


@pytest.mark.parametrize(
    "greeting",
    [
        "S: 554 No service here",
        "S: 220-" + "x" * 600,
        "S: " + "\nS: ".join(["220-" + "x" * 400] * 9),
        "S: HTTP/1.1 400",
    ],
)
async def test_no_server_for_us(device: Device, greeting: str) -> None:
    """A refusal, a line and a reply that would fill the heap, and something else altogether."""
    async with acting(greeting) as (actor, where):
        outcome = await device.send(**where, **ONE)
        await actor.gone.wait()
    assert not outcome.sent and not outcome.doubtful
    assert outcome.error.startswith("connecting to 127.0.0.1:")
    assert actor.rest == (b"QUIT\r\n" if "554" in greeting else b"")


# --- sign-in ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_sign_in(device: Device, mechanism: str) -> None:
    async with aiosmtpd_server(**knows(mechanism, "cellar", "pässword")) as server:
        where = {"host": server.host, "port": server.port}
        good = await device.send(**where, **ONE, username="cellar", password="pässword")
        bad = await device.send(**where, **ONE, username="cellar", password="guess")
    assert good.sent, good.error
    assert [line for line in good.talk if line.startswith("C: AUTH")][-1].endswith("****")
    assert not any("Y2VsbGFy" in line or "cMOkc3" in line for line in good.talk)  # base64 hides nothing
    assert len(server.letters) == 1
    assert (bad.sent, bad.code) == (False, 535)
    assert bad.error.startswith(f"AUTH {mechanism} ****: 535 ")


async def test_no_sign_in_offered(device: Device, smtp_server: Server) -> None:
    where = {"host": smtp_server.host, "port": smtp_server.port}
    outcome = await device.send(**where, **ONE, username="cellar", password="secret")
    assert not outcome.sent
    assert outcome.error == "AUTH: the server offers neither PLAIN nor LOGIN"
    assert not any(line.startswith("C: AUTH") for line in outcome.talk)
