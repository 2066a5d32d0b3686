"""`glasspost config check`: what only trying out can find."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from glasspost.errors import ConfigurationError
from glasspost.node.config import read
from glasspost.node.config_check import findings
from glasspost.storage.sqlite import open_connection
from glasspost.testing import ManualClock

LISTENER = '[[listener]]\nrole = "mx"\nport = 0\n'


def found(tmp_path: Path, text: str, *, ports: bool = True) -> list[str]:
    """What is found, as line and words. Without listeners in the text there is one, on a free port."""
    file = tmp_path / "g.toml"
    file.write_text(text if "listener" in text else text + LISTENER)
    told = [str(problem) for problem in findings(read(file, {}), ManualClock(), ports=ports)]
    return [each.removeprefix(f"{file}:").replace(f"{tmp_path}/", "") for each in told]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_all_is_well(tmp_path: Path) -> None:
    assert found(tmp_path, '[node]\ndata = "var"\n') == []
    assert not (tmp_path / "var").exists(), "looking changes nothing"


def test_a_port_that_is_taken_is_named_with_its_line(tmp_path: Path, taken: int) -> None:
    text = f'[[listener]]\nrole = "mx"\nport = 0\n[[listener]]\nrole = "pop3"\nport = {taken}\n'
    assert found(tmp_path, text) == [
        f"6: listener.port: Port {taken} on 127.0.0.1 is taken already; if by this node, say --running."
    ]
    assert found(tmp_path, text, ports=False) == [], "a running node holds its own ports"


def test_two_listeners_cannot_share_a_port_by_another_address(tmp_path: Path, taken: int) -> None:
    text = f'[[listener]]\nrole = "mx"\naddress = "0.0.0.0"\nport = {taken}\n'
    assert found(tmp_path, text) == [
        f"4: listener.port: Port {taken} on 0.0.0.0 is taken already; if by this node, say --running."
    ]
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    both = text.replace(str(taken), str(free)) + f'[[listener]]\nrole = "pop3"\nport = {free}\n'
    assert found(tmp_path, both) == [
        f"7: listener.port: Port {free} on 127.0.0.1 is taken already; if by this node, say --running."
    ]


def test_addresses_this_machine_does_not_have(tmp_path: Path) -> None:
    listener = '[[listener]]\nrole = "mx"\naddress = "192.0.2.1"\nport = 0\n'
    assert found(tmp_path, listener) == ["3: listener.address: This machine has no address 192.0.2.1."]
    told = found(tmp_path, '[relay]\nsource_ipv4 = "192.0.2.1"\n')
    assert told == ["2: relay.source_ipv4: 192.0.2.1: This machine has no such address."]


def test_the_ports_are_free_again_afterwards(tmp_path: Path, taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    text = f'[[listener]]\nrole = "mx"\nport = {port}\n'
    assert found(tmp_path, text) == found(tmp_path, text) == []


def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert found(tmp_path, '[node]\ndata = "file"\n') == ["2: node.data: file cannot be written to: not a directory."]
    told = found(tmp_path, '[node]\ndata = "file/var"\n')
    assert told == ["2: node.data: file/var does not exist, and cannot be made in file."]


def test_a_store_that_opens_and_one_that_does_not(tmp_path: Path) -> None:
    data = tmp_path / "var"
    data.mkdir()
    store = open_connection(data / "glasspost.db", durable=True)
    store.execute("CREATE TABLE message (id INTEGER)")
    store.close()
    before = sorted(path.name for path in data.iterdir())
    assert found(tmp_path, '[node]\ndata = "var"\n') == []
    assert sorted(path.name for path in data.iterdir()) == before, "nothing is left behind"
    content = (data / "glasspost.db").read_bytes()
    (data / "glasspost.db").write_bytes(b"garbage!" * 2 + content[16:])
    (told,) = found(tmp_path, '[node]\ndata = "var"\n')
    assert told.startswith("2: node.data: The store does not open: var/glasspost.db")


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


def write(ca: trustme.CA, folder: Path, name: str, expires: datetime.datetime | None = None) -> None:
    """A certificate NAME.pem and its key NAME.key."""
    leaf = ca.issue_cert("mail.example.org", not_after=expires)
    leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    leaf.private_key_pem.write_to_path(folder / f"{name}.key")


def tls(certificate: str, key: str) -> str:
    return f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'


def test_certificate_and_key(tmp_path: Path, ca: trustme.CA) -> None:
    write(ca, tmp_path, "one")
    write(ca, tmp_path, "two")
    write(ca, tmp_path, "old", expires=datetime.datetime(2026, 2, 3, 4, 5, tzinfo=datetime.UTC))
    assert found(tmp_path, tls("one.pem", "one.key")) == []
    assert found(tmp_path, tls("one.pem", "two.key")) == ["3: tls.key: two.key is not the key of one.pem."]
    assert found(tmp_path, tls("old.pem", "old.key")) == [
        "2: tls.certificate: The certificate expired on 2026-02-03 04:05 UTC."
    ]
    assert found(tmp_path, tls("one.pem", "one.pem")) == [
        "3: tls.key: one.pem has no usable private key (PEM, no passphrase)."
    ]
    assert found(tmp_path, tls("one.key", "one.key")) == ["2: tls.certificate: one.key has no certificate in PEM form."]
    assert found(tmp_path, tls("no.pem", "no.key")) == [
        "2: tls.certificate: no.pem cannot be read: no such file or directory.",
        "3: tls.key: no.key cannot be read: no such file or directory.",
    ]


def test_a_key_with_a_passphrase_is_told_and_nobody_is_asked_for_it(tmp_path: Path, ca: trustme.CA) -> None:
    write(ca, tmp_path, "one")
    key = serialization.load_pem_private_key((tmp_path / "one.key").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"open sesame")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    (tmp_path / "locked.key").write_bytes(pem)
    assert found(tmp_path, tls("one.pem", "locked.key")) == [
        "3: tls.key: locked.key has no usable private key (PEM, no passphrase)."
    ]


def test_what_a_smarthost_names(tmp_path: Path, ca: trustme.CA) -> None:
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "secret").write_text("open sesame\n")
    (tmp_path / "empty").write_text("\n")
    text = '[[smarthost]]\nhost = "h"\nusername = "u"\npassword_file = "{0}"\ntls = "verify"\nca_file = "{1}"\n'
    assert found(tmp_path, text.format("secret", "ca.pem")) == []
    assert found(tmp_path, text.format("empty", "secret")) == [
        "4: smarthost.password_file: Is empty: its first line must be the password.",
        "6: smarthost.ca_file: secret has no certificate in PEM form.",
    ]
    assert found(tmp_path, text.format("none", "none")) == [
        "4: smarthost.password_file: none cannot be read: no such file or directory.",
        "6: smarthost.ca_file: none cannot be read: no such file or directory.",
    ]


def test_everything_is_found_at_once(tmp_path: Path, taken: int) -> None:
    (tmp_path / "file").write_text("in the way")
    text = f'[[listener]]\nrole = "mx"\nport = {taken}\n[node]\ndata = "file"\n{tls("no.pem", "no.key")}'
    assert len(found(tmp_path, text)) == 4


def test_what_a_device_names(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("no certificate")
    text = (
        '[[device]]\nname = "camera"\nsender = "a@example.org"\nusername = "camera"\npassword_file = "none"\n'
        '[bridge]\ncertificate = "c.pem"\nkey = "c.pem"\n'
    )
    told = "\n".join(found(tmp_path, text))
    assert "5: device.password_file: none cannot be read: no such file or directory." in told
    assert "7: bridge.certificate: cannot be used: " in told


def test_rules_that_cannot_be_read_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text("deny sender spam.example\n\ndeny sender @\n")
    (inline,) = found(tmp_path, '[checks]\nrules = ["deny client 192.0.2.1/24"]\n', ports=False)
    assert "2: checks.rules: 192.0.2.1/24 has host bits set" in inline
    (listed,) = found(tmp_path, '[checks]\nrule_files = ["rules.txt"]\n', ports=False)
    assert "rules.txt:3: checks.rule_files: " in listed
    (missing,) = found(tmp_path, '[checks]\nrule_files = ["none.txt"]\n', ports=False)
    assert "none.txt: checks.rule_files: " in missing


@pytest.mark.parametrize("rate", ['"60"', '"60/year"', "true", "60"])
def test_a_rate_says_in_what_time(tmp_path: Path, rate: str) -> None:
    with pytest.raises(ConfigurationError, match="is no rate"):
        found(tmp_path, f"[limits]\nconnections = {rate}\n", ports=False)
