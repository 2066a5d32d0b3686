"""TLS with other people's programs on the other end: as a server, and as a client of Postfix."""

from __future__ import annotations

import poplib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from letters import PLAIN, PRICKLY, put_on_top, unix
from node_process import PASSWORD, NodeProcess, run
from postfix import Postfix

Program = Callable[..., str]
Curl = Callable[..., bytes]
StartPostfix = Callable[..., Postfix]
NewNode = Callable[..., NodeProcess]

# --- as a server --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("protocol", ["smtp", "pop3"])
def test_openssl_changes_over(house: NodeProcess, program: Program, protocol: str, version: str) -> None:
    port = house.mx if protocol == "smtp" else house.pop3
    # -quiet: or it takes the Q of QUIT for a command to itself.
    where = ("-starttls", protocol, "-connect", f"127.0.0.1:{port}", "-quiet", "-crlf")
    said = run(program("openssl"), "s_client", *where, version, stdin=b"QUIT\n")

    assert "CN = glass.test" in said
    assert ("221 2.0.0 Bye" if protocol == "smtp" else "+OK Bye") in said


def test_old_tls_is_refused(house: NodeProcess, program: Program) -> None:
    where = ("-connect", f"127.0.0.1:{house.mx}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    said = run(program("openssl"), "s_client", "-starttls", "smtp", *where, expect=(1,))

    assert "Cipher is (NONE)" in said


@pytest.mark.parametrize(
    ("door", "hello", "start"), [("mx", b"EHLO client.test\r\n", b"STARTTLS"), ("pop3", b"CAPA\r\n", b"STLS")]
)
def test_what_is_said_behind_the_starttls_line_ends_the_connection(
    house: NodeProcess, door: str, hello: bytes, start: bytes
) -> None:
    """CVE-2011-0411: it must not be taken for something said under TLS."""
    with socket.create_connection(("127.0.0.1", getattr(house, door)), 10) as client:
        client.sendall(hello)
        client.sendall(start + b"\r\nNOOP\r\n")
        said = b""
        while piece := client.recv(65536):
            said += piece

    assert b"Bytes came behind" in said.splitlines()[-1]
    assert b"220 2.0.0" not in said


def test_tls_from_the_first_octet(new_node: NewNode, curl: Curl) -> None:
    implicit = "".join(
        f'[[listener]]\nrole = "{role}"\nport = 0\ntls = "implicit"\n' for role in ("submission", "pop3")
    )
    node = new_node(implicit)
    address = node.new_mailbox()
    smtps, pop3s = (port for _, port in node.doors[-2:])

    sign_in = ("--insecure", "-u", f"{address}:{PASSWORD}")
    curl(
        f"smtps://127.0.0.1:{smtps}", *sign_in, "--mail-from", address, "--mail-rcpt", address, "-T", "-", stdin=PRICKLY
    )
    arrived = curl(f"pop3s://127.0.0.1:{pop3s}/1", *sign_in)

    put_on_top(arrived, PRICKLY)
    assert b" with ESMTPSA (TLSv1.3 " in arrived


def test_passwords_are_not_asked_for_in_the_clear_where_so_configured(new_node: NewNode) -> None:
    node = new_node('[submission]\ncleartext_auth = "never"\n[pop3]\ncleartext_auth = "never"')
    address = node.new_mailbox()
    session = poplib.POP3("127.0.0.1", node.pop3, timeout=10)
    assert not {"USER", "SASL"} & set(session.capa())
    with pytest.raises(poplib.error_proto, match="Say STLS first"):
        session.user(address)
    session.quit()


# --- as a client --------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority, and a Postfix setting for a certificate of its making."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def certify(self, name: str) -> dict[str, str]:
        pem = self._folder / f"{name}.pem"
        self._ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(pem))
        return {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": str(pem)}


CONFIG = """
[smtp]
relay_domains = ["example.org"]
[relay]
schedule = ["1 h"]
idle_timeout = "0 s"
[[smarthost]]
host = "127.0.0.1"
port = {port}
tls = "{tls}"
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("tls", ["may", "encrypt", "verify"])
async def test_a_next_hop_with_the_right_certificate(
    postfix: StartPostfix, new_node: NewNode, swaks: Callable[..., str], authority: Authority, tls: str
) -> None:
    next_hop = postfix("next hop", settings=authority.certify("127.0.0.1"))
    authorities = f'ca_file = "{authority.file}"\n' if tls == "verify" else ""
    node = new_node(CONFIG.format(port=next_hop.port, tls=tls) + authorities)
    said = swaks(node.mx, "one@example.org", PLAIN)

    (mail,) = await next_hop.wait_for(1)

    assert mail.content.endswith(unix(PLAIN))
    assert b" with ESMTPS id " in mail.content
    (_, outgoing) = node.talks_about(queue_id(said), 2)
    assert ("verified by " in outgoing["talk"]) == (tls == "verify")
    assert outgoing["talk"].count("C: EHLO ") == 2, "once more under TLS (RFC 3207 §4.2)"


@pytest.mark.parametrize("name", ["mail.other.test", "nobody knows who signed it"])
def test_a_next_hop_with_a_wrong_certificate_gets_nothing(
    postfix: StartPostfix, new_node: NewNode, swaks: Callable[..., str], authority: Authority, tmp_path: Path, name: str
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    settings = authority.certify(name) if "." in name else Authority(stranger).certify("127.0.0.1")
    next_hop = postfix("next hop", settings=settings)
    node = new_node(CONFIG.format(port=next_hop.port, tls="verify") + f'ca_file = "{authority.file}"\n')
    said = swaks(node.mx, "one@example.org", PLAIN)

    (_, outgoing) = node.talks_about(queue_id(said), 2)

    assert "C: MAIL" not in outgoing["talk"]
    assert node.ask("queue", "list")[0]["last_reply"].startswith("451 4.7.5 ")
    assert next_hop.delivered == []


def test_a_next_hop_without_tls_gets_nothing_where_tls_is_required(
    postfix: StartPostfix, new_node: NewNode, swaks: Callable[..., str]
) -> None:
    node = new_node(CONFIG.format(port=postfix("next hop").port, tls="encrypt"))
    said = swaks(node.mx, "one@example.org", PLAIN)

    (_, outgoing) = node.talks_about(queue_id(said), 2)

    assert "C: MAIL" not in outgoing["talk"]
    assert node.ask("queue", "list")[0]["last_reply"].startswith("451 4.7.4 ")


async def test_a_next_hop_without_tls_is_good_enough_where_tls_is_optional(
    postfix: StartPostfix, new_node: NewNode, swaks: Callable[..., str]
) -> None:
    next_hop = postfix("next hop")
    swaks(new_node(CONFIG.format(port=next_hop.port, tls="may")).mx, "one@example.org", PLAIN)

    assert len(await next_hop.wait_for(1)) == 1


def queue_id(said: str) -> str:
    return said.partition("Safe on disk as ")[2].split()[0]
