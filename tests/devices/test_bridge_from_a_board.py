"""examples/esp8266 reaches a provider that wants TLS 1.3, a sign-in and its own sender: through the bridge.

An ESP8266 has no room for TLS (examples/esp8266/README.md). Here it talks in the clear to a house on its own network,
which does the rest.
"""

from __future__ import annotations

from pathlib import Path

from boards import Device

from bridges import ACCOUNT, bridge, port_of, strict_provider, talks

MAIL = {
    "sender": "cellar@esp8266.local",
    "recipients": ["anna@client.example"],
    "subject": "Cellar",
    "lines": ["All is dry."],
}
CAMERA = {"name": "cellar", "sender": ACCOUNT, "username": "cellar", "password": "dry-7"}


async def test_a_board_reaches_a_strict_provider(device: Device, tmp_path: Path) -> None:
    async with strict_provider(tmp_path) as provider, bridge(tmp_path / "node", provider) as node:
        outcome = await device.send(host="127.0.0.1", port=port_of(node), **MAIL)
        assert outcome.sent, outcome.error
        (letter,) = await provider.arrived()
    assert (letter.sender, letter.recipients, letter.tls) == (ACCOUNT, ["anna@client.example"], "TLSv1.3")
    assert letter.message["X-Device-From"] == "cellar@esp8266.local"
    assert letter.message.get_content() == "All is dry.\r\n"


async def test_with_the_provider_down_the_board_goes_to_sleep_and_its_mail_arrives(
    device: Device, tmp_path: Path
) -> None:
    async with strict_provider(tmp_path) as provider:
        await provider.down()
        async with bridge(tmp_path / "node", provider) as node:
            outcome = await device.send(host="127.0.0.1", port=port_of(node), **MAIL)
            assert outcome.sent, outcome.error
            assert provider.letters == []
            await provider.up()
            (letter,) = await provider.arrived()
    assert letter.message["Subject"] == "Cellar"


async def test_a_board_signs_in_with_a_password_that_is_good_for_nothing_else(device: Device, tmp_path: Path) -> None:
    async with strict_provider(tmp_path) as provider, bridge(tmp_path / "node", provider, device=[CAMERA]) as node:
        where = {"host": "127.0.0.1", "port": port_of(node)}
        stranger = await device.send(**where, **MAIL)
        outcome = await device.send(**where, username="cellar", password="dry-7", **MAIL)
        assert outcome.sent, outcome.error
        await provider.arrived()
    assert (stranger.sent, stranger.code) == (False, 530)
    assert "# device cellar, by its credentials" in talks(node)
    assert "dry-7" not in talks(node)
