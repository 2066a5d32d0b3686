"""The bridge as a whole: what a device says its own way reaches a strict provider, and nothing is lost on the way.

Lives here: the journey, outages, the node's restart, and that no other listener forgives anything.
Does not live here: each leniency in detail (tests/talks/device_*.talk), real devices (tests/devices, tests/peers).
"""

from __future__ import annotations

import asyncio
import ssl
import warnings
from base64 import b64encode
from pathlib import Path

import pytest

from bridges import ACCOUNT, bridge, port_of, strict_provider, talks
from entrances import DEVICES
from glasspost.errors import ConfigurationError
from glasspost.net.tls import self_signed, server_context
from glasspost.node import device_wiring, wiring
from glasspost.node.catalogue import write_value
from glasspost.node.config import load
from glasspost.node.node import Node
from glasspost.node.settings import Config
from glasspost.protocol.smtp_leniency import EVERYTHING, Leniency

# A device as bad as it comes: no HELO, no brackets, LF everywhere but at the one place where it counts, no header
# worth the name, a sender that is nobody's, no QUIT.
SLOPPY = (
    b"MAIL FROM:root@localhost\nRCPT TO:dave@client.example\nDATA\n"
    b"Subject: toner %d\nFrom: root\n\nIt is low.\n\r\n.\r\n"
)


async def send(port: int, octets: bytes, *, piece: int = 0) -> str:
    """Send all of it, in pieces of so many octets, and hear until the message is safe; then hang up without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = ""
    try:
        for start in range(0, len(octets), piece or len(octets)):
            writer.write(octets[start : start + (piece or len(octets))])
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while "Safe on disk" not in said:
                line = (await reader.readline()).decode()
                assert line, said
                said += line
    finally:
        writer.close()
    return said


def camera(data: Path, **sections: object) -> Node:
    """A node with one device, which is known by its password alone."""
    tree = {
        "node": {"data": str(data), "hostname": "bridge.example.org", "drain": "2 s"},
        "listener": [{"role": "device", "port": 0}],
        "device": [{"name": "camera", "username": "cam", "password": "tulip", "sender": "office@example.org"}],
        "checks": {"known": []},
        "sign_in": {"exempt": []},
        "smtp": {"max_errors": 99},
    }
    return Node(Config.model_validate(tree | sections))


async def said_to(node: Node, host: str, *lines: str) -> list[str]:
    """What the node answers each line of a client at this address with, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(node), local_addr=(host, 0))
    answers = []
    async with asyncio.timeout(20):
        await reader.readline()
        for line in lines:
            writer.write(f"{line}\r\n".encode())
            answers.append((await reader.readline()).decode())
            if not answers[-1]:
                break
    writer.close()
    return answers


def sign_in(password: str) -> str:
    return "AUTH PLAIN " + b64encode(f"\0cam\0{password}".encode()).decode()


async def test_guessing_at_a_devices_password_is_counted_as_for_accounts(tmp_path: Path) -> None:
    node = camera(tmp_path)
    await node.start()
    try:
        await said_to(node, "127.0.0.2", sign_in("tulip"))
        answers = await said_to(node, "127.0.0.3", *(sign_in(f"guess{number}") for number in range(11)))
        assert [answer[:9] for answer in answers] == ["535 5.7.8"] * 10 + ["421 4.7.0"]
        assert "Too many failed sign-ins" in answers[-1]
        (shut,) = await said_to(node, "127.0.0.3", sign_in("tulip"))
        assert shut.startswith("421 4.7.0 Too many failed sign-ins"), "not even the right one is looked at"
        counted = {one.name for one in node.guesses.failures() if one.kind in ("account", "address")}
        assert counted == {"127.0.0.3", "cam"}
        (known,) = await said_to(node, "127.0.0.2", sign_in("tulip"))
        assert known.startswith("235"), "where it has signed in before, others' guesses do not matter"
    finally:
        await node.stop()


async def test_a_stolen_password_of_a_device_sends_no_more_than_one_of_an_account(tmp_path: Path) -> None:
    node = camera(tmp_path, limits={"account_messages": "2/h", "account_recipients": "1/h"})
    await node.start()
    try:
        lines = ("MAIL FROM:<office@example.org>", "RCPT TO:<a@example.net>", "RCPT TO:<b@example.net>", "RSET")
        answers = await said_to(node, "127.0.0.2", sign_in("tulip"), *lines, *lines)
        assert [answer[:3] for answer in answers] == ["235", "250", "250", "452", "250", "250", "452", "452", "250"]
        answers = await said_to(node, "127.0.0.3", sign_in("tulip"), lines[0])
        assert [answer[:3] for answer in answers] == ["235", "450"]
    finally:
        await node.stop()


@pytest.mark.parametrize("piece", [0, 1], ids=["at once", "byte by byte"])
async def test_a_device_reaches_a_provider_that_it_could_never_speak_to(tmp_path: Path, piece: int) -> None:
    async with strict_provider(tmp_path) as provider, bridge(tmp_path / "node", provider) as node:
        await send(port_of(node), SLOPPY % 1, piece=piece)
        (letter,) = await provider.arrived()
    assert letter.tls == "TLSv1.3"
    assert (letter.sender, letter.recipients) == (ACCOUNT, ["dave@client.example"])
    assert letter.message["X-Device-From"] == "root"
    assert letter.message["Message-ID"].endswith("@bridge.example.org>")
    assert letter.content.endswith(b"\r\nSubject: toner 1\r\nX-Device-From: root\r\n\r\nIt is low.\r\n\r\n")
    talk = talks(node)
    for name in ("no-hello", "brackets", "line-end", "body-line-end", "header"):
        assert f"# repaired: {name}: " in talk
    assert f"# sender <root@localhost> is now <{ACCOUNT}>, as device printer sends" in talk
    assert "# device printer, by its network" in talk


async def attempted(node: Node, count: int) -> None:
    """Until so many recipients wait, each of them tried at least once."""
    tried = "SELECT count(*) FROM recipient WHERE attempts > 0"
    async with asyncio.timeout(20):
        while node.database.reader.execute(tried).get < count:  # noqa: ASYNC110  (the store sends no event)
            await asyncio.sleep(0.02)


async def test_while_the_provider_is_down_mail_waits_and_a_restart_of_the_node_changes_nothing(tmp_path: Path) -> None:
    async with strict_provider(tmp_path) as provider:
        await provider.down()
        async with bridge(tmp_path / "node", provider) as node:
            for number in range(5):
                await send(port_of(node), SLOPPY % number)
            await attempted(node, 5)
        async with bridge(tmp_path / "node", provider) as node:
            await send(port_of(node), SLOPPY % 5)
            await attempted(node, 6)
            assert provider.letters == []
            await provider.up()
            letters = await provider.arrived(6)
    assert sorted(letter.message["Subject"] for letter in letters) == [f"toner {number}" for number in range(6)]


async def test_an_end_with_lf_is_no_end_and_the_device_is_told(tmp_path: Path) -> None:
    impatient = {"data_timeout": 0.2}
    async with strict_provider(tmp_path) as provider, bridge(tmp_path / "node", provider, smtp=impatient) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(node))
        writer.write((SLOPPY % 1).replace(b"\r", b""))
        async with asyncio.timeout(20):
            said = (await reader.read()).decode().splitlines()
        writer.close()
    assert said[-1].startswith("421 4.5.2 A message ends with CR LF, dot, CR LF; LF, dot, LF is no end.")
    assert "# it ended its message with LF in place of CR LF, which is no end, and waited" in talks(node)
    assert provider.letters == []


# --- nobody else is forgiven anything -----------------------------------------------------------------------------

HELLO, MAIL, RCPT = "HELO x\r\n", "MAIL FROM:<dave@client.example>\r\n", "RCPT TO:<alice@example.test>\r\n"
SINS = {
    Leniency.BRACKETS: (HELLO + "MAIL FROM:dave@client.example\r\n", "501 5.1.7"),
    Leniency.NO_HELLO: (MAIL, "503 5.5.1"),
    Leniency.HELLO_NAME: ("HELO\r\n", "501 5.5.4"),
    Leniency.LINE_END: ("HELO x\n", "500 5.5.2"),
    Leniency.BODY_LINE_END: (HELLO + MAIL + RCPT + "DATA\r\na\nb\r\n.\r\n", "550 5.6.0"),
}


@pytest.mark.parametrize("sin", SINS)
@pytest.mark.parametrize("role", ["mx", "submission", "device"])
async def test_only_devices_are_forgiven(entrance, role: str, sin: Leniency) -> None:
    """With everything on the list of what is forgiven, which is the default."""
    said, refusal = SINS[sin]
    # submission: as far as its sign-in, clients of these networks need none
    house = await entrance(f"device = {_toml(DEVICES)}", 'smtp.relay_networks = ["127.0.0.0/8"]', role=role)
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(said.encode() + b"QUIT\r\n")
    async with asyncio.timeout(20):
        heard = (await reader.read()).decode()
    writer.close()
    assert (f"\n{refusal}" in heard) == (role != "device"), heard
    assert house.repairs == ([sin] if role == "device" else []) + (["header"] if "Safe on" in heard else [])


def _toml(devices: list[dict[str, object]]) -> str:
    return (
        "["
        + ", ".join("{" + ", ".join(f"{k} = {write_value(v)}" for k, v in one.items()) + "}" for one in devices)
        + "]"
    )


def _config(**sections: object) -> Config:
    listeners = [{"role": role, "port": 0} for role in ("mx", "submission", "pop3", "device")]
    return Config.model_validate({"listener": listeners, "device": DEVICES} | sections)


def test_no_other_listener_is_wired_to_be_lenient() -> None:
    config = _config()
    for listener in config.listener:
        if listener.role == "pop3":
            continue
        settings = wiring.inbound_settings(config, listener)
        assert settings.offer.lenient == (EVERYTHING if listener.role == "device" else frozenset())
        assert (device_wiring.bridge(config, listener) is not None) == (listener.role == "device")
        assert settings.offer.cleartext_auth == (listener.role == "device")


@pytest.mark.parametrize("role", ["mx", "submission", "device"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_3])
async def test_only_devices_get_old_tls(entrance, role: str, version: ssl.TLSVersion) -> None:
    house = await entrance(role=role, tls="starttls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(b"EHLO x\r\nSTARTTLS\r\n")
    async with asyncio.timeout(20):
        await reader.readuntil(b"220 2.0.0 Ready to start TLS\r\n")
        old = version is not ssl.TLSVersion.TLSv1_3
        if old and role != "device":
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await writer.start_tls(context)
        else:
            await writer.start_tls(context)
            writer.write(b"QUIT\r\n")
            assert (await reader.readline()).startswith(b"221")
    writer.close()
    assert house.repairs == (["old-tls"] if old and role == "device" else [])


async def test_a_sign_in_before_starttls_is_forgotten(entrance) -> None:
    """RFC 3207 §4.2: what was learned in the clear may come from somebody between."""
    house = await entrance(f"device = {_toml(DEVICES[1:])}", role="device", tls="starttls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    async with asyncio.timeout(20):
        writer.write(b"AUTH LOGIN Y2FtZXJh\r\ndHVsaXAtNw==\r\nSTARTTLS\r\n")
        assert b"\n235 " in await reader.readuntil(b"220 2.0.0 Ready to start TLS\r\n")
        await writer.start_tls(context)
        writer.write(b"MAIL FROM:<garden@example.org>\r\n")
        assert (await reader.readline()).startswith(b"530 ")
    writer.close()


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ({"name": "a", "sender": "a@example.org"}, "Cannot be known: give networks, or username and a password."),
        ({"name": "a", "sender": "a@example.org", "username": "a"}, "Has no password"),
        ({"name": "a", "sender": "a", "networks": ["192.0.2.0/24"]}, "is no address"),
        ({"name": "a", "sender": "ä@example.org", "networks": ["192.0.2.0/24"]}, "is no address"),
        ({"name": "a", "sender": "a@example.org\r\nBcc: x", "networks": ["192.0.2.0/24"]}, "is no address"),
    ],
)
def test_a_device_must_be_knowable_and_have_a_sender(device: dict[str, object], told: str, tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text(f"device = {_toml([device])}\n")
    with pytest.raises(ConfigurationError, match=told):
        load(tmp_path / "g.toml", {})


def test_two_devices_have_two_names() -> None:
    with pytest.raises(ValueError, match="contradict"):
        _config(device=[DEVICES[1], DEVICES[1]])


def test_a_listener_for_devices_needs_devices() -> None:
    with pytest.raises(ValueError, match="contradict"):
        _config(device=[])


def test_what_devices_are_shown_is_a_context_of_their_own(tmp_path: Path) -> None:
    usual = server_context(*self_signed(tmp_path, "bridge.example.org"), "1.2")
    assert device_wiring.tls_context(_config(), tmp_path, usual) is not usual
    assert usual.minimum_version is ssl.TLSVersion.TLSv1_2
    strict = _config(bridge={"lenient": ["brackets"]})
    assert device_wiring.tls_context(strict, tmp_path, usual) is usual
    assert device_wiring.tls_context(_config(), tmp_path, None) is None


# --- the recipes of docs/devices.md -------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "examples" / "bridge").glob("*.toml"))


def test_there_is_a_recipe_for_each_provider() -> None:
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    assert [path.stem for path in RECIPES] == [
        "gmail",
        "microsoft365-token",
        "microsoft365",
        "netease163",
        "qq",
        "sina",
    ]
    assert all(f"`examples/bridge/{path.name}`" in page for path in RECIPES)


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_a_recipe_loads_and_sends_on_with_proof_and_a_sign_in(path: Path, tmp_path: Path) -> None:
    recipe = tmp_path / path.name
    recipe.write_bytes(path.read_bytes())
    config = load(recipe, {})
    if config.smarthost[0].password_file is not None:
        config.smarthost[0].password_file.write_text("abcdefghijklmnop\n")
    else:
        assert [one.name for one in config.oauth_client] == [config.smarthost[0].oauth]
    smarthost = wiring.routing_settings(config).smarthosts["*"]
    (device,) = config.device
    assert smarthost.tls == "verify"
    assert smarthost.username == str(device.sender)
    assert [listener.role for listener in config.listener] == ["device"]


def test_the_pages_example_loads(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    (tmp_path / "one.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    assert [device.name for device in load(tmp_path / "one.toml", {}).device] == ["printer", "camera"]
