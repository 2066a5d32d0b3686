"""The gatehouse: gates made of the configuration, in a whole node; and hooks tried on what that node recorded."""

from __future__ import annotations

import asyncio
import json
import smtplib
from pathlib import Path

import pytest

from glasspost.cli.main import main
from glasspost.errors import Exit
from glasspost.inbound.hook_script import HooksBroken
from glasspost.mail.address import Address
from glasspost.node.config import load
from glasspost.node.filters import milter_settings, rspamd_settings
from glasspost.node.node import Node
from glasspost.node.settings import Config

RULES = """
from pathlib import Path
from glasspost.hooks import refuse

DIARY = Path(__file__).with_name("diary")

def write(*words):
    with DIARY.open("a") as diary:
        diary.write(" ".join(words) + "\\n")

def rcpt(visit, envelope, recipient):
    if recipient.startswith("old."):
        return refuse("This address is closed", reason="old addresses")

def accepted(visit, envelope, queue_id):
    write("accepted", envelope.sender)

def delivered(fate):
    write(fate.what, fate.recipient, fate.reply[:9])

async def failed(fate):
    write(fate.what, fate.recipient, fate.reply[:9])
"""


def configuration(folder: Path, **sections: object) -> Config:
    base = {
        "node": {"data": str(folder / "data"), "hostname": "mx.house.test", "drain": "2 s"},
        "listener": [{"role": "mx", "port": 0, "tls": "none"}],
        "smtp": {"relay_networks": ["127.0.0.0/8"]},
    }
    return Config.model_validate(base | sections)


def send(node: Node, *recipients: str) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", node.doors[0].port) as client:
        return client.sendmail("bob@away.test", recipients, "Subject: one\r\n\r\nhello\r\n")


async def written(path: Path, lines: int) -> list[str]:
    """The diary, as soon as it has so many lines: threads write it, and tell nobody."""

    def look() -> list[str]:
        return sorted(path.read_text().splitlines()) if path.exists() else []

    async with asyncio.timeout(20):
        while len(found := look()) < lines:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_hooks_refuse_and_hear_of_every_end_and_are_tried_on_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.py"
    rules.write_text(RULES)
    next_hop = Node(configuration(tmp_path / "away"))
    await next_hop.start()
    for name in ("bob", "carol"):
        next_hop.directory.add_account(Address(name, "away.test"), "secret", create_domain=name == "bob")
    smarthost = {"domain": "*", "host": "127.0.0.1", "port": next_hop.doors[0].port, "tls": "none"}
    node = Node(configuration(tmp_path, hooks={"file": str(rules)}, smarthost=[smarthost]))
    await node.start()
    node.directory.add_account(Address("alice", "house.test"), "secret", create_domain=True)
    everybody = ("alice@house.test", "carol@away.test", "nobody@away.test", "old.bob@house.test")
    refused = await asyncio.to_thread(send, node, *everybody)
    assert "5.1.1" in str(refused["old.bob@house.test"]), "nobody here has this address: policy comes first"
    refused = await asyncio.to_thread(send, node, "old.carol@away.test", "alice@house.test")
    assert refused["old.carol@away.test"][0] == 550
    assert b"This address is closed" in refused["old.carol@away.test"][1]
    diary = await written(tmp_path / "diary", 7)
    await node.stop()
    await next_hop.stop()
    assert diary == [
        "accepted bob@away.test",
        "accepted bob@away.test",
        "delivered alice@house.test ",
        "delivered alice@house.test ",
        "failed nobody@away.test 550 5.1.1",
        "relayed bob@away.test 250 2.0.0",  # that nobody@ was refused
        "relayed carol@away.test 250 2.0.0",
    ]
    rules.write_text(
        "from glasspost.hooks import hold\ndef data(v, e, m): return hold('one') if m.header('subject') else None"
    )
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["hooks", "test", str(rules), "--data", str(tmp_path / "data"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["conversations"], found["asked"]) == (2, 2)
    assert [(one["step"], one["about"], one["was"][:3], one["would"]) for one in found["differences"]] == [
        ("data", "<bob@away.test>", "tak", "held"),
        ("rcpt", "old.carol@away.test", "550", "taken"),
        ("data", "<bob@away.test>", "tak", "held"),
    ]
    assert await asyncio.to_thread(main, ["hooks", "test", str(rules), "--data", str(tmp_path / "data")]) == 0
    assert "2 conversations, 2 verdicts asked, 3 would have been others." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{}/none.py"], Exit.FAILED, "cannot be read"),
        (["{}/slip.py"], Exit.FAILED, "slip.py:1: SyntaxError"),
        (["{}/good.py", "--since", "soon"], Exit.USAGE, "is no moment"),
        (["{}/good.py", "--data", "{}/nowhere"], Exit.STORE, "nowhere"),
    ],
)
def test_what_cannot_be_tried_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: Exit, words: str
) -> None:
    (tmp_path / "slip.py").write_text("def (")
    (tmp_path / "good.py").write_text("def connect(visit): return None")
    assert main(["hooks", "test", *(word.format(tmp_path) for word in arguments)]) == code
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert words in error


async def test_a_node_does_not_start_with_a_broken_hooks_file(tmp_path: Path) -> None:
    rules = tmp_path / "rules.py"
    rules.write_text("import nothing_of_this_name\n")
    with pytest.raises(HooksBroken, match=r"rules\.py:1: ModuleNotFoundError"):
        await Node(configuration(tmp_path, hooks={"file": str(rules)})).start()
    config = tmp_path / "node.toml"
    config.write_text('[hooks]\nfile = "rules.py"\n')
    assert main(["config", "check", "--config", str(config), "--data", str(tmp_path / "data")]) == Exit.CONFIGURATION


def test_settings_reach_the_gates(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(
        '[[milter]]\naddress = "127.0.0.1:11332"\n[[milter]]\naddress = "unix:/run/dkim"\nname = "dkim"\n'
        'clients = "strangers"\nwhen_down = "accept"\ncommand_timeout = "3 s"\n'
        '[rspamd]\nurl = "http://127.0.0.1:11333/"\nmax_size = "1 MB"\n'
    )
    config = load(path, {})
    first, second = milter_settings(config)
    assert (first.name, first.strangers_only, first.accept_when_down) == ("127.0.0.1:11332", False, False)
    assert (second.address, second.name, second.strangers_only) == ("unix:/run/dkim", "dkim", True)
    assert (second.accept_when_down, second.command_timeout) == (True, 3.0)
    rspamd = rspamd_settings(config)
    assert (rspamd.url, rspamd.strangers_only, rspamd.max_size) == ("http://127.0.0.1:11333", True, 1 << 20)
