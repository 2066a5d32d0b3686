"""`glasspost send`, as typed: against servers that say what a test tells them to, against aiosmtpd, and a node."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from rich.cells import cell_len

from answers import Answers
from entrances import PASSWORD, House
from glasspost.cli.main import main
from glasspost.cli.send import EPILOG
from glasspost.cli.send_meaning import SendExit
from glasspost.mail.address import Address
from glasspost.net.tls import self_signed, server_context
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.protocol.talk import parse_talk
from glasspost.testing import Nameserver

Send = Callable[..., Any]
OpenHouse = Callable[..., Any]


class Ran:
    """What a command left: its exit code, what it printed, what it complained of."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def verdicts(self) -> dict[str, str]:
        return {one["address"]: one["verdict"] for one in self.json["recipients"]}


@pytest.fixture
def send(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Send:
    """`await send("--server", place, "--to", ...)`: the command in a thread, so that servers of the test can answer."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    async def run(*arguments: object, to: str = "bob@example.org", sender: str = "ann@example.net") -> Ran:
        given = ["--to", to] if to else []
        line = ["send", "--from", sender, "--helo", "client.example.net", *given, *map(str, arguments)]
        async with asyncio.timeout(20):
            code = await asyncio.to_thread(main, line)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


# --- the usual case -----------------------------------------------------------------------------------------------


async def test_a_message_arrives_as_it_was_composed(send: Send) -> None:
    async with Answers() as server:
        ran = await send(
            "--server", server.place, "--to", "Carol <carol@example.org>", "--bcc", "eve@example.org",
            "--subject", "hi", "--body", ".one\n..two", "--header", "X-Colour: blue",
        )  # fmt: skip
    assert ran.code == 0
    assert [line for line in server.heard if "RCPT" in line] == [
        "RCPT TO:<bob@example.org>", "RCPT TO:<carol@example.org>", "RCPT TO:<eve@example.org>",
    ]  # fmt: skip
    [message] = server.messages
    assert b"\r\nTo: bob@example.org, Carol <carol@example.org>\r\nSubject: hi\r\n" in message
    assert b"\r\nX-Colour: blue\r\n" in message
    assert b"eve" not in message
    assert message.endswith(b"\r\n\r\n..one\r\n...two\r\n")  # as on the wire, with its dots doubled


async def test_a_file_goes_as_it_is(send: Send, tmp_path: Path) -> None:
    file = tmp_path / "one.eml"
    file.write_bytes(b"From:  a@example.net\nSubject:odd  spacing\n\n\xe4\xb8\xad\n.dot")
    async with Answers(EHLO="250-mx\n250 8BITMIME") as server:
        ran = await send("--server", server.place, "--message", file)
    assert ran.code == 0
    assert server.messages == [b"From:  a@example.net\r\nSubject:odd  spacing\r\n\r\n\xe4\xb8\xad\r\n..dot\r\n"]
    assert any("BODY=8BITMIME" in line for line in server.heard)


async def test_aiosmtpd_takes_it(send: Send) -> None:
    class Keep:
        async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
            self.envelope = envelope
            return "250 kept"

    keep = Keep()
    controller = Controller(keep, hostname="127.0.0.1", port=0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        controller.port = free.getsockname()[1]
    controller.start()
    try:
        ran = await send("--server", f"127.0.0.1:{controller.port}", "--subject", "Grüße", "--html", "<b>hé</b>")
    finally:
        controller.stop()
    assert ran.code == 0
    assert keep.envelope.rcpt_tos == ["bob@example.org"]
    assert b"Subject: =?utf-8?B?" in keep.envelope.content


@pytest.mark.parametrize("chunking", ["", "--chunking"])
async def test_a_large_message_arrives_whole_by_data_and_by_bdat(
    send: Send, entrance: OpenHouse, chunking: str
) -> None:
    house: House = await entrance()
    ran = await send(
        "--server",
        f"127.0.0.1:{house.port}",
        "--size",
        "3MB",
        *([chunking] if chunking else []),
        to="alice@example.test",
    )
    assert ran.code == 0
    [intake] = house.accepted
    assert intake.size - 3 * 1024 * 1024 in range(1000)  # and a Received field on top
    assert house.content(intake).endswith(b".\r\n")


# --- the verdicts and the exit codes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "arguments", "code"),
    [
        ({"GREETING": "554 5.7.1 no service for you"}, [], SendExit.GREETING),
        ({"GREETING": ""}, [], SendExit.GREETING),
        ({"EHLO": "550 5.7.1 no", "HELO": "550 5.7.1 no"}, [], SendExit.HELLO),
        ({"EHLO": "421 4.3.2 closing"}, [], SendExit.HELLO),
        ({}, ["--tls", "require"], SendExit.TLS),
        ({}, ["--tls", "implicit", "--timeout", "1"], SendExit.TLS),
        ({"EHLO": "250-mx\n250 STARTTLS", "STARTTLS": "454 4.7.0 not now"}, ["--tls", "require"], SendExit.TLS),
        ({}, ["--auth", "ann", "--password-env", "PASSWORD"], SendExit.AUTH),
        (
            {"EHLO": "250-mx\n250 AUTH PLAIN", "AUTH": "535 5.7.8 wrong"},
            ["--auth", "ann", "--password-env", "PASSWORD"],
            SendExit.AUTH,
        ),
        ({"MAIL": "550 5.7.1 not you", "RCPT": "503 5.5.1 MAIL first", "DATA": "503 5.5.1 no"}, [], SendExit.MAIL),
        ({"MAIL": "550 5.7.1 not you"}, ["--no-pipelining"], SendExit.MAIL),
        ({"MAIL": ""}, [], SendExit.MAIL),
        ({"RCPT": "550 5.1.1 nobody", "DATA": "554 5.5.1 no recipients"}, [], SendExit.RCPT),
        ({"RCPT": "450 4.2.0 greylisted"}, ["--quit-after", "rcpt"], SendExit.RCPT),
        ({"DATA": "451 4.3.0 not now"}, [], SendExit.DATA),
        ({"DOT": "554 5.7.1 spam"}, [], SendExit.CONTENT),
        ({"DOT": ""}, [], SendExit.DOUBT),
        ({"RCPT": lambda line: "550 5.1.1 no" if "eve" in line else "250 ok"}, ["--to", "eve@x.test"], SendExit.SOME),
        ({"EHLO": "250-mx\n250 SIZE 1000"}, ["--size", "2000"], SendExit.MAIL),
        ({}, ["--quit-after", "hello"], 0),
        ({}, ["--quit-after", "mail"], 0),
        ({}, [], 0),
    ],
)
async def test_the_exit_code_says_how_far_it_came(
    send: Send, answers: dict[str, Any], arguments: list[str], code: int
) -> None:
    async with Answers(**answers) as server:
        people = await send("--server", server.place, *arguments)
        programs = await send("--server", server.place, *arguments, "--json")
        chinese = await send("--server", server.place, *arguments, "--lang", "zh")
    assert (people.code, programs.code, chinese.code) == (code, code, code)
    found = programs.json
    assert found["exit_code"] == code
    assert found["exit_name"] == (SendExit(code).name if code else "OK")
    assert all(step["meaning"] for step in found["steps"])
    for one in found["recipients"]:
        assert one["meaning"]
        assert bool(one["next"]) == (one["verdict"] not in ("accepted", "asked"))
    for ran in (people, chinese):
        assert max(cell_len(line) for line in ran.out.split("\n")) < 80
        assert "\x1b" not in ran.out


async def test_a_closed_port(send: Send) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ran = await send("--server", f"127.0.0.1:{port}", "--to", "carol@example.org")
    assert ran.code == SendExit.CONNECT
    assert ran.out.count("not sent") == 1  # both recipients in one verdict
    assert "connection refused" in ran.out and "Next:" in ran.out


async def test_five_recipients_of_whom_two_are_unknown(send: Send) -> None:
    names = ["ada", "bea", "cleo", "dora", "eve"]

    def rcpt(line: str) -> str:
        return "550 5.1.1 nobody of this name" if "bea" in line or "dora" in line else "250 2.1.5 fine"

    others = [part for name in names[1:] for part in ("--to", f"{name}@example.org")]
    async with Answers(RCPT=rcpt) as server:
        ran = await send("--server", server.place, *others, to="ada@example.org")
        data = await send("--server", server.place, *others, "--json", to="ada@example.org")
    assert ran.code == SendExit.SOME
    assert data.verdicts == {
        "ada@example.org": "accepted", "bea@example.org": "refused", "cleo@example.org": "accepted",
        "dora@example.org": "refused", "eve@example.org": "accepted",
    }  # fmt: skip
    verdict = ran.out.partition("\nVerdict\n")[2]
    assert verdict.startswith(
        " accepted  ada@example.org\n"
        "           cleo@example.org\n"
        "           eve@example.org\n"
        "           250 2.0.0 taken\n"
        " refused   bea@example.org\n"
        "           dora@example.org\n"
        "           550 5.1.1 nobody of this name\n"
    )
    assert verdict.count("Next: ") == 1
    assert "2 of 5 not accepted" in verdict and "Exit code 20" in verdict


async def test_whoever_signs_in_is_the_sender_where_nobody_else_is_named(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "secret")
    arguments = ["--to", "bob@example.org", "--auth", "ann@example.net", "--password-env", "PASSWORD"]
    async with Answers(EHLO="250-mx\n250 AUTH PLAIN", AUTH="235 2.7.0 welcome") as server:
        code = await asyncio.to_thread(main, ["send", "--server", server.place, *arguments])
    assert code == 0
    assert any(line.startswith("MAIL FROM:<ann@example.net>") for line in server.heard)


async def test_what_is_not_tls_is_not_met_with_advice_on_certificates(send: Send) -> None:
    async with Answers() as server:
        ran = await send("--server", server.place, "--tls", "implicit")
    assert ran.code == SendExit.TLS
    assert "Port 465 speaks TLS from the first octet" in ran.out
    assert "--no-verify" not in ran.out


async def test_what_this_program_says_itself_is_chinese_as_well(send: Send) -> None:
    async with Answers() as server:
        ran = await send("--server", server.place, "--tls", "implicit", "--lang", "zh")
    assert "未能建立：收到的不是 TLS" in ran.out
    assert "what came back" not in ran.out


async def test_lmtp_has_an_answer_for_each_recipient(send: Send) -> None:
    answers = iter(["250 2.0.0 bob has it", "452 4.2.2 carol is full"])
    async with Answers(DOT=lambda line: next(answers)) as server:
        ran = await send("--server", server.place, "--lmtp", "--to", "carol@example.org", "--json")
    assert server.heard[0] == "LHLO client.example.net"
    assert ran.verdicts == {"bob@example.org": "accepted", "carol@example.org": "not-now"}


async def test_recipients_that_do_not_fit_go_in_another_transaction(send: Send) -> None:
    limits = "250-mx\n250-PIPELINING\n250 LIMITS RCPTMAX=1"
    async with Answers(EHLO=limits) as server:
        ran = await send("--server", server.place, "--to", "carol@example.org", "--json")
    assert set(ran.verdicts.values()) == {"accepted"}
    assert len(server.messages) == 2


async def test_asking_sends_nothing(send: Send) -> None:
    async with Answers(RCPT=lambda line: "550 5.1.1 no" if "eve" in line else "250 ok") as server:
        ran = await send("--server", server.place, "--to", "eve@example.org", "--quit-after", "rcpt", "--json")
    assert ran.verdicts == {"bob@example.org": "asked", "eve@example.org": "refused"}
    assert server.messages == [] and server.heard[-1] == "QUIT"


async def test_wishes_and_manners_reach_the_wire(send: Send) -> None:
    offers = "250-mx\n250-SIZE 99999\n250-8BITMIME\n250-SMTPUTF8\n250 DSN"
    async with Answers(EHLO=offers) as server:
        ran = await send(
            "--server", server.place, "--dsn", "success,delay,hdrs", "--8bit", "--body", "Grüße", to="小明@例子.test",
        )  # fmt: skip
    assert ran.code == 0
    mail, rcpt = server.heard[1:3]
    assert re.fullmatch(r"MAIL FROM:<ann@example.net> SIZE=\d+ BODY=8BITMIME SMTPUTF8 RET=HDRS", mail)
    assert rcpt == "RCPT TO:<小明@例子.test> NOTIFY=SUCCESS,DELAY"
    assert "To: 小明@例子.test\r\n".encode() in server.messages[0]
    assert server.messages[0].endswith("Grüße\r\n".encode())


async def test_a_pause_comes_before_each_thing_we_say(send: Send) -> None:
    async with Answers() as server:
        ran = await send("--server", server.place, "--pause", "0.05", "--quit-after", "mail", "--json")
    assert ran.code == 0
    assert ran.json["seconds"] >= 0.15  # EHLO, MAIL, QUIT
    assert all(step["took"] < 0.05 for step in ran.json["steps"] if step["kind"] == "reply" and step["command"])


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def shown(authority: trustme.CA, *names: str) -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


OFFER = "250-mx.example.org\n250 STARTTLS"


async def test_a_right_certificate_is_verified_and_its_facts_are_told(
    send: Send, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Answers(EHLO=OFFER, tls=shown(authority, "mx.example.org", "127.0.0.1")) as server:
        for tls in ("require", "auto"):
            ran = await send("--server", server.place, "--tls", tls, "--ca", tmp_path / "ca.pem", "--json")
            assert ran.code == 0
            [fact] = [step for step in ran.json["steps"] if step["kind"] == "tls"]
            assert fact["verified"] and fact["version"] == "TLSv1.3" and fact["cipher"].startswith("TLS_")
            assert fact["names"] == ["mx.example.org", "127.0.0.1"]
            assert fact["checked"] == (tls == "require")
        ran = await send("--server", server.place, "--tls", "require", "--ca", tmp_path / "ca.pem")
    assert "#  verified: a known authority vouches for this name" in ran.out


@pytest.mark.parametrize(
    ("names", "fault"),
    [(["127.0.0.1"], "its issuer is not known here"), (["other.example"], "it is not for 127.0.0.1")],
)
async def test_a_bad_certificate_is_told_where_none_is_demanded_and_ends_it_where_one_is(
    send: Send, authority: trustme.CA, names: list[str], fault: str
) -> None:
    async with Answers(EHLO=OFFER, tls=shown(authority, *names)) as server:
        told = await send("--server", server.place)
        refused = await send("--server", server.place, "--tls", "require")
        chinese = await send("--server", server.place, "--tls", "require", "--lang", "zh")
        looked = await send("--server", server.place, "--tls", "require", "--no-verify")
    assert told.code == looked.code == 0
    assert f"NOT verified: {fault}" in " ".join(told.out.split())
    assert refused.code == chinese.code == SendExit.TLS
    assert len(server.messages) == 2
    assert "--ca FILE" in refused.out and "--no-verify" in chinese.out


async def test_a_self_signed_certificate_is_called_so(send: Send, tmp_path: Path) -> None:
    context = server_context(*self_signed(tmp_path, "localhost"), "1.2")
    async with Answers(tls=context, implicit=True) as server:
        ran = await send("--server", server.place, "--tls", "implicit", "--no-verify", "--tls-name", "localhost")
        refused = await send("--server", server.place, "--tls", "implicit")
    assert ran.code == 0 and "NOT verified: it is self-signed" in ran.out
    assert ran.out.index("TLSv1.3") < ran.out.index("S: 220")
    assert refused.code == SendExit.TLS


# --- passwords ------------------------------------------------------------------------------------------------------

SECRET = "Sesam, öffne dich 7!"


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("verdict", ["235 2.7.0 welcome", f"535 5.7.8 {SECRET} is no password"])
async def test_a_password_is_nowhere(
    send: Send, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mechanism: str, verdict: str
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    answers = iter(["334 UGFzc3dvcmQ6", verdict])
    challenge: dict[str, Any] = {"AUTH": "334 VXNlcm5hbWU6", "RESPONSE": lambda line: next(answers)}
    server = Answers(EHLO=f"250-mx\n250 AUTH {mechanism}", **(challenge if mechanism == "LOGIN" else {"AUTH": verdict}))
    everything = ""
    async with server:
        for form in ([], ["--json"], ["--lang", "zh"]):
            answers = iter(["334 UGFzc3dvcmQ6", verdict])
            talk = tmp_path / "one.talk"
            ran = await send(
                "--server", server.place, "--auth", "ann", "--password-env", "SECRET", "--save", talk, *form
            )
            assert ran.code == (0 if verdict[0] == "2" else SendExit.AUTH)
            everything += ran.out + ran.err + talk.read_text()
    octets = SECRET.encode()
    said = "\n".join(server.heard)
    forms = [SECRET, *(base64.b64encode(one).decode() for one in (octets, b"\0ann\0" + octets))]
    assert any(form in said for form in forms)  # it was really sent
    assert "[masked]" in everything
    for form in forms:
        assert form not in everything
        assert form.rstrip("=") not in everything


async def test_a_password_does_not_go_to_a_stranger_in_the_clear_nor_to_a_bad_certificate(
    send: Send, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback is no stranger; here it is made one."""
    monkeypatch.setattr("glasspost.outbound.trial.is_loopback", lambda address: False)
    monkeypatch.setattr("ipaddress.IPv4Address.is_loopback", False)
    sign_in = ["--auth", "ann", "--password-env", "PASSWORD"]
    async with Answers(EHLO="250-mx\n250 AUTH PLAIN", AUTH="235 ok") as server:
        ran = await send("--server", server.place, *sign_in)
        assert ran.code == SendExit.AUTH and "encrypted" in ran.out
    offer = f"{OFFER.replace('250 ', '250-')}\n250 AUTH PLAIN"
    async with Answers(EHLO=offer, AUTH="235 ok", tls=shown(authority, "127.0.0.1")) as other:
        ran = await send("--server", other.place, *sign_in)
        assert ran.code == SendExit.TLS
    assert not any(line.startswith("AUTH") for line in server.heard + other.heard)


async def test_passwords_come_from_a_file_the_environment_or_a_keyring(
    send: Send, tmp_path: Path, entrance: OpenHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    house: House = await entrance(role="submission")
    (tmp_path / "pw").write_text(PASSWORD + "\nsecond line\n")
    arguments = ["--server", f"127.0.0.1:{house.port}", "--auth", "alice@example.test"]
    sources = [["--password-file", tmp_path / "pw"], ["--password-env", "PASSWORD"]]
    for source in sources:
        ran = await send(*arguments, *source, to="bob@example.test", sender="alice@example.test")
        assert ran.code == 0
    with monkeypatch.context() as environment:
        environment.setenv("GLASSPOST_PASSWORD", PASSWORD)
        assert (await send(*arguments, to="bob@example.test", sender="alice@example.test")).code == 0
    for wrong in (["--password-env", "NO_SUCH"], [*sources[0], *sources[1]]):
        ran = await send(*arguments, *wrong)
        assert ran.code == 2 and ran.err.count("\n") == 1


# --- where to -------------------------------------------------------------------------------------------------------


async def test_mx_asks_the_dns_and_calls_who_is_named(send: Send) -> None:
    async with (
        Answers() as server,
        Nameserver(
            """
            example.org      MX  10 mx1.example.org
            example.org      MX  20 mx2.example.org
            mx1.example.org  A   127.0.0.1
            mx2.example.org  A   127.0.0.1
            null.example     MX  0 .
            """
        ) as zone,
    ):
        dns = f"127.0.0.1:{zone.servers[0][1]}"
        others = ["--to", "eve@null.example", "--to", "x@gone.example", "--to", "carol@example.org"]
        ran = await send("--mx", "--dns", dns, "--mx-port", server.port, *others, "--json")
        text = await send("--mx", "--dns", dns, "--mx-port", server.port, *others)
        nobody = await send("--mx", "--dns", dns, to="x@gone.example")
    assert ran.code == text.code == SendExit.SOME
    assert ran.verdicts == {
        "bob@example.org": "accepted", "eve@null.example": "stopped", "x@gone.example": "stopped",
        "carol@example.org": "accepted",
    }  # fmt: skip
    assert "mx1.example.org [127.0.0.1]" in text.out
    assert nobody.code == SendExit.NAME


async def test_the_next_mx_is_called_where_the_first_does_not_talk(send: Send) -> None:
    async with (
        Answers() as server,
        Nameserver(
            """
            example.org      MX  10 mx1.example.org
            example.org      MX  20 mx2.example.org
            mx1.example.org  A   127.0.0.9
            mx2.example.org  A   127.0.0.1
            """
        ) as zone,
    ):
        dns = f"127.0.0.1:{zone.servers[0][1]}"
        ran = await send("--mx", "--dns", dns, "--mx-port", server.port)
    assert ran.code == 0
    assert "does not answer" in ran.out and "mx2.example.org [127.0.0.1]" in ran.out


async def test_node_finds_the_node_that_runs_on_the_data_folder(send: Send, tmp_path: Path) -> None:
    listeners = [{"role": "mx", "port": 0, "tls": "none"}, {"role": "submission", "port": 0, "tls": "starttls"}]
    config = Config.model_validate(
        {"node": {"data": str(tmp_path / "data"), "hostname": "mx.house.test", "drain": "1 s"}, "listener": listeners}
    )
    node = Node(config)
    await node.start()
    try:
        node.directory.add_account(Address("alice", "house.test"), PASSWORD, create_domain=True)
        where = ["--node", "--data", tmp_path / "data"]
        taken = await send(*where, to="alice@house.test")
        sign_in = ["--auth", "alice@house.test", "--password-env", "PASSWORD"]
        submitted = await send(*where, *sign_in, to="alice@house.test", sender="alice@house.test")
    finally:
        await node.stop()
    assert taken.code == submitted.code == 0
    assert "We are signed in." in submitted.out
    gone = await send("--node", "--data", tmp_path / "data")
    assert gone.code == 3 and "glasspost serve" in gone.err


# --- what is kept and shown -----------------------------------------------------------------------------------------


async def test_the_saved_talk_is_a_talk(send: Send, tmp_path: Path) -> None:
    async with Answers() as server:
        await send("--server", server.place, "--save", tmp_path / "one.talk")
    lines = parse_talk((tmp_path / "one.talk").read_text())
    assert [line.text for line in lines if line.who == "C"] == server.heard
    assert all(line.at is not None for line in lines)
    assert any(line.text.startswith("message: ") for line in lines)


async def test_long_lines_of_a_server_are_set_in_columns(send: Send) -> None:
    refusal = (
        "\n".join(f"550-5.7.1 {'very long words ' * 12}{'x' * 90}" for _ in range(2)) + "\n550 5.7.1 结束。" + "长" * 60
    )
    async with Answers(RCPT=refusal) as server:
        for lang in ("en", "zh"):
            ran = await send("--server", server.place, "--lang", lang)
            assert max(cell_len(line) for line in ran.out.split("\n")) < 80


async def test_the_language_is_the_terminals_where_none_is_named(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    async with Answers() as server:
        assert "结论" in (await send("--server", server.place)).out
        assert "Verdict" in (await send("--server", server.place, "--lang", "en")).out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--mx", "--node"],
        ["--server", "mx:port"],
        ["--mx", "--tls", "perhaps"],
        ["--mx", "--quit-after", "lunch"],
        ["--mx", "--dsn", "sometimes"],
        ["--mx", "--dsn", "never,success"],
        ["--mx", "--lang", "fr"],
        ["--mx", "--size", "huge"],
        ["--mx", "--to", "nobody at all"],
        ["--mx", "--header", "no colon"],
        ["--mx", "--header", "Bcc: eve@example.org"],
        ["--mx", "--message", "x.eml", "--subject", "y"],
        ["--mx", "--source", "here"],
        ["--mx", "--password-env", "PASSWORD"],
        ["--mx", "--chunking", "--lmtp"],
        ["--mx", "--to", "小明@example.org", "--header", "X: \x01"],
    ],
)
async def test_a_wrong_command_line_is_told_in_one_line(send: Send, arguments: list[str]) -> None:
    ran = await send(*arguments)
    assert ran.code == 2
    assert ran.out == "" and ran.err.count("\n") == 1 and ran.err.startswith("glasspost: ")


async def test_a_file_that_must_not_go_out_does_not(send: Send, tmp_path: Path) -> None:
    for content in (b"Subject: x\nBcc: eve@example.org\n\nhi\n", b"Subject: x\r\n\r\none\ntwo\r\n"):
        (tmp_path / "one.eml").write_bytes(content)
        async with Answers() as server:
            ran = await send("--server", server.place, "--message", tmp_path / "one.eml")
        assert ran.code == 1 and ran.err.count("\n") == 1
        assert server.heard == []


def test_every_exit_code_is_documented_and_in_the_help() -> None:
    page = (Path(__file__).parents[2] / "docs" / "send.md").read_text()
    for code in SendExit:
        assert f"| {code.value} | `{code.name}` |" in page
        assert re.search(rf"\b{code.value}\b", EPILOG)


async def test_the_keyring_is_asked_by_service_and_user(
    send: Send, entrance: OpenHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    keyring.__dict__.update(errors=errors, get_password=lambda *asked: kept.get(asked))
    errors.__dict__.update(KeyringError=RuntimeError)
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    kept = {("mail", "alice@example.test"): PASSWORD}
    house: House = await entrance(role="submission")
    arguments = ["--server", f"127.0.0.1:{house.port}", "--auth", "alice@example.test", "--quit-after", "auth"]
    assert (await send(*arguments, "--password-keyring", "mail")).code == 0
    missing = await send(*arguments, "--password-keyring", "other")
    assert missing.code == 3 and "keyring set other" in missing.err
    monkeypatch.setitem(sys.modules, "keyring", None)
    absent = await send(*arguments, "--password-keyring", "mail")
    assert absent.code == 1 and "glasspost[keyring]" in absent.err
